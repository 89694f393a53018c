# %% [markdown]
# # Recorded scenes
#
# A `Scene` is a situation as data: map, agents, what was recorded of them, lights. Here traffic
# records itself, so that nothing need be downloaded; files of the Waymo Open Motion Dataset,
# CommonRoad, Argoverse 2, PufferDrive and others are read by the same functions.
#
# Needs `pip install -e ".[render,notebooks]"`.

# %%
from pathlib import Path

import gymnasium as gym
import numpy as np
from IPython.display import Image
from matplotlib import pyplot as plt

import selfdrive_env
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.metrics import WAYMAX, compute, logged_routes, road_of_network
from selfdrive_env.rendering import write_video
from selfdrive_env.scenes import load
from selfdrive_env.scenes.experts import expert_actions

RUNS = Path("runs")
RUNS.mkdir(exist_ok=True)
ID = "selfdrive_env/Scenes-v0"

# %% [markdown]
# **Recording.** Scripted drivers on a built-in town, two worlds of 24; nine seconds ten times a
# second, the first of them before the present moment, as in the Waymo Open Motion Dataset. The
# command `selfdrive scenes record` does this for policies, too.

# %%
envs = gym.make_vec(
    "selfdrive_env/SelfPlay-v0",
    num_envs=48,
    agents_per_world=24,
    map="riverside",
    driver="idm",
    bodies="typed",
    dt=0.1,
    layout="lean",
).unwrapped
envs.reset(seed=2)
still = np.zeros(48, int)  # the script does not listen
for _ in range(60):
    envs.step(still)
scenes = record(envs, lambda _: still, steps=91, current=10)
envs.close()
for scene in scenes:
    scene.save(RUNS / f"{scene.name.replace('/', '-').replace(':', '-')}.scene")
    print(scene.name, len(scene.agents), "agents,", scene.lights.num_lights, "lights")

# %% [markdown]
# **Data types.** Tracks are arrays over agents and steps with a validity each, lights states over
# steps. The ego is one of the agents. Edits return a new scene.

# %%
scene = load(RUNS / "riverside-0.scene")
tracks = scene.tracks
print(
    "x", tracks.x.shape, "valid", f"{tracks.valid.mean():.0%}", "states", scene.lights.state.shape
)
print(scene.agents[scene.ego])
alone = scene.only(scene.agents[scene.ego].id)
late = scene.shortened(50)
print(len(alone.agents), late.steps, scene.mirrored().left_hand)
_, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
for axis, one in zip(axes, (scene, scene.mirrored()), strict=True):
    axis.imshow(one.plot(size=700))
    axis.set_axis_off()
plt.show()

# %% [markdown]
# **Driving in it.** The ego is a row; the others repeat what they did, or are driven by script or
# by the policy that comes with the package. Metrics by definition come with the infos.

# %%
env = gym.make(ID, scene=scene, metrics=WAYMAX, layout="lean", render_mode="rgb_array")
policy = selfdrive_env.load_policy("selfplay")
observation, info = env.reset(seed=0)
frames, done = [env.render()], False
while not done:
    action = policy.act(observation[None])[0]
    observation, reward, terminated, truncated, info = env.step(action)
    frames.append(env.render())
    done = terminated or truncated
env.close()
print(f"{info['scene']}, agent {info['agent']}")
for name, value in info["episode_metrics"].items():
    print(f"{name:24} {value:.3f}")
write_video(frames[::3], RUNS / "ego.png", fps=10)
Image(str(RUNS / "ego.png"))

# %% [markdown]
# **Several actors.** The same scenes with others at the wheel: whoever was recorded, a constant
# speed, IDM, the package's policy. `selfdrive evaluate expert constant idm selfplay --scenes runs`
# prints such a table of whole folders.

# %%
from selfdrive_env.evaluation.results.recorded import evaluate_scenes

names = ["expert", "constant", "idm", "selfplay"]
for name, row in evaluate_scenes(names, scenes).items():
    failed, ade, progress = (row[k] for k in ("collision_or_departure", "ade", "progression"))
    print(f"{name:10} failed {failed:.0%}  ADE {ade:5.2f} m  progress {progress:.2f}")

# %% [markdown]
# **Metrics** are functions of tracks: value and validity an agent and step. A log measured against
# itself diverges nowhere.

# %%
from selfdrive_env.maps import load as load_map

road = road_of_network(load_map(scene.map))
routes = logged_routes(tracks, [scene.ego])
found = compute(WAYMAX, tracks, dt=scene.dt, log=tracks, road=road, routes=routes)
for name, metric in found.items():
    print(f"{name:24} mean {metric.mean():.3f}   of {metric.valid.sum()} agent-steps")

# %% [markdown]
# **Expert actions.** The inverse of a model of dynamics gives the actions that lead from one
# recorded state to the next; driving them again says how good they are.

# %%
for dynamics in ("bicycle", "delta_local", "state"):
    expert = expert_actions(tracks, dynamics, dt=scene.dt)
    worst = 100.0 * expert.position_error.max(1)
    print(f"{dynamics:12} actions {expert.action.shape}, off by {np.median(worst):.2f} cm")
