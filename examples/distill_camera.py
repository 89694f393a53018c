"""Distils the policy that comes with the package into one that drives by cameras, with DAgger.

The teacher reads rows of numbers: where bodies, lanes and lights are. The student looks through
three cameras, two frames each, and gets beside them only what a car knows without eyes (`KNOWN`):
its own motion and body, the way that a navigation with a map tells, and whether it has stood at
the line ahead. After Ross et al. 2011, "A Reduction of Imitation Learning and Structured Prediction
to No-Regret Online Learning": students drive every car of several towns, at first in part their
teacher, who says of each state that they come to how likely it would choose each action; that is
what they learn. As in Chen et al. 2019, "Learning by Cheating", they first learn to decide by what
there is to be seen (`SEEN`, `others`), told in numbers, and then to see it.

Then towns that no student has seen compare them with their teacher. `runs/distill_camera/` receives
weights (`by_cameras.safetensors`), `progress.csv`, `curve.png`, `table.md`, `seen.png`, what some
cars see, and `drive.gif`. Ctrl-C ends the part that is being learnt; `--test` only drives.
`--blind` learns without eyes, to tell what they are good for.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from selfdrive_env import load_policy
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, plane_of, scale_of
from selfdrive_env.config.settings import Settings
from selfdrive_env.evaluation import Evaluation, evaluate, load
from selfdrive_env.evaluation.policies import Candidate
from selfdrive_env.policies.choice import likeliest
from selfdrive_env.policies.numpy_policy import NumpyPolicy
from selfdrive_env.rendering import write_video
from selfdrive_env.state.world import EVENT_COLLISION, EVENT_OFFROAD

WORLDS, AGENTS = 8, 32
FRAMES = 2  # of a picture, dt apart: one shows no speeds
SIDE = {"size": [32, 48], "field_of_view": 80.0}
CAMERAS = {
    "front": {"size": [40, 128], "field_of_view": 70.0},
    "left": {**SIDE, "yaw": 72.0},
    "right": {**SIDE, "yaw": -72.0},
}
ROAD = {"dt": 0.3, "bodies": "typed", "preset": "eval"}
KNOWN = {
    "ego": ("speed", "steering", "acceleration", "lateral_acceleration", "jerk_scale",
            "lateral_jerk_scale", "acceleration_scale", "speed_scale", "length", "width",
            "speed_limit", "goal_distance"),
    "goals": ("x", "y", "valid"),
    "route": ("x", "y", "cos", "sin", "speed_limit", "valid"),
    "own_line": ("served",),
}  # fmt: skip
"""Group of the rows -> columns that the student is given, too."""

SEEN = {
    "ego": ("lateral_offset", "angle", "lane_curvature"),
    "own_line": ("gap", "red", "yellow", "green", "stop_sign", "gives_way", "valid"),
    "leader": ("gap", "speed", "closing_speed", "valid"),
    "route": ("room_left", "room_right"),
}
"""Group -> columns that it tells from pictures while it learns."""

OTHERS = ("closing_speed", "speed_along", "speed_across", "on_route")
"""What it tells of the next body in each sector ahead, beside how near that is."""

SECTORS, REACH, DISTANCE = 14, math.radians(112.0), 20.0  # number, where they end, unit [m]
LATERALS = len(Settings.jerk_lat)
ACTIONS = len(Settings.jerk_long) * LATERALS
RATE, TELLING = 1.5e-3, 20.0  # of learning; weight of what is told
BATCH, KEPT, AGAIN = 128, 24_576, 2  # rows of a step, rows kept, how often each is learnt from

Rows = NDArray[np.float32]
Seen = dict[str, NDArray[Any]]


def views(by: str) -> dict[str, Any]:
    """Returns the setting `observation` for who drives by "cameras", "rows" or "nothing"."""
    cameras = CAMERAS if by == "cameras" else {}
    return {"row": "state"} | {
        name: {"kind": "camera", "history": FRAMES, **one} for name, one in cameras.items()
    }


def columns(layout: ObservationLayout, table: dict[str, tuple[str, ...]]) -> NDArray[np.int64]:
    """Returns where columns by group lie in a row."""
    found = []
    for group, names in table.items():
        there = layout.slices[group]
        planes = np.arange(there.start, there.stop).reshape(len(OBSERVATION[group]), -1)
        found += [planes[plane_of(group, name)] for name in names]
    return np.concatenate(found)


def others(rows: Rows, layout: ObservationLayout) -> Rows:
    """Returns of each sector how near the next body is, and `OTHERS`."""
    planes = {one.name: layout.group(rows, "agents")[:, k]
              for k, one in enumerate(OBSERVATION["agents"])}  # fmt: skip
    x, y = (scale_of("agents", name).restored(planes[name]) for name in ("x", "y"))
    sector = np.floor((np.arctan2(y, x) + REACH) * (0.5 * SECTORS / REACH)).astype(int)
    there = (planes["valid"] == 1.0) & (sector >= 0) & (sector < SECTORS)
    told = np.stack([np.exp(np.hypot(x, y) / -DISTANCE), *(planes[name] for name in OTHERS)], 1)
    found = np.zeros((len(rows), 1 + len(OTHERS), SECTORS), np.float32)
    for slot in reversed(range(x.shape[1])):  # the nearest last
        row = np.flatnonzero(there[:, slot])
        found[row, :, sector[row, slot]] = told[row, :, slot]
    return found.reshape(len(rows), -1)


def eye(height: int, width: int, features: int) -> nn.Sequential:
    """Returns what makes features of a picture of [height, width] pixels."""
    area = math.ceil(height / 16) * math.ceil(width / 16)
    return nn.Sequential(
        nn.Conv2d(3 * FRAMES, 16, 4, 4), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 48, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(48 * area, features), nn.ReLU(),
    )  # fmt: skip


class Student(nn.Module):
    """One eye for what is ahead and one for both sides tell what there is; then it decides."""

    def __init__(self, known: int, told: int) -> None:
        super().__init__()
        self.front = eye(*CAMERAS["front"]["size"], 128)
        self.side = eye(*SIDE["size"], 64)
        self.tells = nn.Sequential(nn.Linear(256 + known, 128), nn.ReLU(), nn.Linear(128, told))
        self.decides = nn.Sequential(
            nn.Linear(known + told, 192), nn.ReLU(), nn.Linear(192, 192), nn.ReLU(),
            nn.Linear(192, ACTIONS),
        )  # fmt: skip

    def see(self, known: Tensor, pictures: dict[str, Tensor]) -> Tensor:
        """Returns what is to be seen in pictures, [B, told]."""
        x = {name: one.permute(0, 3, 1, 2).float().div_(64.0).sub_(2.0)
             for name, one in pictures.items()}  # fmt: skip
        looks = self.front(x["front"]), self.side(x["left"]), self.side(x["right"].flip(3))
        return self.tells(torch.cat([*looks, known], 1))

    def decide(self, known: Tensor, told: Tensor) -> Tensor:
        """Returns the logits of actions, [B, ACTIONS]."""
        return self.decides(torch.cat([known, told], 1))


class Lesson:
    """What a student takes of observations, and the teacher's view of them."""

    def __init__(self, teacher: NumpyPolicy) -> None:
        self.teacher, self.layout = teacher, teacher.layout
        self.known, self.seen = columns(self.layout, KNOWN), columns(self.layout, SEEN)

    def student(self) -> Student:
        """Returns a student who knows nothing."""
        student = Student(len(self.known), len(self.seen) + (1 + len(OTHERS)) * SECTORS)
        return student.to(memory_format=torch.channels_last)

    def look(self, seen: Seen, by: str) -> Seen:
        """Returns what a student drives by."""
        rows = seen["row"]
        looked = {"known": np.ascontiguousarray(rows[:, self.known])}
        if by == "cameras":
            return looked | {name: seen[name] for name in CAMERAS}
        told = np.concatenate([rows[:, self.seen], others(rows, self.layout)], 1)
        return looked | {"told": told if by == "rows" else np.zeros_like(told)}

    def correct(self, rows: Rows) -> Seen:
        """Returns the chances that the teacher gives each action, and what is to be seen."""
        logits = self.teacher.logits(rows)
        chances = np.exp(logits - logits.max(1, keepdims=True))
        told = self.look({"row": rows}, "rows")["told"]
        return {"chances": chances / chances.sum(1, keepdims=True), "told": told}


