"""Policies by name: scripted, random and constant drivers, policies of runs, and SB3 files.

Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import suggestion
from selfdrive_env.config.choices import BASELINES, POLICIES, TRAFFIC
from selfdrive_env.config.images import require_rows
from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import earlier_layout
from selfdrive_env.config.presets import PRESETS
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.policies.choice import dynamics_difference
from selfdrive_env.policies.files import POLICY_FILE
from selfdrive_env.policies.numpy_policy import load_policy
from selfdrive_env.state.arrays import digest

__all__ = ["Candidate", "check_layout", "load", "observed"]

CONSTANT = "constant:"
JERKS = {"dynamics": Settings.dynamics}
NUM_ACTIONS = len(Settings.jerk_long) * len(Settings.jerk_lat)

Act = Callable[..., NDArray[Any]]


@dataclass(frozen=True)
class Candidate:
    """Something that drives: actions from observations, or a scripted driver."""

    name: str
    act: Act
    """(observations [rows, features], deterministic=True) -> actions [rows] or [rows, 2]."""

    layout: ObservationLayout | None = None
    """Layout of the observations it reads, None for any."""

    features: int | None = None
    """Width of the observations where the layout itself is not known."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it needs of an environment, such as `driver` or `action_type`."""

    weights: Mapping[str, Any] = field(default_factory=dict)
    """Reward weights that it learnt under, where they differ from the preset "train"."""

    learnt: Mapping[str, Any] = field(default_factory=dict)
    """`dt` and `bodies` that it was trained with, where that is known."""

    actions: Mapping[str, Any] | None = None
    """Settings that say what its actions are, `dynamics` and `action_bins`; None for any."""

    digest: str = ""
    """Of the file that holds it, "" for what its name tells."""

    by_row: bool = True
    """Whether an action depends on its row alone."""

    pictures: bool = False
    """Whether it reads what the setting `observation` shows, which then stands in `settings`,
    instead of rows of numbers alone."""

    def under(self, preset: str = "eval") -> dict[str, Any]:
        """Returns what it needs of an environment with a preset of reward weights.

        Weights are part of its rows. One that was the same for all in training stays so; one that
        was drawn is the preset's, or the nearest that was drawn; "train" draws all as in training.

        Args:
            preset: One of `PRESETS`.

        Returns:
            Keywords of an environment, `reward` among them where training changed a weight.
        """
        reward = dict(self.weights)
        for name, value in reward.items():
            if preset != Settings.preset and isinstance(value, Sequence):
                low, high = value
                reward[name] = min(max(PRESETS[preset][name], low), high)
        return {**self.settings, **({"reward": reward} if reward else {})}


def load(text: str, *, seed: int = 0) -> Candidate:
    """Returns a policy.

    Args:
        text: A scripted driver such as "idm", "random", "constant:N" with an action N, "selfplay",
            a run's folder, a policy file, or an SB3 file (.zip).
        seed: Of the random driver.

    Raises:
        ValueError: For an unknown name or a file that holds no policy this package reads.
    """
    if text in TRAFFIC:
        return Candidate(text, _nothing, settings={"driver": text})
    if text == "random":
        return Candidate("random", _Random(seed), actions=JERKS, by_row=False)
    if text.startswith(CONSTANT):
        return Candidate(text, _Constant(_action(text)), actions=JERKS)
    path = Path(text)
    if text in POLICIES:
        return _read_run(text)
    if not path.exists():
        hint = suggestion(text, (*BASELINES, *POLICIES), "")
        raise ValueError(
            f"unknown policy {text!r}: use {', '.join(BASELINES)} (an action), "
            f"{', '.join(POLICIES)}, a run's folder, a policy file, or an SB3 file (.zip){hint}"
        )
    if path.suffix == ".zip":
        return _read_sb3(path)
    _check_folder(path)
    return _read_run(text)


def _check_folder(path: Path) -> None:
    """Raises a ValueError for a folder that has no policy file but SB3 files, which it names."""
    if not path.is_dir() or (path / POLICY_FILE).is_file():
        return
    found = sorted(str(one) for one in path.glob("*.zip"))
    if found:
        raise ValueError(
            f"policy {str(path)!r} is a folder without {POLICY_FILE}; it holds "
            f"{'an SB3 file' if len(found) == 1 else 'SB3 files'}, take {' or '.join(found[:3])}"
        )


