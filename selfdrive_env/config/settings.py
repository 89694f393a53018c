"""Every setting of an environment, with unit, default and check.

`Settings` is what a user writes as keyword arguments: strings, numbers, lists and dicts only, so
that a spec survives JSON. `config.params` turns them into what the kernels read.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfdrive_env.config.checks import (
    Network,
    as_list,
    as_plain,
    check_choice,
    check_integer,
    check_number,
    check_path,
    is_list,
    suggestion,
)
from selfdrive_env.config.choices import (
    CHOICES,
    POLICIES,
    TRAFFIC,
    check_bins,
    maps_named,
    ranges_of,  # fmt: skip
)
from selfdrive_env.config.files import absolute
from selfdrive_env.config.images import make_views
from selfdrive_env.config.installation import usable_cores
from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.observation import OBSERVATION_VERSION
from selfdrive_env.config.presets import PRESETS, body_table, weight_ranges
from selfdrive_env.state.arrays import digest as text_digest
from selfdrive_env.state.world import MAX_GOALS

__all__ = [
    *("DEFAULT_AGENTS", "DEFAULT_MAPS", "EARLIER", "MAX_HORIZON", "NOT_IN_DIGEST", "USUAL_DT"),
    "Settings",
]

DEFAULT_MAPS = ("riverside", "hillcrest")
DEFAULT_AGENTS = 32
MAX_HORIZON = 1.0e6
"""Longest episode [s]."""


def _threads(name: str, value: Any) -> int:
    cores = usable_cores()
    try:
        return check_integer(name, value, 1, cores)
    except ValueError as error:
        why = f"this process may use {cores} core{'s' if cores > 1 else ''}, None takes all"
        raise ValueError(f"{error} ({why})") from None


NOT_IN_DIGEST = (
    *("num_threads", "copy", "device", "output", "record", "step_info", "render_view"),
    *("render_size", "render_span", "render_hud", "render_heading_up", "render_observed"),
)
"""Settings that influence no result."""

EARLIER: dict[str, Any] = {"reverse": "allowed", "tow_after": None, "standing_share": 0.0,
    "dynamics": "jerk", "action_bins": 9, "observation": "state"}  # fmt: skip
"""Settings that came later -> what held before: what was recorded without them was recorded so."""

USUAL_DT = 0.3
"""Length of a step unless a setting says otherwise: the paper's [s]."""

SWITCHES = ("stagger", "copy", "render_heading_up", "render_observed", "record", "step_info")