def think(student: Student, looked: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the logits of actions, [B, ACTIONS], and what the student sees, [B, told]."""
    pictures = {name: looked[name] for name in CAMERAS if name in looked}
    told = student.see(looked["known"], pictures) if pictures else looked["told"]
    return student.decide(looked["known"], told), told


def logits_of(student: Student, looked: Seen) -> Rows:
    """Returns what a student thinks of actions, [B, ACTIONS]."""
    with torch.inference_mode():
        logits, _ = think(student, {name: torch.from_numpy(one) for name, one in looked.items()})
        found: Rows = logits.numpy()
    return found


class Notes:
    """The latest rows, to be learnt from in another order than they came in."""

    def __init__(self, rows: int) -> None:
        self.arrays: Seen = {}
        self.rows, self.taken = rows, 0

    def add(self, lines: Seen) -> None:
        """Writes rows over the oldest ones."""
        if not self.arrays:
            self.arrays = {
                name: np.zeros((self.rows, *one.shape[1:]), one.dtype)
                for name, one in lines.items()
            }
        number = len(lines["known"])
        places = np.arange(self.taken, self.taken + number) % self.rows
        for name, one in lines.items():
            self.arrays[name][places] = one
        self.taken += number

    def batch(self, random: np.random.Generator) -> dict[str, Tensor]:
        """Returns some of them."""
        places = random.integers(0, min(self.taken, self.rows), BATCH)
        return {name: torch.from_numpy(one[places]) for name, one in self.arrays.items()}


def loss_of(student: Student, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the cross entropy with the teacher, and the squared error of what is seen."""
    logits, told = think(student, batch)
    entropy = -(batch["chances"] * F.log_softmax(logits, 1)).sum(1).mean()
    return entropy, F.mse_loss(told, batch["told"])


def make(by: str, lesson: Lesson, worlds: int, **settings: Any) -> Any:
    """Returns worlds full of students."""
    return gym.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=worlds * AGENTS, agents_per_world=AGENTS,
        observation=views(by), layout=vars(lesson.layout), on_goal="new_route", **ROAD, **settings,
    )  # fmt: skip


