"""The conformance kit: a small right environment passes, and one for each fault does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from selfdrive_env.testing import CHECKS, ContractError, check_vector_env

TOY = "toy/Point-v0"


class Point(VectorEnv):
    """A point on a line, pushed by the action; ends beyond 1 or after a few steps."""

    mode_default = "SameStep"

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: Any = "SameStep",
        render_mode: str | None = None,
        limit: int = 9,
    ) -> None:
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": ["rgb_array"], "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.limit = limit
        self.single_observation_space = Box(-2.0, 2.0, (3,), np.float32)
        self.single_action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.x = np.zeros(num_envs)
        self.age = np.zeros(num_envs, int)
        self.streams: list[np.random.Generator] = []
        self.waits = np.zeros(num_envs, bool)
        self.buffer = np.zeros((num_envs, 3), np.float32)

    @property
    def spec(self) -> Any:
        return getattr(self, "_spec", None)

    @spec.setter
    def spec(self, value: Any) -> None:
        mode = value.kwargs.get("autoreset_mode")
        if isinstance(mode, AutoresetMode):
            value.kwargs["autoreset_mode"] = mode.value
        self._spec = value

    def observe(self) -> Any:
        self.buffer[:] = np.stack([self.x, self.age / self.limit, self.draws], 1)
        return self.buffer.copy()

    def start(self, rows: Any) -> None:
        for row in np.flatnonzero(rows):
            self.x[row] = self.streams[row].uniform(-0.5, 0.5)
            self.draws[row] = self.streams[row].uniform(-1.0, 1.0)
        self.age[rows] = 0
        self.waits[rows] = False

    def seeds(self, seed: Any) -> list[Any]:
        if seed is None or isinstance(seed, int):
            return [None if seed is None else seed + row for row in range(self.num_envs)]
        return list(seed)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        if self.closed:
            raise RuntimeError("closed")
        rows = self.mask(options)
        if seed is not None or not self.streams:
            self.streams = [np.random.default_rng(s) for s in self.seeds(seed)]
            self.draws = np.zeros(self.num_envs)
        self.start(rows)
        return self.observe(), self.infos()

    def mask(self, options: Any) -> Any:
        if not options or "reset_mask" not in options:
            return np.ones(self.num_envs, bool)
        rows = options["reset_mask"]
        if rows.shape != (self.num_envs,) or rows.dtype != np.bool_ or not rows.any():
            raise ValueError("wrong reset_mask")
        return rows.copy()

    def infos(self) -> dict[str, Any]:
        return {"age": self.age.copy(), "_age": np.ones(self.num_envs, bool)}

    def step(self, actions: Any) -> Any:
        if self.closed or not self.streams:
            raise RuntimeError("closed or not reset")
        if np.shape(actions) != (self.num_envs, 1):
            raise ValueError("wrong actions")
        fresh = self.waits.copy()
        if self.autoreset_mode is AutoresetMode.DISABLED:
            assert not fresh.any()
        moves = ~fresh
        self.x[moves] += 0.5 * np.asarray(actions)[moves, 0]
        self.age[moves] += 1
        terminated = moves & (np.abs(self.x) > 1.0)
        truncated = moves & ~terminated & (self.age >= self.limit)
        reward = np.where(moves, -np.abs(self.x), 0.0)
        ended = terminated | truncated
        if fresh.any():
            self.start(fresh)
        self.waits |= ended
        infos = self.infos()
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            infos.update(self.finals(ended))
            self.start(ended)
        return self.observe(), reward, terminated, truncated, infos

    def finals(self, ended: Any) -> dict[str, Any]:
        final = np.where(ended[:, None], self.observe(), np.float32(0.0))
        return {"final_obs": final, "_final_obs": ended.copy()}

    def render(self) -> Any:
        return tuple(np.zeros((4, 4, 3), np.uint8) for _ in range(self.num_envs))

    def call(self, name: str, *arguments: Any) -> Any:
        if name == "render":
            return self.render()
        return (getattr(self, name),) * self.num_envs

    def get_attr(self, name: str) -> Any:
        return self.call(name)

    def set_attr(self, name: str, value: Any) -> None:
        setattr(self, name, value)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register(TOY, vector_entry_point=f"{__name__}:Point")
    yield
    del gymnasium.registry[TOY]


def make_toy(num_envs: int, autoreset_mode: Any, **keywords: Any) -> Any:
    return gymnasium.make_vec(TOY, num_envs=num_envs, autoreset_mode=autoreset_mode, **keywords)


def test_a_right_environment_passes_every_check() -> None:
    assert check_vector_env(make_toy) == tuple(CHECKS)


def test_gymnasiums_own_vector_environment_passes_what_applies_to_it() -> None:
    def make(num_envs: int, autoreset_mode: Any) -> Any:
        keywords = {"autoreset_mode": AutoresetMode(autoreset_mode)}
        return gymnasium.make_vec(
            "CartPole-v1", num_envs=num_envs, vectorization_mode="sync", vector_kwargs=keywords
        )

    # Object arrays of last observations, a popped reset_mask, local functions that no pickle
    # takes, a warning of render without a mode.
    ours = {"dense_finals", "options", "wrong_calls", "spec", "pickling", "render", "attributes"}
    assert set(check_vector_env(make, skip=ours)) == set(CHECKS) - ours


@pytest.mark.parametrize(
    ("check", "message"),
    [("dense_finals", "must be dense"), ("options", "reset changed its options")],
)
def test_known_faults_of_gymnasiums_own_are_found(check: str, message: str) -> None:
    def make(num_envs: int, autoreset_mode: Any) -> Any:
        keywords = {"autoreset_mode": AutoresetMode(autoreset_mode)}
        return gymnasium.make_vec(
            "CartPole-v1", num_envs=num_envs, vectorization_mode="sync", vector_kwargs=keywords
        )

    with pytest.raises(ContractError, match=message):
        check_vector_env(make, skip=set(CHECKS) - {check})


class WrongBatch(Point):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.observation_space = Box(-1.0, 1.0, (self.num_envs, 3), np.float32)


class OutOfBounds(Point):
    def observe(self) -> Any:
        return super().observe() + np.float32(1.5)


class Wide(Point):
    def observe(self) -> Any:
        return super().observe().astype(np.float64)


class IntegerFlags(Point):
    def step(self, actions: Any) -> Any:
        observation, reward, terminated, truncated, infos = super().step(actions)
        return observation, reward, terminated.astype(np.uint8), truncated, infos


class NanReward(Point):
    def step(self, actions: Any) -> Any:
        observation, reward, *rest = super().step(actions)
        return observation, np.where(self.age == 5, np.nan, reward), *rest


class TextMode(Point):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.metadata["autoreset_mode"] = self.autoreset_mode.value


class SharedMetadata(Point):
    shared: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.shared.update(self.metadata)
        self.metadata = self.shared


class NoModeAttribute(Point):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.__dict__["autoreset_mode"] = None

    def step(self, actions: Any) -> Any:
        raise NotImplementedError


class LostFinal(Point):
    def finals(self, ended: Any) -> dict[str, Any]:
        return {}


class FreshFinal(Point):
    """Gives the first observation of the next episode as the last one of the old."""

    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        if "final_obs" in result[4]:
            result[4]["final_obs"] = result[0].copy()
        return result


class WrongFinalMask(Point):
    def finals(self, ended: Any) -> dict[str, Any]:
        return {**super().finals(ended), "_final_obs": ~ended}


class StaleFinal(Point):
    """Leaves old observations in rows that go on."""

    def finals(self, ended: Any) -> dict[str, Any]:
        kept = self.__dict__.setdefault("kept", np.zeros((self.num_envs, 3), np.float32))
        kept[ended] = self.observe()[ended]
        return {"final_obs": kept.copy(), "_final_obs": ended.copy()}


class LostReward(Point):
    """Drops the last reward of an episode where the reset happens in the same step."""

    def step(self, actions: Any) -> Any:
        observation, reward, terminated, truncated, infos = super().step(actions)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            reward[terminated | truncated] = 0.0
        return observation, reward, terminated, truncated, infos


class RewardedReset(Point):
    def step(self, actions: Any) -> Any:
        waits = self.waits.copy()
        observation, reward, *rest = super().step(actions)
        return observation, np.where(waits, 1.0, reward), *rest


class NeverReset(Point):
    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and "final_obs" in result[4]:
            mask = result[4]["_final_obs"]
            result[0][mask] = result[4]["final_obs"][mask]
        return result


class Endless(Point):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.limit = 10**6

    def step(self, actions: Any) -> Any:
        return super().step(0.0 * np.asarray(actions))


class OtherStreams(Point):
    """Draws differ between the modes, but only after the first episode."""

    def start(self, rows: Any) -> None:
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and not rows.all():
            for row in np.flatnonzero(rows):
                self.streams[row].uniform()
        super().start(rows)


class UnstableSeed(Point):
    def seeds(self, seed: Any) -> list[Any]:
        return [None] * self.num_envs


class IgnoredSeed(Point):
    def seeds(self, seed: Any) -> list[Any]:
        return list(range(self.num_envs))


class EqualRows(Point):
    def seeds(self, seed: Any) -> list[Any]:
        return [seed] * self.num_envs if isinstance(seed, int) else list(seed)


class PositionalSeeds(Point):
    """Adds the number of the row to a seed from a list too."""

    def seeds(self, seed: Any) -> list[Any]:
        first = super().seeds(seed)
        listed = not isinstance(seed, int | None)
        return [s + row if listed else s for row, s in enumerate(first)]


class ResetsAll(Point):
    def mask(self, options: Any) -> Any:
        return np.ones_like(super().mask(options))


class LenientMask(Point):
    def mask(self, options: Any) -> Any:
        if options and "reset_mask" in options:
            return np.resize(options["reset_mask"], self.num_envs).astype(bool)
        return super().mask(options)


class PopsOptions(Point):
    def mask(self, options: Any) -> Any:
        rows = super().mask(options)
        if options:
            options.pop("reset_mask", None)
        return rows


class WritesOptions(Point):
    def mask(self, options: Any) -> Any:
        rows = super().mask(options)
        if options and "reset_mask" in options:
            options["reset_mask"][:] = True
        return rows


class Aliased(Point):
    def observe(self) -> Any:
        super().observe()
        return self.buffer


class AliasedInfos(Point):
    def infos(self) -> dict[str, Any]:
        return {**super().infos(), "age": self.age}


class SharedMask(Point):
    """Hands out one mask for good, which a caller may write into."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.everyone = np.ones(self.num_envs, bool)

    def infos(self) -> dict[str, Any]:
        twice = {"old": self.age > 5, "_old": self.everyone}
        return {"age": self.age.copy(), "_age": self.everyone, **twice}


