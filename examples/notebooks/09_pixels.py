# %% [markdown]
# # Pixels
#
# Rows may see pictures instead of numbers, or beside them: the road from above, or what cameras on
# their bodies see, with labels for perception. Kernels draw them for all agents in every step.
#
# Needs `pip install -e ".[train,render,notebooks]"`.

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

import selfdrive_env
from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.images.labels import boxes_of, lanes_of, pose_of
from selfdrive_env.rendering import write_video
from selfdrive_env.state.camera.scenery import ImageClass
from selfdrive_env.state.images import CHANNEL_CLASSES

BUDGET = float(os.environ.get("SELFDRIVE_BUDGET", 1))
policy = selfdrive_env.load_policy("selfplay")


def make(observation, agents=32, **settings):
    return gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=agents,
        agents_per_world=agents,
        layout="lean",
        bodies="typed",
        preset="eval",
        on_goal="new_route",
        observation=observation,
        **settings,
    )


def show(pictures, titles, columns=4, **options):
    lines = -(-len(pictures) // columns)
    size = (3 * columns, 4.0 * lines * len(pictures[0]) / len(pictures[0][0]))
    _, axes = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=True):
        axis.imshow(picture, **options)
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    plt.show()


# %% [markdown]
# **From above.** `observation` names a kind of picture, with settings, or several by name. Here are
# colours, two frames in grey (a history tells speeds), and one channel a class. The ego is orange
# and heads up.

# %%
ABOVE = {"kind": "bev", "size": 84, "span": 64.0}
envs = make(
    {
        "colours": ABOVE,
        "grey": {**ABOVE, "colour": "gray", "history": 2},
        "classes": {**ABOVE, "colour": "classes"},
        "row": "state",
    },
    map="harbour",
)
seen, _ = envs.reset(seed=4)
for _ in range(30):
    seen, *_ = envs.step(policy.act(seen["row"]))
print({name: (one.shape, str(one.dtype)) for name, one in seen.items()})
busy = seen["classes"][..., CHANNEL_CLASSES.index("vehicle")].sum((1, 2)).argsort()[::-1]
show(seen["colours"][busy[:4]], [f"agent {row}" for row in busy[:4]])
row = busy[0]
names = ["road", "route", "vehicle"]
change = np.abs(np.diff(seen["grey"][row].astype(float), axis=-1))
channels = [seen["classes"][row, ..., CHANNEL_CLASSES.index(name)] for name in names]
show([*channels, change[..., 0]], [*names, "from frame to frame"], cmap="gray")
envs.close()

# %% [markdown]
# **From the car.** A pinhole camera on the body, or several. With `labels=True` the kernel also
# writes the class, the agent and the depth of each pixel.

# %%
envs = make(
    {
        "front": {"kind": "camera", "size": [180, 320], "labels": True},
        "left": {"kind": "camera", "size": [180, 320], "yaw": 75.0},
        "row": "state",
    },
    map="town:1",
)
seen, _ = envs.reset(seed=2)
for _ in range(40):
    seen, *_ = envs.step(policy.act(seen["row"]))
engine = envs.unwrapped.engine
view = engine.views["front"]
shots = view.parts["shots"]
things = (shots.kind > ImageClass.STOP_SIGN).mean((1, 2))  # bodies come last
things[things > 0.15] = 0.0  # so near that they hide the road
agent = int(things.argmax())
show([seen["front"][agent], seen["left"][agent]], ["front", "left"], columns=2)
show(
    [shots.kind[agent], shots.agent[agent] % 20, -np.log(shots.depth[agent])],
    ["classes", "agents", "depth"],
    columns=3,
    cmap="turbo",
    interpolation="nearest",
)

# %% [markdown]
# **Boxes and lanes** follow from the same arrays: boxes of what is visible, with occlusion, and
# centres and boundaries of the own lane and of those beside it.

