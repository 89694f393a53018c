"""The scripts in `benchmarks/` run, on a small budget."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.state.world import GREEN, IDM, RED, Hold
from selfdrive_env.training import train
from tests import PATIENCE
from tests.kernels.conftest import build, put, segment_of, set_body, three_lanes_with_two_lights
from tests.training.conftest import tiny_config

ROOT = Path(__file__).parents[1]
PEERS = {"highway-env": "highway_env", "metadrive-simulator": "metadrive"}
RATES = ("env_steps_per_s", "agent_steps_per_s", "vehicle_ticks_per_s")


def test_peers_measures_what_is_installed_and_names_what_is_not(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["--repeats", "1", "--seconds", "0.02", "--json", str(found)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "peers.py"), *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(found.read_text())
    assert set(report) == {
        "date", "cpu", "cores", "versions", "map", "repeats", "seconds", "calibration", "cases",
    }  # fmt: skip
    assert all(value > 0 for (value,) in report["calibration"].values())

    packages = set()
    for name, row in report["cases"].items():
        packages.add(row["package"])
        assert name in done.stdout
        if row["package"] in PEERS and importlib.util.find_spec(PEERS[row["package"]]) is None:
            assert row["status"] == f"not installed: pip install {row['package']}"
            assert row["runs"] == []
        if row["package"] == "selfdrive_env":
            assert row["status"] == "measured"
            assert all(row[f"best_{rate}"] >= row[rate] > 0 for rate in RATES)
            assert row["vehicles"] in (30, 32, 1024)
            assert row["ticks"] == 1
            assert row["obs_floats"] == LAYOUTS["lean" if "lean" in name else "full"].width
    assert packages == {"selfdrive_env", *PEERS}


def run_gpu(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *words],
        env={**os.environ, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.cudasim
@pytest.mark.slow
def test_gpu_runs_through_in_the_simulator(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "found.json"
    done = run_gpu("--simulate", "--json", str(path))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(path.read_text())
    assert all(one["identical"] for one in found["agreement"].values())
    assert {one["status"] for one in found["rates"].values()} == {"done"}
    widths = {name: one["row_bytes"] for name, one in found["rates"].items()}
    assert widths == {"lean, float32, 8 agents": 1580, "lean, float16, 8 agents": 790}
    parts = found["parts"]["lean"]
    assert all(spent > 0 for spent in parts["kernel_s"].values())
    assert parts["stage_cycles"]["road"] > 0
    assert "| lean, float16, 8 agents | 790 |" in done.stdout


@pytest.mark.cudasim
def test_gpu_leaves_out_what_there_is_no_time_for(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "found.json"
    done = run_gpu("--simulate", "--minutes", "0", "--json", str(path))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(path.read_text())
    assert all("out of time" in one["status"] for one in found["rates"].values())


@pytest.mark.parametrize(
    ("words", "simulator", "message"),
    [
        (["--simulate"], "0", "--simulate needs NUMBA_ENABLE_CUDASIM=1"),
        ([], "1", "the simulator's figures say nothing of a device"),
        ([], "0", "no device can be used: "),
    ],
)
def test_gpu_says_why_it_cannot_measure(words: list[str], simulator: str, message: str) -> None:
    if message.startswith("no device") and has_device():
        pytest.skip("there is a device")
    done = run_gpu(*words, NUMBA_ENABLE_CUDASIM=simulator)
    assert done.returncode == 2
    assert message in done.stderr


def has_device() -> bool:
    from tests.conftest import missing_device

    return missing_device() is None


@pytest.fixture(scope="module")
def gpu() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "benchmarks"))  # as for the program
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "benchmarks"))


def test_gpu_finds_every_bit_that_differs(gpu: ModuleType) -> None:
    names = {"observation": (5, 4, 3), "reward": (5, 4), "position": (5, 2, 2, 2), "first": (4, 3)}
    names["last_observation"] = (2, 3)
    wanted = {name: np.ones(shape, np.float32) for name, shape in names.items()}
    wanted |= {name: np.zeros((5, 4), np.bool_) for name in ("terminated", "truncated")}
    wanted["event"] = np.zeros((5, 2, 2), np.int32)
    assert gpu.compare(wanted, wanted)["identical"]

    for name in wanted:
        found = {key: values.copy() for key, values in wanted.items()}
        place = (3,) if name not in ("first", "last_observation") else (1,)
        flags = name in ("terminated", "truncated", "event")
        one = (*place, *(0 for _ in found[name].shape[1:]))
        found[name][one] = 1 if flags else np.nextafter(np.float32(1), np.float32(2))
        report = gpu.compare(wanted, found)
        assert not report["identical"]
        assert report["flag_mismatches"].get(name, 0) == int(flags)
        assert (report["largest_difference"].get(name, 0.0) > 0.0) == (not flags)
        assert report["rows_that_differ"] == int(name in ("observation", "reward"))
        assert report["first_step"] == (3 if place == (3,) else None)


def test_gpu_tells_too_little_memory_from_failures(gpu: ModuleType) -> None:
    def too_large() -> dict[str, object]:
        raise MemoryError("needs 9 GB")

    report = gpu.Report(None, 1.0)
    assert report.add("rates", "large", too_large)["status"] == "does not fit: needs 9 GB"
    assert not report.failed
    assert report.add("rates", "broken", lambda: {}["x"])["status"] == "KeyError: 'x'"
    assert report.failed


def test_sets_are_timed_both_ways() -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "sets.py"), "--rows", "64"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| forward")]
    assert len(rows) == 2
    assert all(float(cell) > 0.0 for row in rows for cell in row[2:6])


def test_the_learner_is_timed_case_by_case(tmp_path: Path) -> None:
    small = ("num_worlds=1", "env.agents_per_world=16", "rollout=8", "minibatch=64")
    sets = [word for setting in small for word in ("--set", setting)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = [*sets, "--rounds", "1", "--updates", "1", "--only", "one epoch"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "learning.py"), *words,
         "--json", str(tmp_path / "a.json")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| one epoch |" in done.stdout
    cases = json.loads((tmp_path / "a.json").read_text())["cases"]
    assert set(cases) == {"the preset", "one epoch"}
    assert all(run["steps_per_second"] > 0.0 for runs in cases.values() for run in runs)


def test_the_learner_is_timed_at_a_share_and_against_a_tree(tmp_path: Path) -> None:
    small = ("num_worlds=1", "env.agents_per_world=16", "rollout=8", "minibatch=64")
    words = ["--rounds", "1", "--updates", "1", "--kept", "0.25", "--against", str(ROOT)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "learner.py"), *words, "--set", *small,
         "--json", str(tmp_path / "a.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| this tree | 25 % |" in done.stdout
    found = json.loads((tmp_path / "a.json").read_text())["0.25"]
    assert set(found) == {"the other", "this tree"}
    for runs in found.values():
        assert all(0.0 < run["learn"] < run["all"] for run in runs)
        assert all(run["kept"] == pytest.approx(0.25, abs=0.01) for run in runs)


def test_the_curve_adds_up_runs_that_follow_each_other(tmp_path: Path) -> None:
    first = tiny_config(tmp_path / "first", checkpoint_minutes=0.0, keep_checkpoints=9)
    second = tiny_config(tmp_path / "second", start_from=first.out_dir)
    train(first, updates=2)
    train(second, updates=1)
    words = [str(tmp_path / "first"), str(tmp_path / "second"), "--unseen", "hillcrest"]
    picture = tmp_path / "a.png"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "curve.py"), *words, "--minutes", "0.05",
         "-o", str(picture)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(picture.with_suffix(".json").read_text())
    batch = first.batch
    assert [row["steps"] for row in rows] == [batch, 2 * batch, 3 * batch]
    assert all(row["riverside"]["km"] > 0.0 and row["hillcrest"]["km"] > 0.0 for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")


def load_idm() -> ModuleType:
    """The script, which counts who stands, as a module."""
    spec = importlib.util.spec_from_file_location("idm", ROOT / "benchmarks" / "idm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("drives", "spells"), [(True, 0), (False, 2)])
def test_a_queue_that_moves_off_at_its_green_light_is_not_stuck(
    drives: bool, spells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cars stand for 120 s before a red light; the first drives when it ends (at 0.8 m/s²), or
    does not.
    """
    idm = load_idm()
    red = True
    monkeypatch.setattr(
        idm, "look_ahead", lambda _engine, _world, agent: (-1, red) if agent == 0 else (0, False)
    )
    two = np.zeros((1, 2))
    engine = SimpleNamespace(
        agents=SimpleNamespace(x=two, status=two + 1, age=two + 500, speed=two.copy()),
        motion=SimpleNamespace(travel=two.copy()),
    )
    standing = idm.Standing(engine, 0.5)
    for step in range(264):
        red = step < 240
        if drives and not red:
            engine.agents.speed[0, 0] += 0.4
            engine.motion.travel[0, 0] = 0.5 * engine.agents.speed[0, 0]
        standing.add()
        if red:
            assert standing.spells == 0
        if step == 245:  # while the first has not gone 5 m
            assert standing.spells == spells
    assert standing.spells == spells