@dataclass(frozen=True)
class Settings:
    """All settings of an environment, checked."""

    map: str | Network | Sequence[str | Network] = DEFAULT_MAPS
    """Built-in town, town by seed ("city:17", "town:0-63") or file, or several; each world draws
    one of them anew with each episode. In Python also a `RoadNetwork`."""

    map_variants: int = 1
    """Of each map: itself and random flips, scales and shears; every second one also bends."""

    agents_per_world: int | Sequence[int] = DEFAULT_AGENTS
    """Agents of a world, or the range from which each world draws their number."""

    dt: float | Sequence[float] = USUAL_DT
    """Length of a step, at most 0.4 (stop lines are looked up 12 m around) [s]; or the range
    [low, high] from which each world draws its own when it is drawn."""

    horizon: float = 360.0
    """Episode of a world, then all its rows are truncated and it is drawn anew [s]."""

    stagger: bool = True
    """Whether the first episodes get head starts, so that the worlds do not all end at once."""

    layout: str | Mapping[str, int] = "full"
    """Observation layout: "full", "lean", or slots by name (others as in "full")."""

    observation: str | Mapping[str, Any] = "state"
    """What rows observe: "state" (numbers, see `layout`), "bev" (the road from above), "camera", a
    table of settings of one with its `kind`, or several by name, see `config.images`."""

    preset: str = "train"
    """Reward weights, see `PRESETS`."""

    reward: Mapping[str, Any] = field(default_factory=dict)
    """Weights that differ from the preset: a number, or [low, high] to draw from."""

    bodies: str | Mapping[str, float] = "random"
    """ "random" (the paper's), "typed" (cars, vans, trucks ...), or type -> share."""

    action_type: str = "discrete"
    """ "discrete" (every pair of jerks, or combination of bins) or "continuous" (in [-1, 1])."""

    dynamics: str = "jerk"
    """How actions move rows: by jerks, or one of `state.dynamics`. Scripted drivers have jerks."""

    action_bins: int | Sequence[int] = 9
    """Values of a column of discrete actions, for dynamics other than "jerk"; or one a column."""

    jerk_long: Sequence[float] = (-15.0, -4.0, 0.0, 4.0)
    """Longitudinal jerks [m/s^3]."""

    jerk_lat: Sequence[float] = (-4.0, 0.0, 4.0)
    """Lateral jerks, positive to the left [m/s^3]."""

    reverse: str = "never"
    """Whether rows may drive backwards: "never", braking holds who stands; "allowed", only the
    hardest does, others reverse, at up to 2 m/s. Scripted drivers may, whatever it says."""

    on_collision: str = "terminate"
    """What a contact does: end the episode, stop the body for good, or nothing."""

    on_offroad: str = "terminate"
    """What leaving the drivable surface does, likewise."""

    on_red_light: str = "ignore"
    """What passing a red light or a stop sign does, likewise."""

    tow_after: float | None = None
    """Who was stopped for good is placed anew after this time, its episode is terminated; None: it
    stands to the end of the world's episode [s]."""

    on_goal: str = "terminate"
    """What the last goal does: end the episode, or give a new route."""

    first_goal: Sequence[float] | None = (20.0, 200.0)
    """Way to the first goal along the lane graph [m]; None: anywhere reachable."""

    further_goals: int = 3
    """Largest number of goals after the first."""

    initial_speed: float = 1.0
    """Agents start at up to this share of min(speed limit, top speed)."""

    standing_share: float = 0.0
    """Share of agents that stand broken down on a lane until the world is drawn anew, where there
    is room to get past; their rows are not `valid`. Never the first of a world, nor the ego."""

    blind_share: float = 0.0
    """Share of drivers who at times do not see others (the paper: 0.05)."""

    braking_share: float = 0.0
    """Share of drivers who brake hard at random (the paper: 0.1)."""

    observation_noise: float = 0.0
    """Standard deviation of the observed positions [m] and speeds [m/s] of others."""

    lane_dropout: float = 0.0
    """Share of lane points left out at random (the paper trains with 0.5)."""

    boundary_dropout: float = 0.0
    """Share of boundary points left out at random (the paper trains with 0.4)."""

    light_timing: str = "file"
    """As the map states, "random" where it states nothing; "random" phase lengths; or "fixed" ones,
    10 s green, 3 s yellow, 2 s all red."""

    light_removal: float = 0.2
    """Chance that a light is missing for an episode; likewise for each group."""

    lights_off: float = 0.2
    """Chance of an episode without lights."""

    lights_green: float = 0.05
    """Chance of an episode in which all lights stay green."""

    traffic: str = "idm"
    """Driver of the agents that are not learners: one of `TRAFFIC`, or a policy: "selfplay", the
    folder of a training run or a policy file."""

    driver: str = "external"
    """Driver of the learners: "external" takes the caller's actions, the others ignore them and
    drive by script (baselines, recordings)."""

    autoreset_mode: str = "SameStep"
    """When a row whose episode ended starts anew, as Gymnasium defines it."""

    world_offset: int = 0
    """Number of the first world: the second half of a split batch continues the first."""

    obs_dtype: str = "float32"
    """Type of observation rows: "float32", "float16" (half the memory), on CUDA also "bfloat16"."""

    device: str = "cpu"
    """Where worlds live: "cpu", "cuda" (the first CUDA device), "cuda:1" and so on, or "auto": a
    CUDA device where one can be used, else the CPU."""

    output: str | None = None
    """What `reset` and `step` return, "numpy" arrays or "torch" tensors on the device; None takes
    arrays on the CPU and tensors with any other `device`."""

    num_threads: int | None = None
    """CPU threads, at most one a core that this process may use; None takes all of these, in a
    worker process one."""

    copy: bool = True
    """Whether the caller owns returned arrays (observations alternate between buffers, of which one
    that is still held is never written again); False hands out the live buffers."""

    step_info: bool = False
    """Whether infos tell of every step: speed, way to the goal, time to a collision, events, terms
    of the reward. On by default in the single form; with `device="cuda"` there is no such."""

    render_view: str = "map"
    """What a frame shows: "map" (from above) or "camera" (what the ego sees ahead)."""

    render_size: int = 512
    """Edge of a frame [px]."""

    render_span: float = 80.0
    """Metres across a frame."""

    render_hud: bool | None = None
    """Whether a frame shows speed and time in a corner; None: only in a window."""

    render_heading_up: bool = False
    """Whether a frame is turned so that the ego heads up, instead of north."""

    render_observed: bool = False
    """Whether a frame marks what the ego observes."""

    record: bool = False
    """Whether the first world is recorded for `save_replay`."""

    def __post_init__(self) -> None:
        """Checks every value and brings sequences into one form."""
        for name, allowed in CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        check_choice("preset", self.preset, tuple(PRESETS))
        known = isinstance(self.traffic, str) and self.traffic in (*TRAFFIC, *POLICIES)
        if isinstance(self.traffic, str | os.PathLike) and not known:
            check_path("traffic", self.traffic)
            self._set("traffic", absolute(self.traffic))
        if not (isinstance(self.traffic, str) and os.path.exists(self.traffic)):
            check_choice("traffic", self.traffic, (*TRAFFIC, *POLICIES))
        self._check_device()
        self._check_map()
        self._set("agents_per_world", self._agents())
        self._check_ranges()
        if self.num_threads is not None:
            self._set("num_threads", _threads("num_threads", self.num_threads))
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.render_hud is not None and not isinstance(self.render_hud, bool):
            raise ValueError(f"render_hud must be True, False or None, got {self.render_hud!r}")
        self._check_first_goal()
        if self.tow_after is not None:
            self._set("tow_after", check_number("tow_after", self.tow_after, 0.01, MAX_HORIZON))
        for name in ("jerk_long", "jerk_lat"):
            values = tuple(
                check_number(name, v, -100.0, 100.0) for v in as_list(name, getattr(self, name))
            )
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be a list of different jerks, got {values}")
            self._set(name, values)
        if min(self.jerk_long) >= 0.0 or max(self.jerk_long) <= 0.0:
            raise ValueError(
                f"jerk_long needs a negative and a positive jerk, got {self.jerk_long}"
            )
        self._set("action_bins", check_bins(self.dynamics, self.action_type, self.action_bins))
        make_layout(self.layout)
        make_views(self.observation)
        weight_ranges(self.preset, self.reward)
        body_table(self.bodies)
        for name in ("layout", "reward", "bodies", "observation"):
            self._set(name, as_plain(getattr(self, name)))

    def _check_ranges(self) -> None:
        self._check_dt()
        for name, low_value, high_value in (
            ("horizon", 0.01, MAX_HORIZON),
            ("initial_speed", 0.0, 1.0),
            ("observation_noise", 0.0, 10.0),
            ("render_span", 5.0, 100_000.0),
        ):
            self._set(name, check_number(name, getattr(self, name), low_value, high_value))
        for name in (
            *("standing_share", "blind_share", "braking_share", "lane_dropout"),
            *("boundary_dropout", "light_removal", "lights_off", "lights_green"),
        ):
            self._set(name, check_number(name, getattr(self, name), 0.0, 1.0))
        for name, least, most in (
            ("further_goals", 0, MAX_GOALS - 1),
            ("map_variants", 1, 1024),
            ("world_offset", 0, 2**32 - 1),
            ("render_size", 16, 8192),
        ):
            self._set(name, check_integer(name, getattr(self, name), least, most))

    def _check_dt(self) -> None:
        several = is_list(self.dt)
        values = as_list("dt", self.dt) if several else [self.dt]
        pair = tuple(check_number("dt", value, 0.01, 0.4) for value in values)
        if several and (len(pair) != 2 or pair[0] > pair[1]):
            raise ValueError(f"dt must be a number or [low, high] in seconds, got {self.dt}")
        self._set("dt", pair if several and pair[0] < pair[1] else pair[0])

    def _check_map(self) -> None:
        many = is_list(self.map)
        maps: tuple[Any, ...] = tuple(self.map) if many else (self.map,)  # type: ignore[arg-type]
        if not maps or not all(isinstance(m, str | os.PathLike | Network) for m in maps):
            raise ValueError(
                "map must be a name or path, or a list of them, in Python also a RoadNetwork, got "
                f"{reprlib.repr(self.map)}"
            )
        found: list[Any] = []
        for one in maps:
            if isinstance(one, Network):
                found.append(one)
                continue
            seeded = maps_named(one) if isinstance(one, str) else None
            if seeded is None:
                check_path("map", one)
            found += [absolute(one)] if seeded is None else seeded
        self._set("map", tuple(found))

    def _check_device(self) -> None:
        known = isinstance(self.device, str) and re.fullmatch(r"cpu|auto|cuda(:\d+)?", self.device)
        if not known:
            raise ValueError(
                f"device must be 'cpu', 'cuda', 'cuda:1' and so on, or 'auto', got {self.device!r}"
            )
        if self.output is None:
            self._set("output", "numpy" if self.device == "cpu" else "torch")
        check_choice("output", self.output, ("numpy", "torch"))
        if self.obs_dtype == "bfloat16" and (self.device == "cpu" or self.output == "numpy"):
            raise ValueError(
                "obs_dtype='bfloat16' needs device='cuda' and output='torch': NumPy has no such"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _agents(self) -> tuple[int, int]:
        value = self.agents_per_world
        many = is_list(value)
        pair: tuple[Any, ...] = tuple(value) if many else (value, value)  # type: ignore[arg-type]
        if len(pair) != 2:
            raise ValueError(f"agents_per_world must be a number or [low, high], got {value!r}")
        low = check_integer("agents_per_world", pair[0], 1, 1_000_000)
        high = check_integer("agents_per_world", pair[1], 1, 1_000_000)
        if high < low:
            raise ValueError(f"agents_per_world must rise from low to high, got {value!r}")
        return low, high

    def _check_first_goal(self) -> None:
        if self.first_goal is None:
            return
        pair = tuple(
            check_number("first_goal", v, 1.0, 2000.0)
            for v in as_list("first_goal", self.first_goal)
        )
        if len(pair) != 2 or pair[0] > pair[1]:
            raise ValueError(
                f"first_goal must be [low, high] in metres or None, got {self.first_goal}"
            )
        self._set("first_goal", pair)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> Settings:
        """Returns settings from keyword arguments; an unknown one names its nearest relative."""
        names = [f.name for f in dataclasses.fields(cls)]
        for name in keywords:
            if name not in names:
                raise TypeError(
                    f"unknown setting {name!r}{suggestion(name, names)}; settings are "
                    f"{', '.join(names)}"
                )
        values = dict(keywords)
        mode = values.get("autoreset_mode")
        if mode is not None and not isinstance(mode, str):
            values["autoreset_mode"] = getattr(mode, "value", mode)
        return cls(**values)

    @staticmethod
    def as_recorded(keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Returns keywords of a recording or a run, with what held before there was a setting."""
        return {**EARLIER, **keywords}

    @property
    def dt_range(self) -> tuple[float, float]:
        """Shortest and longest step of a world [s]."""
        if isinstance(self.dt, Sequence):
            return self.dt[0], self.dt[1]
        return self.dt, self.dt

    def one_dt(self, what: str) -> float:
        """Returns the length of a step where all worlds must have the same [s].

        Args:
            what: Needs that.

        Raises:
            ValueError: If worlds draw it.
        """
        low, high = self.dt_range
        if low < high:
            raise ValueError(f"dt must be one number for {what}, got {list(self.dt_range)}")
        return low

    @property
    def steps(self) -> int:
        """Horizon in steps, of the longest that worlds draw."""
        return max(1, round(self.horizon / self.dt_range[1]))

    @property
    def most_steps(self) -> int:
        """Horizon in steps, of the shortest that worlds draw."""
        return max(1, round(self.horizon / self.dt_range[0]))

    @property
    def slots(self) -> int:
        """Agents a world has room for."""
        return tuple(self.agents_per_world)[1]  # type: ignore[arg-type]

    @property
    def threads(self) -> int:
        """CPU threads to use."""
        import multiprocessing

        if self.num_threads is not None:
            return self.num_threads
        if multiprocessing.parent_process() is not None:
            return 1
        return usable_cores()

    @property
    def maps(self) -> tuple[Any, ...]:
        """Names, paths and networks, one a map."""
        return self.map  # type: ignore[return-value]

    @property
    def map_names(self) -> tuple[str, ...]:
        """Maps by name or path, networks by name."""
        return tuple(m if isinstance(m, str) else m.name for m in self.maps)

    @property
    def map_text(self) -> str:
        """Names of the maps as a person reads them, runs of seeds as ranges."""
        return ", ".join(ranges_of(self.map_names))

    def placed(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Returns keywords with the paths in them absolute, so that they hold in any folder."""
        names = {"map", "traffic"} & keywords.keys()
        return {**keywords, **{name: getattr(self, name) for name in names}}

    def plain(self) -> dict[str, Any]:
        """Returns all settings as JSON can hold them; of networks only the names."""
        values = {**vars(self), "map": self.map_names}
        return dict(json.loads(json.dumps(values, default=list)))

    def layout_digest(self) -> str:
        """Returns what tells whether a checkpoint fits: changes with layout and version."""
        layout = dataclasses.asdict(make_layout(self.layout))
        return text_digest(json.dumps([OBSERVATION_VERSION, layout], sort_keys=True))

    def digest(self) -> str:
        """Returns a digest of all settings that influence results.

        Later settings count where they are not as before, so that earlier digests hold.
        """
        values = {
            name: one
            for name, one in vars(self).items()
            if name not in NOT_IN_DIGEST and (name not in EARLIER or one != EARLIER[name])
        }
        values["map"] = [m if isinstance(m, str) else {"network": m.digest()} for m in self.maps]
        return text_digest(json.dumps([OBSERVATION_VERSION, values], sort_keys=True, default=list))
