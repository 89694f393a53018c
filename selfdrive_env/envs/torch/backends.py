"""Worlds on a CUDA device, and tensors of worlds on either side: what `NumpyBackend` is elsewhere.

On a device nothing of a step is read by the host: actions are checked there, and an action that is
none raises at the next read of the host (`check`, `reset`, `get_state`, `render`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.buffers import sparse_zeros
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.engine.cuda import DeviceEngine, HostCopy
from selfdrive_env.engine.devices import choose_device
from selfdrive_env.envs.backend import NumpyBackend
from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.infos import FINAL_MASKS, FINALS, Infos, add_finals
from selfdrive_env.images.views import plans_of
from selfdrive_env.maps.pool.kept_map import AnyMap
from selfdrive_env.state.arrays import U8
from selfdrive_env.state.world import IDM_LOG, WAYPOINT

__all__ = ["CudaArrayBackend", "CudaBackend", "TorchBackend"]

FINAL_ROWS = ("final_age", "final_km", "final_count", "final_term")

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class TorchBackend(NumpyBackend):
    """Worlds on the CPU whose arrays go out as torch tensors of the same memory.

    With `output="numpy"` they stay arrays: `device="auto"` found no CUDA device.
    """

    @staticmethod
    def make_engine(
        settings: Settings,
        maps: Sequence[AnyMap],
        num_worlds: int,
        driver: U8,
        learner: U8,
        **scenes: Any,
    ) -> Engine:
        """See `NumpyBackend.make_engine`."""
        if settings.obs_dtype == "bfloat16":
            raise ValueError("obs_dtype='bfloat16' needs a CUDA device, and there is none")
        plans = plans_of(settings, int(np.count_nonzero(learner)), len(learner))
        return Engine(settings, maps, num_worlds, driver, learner, views=plans, **scenes)

    def observations(self) -> Any:
        """See `NumpyBackend.observations`."""
        return self.outward(super().observations())

    def infos(self) -> Infos:
        """See `NumpyBackend.infos`."""
        infos: Infos = self.outward(super().infos())
        return infos

    def results(self) -> tuple[Any, ...]:
        """See `NumpyBackend.results`."""
        results: tuple[Any, ...] = self.outward(super().results())
        return results

    def outward(self, value: Any) -> Any:
        """See `NumpyBackend.outward`."""
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


class DeviceBackend(NumpyBackend):
    """Worlds on a CUDA device; what its two forms share."""

    engine: DeviceEngine
    left_out = IDM_LOG, WAYPOINT

    def __init__(self, engine: Engine, num_envs: int) -> None:
        super().__init__(engine, num_envs)
        self.device = self.engine.device
        self._started = False

    @staticmethod
    def make_engine(
        settings: Settings,
        maps: Sequence[AnyMap],
        num_worlds: int,
        driver: U8,
        learner: U8,
        **scenes: Any,
    ) -> Engine:
        """See `NumpyBackend.make_engine`."""
        if settings.step_info:
            raise ValueError(
                "step_info must be False with a CUDA device, got True: terms and events of steps "
                "are told with device='cpu' only"
            )
        device = torch.device("cpu" if SIMULATED else choose_device(settings.device))
        plans = plans_of(settings, int(np.count_nonzero(learner)), len(learner))
        return DeviceEngine(
            settings, maps, num_worlds, driver, learner, device, views=plans, **scenes
        )

    def check(self) -> None:
        """Waits for the device and raises what went wrong in the steps before.

        Raises:
            ValueError: If a row was given an action that is none; it drove as with none.
        """
        row = self.engine.fault()
        if row is None:
            return
        if self.settings.action_type == "discrete":
            allowed = f"from 0 to {self.form[0] - 1}"
        else:
            allowed = f"finite and from {-self.form[2]:.9g} to {self.form[2]:.9g}"
        row //= self._stride
        raise ValueError(
            f"actions must be {allowed}: row {row} was given another since the last check"
        )

    def with_co_drivers(self, co_drivers: CoDrivers, actions: Any) -> Any:
        """See `NumpyBackend.with_co_drivers`; the policy drives on the host."""
        rows = self.engine.observations
        rows = rows.float() if rows.dtype == torch.bfloat16 else rows
        own = actions.cpu().numpy() if isinstance(actions, torch.Tensor) else actions
        return co_drivers.act(rows.cpu().numpy(), own)

    def scenes(self) -> Any:
        """See `NumpyBackend.scenes`."""
        return self.engine.tensors["worlds"]["scene"].cpu().numpy().astype(np.int64)

    def on_host(self) -> HostCopy:
        """See `NumpyBackend.on_host`; valid until the next step."""
        return HostCopy(self.engine)

    def mask(self, mask: Any) -> NDArray[Any]:
        """Returns a mask of rows, an array or a tensor, as an array of the host."""
        return super().mask(mask.cpu().numpy() if isinstance(mask, torch.Tensor) else mask)

    def start(self) -> None:
        """Starts a step; the device works on it in any case after this returns."""
        self.engine.step()
        self._started = True

    def wait(self) -> None:
        """Checks that a step was started; the results are ready when the device is."""
        if not self._started:
            raise RuntimeError("call step_async() before step_wait()")
        self._started = False


class CudaBackend(DeviceBackend):
    """Worlds on a CUDA device: tensors there come in and go out, and a step reads nothing.

    Infos are dense: metrics come with every step.
    """

    dense = True

    def __init__(self, engine: Engine, num_envs: int) -> None:
        super().__init__(engine, num_envs)
        self._all_rows = torch.ones(num_envs, dtype=torch.bool, device=self.device)

    def actions(self, actions: Any) -> Any:
        """Returns actions as a tensor on the device, which checks the values.

        Args:
            actions: A tensor there, or what shares its memory by DLPack.

        Raises:
            TypeError: If they are none.
            ValueError: If they are elsewhere, or of another type or shape.
        """
        discrete = self.settings.action_type == "discrete"
        if not isinstance(actions, torch.Tensor):
            actions = self._shared(actions)
        if actions.device != self.device:
            raise ValueError(
                f"actions must be on {self.device}, got a tensor on {actions.device}: move it with "
                f".to({str(self.device)!r}), or take output='numpy'"
            )
        shape = (self.num_envs,) if discrete else (self.num_envs, self.form[1])
        kind = "integers" if discrete else "floats"
        fits = actions.dtype in (INTEGERS if discrete else FLOATS)
        if tuple(actions.shape) != shape or not fits:
            raise ValueError(
                f"actions must be {kind} of shape {shape}, got {actions.dtype} of shape "
                f"{tuple(actions.shape)}"
            )
        return actions

    def _shared(self, actions: Any) -> torch.Tensor:
        """Returns an array of another library as a tensor of the same memory."""
        if hasattr(actions, "__dlpack__") and not SIMULATED:
            return torch.utils.dlpack.from_dlpack(actions)
        if hasattr(actions, "__cuda_array_interface__") or hasattr(actions, "__dlpack__"):
            return torch.as_tensor(actions)
        raise TypeError(f"actions must be a tensor on {self.device}, got {type(actions).__name__}")

    def outward(self, value: Any) -> Any:
        """See `NumpyBackend.outward`: tensors on the device."""
        if isinstance(value, dict):
            return {name: self.outward(one) for name, one in value.items()}
        return torch.from_numpy(value).to(self.device)

    def scenes(self) -> torch.Tensor:
        """See `NumpyBackend.scenes`; nothing is read by the host."""
        return self.engine.tensors["worlds"]["scene"].long()

    def waiting(self) -> NDArray[np.bool_]:
        """Returns which rows wait: none, so that a step reads nothing from the device."""
        return np.zeros(1, np.bool_)

    def observations(self) -> Any:
        """Returns the observations, a copy as the settings say."""
        return self._by_name(
            lambda: self._handed_out(self._own(self.engine.observations)),
            lambda view: self._handed_out(view.pictures),
        )

    def infos(self) -> Infos:
        """Returns the masks `valid` and `learn`."""
        return {
            "valid": self._row("valid", True),
            "_valid": self._all_rows,
            "learn": self._row("learn", True),
            "_learn": self._all_rows,
        }

    def results(self) -> tuple[Any, ...]:
        """Returns what the last step gave."""
        terminated, truncated = self._row("terminated", True), self._row("truncated", True)
        infos = self.infos()
        self._add_dense_finals(infos, terminated | truncated)
        return self.observations(), self._row("reward"), terminated, truncated, infos

    def _row(self, field: str, flag: bool = False) -> torch.Tensor:
        tensor = self._own(self.engine.tensors["rows"][field])
        return self._handed_out(tensor.view(torch.bool) if flag else tensor)

    def _handed_out(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone() if self.settings.copy else tensor

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
            infos["final_obs"] = self._by_name(
                lambda: self._handed_out(self._own(self.engine.final_observations)),
                lambda view: self._handed_out(view.final_pictures),
            )
            infos["_final_obs"] = infos["_final_info"] = done
            infos["final_info"] = target


class CudaArrayBackend(DeviceBackend):
    """Worlds on a CUDA device; arrays come in and go out, all copied, as on the CPU."""

    def __init__(self, engine: Engine, num_envs: int) -> None:
        super().__init__(engine, num_envs)
        self._pinned: dict[str, torch.Tensor] = {}

    def observations(self) -> Any:
        """Returns the observations in host memory."""
        return self._by_name(
            lambda: self._to_host("observation", self._own(self.engine.observations)),
            lambda view: self._to_host(f"pictures of {view.name}", view.pictures),
        )

    def results(self) -> tuple[Any, ...]:
        """Returns the results of a step in host memory, read in one go."""
        self.check()
        rows = {name: self._own(one) for name, one in self.engine.tensors["rows"].items()}
        names = ("reward", "terminated", "truncated", "valid", "learn")
        host = {name: self._to_host(name, rows[name], wait=False) for name in names}
        observations = self.observations()
        terminated, truncated = (host[n].astype(np.bool_) for n in ("terminated", "truncated"))
        infos: Infos = {}
        for name in ("valid", "learn"):
            infos[name] = host[name].astype(np.bool_)
            infos[f"_{name}"] = self._all.copy()
        done = terminated | truncated
        if done.any():
            finals = tuple(self._to_host(name, rows[name]).T for name in FINAL_ROWS)
            same_step = self.settings.autoreset_mode == "SameStep"
            last = self._last_rows(done) if same_step else None
            add_finals(infos, done, finals, last, copies=self.settings.copy)
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

    def _last_rows(self, done: NDArray[np.bool_]) -> Any:
        """Returns the last observations of rows that ended, zero elsewhere."""
        return self._by_name(
            lambda: self._some(self._own(self.engine.final_observations), done),
            lambda view: self._some(view.final_pictures, done),
        )

    def _some(self, finals: torch.Tensor, done: NDArray[np.bool_]) -> NDArray[Any]:
        """Returns the rows of a tensor that ended, zero elsewhere."""
        rows = np.flatnonzero(done)
        found = finals[torch.from_numpy(rows).to(self.device)].cpu().numpy()
        out = sparse_zeros(tuple(finals.shape), found.dtype)
        out[rows] = found
        return out