@pytest.mark.parametrize(("colour", "ahead", "leader", "waits"), [
    (RED, 158.0, -1, True),
    (RED, 147.0, 1, True),
    (GREEN, 158.0, 1, False),
])  # fmt: skip
def test_who_stands_beyond_a_red_line_leads_nobody_before_it(
    colour: int, ahead: float, leader: int, waits: bool
) -> None:
    """The line lies at 150 m, the one that looks stands with its middle 10 m before it."""
    engine = build([three_lanes_with_two_lights()], drivers=[IDM] * 2)
    set_body(engine)
    for agent, s in enumerate((140.0, ahead)):
        put(engine, agent, segment_of(engine, 0, s))
    engine.lights.line_colour[:] = colour
    assert load_idm().look_ahead(engine, 0, 0) == (leader, waits)


@pytest.mark.parametrize(("hold", "leader"), [(Hold.BODY, 1), (Hold.RIGHT_OF_WAY, -1)])
def test_a_body_that_one_stands_behind_on_its_way_to_another_lane_leads_it(
    hold: Hold, leader: int
) -> None:
    engine = build([three_lanes_with_two_lights()], drivers=[IDM] * 2)
    set_body(engine)
    for agent, (lane, s) in enumerate(((1, 40.0), (0, 50.0))):
        put(engine, agent, segment_of(engine, lane, s))
    engine.agents.hold[0, 0], engine.agents.blocker[0, 0] = hold, 1
    assert load_idm().look_ahead(engine, 0, 0) == (leader, False)


