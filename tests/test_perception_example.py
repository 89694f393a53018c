"""The perception example: its measures by hand, its network on one picture, and all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_examples import ROOT, run

pytest.importorskip("torch")
pytest.importorskip("PIL")


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import perception_labels

    return perception_labels


@pytest.fixture
def perception(labels: Any) -> Any:
    import perception

    return perception


def a_frame(labels: Any, path: Path) -> Any:
    """A dark car of 40 x 24 pixels that is near, one far away, and the two lines of a lane."""
    from PIL import Image

    picture = np.full((labels.HEIGHT, labels.WIDTH, 3), 120, np.uint8)
    picture[100:124, 60:100] = [60, 20, 20]
    picture[90:94, 200:206] = 20
    lanes = np.full((len(labels.ORDERS), len(labels.ROWS)), np.nan, np.float32)
    for order, slope in ((-0.5, -1.1), (0.5, 1.4)):
        columns = 160.0 + slope * (labels.ROWS - 90.0)
        lanes[order == labels.ORDERS] = columns
        for row, column in zip(labels.ROWS, columns, strict=True):
            picture[row : row + 2, round(column) - 1 : round(column) + 2] = 240
    Image.fromarray(picture).save(path)
    boxes = np.array([[60, 100, 100, 124], [200, 90, 206, 94]], np.float32)
    near = np.array([True, False])
    return labels.Frame(path, boxes, near, near, lanes)


def test_average_precision_is_the_area_under_the_best_precision(labels: Any) -> None:
    judged = [(0.7, True), (0.9, True), (0.8, False), (0.6, False)]
    assert labels.average_precision(judged, 3) == pytest.approx((1.0 + 2.0 / 3.0) / 3.0)
    late = [(0.9, False), (0.8, True), (0.7, True)]
    assert labels.average_precision(late, 2) == pytest.approx(2.0 / 3.0)
    assert labels.average_precision([], 2) == 0.0


def test_a_vehicle_is_found_once_and_one_that_is_far_does_not_count(
    labels: Any, tmp_path: Path
) -> None:
    frame = a_frame(labels, tmp_path / "one.png")
    found = {
        0.9: [62, 100, 102, 124],  # shares 38 of 42 columns with the near one
        0.8: [60, 100, 100, 124],  # the near one again
        0.7: [200, 91, 205, 94],  # lies on the far one
        0.6: [80, 100, 120, 124],  # a third of the union
    }
    boxes = np.array(list(found.values()), np.float32)
    judged = labels.judge(boxes, np.array(list(found), np.float32), frame)
    assert [(round(score, 2), hit) for score, hit in judged] == [
        (0.9, True),
        (0.8, False),
        (0.6, False),
    ]


def test_points_of_lanes_are_found_within_five_pixels(labels: Any) -> None:
    true = np.full((len(labels.ORDERS), len(labels.ROWS)), np.nan, np.float32)
    true[3, :10], true[4, :20] = 100.0, 200.0
    found = np.full_like(true, np.nan)
    found[3, :8] = 104.9
    found[3, 8:10] = 105.1
    found[5, :15] = 197.0  # the right line under a wrong order
    assert labels.lane_points(found, true).tolist() == [8 + 15, 8, 30]
    assert labels.lane_points(true, true).tolist() == [30, 30, 30]


def test_what_is_to_be_learnt_leads_back_to_the_labels(
    labels: Any, perception: Any, tmp_path: Path
) -> None:
    import torch

    frame = a_frame(labels, tmp_path / "one.png")
    heat, boxes = map(torch.from_numpy, perception.targets_of(frame))
    assert (heat == 1.0).sum() == 1 and heat[112 // 8, 80 // 8] == 1.0
    assert (heat[90 // 8, 200 // 8 : 206 // 8 + 1] == -1.0).all()
    y, x = torch.meshgrid(
        torch.arange(perception.DOWN), torch.arange(perception.ACROSS), indexing="ij"
    )
    middle = (boxes[:2] + boxes[2:]) / 16.0 - 0.5 - torch.stack([x, y])
    size = ((boxes[2:] - boxes[:2]) / 8.0).log()
    vehicles = torch.cat([20.0 * heat[None] - 10.0, middle, size])[None].nan_to_num(0.0)
    lanes = torch.from_numpy(frame.lanes)
    cell = torch.where(lanes.isnan(), perception.ACROSS, (lanes / 8.0).floor()).long()
    logits = 20.0 * torch.nn.functional.one_hot(cell, perception.ACROSS + 1).float()[None]
    offsets = (lanes[..., None] / 8.0 - 0.5 - torch.arange(perception.ACROSS))[None]
    tally = labels.Tally()
    picture = perception.read_picture(frame)
    tally.add(frame, *perception.find(lambda _: (vehicles, logits, offsets), picture))
    assert tally.rates() == {
        "average precision": 1.0,
        "lane accuracy": 1.0,
        "lane accuracy by order": 1.0,
        "lane points beyond": 0.0,
    }


def test_channels_become_rows_of_the_picture_in_order(perception: Any) -> None:
    import torch

    down = perception.DOWN - perception.TOP
    row = torch.arange(perception.TOP * 8, perception.DOWN * 8, 2).view(down, 4).T  # [4, down]
    x = torch.zeros(1, 2, len(perception.ORDERS), 4, down, 3)
    x += row[None, None, None, :, :, None]
    x[:, 1] += 1000.0
    values, others = perception.by_row(x.flatten(1, 3), 2)
    assert (values == torch.from_numpy(perception.ROWS)[:, None]).all()
    assert (others == values + 1000.0).all()


def test_all_losses_fall_on_one_picture(labels: Any, perception: Any, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    frames = [a_frame(labels, tmp_path / "one.png")] * 2
    network = perception.Network()
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for step in range(30):
        loss = perception.losses_of(network, *perception.batch_at(frames, step, 2, 0))
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        losses.append(loss.detach())
    assert (losses[-1] < 0.5 * losses[0]).all()


@pytest.mark.slow
def test_the_example_goes_on_where_it_was_and_leaves_table_and_picture(tmp_path: Path) -> None:
    sizes = ("--frames", "24", "--unseen", "6", "--batch", "4", "--every", "10")
    places = ("--data", str(tmp_path / "data"), "--out", str(tmp_path))
    run("perception.py", *sizes, "--steps", "10", *places)
    printed = run("perception.py", *sizes, "--steps", "30", "--resume", *places)
    table = (tmp_path / "table.md").read_text()
    assert "average precision" in table and table in printed
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    assert [row[0] for row in rows] == ["10", "20", "30"]
    assert float(rows[-1][3]) < float(rows[0][3])  # entropy of lanes
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
