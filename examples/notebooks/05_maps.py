# %% [markdown]
# # Maps
#
# Three towns are built in; any OpenDRIVE file can take their place.
#
# Needs `pip install -e ".[render,notebooks]"`.

# %%
import math
import os
from pathlib import Path

import gymnasium as gym
import numpy as np
from IPython.display import Image
from matplotlib import pyplot as plt

from selfdrive_env.maps import BUILT_IN, MapError, load
from selfdrive_env.maps.inspection import describe
from selfdrive_env.rendering import Painter, draw_network, scene_of, write_video

RUNS = Path("runs")
RUNS.mkdir(exist_ok=True)

# %% [markdown]
# `load` gives a map as a road network: lanes with centre lines, edges and links, junctions,
# signals, stop lines. `describe` sums it up, as `python -m selfdrive_env map info` does.

# %%
for name in BUILT_IN:
    facts = describe(load(name))
    print(
        f"{name:10} {facts['driving_lane_km']:5.1f} km of lanes, {facts['junctions']} junctions, "
        f"{facts['traffic_lights']} traffic lights"
    )


# %% [markdown]
# `draw_network` (`map plot FILE -o map.png`) draws a picture: lanes with their directions, stop
# lines in red, traffic lights as green dots, signs in their shapes.


# %%
def show(*networks, width=12):
    """Shows road networks side by side."""
    _, axes = plt.subplots(1, len(networks), figsize=(width, 4), layout="constrained")
    for axis, network in zip(np.atleast_1d(axes), networks, strict=True):
        axis.imshow(draw_network(network, size=900))
        axis.set_title(network.name)
        axis.set_axis_off()
    plt.show()


show(*(load(name) for name in BUILT_IN))

# %% [markdown]
# **Variants.** `map_variants=8` gives a policy eight versions of each map to learn on: itself and
# random flips, scales and shears. So it learns to read roads rather than to know them.

# %%
town = load("riverside")
show(*(town.varied(seed) for seed in (0, 1, 2, 3)))

# %% [markdown]
# **A map of your own.** OpenDRIVE lays lanes along a reference line of straights, arcs and so on.
# This file is an oval: one road of four pieces that ends where it begins, with two lanes one way
# (-1, -2) and one the other (1).

# %%
STRAIGHT, RADIUS = 60.0, 30.0
BEND = math.pi * RADIUS
PIECES = (
    (0.0, 0.0, 0.0, STRAIGHT, "<line/>"),
    (STRAIGHT, 0.0, 0.0, BEND, f'<arc curvature="{1 / RADIUS}"/>'),
    (STRAIGHT, 2 * RADIUS, math.pi, STRAIGHT, "<line/>"),
    (0.0, 2 * RADIUS, math.pi, BEND, f'<arc curvature="{1 / RADIUS}"/>'),
)

geometry, s = "", 0.0
for x, y, heading, length, shape in PIECES:
    geometry += (
        f'<geometry s="{s}" x="{x}" y="{y}" hdg="{heading}" length="{length}">{shape}</geometry>\n'
    )
    s += length


def lane(number):
    return (
        f'<lane id="{number}" type="driving"><link><predecessor id="{number}"/>'
        f'<successor id="{number}"/></link><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>'
    )


oval = RUNS / "oval.xodr"
oval.write_text(f"""<OpenDRIVE><header/>
<road id="1" length="{s}" junction="-1">
<link><predecessor elementType="road" elementId="1" contactPoint="end"/>
<successor elementType="road" elementId="1" contactPoint="start"/></link>
<planView>{geometry}</planView>
<lanes><laneSection s="0"><left>{lane(1)}</left><center><lane id="0"/></center>
<right>{lane(-1)}{lane(-2)}</right></laneSection></lanes>
</road></OpenDRIVE>""")
show(load(oval), width=5)
print({name: value for name, value in describe(load(oval)).items() if value})

# %% [markdown]
# Wherever a map is asked for, its path will do. Twelve scripted drivers on the oval, with the
# whole map in view:

# %%
envs = gym.make_vec(
    "selfdrive_env/SelfPlay-v0",
    num_envs=12,
    agents_per_world=12,
    map=str(oval),
    driver="idm",
    bodies="typed",
    on_goal="new_route",
)
envs.reset(seed=0)
engine = envs.unwrapped.engine
painter = Painter.of(engine)
frames = []
for _ in range(50):
    envs.step(np.zeros(12, int))
    picture = painter.draw(scene_of(engine, 0, 0), size=560, span=None)
    frames.append(picture[110:450])
envs.close()
write_video(frames, RUNS / "oval.png", fps=envs.metadata["render_fps"])
Image(str(RUNS / "oval.png"))

# %% [markdown]
# **Flaws.** A file that cannot be used is refused with the place and the reason; what is odd but
# usable is listed in `problems`.

# %%
broken = RUNS / "broken.xodr"
broken.write_text(oval.read_text().replace(f'length="{BEND}"', 'length="-5"', 1))
try:
    load(broken)
except MapError as error:
    print(error)

# %% [markdown]
# **A file of yours:** name it in `SELFDRIVE_MAP` (or write its path here) and run this cell.

# %%
mine = os.environ.get("SELFDRIVE_MAP")
if mine:
    network = load(mine)
    print(describe(network))
    show(network, width=8)
else:
    print("SELFDRIVE_MAP names no file: nothing to show here")
