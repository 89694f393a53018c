"""What `scenes info`, `scenes plot` and `scenes convert` do with their options."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from selfdrive_env.compiler.progress import Count
from selfdrive_env.config.files import write_whole
from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.readers import REPORT, files, load, records
from selfdrive_env.scenes.readers.recorded import Record
from selfdrive_env.scenes.scene import SUFFIX, Scene

__all__ = ["convert", "describe", "info", "plot"]

COLUMNS = ("agents", "present", "steps", "seconds", "lanes", "edges", "lights")
WIDTH = 40
"""Of the names in a table; longer ones shift their row [characters]."""

LINES = 20
"""Most refused scenes that are printed; the report has all."""

KEPT, THERE, REFUSED = "kept", "already there", "refused"


def describe(scene: Scene) -> dict[str, Any]:
    """Returns figures about a scene."""
    roads, network = scene.roads, scene.network()
    counts = {kind: 0 for kind in ("lane", "edge", "crosswalk", "stop_sign")}
    if roads is not None:
        counts = {kind: len(roads.of_kind(kind)) for kind in counts}
    elif network is not None:
        counts["lane"] = len(network.lanes)
        counts["crosswalk"] = len(network.crosswalks)
        counts["stop_sign"] = sum(line.kind == "stop_sign" for line in network.stop_lines)
    lights = 0 if scene.lights is None else scene.lights.num_lights
    if network is not None:
        lights = sum(signal.kind == "traffic_light" for signal in network.signals)
    return {
        "name": scene.name,
        "source": scene.source,
        "agents": len(scene.agents),
        "present": int(scene.present.sum()),
        "kinds": dict(Counter(agent.kind for agent in scene.agents)),
        "drivers": dict(Counter(agent.driver for agent in scene.agents)),
        "ego": scene.agents[scene.ego].id if scene.ego >= 0 else None,
        "of_interest": [scene.agents[number].id for number in scene.of_interest],
        "steps": scene.steps,
        "current": scene.current,
        "dt": scene.dt,
        "seconds": round((scene.steps - 1) * scene.dt, 3),
        "map": "" if network is None else network.name,
        **{f"{kind}s": count for kind, count in counts.items()},
        "lights": lights,
    }


def info(parsed: argparse.Namespace) -> int:
    """Prints the figures of one scene, or a table of several; returns 0, or 1 if one is refused."""
    found: list[dict[str, Any]] = []
    refused = 0
    for path, name, scene in _scenes(path for word in parsed.source for path in files(word)):
        if isinstance(scene, str):
            refused += 1
            found.append({"source": f"{path} {name}".strip(), "refused": scene})
        else:
            found.append(describe(scene))
    if parsed.json:
        print(json.dumps(found, allow_nan=False))
    elif len(found) == 1 and not refused:
        for key, value in found[0].items():
            print(f"{key:12} {'-' if value in (None, '', []) else value}")
    else:
        print(f"{'scene':{WIDTH}}" + "".join(f"{name:>9}" for name in COLUMNS) + "  map")
        for one in found:
            if "refused" in one:
                print(f"refused: {one['refused']}")
            else:
                cells = "".join(f"{one[name] or '-':>9}" for name in COLUMNS)
                print(f"{one['name']:{WIDTH}}{cells}  {one['map'] or '-'}")
        print(f"{len(found) - refused} scenes, {refused} refused")
    return 1 if refused or not found else 0


def _scenes(paths: Iterable[Path]) -> Iterator[tuple[Path, str, Scene | str]]:
    """Yields path, record and scene of each, or why there is none."""
    for path in paths:
        for entry in _records(path):
            if isinstance(entry, str):
                yield path, "", entry
                continue
            try:
                yield path, entry.name, entry.read()
            except (SceneError, OSError, ImportError) as error:
                yield path, entry.name, _told(error)


def _records(path: Path) -> Iterator[Record | str]:
    """Yields the records of a file, and why it ends before its end."""
    try:
        yield from records(path)
    except (SceneError, OSError, ImportError) as error:
        yield _told(error)


def _told(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def plot(parsed: argparse.Namespace) -> int:
    """Writes the picture of one scene; returns 0."""
    load(parsed.source, record=parsed.record).plot(parsed.output, size=parsed.size)
    return 0


class Job(NamedTuple):
    """A file to convert."""

    path: Path
    folder: Path
    """Where its scenes go."""

    resume: bool


class Outcome(NamedTuple):
    """What became of one record."""

    file: str
    record: str
    state: str
    why: str = ""


def convert(parsed: argparse.Namespace) -> int:
    """Writes the scenes of files as .scene files, and a report; returns 1 if it has none."""
    since = time.monotonic()
    jobs = _jobs(parsed.source, parsed.output, parsed.resume)
    if not jobs:
        raise SceneError(f"{', '.join(parsed.source)}: there is no file that is read")
    outcomes: list[Outcome] = []
    count = Count("converting files", len(jobs))
    for done, found in enumerate(_outcomes(jobs, parsed.jobs), 1):
        outcomes += found
        count.tell(done)
    counts = Counter(one.state for one in outcomes)
    refused = [one for one in outcomes if one.state == REFUSED]
    report = {
        "files": len(jobs),
        "kept": counts[KEPT],
        "already_there": counts[THERE],
        "refused": [{"file": o.file, "record": o.record, "why": o.why} for o in refused],
        "seconds": round(time.monotonic() - since, 2),
    }
    write_whole(parsed.output / REPORT, json.dumps(report, indent=1).encode())
    if parsed.json:
        print(json.dumps(report))
    else:
        print(
            f"{parsed.output}: {counts[KEPT]} scenes kept, {counts[THERE]} already there, "
            f"{len(refused)} refused, in {report['seconds']} s"
        )
        for one in refused[:LINES]:
            print(f"  refused: {one.why}")
        if len(refused) > LINES:
            print(f"  and {len(refused) - LINES} more ({REPORT} lists them all)")
    return 0 if counts[KEPT] + counts[THERE] else 1


def _jobs(sources: list[str], output: Path, resume: bool) -> list[Job]:
    """Returns what is to be converted; files below a folder keep their place below it."""
    out = []
    for source in sources:
        base = Path(source).expanduser()
        for path in files(source):
            inside = path.parent.relative_to(base) if base.is_dir() else Path()
            if output.resolve() not in path.resolve().parents:  # what was made before
                out.append(Job(path, output / inside, resume))
    for job in out:
        job.folder.mkdir(parents=True, exist_ok=True)
    return out


def _outcomes(jobs: list[Job], processes: int) -> Iterator[list[Outcome]]:
    """Yields what became of the records of each file, as they are done."""
    if processes == 1 or len(jobs) == 1:
        yield from map(_convert, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=_heed_nobody) as pool:
        waiting = [pool.submit(_convert, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool:
            raise SceneError(
                "a process that read a file ended by itself, perhaps for want of memory: "
                "--resume goes on, fewer --jobs take less"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()  # what a scene is written to is whole or not there
            raise


def _heed_nobody() -> None:
    """Leaves Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _convert(job: Job) -> list[Outcome]:
    """Writes the scenes of a file."""
    out = []
    file = str(job.path)
    for entry in _records(job.path):
        if isinstance(entry, str):
            out.append(Outcome(file, "", REFUSED, entry))
            continue
        target = job.folder / f"{_stem(job.path, entry)}{SUFFIX}"
        if job.resume and target.is_file():
            out.append(Outcome(file, entry.name, THERE))
            continue
        try:
            entry.read().save(target)
            out.append(Outcome(file, entry.name, KEPT))
        except (SceneError, OSError, ImportError) as error:
            out.append(Outcome(file, entry.name, REFUSED, _told(error)))
    return out


def _stem(path: Path, entry: Record) -> str:
    """Returns the name of a scene's file, unique within a folder."""
    name = path.name
    return entry.name if name.startswith(entry.name) else f"{name}-{entry.name}"
