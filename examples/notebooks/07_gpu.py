# %% [markdown]
# # A loop that stays on the GPU
#
# With `device="cuda"` the worlds live on the device: `step` takes a tensor of actions there and
# gives tensors there, and nothing goes through the host. This notebook runs its loop on the CPU
# first, with torch tensors too, then on a GPU where there is one.
#
# Needs `pip install -e ".[train,render,notebooks]"`, and for a GPU the extra `cuda13` or `cuda12`
# (`docs/gpu.md`).

# %%
import os
import time

import gymnasium as gym
import torch
from PIL.Image import fromarray
from torch import nn

import selfdrive_env  # noqa: F401  (registers the environments)
from selfdrive_env.engine.devices import choose_device

BUDGET = float(os.environ.get("SELFDRIVE_BUDGET", 1))

# %% [markdown]
# Is there a device that can be used? If not, the reason stands below, and the cells for the GPU
# say that they are skipped.

# %%
try:
    GPU = choose_device("cuda")
    print("GPU:", torch.cuda.get_device_name(GPU))
except (ImportError, RuntimeError, ValueError) as reason:
    GPU = None
    print("No GPU:", reason)


# %% [markdown]
# **The loop.** A network drives; sums stay on the device too, and are read once, at the end. With
# `copy=False` a step writes into the tensors that the last one gave, so clone what you keep.


# %%
def make(device, num_envs):
    return gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=num_envs,
        agents_per_world=32,
        layout="lean",
        device=device,
        output="torch",
        copy=False,
    )


@torch.no_grad()
def drive(device, num_envs, steps):
    """Drives with a network that knows nothing; returns the environment."""
    envs = make(device, num_envs)
    rows, _ = envs.reset(seed=0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(rows.shape[1], 128), nn.ReLU(), nn.Linear(128, 12)).to(device)
    reward, ends = torch.zeros((), device=device), torch.zeros((), device=device)
    envs.step(network(rows).argmax(1))  # compiles
    start = time.perf_counter()
    for _ in range(steps):
        actions = torch.distributions.Categorical(logits=network(rows)).sample()
        rows, rewards, terminated, truncated, _ = envs.step(actions)
        reward += rewards.mean()
        ends += (terminated | truncated).sum()
    envs.unwrapped.check()  # waits for the device; an action that is none would raise here
    rate = steps * num_envs / (time.perf_counter() - start)
    print(f"{rows.device}, rows {tuple(rows.shape)}: {rate:,.0f} agent-steps/s, policy included")
    print(f"reward {reward.item() / steps:.4f} a step, {ends.item():.0f} episodes ended")
    return envs


envs = drive("cpu", num_envs=512, steps=round(100 * BUDGET))

# %% [markdown]
# A picture is drawn on the host from the state of one world, wherever it lives.

# %%
picture = envs.unwrapped.frame(0, span=100.0)
envs.close()
fromarray(picture)

# %% [markdown]
# **On the GPU** the same loop takes a batch a hundred times as large.

# %%
if GPU:
    envs = drive(GPU, num_envs=65_536, steps=round(200 * BUDGET))
    envs.close()
else:
    print("skipped: no GPU")

# %% [markdown]
# **As a CUDA graph** a step is one launch instead of six, each of which Python needs time to
# start.

# %%
if GPU:
    envs = make(GPU, num_envs=65_536)
    envs.reset(seed=0)
    envs.step(torch.randint(12, (65_536,), device=GPU))
    graph = envs.unwrapped.capture()
    torch.cuda.synchronize(GPU)
    start = time.perf_counter()
    for _ in range(200):
        graph.actions.random_(12)
        graph.step()
    envs.unwrapped.check()
    print(f"{200 * 65_536 / (time.perf_counter() - start):,.0f} agent-steps/s, random actions")
    envs.close()
else:
    print("skipped: no GPU")

# %% [markdown]
# **The same bits.** A state taken on one side goes on in the same way on the other.

# %%
if GPU:
    here, there = make("cpu", num_envs=512), make(GPU, num_envs=512)
    here.reset(seed=0)
    there.reset(seed=1)
    there.unwrapped.set_state(here.unwrapped.get_state())
    for _ in range(50):
        actions = torch.randint(12, (512,))
        rows = here.step(actions)[0]
        assert torch.equal(rows, there.step(actions.to(GPU))[0].cpu())
    print("50 steps, all rows equal")
    here.close()
    there.close()
else:
    print("skipped: no GPU")
