# %% [markdown]
# # Train with Stable-Baselines3
#
# One policy drives every car of two towns, and learns from all of them at once. This is the short
# form of `examples/ppo_sb3.py`, which trains longer, evaluates, and writes a film.
#
# Needs `pip install -e ".[sb3,render,notebooks]"`.

# %%
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from IPython.display import Image
from matplotlib import pyplot as plt
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from selfdrive_env.adapters.sb3 import BatchedBootstrap, SB3VecEnv
from selfdrive_env.rendering import write_video

BUDGET = float(os.environ.get("SELFDRIVE_BUDGET", 1))
print(f"{BUDGET:g} x 150,000 agent-steps")

# %% [markdown]
# Each row of the environment is one of SB3's environments: 8 worlds of 32 cars make a batch of
# 256. A layout of few slots makes short rows, from which a plain network learns faster. The
# weights pay metres along the route (`progress`), so that a beginner sees where to go.

# %%
ENV = "selfdrive_env/SelfPlay-v0"
SETTINGS = dict(
    layout=dict(goals=2, lane_points=8, boundary_points=8, stop_lines=1, agents=4),
    bodies="typed",
    preset="eval",
    reward=dict(progress=0.5, goal=5.0, overspeed=0.2, comfort=0.0, collision=1.0, offroad=1.0),
)
env = SB3VecEnv(
    ENV,
    num_envs=256,
    map=["riverside", "hillcrest"],
    horizon=90.0,
    on_goal="new_route",
    further_goals=1,
    num_threads=1,
    **SETTINGS,
)
print(env.num_envs, "rows,", env.observation_space, env.action_space)


# %% [markdown]
# When an episode ends, its `info` has what happened in it: goals, kilometres, collisions and so
# on. This callback sums them up for each rollout.


# %%
class Drives(BaseCallback):
    def _on_training_start(self):
        self.curve = []

    def _on_rollout_start(self):
        self.sums = dict.fromkeys(("length", "km", "goals", "collisions", "offroad"), 0.0)

    def _on_step(self):
        for row in np.flatnonzero(self.locals["dones"]):
            for name in self.sums:
                self.sums[name] += self.locals["infos"][row][name]
        return True

    def _on_rollout_end(self):
        hours, km = max(self.sums["length"], 1.0) * 0.3 / 3600.0, max(self.sums["km"], 1e-9)
        crashes = (self.sums["collisions"] + self.sums["offroad"]) / km
        self.curve.append((self.num_timesteps, self.sums["goals"] / hours, crashes))


# %% [markdown]
# Then PPO as usual. `BatchedBootstrap` gives SB3 the values of rows cut off by the time limit in
# one pass instead of one by one.

# %%
model = PPO(
    "MlpPolicy",
    env,
    n_steps=32,
    batch_size=1024,
    n_epochs=4,
    gamma=0.98,
    ent_coef=0.005,
    learning_rate=1e-3,
    policy_kwargs=dict(net_arch=[128, 128], activation_fn=nn.ReLU),
    seed=0,
    device="cpu",
)
drives = Drives()
model.learn(round(BUDGET * 150_000), [BatchedBootstrap(), drives])
env.close()
print(f"{model.num_timesteps:,} agent-steps")

# %% [markdown]
# What was learnt so far: more goals an hour, fewer crashes a kilometre.

# %%
steps, goals, crashes = np.array(drives.curve).T
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
left.plot(steps / 1000, goals)
left.set(xlabel="agent-steps [thousand]", ylabel="goals an hour")
right.plot(steps / 1000, crashes)
right.set(xlabel="agent-steps [thousand]", ylabel="crashes a km", yscale="log")
plt.show()

# %% [markdown]
# And how it drives on `harbour`, a town that it has not seen. The camera follows one of 32 cars,
# all of which follow the policy.

# %%
town = SB3VecEnv(
    ENV,
    num_envs=32,
    map="harbour",
    render_mode="rgb_array",
    render_size=320,
    render_span=90.0,
    on_goal="new_route",
    **SETTINGS,
)
town.seed(0)
rows, frames = town.reset(), []
for _ in range(50):
    actions, _ = model.predict(rows, deterministic=True)
    rows, *_ = town.step(actions)
    frames.append(town.env_method("render", indices=3)[0])
town.close()

Path("runs").mkdir(exist_ok=True)
write_video(frames, "runs/sb3.png", fps=town.metadata["render_fps"])
Image("runs/sb3.png")

# %% [markdown]
# The outputs kept with this notebook took a minute or two (`SELFDRIVE_BUDGET=4`). The car follows
# its route most of the time, but it still crashes far too often. `examples/ppo_sb3.py` goes
# further with a network made for lists of points, and `docs/training-notes.md` says what made
# learning faster still.
#
# **Next:** the same algorithm [in a loop of your own](03_ppo_loop.ipynb).
