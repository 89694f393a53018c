"""Environments whose worlds are on a CUDA device, or whose results are torch tensors."""

from selfdrive_env.envs.torch.forms import environment_class
from selfdrive_env.envs.torch.vector import CapturedStep, CudaVectorEnv, TorchVectorEnv

__all__ = ["CapturedStep", "CudaVectorEnv", "TorchVectorEnv", "environment_class"]
