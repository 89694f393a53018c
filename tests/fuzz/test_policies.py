"""Policy files changed at random: a policy drives, or one clear error names the file."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.policies.files import HEADER, PolicyFile, find
from selfdrive_env.policies.numpy_policy import NumpyPolicy
from tests.fuzz import harness
from tests.fuzz.values import changed_bytes, changed_json, check_named

Random = np.random.Generator

SEED = 33
NAME = "a.safetensors"


@functools.cache
def small() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the header of a small policy file says, and its weights."""
    content = find("selfplay").read_bytes()
    description = dict(PolicyFile.from_bytes(Path(NAME), content).description)
    layout = {"goals": 1, "lane_points": 3, "boundary_points": 2, "stop_lines": 1, "agents": 2}
    sizes = {"set_widths": [8, 8], "scalar_width": 4, "trunk_widths": [8], "shared_sets": False}
    description |= {"layout": layout, "sizes": sizes, "actions": 12}
    taken: dict[str, Any] = {}
    while True:  # the loader says which array it misses, and of what shape
        file = PolicyFile(Path(NAME), description, ObservationLayout(**layout), taken)
        try:
            NumpyPolicy(file)
        except ValueError as error:
            text = str(error)
            name, _, rest = text.split("description: ")[1].partition(" must be float32 ")
            shape = json.loads(rest.split(", got")[0])
            taken[name] = np.full(shape, 0.1, np.float32)
            continue
        return description, taken


def make(random: Random) -> bytes:
    """The content of a policy file."""
    description, weights = small()
    kind = random.random()
    if kind < 0.1:
        return changed_bytes(packed(description, weights), random)
    if kind < 0.75:
        description = changed_json(description, random)
    if kind > 0.6:
        weights = changed_weights(weights, random)
    return packed(description, weights)


def packed(description: Any, weights: dict[str, Any]) -> bytes:
    """The file that holds a description and weights."""
    header = {HEADER: json.dumps(description)}
    return bytes(safetensors.numpy.save(weights, header))


def changed_weights(weights: dict[str, Any], random: Random) -> dict[str, Any]:
    """Returns weights with an array of other values, shape or type, or without it."""
    weights = dict(weights)
    name = str(random.choice(list(weights)))
    array = weights[name]
    kind = random.random()
    if kind < 0.2:
        del weights[name]
    elif kind < 0.4:
        with np.errstate(over="ignore", invalid="ignore"):
            weights[name] = array.astype(random.choice(["f8", "f2", "i4", "u1"]))
    elif kind < 0.6:
        weights[name] = np.ascontiguousarray(array[..., :1] if array.ndim else array[None])
    elif kind < 0.8:
        values = [np.nan, np.inf, 3e38, -1e30, 0.0] if array.dtype.kind == "f" else [0, 1]
        weights[name] = np.full_like(array, random.choice(values))
    else:
        weights[f"{name}.x"] = array
    return weights


def use(one: bytes, number: int) -> str:
    """Reads the file and lets the policy act."""
    try:
        policy = NumpyPolicy(PolicyFile.from_bytes(Path(NAME), one))
    except ValueError as error:
        check_named(error, (NAME,))
        return "refused"
    with np.errstate(all="ignore"):
        rows = np.full((2, policy.features), 0.3, np.float32)
        assert policy.act(rows).shape == (2,)
    return "drives"


def test_policy_files_are_read_or_refused() -> None:
    use(packed(*small()), 0)
    ends = harness.fuzz(make, use, seed=SEED, count=harness.budget(300), allowed=())
    assert ends["drives"] and ends["refused"]
