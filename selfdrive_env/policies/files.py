"""The file of a trained policy: safetensors with weights, and in its header what they are for."""

from __future__ import annotations

import dataclasses
import json
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from selfdrive_env.config.checks import suggestion
from selfdrive_env.config.choices import POLICIES
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.observation import OBSERVATION_VERSION
from selfdrive_env.state.arrays import F32

__all__ = ["HEADER", "POLICY_FILE", "POLICY_VERSION", "PolicyFile", "layout_difference"]

POLICY_FILE = "policy.safetensors"
POLICY_VERSION = 2
HEADER = "selfdrive_env_policy"
"""Key of the file's metadata under which the description stands, as JSON."""

MAX_WIDTH = 65_536
SIZES = ("set_widths", "scalar_width", "trunk_widths", "shared_sets")


class PolicyFile(NamedTuple):
    """What a file holds, checked."""

    path: Path
    description: dict[str, Any]
    layout: ObservationLayout
    weights: dict[str, F32]

    @classmethod
    def read(cls, name: str | os.PathLike[str]) -> PolicyFile:
        """Reads a policy that came with the package, or in a run's folder, or a policy file.

        Raises:
            ValueError: If there is none, or it is damaged, none of ours or of another version.
        """
        path = find(name)
        return cls.from_bytes(path, path.read_bytes())

    @classmethod
    def from_bytes(cls, path: Path, content: bytes) -> PolicyFile:
        """Reads the content of a policy file.

        Args:
            path: Where it lies, for errors.
            content: All of it.

        Raises:
            ValueError: As `read`.
        """
        try:
            weights = safetensors.numpy.load(content)
        # A type that NumPy does not have is a KeyError, an ImportError or an AttributeError.
        except (safetensors.SafetensorError, LookupError, TypeError, ImportError, AttributeError,
            ValueError) as error:  # fmt: skip
            raise ValueError(f"policy {str(path)!r} is damaged: {error}") from None
        # The format: eight bytes with the length of the header, then the header as JSON.
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(HEADER)
        if header is None:
            raise ValueError(f"policy {str(path)!r} has no header {HEADER!r}: not written by us")
        try:
            description = json.loads(header)
            version = description.get("version")
        except (ValueError, AttributeError, RecursionError):
            raise ValueError(f"policy {str(path)!r} is damaged: its header is no table") from None
        if version != POLICY_VERSION:
            raise ValueError(
                f"policy {str(path)!r} has version {version}, this package reads {POLICY_VERSION}"
            )
        _check_description(path, description)
        difference = layout_difference(description, None)
        if difference is not None:
            raise ValueError(f"policy {str(path)!r} has another layout: {difference}")
        try:
            layout = ObservationLayout(**description["layout"])
        except ValueError as error:
            raise ValueError(f"policy {str(path)!r} is damaged: {error}") from None
        return cls(path, description, layout, weights)

    def weight(self, name: str, *shape: int) -> F32:
        """Returns a tensor of the file.

        Args:
            name: Of the tensor.
            *shape: That it must have.

        Raises:
            ValueError: If there is none of that shape, or it is not finite.
        """
        found = self.weights.get(name)
        if found is None or found.shape != shape or found.dtype != np.float32:
            there = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise ValueError(
                f"policy {str(self.path)!r} does not fit its own description: {name} must be "
                f"float32 {list(shape)}, got {there}"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"policy {str(self.path)!r} is damaged: {name} is not finite")
        return found


def _check_description(path: Path, description: Mapping[str, Any]) -> None:
    """Refuses what a header says of layout, sizes and actions where it is incomplete or absurd."""

    def refuse(what: str) -> None:
        raise ValueError(f"policy {str(path)!r} is damaged: {what}")

    for key in ("layout", "sizes"):
        if not isinstance(description.get(key, {}), dict):
            refuse(f"{key} is no table")
    lacking = [key for key in ("layout", "sizes", "actions") if key not in description]
    lacking += [key for key in SIZES if key not in description.get("sizes", {})]
    if lacking:
        refuse(f"its header lacks {lacking[0]!r}")
    sizes = description["sizes"]
    for name in sizes:
        if name not in SIZES:
            refuse(f"sizes has {name[:40]!r}, known are {', '.join(SIZES)}")
    for name in ("set_widths", "trunk_widths"):
        if not isinstance(sizes[name], list) or not (sizes[name] or name == "trunk_widths"):
            refuse(f"{name} is {reprlib.repr(sizes[name])}, no list of widths")
    if not isinstance(sizes["shared_sets"], bool):
        refuse(f"shared_sets is {reprlib.repr(sizes['shared_sets'])}")
    for group, value in (*description["layout"].items(), ("actions", description["actions"])):
        if type(value) is not int or not 0 <= value <= MAX_WIDTH:
            refuse(f"{group} is {reprlib.repr(value)}")
    for name in SIZES[:3]:
        widths = sizes[name] if isinstance(sizes[name], list) else [sizes[name]]
        if not all(type(width) is int and 1 <= width <= MAX_WIDTH for width in widths):
            refuse(f"{name} is {reprlib.repr(sizes[name])}")


def layout_difference(saved: Mapping[str, Any], layout: ObservationLayout | None) -> str | None:
    """Returns what differs between the layout of a file and another, None if nothing does.

    Args:
        saved: With entries `observation_version` and `layout`.
        layout: The other, of this package; None asks only whether this package has such layouts.
    """
    if saved.get("observation_version") != OBSERVATION_VERSION:
        return (
            f"observation version {saved.get('observation_version')} in the file, "
            f"{OBSERVATION_VERSION} in this package: train it anew (docs/changes-of-rows.md), or "
            "drive it with the version of the package that trained it"
        )
    groups = [one.name for one in dataclasses.fields(ObservationLayout)]
    there = saved["layout"]
    if layout is None:
        odd = sorted(set(there) ^ set(groups))
        return f"{odd[0]} in one of file and package" if odd else None
    here = dataclasses.asdict(layout)
    found = [
        f"{name} {there.get(name)} in the file, {here.get(name)} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
    return "; ".join(found) or None


def find(name: str | os.PathLike[str]) -> Path:
    """Returns the policy file that a name or path means."""
    path = Path(name)
    if str(name) in POLICIES:
        path = Path(__file__).with_name(f"{name}.safetensors")
    try:
        file = path / POLICY_FILE if path.is_dir() else path
        found = file.is_file()
    except OSError as error:
        raise ValueError(f"policy {reprlib.repr(str(name))} is no path: {error.strerror}") from None
    if not found:
        hint = suggestion(name, POLICIES, "")
        raise ValueError(f"policy {str(name)!r} does not exist, or is no folder of a run{hint}")
    if file.suffix != ".safetensors":
        raise ValueError(f"policy must be a folder or end in .safetensors, got {str(name)!r}")
    return file
