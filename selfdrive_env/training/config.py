"""Every setting of a training run, with unit, default and check; presets, files and `key=value`."""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfdrive_env.config.checks import (
    Network,
    as_list,
    as_plain,
    as_table,
    check_choice,
    check_integer,
    check_number,
    read_pairs,
    suggestion,
)
from selfdrive_env.config.images import STATE, require_rows
from selfdrive_env.config.settings import DEFAULT_AGENTS, EARLIER, Settings

__all__ = [
    "FREE_ON_RESUME",
    "PRESETS",
    "TrainConfig",
    "as_recorded",
    "differences",
    "from_table",
    "load_config",
    "parse_assignments",
    "read_file",
]

HUGE = 10**15

OWN_ENV_SETTINGS = {
    "num_envs": "set num_worlds",
    "device": "set device",
    "output": "training always takes torch tensors",
    "copy": "training copies rows itself",
    "world_offset": "the number of the process decides",
    "driver": "the policy drives",
    "render_mode": "training draws nothing",
}
"""Settings of the environment that training decides, and what to do instead."""

FREE_ON_RESUME = (
    *("steps", "minutes", "out_dir", "device", "torch_threads", "checkpoint_minutes"),
    *("keep_checkpoints", "save_worlds", "tensorboard", "compile"),
)
"""Settings that may differ from those of the checkpoint that a run goes on from."""


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run, checked. A *step* is one transition of one agent."""

    steps: int = 1_000_000_000
    """Budget of the whole run, over all processes [transitions]."""

    minutes: float | None = None
    """Budget of the whole run; the schedules follow whichever budget is spent faster [min]."""

    seed: int = 0
    start_from: str | None = None
    """Policy whose weights a new run starts with: a run's folder, a file or a name; None draws
    them. Layout, sizes and number of actions must agree, but `trunk_widths` may be larger here;
    reward weights and maps need not."""

    out_dir: str = "runs/train"
    device: str = "cpu"
    """Where worlds and learner live: "cpu", "cuda", "cuda:1" and so on, or "auto"."""

    torch_threads: int | None = None
    """CPU threads of the learner; None takes as many as torch has in the process."""

    num_worlds: int = 8
    """Worlds over all processes."""

    env: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the environment, see `selfdrive_env.config.settings.Settings`."""

    rollout: int = 128
    """Steps of every world between two updates."""

    epochs: int = 3
    minibatch: int = 262_144
    """Transitions of a gradient step over all processes; drawn at random, so on average."""

    learning_rate: float = 5e-4
    """At the start; falls to zero along half a cosine."""

    adam_epsilon: float = 1e-5
    gamma: float = 0.999
    """Discount of what comes 0.3 s later; of a step dt long it is gamma ** (dt / 0.3)."""

    gae_lambda: float = 0.95
    """Weight of longer estimates of the advantage, likewise for each 0.3 s."""

    clip: float = 0.2
    entropy: float = 0.01
    entropy_end: float | None = None
    """Weight of the entropy when the budget is spent, in a straight line from `entropy`; None: the
    same throughout."""

    value: float = 0.5
    """Weight of the value loss."""

    max_grad_norm: float = 0.5
    clip_apart: bool = False
    """Whether gradients of actor, critic and what they share are each clipped to `max_grad_norm`;
    otherwise all together."""

    filter: float = 0.01
    """Transitions with an advantage below this share of the running largest one are left out of
    learning; 0 keeps all (the paper: 0.01)."""

    filter_rate: float = 0.25
    """Weight of the newest rollout in the running largest advantage (the paper: 0.25)."""

    set_widths: tuple[int, ...] = (64, 128)
    """Layers of the network of each element of a set."""

    scalar_width: int = 128
    """Layer for what is no set."""

    trunk_widths: tuple[int, ...] = (1024, 1024, 1024)
    shared_sets: bool = False
    """Whether actor and critic share what reads the row, up to the trunk."""

    normalize_values: bool = False
    """Whether the critic learns returns in units of their running spread (PopArt)."""

    precision: str = "float32"
    """Of the learner's arithmetic: "float32" or, on CUDA, "bfloat16" (weights stay float32)."""

    compile: bool = False
    """Whether torch.compile takes the networks (CUDA only)."""

    checkpoint_minutes: float = 5.0
    """Longest time that a killed run loses; 0 saves after every update [min]."""

    keep_checkpoints: int = 2
    save_worlds: bool = True
    """Whether checkpoints hold the state of the worlds; without, resuming starts new episodes."""

    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Checks every value and brings sequences into one form."""
        for name, low, high in (
            ("steps", 1, HUGE),
            ("seed", 0, 2**63 - 1),
            ("num_worlds", 1, 2**31),
            ("rollout", 1, 65_536),
            ("epochs", 1, 1000),
            ("minibatch", 1, HUGE),
            ("scalar_width", 1, 65_536),
            ("keep_checkpoints", 1, 1000),
        ):
            check_integer(name, getattr(self, name), low, high)
        for name, least, most in (
            ("learning_rate", 0.0, 10.0),
            ("adam_epsilon", 1e-12, 1.0),
            ("gamma", 0.0, 1.0),
            ("gae_lambda", 0.0, 1.0),
            ("clip", 1e-6, 10.0),
            ("entropy", 0.0, 100.0),
            ("value", 0.0, 1000.0),
            ("max_grad_norm", 1e-6, 1e6),
            ("filter", 0.0, 1.0),
            ("filter_rate", 1e-6, 1.0),
            ("checkpoint_minutes", 0.0, 1e6),
        ):
            self._set(name, check_number(name, getattr(self, name), least, most))
        if self.minutes is not None:
            self._set("minutes", check_number("minutes", self.minutes, 1e-3, 1e7))
        if self.entropy_end is not None:
            self._set("entropy_end", check_number("entropy_end", self.entropy_end, 0.0, 100.0))
        if self.torch_threads is not None:
            check_integer("torch_threads", self.torch_threads, 1, 4096)
        for name in ("set_widths", "trunk_widths"):
            values = as_list(name, getattr(self, name))
            if not 1 <= len(values) <= 16:
                raise ValueError(f"{name} must list 1 to 16 widths, got {list(values)}")
            self._set(name, tuple(check_integer(name, v, 1, 65_536) for v in values))
        for name in (
            *("shared_sets", "normalize_values", "save_worlds", "tensorboard", "compile"),
            "clip_apart",
        ):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if not isinstance(self.out_dir, str | os.PathLike) or not os.fspath(self.out_dir):
            raise ValueError(f"out_dir must be the path of a folder, got {self.out_dir!r}")
        self._set("out_dir", os.fspath(self.out_dir))
        if self.start_from is not None:
            if not isinstance(self.start_from, str | os.PathLike) or not os.fspath(self.start_from):
                raise ValueError(f"start_from must be a policy, got {self.start_from!r}")
            self._set("start_from", os.fspath(self.start_from))
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        self._check_env()
        self._check_together()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_env(self) -> None:
        table = dict(as_table("env", self.env))
        for name, instead in OWN_ENV_SETTINGS.items():
            if name in table:
                raise ValueError(f"env.{name} cannot be set ({instead}), got {table[name]!r}")
        table = {**{name: getattr(Settings, name) for name in EARLIER}, **table}  # say them always
        self._set("env", {name: as_plain(value) for name, value in table.items()})
        try:
            settings = self.settings()
        except (TypeError, ValueError) as error:
            raise ValueError(f"env: {error}") from None
        for one in settings.maps:
            if isinstance(one, Network):
                raise ValueError(
                    "env.map must be names or paths for training, which a run is resumed from, got "
                    f"the RoadNetwork {one.name!r}: save it with RoadNetwork.save(path) and give "
                    "the path"
                )
        if settings.action_type != "discrete":
            raise ValueError(
                f"env.action_type must be discrete for training, got {settings.action_type!r}"
            )
        if settings.autoreset_mode != "SameStep":
            raise ValueError(
                f"env.autoreset_mode must be SameStep for training, got {settings.autoreset_mode!r}"
            )

    def _check_together(self) -> None:
        """Refuses settings that are fine alone and contradict each other."""
        if self.device == "cpu":
            if self.precision != "float32":
                raise ValueError(
                    f"precision={self.precision!r} needs a CUDA device, got device='cpu'"
                )
            if self.compile:
                raise ValueError("compile=true needs a CUDA device, got device='cpu'")
        if self.minibatch > self.batch:
            raise ValueError(
                f"minibatch must be at most the {self.batch} transitions of a rollout "
                f"(rollout={self.rollout} x num_worlds={self.num_worlds} x agents_per_world="
                f"{self.settings().slots}), got {self.minibatch}"
            )
        if self.steps < self.batch:
            raise ValueError(
                f"steps must be at least the {self.batch} transitions of one rollout, got "
                f"{self.steps}"
            )

    def settings(self) -> Settings:
        """Returns the settings of the environment."""
        require_rows(self.env.get("observation", STATE), "training")
        return Settings.from_keywords({**self.env, "device": self.device, "output": "torch"})

    @property
    def batch(self) -> int:
        """Transitions of a rollout over all processes."""
        return self.rollout * self.num_worlds * self.settings().slots

    def to_table(self) -> dict[str, Any]:
        """Returns all settings as JSON holds them."""
        table: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=list))
        return table

    def changed(self, **settings: Any) -> TrainConfig:
        """Returns the same with some settings changed."""
        return dataclasses.replace(self, **settings)


BEGINNER = {"progress": 0.1, "goal": 10.0, "overspeed": 0.2, "stop_line": 2.0, "comfort": 0.01}
"""Metres of progress show the way; what they pay for speeding, overspeed takes back. Comfort at its
usual weight costs a beginner more than crashing does, so he would stand still."""

PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {
        "steps": 50_000_000,
        "minutes": 10.0,
        "out_dir": "runs/cpu",
        "num_worlds": 8,
        "env": {
            "map": ["riverside", "hillcrest"],
            "layout": "lean",
            "bodies": "typed",
            "agents_per_world": DEFAULT_AGENTS,
            "preset": "eval",
            "reward": BEGINNER,
            "horizon": 90.0,
            "on_goal": "new_route",
            "further_goals": 1,
        },
        "rollout": 64,
        "epochs": 3,
        "minibatch": 2048,
        "learning_rate": 1e-3,
        "gamma": 0.98,
        "entropy": 0.01,
        # Little pays here, see docs/training-notes.md: nearly all advantages pass.
        "filter": 0.0,
        "set_widths": (32, 32),
        "scalar_width": 64,
        "trunk_widths": (128, 128),
        "shared_sets": True,
        "normalize_values": True,
        "checkpoint_minutes": 1.0,
    },
    "gpu": {
        "device": "cuda",
        "out_dir": "runs/gpu",
        "num_worlds": 512,
        "env": {
            "map": ["riverside", "hillcrest"],
            "map_variants": 4,
            "layout": "full",
            "agents_per_world": 64,
            "preset": "train",
            "obs_dtype": "bfloat16",
            "lane_dropout": 0.5,
            "boundary_dropout": 0.4,
            "blind_share": 0.05,
            "braking_share": 0.1,
        },
        "precision": "bfloat16",
        "checkpoint_minutes": 5.0,
    },
}
"""Name -> settings that differ from the defaults above, which are the paper's."""

