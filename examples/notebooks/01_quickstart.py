# %% [markdown]
# # Quickstart
#
# A driving environment in five minutes: make one, look at it, drive, and let a trained policy
# drive.
#
# In a clone of the repository: `pip install -e ".[render,notebooks]"`.

# %%
import time
from pathlib import Path

import gymnasium as gym
from IPython.display import Image
from PIL.Image import fromarray

import selfdrive_env
from selfdrive_env.config.observation import OBSERVATION, decode
from selfdrive_env.rendering import write_video

# %% [markdown]
# `Drive-v0` is one car, yours, among scripted drivers on a generated town. The first use compiles
# the kernels for some seconds; after that they come from a cache.

# %%
settings = dict(
    map="harbour",
    agents_per_world=64,
    bodies="typed",  # cars, vans, lorries, cyclists ...
    lights_off=0.0,
    light_removal=0.0,
    lights_green=0.0,
    render_mode="rgb_array",
    render_size=360,
    render_span=80.0,
)
env = gym.make("selfdrive_env/Drive-v0", **settings)
observation, info = env.reset(seed=44)
fromarray(env.render())

# %% [markdown]
# You are the orange one. The line leads along your route to the next goal, a ring; bars across the
# lanes are stop lines in the colour of their light.
#
# An observation is one row of numbers in [-1, 1]. It holds groups, each a table of slots and
# columns; `decode` gives them in metres, seconds and radians.

# %%
layout = env.unwrapped.vector.layout
print("observation", observation.shape, "  actions", env.action_space)
tables = decode(observation, layout.counts)
for group, values in tables.items():
    print(f"{group:16} {len(values):2} x {values.shape[1]}")
print()
for column, value in zip(OBSERVATION["ego"][:5], tables["ego"][0], strict=False):
    print(f"{column.name:15} {value:8.3f}  {column.text}")

# %% [markdown]
# With `render_observed=True` the picture marks what that row tells: points of lanes (blue) and of
# road edges (pink), stop lines, and the nearest other road users (rings).

# %%
seeing = gym.make("selfdrive_env/Drive-v0", render_observed=True, **settings)
seeing.reset(seed=44)
fromarray(seeing.render())

# %% [markdown]
# Actions are pairs of jerks: one of four along the car (brake hard, brake, hold, accelerate) with
# one of three sideways (right, straight, left). Action 10 accelerates and goes straight on; let us
# see how far that gets.


# %%
def drive(env, act, seconds, seed=44):
    """Drives up to so many seconds; returns the pictures and the info of the last step."""
    observation, info = env.reset(seed=seed)
    frames = [env.render()]
    for _ in range(round(seconds / env.unwrapped.vector.settings.dt)):
        observation, _, terminated, truncated, info = env.step(act(observation))
        if terminated or truncated:
            break
        frames.append(env.render())
    return frames, info


def show(frames):
    """Writes a film as an animated PNG and shows it here, in real time: one frame a step."""
    Path("runs").mkdir(exist_ok=True)
    write_video(frames, "runs/film.png", env.metadata["render_fps"])
    return Image("runs/film.png")


frames, info = drive(env, lambda observation: 10, seconds=20)
show(frames)

# %% [markdown]
# The episode ended there. Its last `info` has the metrics of the episode, with the reward term by
# term, beside what each step tells (events, terms, time to collision).

# %%
{name: round(value, 3) for name, value in info.items() if value and not isinstance(value, dict)}

# %% [markdown]
# The scripted driver does better. `driver="idm"` lets it drive your car, whatever actions you
# give.

# %%
idm = gym.make("selfdrive_env/Drive-v0", driver="idm", **settings)
frames, _ = drive(idm, lambda observation: 0, seconds=15)
show(frames)

# %% [markdown]
# A small trained policy comes with the package. It needs no torch, reads rows of the layout "lean",
# and here drives every car, yours and the others. It is no careful driver: what it does wrong is
# counted in [notebook 6](06_selfplay_evaluation.ipynb).

# %%
policy = selfdrive_env.load_policy("selfplay")
everybody = gym.make("selfdrive_env/Drive-v0", layout="lean", traffic="selfplay", **settings)
frames, _ = drive(everybody, lambda observation: policy.act(observation[None])[0], seconds=15)
show(frames)

# %% [markdown]
# For learning, take the vector form: `SelfPlay-v0` makes every car of every world a row, and all
# advance together. An agent whose episode ends is placed again at once, so rows never wait.

# %%
envs = gym.make_vec("selfdrive_env/SelfPlay-v0", num_envs=512, layout="lean", num_threads=1)
envs.action_space.seed(0)
observations, infos = envs.reset(seed=0)
actions = [envs.action_space.sample() for _ in range(100)]

start = time.perf_counter()
for action in actions:
    observations, rewards, terminated, truncated, infos = envs.step(action)
seconds = time.perf_counter() - start
print(f"{envs.num_worlds} worlds, rows {observations.shape}")
print(f"{100 * envs.num_envs / seconds:,.0f} agent-steps a second on one core")

# %% [markdown]
# **Next:** train a policy [with Stable-Baselines3](02_train_sb3.ipynb) or [in a loop of your
# own](03_ppo_loop.ipynb), or look at [maps](05_maps.ipynb).

# %%
for one in (env, seeing, idm, everybody, envs):
    one.close()
