# %% [markdown]
# # The self-play policy, evaluated
#
# How well does a policy drive? Let many agents follow it on a town that it has not seen, and count
# what goes wrong per kilometre. `docs/evaluation.md` defines every figure.
#
# Needs `pip install -e ".[render,notebooks]"`.

# %%
import os
from pathlib import Path

import numpy as np
from IPython.display import Image
from matplotlib import pyplot as plt

from selfdrive_env.evaluation import CAUSES, compare, evaluate, load
from selfdrive_env.evaluation.films import replay
from selfdrive_env.evaluation.probes import probe
from selfdrive_env.evaluation.report import text
from selfdrive_env.rendering import write_video

BUDGET = float(os.environ.get("SELFDRIVE_BUDGET", 1))  # 10 narrows the intervals

# %% [markdown]
# `selfplay` comes with the package; the folder of a training run, a policy file, an SB3 file,
# `idm` and `random` work as well. Four worlds of 50 cars drive for some minutes each: nothing ends
# an episode here, and who has crashed does not count until he is clear again.

# %%
options = dict(
    map="harbour",
    minutes=2 * BUDGET,
    seeds=(0, 1, 2, 3),
    settings=dict(dt=0.3, bodies="typed", num_threads=1),
)
trained = evaluate(load("selfplay"), keep=40, **options)
print(text(trained))

# %% [markdown]
# The same seeds give another driver the same starts and the same lights, so differences are those
# of the drivers. The scripted one is hard to beat at not crashing.

# %%
scripted = evaluate(load("idm"), **options)
for name, difference in compare(trained, scripted).items():
    print(f"{name:18} selfplay less idm: {difference.mean:8.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
for offset, result in ((-0.2, trained), (0.2, scripted)):
    rates = [result.by_cause[cause] / result.km.sum() for cause in CAUSES]
    left.barh(np.arange(len(CAUSES)) + offset, rates, 0.4, label=result.policy)
scores = [[100.0 * route[2] for route in result.routes] for result in (trained, scripted)]
right.hist(scores, np.arange(0, 105, 10))
left.set_yticks(range(len(CAUSES)), [cause.replace("_", " ") for cause in CAUSES])
left.set_xlabel("incidents a km")
left.legend()
right.set(xlabel="driving score of a route", ylabel="routes", yscale="log")
plt.show()


# %% [markdown]
# **Incidents.** The worst were kept: the state some seconds before, and all actions since. Played
# again they are the same drive, so one can look at it from anywhere. Here is the worst of each
# cause, from left to right; the camera follows the agent of the incident, the orange one.
# In a short drive there may be none: then those of random actions are shown.


# %%
def film(recording):
    """Plays an incident again; returns its pictures."""
    incident = recording.incident
    worlds = replay(recording, size=240, span=50.0)
    return [env.frame(incident.world * env.rows_per_world + incident.agent) for env in worlds]


shown = trained if trained.recordings else evaluate(load("random"), keep=40, **options)
worst = {}
for recording in shown.recordings:
    worst.setdefault(recording.incident.cause, recording)
for cause, recording in worst.items():
    print(f"{shown.policy}: {cause}, {recording.incident.speed:.1f} m/s")
films = [film(recording) for recording in worst.values()]

longest = max(len(frames) for frames in films)
films = [frames + frames[-1:] * (longest - len(frames)) for frames in films]
Path("runs").mkdir(exist_ok=True)
grid = [np.concatenate(frames, axis=1) for frames in zip(*films, strict=True)]
write_video(grid, "runs/incidents.png", fps=1.0 / 0.3)
Image("runs/incidents.png")

# %% [markdown]
# **Probes** are small scenes that each need one skill, here with five trials instead of twenty.

# %%
for name in ("merge", "unprotected_left_turn", "roundabout_entry", "closed_road"):
    results = {who: probe(load(who), name, trials=5) for who in ("selfplay", "idm")}
    shares = ", ".join(f"{who} {one.successes} of {one.trials}" for who, one in results.items())
    print(f"{name:22} {shares}")

# %% [markdown]
# On the command line all of this is `python -m selfdrive_env evaluate selfplay --map harbour
# --against idm --film 3`.