PRESET_MEANINGS = {
    "cpu": "two cores, ten minutes, two towns",
    "gpu": "one CUDA device, two towns and their variants",
}
"""What each of them is."""


def load_config(
    preset: str | None = None,
    file: str | os.PathLike[str] | None = None,
    assignments: Iterable[str] = (),
    base: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Returns settings from a preset, changed by a file, changed by `key=value`.

    Args:
        preset: One of `PRESETS`, or None for the defaults.
        file: JSON or TOML; its table `env` changes the preset's entry by entry.
        assignments: `key=value`; `env.key=value` for a setting of the environment.
        base: A table of settings that stands in for the preset.
    """
    if preset is not None:
        check_choice("preset", preset, tuple(PRESETS))
    table = dict(base) if base is not None else dict(PRESETS[preset] if preset else {})
    changes = [read_file(file)] if file is not None else []
    changes.append(parse_assignments(assignments))
    for change in changes:
        env = {**table.get("env", {}), **as_table("env", change.get("env", {}))}
        table = {**table, **change, "env": env}
    return from_table(table)


def from_table(table: Mapping[str, Any]) -> TrainConfig:
    """Returns settings from a table; an unknown one names its nearest relative."""
    names = [f.name for f in dataclasses.fields(TrainConfig)]
    for name in table:
        if name not in names:
            raise ValueError(
                f"unknown setting {name!r}{suggestion(name, names, '')}; settings are "
                f"{', '.join(names)}"
            )
    return TrainConfig(**table)


def as_recorded(table: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the table of a run, with what held where it lacks settings that came later."""
    return {**table, "env": Settings.as_recorded(as_table("env", table.get("env", {})))}


def read_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the settings in a JSON or TOML file."""
    name = os.fspath(path)
    ending = Path(name).suffix
    if ending not in (".json", ".toml"):
        raise ValueError(f"config must be a file that ends in .json or .toml, got {name!r}")
    try:
        text = Path(name).read_text(encoding="utf-8")
        table = json.loads(text) if ending == ".json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config {name!r} is not valid {ending[1:].upper()}: {error}") from None
    if not isinstance(table, dict):
        raise ValueError(f"config {name!r} must hold a table of settings, got {table!r}")
    return table


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Returns the table that `key=value` words write; a value is JSON, or else plain text."""
    table: dict[str, Any] = {}
    for key, value in read_pairs(assignments).items():
        parts = key.split(".")
        if len(parts) == 1:
            table[key] = value
        elif len(parts) == 2 and parts[0] == "env" and parts[1]:
            inner = table.setdefault("env", {})
            if not isinstance(inner, dict):
                raise ValueError(f"set env and {key} contradict each other, got env={inner!r}")
            inner[parts[1]] = value
        else:
            raise ValueError(f"set must name a setting or env.SETTING, got {key!r}")
    return table


def differences(
    saved: Mapping[str, Any], here: Mapping[str, Any], where: str = "in the checkpoint"
) -> list[str]:
    """Returns what differs between two tables of settings, one phrase a setting.

    Args:
        saved: Of the checkpoint.
        here: Of this run.
        where: What `saved` is from.
    """
    found = []
    for name in sorted({*saved, *here} - set(FREE_ON_RESUME)):
        old, new = saved.get(name), here.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [f"{name}.{rest}" for rest in differences(old, new, where)]
        elif old != new:
            found.append(f"{name} is {old!r} {where} and {new!r} here")
    return found
