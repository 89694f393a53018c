"""The vector environment with torch tensors, and on a CUDA device.

On a device nothing of a step is read by the host: actions are checked there, and an action that is
none raises at the next read of the host (`check`, `reset`, `get_state`, `render`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.engine.buffers import sparse_zeros
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.engine.cuda import DeviceEngine
from selfdrive_env.engine.devices import choose_device
from selfdrive_env.envs.vector import (
    FINAL_MASKS,
    FINALS,
    DrivingVectorEnv,
    Infos,
)
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.state.arrays import U8

__all__ = ["CapturedStep", "CudaVectorEnv", "TorchVectorEnv", "environment_class"]


def environment_class(device: str) -> type[DrivingVectorEnv]:
    """Returns the class of environments on a device; the setting `device` chooses it."""
    if device == "cpu" or (device == "auto" and choose_device(device) == "cpu"):
        return TorchVectorEnv
    return CudaVectorEnv


class TorchVectorEnv(DrivingVectorEnv):
    """Road scenes on the CPU whose arrays are torch tensors, sharing memory with NumPy's.

    With `output="numpy"` they stay arrays: `device="auto"` found no CUDA device.
    """

    def _new_engine(self, maps: list[CompiledMap], driver: U8, learner: U8) -> Engine:
        if self.settings.obs_dtype == "bfloat16":
            raise ValueError("obs_dtype='bfloat16' needs a CUDA device, and there is none")
        return Engine(self.settings, maps, self.num_worlds, driver, learner)

    device = torch.device("cpu")

    def check(self) -> None:
        """Raises nothing: bad actions raised in the step that they were given to."""

    def reset(self, **keywords: Any) -> Any:
        """See `DrivingVectorEnv.reset`."""
        return self._outward(super().reset(**keywords))

    def _results(self) -> Any:
        return self._outward(super()._results())

    def set_state(self, state: Mapping[str, Any]) -> Any:
        """See `DrivingVectorEnv.set_state`."""
        return self._outward(super().set_state(state))

    def _outward(self, value: Any) -> Any:
        return _as_tensors(value) if self.settings.output == "torch" else value


def _as_tensors(value: Any) -> Any:
    """Returns arrays, also those in tuples and dictionaries, as tensors of the same memory."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, tuple):
        return tuple(_as_tensors(one) for one in value)
    if isinstance(value, dict):
        return {name: _as_tensors(one) for name, one in value.items()}
    return value