def learn(options: argparse.Namespace, by: str, minutes: float, lesson: Lesson, student: Student,
          history: list[dict[str, Any]]) -> Student:  # fmt: skip
    """Lets students drive and learn; returns the mean of the latest ones."""
    random = np.random.default_rng(options.seed)
    mean = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimiser = torch.optim.AdamW(student.parameters(), RATE, weight_decay=0.01)
    worlds = 1 if options.quick else WORLDS
    envs = make(by, lesson, worlds, map=options.train_map, horizon=120.0, copy=False)
    engine = envs.unwrapped.engine
    seen, infos = envs.reset(seed=options.seed)
    begun = history[-1]["minutes"] if history else 0.0
    notes, sums = Notes(worlds * AGENTS if options.quick else KEPT), np.zeros(7)
    start, share, told = time.process_time(), 0.0, 0.0
    try:
        while share < 1.0:
            valid = infos["valid"]
            looked, answers = lesson.look(seen, by), lesson.correct(seen["row"])
            advised = likeliest(np.log(answers["chances"] + 1e-12), LATERALS)
            own = likeliest(logits_of(student, looked), LATERALS)
            notes.add({name: one[valid] for name, one in (answers | looked).items()})
            helped = random.random(len(own)) < 1.0 - share / options.alone
            sums[:2] += valid.sum(), (own == advised)[valid].sum()
            seen, _, _, _, infos = envs.step(np.where(helped, advised, own))
            event = engine.output.event
            sums[2] += np.abs(engine.motion.travel).sum() / 1000.0
            sums[3] += np.count_nonzero(event & (EVENT_COLLISION | EVENT_OFFROAD))

            for group in optimiser.param_groups:
                group["lr"] = RATE * (0.02 + 0.49 * (1.0 + math.cos(math.pi * share)))
            for _ in range(max(1, AGAIN * int(valid.sum()) // BATCH)):
                losses = loss_of(student, notes.batch(random))
                optimiser.zero_grad()
                (losses[0] + TELLING * losses[1]).backward()
                optimiser.step()
                mean.update_parameters(student)
                sums[4:] += losses[0].item(), losses[1].item(), 1.0
            share = min((time.process_time() - start) / (60.0 * minutes), 1.0)
            if share >= told + 0.05 or share == 1.0:
                told = share
                note(by, sums, notes.taken, begun + share * minutes, history, options.out)
                save(mean.module, by, options.out)
    except KeyboardInterrupt:
        print("learning interrupted: going on with what was learnt")
    envs.close()
    return mean.module


def train(options: argparse.Namespace, lesson: Lesson) -> None:
    """Teaches to decide by what the teacher knows, then to see it."""
    torch.manual_seed(options.seed)
    first = options.deciding * options.minutes
    parts = {"rows": first, "cameras": options.minutes - first}
    student, history = lesson.student(), []
    for by, minutes in {"nothing": options.minutes}.items() if options.blind else parts.items():
        student = learn(options, by, minutes, lesson, student, history)
        save(student, by, options.out)
    draw_curve(history, options.out)


def save(student: nn.Module, by: str, folder: Path) -> None:
    """Writes the weights of a student, where a run that is ended leaves them, too."""
    weights = {name: one.contiguous() for name, one in student.state_dict().items()}
    save_file(weights, folder / f"by_{by}.safetensors")


def note(by: str, sums: NDArray[Any], rows: int, minutes: float, history: list[dict[str, Any]],
         folder: Path) -> None:  # fmt: skip
    """Prints and writes how learning goes, and starts the next sums."""
    number, agreed, km, incidents, entropy, told, steps = sums.tolist()
    history.append({
        "by": by, "minutes": minutes, "rows": rows, "agreement": agreed / number,
        "entropy": entropy / steps, "told": told / steps, "km": km, "incidents": incidents,
        "km between incidents": km / max(incidents, 1.0),
    })  # fmt: skip
    numbers = [f"{name} {value:,.3g}" for name, value in history[-1].items() if name != "by"]
    print(f"by {by}: {', '.join(numbers)}", flush=True)
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    sums[:] = 0.0


def candidate_of(name: str, student: Student, by: str, lesson: Lesson) -> Candidate:
    """Returns a student as evaluations take drivers."""

    def act(seen: Seen, deterministic: bool = True) -> NDArray[np.int64]:
        return likeliest(logits_of(student, lesson.look(seen, by)), LATERALS)

    settings = {"observation": views(by)}
    return Candidate(name, act, layout=lesson.layout, settings=settings, pictures=True)


def cells(found: Evaluation) -> list[str]:
    """Returns the figures of an evaluation."""
    between, causes = found.km_between(), found.by_cause
    mean, low, high = ("-" if one is None else f"{one:.2f}" for one in between)
    km, hours = float(found.km.sum()), float(found.hours.sum())
    return [
        f"{km:.1f}", *(str(causes[name]) for name in list(causes)[:3]),
        mean, low, high, f"{causes['red_light'] / max(km, 1e-9):.2f}",
        f"{found.goals.sum() / max(hours, 1e-9):.1f}", f"{found.speed.mean or 0.0:.1f}",
    ]  # fmt: skip


def test(options: argparse.Namespace, drivers: list[Candidate]) -> None:
    """Lets all drive in unseen towns from the same starts, and writes the table."""
    head = ["town", "driver", "km", "at fault", "not at fault", "off-road", "km between", "low",
            "high", "red lights/km", "goals/h", "m/s"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for driver in drivers:
        found = evaluate(
            driver, map=options.map, minutes=options.test_minutes, seeds=options.seeds,
            settings={name: ROAD[name] for name in ("dt", "bodies")}, each_map=True,
        )  # fmt: skip
        parts = [("all", found), *((one.settings["map"][0], one) for one in found.by_map)]
        lines += [[town, driver.name, *cells(one)] for town, one in parts]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        (options.out / "table.md").write_text(table + "\n")
    print(table)


def draw_curve(history: list[dict[str, Any]], folder: Path) -> None:
    """Draws how learning went."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for place, name in enumerate(("agreement", "told", "km between incidents"), 1):
        axes = figure.add_subplot(1, 3, place)
        for by in dict.fromkeys(row["by"] for row in history):
            part = [(row["minutes"], row[name]) for row in history if row["by"] == by]
            axes.plot(*zip(*part, strict=True), label=f"by {by}")
        axes.set(xlabel="minutes of processor time", title=name)
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "curve.png", dpi=110)


def abreast(seen: Seen, row: int, scale: int) -> Image.Image:
    """Returns what a row sees, left to right, the newest frames."""
    height = CAMERAS["front"]["size"][0]
    parts = []
    for name in ("left", "front", "right"):
        newest = seen[name][row, ..., -3:]
        parts.append(np.pad(newest, ((0, height - len(newest)), (0, 1), (0, 0))))
    whole = np.concatenate(parts, 1)
    return Image.fromarray(whole).resize((scale * whole.shape[1], scale * height), 0)


def film(options: argparse.Namespace, driver: Candidate, lesson: Lesson) -> None:
    """Draws what one car sees on its way, and what some see at a time."""
    envs = make("cameras", lesson, 1, map=options.map[0], horizon=90.0,
                render_mode="rgb_array", render_size=360, render_span=80.0,
                render_heading_up=True)  # fmt: skip
    seen, _ = envs.reset(seed=3)
    frames = []
    for _ in range(4 if options.quick else 100):
        look = abreast(seen, 0, 3)
        whole = Image.new("RGB", (look.width, look.height + 360))
        whole.paste(look, (0, 0))
        above = Image.fromarray(envs.unwrapped.frame(0))
        whole.paste(above, ((look.width - above.width) // 2, look.height))
        frames.append(np.asarray(whole))
        seen, *_ = envs.step(driver.act(seen))
    write_video(frames, options.out / "drive.gif", 1.0 / ROAD["dt"])
    looks = [abreast(seen, row, 3) for row in range(12)]
    sheet = Image.new("RGB", (2 * looks[0].width, 6 * looks[0].height))
    for number, look in enumerate(looks):
        sheet.paste(look, (number % 2 * look.width, number // 2 * look.height))
    sheet.save(options.out / "seen.png")
    envs.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=25.0, help="processor time to learn in")
    parser.add_argument("--deciding", type=float, default=0.2, help="share before cameras")
    parser.add_argument("--alone", type=float, default=0.3, help="share after which nobody helps")
    parser.add_argument("--train-map", nargs="+", default=["town:0-31"], help="to learn in")
    parser.add_argument("--map", nargs="+", default=["harbour", "town:10000-10003"],
                        help="unseen, to test in")  # fmt: skip
    parser.add_argument("--test-minutes", type=float, default=5.0, help="of each world")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101], help="worlds a map")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blind", action="store_true", help="learn without cameras")
    parser.add_argument("--test", action="store_true", help="only test the student in --out")
    parser.add_argument("--quick", action="store_true", help="a few seconds of everything")
    parser.add_argument("--out", type=Path, default=Path("runs/distill_camera"))
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.test_minutes, options.seeds = 0.05, 0.1, [100]
        options.train_map, options.map = ["riverside"], ["harbour"]
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    lesson = Lesson(load_policy("selfplay"))
    if not options.test:
        train(options, lesson)
    drivers = []
    for by in ("cameras", "rows", "nothing"):
        place = options.out / f"by_{by}.safetensors"
        if place.exists():
            student = lesson.student()
            student.load_state_dict(load_file(place))
            drivers.append(candidate_of(f"student by {by}", student, by, lesson))
            if by == "cameras":
                film(options, drivers[-1], lesson)
    test(options, [*drivers, load("selfplay")])


if __name__ == "__main__":
    main()
