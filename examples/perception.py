"""Trains a small convolutional network to see vehicles and lanes in camera pictures of traffic.

In the spirit of Huval et al. 2015, "An Empirical Evaluation of Deep Learning on Highway Driving":
one network looks at a picture once, tells of every cell of 8 x 8 pixels whether it holds the middle
of a vehicle and where the box round that is, and of every row where the boundaries of the ego's
lane and of those beside it are. Pictures come from `selfdrive dataset camera`, made first where
they are missing; towns of the test are never learnt from. `runs/perception/` receives `model.pt`,
`progress.csv`, `table.md` and `seen.png`, unseen pictures with what is there (white) and what is
found (red, lanes in colours). Ctrl-C ends the training early; `--resume` goes on with it.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from perception_labels import (
    HEIGHT,
    ORDERS,
    OVERLAP,
    ROWS,
    WIDTH,
    Floats,
    Frame,
    Tally,
    overlaps,
    read_frames,
    read_picture,
)
from PIL import Image, ImageDraw
from torch import Tensor, nn

from selfdrive_env.datasets import camera

CELL = 8  # [pixels]
DOWN, ACROSS = -(-HEIGHT // CELL), WIDTH // CELL
TOP, PER_CELL = int(ROWS[0]) // CELL, CELL // 2  # first row of cells with lanes, rows in each
RATE, SCORE = 2e-3, 0.4  # of learning; from which on a box is drawn
LOSSES = {"middles": 1.0, "boxes": 3.0, "lanes": 1.0, "columns": 1.0}  # their weights
COLOURS = ("yellow", "cyan", "lime", "orange", "deepskyblue", "magenta", "tomato", "gold")


def layer(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Network(nn.Module):
    """Features at strides of 4 to 32, brought together at 8, where two heads read them."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter = layer(3, 24, 6, 4)
        self.eighth = nn.Sequential(layer(24, 48, stride=2), layer(48, 48))
        self.sixteenth = nn.Sequential(layer(48, 80, stride=2), layer(80, 80), layer(80, 80))
        self.last = nn.Sequential(layer(80, 96, stride=2), layer(96, 96), layer(96, 96))
        self.up_last, self.up, self.neck = layer(96, 80, 1), layer(80, 48, 1), layer(48 + 2, 48)
        self.vehicles = nn.Sequential(layer(48, 32), nn.Conv2d(32, 5, 1))
        nn.init.constant_(self.vehicles[1].bias[:1], -4.0)  # most cells are empty
        slots = len(ORDERS) * PER_CELL
        self.lower, self.lanes = layer(48, 48), nn.Conv2d(48, 2 * slots, 1)
        self.none = nn.Conv2d(48, slots, 1)
        y, x = np.meshgrid(np.linspace(-1, 1, DOWN), np.linspace(-1, 1, ACROSS), indexing="ij")
        places = torch.from_numpy(np.stack([x, y])[None]).float()
        self.register_buffer("places", places, persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Looks at pictures, [B, 3, HEIGHT, WIDTH], 0 to 255.

        Returns:
            Of each cell the logit of a vehicle, offset and logarithm of the size of its box,
            [B, 5, DOWN, ACROSS] [cells]; of each boundary and row the logits of each cell's column
            and of "none", [B, ORDERS, ROWS, ACROSS + 1], and the offset there, [..., ACROSS].
        """
        eighth = self.eighth(self.quarter(pictures / 64.0 - 2.0))
        sixteenth = self.sixteenth(eighth)
        last = self.up_last(self.last(sixteenth))
        sixteenth = sixteenth + F.interpolate(last, size=sixteenth.shape[2:], mode="bilinear")
        x = eighth + F.interpolate(self.up(sixteenth), size=eighth.shape[2:], mode="bilinear")
        x = self.neck(torch.cat([x, self.places.expand(len(x), -1, -1, -1)], 1))
        lower = self.lower(x[:, :, TOP:])
        logits, offsets = by_row(self.lanes(lower), 2)
        none = by_row(self.none(lower.mean(dim=3, keepdim=True)), 1)[0]
        return self.vehicles(x), torch.cat([logits, none], -1), offsets


def by_row(x: Tensor, parts: int) -> Tensor:
    """Sorts channels by part, boundary and row, [parts, B, ORDERS, ROWS, columns]."""
    batch, _, down, across = x.shape
    x = x.reshape(batch, parts, len(ORDERS), PER_CELL, down, across).permute(1, 0, 2, 4, 3, 5)
    first = (int(ROWS[0]) - TOP * CELL) // 2
    return x.flatten(3, 4)[:, :, :, first : first + len(ROWS)]


def boxes_of(vehicles: Tensor) -> Tensor:
    """Returns the box of every cell: left, top, right, bottom, [B, 4, DOWN, ACROSS] [pixels]."""
    y, x = torch.meshgrid(torch.arange(DOWN), torch.arange(ACROSS), indexing="ij")
    middle = (torch.stack([x, y]) + 0.5 + vehicles[:, 1:3]) * CELL
    half = vehicles[:, 3:].clamp(-3.0, 4.0).exp() * (CELL / 2.0)
    return torch.cat([middle - half, middle + half], 1)


def targets_of(frame: Frame) -> tuple[Floats, Floats]:
    """Returns of each cell how near a middle it is, -1 where nothing is asked for; its box."""
    heat = np.zeros((DOWN, ACROSS), np.float32)
    boxes = np.full((4, DOWN, ACROSS), np.nan, np.float32)
    y, x = np.mgrid[:DOWN, :ACROSS] * CELL + CELL / 2.0
    for box, clear in zip(frame.boxes[::-1], frame.clear[::-1], strict=True):  # far to near
        if not clear:
            (left, top), (right, bottom) = (box[:2] // CELL).astype(int), -(-box[2:] // CELL)
            heat[top : int(bottom), left : int(right)] = -1.0
            continue
        (u, v), (wide, high) = (box[:2] + box[2:]) / 2.0, np.maximum((box[2:] - box[:2]) / 6.0, 4.0)
        bump = np.exp(-0.5 * (((x - u) / wide) ** 2 + ((y - v) / high) ** 2)).astype(np.float32)
        bump[int(v) // CELL, int(u) // CELL] = 1.0
        boxes[:, (bump > 0.5) & (bump >= heat)] = box[:, None]
        heat = np.where((heat < 0.0) & (bump < 0.5), heat, np.maximum(heat, bump))
    return heat, boxes


def losses_of(
    network: Network, pictures: Tensor, heat: Tensor, boxes: Tensor, lanes: Tensor
) -> Tensor:
    """Returns the focal loss of middles (Zhou et al. 2019), 1 - GIoU of boxes (Rezatofighi et al.
    2019), cross entropy of the cells of boundaries, and the error of their columns [cells]."""
    vehicles, logits, offsets = network(pictures)
    logit, middle = vehicles[:, 0], heat == 1.0
    right = -((1.0 - logit.sigmoid()) ** 2) * F.logsigmoid(logit)
    wrong = -((1.0 - heat) ** 4) * logit.sigmoid() ** 2 * F.logsigmoid(-logit)
    focal = torch.where(middle, right, torch.where(heat < 0.0, 0.0, wrong)).sum()

    asked = ~boxes[:, 0].isnan()
    found, true = (one.permute(0, 2, 3, 1)[asked] for one in (boxes_of(vehicles), boxes))
    low, high = torch.minimum(found, true), torch.maximum(found, true)
    shared = (low[:, 2:] - high[:, :2]).clamp(0.0).prod(1)
    union = (found[:, 2:] - found[:, :2]).prod(1) + (true[:, 2:] - true[:, :2]).prod(1) - shared
    hull = (high[:, 2:] - low[:, :2]).prod(1)
    giou = shared / union - (hull - union) / hull

    cell = torch.where(lanes.isnan(), ACROSS, (lanes / CELL).floor()).long()
    entropy = F.cross_entropy(logits.flatten(0, 2), cell.flatten()) * len(ORDERS) / 2.0
    columns = torch.arange(ACROSS)
    close = ((cell[..., None] - columns).abs() <= 1) & ~lanes.isnan()[..., None]
    errors = (lanes[..., None] / CELL - 0.5 - columns - offsets)[close].abs()
    counts = (count.sum().clamp(1) for count in (middle, asked, close))
    sums = zip((focal, (1.0 - giou).sum(), errors.sum()), counts, strict=True)
    focal, giou, offset = (total / count for total, count in sums)
    return torch.stack([focal, giou, entropy, offset])


def find(network: Network, picture: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    """Returns boxes [N, 4] and scores [N] of vehicles, and lanes [ORDERS, ROWS], of a picture."""
    with torch.inference_mode():
        vehicles, logits, offsets = network(torch.from_numpy(picture).permute(2, 0, 1)[None])
        score = vehicles[:, :1].sigmoid()
        peak = ((F.max_pool2d(score, 3, 1, 1) == score) & (score > 0.02))[0, 0]
        boxes, scores = boxes_of(vehicles)[0, :, peak].T.numpy(), score[0, 0, peak].numpy()
        shares = logits[0].softmax(-1)
        cell = shares[..., :ACROSS].argmax(-1, keepdim=True)
        columns = ((cell + 0.5 + offsets[0].gather(-1, cell)) * CELL)[..., 0]
        lanes = torch.where(shares[..., ACROSS] > 0.5, torch.nan, columns).numpy()
    boxes, kept = boxes.clip(0.0, [WIDTH, HEIGHT] * 2).astype(np.float32), []
    for one in np.argsort(-scores):  # the same body is not found twice
        if not kept or overlaps(boxes[kept], boxes[one])[0].max() < OVERLAP:
            kept.append(int(one))
    return boxes[kept], scores[kept], lanes


def evaluate(network: Network, frames: list[Frame]) -> dict[str, float]:
    """Returns how well pictures are understood, and how many of them a second."""
    network.eval()
    tally, clocks = Tally(), []
    for frame in frames:
        picture = read_picture(frame)
        before = time.perf_counter(), time.process_time()
        found = find(network, picture)
        clocks.append((time.perf_counter() - before[0], time.process_time() - before[1]))
        tally.add(frame, *found)
    wall, processor = (1.0 / np.median(clocks, axis=0)).tolist()
    return {**tally.rates(), "frames/s": wall, "frames/s of processor time": processor}


def batch_at(frames: list[Frame], step: int, size: int, seed: int) -> tuple[Tensor, ...]:
    """Returns pictures of a step, each in a light of its own, and what is to be learnt of them."""
    epoch, first = divmod(step * size, len(frames) // size * size)
    order = np.random.default_rng([seed, epoch]).permutation(len(frames))
    chosen = [frames[k] for k in order[first : first + size]]
    pictures = torch.from_numpy(np.stack([read_picture(frame) for frame in chosen]))
    random = np.random.default_rng([seed, step, 1])
    light = random.uniform(0.8, 1.25, (size, 1, 1, 1)) * random.uniform(0.9, 1.1, (size, 3, 1, 1))
    shone = (pictures.permute(0, 3, 1, 2) * torch.from_numpy(light).float()).clamp_(0.0, 255.0)
    heat, boxes = (np.stack(one) for one in zip(*map(targets_of, chosen), strict=True))
    lanes = np.stack([frame.lanes for frame in chosen])
    return shone, *map(torch.from_numpy, (heat, boxes, lanes))


def train(options: argparse.Namespace, frames: list[Frame], unseen: list[Frame]) -> Network:
    """Trains until all steps or minutes are spent, whatever comes first."""
    torch.manual_seed(options.seed)
    network = Network().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    step, history, recent = 0, [], []
    if options.resume:
        saved = torch.load(options.out / "model.pt", weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        step, history = saved["step"], saved["history"]
    start, first = time.monotonic(), step / options.steps
    try:
        while True:
            minutes = (time.monotonic() - start) / 60.0
            done = max(step / options.steps, first + (1.0 - first) * minutes / options.minutes)
            if done >= 1.0:
                break
            for group in optimiser.param_groups:
                group["lr"] = RATE * min((step + 1) / 100.0, 0.5 + 0.5 * math.cos(math.pi * done))
            network.train()
            losses = losses_of(network, *batch_at(frames, step, options.batch, options.seed))
            optimiser.zero_grad()
            (losses @ torch.tensor(list(LOSSES.values()))).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            recent.append(losses.detach())
            step += 1
            if step % 20 == 0:
                means = torch.stack(recent[-20:]).mean(0).tolist()
                told = ", ".join(f"{n} {x:.3f}" for n, x in zip(LOSSES, means, strict=True))
                print(f"step {step:,}, {done:.1%} in {minutes:.1f} min: {told}", flush=True)
            if step % options.every == 0:
                look(network, optimiser, step, recent, history, unseen, options.out)
                recent = []
    except KeyboardInterrupt:
        print("training interrupted: going on with what was learnt")
    if recent:
        look(network, optimiser, step, recent, history, unseen, options.out)
    return network


def look(network: Network, optimiser: torch.optim.Optimizer, step: int, recent: list[Tensor],
         history: list[dict[str, float]], unseen: list[Frame], folder: Path) -> None:  # fmt: skip
    """Tests on some unseen pictures; writes `progress.csv`, and `model.pt` to go on with."""
    rates = evaluate(network, unseen[:: max(1, len(unseen) // 200)])
    losses = dict(zip(LOSSES, torch.stack(recent).mean(0).tolist(), strict=True))
    history.append({"step": step, **losses, **rates})
    print(", ".join(f"{name} {value:.3f}" for name, value in rates.items()), flush=True)
    saved = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
    torch.save({**saved, "step": step, "history": history}, folder / "model.pt")
    with (folder / "progress.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)


def draw(network: Network, frames: list[Frame], place: Path) -> None:
    """Saves a sheet of pictures, two abreast, with what is there and what is found."""
    network.eval()
    scale, size = 3, (3 * WIDTH, 3 * HEIGHT)
    sheet = Image.new("RGB", (2 * size[0], -(-len(frames) // 2) * size[1]))
    for k, frame in enumerate(frames):
        boxes, scores, lanes = find(network, read_picture(frame))
        picture = Image.fromarray(read_picture(frame)).resize(size)
        pen = ImageDraw.Draw(picture)
        for box in frame.boxes[frame.clear]:
            pen.rectangle((scale * box).tolist(), outline="white")
        for box, score in zip(scale * boxes[scores >= SCORE], scores[scores >= SCORE], strict=True):
            pen.rectangle(box.tolist(), outline="red", width=2)
            pen.text((box[0], box[1] - 11), f"{score:.2f}", fill="red")
        for columns, radius, colours in ((frame.lanes, 1, ["white"]), (lanes, 2, COLOURS)):
            for order, row in zip(*np.nonzero(~np.isnan(columns)), strict=True):
                u, v = scale * columns[order, row], scale * (ROWS[row] + 0.5)
                around = (u - radius, v - radius, u + radius, v + radius)
                pen.ellipse(around, colours[order % len(colours)])
        sheet.paste(picture, (k % 2 * size[0], k // 2 * size[1]))
    sheet.save(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000, help="to learn from, of town:0-31")
    parser.add_argument("--unseen", type=int, default=1_000, help="to test on, of town:32-39")
    parser.add_argument("--steps", type=int, default=10_000, help="most steps of training")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="longest training, of this call"
    )
    parser.add_argument("--batch", type=int, default=8, help="pictures of a step")
    parser.add_argument("--every", type=int, default=500, help="steps between two looks at unseen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with the model in --out")
    parser.add_argument("--data", type=Path, default=Path("runs/perception"))
    parser.add_argument("--out", type=Path, default=Path("runs/perception"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    parts = []
    for name, towns, number in (("learn", range(32), options.frames),
                                ("unseen", range(32, 40), options.unseen)):  # fmt: skip
        plan = camera.Plan(tuple(f"town:{one}" for one in towns), number, seed=1)
        camera.make(plan, options.data / name)
        parts.append(read_frames(options.data / name))
    frames, unseen = parts
    network = train(options, frames, unseen)
    rates = evaluate(network, unseen)
    rows = [("measure", "unseen towns"), ("---", "---:")]
    rows += [(name, f"{value:.3f}") for name, value in rates.items()]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    (options.out / "table.md").write_text(table + "\n")
    busy = sorted(unseen, key=lambda frame: -int(frame.wanted.sum()))[:4]
    draw(network, busy + unseen[:: max(1, len(unseen) // 4)][:4], options.out / "seen.png")
    size = sum(one.numel() for one in network.parameters())
    print(f"\n{size:,} parameters, {len(unseen):,} pictures\n\n{table}")


if __name__ == "__main__":
    main()