def test_scenes_are_timed_with_and_without_metrics() -> None:
    words = ["--map", "riverside", "--agents", "5", "--worlds", "4", "--rounds", "1"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "scenes.py"), *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    told = ("", " with metrics", " with metrics in infos")
    assert [line.split(":")[0] for line in lines[2:]] == [
        f"{learners}{words}" for learners in ("ego", "all") for words in told
    ]
    rates = [int(line.split(": ")[1].split()[0].replace(",", "")) for line in lines[2:]]
    # The second is the sum of two times, of which one is the first.
    assert rates[0] > rates[1] > 0 and rates[3] > rates[4] > 0 and min(rates) > 0


def test_pictures_are_timed_by_stage() -> None:
    words = ["--worlds", "1", "--agents", "2", "--rounds", "2", "--cases", "0,1,2,5"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "pixels.py"), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line][2:]
    assert [row[0] for row in rows] == [
        "state", "bev, 84 x 84 x 3", "bev, grey, 4 frames", "camera, 160 x 90 x 3",
    ]  # fmt: skip
    assert all(float(cell) == 0.0 for cell in rows[0][4:9])
    for row in rows[1:]:
        assert all(float(cell) > 0.0 for cell in row[4:5] + row[8:9])
        assert float(row[1]) <= float(row[2])
    assert [row[-1] for row in rows[1:]] == ["21,168", "28,224", "43,200"]


@pytest.mark.slow
@pytest.mark.parametrize("scenes", [60, pytest.param(200, marks=pytest.mark.full)])
def test_memory_stays_flat_while_scenes_are_streamed(scenes: int) -> None:
    """A short soak; `--soak 5000` is the long one."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["--soak", str(scenes), "--agents", "4", "--window", "4", "--worlds", "4"]
    words += ["--steps", "12"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "scenes.py"), *words],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 11 and "over the last half" in done.stdout
