"""The vector environment as a Stable-Baselines3 `VecEnv`, batched values, Deep Sets, saved actors.

Every row of the environment is one sub-environment. SB3 has no row mask: rows whose
`infos["learn"]` is False are trained on like others, so leave `blind_share` and `braking_share` at
0; rows whose `infos["valid"]` is False (no free place for the agent) see zeros and get no reward.

`read_actor` unpickles nothing, unlike SB3's own `load`: of a file only the policy's tensors are
read, by `torch.load(weights_only=True)`, and the name of the activation from the JSON beside them.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

try:
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.utils import obs_as_tensor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError(
        "the SB3 adapter needs Stable-Baselines3: pip install 'selfdrive_env[sb3]'"
    ) from error

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import OBSERVATION_VERSION
from selfdrive_env.policies.encoder import Encoder, Sizes
from selfdrive_env.policies.files import PolicyFile
from selfdrive_env.state.arrays import F32

__all__ = ["Actor", "BatchedBootstrap", "DeepSets", "SB3VecEnv", "read_actor"]

Info = dict[str, Any]
Tensors = Mapping[str, torch.Tensor]

ACTIVATIONS = ("Tanh", "ReLU", "ELU", "LeakyReLU")
ACTOR = ("features_extractor.", "mlp_extractor.policy_net.", "action_net.", "log_std")
"""What the names of an actor's tensors begin with in an SB3 policy, the action's layer included."""

ENCODER = "features_extractor.encoder."
EARLIER_SCALARS = (31, 37)
"""Columns before the sets in rows of observation version 1, lean and full."""

"""What the names of the tensors of Deep Sets begin with there."""

PARTS = {
    *("mlp_extractor", "action_net", "value_net", "log_std"),
    *("features_extractor", "pi_features_extractor", "vf_features_extractor"),
}
"""First words of the tensors of an SB3 policy; whether or not actor and critic share an extractor,
the first of the three is the actor's."""


