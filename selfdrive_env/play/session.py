"""One ego among traffic, driven by hand or by a policy, step by step; knows no window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.choices import DRIVERS, TRAFFIC
from selfdrive_env.config.observation import decode, plane_of
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs.make import make_drive
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.episodes import Episode, Recorder
from selfdrive_env.evaluation.policies import Candidate, check_layout, fitting_layout, load
from selfdrive_env.play.controls import Body, Hands, Pressed
from selfdrive_env.policies.numpy_policy import load_policy
from selfdrive_env.rendering import Observed, Scene, between, kept, scene_of
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.world import EXTERNAL, HALTED, PRESENT, Event

__all__ = ["DEFAULTS", "Session", "make_env"]

DEFAULTS: dict[str, Any] = {
    "agents_per_world": 30,
    "dt": 0.1,
    "stagger": False,
    "reverse": "allowed",
    "preset": "eval",
    "bodies": "typed",
    "light_removal": 0.0,
    "lights_off": 0.0,
    "lights_green": 0.0,
}
"""Settings of `play` that differ from the environment's and may be changed."""

CRASHES = Event.COLLISION | Event.OFFROAD

ENDINGS = ("collision", "offroad", "red_light", "stop_sign", "last_goal", "lost", "tow")
"""Events that may end an episode."""


def make_env(
    map: str, traffic: str, policy: Candidate | None, settings: Mapping[str, Any]
) -> DrivingVectorEnv:
    """Returns an environment with one ego that keys or a policy can drive.

    Args:
        map: Built-in town or file.
        traffic: Who drives the others, see the setting.
        policy: Who drives the ego while no keys do, None for nobody.
        settings: That differ from `DEFAULTS`.

    Raises:
        ValueError: For settings or policies that do not go together.
    """
    own: dict[str, Any] = {"action_type": "continuous"}
    preset = {**DEFAULTS, **settings}["preset"]
    Settings(traffic=traffic, preset=preset)  # says what is allowed
    if traffic not in TRAFFIC:  # such policies choose among jerks, under the weights they learnt
        own["action_type"] = "discrete"
        own["layout"] = dict(vars(load_policy(traffic).layout))
        own |= load(traffic).under(preset)
    if policy is not None:
        own.setdefault("layout", fitting_layout(policy))
        needs = policy.under(preset)
        kind = needs.get("action_type", "discrete")
        own["action_type"] = "continuous" if policy.name == "idm" else kind
        if traffic not in TRAFFIC:
            own["action_type"] = "discrete"
        own |= {k: v for k, v in needs.items() if k not in ("driver", "action_type")}
    keywords = {**DEFAULTS, **own, **settings}
    for name in ("map", "traffic", "driver", "autoreset_mode", "device", "output"):
        if name in settings:
            raise ValueError(f"{name} cannot be set: play needs its own value")
    if keywords.get("dynamics", "jerk") != "jerk":
        raise ValueError(f"dynamics must be 'jerk' for play, got {keywords['dynamics']!r}")
    env = make_drive(1, map=map, traffic=traffic, autoreset_mode="Disabled", **keywords)
    if policy is not None:
        check_layout(policy, env)
        kind = policy.settings.get("action_type", "discrete")
        if policy.name != "idm" and env.settings.action_type != kind:
            raise ValueError(
                f"policy {policy.name} has {kind} actions, the environment "
                f"{env.settings.action_type} ones"
            )
    return env


