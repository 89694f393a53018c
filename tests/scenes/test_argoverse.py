"""Argoverse 2 scenarios, written here: tracks in Parquet, the map in JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.scenes import ROAD_TYPES, SceneError, load
from tests.scenes import builders as made

pytest.importorskip("pyarrow", reason="Argoverse 2 needs it")

TYPES = {"vehicle": "vehicle", "pedestrian": "pedestrian", "cyclist": "cyclist"}


def table() -> dict[str, list[Any]]:
    """Returns the columns of the recording; the car 11 is the ego."""
    out: dict[str, list[Any]] = {}
    for id, row in made.tracks().items():
        for step in np.flatnonzero(row["valid"]).tolist():
            entry = {
                "track_id": "AV" if id == 11 else str(id),
                "object_type": TYPES[row["kind"]],
                "object_category": 3 if id == 13 else 0,
                "timestep": step,
                "position_x": row["x"][step] + made.ORIGIN[0],
                "position_y": row["y"][step] + made.ORIGIN[1],
                "heading": row["heading"],
                "velocity_x": row["v"][0],
                "velocity_y": row["v"][1],
                "scenario_id": "made",
                "focal_track_id": "13",
                "num_timestamps": made.STEPS,
                "observed": True,
            }
            for name, value in entry.items():
                out.setdefault(name, []).append(value)
    return out


def points(*xy: tuple[float, float]) -> list[dict[str, float]]:
    x0, y0, z0 = made.ORIGIN
    return [{"x": x + x0, "y": y + y0, "z": z0} for x, y in xy]


def road() -> dict[str, Any]:
    """Returns a map: two lanes one after the other, and areas that share a side."""
    lanes = {}
    for id, (start, end) in {7: (0.0, 50.0), 8: (50.0, 100.0)}.items():
        lanes[str(id)] = {
            "id": id,
            "lane_type": "VEHICLE" if id == 7 else "BIKE",
            "left_lane_boundary": points((start, 2.0), (end, 2.0)),
            "right_lane_boundary": points((start, -2.0), (0.5 * (start + end), -2.0), (end, -2.0)),
            "left_lane_mark_type": "DOUBLE_SOLID_YELLOW",
            "right_lane_mark_type": "NONE",
            "predecessors": [7] if id == 8 else [],
            "successors": [8] if id == 7 else [],
            "left_neighbor_id": None,
            "right_neighbor_id": None,
            "is_intersection": False,
        }
    areas = {
        "1": {"id": 1, "area_boundary": points((0, -3), (0, 5), (50, 5), (50, -3))},  # clockwise
        "2": {"id": 2, "area_boundary": points((50, -3), (100, -3), (100, 5), (50, 5))},
    }
    crossing = {"edge1": points((20, -3), (20, 5)), "edge2": points((24, -3), (24, 5))}
    return {
        "lane_segments": lanes,
        "drivable_areas": areas,
        "pedestrian_crossings": {"3": {"id": 3, **crossing}},
    }


def written(folder: Path, columns: dict[str, list[Any]], whole: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    path = folder / "scenario_made.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    (folder / "log_map_archive_made.json").write_text(json.dumps(whole))
    return path


def test_tracks_and_lanes_are_as_they_were_written(tmp_path: Path) -> None:
    found = load(written(tmp_path, table(), road()))
    wanted, tracks = made.expected(), found.tracks
    assert tracks is not None
    assert (found.name, found.steps, found.current) == ("made", made.STEPS, made.STEPS - 1)
    assert tracks.id.tolist() == [15, 12, 13, 14]  # who has no number comes after the others
    assert found.ego == 0 and found.of_interest == (2,)
    assert np.array_equal(tracks.valid, wanted.valid)
    for name, start in zip("xyz", np.subtract(made.ORIGIN, found.origin), strict=True):
        off = getattr(tracks, name) - np.where(wanted.valid, getattr(wanted, name) + start, 0.0)
        assert np.abs(off).max() < 1e-9, name
    assert tracks.length.tolist() == pytest.approx([4.5, 4.5, 0.6, 1.9])
    roads = found.roads
    assert roads is not None
    start = np.subtract(made.ORIGIN, found.origin)
    first, second = roads.of_kind("lane")
    np.testing.assert_allclose((roads.line(first) - start)[[0, -1]], [[0, 0, 0], [50, 0, 0]])
    assert [ROAD_TYPES[int(roads.type[n])] for n in (first, second)] == [
        "lane_surface_street",
        "lane_bike",
    ]
    assert roads.linked(7, "exit") == [8] and roads.linked(8, "entry") == [7]
    assert [len(roads.of_kind(kind)) for kind in ("line", "crosswalk")] == [2, 1]
    # The side that both areas share is no edge; the road lies on the left of all others.
    pieces = [roads.line(n) - start for n in roads.of_kind("edge")]
    ends = np.concatenate([np.concatenate([p[:-1, :2], p[1:, :2]], axis=1) for p in pieces])
    assert len(ends) == 6
    assert not ((ends[:, 0] == 50) & (ends[:, 2] == 50)).any()
    middle = np.array([50.0, 1.0])
    ahead, aside = ends[:, 2:] - ends[:, :2], middle - ends[:, :2]
    assert (ahead[:, 0] * aside[:, 1] - ahead[:, 1] * aside[:, 0] > 0.0).all()


def test_a_table_that_cannot_be_is_named(tmp_path: Path) -> None:
    cases: list[tuple[str, Any, str]] = [
        ("timestep", lambda v: [*v[:-1], made.STEPS], "timestep is not from 0 to 19"),
        ("timestep", lambda v: [*v[:-1], v[-2]], "timestep stands more than once for a track"),
        ("timestep", lambda v: [float(n) for n in v], "timestep is float64; whole numbers"),
        ("heading", lambda v: [str(n) for n in v], "heading is object; numbers are wanted"),
        ("heading", lambda v: [np.nan, *v[1:]], "heading of track 15 is nan at step 0"),
        ("track_id", lambda v: [None, *v[1:]], "track_id must be texts"),
        ("scenario_id", lambda v: ["x", *v[1:]], "scenario_id has 2 values, one is wanted"),
        ("num_timestamps", lambda v: [2**60] * len(v), "num_timestamps is 1152921504606846976"),
        ("num_timestamps", None, "lacks the column num_timestamps"),
    ]
    for name, change, message in cases:
        columns = table()
        if change is None:
            del columns[name]
        else:
            columns[name] = change(columns[name])
        with pytest.raises(SceneError, match=f"^scenario_made.parquet: .*{message}"):
            load(written(tmp_path, columns, road()))


def test_a_map_that_cannot_be_is_named(tmp_path: Path) -> None:
    cases: list[tuple[tuple[str, ...], Any, str]] = [
        (("lane_segments", "7", "id"), "7", r"lane_segments\['7'\].id is '7'; a int is wanted"),
        (("lane_segments", "7", "left_lane_boundary"), [], "left_lane_boundary has no two points"),
        (("lane_segments", "7", "successors"), ["8"], "successors has '8', which is no lane"),
        (("lane_segments", "7"), None, r"lane_segments\['7'\].id is missing"),
        (("lane_segments",), 3, "lane_segments is 3; a dict is wanted"),
        (("drivable_areas", "1"), 3, r"drivable_areas\['1'\].area_boundary must be a list"),
        (("pedestrian_crossings", "3", "edge1"), [{"x": 1}], "has an entry without y"),
    ]
    for keys, value, message in cases:
        whole = road()
        inside: Any = whole
        for key in keys[:-1]:
            inside = inside[key]
        inside[keys[-1]] = value
        with pytest.raises(SceneError, match=f"^log_map_archive_made.json: .*{message}"):
            load(written(tmp_path, table(), whole))
    path = written(tmp_path, table(), road())
    (tmp_path / "log_map_archive_made.json").unlink()
    with pytest.raises(SceneError, match=r"log_map_archive_made.json is not beside it"):
        load(path)
