"""Makes small recordings in every format, from one plain description, and writes their bytes."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from selfdrive_env.scenes import Roads, Scene, Tracks
from selfdrive_env.scenes.roads import Lights, Line

STEPS = 20
CURRENT = 10
ORIGIN = (5000.0, -3000.0, 40.0)

LANES = {7: [(0.0, 0.0), (50.0, 0.0)], 8: [(50.0, 0.0), (100.0, 0.0)], 9: [(0.0, 3.5), (50.0, 3.5)]}
"""Id -> points of lanes that run east; 8 comes after 7, 9 lies to the left of 7."""


def tracks() -> dict[int, dict[str, Any]]:
    """Returns what moves, by id: a car, one that comes later, a walker, a cyclist."""
    step = np.arange(STEPS)
    made = {
        11: dict(kind="vehicle", size=(4.5, 2.0, 1.5), x=step * 1.0, y=0.0 * step, heading=0.0,
                 v=(10.0, 0.0), valid=step >= 0),
        12: dict(kind="vehicle", size=(8.0, 2.5, 3.0), x=60.0 - step * 0.5, y=3.5 + 0.0 * step,
                 heading=-math.pi, v=(-5.0, 0.0), valid=step >= 12),
        13: dict(kind="pedestrian", size=(0.6, 0.7, 1.8), x=20.0 + 0.0 * step, y=-5.0 + step * 0.1,
                 heading=0.5 * math.pi, v=(0.0, 1.0), valid=(step < 15) & (step != 4)),
        14: dict(kind="cyclist", size=(1.8, 0.6, 1.7), x=30.0 + step * 0.4, y=3.0 + 0.0 * step,
                 heading=0.0, v=(4.0, 0.0), valid=step < 5),
    }  # fmt: skip
    return made


def expected() -> Tracks:
    """Returns the tracks as they should be read, but for the origin, which was taken off."""
    made = tracks()
    rows = list(made.values())
    valid = np.stack([row["valid"] for row in rows])

    def column(value: Any) -> Any:
        return np.where(valid, np.stack([np.broadcast_to(value(r), STEPS) for r in rows]), 0.0)

    kinds = {"vehicle": 0, "pedestrian": 1, "cyclist": 2}
    return Tracks(
        id=np.array(list(made), np.int64),
        kind=np.array([kinds[row["kind"]] for row in rows], np.uint8),
        length=np.array([row["size"][0] for row in rows], np.float32),
        width=np.array([row["size"][1] for row in rows], np.float32),
        height=np.array([row["size"][2] for row in rows], np.float32),
        x=column(lambda r: r["x"]),
        y=column(lambda r: r["y"]),
        z=column(lambda r: 0.0),
        heading=column(lambda r: r["heading"]).astype(np.float32),
        vx=column(lambda r: r["v"][0]).astype(np.float32),
        vy=column(lambda r: r["v"][1]).astype(np.float32),
        valid=valid,
    )


def scene() -> Scene:
    """Returns the recording as a scene, with all that one may have."""
    lines = [
        Line(id, 2, np.array([(x, y, 0.0) for x, y in points]), 13.0)
        for id, points in LANES.items()
    ]
    lines.append(Line(20, 15, np.array([(100.0, 6.0, 0.0), (0.0, 6.0, 0.0)])))
    lines.append(Line(21, 17, np.array([(49.0, -2.0, 0.0)])))
    lights = Lights(
        np.array([8]), np.array([[50.0, 0.0, 0.0]], np.float32), np.full((1, STEPS), 4, np.int8)
    )
    return Scene.recorded(
        expected(), current=CURRENT, ego=0, of_interest=[2], lights=lights, name="made",
        roads=Roads.of(lines, [(7, 1, 8), (8, 0, 7), (7, 2, 9), (21, 4, 7)]), origin=ORIGIN,
    )  # fmt: skip


def same_tracks(found: Scene, atol: float = 2e-3) -> None:
    """Asserts that a scene that was read has the tracks of `expected`."""
    wanted, got = expected(), found.tracks
    assert got is not None
    assert np.array_equal(got.valid, wanted.valid)
    assert np.array_equal(got.kind, wanted.kind)
    for name, start in zip("xyz", np.subtract(ORIGIN, found.origin), strict=True):
        off = getattr(got, name) - np.where(wanted.valid, getattr(wanted, name) + start, 0.0)
        assert np.abs(off).max() < atol, name
    for name in ("heading", "vx", "vy", "length", "width"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), atol=1e-5)


# Protocol buffers, written from their definition.


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def whole(number: int, value: int) -> bytes:
    return tag(number, 0) + varint(value)


def double(number: int, value: float) -> bytes:
    return tag(number, 1) + struct.pack("<d", value)


def single(number: int, value: float) -> bytes:
    return tag(number, 5) + struct.pack("<f", value)


def inside(number: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return tag(number, 2) + varint(len(content)) + content


def slow_crc32c(data: bytes) -> int:
    """Returns the checksum bit by bit."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def tfrecord(*records: bytes, checksum: Any = slow_crc32c) -> bytes:
    def guard(data: bytes) -> bytes:
        found = checksum(data)
        turned = (found >> 15 | found << 17) & 0xFFFFFFFF
        return struct.pack("<I", (turned + 0xA282EAD8) & 0xFFFFFFFF)

    out = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        out += length + guard(length) + record + guard(record)
    return out