class CudaVectorEnv(DrivingVectorEnv):
    """Road scenes on a CUDA device.

    With `output="torch"` all that `reset` and `step` return are tensors there: copies with
    `copy=True`, else always the same ones. Infos are dense: `final_obs` and `final_info` come with
    every step; of `final_obs` only the rows of its mask `_final_obs` are defined. With
    `output="numpy"` everything is copied to the host and looks like that of the CPU.
    """

    engine: DeviceEngine

    def _new_engine(self, maps: list[CompiledMap], driver: U8, learner: U8) -> Engine:
        if self.render_mode == "human":
            raise ValueError("render_mode='human' is for device='cpu'; 'rgb_array' works here, too")
        chosen = choose_device(self.settings.device)
        self.device = torch.device("cpu" if SIMULATED else chosen)
        self._pinned: dict[str, torch.Tensor] = {}
        return DeviceEngine(self.settings, maps, self.num_worlds, driver, learner, self.device)

    def check(self) -> None:
        """Waits for the device and raises what went wrong in the steps before.

        Raises:
            ValueError: If a row was given an action that is none; it drove without a jerk.
        """
        row = self.engine.fault()
        if row is None:
            return
        if self.settings.action_type == "discrete":
            allowed = f"from 0 to {len(self.engine.draws.jerk) - 1}"
        else:
            allowed = "finite and from -1 to 1"
        raise ValueError(
            f"actions must be {allowed}: row {row} was given another since the last check"
        )

    def reset(self, **keywords: Any) -> Any:
        """See `DrivingVectorEnv.reset`; a mask may be a tensor, too."""
        if self._ready:
            self.check()
        options = dict(keywords.pop("options", None) or {})
        mask = options.get("reset_mask")
        if isinstance(mask, torch.Tensor):
            options["reset_mask"] = mask.cpu().numpy()
        observations, infos = super().reset(options=options, **keywords)
        return self._handed_out(observations), infos

    def _checked(self, actions: Any) -> Any:
        if self.settings.output == "numpy":
            return super()._checked(actions)
        discrete = self.settings.action_type == "discrete"
        if not isinstance(actions, torch.Tensor):
            if hasattr(actions, "__dlpack__") and not SIMULATED:
                actions = torch.utils.dlpack.from_dlpack(actions)
            elif hasattr(actions, "__cuda_array_interface__") or hasattr(actions, "__dlpack__"):
                actions = torch.as_tensor(actions)
            else:
                raise TypeError(
                    f"actions must be a tensor on {self.device}, got {type(actions).__name__}"
                )
        if actions.device != self.device:
            raise ValueError(
                f"actions must be on {self.device}, got a tensor on {actions.device}: move it with "
                f".to({str(self.device)!r}), or take output='numpy'"
            )
        shape = (self.num_envs,) if discrete else (self.num_envs, 2)
        kind = "integers" if discrete else "floats"
        fits = actions.dtype in (_INTEGERS if discrete else _FLOATS)
        if tuple(actions.shape) != shape or not fits:
            raise ValueError(
                f"actions must be {kind} of shape {shape}, got {actions.dtype} of shape "
                f"{tuple(actions.shape)}"
            )
        return actions

    def _waiting(self) -> NDArray[np.bool_]:
        """Returns which rows have ended: none, so that a step reads nothing from the device."""
        if self.settings.output == "numpy":
            return super()._waiting()
        return np.zeros(1, np.bool_)

    def step_async(self, actions: Any) -> None:
        """Starts a step; the device works on it in any case after this returns."""
        self._take_actions(actions)
        self.engine.step()
        self._started = True

    def step_wait(self) -> Any:
        """Returns what the step that `step_async` started gives."""
        if not self.__dict__.pop("_started", False):
            raise RuntimeError("call step_async() before step_wait()")
        return self._results()

    def _results(self) -> Any:
        if self.settings.output == "numpy":
            return self._host_results()
        terminated, truncated = self._row("terminated", True), self._row("truncated", True)
        infos = self._masks()
        self._add_dense_finals(infos, terminated | truncated)
        return (
            self._handed_out(self.engine.observations), self._row("reward"), terminated, truncated,
            infos,
        )  # fmt: skip

    def _row(self, field: str, flag: bool = False) -> torch.Tensor:
        tensor = self.engine.tensors["rows"][field]
        return self._handed_out(tensor.view(torch.bool) if flag else tensor)

    def _handed_out(self, tensor: Any) -> Any:
        """Returns rows for the caller: copied as the settings say, to where they say."""
        if self.settings.output == "numpy":
            return self._to_host("observation", tensor)
        return tensor.clone() if self.settings.copy else tensor

    def _masks(self) -> Infos:
        if self.settings.output == "numpy":
            return super()._masks()
        if not hasattr(self, "_all_rows"):
            self._all_rows = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        return {
            "valid": self._row("valid", True),
            "_valid": self._all_rows,
            "learn": self._row("learn", True),
            "_learn": self._all_rows,
        }

    def _add_dense_finals(self, infos: Infos, done: torch.Tensor) -> None:
        same_step = self.settings.autoreset_mode == "SameStep"
        counts, terms = self._row("final_count"), self._row("final_term")
        columns = (
            self._row("final_age"), self._row("final_km"), *counts.unbind(1), *terms.unbind(1)
        )  # fmt: skip
        target: Infos = {} if same_step else infos
        target.update(zip(FINALS, columns, strict=True))
        target.update(dict.fromkeys(FINAL_MASKS, done))
        if same_step:
            infos["final_obs"] = self._handed_out(self.engine.final_observations)
            infos["_final_obs"] = infos["_final_info"] = done
            infos["final_info"] = target

    def _host_results(self) -> Any:
        """Returns the results of a step in host memory, read in one go."""
        self.check()
        rows = self.engine.tensors["rows"]
        names = ("reward", "terminated", "truncated", "valid", "learn")
        host = {name: self._to_host(name, rows[name], wait=False) for name in names}
        observations = self._to_host("observation", self.engine.observations)
        terminated, truncated = (host[n].astype(np.bool_) for n in ("terminated", "truncated"))
        infos: Infos = {}
        for name in ("valid", "learn"):
            infos[name] = host[name].astype(np.bool_)
            infos[f"_{name}"] = self._all.copy()
        done = terminated | truncated
        if done.any():
            self._add_finals(infos, done)
        return observations, host["reward"].copy(), terminated, truncated, infos

    def _to_host(self, name: str, tensor: torch.Tensor, wait: bool = True) -> NDArray[Any]:
        """Copies a tensor through pinned memory; with `copy` the array is the caller's own."""
        if name not in self._pinned:
            pin = self.device.type == "cuda"
            self._pinned[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pin)
        pinned = self._pinned[name]
        pinned.copy_(tensor, non_blocking=True)
        if wait and self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        array: NDArray[Any] = pinned.numpy()
        return array.copy() if wait and self.settings.copy else array

    def _finals(self) -> tuple[NDArray[Any], ...]:
        names = ("final_age", "final_km", "final_count", "final_term")
        rows = self.engine.tensors["rows"]
        age, km, counts, terms = (self._to_host(name, rows[name]) for name in names)
        return age, km, counts.T, terms.T

    def _final_observations(self, done: NDArray[np.bool_]) -> NDArray[Any]:
        finals, rows = self.engine.final_observations, np.flatnonzero(done)
        out = sparse_zeros(tuple(finals.shape), np.dtype(self.settings.obs_dtype))
        out[rows] = finals[torch.from_numpy(rows).to(self.device)].cpu().numpy()
        return out

    def get_state(self) -> dict[str, NDArray[Any]]:
        """See `DrivingVectorEnv.get_state`; the state fits environments on the CPU, too."""
        self.check()
        return super().get_state()

    def set_state(self, state: Mapping[str, Any]) -> Any:
        """See `DrivingVectorEnv.set_state`; a state may come from an environment on the CPU."""
        super().set_state(state)
        return self._handed_out(self.engine.observations)

    def frame(
        self, row: int = 0, *, span: float | None = None, size: int | None = None
    ) -> NDArray[np.uint8]:
        """See `DrivingVectorEnv.frame`."""
        self.check()
        return super().frame(row, span=span, size=size)

    def capture(self) -> CapturedStep:
        """Returns a step as a CUDA graph, started as a whole; call it after the first step.

        Raises:
            RuntimeError: Before the first step, when kernels are not compiled yet, or without
                `output="torch"`.
        """
        if SIMULATED or self.settings.output != "torch" or not self.engine.warm():
            raise RuntimeError("capture() needs a CUDA device, output='torch' and a step before it")
        return CapturedStep(self)


class CapturedStep:
    """A step as a CUDA graph; actions go into `actions`, results are always the same tensors."""

    def __init__(self, env: CudaVectorEnv) -> None:
        """Captures a step; the worlds do not advance.

        Args:
            env: The environment.
        """
        discrete = env.settings.action_type == "discrete"
        shape = (env.num_envs,) if discrete else (env.num_envs, 2)
        kind = torch.int64 if discrete else torch.float32
        self._env = env
        self.actions = torch.zeros(shape, dtype=kind, device=env.device)
        self.graph = torch.cuda.CUDAGraph()
        env.engine.command(self.actions)  # what it tells the device but once is not captured
        stream = torch.cuda.Stream(env.device)  # torch's own is one of the first device captured on
        with torch.cuda.device(env.device), torch.cuda.graph(self.graph, stream=stream):
            env.engine.command(self.actions)
            env.engine.step()
            self.results = env._results()

    def step(self, actions: Any = None) -> Any:
        """Advances all worlds; returns what `step` of the environment does.

        Args:
            actions: As for `step`; None takes what `actions` holds.
        """
        self._env._check_open()
        if actions is not None:
            self.actions.copy_(self._env._checked(actions))
        self.graph.replay()
        return self.results


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
