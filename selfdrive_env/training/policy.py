"""A trained policy in one safetensors file: weights, and in its header what they are for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.policies.choice import lateral_choices
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.policies.files import HEADER, POLICY_FILE, POLICY_VERSION, PolicyFile
from selfdrive_env.policies.numpy_policy import NumpyPolicy
from selfdrive_env.training.checkpoint import MANIFEST, read_file
from selfdrive_env.training.network import Networks

__all__ = ["TorchPolicy", "policy_bytes"]

Description = dict[str, Any]


class TorchPolicy:
    """A trained policy in torch: actor and critic, on any device, for use and for study.

    Args:
        networks: Actor and critic.
        description: What the file's header says: layout, sizes, actions, training.
        layout: Slots of the observation rows that it reads.
        device: Where it computes.
    """

    def __init__(
        self, networks: Networks, description: Description, layout: ObservationLayout, device: str
    ) -> None:
        self.networks = networks.to(device).eval().requires_grad_(False)
        self.description = description
        self.layout = layout
        self.device = torch.device(device)
        self.features = layout.width
        self._laterals = lateral_choices(description["actions"], description.get("env"))
        self._generator = torch.Generator(self.device).manual_seed(0)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> TorchPolicy:
        """Reads the policy in a run's folder, a checkpoint or a policy file.

        Raises:
            ValueError: If the file is damaged, is none of ours or is of another version; of a
                checkpoint the checksums are compared, too.
        """
        folder = Path(path)
        if (folder / MANIFEST).is_file():  # a checkpoint, which has the digest of its file
            content = read_file(folder, POLICY_FILE)
            file = PolicyFile.from_bytes(folder / POLICY_FILE, content)
        else:
            file = PolicyFile.read(path)
        return cls(*_build(file), device)

    @torch.no_grad()
    def act(self, observations: Any, *, deterministic: bool = True) -> Any:
        """Returns an action for each row.

        Args:
            observations: Rows of this policy's layout, array or tensor [B, features].
            deterministic: Whether to take the likeliest longitudinal jerk and the likeliest lateral
                one with it, or draw an action.

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
            actions = likeliest(logits, self._laterals)
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


def likeliest(log_probabilities: Tensor, laterals: int) -> Tensor:
    """Returns what `policies.choice.likeliest` does, of tensors.

    Args:
        log_probabilities: [B, actions].
        laterals: Number of lateral jerks.

    Returns:
        int64 [B].
    """
    pairs = log_probabilities.double().unflatten(1, (-1, laterals))
    longitudinal = pairs.exp().sum(2).argmax(1)
    rows = torch.arange(len(pairs), device=pairs.device)
    return longitudinal * laterals + pairs[rows, longitudinal].argmax(1)


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


def _build(file: PolicyFile) -> tuple[Networks, Description, ObservationLayout]:
    NumpyPolicy(file)  # asks whether there are weights of these sizes, and makes none
    networks = Networks(
        file.layout, Sizes(**file.description["sizes"]), file.description["actions"]
    )
    try:
        networks.load_state_dict({n: torch.from_numpy(array) for n, array in file.weights.items()})
    except RuntimeError as error:
        raise ValueError(
            f"policy {str(file.path)!r} does not fit its own description: {error}"
        ) from None
    return networks, file.description, file.layout