# %%
pose = pose_of(engine, view.picture, 0, agent)
boxes = boxes_of(engine, pose, 0, shots.box[agent])
lanes = lanes_of(engine, pose, 0, agent, shots.depth[agent])
_, axis = plt.subplots(figsize=(12, 6.75), layout="constrained")
axis.imshow(seen["front"][agent])
for line in lanes:
    drawn = np.where((line.shown & ~line.junction)[:, None], line.points, np.nan)
    style = {"centre": "c:", "boundary": "m-"}[line.kind]
    axis.plot(*drawn.T, style, linewidth=2, alpha=0.8)
kinds = list(BODY_TYPES)
for number in np.flatnonzero(boxes.pixels >= 12):
    left, top, right, bottom = boxes.visible[number]
    frame = plt.Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="yellow")
    axis.add_patch(frame)
    ahead = boxes.centre[number, 2]
    text = f"{kinds[boxes.type[number]]}, {ahead:.0f} m"
    axis.text(left, top - 2, text, color="yellow", fontsize=8)
axis.set(xlim=(0, 320), ylim=(180, 0))
axis.set_axis_off()
plt.show()
print(len(boxes.agent), "bodies,", sum(one.kind == "boundary" for one in lanes), "boundaries")
envs.close()

# %% [markdown]
# **Learning.** A small convolutional network looks at pictures from above and learns which of
# twelve actions the policy that comes with the package, which reads numbers, takes there. It drives
# half of the time itself, so that it also learns to put right what it does wrong.

# %%
torch.manual_seed(0)
torch.set_num_threads(1)
SMALL = {"kind": "bev", "size": 48, "span": 48.0, "history": 2, "channels_first": True}
envs = make({"road": SMALL, "row": "state"}, agents=64, map="riverside")
network = nn.Sequential(
    nn.Conv2d(6, 16, 4, 4),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, 2, 1),
    nn.ReLU(),
    nn.Conv2d(32, 32, 3, 2, 1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(288, 128),
    nn.ReLU(),
    nn.Linear(128, 12),
)
optimiser = torch.optim.Adam(network.parameters(), 1e-3)
seen, _ = envs.reset(seed=0)
pictures, chances, agreed = [], [], []
random = np.random.default_rng(0)
for _step in range(max(20, round(300 * BUDGET))):
    road = torch.from_numpy(seen["road"]).float() / 64.0 - 2.0
    advice = torch.from_numpy(policy.logits(seen["row"]))
    pictures, chances = [*pictures, road][-40:], [*chances, advice.softmax(1)][-40:]
    with torch.no_grad():
        own = network(road).argmax(1)
    agreed.append((own == advice.argmax(1)).float().mean().item())
    for _ in range(2):
        one = random.integers(len(pictures), size=2)
        x, y = (torch.cat([kept[k] for k in one]) for kept in (pictures, chances))
        loss = nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    actions = np.where(random.random(64) < 0.5, own.numpy(), policy.act(seen["row"]))
    seen, *_ = envs.step(actions)
envs.close()
for part in np.array_split(agreed, 5):
    print(f"the same action as its teacher's: {part.mean():.0%}")

# %% [markdown]
# **A drive.** What the camera of one car sees, and the road from above, while the policy drives.

# %%
envs = make(
    {
        "camera": {"kind": "camera", "size": [204, 320]},
        "above": {"kind": "bev", "size": 204},
        "row": "state",
    },
    map="riverside",
)
seen, _ = envs.reset(seed=1)
frames = []
for _ in range(40):
    frames.append(np.concatenate([seen["camera"][5], seen["above"][5]], axis=1))
    seen, *_ = envs.step(policy.act(seen["row"]))
envs.close()
Path("runs").mkdir(exist_ok=True)
write_video(frames, "runs/pixels.png", fps=10)
Image("runs/pixels.png")

# %% [markdown]
# **Longer.** `examples/distill_camera.py` lets a network learn in the same way to drive by three
# cameras and a navigation. After 25 minutes of processor time it drives 5.1 km between incidents
# (4.4 to 6.0) on towns that it has not seen, at its teacher's pace; the teacher drives 113 (55 to
# 282). [How](../../docs/how-to/pixels.md) this was measured stands there.
# `examples/ppo_pixels.py` learns from pictures by reward alone, `examples/perception.py` learns to
# see vehicles and lanes.
