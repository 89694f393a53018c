"""Recorded drivers as experts of Scenes-v0: what they saw, what they did, and how well it fits.

Who learns is driven by the actions that lead from where it is to where it was recorded next
(`scenes.experts`); everybody else is replayed. So an episode is what the environment gives for
these actions, and its errors are those of driving them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_choice
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.tables import LEARNERS, learners_of
from selfdrive_env.scenes import Scene, SceneError
from selfdrive_env.scenes.experts import INVERTIBLE, actions_towards
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.dynamics import DYNAMICS
from selfdrive_env.state.world import ABSENT

__all__ = ["ExpertEpisode", "drive_experts", "environment_for"]

MOST_ROWS = 64
"""That are driven together, and kept until their scenes end."""

RULES: dict[str, Any] = {
    **dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore"),
    "preset": "eval",
}
"""No mistake of the record ends an episode, and rewards have fixed weights."""
AT_BOUND = 0.999
"""An action of more than this share of its range is at its end."""


class ExpertEpisode(NamedTuple):
    """One agent from the present moment of its scene to the end of its track, or to its goal."""

    agent: int
    """Its id in the scene."""

    observations: F32
    """[step + 1, feature]"""

    actions: F32
    """[step, column], as the environment takes them."""

    rewards: F32
    """[step]"""

    terminated: bool
    """Whether it ended at its goal, not with its track or the scene."""

    position_error: F32
    """[step + 1], distance from the track [m]."""

    heading_error: F32
    """[step + 1], size of the angle to its heading [rad]."""

    bounded: float
    """Share of steps in which an action is at the end of its range."""


def environment_for(
    scenes: Sequence[Scene], *, dynamics: str, learners: str = "ego", layout: Any = "full"
) -> ScenesVectorEnv:
    """Returns the environment in which experts of scenes drive, a world a scene.

    Args:
        scenes: At least one.
        dynamics: One of `INVERTIBLE`.
        learners: One of `LEARNERS`.
        layout: Of the observations.

    Raises:
        SceneError: A scene has nobody to learn, or does not fit its map.
        ValueError: For an unknown word.
    """
    check_choice("dynamics", dynamics, tuple(INVERTIBLE))
    check_choice("learners", learners, LEARNERS)
    rows = max(len(learners_of(scene, learners)) for scene in scenes)
    return ScenesVectorEnv(
        rows * len(scenes),
        scene=list(scenes),
        scene_order="sequence",
        learners=learners,
        traffic="replay",
        dynamics=dynamics,
        action_type="continuous",
        autoreset_mode="NextStep",
        layout=layout,
        **RULES,
    )


def drive_experts(
    scenes: Sequence[Scene],
    *,
    dynamics: str,
    learners: str = "ego",
    layout: Any = "full",
    seed: int = 0,
) -> Iterator[list[ExpertEpisode]]:
    """Yields the episodes of each scene, those of agents that were recorded now and next.

    Args:
        scenes: With recorded tracks.
        dynamics: One of `INVERTIBLE`.
        learners: Who is an expert, one of `LEARNERS`.
        layout: Of the observations.
        seed: Of all that is drawn.

    Raises:
        SceneError: A scene has no tracks, nobody to learn, or does not fit its map.
        ValueError: For an unknown word.
    """
    check_choice("learners", learners, LEARNERS)
    for scene in scenes:
        if scene.tracks is None:
            raise SceneError(f"scene {scene.name or scene.source!r} has no recorded tracks")
    rows = [len(learners_of(scene, learners)) for scene in scenes]
    first = 0
    while first < len(scenes):
        last = first + 1
        while last < len(scenes) and max(rows[first : last + 1]) * (last + 1 - first) <= MOST_ROWS:
            last += 1
        some = scenes[first:last]
        envs = environment_for(some, dynamics=dynamics, learners=learners, layout=layout)
        try:
            yield from _Drive(envs, some, dynamics, learners).run(seed)
        finally:
            envs.close()
        first = last


class _Drive:
    """Scenes that are driven together."""

    def __init__(
        self, envs: ScenesVectorEnv, scenes: Sequence[Scene], dynamics: str, learners: str
    ) -> None:
        self.envs, self.scenes, self.dynamics = envs, scenes, dynamics
        size = np.array([column.size for column in DYNAMICS[INVERTIBLE[dynamics]]], np.float32)
        self.size = np.where(np.isfinite(size), size, 1.0).astype(np.float32)
        self.bounded = bool(np.isfinite(size).all())
        agents = [learners_of(scene, learners) for scene in scenes]
        self.who = [(w, slot, n) for w, one in enumerate(agents) for slot, n in enumerate(one)]
        world, slot, _ = np.array(self.who).T
        self.at = world, slot
        self.row = world * envs.rows_per_world + slot
        moments = max(scene.steps - scene.current for scene in scenes)
        self.track = np.zeros((len(self.who), moments, 5), np.float64)
        self.valid = np.zeros((len(self.who), moments), np.bool_)
        for entry, (w, _, number) in enumerate(self.who):
            tracks: Any = scenes[w].tracks
            cut = slice(scenes[w].current, scenes[w].steps)
            heading = tracks.heading[number, cut].astype(np.float64)
            cos, sin = np.cos(heading), np.sin(heading)
            speed = tracks.vx[number, cut] * cos + tracks.vy[number, cut] * sin
            poses = [tracks.x[number, cut], tracks.y[number, cut], cos, sin, speed]
            self.track[entry, : len(heading)] = np.stack(poses, 1)
            self.valid[entry, : len(heading)] = tracks.valid[number, cut]

    def run(self, seed: int) -> list[list[ExpertEpisode]]:
        """Returns the episodes of each scene."""
        envs, row = self.envs, self.row
        observations, _ = envs.reset(seed=seed)
        length = np.zeros(len(row), np.int64)
        ended = np.zeros(len(row), np.bool_)
        seen, acted, rewards = [np.array(observations[row])], [], []
        poses = [self._poses()]
        live = self.valid[:, 0] & self.valid[:, 1:2].any(1)
        self._leave(~live)
        for step in range(self.valid.shape[1] - 1):
            if not live.any():
                break
            action = self._actions(poses[-1], step + 1, live)
            full = np.zeros((envs.num_envs, action.shape[1]), np.float32)
            full[row] = action
            observations, reward, terminated, truncated, _ = envs.step(full)
            seen.append(np.array(observations[row]))
            acted.append(action)
            rewards.append(np.array(reward[row]))
            poses.append(self._poses())
            length += live
            ended |= live & terminated[row]
            live &= ~(terminated | truncated)[row]
            going = np.zeros_like(live)
            if step + 2 < self.valid.shape[1]:
                going = self.valid[:, step + 2]
            self._leave(live & ~going)
            live &= going
        out: list[list[ExpertEpisode]] = [[] for _ in self.scenes]
        for entry, (world, _, number) in enumerate(self.who):
            steps = int(length[entry])
            if steps == 0:
                continue
            actions = np.stack([one[entry] for one in acted[:steps]])
            moment = slice(0, steps + 1)
            pose, track = np.stack(poses[: steps + 1])[:, entry], self.track[entry, moment]
            cross = pose[:, 3] * track[:, 2] - pose[:, 2] * track[:, 3]
            along = pose[:, 2] * track[:, 2] + pose[:, 3] * track[:, 3]
            out[world].append(
                ExpertEpisode(
                    agent=self.scenes[world].agents[number].id,
                    observations=np.stack([one[entry] for one in seen[: steps + 1]]),
                    actions=actions,
                    rewards=np.array([one[entry] for one in rewards[:steps]], np.float32),
                    terminated=bool(ended[entry]),
                    position_error=np.hypot(*(pose[:, :2] - track[:, :2]).T).astype(np.float32),
                    heading_error=np.abs(np.arctan2(cross, along)).astype(np.float32),
                    bounded=float((np.abs(actions) > AT_BOUND).any(1).mean()) * self.bounded,
                )
            )
        return out

    def _poses(self) -> NDArray[np.float64]:
        """Returns x, y of the middle of boxes, cosine, sine and speed, [entry, 5]."""
        agents, bodies = self.envs.engine.agents, self.envs.engine.bodies
        x, y, cos, sin, speed = (
            getattr(agents, name)[self.at].astype(np.float64)
            for name in ("x", "y", "cos", "sin", "speed")
        )
        ahead = 0.5 * bodies.wheelbase[self.at].astype(np.float64)
        return np.stack([x + ahead * cos, y + ahead * sin, cos, sin, speed], 1)

    def _actions(self, poses: NDArray[np.float64], moment: int, live: NDArray[np.bool_]) -> F32:
        """Returns the actions towards a moment as the environment takes them, zeros of others."""
        engine = self.envs.engine
        after = np.where(live[:, None], self.track[:, moment], poses)
        base = poses[:, :2].copy()  # near zero, for single precision
        before, after = poses.copy(), after.copy()
        before[:, :2] -= base
        after[:, :2] -= base
        wheelbase, dt = engine.bodies.wheelbase[self.at], engine.worlds.dt[self.at[0]]
        action = actions_towards(
            self.dynamics,
            before.astype(np.float32),
            after.astype(np.float32),
            wheelbase.copy(),
            dt.copy(),
        )
        if self.dynamics == "state":
            action[:, :2] += base.astype(np.float32)
            return action
        action[~live] = 0.0
        return np.clip(action / self.size, -1.0, 1.0)

    def _leave(self, gone: NDArray[np.bool_]) -> None:
        """Takes those out of their worlds whose tracks end or have a gap."""
        self.envs.engine.agents.status[self.at[0][gone], self.at[1][gone]] = ABSENT
