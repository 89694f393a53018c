"""Policies by name: scripted, random and constant drivers, policies of runs, and SB3 files.

Nothing is unpickled. Of an SB3 file only the policy's tensors are read, by
`torch.load(weights_only=True)`, and the name of the activation from the JSON beside them.
"""

from __future__ import annotations

import difflib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.layouts import LAYOUTS, Layout
from selfdrive_env.config.observation import OBSERVATION
from selfdrive_env.config.settings import POLICIES, Settings
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.policies.deep_sets import SETS
from selfdrive_env.policies.numpy_policy import load_policy

__all__ = ["SCRIPTED", "Driver", "check_layout", "load"]

CONSTANT = "constant:"
NUM_ACTIONS = len(Settings.jerk_long) * len(Settings.jerk_lat)
SCRIPTED = ("idm", "random", f"{CONSTANT}N")
"""Policies without a file; N is an action."""

ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0.0),
    "ELU": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "LeakyReLU": lambda x: np.where(x > 0.0, x, 0.01 * x),
}
HIDDEN = "mlp_extractor.policy_net."
EXTRACTOR = "features_extractor."
PARTS = {
    *("mlp_extractor", "action_net", "value_net", "log_std"),
    *("features_extractor", "pi_features_extractor", "vf_features_extractor"),
}
"""First words of the tensors of an SB3 policy; whether or not actor and critic share an extractor,
the first of the three is the actor's."""

Act = Callable[..., NDArray[Any]]
Encoder = tuple[NDArray[Any], ...]
"""Weight and bias of the first layer, then of the second."""


@dataclass(frozen=True)
class Driver:
    """Something that drives: actions from observations, or a scripted driver."""

    name: str
    act: Act
    """(observations [rows, features], deterministic=True) -> actions [rows] or [rows, 2]."""

    layout: Layout | None = None
    """Layout of the observations it reads, None for any."""

    features: int | None = None
    """Width of the observations where the layout itself is not known."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it needs of an environment, such as `driver` or `action_type`."""

    learnt: Mapping[str, Any] = field(default_factory=dict)
    """`dt` and `bodies` that it was trained with, where that is known."""


def load(text: str, *, seed: int = 0) -> Driver:
    """Returns a policy.

    Args:
        text: "idm", "random", "constant:N" with an action N, "selfplay", a run's folder, a policy
            file, or an SB3 file (.zip).
        seed: Of the random driver.

    Raises:
        ValueError: For an unknown name or a file that holds no policy this package reads.
    """
    if text == "idm":
        return Driver("idm", _nothing, settings={"driver": "idm"})
    if text == "random":
        return Driver("random", _Random(seed))
    if text.startswith(CONSTANT):
        return Driver(text, _Constant(_action(text)))
    path = Path(text)
    if text in POLICIES:
        return _read_run(text)
    if not path.exists():
        near = difflib.get_close_matches(text, (*SCRIPTED, *POLICIES), 1, 0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"unknown policy {text!r}: use {', '.join(SCRIPTED)} (an action), "
            f"{', '.join(POLICIES)}, a run's folder, a policy file, or an SB3 file (.zip){hint}"
        )
    if path.suffix == ".zip":
        return read_sb3(path)
    return _read_run(text)


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


def _read_run(name: str) -> Driver:
    """Returns a policy of this package's own training."""
    policy = load_policy(name)

    def act(observations: Any, deterministic: bool = True) -> NDArray[Any]:
        return policy.act(observations, deterministic=deterministic)

    # Weights are part of a row: fixed ones must be those that the policy learnt under.
    env = policy.description.get("env", {})
    settings = {"reward": env["reward"]} if env.get("reward") else {}
    learnt = {key: env.get(key, getattr(Settings, key)) for key in ("dt", "bodies")}
    return Driver(name, act, layout=policy.layout, settings=settings, learnt=learnt)