class Session:
    """Drives the ego of an environment and keeps what there is to show.

    Args:
        env: As `make_env` gives it.
        policy: Drives while `manual` is False.
        seed: Of the first episode, None for any.
    """

    def __init__(
        self, env: DrivingVectorEnv, policy: Candidate | None = None, seed: int | None = None
    ) -> None:
        self.env, self.policy = env, policy
        self.manual = policy is None
        self.hands = Hands(env.settings)
        self._recorder = Recorder(env, title="play")
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Draws the world anew. A body that keys drive stands: nobody holds one yet."""
        observations, _ = self.env.reset(seed=seed)
        if self.manual:
            self.env.engine.agents.speed[0, 0] = 0.0
        self.row = np.array(observations[0], np.float32)
        self.hands.reset()
        self._recorder.record()
        self.steps = 0
        self.ended: str | None = None
        terms = self.env.engine.output.weighted.shape[-1]
        self.last, self.total = np.zeros(terms), np.zeros(terms)
        self.action: Any = None
        self.after = kept(scene_of(self.env.engine, 0, 0))
        self.before = self.after

    @property
    def driver(self) -> str:
        """Who drives the ego: "you" or the policy's name."""
        return "you" if self.manual or self.policy is None else self.policy.name

    @property
    def map_name(self) -> str:
        """Of the map that the world is on now; of a single file the name of that."""
        engine, names = self.env.engine, self.env.settings.map_names
        if len(engine.maps) == 1:
            return names[0].rsplit("/", 1)[-1]
        return str(engine.maps[int(engine.worlds.map[0])].name)

    @property
    def time(self) -> float:
        """Since the episode began [s]."""
        return self.steps * self.env.settings.one_dt("play")

    def step(self, keys: Pressed) -> None:
        """Advances the world by one step; after the end of the episode, does nothing."""
        if self.ended is not None:
            return
        engine = self.env.engine
        self.action = self._choose(keys)
        observations, _, terminated, truncated, _ = self.env.step(self.action[None])
        self._recorder.record()
        self.steps += 1
        self.row = np.array(observations[0], np.float32)
        self.last = engine.output.weighted[0, 0].astype(np.float64)
        self.total += self.last
        event = int(engine.output.event[0, 0])
        if terminated[0] or truncated[0]:
            found = [name.replace("_", " ") for name in ENDINGS if event & Event[name.upper()]]
            self.ended = ", ".join(found) or ("time is up" if truncated[0] else "ended")
        self.before, self.after = self.after, kept(scene_of(engine, 0, 0))
        if self.ended is not None:  # who has ended is not in the world any more, but still shown
            self.after.status[0] = HALTED if event & CRASHES else PRESENT

    def _choose(self, keys: Pressed) -> NDArray[Any]:
        """Returns the action of the hands or of the policy."""
        scripted = not self.manual and self.policy is not None and self.policy.name == "idm"
        driver = DRIVERS["idm"] if scripted else EXTERNAL
        self.env.engine.bodies.driver[0, 0] = driver
        if self.manual or self.policy is None or scripted:
            return self.hands.action(keys, self.body())
        return np.asarray(self.policy.act(self.row[None])[0])

    def body(self) -> Body:
        """Returns the ego as the hands need to know it."""
        agents, bodies = self.env.engine.agents, self.env.engine.bodies
        return Body(
            speed=float(agents.speed[0, 0]),
            acceleration=float(agents.acceleration[0, 0]),
            lateral=float(agents.lateral_acceleration[0, 0]),
            wheelbase=float(bodies.wheelbase[0, 0]),
            jerk_scale=float(bodies.jerk_scale[0, 0]),
            lateral_jerk_scale=float(bodies.lateral_jerk_scale[0, 0]),
            acceleration_scale=float(bodies.acceleration_scale[0, 0]),
        )

    def observation(self) -> dict[str, F32]:
        """Returns the ego's observation in its units, as `config.observation.decode` does."""
        return decode(self.row, self.env.layout.counts)

    def episode(self) -> Episode:
        """Returns the episode so far, as a file can hold it."""
        return self._recorder.episode()

    def scene(self, share: float, *, observed: bool = False) -> Scene:
        """Returns what there is to see at a share of the way from the last step to this one.

        Args:
            share: From 0 to 1.
            observed: Whether the scene marks what the ego observes, as its row tells it.
        """
        scene = between(self.before, self.after, share)
        return scene._replace(observed=self._observed()) if observed else scene

    def _observed(self) -> Observed:
        """Returns the points of the row in the world frame."""
        found, scene = self.observation(), self.after
        cos, sin = float(scene.cos[0]), float(scene.sin[0])
        x, y = (float(one[0]) for one in scene.centre)

        def places(name: str) -> F32:
            rows = found[name][found[name][:, -1] > 0.5]
            ahead, left, along, across = (
                rows[:, plane_of(name, one)] for one in ("x", "y", "cos", "sin")
            )
            turned = [
                x + ahead * cos - left * sin,
                y + ahead * sin + left * cos,
                along * cos - across * sin,
                along * sin + across * cos,
            ]
            return np.stack(turned, 1).astype(np.float32)

        return Observed(
            lane_points=places("lane_points"),
            boundary_points=places("boundary_points")[:, :2],
            stop_lines=places("stop_lines")[:, :2],
            agents=places("agents")[:, :2],
            route=places("route")[:, :2],
        )
