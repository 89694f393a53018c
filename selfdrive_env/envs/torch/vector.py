"""The vector environment with torch tensors, and on a CUDA device; steps as CUDA graphs."""

from __future__ import annotations

from typing import Any

import torch

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.engine.cuda import DeviceEngine
from selfdrive_env.envs.backend import alone
from selfdrive_env.envs.infos import StepResult
from selfdrive_env.envs.torch.backends import CudaArrayBackend, CudaBackend, TorchBackend
from selfdrive_env.envs.vector import DrivingVectorEnv

__all__ = ["CapturedStep", "CudaVectorEnv", "TorchVectorEnv"]


class TorchVectorEnv(DrivingVectorEnv):
    """Road scenes on the CPU whose arrays are torch tensors, sharing memory with NumPy's.

    With `output="numpy"` they stay arrays: `device="auto"` found no CUDA device.

    Args:
        num_envs: As for `DrivingVectorEnv`.
        **settings: Likewise.
    """

    device = torch.device("cpu")

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        super().__init__(num_envs, backend=TorchBackend, **settings)

    def check(self) -> None:
        """Raises nothing: bad actions raised in the step that they were given to."""


@alone("check", "capture")
class CudaVectorEnv(DrivingVectorEnv):
    """Road scenes on a CUDA device.

    With `output="torch"` all that `reset` and `step` return are tensors there: copies with
    `copy=True`, else always the same ones. Infos are dense: `final_obs` and `final_info` come with
    every step; of `final_obs` only the rows of its mask `_final_obs` are defined. With
    `output="numpy"` everything is copied to the host and looks like that of the CPU.

    Args:
        num_envs: As for `DrivingVectorEnv`.
        **settings: Likewise.
    """

    engine: DeviceEngine

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        if settings.get("render_mode") == "human":
            raise ValueError("render_mode='human' is for device='cpu'; 'rgb_array' works here, too")
        arrays = settings.get("output") == "numpy"
        super().__init__(num_envs, backend=CudaArrayBackend if arrays else CudaBackend, **settings)
        self.device = self.engine.device

    def check(self) -> None:
        """Waits for the device and raises what went wrong in the steps before.

        Raises:
            ValueError: If a row was given an action that is none; it drove as with none.
        """
        self.backend.check()

    def capture(self) -> CapturedStep:
        """Returns a step as a CUDA graph, started as a whole; call it after the first step.

        Raises:
            RuntimeError: Before the first step, when kernels are not compiled yet, or without
                `output="torch"`.
        """
        if SIMULATED or self.settings.output != "torch" or not self.engine.warm():
            raise RuntimeError("capture() needs a CUDA device, output='torch' and a step before it")
        return CapturedStep(self)

    def launch(self, actions: torch.Tensor) -> StepResult:
        """Returns what `step` does, of actions that are not looked at: what a graph captures.

        Args:
            actions: On the device.
        """
        self.engine.command(actions)
        self.engine.step()
        return self.backend.results()


@alone("step")
class CapturedStep:
    """A step as a CUDA graph; actions go into `actions`, results are always the same tensors."""

    def __init__(self, env: CudaVectorEnv) -> None:
        """Captures a step; the worlds do not advance.

        Args:
            env: The environment.
        """
        discrete = env.settings.action_type == "discrete"
        shape = (env.num_envs,) if discrete else (env.num_envs, env.backend.form[1])
        kind = torch.int64 if discrete else torch.float32
        self._env, self.turn = env, env.turn
        self.actions = torch.zeros(shape, dtype=kind, device=env.device)
        self.graph = torch.cuda.CUDAGraph()
        env.engine.command(self.actions)  # what it tells the device but once is not captured
        stream = torch.cuda.Stream(env.device)  # torch's own is one of the first device captured on
        with torch.cuda.device(env.device), torch.cuda.graph(self.graph, stream=stream):
            self.results = env.launch(self.actions)

    def step(self, actions: Any = None) -> Any:
        """Advances all worlds; returns what `step` of the environment does.

        Args:
            actions: As for `step`; None takes what `actions` holds.
        """
        self._env._check_open()
        if actions is not None:
            self.actions.copy_(self._env.backend.actions(actions))
        self.graph.replay()
        return self.results
