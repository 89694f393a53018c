"""What of a run a checkpoint holds: how it becomes files, and how a run goes on from them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfdrive_env.config.checks import check_integer, check_number
from selfdrive_env.config.files import write_whole
from selfdrive_env.config.installation import package_version
from selfdrive_env.config.observation import OBSERVATION_VERSION
from selfdrive_env.policies.choice import dynamics_difference
from selfdrive_env.policies.files import POLICY_FILE, PolicyFile, layout_difference
from selfdrive_env.training.checkpoint import (
    CHECKPOINT_VERSION,
    CheckpointError,
    Checkpoints,
    array_bytes,
    arrays_from,
    json_bytes,
    tensor_bytes,
    tensors_from,
    write_folder,
)
from selfdrive_env.training.config import HUGE, TrainConfig, as_recorded, differences
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.network import Networks
from selfdrive_env.training.policy import policy_bytes

__all__ = ["RunState", "restore", "save", "save_failure", "start_from"]

OPTIMIZER_FILE, RANDOM_FILE, STATE_FILE = (
    "optimizer.safetensors", "random.safetensors", "state.json",
)  # fmt: skip


MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of a parameter."""

MAX_TEXT = 500
"""Letters of what a library says of a file."""

WORLDS_EXTRA = 2**24
"""Bytes of the file of worlds beside the arrays: headers and masks."""


@dataclass
class RunState:
    """A run between two updates: what changes with them, and what files of it are about."""

    config: TrainConfig
    ranks: Ranks
    env: Any
    """The worlds of this process."""

    first_world: int
    """Number of the first of them among all."""

    networks: Networks
    optimizer: torch.optim.Adam
    generator: torch.Generator
    """Alike in all processes: each draws for all rows and takes its own."""

    observations: Tensor
    """Rows to act on next, [R, features]."""

    learn: Tensor
    """Whether the transitions of these rows may be learnt from, [R]."""

    updates: int = 0
    steps: int = 0
    """Transitions so far, over all processes."""

    seconds: float = 0.0
    filter_level: float | None = None
    """Running largest advantage, None before the first update."""

    @property
    def folder(self) -> Path:
        """Where the files of the run are."""
        return Path(self.config.out_dir)

    @property
    def actions(self) -> int:
        """Number of discrete actions."""
        return int(self.env.single_action_space.n)

    def write_policy(self) -> Path:
        """Writes the policy as it is now to the folder of the run, as one process; returns it."""
        path = self.folder / POLICY_FILE
        write_whole(path, _common_files(self)[POLICY_FILE], alone=True)
        return path


def save(run: RunState, checkpoints: Checkpoints) -> None:
    """Writes a checkpoint, and the policy of the run.

    Args:
        run: The run; every process of it calls this.
        checkpoints: Of the run.
    """
    common = _common_files(run)
    own = {}
    if run.config.save_worlds:
        masks = {"training.learn": run.learn.cpu().numpy()}
        own[_worlds_file(run.first_world)] = array_bytes({**run.env.get_state(), **masks})
    checkpoints.save(run.updates, common, own)
    if run.ranks.rank == 0:
        write_whole(run.folder / POLICY_FILE, common[POLICY_FILE], alone=True)


def save_failure(run: RunState, batch: Mapping[str, Tensor]) -> Path:
    """Writes the state and a batch apart from the checkpoints, to be looked at.

    Args:
        run: The run.
        batch: What was learnt from when it failed.

    Returns:
        The folder.
    """
    folder = run.folder / f"failed-{run.updates:08d}-{run.ranks.rank}"
    write_folder(folder, {**_common_files(run), "batch.safetensors": tensor_bytes(batch)})
    return folder


def restore(run: RunState, checkpoints: Checkpoints) -> bool:
    """Puts a run, and the policy in its folder, into the state of its newest good checkpoint.

    Args:
        run: The run.
        checkpoints: Of the run.

    Returns:
        Whether the worlds are there, too; otherwise new episodes must be started.

    Raises:
        CheckpointError: If there is none, or it is of another version, layout or settings; the
            difference is named.
    """
    number, files = checkpoints.newest((POLICY_FILE, OPTIMIZER_FILE, RANDOM_FILE, STATE_FILE))
    where = str(checkpoints.path(number))
    with _reading(where, STATE_FILE):
        state = json.loads(files[STATE_FILE])
        _check_fits(run, where, state)
        _check_counts(state)
    with _reading(where, POLICY_FILE):
        run.networks.load_state_dict(tensors_from(files[POLICY_FILE]))
    with _reading(where, OPTIMIZER_FILE):
        _restore_moments(run, tensors_from(files[OPTIMIZER_FILE]))
    with _reading(where, RANDOM_FILE):
        run.generator.set_state(tensors_from(files[RANDOM_FILE])["generator"])
    run.updates, run.steps = state["updates"], state["steps"]
    run.seconds, run.filter_level = state["seconds"], state["filter_level"]
    if run.ranks.rank == 0:  # a kill may have come between the checkpoint and the policy
        write_whole(run.folder / POLICY_FILE, files[POLICY_FILE], alone=True)

    worlds = _worlds_file(run.first_world)
    if worlds not in files or state["processes"] != run.ranks.count:
        if run.ranks.rank == 0:
            text = f"selfdrive_env: {where} has no worlds for this process: they start anew"
            print(text, file=sys.stderr)
        return False
    with _reading(where, worlds):
        arrays = arrays_from(files[worlds], run.env.engine.state_bytes() + WORLDS_EXTRA)
        learn = arrays.pop("training.learn")
        if learn.shape != (run.env.num_envs,) or learn.dtype != np.bool_:
            raise ValueError(f"training.learn is {learn.dtype} of shape {learn.shape}")
        run.observations = torch.as_tensor(run.env.set_state(arrays))
    run.learn = torch.from_numpy(learn).to(run.ranks.device)
    return True