def map_point(number: int, x: float, y: float, z: float = 0.0) -> bytes:
    at = (x + ORIGIN[0], y + ORIGIN[1], z + ORIGIN[2])
    return inside(number, *(double(axis + 1, value) for axis, value in enumerate(at)))


def scenario() -> bytes:
    """Returns the recording as a Scenario of WOMD."""
    out = [double(1, 0.1 * step) for step in range(STEPS)]
    codes = {"vehicle": 1, "pedestrian": 2, "cyclist": 3}
    for id, row in tracks().items():
        states = []
        for step in range(STEPS):
            if not row["valid"][step]:
                states.append(inside(3, whole(11, 0)))
                continue
            place = (row["x"][step], row["y"][step], 0.5 * row["size"][2])
            doubles = [double(n + 2, v + o) for n, (v, o) in enumerate(zip(place, ORIGIN))]  # noqa: B905
            singles = [*row["size"], row["heading"], *row["v"]]
            states.append(
                inside(
                    3, *doubles, *(single(n + 5, v) for n, v in enumerate(singles)), whole(11, 1)
                )
            )
        out.append(inside(2, whole(1, id), whole(2, codes[row["kind"]]), *states))
    out += [whole(4, 13), inside(5, b"made"), whole(6, 0)]
    light = inside(1, whole(1, 8), whole(2, 4), map_point(3, 50.0, 0.0))
    out += [inside(7, *([light] if step >= 2 else [])) for step in range(STEPS)]
    links = {7: inside(10, varint(8)) + inside(11, whole(1, 9)), 8: whole(9, 7), 9: b""}
    for id, points in LANES.items():
        lane = [double(1, 30.0), whole(2, 2), *(map_point(8, *p) for p in points), links[id]]
        out.append(inside(8, whole(1, id), inside(3, *lane)))
    edge = [whole(1, 1), map_point(2, 100.0, 6.0), map_point(2, 0.0, 6.0)]
    out.append(inside(8, whole(1, 20), inside(5, *edge)))
    out.append(inside(8, whole(1, 21), inside(7, whole(1, 7), map_point(2, 49.0, -2.0))))
    corners = [map_point(1, x, y) for x, y in ((40, -4), (44, -4), (44, 6), (40, 6))]
    out.append(inside(8, whole(1, 22), inside(8, *corners)))
    out += [whole(10, CURRENT), inside(11, whole(1, 1), whole(2, 0))]
    return b"".join(out)


