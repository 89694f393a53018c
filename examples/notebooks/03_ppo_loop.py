# %% [markdown]
# # PPO in a loop of your own
#
# The whole algorithm in a few cells, in the manner of CleanRL, on Gymnasium's vector interface.
# `examples/ppo_cleanrl.py` is the same as a script.
#
# Needs torch: `pip install -e ".[train,render,notebooks]"`.

# %%
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import torch
from IPython.display import Image
from matplotlib import pyplot as plt
from torch import nn
from torch.distributions import Categorical

import selfdrive_env  # noqa: F401  (registers the environments)
from selfdrive_env.rendering import write_video

BUDGET = float(os.environ.get("SELFDRIVE_BUDGET", 1))
torch.manual_seed(0)
print(f"{BUDGET:g} x 150,000 agent-steps")

# %% [markdown]
# Eight worlds of 32 cars: 256 rows that all learn. Short rows (few slots in the layout) and pay
# for metres along the route (`progress`) suit a beginner with a plain network.

# %%
settings = dict(
    layout=dict(goals=2, lane_points=8, boundary_points=8, stop_lines=1, agents=4),
    bodies="typed",
    preset="eval",
    on_goal="new_route",
    further_goals=1,
    reward=dict(progress=0.5, goal=5.0, overspeed=0.2, comfort=0.0, collision=1.0, offroad=1.0),
)
envs = gym.make_vec(
    "selfdrive_env/SelfPlay-v0",
    num_envs=256,
    map=["riverside", "hillcrest"],
    horizon=90.0,
    num_threads=1,
    **settings,
)
features = envs.single_observation_space.shape[0]
choices = int(envs.single_action_space.n)
print(features, "numbers in,", choices, "actions out")


# %% [markdown]
# Actor and critic are two small networks.


# %%
def network(outputs, last_scale):
    layers = [nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    layers.append(nn.Linear(128, outputs))
    for layer in layers[::2]:
        nn.init.orthogonal_(layer.weight, 2**0.5 if layer is not layers[-1] else last_scale)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


actor, critic = network(choices, 0.01), network(1, 1.0)
weights = [*actor.parameters(), *critic.parameters()]
optimizer = torch.optim.Adam(weights, lr=1e-3, eps=1e-5)

# %% [markdown]
# **The rollout** is where environments differ. With SameStep autoreset (the default) the row of an
# episode that ended already holds the first observation of the next one; the last one of the old
# is in `infos["final_obs"]`. Where an episode was only cut off (`truncated`), its value belongs
# into the return.

# %%
STEPS, GAMMA, LAMBDA = 32, 0.98, 0.95


@torch.no_grad()
def rollout(obs):
    kept = {name: [] for name in ("obs", "actions", "logprobs", "values", "rewards", "dones")}
    driven = dict.fromkeys(("length", "km", "goals", "collisions", "offroad"), 0.0)
    for _ in range(STEPS):
        policy = Categorical(logits=actor(obs))
        actions = policy.sample()
        observation, reward, terminated, truncated, infos = envs.step(actions.numpy())
        done, cut = terminated | truncated, truncated & ~terminated
        if cut.any():
            last = torch.as_tensor(infos["final_obs"][cut])
            reward[cut] += GAMMA * critic(last).squeeze(-1).numpy()
        if done.any():
            for name in driven:
                driven[name] += float(infos["final_info"][name][done].sum())
        step = (obs, actions, policy.log_prob(actions), critic(obs).squeeze(-1))
        step += (torch.as_tensor(reward), torch.as_tensor(done, dtype=torch.float32))
        for name, value in zip(kept, step, strict=True):
            kept[name].append(value)
        obs = torch.as_tensor(observation)
    return obs, {name: torch.stack(values) for name, values in kept.items()}, driven


# %% [markdown]
# **Advantages** by GAE, from the end backwards; nothing crosses the end of an episode.


# %%
@torch.no_grad()
def advantages(data, obs):
    value, advantage = critic(obs).squeeze(-1), 0.0
    found = torch.zeros_like(data["rewards"])
    for step in reversed(range(STEPS)):
        goes_on = 1.0 - data["dones"][step]
        error = data["rewards"][step] + GAMMA * goes_on * value - data["values"][step]
        advantage = error + GAMMA * LAMBDA * goes_on * advantage
        found[step], value = advantage, data["values"][step]
    return found


# %% [markdown]
# **The update**: four passes over the rollout in minibatches, with the clipped objective.


# %%
def update(data, gains):
    targets = (gains + data["values"]).flatten()
    obs, actions, logprobs = (data[name].flatten(0, 1) for name in ("obs", "actions", "logprobs"))
    gains = gains.flatten()
    for _ in range(4):
        for index in torch.randperm(len(gains)).split(1024):
            policy = Categorical(logits=actor(obs[index]))
            ratio = (policy.log_prob(actions[index]) - logprobs[index]).exp()
            gain = (gains[index] - gains[index].mean()) / (gains[index].std() + 1e-8)
            loss = -torch.min(gain * ratio, gain * ratio.clamp(0.8, 1.2)).mean()
            error = critic(obs[index]).squeeze(-1) - targets[index]
            loss = loss + 0.25 * error.square().mean() - 0.005 * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 0.5)
            optimizer.step()


# %% [markdown]
# All together:

# %%
curve = []
obs = torch.as_tensor(envs.reset(seed=0)[0])
for _ in range(max(1, round(BUDGET * 150_000 / (STEPS * envs.num_envs)))):
    obs, data, driven = rollout(obs)
    update(data, advantages(data, obs))
    hours, km = max(driven["length"], 1.0) * 0.3 / 3600.0, max(driven["km"], 1e-9)
    crashes = driven["collisions"] + driven["offroad"]
    curve.append((driven["goals"] / hours, crashes / km, data["rewards"].mean().item()))
envs.close()

figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained")
steps = np.arange(1, len(curve) + 1) * STEPS * 256 / 1000
names = ("goals an hour", "crashes a km", "reward a step")
for axis, name, values in zip(axes, names, zip(*curve, strict=True), strict=True):
    axis.plot(steps, values)
    axis.set(xlabel="agent-steps [thousand]", ylabel=name)
plt.show()

# %% [markdown]
# What the network does on `harbour`, a town that it has not seen:

# %%
town = gym.make_vec(
    "selfdrive_env/SelfPlay-v0",
    num_envs=32,
    map="harbour",
    render_size=320,
    render_span=90.0,
    **settings,
)
rows, _ = town.reset(seed=0)
frames = []
for _ in range(50):
    with torch.no_grad():
        actions = actor(torch.as_tensor(rows)).argmax(1)
    rows, *_ = town.step(actions.numpy())
    frames.append(town.unwrapped.frame(3))
town.close()

Path("runs").mkdir(exist_ok=True)
write_video(frames, "runs/loop.png", fps=town.metadata["render_fps"])
Image("runs/loop.png")

# %% [markdown]
# The outputs kept with this notebook took a minute or two (`SELFDRIVE_BUDGET=4`). On a GPU the
# same loop needs no copies: [notebook 7](07_gpu.ipynb).
