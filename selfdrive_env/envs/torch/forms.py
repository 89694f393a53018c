"""Scenes and tasks with torch tensors, and which class an environment has for a device."""

from __future__ import annotations

import torch

from selfdrive_env.engine.devices import choose_device
from selfdrive_env.envs.backend import alone
from selfdrive_env.envs.infos import StepResult
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.tasks import TaskVectorEnv
from selfdrive_env.envs.torch.vector import CapturedStep, CudaVectorEnv, TorchVectorEnv
from selfdrive_env.envs.vector import DrivingVectorEnv

__all__ = ["environment_class"]


class TorchScenesVectorEnv(TorchVectorEnv, ScenesVectorEnv):
    """Scenes-v0 on the CPU with tensors; see `ScenesVectorEnv` and `TorchVectorEnv`."""


class TorchTaskVectorEnv(TorchVectorEnv, TaskVectorEnv):
    """A task on the CPU with tensors; see `TaskVectorEnv` and `TorchVectorEnv`."""


@alone("capture")
class CudaScenesVectorEnv(CudaVectorEnv, ScenesVectorEnv):
    """Scenes-v0 on a CUDA device; see `ScenesVectorEnv` and `CudaVectorEnv`.

    Tables of scenes lie on the device. Metrics, policies that drive the others and streams make the
    host wait for it in every step; without them a step reads nothing.
    """

    def capture(self) -> CapturedStep:
        """See `CudaVectorEnv.capture`.

        Raises:
            RuntimeError: As there; and where the host has a part in steps.
        """
        for there, what in (
            (self.measures is not None, "metrics"),
            (self._stream is not None, "a stream of scenes"),
            (self.co_drivers is not None, "a policy as traffic"),
        ):
            if there:
                raise RuntimeError(f"capture() is without {what}: the host has a part in each step")
        return super().capture()

    def launch(self, actions: torch.Tensor) -> StepResult:
        """See `CudaVectorEnv.launch`."""
        self._go_on()
        return self._told_of_scenes(super().launch(actions))


class CudaTaskVectorEnv(CudaScenesVectorEnv, TaskVectorEnv):
    """A task on a CUDA device; see `TaskVectorEnv` and `CudaScenesVectorEnv`."""

    def launch(self, actions: torch.Tensor) -> StepResult:
        """See `CudaVectorEnv.launch`."""
        results = super().launch(actions)
        self._judge(results[-1])
        return results


FORMS: dict[type[DrivingVectorEnv], tuple[type[DrivingVectorEnv], type[DrivingVectorEnv]]] = {
    DrivingVectorEnv: (TorchVectorEnv, CudaVectorEnv),
    ScenesVectorEnv: (TorchScenesVectorEnv, CudaScenesVectorEnv),
    TaskVectorEnv: (TorchTaskVectorEnv, CudaTaskVectorEnv),
}
"""What an environment is on the CPU, with arrays -> with tensors there, and on a CUDA device."""


def environment_class(
    device: str, kind: type[DrivingVectorEnv] = DrivingVectorEnv
) -> type[DrivingVectorEnv]:
    """Returns the class of environments on a device; the setting `device` chooses it.

    Args:
        device: The setting.
        kind: What it is on the CPU, with arrays.
    """
    on_cpu = device == "cpu" or (device == "auto" and choose_device(device) == "cpu")
    return FORMS.get(kind, FORMS[DrivingVectorEnv])[0 if on_cpu else 1]
