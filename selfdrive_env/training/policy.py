"""A trained policy in one safetensors file: weights, and in its header what they are for."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfdrive_env.config import OBSERVATION_VERSION, Layout
from selfdrive_env.training.checkpoint import MANIFEST, read_file
from selfdrive_env.training.network import Networks, Sizes

__all__ = ["POLICY_FILE", "Policy", "layout_difference", "policy_bytes"]

POLICY_FILE = "policy.safetensors"
POLICY_VERSION = 1
HEADER = "selfdrive_env_policy"
"""Key of the file's metadata under which the description stands, as JSON."""

Description = dict[str, Any]


class Policy:
    """A policy to drive with.

    Args:
        networks: Actor and critic.
        description: What the file's header says: layout, sizes, actions, training.
        layout: Slots of the observation rows that it reads.
        device: Where it computes.
    """

    def __init__(
        self, networks: Networks, description: Description, layout: Layout, device: str
    ) -> None:
        self.networks = networks.to(device).eval().requires_grad_(False)
        self.description = description
        self.layout = layout
        self.device = torch.device(device)
        self.features = max(one.stop for one in layout.slices.values())
        self._generator = torch.Generator(self.device).manual_seed(0)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> Policy:
        """Reads the policy in a run's folder, a checkpoint or a policy file.

        Raises:
            ValueError: If the file is damaged, is none of ours or is of another version; of a
                checkpoint the checksums are compared, too.
        """
        name, content = _read(Path(path))
        try:
            weights = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise ValueError(f"policy {name!r} is damaged: {error}") from None
        header = _metadata(content).get(HEADER)
        if header is None:
            raise ValueError(f"policy {name!r} has no header {HEADER!r}: not written by us")
        return cls(*_build(name, json.loads(header), weights), device)

    @torch.no_grad()
    def act(self, observations: Any, *, deterministic: bool = True) -> Any:
        """Returns an action for each row.

        Args:
            observations: Rows of this policy's layout, array or tensor [B, features].
            deterministic: Whether to take the likeliest action, or draw one.

        Returns:
            int64 [B], an array for an array and a tensor for a tensor.
        """
        rows = torch.as_tensor(observations)
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(
                f"observations must be rows of {self.features} columns ({self.layout}), got shape "
                f"{tuple(rows.shape)}"
            )
        logits = self.networks.log_probabilities(rows.to(self.device))
        if deterministic:
            actions = logits.argmax(1)
        else:
            draws = torch.rand(len(rows), generator=self._generator, device=self.device)
            actions = choose(logits, draws)
        if isinstance(observations, Tensor):
            return actions.to(observations.device)
        result: NDArray[np.int64] = actions.cpu().numpy()
        return result

    def seed(self, seed: int) -> None:
        """Starts the random numbers of `act` anew."""
        self._generator.manual_seed(seed)


def choose(log_probabilities: Tensor, draws: Tensor) -> Tensor:
    """Returns the actions at which the cumulated probability passes the draws.

    Args:
        log_probabilities: [B, actions].
        draws: Uniform in [0, 1), [B].

    Returns:
        int64 [B].
    """
    passed = log_probabilities.exp().cumsum(1) <= draws[:, None]
    return passed.sum(1).clamp_(max=log_probabilities.shape[1] - 1)


def policy_bytes(networks: Networks, description: Description) -> bytes:
    """Returns the content of a policy file."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in networks.state_dict().items()
    }
    header = {HEADER: json.dumps({"version": POLICY_VERSION, **description})}
    data: bytes = safetensors.torch.save(weights, header)
    return data


def layout_difference(saved: Mapping[str, Any], layout: Layout) -> str | None:
    """Returns what differs between the layout of a file and another, None if nothing does.

    Args:
        saved: With entries `observation_version` and `layout`.
        layout: The other, of this package.
    """
    if saved["observation_version"] != OBSERVATION_VERSION:
        return (
            f"observation version {saved['observation_version']} in the file, "
            f"{OBSERVATION_VERSION} in this package"
        )
    here = dataclasses.asdict(layout)
    found = [
        f"{name} {saved['layout'].get(name)} in the file, {here.get(name)} here"
        for name in {**saved["layout"], **here}
        if saved["layout"].get(name) != here.get(name)
    ]
    return "; ".join(found) or None


def _read(path: Path) -> tuple[str, bytes]:
    """Returns the policy file that a path means, and its content."""
    file = path / POLICY_FILE if path.is_dir() else path
    if (path / MANIFEST).is_file():  # a checkpoint, of which the file may be in pieces
        return str(file), read_file(path, POLICY_FILE)
    if not file.is_file():
        raise ValueError(f"policy {str(path)!r} does not exist, or is no folder of a run")
    if file.suffix != ".safetensors":
        raise ValueError(f"policy must be a folder or end in .safetensors, got {str(path)!r}")
    return str(file), file.read_bytes()


def _metadata(content: bytes) -> dict[str, str]:
    """Returns the metadata of a safetensors file that was read without an error.

    The format: eight bytes with the length of the header, then the header as JSON.
    """
    length = int.from_bytes(content[:8], "little")
    table: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return table


def _build(
    name: str, description: Description, weights: dict[str, Tensor]
) -> tuple[Networks, Description, Layout]:
    version = description.get("version")
    if version != POLICY_VERSION:
        raise ValueError(
            f"policy {name!r} has version {version}, this package reads {POLICY_VERSION}"
        )
    layout = Layout(**description["layout"])
    difference = layout_difference(description, layout)
    if difference is not None:
        raise ValueError(f"policy {name!r} has another layout: {difference}")
    sizes = Sizes(**description["sizes"])
    networks = Networks(layout, sizes, description["actions"])
    try:
        networks.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"policy {name!r} does not fit its own description: {error}") from None
    return networks, description, layout