class SB3VecEnv(VecEnv):
    """Rows of a vector environment as the sub-environments of Stable-Baselines3.

    Returned arrays belong to the caller, whatever the setting `copy`. The info of a row whose
    episode ended holds `terminal_observation`, `TimeLimit.truncated` and the metrics of the episode
    by name (for `VecMonitor(info_keywords=...)`); the infos of other rows are empty and used again
    at each step, so do not write to them.

    Args:
        env: Id (`"selfdrive_env/SelfPlay-v0"`), or a vector environment with SameStep autoreset.
        **settings: Keywords of `gymnasium.make_vec`; only with an id.

    Raises:
        TypeError: If an environment was given together with settings, or is no vector environment.
        ValueError: For another autoreset mode: SB3 would train on the rows of a reset.
    """

    def __init__(self, env: str | VectorEnv[Any, Any, Any], **settings: Any) -> None:
        if isinstance(env, str):
            env = gymnasium.make_vec(env, **settings)
        elif settings:
            raise TypeError(f"settings {sorted(settings)} need an id, got an environment")
        if not isinstance(env, VectorEnv):
            raise TypeError(f"env must be an id or a VectorEnv, got {type(env).__name__}")
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            name = getattr(mode, "value", mode)
            raise ValueError(f"autoreset_mode must be 'SameStep' for SB3, got {name!r}")
        self.env = env
        self.spec = env.spec
        self._actions: Any = None
        self._idle: list[Info] = [{} for _ in range(env.num_envs)]
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = env.metadata

    def reset(self) -> Any:
        """Starts new episodes with the seed and options set before.

        Returns:
            Observations, float32 [num_envs, features]; pictures, or some by name.
        """
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError("options must be the same for all rows: they share one environment")
        seed = self._seeds[0]
        observations, infos = self.env.reset(seed=seed, options=options or None)
        self.reset_infos = _row_infos(infos, np.arange(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        return _copied(observations)

    def step_async(self, actions: Any) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, F32, NDArray[np.bool_], list[Info]]:
        """Steps all rows.

        Returns:
            Observations float32 [num_envs, features], rewards float32 [num_envs], ends of episodes
            bool [num_envs], and an info for each row.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        done = terminated | truncated
        row_infos = self._idle.copy()
        ended = np.flatnonzero(done)
        if len(ended):
            finals = _rows_of(infos["final_obs"], ended)
            cut = (truncated & ~terminated)[ended].tolist()
            metrics = _row_infos(infos["final_info"], ended)
            for place, row in enumerate(ended.tolist()):
                info = metrics[place]
                info["terminal_observation"] = finals[place]
                info["TimeLimit.truncated"] = cut[place]
                row_infos[row] = info
        return self._owned(observations), self._owned(rewards), done, row_infos

    def _owned(self, array: Any) -> Any:
        copies = getattr(getattr(self.env.unwrapped, "settings", None), "copy", False)
        return array if copies else _copied(array)

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of the environment, once for each of the rows `indices`."""
        return [self._attribute(attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the environment, which all rows share: `indices` must hold all."""
        if set(self._rows(indices)) != set(range(self.num_envs)):
            raise ValueError(
                f"indices must hold all {self.num_envs} rows, which share {attr_name!r}, got "
                f"{indices!r}"
            )
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the environment once; returns its result for each of the rows.

        `render` gives each row its own frame.
        """
        rows = self._rows(indices)
        if method_name == "render":
            frame = self._attribute("frame")
            return [None if self.render_mode is None else frame(row) for row in rows]
        return [self._attribute(method_name)(*method_args, **method_kwargs)] * len(rows)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Returns for each of the rows whether a Gymnasium wrapper of that class is in place."""
        env: Any = self.env
        while not isinstance(env, wrapper_class) and env is not env.unwrapped:
            env = env.env
        return [isinstance(env, wrapper_class)] * len(self._rows(indices))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Returns a frame for each row, following its agent."""
        return self.env_method("render")

    def _attribute(self, name: str) -> Any:
        return getattr(self.env if hasattr(self.env, name) else self.env.unwrapped, name)

    def _rows(self, indices: Any) -> list[int]:
        rows: Iterable[int] = self._get_indices(indices)
        return [range(self.num_envs)[int(row)] for row in rows]


def _copied(observations: Any) -> Any:
    """Returns a copy of an array, or of arrays by name."""
    if isinstance(observations, dict):
        return {name: one.copy() for name, one in observations.items()}
    return np.array(observations)


def _rows_of(observations: Any, rows: NDArray[np.integer]) -> Any:
    """Returns the observations of some rows, one after the other."""
    if not isinstance(observations, dict):
        return observations[rows]
    return [{name: one[row] for name, one in observations.items()} for row in rows.tolist()]


def _stacked(observations: list[Any]) -> Any:
    """Returns observations of single rows as those of a batch."""
    first = observations[0]
    if not isinstance(first, dict):
        return np.stack(observations)
    return {name: np.stack([one[name] for one in observations]) for name in first}


def _row_infos(infos: Mapping[str, Any], rows: NDArray[np.integer]) -> list[Info]:
    """Turns dense arrays by name into one dict of Python numbers for each of the rows."""
    names = [name for name in infos if not name.startswith("_")]
    columns = [np.asarray(infos[name])[rows].tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


class BatchedBootstrap(BaseCallback):
    """Adds gamma V(terminal observation) to the rewards of truncated rows in one forward pass.

    On-policy algorithms of SB3 do the same one row at a time, which takes most of the time when a
    whole world is truncated. As a callback of `learn` it comes after all wrappers: `VecMonitor`
    counts the bare rewards, and under `VecNormalize` both sides are normalised. Truncated rows then
    report `TimeLimit.truncated` False, so that SB3 does not add the value again.
    """

    def _init_callback(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TypeError(
                "BatchedBootstrap needs an on-policy algorithm, whose values it takes, got "
                f"{type(self.model).__name__}"
            )

    def _on_step(self) -> bool:
        infos, rewards = self.locals["infos"], self.locals["rewards"]
        ended = np.flatnonzero(self.locals["dones"])
        cut = [row for row in ended.tolist() if infos[row].get("TimeLimit.truncated", False)]
        if cut:
            finals = _stacked([infos[row]["terminal_observation"] for row in cut])
            model: Any = self.model
            with torch.no_grad():
                values = model.policy.predict_values(obs_as_tensor(finals, model.device))
            rewards[cut] += model.gamma * values.flatten().cpu().numpy()
            for row in cut:
                infos[row]["TimeLimit.truncated"] = False
        return True


class DeepSets(BaseFeaturesExtractor):
    """Deep Sets, the encoder of this package's policies: the slots of a group in any order.

    On the CPU all sets go through their networks in one pass, forwards and back.

    Args:
        observation_space: Rows of the layout.
        layout: Slots of a row, by name or as such.
        set_widths: Layers of the network of each slot.
        scalar_width: Layer for what is no set.
    """

    def __init__(
        self,
        observation_space: Box,
        layout: str | ObservationLayout = "lean",
        set_widths: Sequence[int] = (32, 32),
        scalar_width: int = 64,
    ) -> None:
        slots = LAYOUTS[layout] if isinstance(layout, str) else layout
        if observation_space.shape != (slots.width,):
            raise ValueError(
                f"layout {layout} has rows of {slots.width} values, got observations of shape "
                f"{observation_space.shape}"
            )
        generator = torch.Generator().manual_seed(torch.initial_seed())
        encoder = Encoder(slots, Sizes(tuple(set_widths), scalar_width, ()), generator)
        super().__init__(observation_space, encoder.width)
        self.encoder, self.layout = encoder, slots

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Returns what the rows say, [B, features_dim]."""
        code: torch.Tensor = self.encoder(observations)
        return code

    def start_from(self, policy: str | os.PathLike[str]) -> None:
        """Takes the weights of a trained policy's encoder.

        Call it when the model is made: SB3 draws the weights of its extractors anew before.

        Args:
            policy: As `load_policy` takes it: "selfplay", the folder of a run, a policy file.

        Raises:
            ValueError: If it cannot be read, or has another layout or other layers.
        """
        file = PolicyFile.read(policy)
        if file.layout != self.layout:
            raise ValueError(
                f"policy {str(file.path)!r} has the layout {file.layout}, the extractor "
                f"{self.layout}"
            )
        prefix = "encoders.0."
        tensors = {
            name.removeprefix(prefix): torch.from_numpy(array)
            for name, array in file.weights.items()
            if name.startswith(prefix)
        }
        try:
            self.encoder.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(
                f"policy {str(file.path)!r} has other layers: {' '.join(str(error).split())}"
            ) from None


class Actor(NamedTuple):
    """What drives, of an SB3 file."""

    policy: ActorCriticPolicy
    """Its critic is not that of the file."""

    features: int
    """Numbers of a row that it reads."""

    layout: ObservationLayout | None
    """Layout of these rows, where the shapes of Deep Sets tell it."""

    continuous: bool

    def act(self, observations: Any, deterministic: bool = True) -> NDArray[Any]:
        """Returns an action for each row, [B] or [B, 2].

        Args:
            observations: [B, features].
            deterministic: Whether to take the likeliest action, or draw one.
        """
        rows = np.asarray(observations, np.float32)
        return self.policy.predict(rows, deterministic=deterministic)[0]


def read_actor(path: Path) -> Actor:
    """Reads the actor of a saved MlpPolicy; the shapes of its tensors tell its layers.

    Of features extractors `DeepSets` is known.

    Args:
        path: What `model.save` of PPO or A2C wrote.

    Raises:
        ValueError: For a file that is damaged or holds another kind of policy.
    """
    tensors, about = _read_zip(path)
    strange = sorted({name.split(".")[0] for name in tensors} - PARTS)
    weight = tensors.get("action_net.weight")
    if strange or weight is None:
        raise ValueError(
            f"{path} is no MlpPolicy of PPO or A2C with flat observations: it has "
            f"{', '.join(strange) or 'no action_net'}"
        )
    found = (re.fullmatch(r"mlp_extractor\.policy_net\.(\d{1,4})\.weight", n) for n in tensors)
    layers = [tensors[m[0]] for m in sorted(filter(None, found), key=lambda m: int(m[1]))]
    if any(layer.ndim != 2 or not layer.numel() for layer in (*layers, weight)):
        raise ValueError(f"{path} has a layer of policy_net or action_net that is no matrix")
    inputs = int([*layers, weight][0].shape[1])
    options: dict[str, Any] = {}
    layout, features = None, inputs
    if any("features_extractor." in name for name in tensors):
        keywords = _deep_sets(path, tensors)
        layout = keywords["layout"]
        features = layout.width
        options = {"features_extractor_class": DeepSets, "features_extractor_kwargs": keywords}
    continuous = "log_std" in tensors
    actions = len(weight)
    policy = ActorCriticPolicy(
        Box(-1.0, 1.0, (features,)),
        Box(-1.0, 1.0, (actions,)) if continuous else Discrete(actions),
        lambda _: 0.0,
        net_arch={"pi": [len(layer) for layer in layers], "vf": []},
        activation_fn=_activation(path, about),
        ortho_init=False,
        **options,
    )
    _fill(path, policy, tensors)
    policy.set_training_mode(False)
    return Actor(policy, features, layout, continuous)


def _read_zip(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Returns the tensors of a policy, and what JSON says of the model."""
    try:
        with zipfile.ZipFile(path) as archive:
            weights = io.BytesIO(archive.read("policy.pth"))
            about = json.loads(archive.read("data"))
        tensors = torch.load(weights, map_location="cpu", weights_only=True)
        found = {str(name): tensor.float() for name, tensor in tensors.items()}
    except (zipfile.BadZipFile, KeyError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of an SB3 policy: {error}") from error
    except Exception as error:  # what torch raises for tensors that would need unpickling
        raise ValueError(f"{path} holds more than tensors and is not read: {error}") from error
    return found, about if isinstance(about, dict) else {}


def _deep_sets(path: Path, tensors: Tensors) -> dict[str, Any]:
    """Returns the keywords of Deep Sets: the layout that those of a file read, and their widths.

    Args:
        path: Of the file.
        tensors: All tensors of the policy.
    """
    scalar = tensors.get(f"{ENCODER}scalar.weight", torch.empty(0))
    pattern = re.compile(re.escape(ENCODER) + r"elements\.lane_points\.(\d{1,4})\.weight")
    found = (pattern.fullmatch(name) for name in tensors)
    layers = [tensors[one[0]] for one in sorted(filter(None, found), key=lambda m: int(m[1]))]
    if any(one.ndim != 2 or not one.numel() for one in (scalar, *layers)) or not layers:
        raise ValueError(f"{path} has an unknown features_extractor: only DeepSets is read")
    width, scalars = scalar.shape
    starts = {name: layout.slices["lane_points"].start for name, layout in LAYOUTS.items()}
    for name, start in starts.items():
        if start == scalars:
            widths = [len(layer) for layer in layers]
            return {"layout": LAYOUTS[name], "set_widths": widths, "scalar_width": width}
    known = ", ".join(f"{name} {start}" for name, start in starts.items())
    earlier = ""
    if scalars in EARLIER_SCALARS:
        earlier = f": it reads observation version 1, here is {OBSERVATION_VERSION}; train it anew"
    raise ValueError(
        f"{path} has a features_extractor for rows with {scalars} scalars, which no layout by name "
        f"has ({known}){earlier}"
    )


def _activation(path: Path, about: Mapping[str, Any]) -> type[torch.nn.Module]:
    """Returns the activation named in the JSON of a file, Tanh where it names none."""
    keywords = about.get("policy_kwargs")
    text = str(keywords.get("activation_fn", "Tanh")) if isinstance(keywords, dict) else "Tanh"
    name = text.strip("<>'").split(".")[-1].split("'")[-1]
    if name not in ACTIVATIONS:
        raise ValueError(f"{path} has the activation {text!r}; known are {', '.join(ACTIVATIONS)}")
    activation: type[torch.nn.Module] = getattr(torch.nn, name)
    return activation


def _fill(path: Path, policy: ActorCriticPolicy, tensors: Tensors) -> None:
    """Gives an actor its tensors; the critic stays as it is."""
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(ACTOR)}
    try:
        result = policy.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path} has other layers: {' '.join(str(error).split())}") from None
    odd = sorted(n for n in (*result.missing_keys, *result.unexpected_keys) if n.startswith(ACTOR))
    if odd:
        raise ValueError(
            f"{path} has other layers ({odd[0]} is missing or unknown): of features extractors "
            "DeepSets is read, with networks for all sets of a layout"
        )