@contextlib.contextmanager
def _reading(where: str, name: str) -> Iterator[None]:
    """Turns what goes wrong with the content of a file into a CheckpointError that names it.

    A checksum that is right says only that the manifest and the file agree.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # whatever libraries make of what nobody here wrote
        what = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_TEXT]
        raise CheckpointError(f"{where} is damaged: {name} cannot be used ({what})") from error


def _check_counts(state: Mapping[str, Any]) -> None:
    """Refuses counts of a checkpoint that are none."""
    check_integer("updates", state["updates"], 0, HUGE)
    check_integer("steps", state["steps"], 0, HUGE)
    check_integer("processes", state["processes"], 1, HUGE)
    check_number("seconds", state["seconds"], 0.0, HUGE)
    if state["filter_level"] is not None:
        check_number("filter_level", state["filter_level"], 0.0, math.inf)


def _restore_moments(run: RunState, moments: Mapping[str, Tensor]) -> None:
    """Gives the optimizer what it had, by the number of the parameter and the name of the field."""
    parameters = list(run.networks.parameters())
    for name, value in moments.items():
        place, _, field = name.partition(".")
        if not place.isdecimal() or int(place) >= len(parameters) or field not in MOMENTS:
            raise ValueError(f"it has an unknown entry {name!r}")
        parameter = parameters[int(place)]
        wanted = torch.Size() if field == "step" else parameter.shape
        if value.shape != wanted or not value.isfinite().all():
            raise ValueError(f"{name} must be finite and of shape {list(wanted)}")
        run.optimizer.state[parameter][field] = value.to(run.ranks.device, torch.float32)
    for number, parameter in enumerate(parameters):
        fields = run.optimizer.state[parameter]
        if fields and set(fields) != set(MOMENTS):
            raise ValueError(f"parameter {number} must have {', '.join(MOMENTS)}, got {[*fields]}")


def start_from(run: RunState, name: str) -> None:
    """Gives a run the weights of a policy, actor and critic.

    Args:
        run: The run.
        name: A run's folder, a policy file or the name of a policy of the package.

    Raises:
        ValueError: If there is none, or its layout, sizes or actions are others, but for trunks
            that may be narrower.
    """
    file = PolicyFile.read(name)
    difference = layout_difference(file.description, run.env.layout)
    if difference is not None:
        raise ValueError(f"start_from {name!r} has another observation layout: {difference}")
    difference = dynamics_difference(file.description.get("env"), run.env.settings)
    if difference is not None:
        raise ValueError(f"start_from {name!r} was trained for {difference}")
    here = {**run.networks.sizes._asdict(), "actions": run.actions}
    there = {**file.description["sizes"], "actions": file.description["actions"]}
    if _narrower_trunk(there["trunk_widths"], here["trunk_widths"]):
        here["trunk_widths"] = there["trunk_widths"]
    found = differences(there, json.loads(json.dumps(here)), "in the policy")
    if found:
        raise ValueError(f"start_from {name!r} has another network: {'; '.join(found)}")
    weights = {name: torch.from_numpy(array) for name, array in file.weights.items()}
    sizes = run.networks.sizes._replace(trunk_widths=tuple(there["trunk_widths"]))
    other = Networks(run.env.layout, sizes, run.actions)
    try:
        other.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"start_from {name!r} does not fit its own description: {error}") from None
    run.networks.take(other)


def _narrower_trunk(there: Sequence[int], here: Sequence[int]) -> bool:
    """Whether trunks have as many layers, none of them wider."""
    return len(there) == len(here) and all(a <= b for a, b in zip(there, here, strict=True))


def _common_files(run: RunState) -> dict[str, bytes]:
    """Returns the files that are the same in all processes."""
    config = run.config.to_table()
    description = {
        "observation_version": OBSERVATION_VERSION,
        "layout": dataclasses.asdict(run.env.layout),
        "layout_digest": run.env.layout_digest,
        "package_version": package_version(),
        "steps": run.steps,
    }
    policy = {
        **description,
        "sizes": run.networks.sizes._asdict(),
        "actions": run.actions,
        "env": config["env"],
    }
    moments = {
        f"{number}.{name}": value
        for number, parameter in enumerate(run.networks.parameters())
        for name, value in run.optimizer.state[parameter].items()
    }
    known = run.filter_level is not None and math.isfinite(run.filter_level)
    state = {
        "version": CHECKPOINT_VERSION,
        **description,
        "config": config,
        "updates": run.updates,
        "seconds": run.seconds,
        "filter_level": run.filter_level if known else None,
        "processes": run.ranks.count,
    }
    return {
        POLICY_FILE: policy_bytes(run.networks, policy),
        OPTIMIZER_FILE: tensor_bytes(moments),
        RANDOM_FILE: tensor_bytes({"generator": run.generator.get_state()}),
        STATE_FILE: json_bytes(state),
    }


def _check_fits(run: RunState, where: str, state: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of another version, layout or settings."""
    if state.get("version") != CHECKPOINT_VERSION:
        raise CheckpointError(
            f"{where} has version {state.get('version')}, this package reads {CHECKPOINT_VERSION}"
        )
    difference = layout_difference(state, run.env.layout)
    if difference is not None:
        raise CheckpointError(f"{where} has another observation layout: {difference}")
    found = differences(as_recorded(state["config"]), run.config.to_table())
    if found:
        raise CheckpointError(f"{where} belongs to other settings: {'; '.join(found)}")


def _worlds_file(first_world: int) -> str:
    return f"worlds-{first_world:08d}.npz"