def example(pads: int = 2) -> bytes:
    """Returns the recording as a tf.Example of WOMD, with rows that nothing is in."""
    rows = tracks()
    parts = {"past": slice(0, CURRENT), "current": slice(CURRENT, CURRENT + 1)}
    parts["future"] = slice(CURRENT + 1, STEPS)
    out: dict[str, tuple[str, Any]] = {}

    def padded(values: list[Any], empty: Any) -> Any:
        return np.array([*values, *([empty] * pads)])

    codes = {"vehicle": 1, "pedestrian": 2, "cyclist": 3}
    out["state/id"] = ("f", padded(list(rows), -1.0))
    out["state/type"] = ("f", padded([codes[r["kind"]] for r in rows.values()], -1.0))
    out["state/is_sdc"] = ("i", padded([1, 0, 0, 0], -1))
    out["state/objects_of_interest"] = ("i", padded([0, 0, 1, 0], -1))
    out["state/tracks_to_predict"] = ("i", padded([0, 1, 0, 0], -1))
    full = np.ones(STEPS)
    series = {
        "x": [r["x"] + ORIGIN[0] for r in rows.values()],
        "y": [r["y"] + ORIGIN[1] for r in rows.values()],
        "z": [full * (ORIGIN[2] + 0.5 * r["size"][2]) for r in rows.values()],
        "bbox_yaw": [full * r["heading"] for r in rows.values()],
        "velocity_x": [full * r["v"][0] for r in rows.values()],
        "velocity_y": [full * r["v"][1] for r in rows.values()],
        "length": [full * r["size"][0] for r in rows.values()],
        "width": [full * r["size"][1] for r in rows.values()],
        "height": [full * r["size"][2] for r in rows.values()],
    }
    valid = [r["valid"] for r in rows.values()]
    for when, part in parts.items():
        for name, values in series.items():
            table = [np.where(v, one, -1.0)[part] for one, v in zip(values, valid, strict=True)]
            out[f"state/{when}/{name}"] = ("f", padded(table, np.full(table[0].shape, -1.0)))
        steps = len(valid[0][part])
        out[f"state/{when}/valid"] = ("i", padded([v[part] for v in valid], [0] * steps))
        times = np.arange(STEPS)[part] * 100_000
        out[f"state/{when}/timestamp_micros"] = ("i", padded([times] * 4, [-1] * steps))
        shown = (np.arange(STEPS) >= 2)[part]
        for axis, value in zip("xyz", (50.0, 0.0, 0.0), strict=True):
            place = value + ORIGIN["xyz".index(axis)]
            table = np.stack([np.where(shown, place, -1.0), np.full(steps, -1.0)], axis=1)
            out[f"traffic_light_state/{when}/{axis}"] = ("f", table)
        for name, value in (("state", 4), ("id", 8), ("valid", 1)):
            empty = 0 if name == "valid" else -1
            table = np.stack([np.where(shown, value, empty), np.full(steps, empty)], axis=1)
            out[f"traffic_light_state/{when}/{name}"] = ("i", table)
    xyz, kind, id = [], [], []
    for lane, points in LANES.items():
        xyz += [(x + ORIGIN[0], y + ORIGIN[1], ORIGIN[2]) for x, y in points]
        kind += [2] * len(points)
        id += [lane] * len(points)
    xyz += [(-1.0, -1.0, -1.0)]
    count = len(kind)
    out["roadgraph_samples/xyz"] = ("f", np.array(xyz))
    out["roadgraph_samples/type"] = ("i", np.array([*kind, -1]))
    out["roadgraph_samples/id"] = ("i", np.array([*id, -1]))
    out["roadgraph_samples/valid"] = ("i", np.array([1] * count + [0]))
    entries = [_feature(name, *entry) for name, entry in out.items()]
    entries.append(inside(1, inside(1, b"scenario/id"), inside(2, inside(1, inside(1, b"made")))))
    return inside(1, *entries)


def _feature(name: str, kind: str, values: Any) -> bytes:
    flat = np.asarray(values).reshape(-1)
    if kind == "f":
        feature = inside(2, inside(1, flat.astype("<f4").tobytes()))
    else:
        feature = inside(3, inside(1, b"".join(varint(int(v)) for v in flat)))
    return inside(1, inside(1, name.encode()), inside(2, feature))


