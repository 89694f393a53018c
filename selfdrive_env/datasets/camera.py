"""Pictures of cameras in traffic with their labels, in a folder: `selfdrive dataset camera`.

The pictures are made in parts of a hundred: part k drives on map k (counted round and round) with
seed k. A part that is whole on disk is not made again, so that one may stop and go on: under the
same plan, with the same version of this package, the same map files and the same policy.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.progress import Count
from selfdrive_env.config.choices import maps_named
from selfdrive_env.config.files import absolute, write_whole
from selfdrive_env.config.images import Camera
from selfdrive_env.config.installation import package_version
from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.datasets.formats import CATEGORIES, box_annotations, lane_line
from selfdrive_env.engine.open_maps import open_maps
from selfdrive_env.envs.vector import DrivingVectorEnv, room_of
from selfdrive_env.images.labels import CameraPose, boxes_of, lanes_of, motion_between, pose_of
from selfdrive_env.maps.readers import reader_of
from selfdrive_env.maps.towns import BUILT_IN
from selfdrive_env.policies import files as policies
from selfdrive_env.rendering.canvas import import_pillow
from selfdrive_env.state.camera.shots import BOX_VISIBLE
from selfdrive_env.state.world import ABSENT

__all__ = ["Plan", "make", "run"]

PART = 100
"""Pictures of a part."""

WORLDS, AGENTS, PICKED = 4, 24, 5
"""Of a part: worlds, agents of each, and how many of these are shown at a time."""

CALM, BETWEEN = 40, 10
"""Steps before the first pictures, in which traffic spreads, and between two moments."""

SPECK = 0.001
"""Who covers less than this share of a picture counts as not seen when agents are picked."""

DT = 0.2
"""Length of a step [s]."""

VIEW = "camera"


@dataclass(frozen=True)
class Plan:
    """What a folder holds; a folder is only gone on with under the same plan."""

    maps: tuple[str, ...]
    number: int
    seed: int = 0
    traffic: str = "idm"
    width: int = 320
    height: int = 180
    field_of_view: float = 90.0
    sun: tuple[float, float] = (10.0, 70.0)
    fog: tuple[float, float] = (0.0, 0.02)
    noise: float = 4.0

    @property
    def camera(self) -> Camera:
        """Settings of the view."""
        return Camera(
            size=(self.height, self.width),
            field_of_view=self.field_of_view,
            sun=self.sun,
            fog=self.fog,
            noise=self.noise,
            labels=True,
        )

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.number // PART)


class _Shot(NamedTuple):
    """A picture that waits for the next step to say how its camera moves."""

    record: dict[str, Any]
    pose: CameraPose
    world: int
    agent: int
    age: int


def run(parsed: argparse.Namespace) -> int:
    """Makes a data set of camera pictures; returns 0."""
    plan = Plan(
        maps=tuple(name for word in parsed.map for name in maps_named(word) or (word,)),
        number=parsed.number,
        seed=parsed.seed,
        traffic=parsed.traffic,
        width=parsed.width,
        height=parsed.height,
        field_of_view=parsed.fov,
        sun=tuple(parsed.sun),
        fog=tuple(parsed.fog),
        noise=parsed.noise,
    )
    folder = Path(parsed.output)
    made = make(plan, folder)
    print(f"{folder}: {plan.number} pictures, {made} of them made now")
    return 0


def make(plan: Plan, folder: Path) -> int:
    """Makes what is missing of a data set.

    Args:
        plan: What it holds.
        folder: Where; it is made, or gone on with.

    Returns:
        How many pictures were made.

    Raises:
        ValueError: The folder holds a data set of another plan, or something else.
    """
    _check_folder(plan, folder)
    count, made = Count("drawing pictures", plan.number), 0
    for part in range(plan.parts):
        wanted = min(PART, plan.number - part * PART)
        place = _part_file(folder, part)
        if not _is_whole(place, folder):
            records = list(_draw_part(plan, folder, part, wanted))
            write_whole(place, _json(records))
            made += wanted
        count.tell(part * PART + wanted)
    _join(plan, folder)
    return made


def _check_folder(plan: Plan, folder: Path) -> None:
    """Writes the plan into a new folder; refuses one that belongs to something else.

    What the plan names is looked up before anything is written.
    """
    _ = plan.camera
    place = folder / "plan.json"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a data set is a folder")
    made_from = {"version": package_version(), "files": _digests(plan)}
    mine = json.loads(_json({**asdict(plan), **made_from}))
    if place.exists():
        try:
            there = json.loads(place.read_text())
        except ValueError as error:
            raise ValueError(f"{place} is damaged: {error}") from None
        if not isinstance(there, dict):
            raise ValueError(f"{place} is damaged: it holds no object")
        different = [name for name in mine if there.get(name) != mine[name]]
        if different:
            name = different[0]
            if name == "files":
                names = _changed(there.get(name), mine[name])
                raise ValueError(
                    f"{folder} holds a data set made from other contents of {names}; take another "
                    "folder"
                )
            hint = "take" if name == "version" else "give the same options to go on with it, or"
            raise ValueError(
                f"{folder} holds a data set with {name} {there.get(name)!r}, not {mine[name]!r}; "
                f"{hint} another folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no data set of this command")
    else:
        _environment(plan, plan.maps[0])[0].close()
    for name in ("images", "parts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_whole(place, _json(mine))


def _digests(plan: Plan) -> dict[str, str]:
    """Returns SHA-256 of the files that the plan names; raises for those that there are not."""
    files = {}
    for name in plan.maps:
        if name not in BUILT_IN and maps_named(name) is None:
            files[name] = Path(absolute(name))
            reader_of(str(files[name]))
    if plan.traffic != "idm":
        files[plan.traffic] = policies.find(plan.traffic)
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())
    }


def _changed(there: Any, mine: dict[str, str]) -> str:
    """Returns the names of files whose contents are not those that a plan was made with."""
    known = there if isinstance(there, dict) else {}
    return ", ".join(name for name in mine if known.get(name) != mine[name]) or "files"


def _is_whole(place: Path, folder: Path) -> bool:
    """Returns whether a part and all of its pictures are there."""
    if not place.exists():
        return False
    names = [record["image"]["file_name"] for record in json.loads(place.read_text())]
    return all((folder / name).exists() for name in names)


def _part_file(folder: Path, part: int) -> Path:
    return folder / "parts" / f"{part:05d}.json"


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _draw_part(plan: Plan, folder: Path, part: int, wanted: int) -> Iterator[dict[str, Any]]:
    """Draws the pictures of a part and yields what is known of each."""
    map_name = plan.maps[part % len(plan.maps)]
    seed = plan.seed * 1_000_003 + part
    envs, act = _environment(plan, map_name)
    random = np.random.default_rng([plan.seed, part])
    envs.engine.show_pictures(False)
    observations = _drive(envs, act, envs.reset(seed=seed)[0], CALM)
    number = 0
    while number < wanted:
        envs.engine.show_pictures(True)
        observations = _drive(envs, act, observations, 1)
        envs.engine.show_pictures(False)
        waiting = []
        for world, agent in _picked(envs, random):
            if number == wanted:
                break
            name = part * PART + number
            waiting.append(_shot(plan, folder, envs, world, agent, name, map_name))
            number += 1
        observations = _drive(envs, act, observations, 1)
        for shot in waiting:
            yield _with_motion(envs, plan.camera, shot)
        observations = _drive(envs, act, observations, BETWEEN - 2)
    envs.close()


def _drive(envs: DrivingVectorEnv, act: Any, observations: Any, steps: int) -> Any:
    """Drives on, and returns what is observed then."""
    for _ in range(steps):
        observations = envs.step(act(observations))[0]
    return observations


def _environment(plan: Plan, map_name: str) -> tuple[DrivingVectorEnv, Any]:
    """Returns worlds on a map, and who drives in them."""
    camera = {"kind": Camera.kind, **asdict(plan.camera)}
    settings: dict[str, Any] = {"num_threads": 1, "bodies": "typed", "dt": DT, "map": map_name}
    settings |= {"observation": {"state": "state", VIEW: camera}}
    settings["agents_per_world"] = agents = _agents_on(map_name)
    if plan.traffic == "idm":
        envs = DrivingVectorEnv(
            WORLDS * agents, learners="all", driver="idm", layout="lean", **settings
        )
        still = np.zeros(envs.num_envs, np.int64)
        return envs, lambda _: still
    from selfdrive_env.policies.numpy_policy import load_policy

    policy = load_policy(plan.traffic)
    settings["layout"] = dict(vars(policy.layout))
    envs = DrivingVectorEnv(WORLDS * agents, learners="all", **settings)
    return envs, lambda observations: policy.act(observations["state"])


def _agents_on(map_name: str) -> int:
    """Returns how many agents drive in each world: at most a third of those a map has room for."""
    settings = Settings.from_keywords({"map": map_name})
    room = room_of(open_maps(settings, make_layout(settings.layout))[0])
    return max(1, min(AGENTS, room // 3))


def _picked(envs: DrivingVectorEnv, random: np.random.Generator) -> list[tuple[int, int]]:
    """Returns agents to show: those who see others, not as specks only, before the rest."""
    status, shots = envs.engine.agents.status, _shots(envs)
    clear = shots.box[:, :, BOX_VISIBLE] >= SPECK * shots.kind[0].size
    found = []
    for world in range(WORLDS):
        here = np.flatnonzero(status[world] != ABSENT)
        rows = world * status.shape[1] + here
        alone = ~clear[rows].any(axis=1)
        order = np.lexsort([random.random(len(here)), alone])
        found += [(world, int(agent)) for agent in here[order[:PICKED]]]
    return found


def _shots(envs: DrivingVectorEnv) -> Any:
    """Returns the labels of the last pictures."""
    return envs.engine.views[VIEW].parts["shots"]


def _shot(
    plan: Plan,
    folder: Path,
    envs: DrivingVectorEnv,
    world: int,
    agent: int,
    number: int,
    map_name: str,
) -> _Shot:
    """Writes a picture and returns what is known of it."""
    engine = envs.engine
    row = world * engine.num_slots + agent
    shots = _shots(envs)
    name = f"images/{number:06d}.png"
    _write_png(folder / name, engine.views[VIEW].pictures[row])
    pose = pose_of(engine, plan.camera, world, agent)
    boxes = boxes_of(engine, pose, world, shots.box[row])
    lanes = lanes_of(engine, pose, world, agent, shots.depth[row])
    record = {
        "image": {
            "id": number,
            "file_name": name,
            "width": plan.width,
            "height": plan.height,
            "map": map_name,
            "agent": agent,
            "speed": round(float(engine.agents.speed[world, agent]), 3),
            "place": [round(one, 3) for one in pose.place.tolist()],
            "rotation": np.round(pose.rotation, 6).tolist(),
            "matrix": np.round(pose.matrix, 4).tolist(),
        },
        "boxes": box_annotations(boxes, number),
        "lanes": lane_line(lanes, plan.width, plan.height, name),
    }
    return _Shot(record, pose, world, agent, int(engine.agents.age[world, agent]))


def _with_motion(envs: DrivingVectorEnv, camera: Camera, shot: _Shot) -> dict[str, Any]:
    """Returns what is known of a picture, with how its camera moved in the step after it."""
    engine = envs.engine
    here = engine.agents.status[shot.world, shot.agent] != ABSENT
    goes_on = here and int(engine.agents.age[shot.world, shot.agent]) == shot.age + 1
    motion = None
    if goes_on:
        after = pose_of(engine, camera, shot.world, shot.agent)
        rotation, translation = motion_between(shot.pose, after)
        motion = {
            "dt": DT,
            "rotation": np.round(rotation, 7).tolist(),
            "translation": np.round(translation, 5).tolist(),
        }
    return {**shot.record, "image": {**shot.record["image"], "motion": motion}}


def _write_png(place: Path, picture: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    import_pillow()[0].fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG")
    write_whole(place, buffer.getvalue())


def _join(plan: Plan, folder: Path) -> None:
    """Writes the files of the whole set from those of its parts."""
    images: list[Any] = []
    boxes: list[dict[str, Any]] = []
    lines: list[bytes] = []
    for part in range(plan.parts):
        for record in json.loads(_part_file(folder, part).read_text()):
            images.append(record["image"])
            for one in record["boxes"]:
                boxes.append({"id": len(boxes) + 1, **one})
            lines.append(_json(record["lanes"]))
    info = {"description": "camera pictures of selfdrive_env", "version": package_version()}
    write_whole(
        folder / "boxes.json",
        _json({"info": info, "images": images, "annotations": boxes, "categories": CATEGORIES}),
    )
    write_whole(folder / "lanes.jsonl", b"\n".join(lines) + b"\n")
    write_whole(folder / "README.md", _card(plan, images, boxes, lines).encode())


def _card(plan: Plan, images: list[Any], boxes: list[dict[str, Any]], lines: list[bytes]) -> str:
    """Returns the data card: what is in the folder, and how it came about."""
    names = {one["id"]: one["name"] for one in CATEGORIES}
    kinds = np.array([box["category_id"] for box in boxes], np.int64)
    table = [f"| {names[kind]} | {int((kinds == kind).sum())} |" for kind in sorted(set(kinds))]
    lanes = sum(len(json.loads(line)["lanes"]) for line in lines)
    hidden = np.mean([box["occlusion"] > 0.5 for box in boxes]) if boxes else 0.0
    return "\n".join(
        [
            "# Camera pictures",
            "",
            f"{len(images)} pictures of {plan.width} x {plan.height} pixels, {plan.field_of_view:g}"
            f" degrees across, drawn by selfdrive_env {package_version()}.",
            "",
            f"- maps: {', '.join(plan.maps)}",
            f"- traffic: {plan.traffic}; {WORLDS} worlds of {AGENTS} agents at most, {PART} "
            "pictures a drive",
            f"- sun {plan.sun[0]:g} to {plan.sun[1]:g} degrees high, fog {plan.fog[0]:g} to "
            f"{plan.fog[1]:g} 1/m, noise {plan.noise:g} of 255; seed {plan.seed}",
            f"- boxes: {len(boxes)}, of which {100.0 * float(hidden):.0f} % are more than half "
            f"hidden; lane boundaries: {lanes}",
            "",
            "| kind | boxes |",
            "| --- | --- |",
            *table,
            "",
            "`boxes.json` is COCO: `bbox` is the extent of the visible pixels, `area` their number;"
            " `amodal_bbox`, `occlusion`, `truncation`, `centre_3d` (right, down, ahead), `size_3d`"
            " (length, width, height) and `yaw` come beside it. Images carry the pose of their "
            "camera and its motion in the step after.",
            "`lanes.jsonl` is TuSimple: a line a picture, boundaries from left to right, -2 where "
            "one is not seen, or within junctions, where none is painted; `order` -0.5 and 0.5 are "
            "those of the ego's lane.",
            "",
            "Roads, bodies and light are drawn, not photographed: there are no buildings, trees or "
            "shadows of these.",
            "",
        ]
    )