def read_sb3(path: Path) -> Driver:
    """Returns the MlpPolicy of an SB3 file, rebuilt from the shapes of its tensors.

    Of features extractors the Deep Sets of `examples/ppo_sb3.py` are known.

    Args:
        path: What `model.save` of PPO or A2C wrote.

    Raises:
        ValueError: For a file that is damaged or holds another kind of policy.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            weights = io.BytesIO(archive.read("policy.pth"))
            about = json.loads(archive.read("data"))
        tensors = torch.load(weights, map_location="cpu", weights_only=True)
        arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    except (zipfile.BadZipFile, KeyError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of an SB3 policy: {error}") from error
    except Exception as error:  # what torch raises for tensors that would need unpickling
        raise ValueError(f"{path} holds more than tensors and is not read: {error}") from error

    strange = sorted({name.split(".")[0] for name in arrays} - PARTS)
    if strange or "action_net.weight" not in arrays:
        raise ValueError(
            f"{path} is no MlpPolicy of PPO or A2C with flat observations: it has "
            f"{', '.join(strange) or 'no action_net'}"
        )
    numbers = sorted(
        {int(name[len(HIDDEN) :].split(".")[0]) for name in arrays if name.startswith(HIDDEN)}
    )
    names = [*(f"{HIDDEN}{number}" for number in numbers), "action_net"]
    layers = [(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in names]
    inputs = int(layers[0][0].shape[1])
    extract, layout = None, None
    if any(EXTRACTOR in name for name in arrays):
        extract, layout = _read_sets(path, arrays, inputs)
    continuous = "log_std" in arrays
    act = _Perceptron(layers, _activation(path, about), arrays.get("log_std"), extract)
    return Driver(
        str(path),
        act,
        layout=layout,
        features=inputs if layout is None else None,
        settings={"action_type": "continuous"} if continuous else {},
    )


def _read_sets(path: Path, arrays: Mapping[str, NDArray[Any]], inputs: int) -> tuple[_Sets, Layout]:
    """Returns a Deep-Sets extractor, and the layout whose rows it reads.

    Args:
        path: Of the file.
        arrays: All tensors of the policy.
        inputs: Width of what the extractor gives: the scalars, and a maximum for each set.
    """
    own = {
        name.removeprefix(EXTRACTOR): array
        for name, array in arrays.items()
        if name.startswith(EXTRACTOR)
    }
    names = [
        [f"encoders.{number}.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
        for number in range(len(SETS))
    ]
    odd = sorted(set(own) ^ {name for four in names for name in four})
    if odd:
        raise ValueError(
            f"{path} has an unknown features_extractor ({odd[0]} is missing or unknown): only the "
            f"Deep Sets of examples/ppo_sb3.py are read, one encoder each for {', '.join(SETS)}"
        )
    encoders = {
        group: _encoder(path, group, [own[name] for name in four])
        for group, four in zip(SETS, names, strict=True)
    }
    scalars = inputs - sum(len(encoder[-1]) for encoder in encoders.values())
    for layout in LAYOUTS.values():
        if layout.slices[SETS[0]].start == scalars:
            return _Sets(encoders, layout), layout
    known = ", ".join(f"{name} {layout.slices[SETS[0]].start}" for name, layout in LAYOUTS.items())
    raise ValueError(
        f"{path} has a features_extractor for rows with {scalars} scalars, which no layout by name "
        f"has ({known})"
    )


def _encoder(path: Path, group: str, tensors: list[NDArray[Any]]) -> Encoder:
    """Returns the encoder of a group after a look at its shapes."""
    shapes = [tensor.shape for tensor in tensors]
    columns, hidden, out = len(OBSERVATION[group]), shapes[1][:1], shapes[3][:1]
    if shapes != [(*hidden, columns), hidden, (*out, *hidden), out]:
        raise ValueError(
            f"{path} has a features_extractor whose encoder for {group} has tensors of shapes "
            f"{', '.join(map(str, shapes))}: they do not fit {columns} columns"
        )
    return tuple(tensors)


class _Sets:
    """Deep Sets: each slot of a group goes through two layers, then the maximum over the slots."""

    def __init__(self, encoders: Mapping[str, Encoder], layout: Layout) -> None:
        self._encoders, self._slices = encoders, layout.slices

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        parts = [rows[:, : self._slices[SETS[0]].start]]
        for group, (weight, bias, out_weight, out_bias) in self._encoders.items():
            slots = rows[:, self._slices[group]].reshape(len(rows), -1, weight.shape[1])
            hidden = np.maximum(slots @ weight.T + bias, 0.0)
            parts.append((hidden @ out_weight.T + out_bias).max(1))
        return np.concatenate(parts, 1)


def _activation(path: Path, about: Mapping[str, Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Returns the activation named in the JSON of an SB3 file, Tanh where it names none."""
    keywords = about.get("policy_kwargs")
    text = str(keywords.get("activation_fn", "Tanh")) if isinstance(keywords, dict) else "Tanh"
    name = text.strip("<>'").split(".")[-1].split("'")[-1]
    if name not in ACTIVATIONS:
        raise ValueError(f"{path} has the activation {text!r}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class _Perceptron:
    """A multilayer perceptron that gives actions."""

    def __init__(
        self,
        layers: list[tuple[NDArray[Any], NDArray[Any]]],
        activation: Callable[[NDArray[Any]], NDArray[Any]],
        log_std: NDArray[Any] | None,
        extract: Callable[[NDArray[Any]], NDArray[Any]] | None,
    ) -> None:
        self._layers, self._activation, self._log_std = layers, activation, log_std
        self._extract = extract
        self._random = np.random.default_rng(0)

    def __call__(self, observations: Any, deterministic: bool = True) -> NDArray[Any]:
        values = np.asarray(observations, np.float32)
        if self._extract is not None:
            values = self._extract(values)
        for weight, bias in self._layers[:-1]:
            values = self._activation(values @ weight.T + bias)
        values = values @ self._layers[-1][0].T + self._layers[-1][1]
        if self._log_std is not None:
            if not deterministic:
                values = values + np.exp(self._log_std) * self._random.normal(size=values.shape)
            return np.clip(values, -1.0, 1.0).astype(np.float32)
        if not deterministic:  # the largest of logits plus Gumbel noise is a sample
            values = values + self._random.gumbel(size=values.shape)
        return values.argmax(1)


def width(layout: Layout) -> int:
    """Returns how many numbers a row of a layout has."""
    return layout.slices[list(OBSERVATION)[-1]].stop


def _named(layout: Layout) -> str:
    """Returns a layout in words."""
    names = [name for name, known in LAYOUTS.items() if known == layout]
    return f"{names[0] if names else layout} ({width(layout)} values)"


def fitting_layout(policy: Driver) -> str | dict[str, int]:
    """Returns a layout setting that a policy can read, "lean" where it reads any."""
    if policy.layout is not None:
        return vars(policy.layout).copy()
    if policy.features is not None:
        for name, layout in LAYOUTS.items():
            if width(layout) == policy.features:
                return name
    return "lean"


def check_layout(policy: Driver, env: DrivingVectorEnv) -> None:
    """Raises a ValueError that names both layouts unless the policy reads this environment's."""
    there = env.layout
    if policy.layout is not None and policy.layout != there:
        raise ValueError(
            f"policy {policy.name} reads the layout {_named(policy.layout)}, the environment has "
            f"{_named(there)}"
        )
    if policy.features is not None and policy.features != width(there):
        known = ", ".join(_named(layout) for layout in LAYOUTS.values())
        raise ValueError(
            f"policy {policy.name} reads observations of {policy.features} values, the environment "
            f"has {_named(there)}; layouts by name are {known}"
        )