class NoMask(Point):
    def infos(self) -> dict[str, Any]:
        return {"age": self.age.copy()}


class EmitsEpisode(Point):
    def infos(self) -> dict[str, Any]:
        return {"episode": self.age.copy(), "_episode": self.age > 0}


class StepsAfterClose(Point):
    def close(self, **keywords: Any) -> None:
        pass


class Forgetful(Point):
    """Loses its place when it is pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "x": np.zeros(self.num_envs)}


class FrameArray(Point):
    def render(self) -> Any:
        return np.stack(super().render())


class NoSetAttr(Point):
    set_attr = None


class ClosesOnce(Point):
    def close(self, **keywords: Any) -> None:
        if self.closed:
            raise RuntimeError("already closed")
        super().close()


FAULTS = [
    (WrongBatch, "spaces", "must be batch_space"),
    (OutOfBounds, "values", "outside observation_space"),
    (Wide, "values", "float32 of shape"),
    (IntegerFlags, "values", "terminated must be an array of bool"),
    (NanReward, "values", "rewards must be finite"),
    (NoMask, "values", "needs a mask"),
    (EmitsEpisode, "values", "'episode'"),
    (TextMode, "metadata", "must be an AutoresetMode"),
    (SharedMetadata, "metadata", "metadata is shared"),
    (NoModeAttribute, "mode_attribute", "autoreset_mode must be"),
    (LostFinal, "modes", "lacks 'final_obs'"),
    (FreshFinal, "modes", "its observation and its last one are the same"),
    (WrongFinalMask, "dense_finals", "must be terminated"),
    (StaleFinal, "seeding", "the second time"),
    (LostReward, "modes", "reward of step"),
    (RewardedReset, "modes", "must have reward 0"),
    (NeverReset, "modes", "its observation and its last one are the same"),
    (Endless, "modes", "no episode ended"),
    (OtherStreams, "later_episodes", "SameStep and NextStep differ"),
    (UnstableSeed, "seeding", "the same seed gave another run"),
    (IgnoredSeed, "seeding", "another seed gave the same run"),
    (EqualRows, "seeding", "rows 0 and 1 alike"),
    (PositionalSeeds, "seeding", "list of equal seeds"),
    (ResetsAll, "reset_mask", "changed the observations of other rows"),
    (LenientMask, "reset_mask", "without an error"),
    (PopsOptions, "options", "reset changed its options"),
    (WritesOptions, "options", "reset changed its options"),
    (Aliased, "aliasing", "aliased buffers"),
    (AliasedInfos, "aliasing", "aliased buffers"),
    (SharedMask, "aliasing", "written into by the caller"),
    (StepsAfterClose, "wrong_calls", "step after close"),
    (Forgetful, "pickling", "another way"),
    (FrameArray, "render", "must return a tuple"),
    (NoSetAttr, "attributes", "set_attr is missing"),
    (ClosesOnce, "closing", "second close"),
]


@pytest.mark.parametrize(("fault", "check", "message"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_fault_is_found(fault: type[Point], check: str, message: str) -> None:
    def make(num_envs: int, autoreset_mode: Any, **keywords: Any) -> Any:
        return fault(num_envs, autoreset_mode=autoreset_mode, **keywords)

    with pytest.raises(ContractError, match=message):
        check_vector_env(make, skip=set(CHECKS) - {check})


def test_an_enum_left_in_the_spec_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Point, "spec", None)
    with pytest.raises(ContractError, match="JSON"):
        check_vector_env(make_toy, skip=set(CHECKS) - {"spec"})


def test_wrong_arguments_of_the_kit_are_named() -> None:
    with pytest.raises(ValueError, match="num_envs must be at least 2"):
        check_vector_env(make_toy, num_envs=1)
    with pytest.raises(ValueError, match="no check 'speling'"):
        check_vector_env(make_toy, skip=["speling"])