def _nothing(observations: Any, deterministic: bool = True) -> NDArray[Any]:
    """Actions that a scripted driver overwrites."""
    return np.zeros(len(observations), np.int64)


class _Random:
    """Draws discrete actions with equal chances."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, observations: Any, deterministic: bool = True) -> NDArray[Any]:
        return self._random.integers(0, NUM_ACTIONS, len(observations))


def _action(text: str) -> int:
    """Returns the action in "constant:N"."""
    digits = text.removeprefix(CONSTANT)
    allowed = [str(action) for action in range(NUM_ACTIONS)]
    if digits not in allowed:
        raise ValueError(
            f"policy {CONSTANT}N needs an action N from 0 to {NUM_ACTIONS - 1}, got {text!r}"
        )
    return allowed.index(digits)


class _Constant:
    """Always takes the same action."""

    def __init__(self, action: int) -> None:
        self._action = action

    def __call__(self, observations: Any, deterministic: bool = True) -> NDArray[Any]:
        return np.full(len(observations), self._action, np.int64)


def _read_run(name: str) -> Candidate:
    """Returns a policy of this package's own training."""
    policy = load_policy(name)

    def act(observations: Any, deterministic: bool = True) -> NDArray[Any]:
        return policy.act(observations, deterministic=deterministic)

    env = Settings.as_recorded(policy.description.get("env", {}))
    actions = {key: env[key] for key in ("dynamics", "action_bins")}
    settings = actions if actions["dynamics"] != "jerk" else {}
    learnt = {key: env.get(key, getattr(Settings, key)) for key in ("dt", "bodies", "reverse")}
    return Candidate(
        name, act, layout=policy.layout, settings=settings, weights=env.get("reward", {}),
        learnt=learnt, actions=actions, digest=_digest_of(policy.path),
    )  # fmt: skip


def _read_sb3(path: Path) -> Candidate:
    """Returns the policy of an SB3 file."""
    from selfdrive_env.adapters.sb3 import read_actor

    actor = read_actor(path)
    return Candidate(
        str(path),
        actor.act,
        layout=actor.layout,
        features=actor.features if actor.layout is None else None,
        settings={"action_type": "continuous"} if actor.continuous else {},
        digest=_digest_of(path),
    )


def _digest_of(path: Path) -> str:
    """Returns the digest of a file."""
    return digest(path.read_bytes().hex())


def _named(layout: ObservationLayout) -> str:
    """Returns a layout in words."""
    names = [name for name, known in LAYOUTS.items() if known == layout]
    return f"{names[0] if names else layout} ({layout.width} values)"


def fitting_layout(policy: Candidate) -> str | dict[str, int]:
    """Returns a layout setting that a policy can read, "lean" where it reads any."""
    if policy.layout is not None:
        return vars(policy.layout).copy()
    if policy.features is not None:
        for name, layout in LAYOUTS.items():
            if layout.width == policy.features:
                return name
    return "lean"


def check_layout(policy: Candidate, env: DrivingVectorEnv) -> None:
    """Raises a ValueError that names both layouts unless the policy reads this environment's.

    And likewise both dynamics, unless its actions are of the environment's.
    """
    if not policy.pictures:
        require_rows(env.settings.observation, f"policy {policy.name}")
    difference = policy.actions and dynamics_difference(policy.actions, env.settings)
    if difference:
        raise ValueError(f"policy {policy.name} has actions of {difference}")
    there = env.layout
    if policy.layout is not None and policy.layout != there:
        raise ValueError(
            f"policy {policy.name} reads the layout {_named(policy.layout)}, the environment has "
            f"{_named(there)}"
        )
    if policy.features is not None and policy.features != there.width:
        known = ", ".join(_named(layout) for layout in LAYOUTS.values())
        raise ValueError(
            f"policy {policy.name} reads observations of {policy.features} values, the environment "
            f"has {_named(there)}; layouts by name are {known}{earlier_layout(policy.features)}"
        )


def observed(policy: Candidate, env: DrivingVectorEnv) -> Any:
    """Returns what a policy reads of an environment now, not copied."""
    return env.backend.observations() if policy.pictures else env.engine.observations
