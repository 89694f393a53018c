"""The scripts in `benchmarks/` run, on a small budget."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

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
        timeout=300,
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
            assert row["obs_floats"] == (437 if "lean" in name else 1233)
    assert packages == {"selfdrive_env", *PEERS}
