"""Pictures as observations: forms, spaces, histories over resets, states, and who refuses them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.utils.env_checker import check_env

from selfdrive_env import load_policy
from selfdrive_env.envs.make import make_drive, make_scenes, make_self_play
from selfdrive_env.images.codes import GREY_TONES
from selfdrive_env.state.images import CHANNEL_CLASSES
from selfdrive_env.testing import CHECKS, check_vector_env
from selfdrive_env.wrappers import vector as wrappers

SIZE = 16
BEV: dict[str, Any] = {"kind": "bev", "size": SIZE, "span": 48.0}
SMALL: dict[str, Any] = {
    **{"map": "riverside", "layout": "lean", "num_threads": 1, "agents_per_world": 4},
    **{"horizon": 4.5, "observation": BEV},
}


def self_play(rows: int = 8, **settings: Any) -> Any:
    return make_self_play(rows, **{**SMALL, **settings})


def drive(env: Any, steps: int, seed: int = 0) -> list[Any]:
    """Resets and steps; in Disabled it resets who has ended. All results, in order."""
    results: list[Any] = [env.reset(seed=seed)]
    choice = np.random.default_rng(seed)
    for _ in range(steps):
        if env.settings.autoreset_mode == "Disabled" and env.backend.waiting().any():
            results.append(env.reset(options={"reset_mask": env.backend.waiting()}))
        results.append(env.step(choice.integers(0, 12, env.num_envs)))
    return results


@pytest.mark.parametrize(
    ("settings", "shape", "kind"),
    [
        ({}, (16, 16, 3), np.uint8),
        ({"history": 3, "colour": "gray"}, (16, 16, 3), np.uint8),
        ({"history": 2, "channels_first": True}, (6, 16, 16), np.uint8),
        ({"colour": "classes", "dtype": "float32", "size": [8, 16]}, (8, 16, 16), np.float32),
    ],
)
def test_pictures_have_the_form_that_the_settings_say(
    settings: dict[str, Any], shape: tuple[int, ...], kind: Any
) -> None:
    env = self_play(observation={**BEV, **settings})
    seen, _ = env.reset(seed=0)
    assert seen.shape == (8, *shape)
    assert seen.dtype == kind
    assert env.single_observation_space == Box(0, 255 if kind == np.uint8 else 1, shape, kind)
    assert seen in env.observation_space
    assert len(np.unique(seen)) > 1


def test_all_forms_of_a_picture_show_the_same() -> None:
    forms: dict[str, Any] = {
        "rgb": BEV,
        "first": {**BEV, "channels_first": True},
        "floats": {**BEV, "dtype": "float32"},
        "gray": {**BEV, "colour": "gray"},
        "numbers": "state",
    }
    env = self_play(observation=forms)
    assert isinstance(env.single_observation_space, Dict)
    results = drive(env, 20)
    plain = drive(self_play(observation="state"), 20)
    for (seen, *_), (rows, *_) in zip(results, plain, strict=True):
        assert list(seen) == list(forms)
        np.testing.assert_array_equal(seen["numbers"], rows)
        np.testing.assert_array_equal(seen["first"], seen["rgb"].transpose(0, 3, 1, 2))
        np.testing.assert_allclose(255.0 * seen["floats"], seen["rgb"], atol=0.51)
        grey = seen["rgb"].astype(float) @ (0.299, 0.587, 0.114)
        toned = np.isin(seen["gray"][..., 0], list(GREY_TONES.values()))
        assert 0 < toned.sum() < 0.5 * toned.size
        np.testing.assert_allclose(seen["gray"][..., 0][~toned], grey[~toned], atol=1.0)
        assert seen in env.observation_space


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_pictures_alone_are_those_beside_numbers(mode: str) -> None:
    """Nobody reads rows of numbers then, and none are written."""
    alone = self_play(autoreset_mode=mode)
    both = self_play(autoreset_mode=mode, observation={"road": BEV, "numbers": "state"})
    for one, other in zip(drive(alone, 40), drive(both, 40), strict=True):
        np.testing.assert_array_equal(one[0], other[0]["road"])
        for mine, theirs in zip(one[1:4], other[1:4], strict=True):
            np.testing.assert_equal(mine, theirs)
    assert not alone.engine.observations.any()
    assert both.engine.observations.any()


@pytest.mark.parametrize("kind", ["bev", "camera"])
def test_blind_drivers_see_nobody_in_pictures_either(kind: str) -> None:
    road = {**BEV, "colour": "classes"} if kind == "bev" else {"kind": kind, "size": [48, 27]}
    settings: dict[str, Any] = {
        **{"agents_per_world": 16, "observation": {"road": road, "numbers": "state"}},
        **{"bodies": {"car": 1.0}},
    }
    env, open_eyed = self_play(32, blind_share=1.0, **settings), self_play(32, **settings)
    seen, _ = env.reset(seed=0)
    clear, _ = open_eyed.reset(seed=0)
    blind = env.layout.group(seen["numbers"], "agents")[:, -1, 0] == 0.0
    assert 4 < blind.sum() < 28
    if kind == "bev":
        cars = CHANNEL_CLASSES.index("vehicle")
        assert not seen["road"][blind][..., cars].any()
        assert clear["road"][blind][..., cars].any()
    np.testing.assert_array_equal(seen["road"][~blind], clear["road"][~blind])
    assert not np.array_equal(seen["road"][blind], clear["road"][blind])


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize("copy", [True, False])
def test_the_history_is_that_of_the_episode(mode: str, copy: bool) -> None:
    one = drive(self_play(autoreset_mode=mode), 40)
    env = self_play(autoreset_mode=mode, copy=copy, observation={**BEV, "history": 3})
    expected: Any = None
    waiting: Any = None
    choice = np.random.default_rng(0)
    ends = 0
    for number, single in enumerate(one):
        resets = len(single) == 2
        if number == 0:
            found = env.reset(seed=0)
        elif resets:
            found = env.reset(options={"reset_mask": waiting})
        else:
            found = env.step(choice.integers(0, 12, env.num_envs))
        frame = single[0]
        if number == 0:
            starts = np.ones(len(frame), bool)
        elif resets:
            starts, still = waiting, ~waiting
        elif mode == "SameStep":
            starts = single[2] | single[3]
        else:
            starts = waiting if mode == "NextStep" else np.zeros(len(frame), bool)
        if "final_obs" in single[-1] and not resets:
            done = single[2] | single[3]
            ends += int(done.sum())
            last = np.concatenate([expected[..., 3:], single[-1]["final_obs"]], axis=-1)
            np.testing.assert_array_equal(found[-1]["final_obs"][done], last[done])
        repeated = np.tile(frame, (1, 1, 1, 3))
        if expected is None:
            expected = repeated
        else:
            pushed = np.concatenate([expected[..., 3:], frame], axis=-1)
            if resets:
                pushed[still] = expected[still]
            expected = np.where(starts[:, None, None, None], repeated, pushed)
        np.testing.assert_array_equal(found[0], expected)
        waiting = np.zeros(len(frame), bool) if resets else single[2] | single[3]
        ends += int(waiting.sum())
    assert ends > 5


def test_a_row_that_waits_shows_its_last_picture_again() -> None:
    env = self_play(autoreset_mode="Disabled", observation={**BEV, "history": 2})
    env.reset(seed=0)
    before = None
    for _ in range(15):
        seen, _, terminated, truncated, _ = env.step(np.zeros(8, np.int64))
        if (terminated | truncated).any():
            before = seen.copy(), terminated | truncated
            break
    assert before is not None
    kept, ended = before
    mask = np.zeros(8, bool)
    mask[np.flatnonzero(ended)[0]] = True
    seen, _ = env.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(seen[~mask], kept[~mask])
    np.testing.assert_array_equal(seen[mask][..., :3], seen[mask][..., 3:])


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_state_goes_on_with_the_same_pictures(mode: str, history: int) -> None:
    view = {**BEV, "history": history}
    first, second = (self_play(autoreset_mode=mode, observation=view) for _ in range(2))
    drive(first, 9)
    state = first.get_state()
    second.reset(seed=5)
    shown = second.set_state(state)
    now = first.backend.observations()
    np.testing.assert_array_equal(shown, now)
    for _ in range(8):
        actions = np.full(8, 7)
        one, other = first.step(actions), second.step(actions)
        np.testing.assert_array_equal(one[0], other[0])


def test_a_state_goes_on_with_the_labels_of_its_pictures() -> None:
    view = {"kind": "camera", "size": (36, 64), "labels": True}
    env = self_play(observation=view)
    drive(env, 6)
    state, shots = env.get_state(), env.engine.views["camera"].parts["shots"]
    before = [getattr(shots, name).copy() for name in ("kind", "agent", "depth", "box")]
    for _ in range(6):
        env.step(np.full(8, 7))
    assert not np.array_equal(shots.depth, before[2])
    env.set_state(state)
    for name, wanted in zip(("kind", "agent", "depth", "box"), before, strict=True):
        np.testing.assert_array_equal(getattr(shots, name), wanted)


def test_a_damaged_state_is_refused() -> None:
    env = self_play()
    env.reset(seed=0)
    state = env.get_state()
    wrong = {**state, "pictures.bev.newest": state["pictures.bev.newest"] + 1}
    with pytest.raises(ValueError, match="newest"):
        env.set_state(wrong)
    del state["pictures.bev.code"]
    with pytest.raises(ValueError, match=r"pictures\.bev\.code"):
        env.set_state(state)


@pytest.mark.parametrize(("rows", "threads"), [(8, 2), (4, 1)])
def test_pictures_do_not_depend_on_threads_or_splits(rows: int, threads: int) -> None:
    whole = drive(self_play(8, num_threads=1), 12, seed=3)
    if threads > 1:
        for one, other in zip(whole, drive(self_play(8, num_threads=2), 12, seed=3), strict=True):
            np.testing.assert_array_equal(one[0], other[0])
        return
    second = self_play(rows, world_offset=1)
    choice = np.random.default_rng(3)
    seen = second.reset(seed=3)[0]
    np.testing.assert_array_equal(seen, whole[0][0][4:])
    for result in whole[1:]:
        seen = second.step(choice.integers(0, 12, 8)[4:])[0]
        np.testing.assert_array_equal(seen, result[0][4:])


def test_observations_that_are_held_stay_as_they_were() -> None:
    env = self_play()
    held = [env.reset(seed=0)[0]]
    copies = [held[0].copy()]
    for _ in range(6):
        seen = env.step(np.full(8, 7))[0]
        held.append(seen)
        copies.append(seen.copy())
    for one, other in zip(held, copies, strict=True):
        np.testing.assert_array_equal(one, other)


def test_drive_shows_the_ego_alone_and_policies_drive_the_traffic() -> None:
    settings = {**SMALL, "horizon": 9.0, "layout": "full"}
    settings.pop("layout")
    env = make_drive(3, traffic="selfplay", **settings)
    twin = make_drive(3, traffic="selfplay", **{**settings, "observation": "state"})
    seen, _ = env.reset(seed=1)
    twin.reset(seed=1)
    assert seen.shape == (3, SIZE, SIZE, 3)
    for _ in range(15):
        one, other = env.step(np.full(3, 7)), twin.step(np.full(3, 7))
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(env.state.agents.x, twin.state.agents.x)


def test_scenes_have_pictures() -> None:
    env = make_scenes(2, observation=BEV, num_threads=1)
    seen, _ = env.reset(seed=0)
    assert seen.shape == (2, SIZE, SIZE, 3)
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 3
    seen, *_ = env.step(np.full(2, 7))
    assert seen in env.observation_space


@pytest.mark.parametrize("observation", [BEV, {"road": BEV, "numbers": "state"}])
def test_the_single_form_passes_gymnasiums_checker(observation: Any) -> None:
    env = gymnasium.make("selfdrive_env/Drive-v0", **{**SMALL, "observation": observation})
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


MODES = ("SameStep", "NextStep", "Disabled")


@pytest.mark.parametrize(
    ("observation", "modes"),
    [
        ({"road": {**BEV, "history": 2}, "row": "state"}, MODES),
        (BEV, ("SameStep",)),
        pytest.param(BEV, MODES, marks=pytest.mark.full),
    ],
)
def test_the_conformance_kit_passes(observation: Any, modes: tuple[str, ...]) -> None:
    def make(num_envs: int, autoreset_mode: Any, **keywords: Any) -> Any:
        settings = {**SMALL, "agents_per_world": 1, **keywords}
        settings["observation"] = observation
        return gymnasium.make_vec(
            "selfdrive_env/SelfPlay-v0", num_envs=num_envs, autoreset_mode=autoreset_mode,
            **settings,
        )  # fmt: skip

    skip = {"later_episodes"}  # as in tests/test_contract.py
    passed = check_vector_env(make, steps=25, modes=modes, skip=skip)  # an episode has 15 at most
    assert set(passed) == set(CHECKS) - skip


def test_a_policy_of_rows_refuses_pictures_by_name() -> None:
    policy = load_policy("selfplay")
    env = self_play()
    seen, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="observation='state'"):
        policy.act(seen)


def test_memory_is_checked_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfdrive_env.engine import pictures

    monkeypatch.setattr(pictures, "available_memory", lambda: 3_000_000_000)
    with pytest.raises(MemoryError, match=r"need \d+\.\d GB and 3\.0 GB.*\d+ rows would fit"):
        self_play(4096, agents_per_world=32, observation={"kind": "bev", "size": 512})


def test_wrappers_get_the_last_pictures_of_an_episode() -> None:
    view = {"road": BEV, "row": "state"}
    env = self_play(observation=view, step_info=True)
    seen: list[Any] = []

    def late(observations: Any, infos: Any) -> Any:
        seen.append(observations)
        return np.arange(8) == len(seen) % 8  # one row after the other

    wrapped = wrappers.OwnTermination(env, late)
    wrapped.reset(seed=0)
    for step in range(10):
        observations, _, terminated, truncated, infos = wrapped.step(np.full(8, 7))
        done = terminated | truncated
        assert done[(step + 1) % 8] or not env.backend.infos()["valid"][(step + 1) % 8]
        for name in view:
            last = infos["final_obs"][name]
            np.testing.assert_array_equal(last[done], seen[-1][name][done])
            assert not last[~done].any()
        assert observations in env.observation_space