def gpudrive(degrees: bool = False) -> dict[str, Any]:
    """Returns the recording as the JSON of GPUDrive, or as that of Nocturne."""
    objects = []
    for id, row in tracks().items():
        valid = row["valid"].tolist()
        place = [
            {"x": x + ORIGIN[0], "y": y + ORIGIN[1], "z": ORIGIN[2] + 0.5 * row["size"][2]}
            if there else {"x": -10000.0, "y": -10000.0, "z": -10000.0}
            for x, y, there in zip(row["x"].tolist(), row["y"].tolist(), valid, strict=True)
        ]  # fmt: skip
        turn = math.degrees(row["heading"]) if degrees else row["heading"]
        one = {
            "position": place,
            "velocity": [{"x": row["v"][0], "y": row["v"][1]} if v else {"x": -1e4, "y": -1e4}
                         for v in valid],
            "heading": [turn if v else -10000.0 for v in valid],
            "valid": valid,
            "length": row["size"][0],
            "width": row["size"][1],
            "goalPosition": {"x": 0.0, "y": 0.0},
            "type": row["kind"],
        }  # fmt: skip
        if not degrees:
            one |= {"height": row["size"][2], "id": id, "mark_as_expert": False}
        objects.append(one)
    roads = [
        {"type": "lane", "id": id, "map_element_id": 2,
         "geometry": [{"x": x + ORIGIN[0], "y": y + ORIGIN[1], "z": ORIGIN[2]} for x, y in points]}
        for id, points in LANES.items()
    ]  # fmt: skip
    out: dict[str, Any] = {"name": "made.json", "objects": objects, "roads": roads, "tl_states": {}}
    if degrees:
        for one in objects:
            for point in one["position"]:
                del point["z"]
        for road in roads:
            del road["id"], road["map_element_id"]
            for point in road["geometry"]:
                del point["z"]
    else:
        out["scenario_id"] = "made"
        predict = [{"track_index": 1, "difficulty": 0}]
        out["metadata"] = {
            "sdc_track_index": 0, "objects_of_interest": [13], "tracks_to_predict": predict,
        }  # fmt: skip
        states = {"state": ["stop"] * 18, "time_index": list(range(2, 20))}
        place_of = {axis: [ORIGIN[k] + (50.0, 0.0, 0.0)[k]] * 18 for k, axis in enumerate("xyz")}
        out["tl_states"] = {"8": states | place_of}
    return json.loads(json.dumps(out))


def scenarionet() -> dict[str, Any]:
    """Returns the recording in the layout of ScenarioNet, flattened."""
    out: dict[str, Any] = {"id": np.array("made"), "metadata/sdc_id": np.array("11")}
    out["metadata/ts"] = 0.1 * np.arange(STEPS)
    out["metadata/current_time_index"] = np.array(CURRENT)
    out["metadata/objects_of_interest"] = np.array(["13"])
    for id, row in tracks().items():
        state = f"tracks/{id}/state"
        out[f"tracks/{id}/type"] = np.array(row["kind"].upper())
        z = np.full(STEPS, 0.5 * row["size"][2])
        out[f"{state}/position"] = np.stack([row["x"], row["y"], z], axis=1) + ORIGIN
        out[f"{state}/velocity"] = np.broadcast_to(np.array(row["v"], np.float32), (STEPS, 2))
        out[f"{state}/heading"] = np.full(STEPS, row["heading"])
        out[f"{state}/valid"] = row["valid"]
        for name, size in zip(("length", "width", "height"), row["size"], strict=True):
            out[f"{state}/{name}"] = np.full((STEPS, 1), size)
    out["dynamic_map_states/8/lane"] = np.array("8")
    out["dynamic_map_states/8/stop_point"] = np.array((50.0, 0.0, 0.0)) + ORIGIN
    words = ["" if step < 2 else "LANE_STATE_STOP" for step in range(STEPS)]
    out["dynamic_map_states/8/state/object_state"] = np.array(words)
    for id, points in LANES.items():
        line = np.array([(x, y, 0.0) for x, y in points]) + ORIGIN
        out[f"map_features/{id}/type"] = np.array("LANE_SURFACE_STREET")
        out[f"map_features/{id}/polyline"] = line
        out[f"map_features/{id}/speed_limit_kmh"] = np.array(36.0)
    out["map_features/7/exit_lanes"] = np.array(["8"])
    out["map_features/20/type"] = np.array("ROAD_EDGE_BOUNDARY")
    out["map_features/20/polyline"] = np.array([(100.0, 6.0, 0.0), (0.0, 6.0, 0.0)]) + ORIGIN
    return out
