# %% [markdown]
# # Many agents, many characters
#
# Every agent has reward weights of its own, and sees them in its observation. A policy that has
# learnt under weights drawn at random is many drivers in one: the weights tell it which to be.
#
# Needs `pip install -e ".[render,notebooks]"`.

# %%
import os
from pathlib import Path

import gymnasium as gym
import numpy as np
from IPython.display import Image, display
from matplotlib import pyplot as plt

import selfdrive_env
from selfdrive_env.config import PRESETS, TRAINING_RANGE
from selfdrive_env.config.observation import decode
from selfdrive_env.rendering import write_video
from selfdrive_env.state.world import EVENT_GOAL

BUDGET = float(os.environ.get("SELFDRIVE_BUDGET", 1))  # 10 makes the curves smoother
policy = selfdrive_env.load_policy("selfplay")

# %% [markdown]
# With the preset "train" each agent draws its weights when it is placed. In a row they stand
# scaled to [-1, 1] over the range of training; here are those of three agents of one world.

# %%
TOWN = dict(map="harbour", layout="lean", bodies="typed", num_threads=1)
envs = gym.make_vec("selfdrive_env/SelfPlay-v0", num_envs=32, preset="train", **TOWN)
rows, _ = envs.reset(seed=0)
envs.close()

conditions = policy.layout.slices["conditions"]
for weight, values in zip(TRAINING_RANGE, rows[:3, conditions].T, strict=True):
    low, high = TRAINING_RANGE[weight]
    print(f"{weight:15} {low:8} to {high:6}", *(f"{value:7.2f}" for value in values))

# %% [markdown]
# Three presets are fixed characters. They differ in these weights:

# %%
NAMES = ("cautious", "eval", "aggressive")
print(f"{'':15}", *(f"{name:>11}" for name in NAMES))
for weight in PRESETS["eval"]:
    values = [PRESETS[name][weight] for name in NAMES]
    if len(set(values)) > 1:
        print(f"{weight:15}", *(f"{value:11}" for value in values))


# %% [markdown]
# **The same start with three characters**, from left to right cautious, eval and aggressive. Only
# the orange car has the policy and these weights; the traffic is scripted and begins in the same
# places.


# %%
def trip(preset, seed, steps=60):
    """Drives one car; returns the pictures and its speeds."""
    env = gym.make(
        "selfdrive_env/Drive-v0",
        preset=preset,
        render_mode="rgb_array",
        render_size=240,
        render_span=80.0,
        agents_per_world=64,
        on_goal="new_route",
        lights_off=0.0,
        light_removal=0.0,
        lights_green=0.0,
        **TOWN,
    )
    observation, _ = env.reset(seed=seed)
    frames, speeds = [], []
    for _ in range(steps):
        frames.append(env.render())
        speeds.append(float(env.unwrapped.vector.engine.agents.speed[0, 0]))
        action = policy.act(observation[None])[0]
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    env.close()
    frames += frames[-1:] * (steps - len(frames))
    return frames, speeds


trips = [trip(name, seed=5) for name in NAMES]
Path("runs").mkdir(exist_ok=True)
grid = [np.concatenate(frames, axis=1) for frames in zip(*(t[0] for t in trips), strict=True)]
write_video(grid, "runs/characters.png", fps=1.0 / 0.3)
Image("runs/characters.png")

# %% [markdown]
# Their speeds on this way:

# %%
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
for name, (_, speeds) in zip(NAMES, trips, strict=True):
    axis.plot(0.3 * np.arange(len(speeds)), 3.6 * np.array(speeds), label=name)
axis.set(xlabel="time [s]", ylabel="speed [km/h]")
axis.legend()
plt.show()


# %% [markdown]
# **One weight at a time.** One way says little; many agents say more. In each run below all
# weights are those of "eval" but one, which every agent draws from its range anew at each placing.
# So a single run shows a whole range of characters side by side: we sort what was measured at each
# step by the weight that the agent had.


# %%
def acceleration(engine, rows):
    return np.hypot(engine.agents.acceleration, engine.agents.lateral_acceleration).ravel()


def goals_an_hour(engine, rows):
    return ((engine.output.event.ravel() & EVENT_GOAL) != 0) * (3600.0 / 0.3)


def lateral_offset(engine, rows):
    return decode(rows, policy.layout.counts)["ego"][:, 0, 0]


def distance_from_centre(engine, rows):
    return np.abs(lateral_offset(engine, rows))


def sweep(weight, measure, bins=6):
    """Returns the middles of equal parts of a weight's range, and what was measured there."""
    low, high = TRAINING_RANGE[weight]
    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=512,
        agents_per_world=32,
        preset="eval",
        reward={weight: [low, high]},
        on_goal="new_route",
        horizon=20.0,
        **TOWN,
    )
    column = conditions.start + list(TRAINING_RANGE).index(weight)
    rows, _ = envs.reset(seed=1)
    place, value = [], []
    for _ in range(round(BUDGET * 200)):
        share = 0.5 * (rows[:, column] + 1.0)
        place.append(np.minimum((share * bins).astype(int), bins - 1))
        rows, *_ = envs.step(policy.act(rows))
        value.append(measure(envs.unwrapped.engine, rows))
    envs.close()
    place, value = np.concatenate(place), np.concatenate(value)
    sums, counts = np.bincount(place, value, bins), np.bincount(place, minlength=bins)
    return low + (high - low) * (np.arange(bins) + 0.5) / bins, sums / np.maximum(counts, 1)


PANELS = (
    ("comfort", acceleration, "mean acceleration [m/s²]"),
    ("centre_bias", lateral_offset, "place in the lane, left [m]"),
    ("lane_centre", distance_from_centre, "distance from its centre [m]"),
    ("goal_radius", goals_an_hour, "goals an hour"),
)
figure, axes = plt.subplots(1, 4, figsize=(12, 2.8), layout="constrained")
for axis, (weight, measure, label) in zip(axes, PANELS, strict=True):
    axis.plot(*sweep(weight, measure), "o-")
    axis.set(xlabel=f"weight {weight}", ylabel=label)
plt.show()

# %% [markdown]
# Who pays for jerks and accelerations (`comfort`) should avoid them, `centre_bias` should move the
# car within its lane and `lane_centre` keep it in the middle, and who must come close to a goal
# (`goal_radius`, in metres) reaches fewer. A flat line means that the policy has not learnt to
# mind that weight. `python -m selfdrive_env evaluate POLICY --preset cautious eval aggressive`
# prints such figures for any policy.
#
# With `ipywidgets` installed there are sliders to try weights:

# %%
try:
    import ipywidgets
except ImportError:
    print("ipywidgets is not installed: no sliders here")
else:

    @ipywidgets.interact_manual(
        overspeed=(0.0, 0.1, 0.02), comfort=(0.0, 0.1, 0.02), centre_bias=(-0.5, 0.5, 0.1)
    )
    def film(overspeed=0.0, comfort=0.05, centre_bias=0.0):
        reward = dict(overspeed=overspeed, comfort=comfort, centre_bias=centre_bias)
        env = gym.make_vec("selfdrive_env/SelfPlay-v0", num_envs=32, reward=reward, **TOWN)
        rows, _ = env.reset(seed=0)
        frames = []
        for _ in range(40):
            frames.append(env.unwrapped.frame(3, span=80.0))
            rows, *_ = env.step(policy.act(rows))
        env.close()
        write_video(frames, "runs/sliders.png", fps=env.metadata["render_fps"])
        display(Image("runs/sliders.png"))


# %% [markdown]
# **Next:** how well the policy drives, [measured](06_selfplay_evaluation.ipynb).
