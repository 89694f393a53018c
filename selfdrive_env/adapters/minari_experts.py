"""Recorded drivers as a Minari dataset: `selfdrive scenes experts`.

Scenes are read, driven (envs/scenes/records/experts.py) and written some at a time; a report beside
the dataset says which are in it, so that a run that was broken off goes on with the next.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.adapters.minari import EpisodeBuffer, minari
from selfdrive_env.compiler.progress import Count
from selfdrive_env.config.checks import check_choice
from selfdrive_env.config.files import write_whole
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.envs.scenes.records.experts import ExpertEpisode, drive_experts, environment_for
from selfdrive_env.envs.scenes.tables import LEARNERS
from selfdrive_env.scenes import Scene, SceneError
from selfdrive_env.scenes.experts import INVERTIBLE
from selfdrive_env.scenes.readers import files, records

__all__ = ["REPORT", "run", "write_experts"]

REPORT = "experts.json"
TOGETHER = 16
"""Scenes that are driven and written together."""

PRINTED = 20
"""Most scenes, and most refused ones, that are printed; the report has all."""


def run(parsed: argparse.Namespace) -> int:
    """Writes the dataset that the options ask for and prints its errors; returns 1 if it is empty.

    Raises:
        SceneError: No file is read, or the folder has a dataset that was made otherwise.
        ValueError: An unknown word.
    """
    since = time.monotonic()
    found = write_experts(
        parsed.source,
        parsed.output,
        dataset=parsed.dataset,
        dynamics=parsed.dynamics,
        learners=parsed.learners,
        layout=parsed.layout,
        resume=parsed.resume,
    )
    if parsed.json:
        print(json.dumps(found))
        return 0 if found["scenes"] else 1
    print(
        f"{'scene':40}{'episodes':>9}{'steps':>8}{'mean [m]':>10}{'most [m]':>10}{'most [deg]':>12}"
    )
    for one in found["scenes"][:PRINTED]:
        print(
            f"{one['scene']:40}{one['episodes']:>9}{one['steps']:>8}{one['position_mean']:>10.3f}"
            f"{one['position_most']:>10.3f}{one['heading_most_deg']:>12.2f}"
        )
    if len(found["scenes"]) > PRINTED:
        print(f"and {len(found['scenes']) - PRINTED} more ({REPORT} lists them all)")
    for one in found["refused"][:PRINTED]:
        print(f"refused: {one['why']}")
    episodes = sum(one["episodes"] for one in found["scenes"])
    print(
        f"{parsed.output}: {episodes} episodes of {len(found['scenes'])} scenes, "
        f"{len(found['refused'])} refused, in {time.monotonic() - since:.1f} s; read them with\n"
        f"MINARI_DATASETS_PATH={parsed.output} and minari.load_dataset({parsed.dataset!r})"
    )
    return 0 if found["scenes"] else 1


def write_experts(
    sources: Sequence[str],
    output: Path,
    *,
    dataset: str = "selfdrive/experts-v0",
    dynamics: str = "bicycle",
    learners: str = "ego",
    layout: str = "full",
    resume: bool = False,
) -> dict[str, Any]:
    """Writes expert episodes of scenes as a Minari dataset, and returns the report.

    Args:
        sources: Files and folders of scenes.
        output: Folder of Minari datasets.
        dataset: Name of the dataset there.
        dynamics: One of `INVERTIBLE`: what actions mean.
        learners: Who is an expert, one of `LEARNERS`.
        layout: Of the observations, by name.
        resume: Whether to add the scenes that are not in the dataset yet.

    Raises:
        SceneError: No file is read, or the folder has a dataset already, or one made otherwise.
        ValueError: An unknown word.
    """
    check_choice("dynamics", dynamics, tuple(INVERTIBLE))
    check_choice("learners", learners, LEARNERS)
    check_choice("layout", layout, tuple(LAYOUTS))
    paths = [path for source in sources for path in files(source)]
    if not paths:
        raise SceneError(f"{', '.join(map(str, sources))}: there is no file that is read")
    how = {"dataset": dataset, "dynamics": dynamics, "learners": learners, "layout": layout}
    report = _begun(output, how, resume)
    known = {(one["file"], one["record"]) for one in report["scenes"]}
    report["refused"] = []
    count, told = Count("driving files of scenes", len(paths)), 0
    output.mkdir(parents=True, exist_ok=True)
    place, os.environ["MINARI_DATASETS_PATH"] = (
        os.environ.get("MINARI_DATASETS_PATH"),
        str(output.resolve()),
    )
    try:
        for some in _batches(_read(paths, known, report["refused"])):
            _add(some, how, report)
            write_whole(output / REPORT, json.dumps(report, indent=1).encode())
            told = paths.index(some[-1][0]) + 1
            count.tell(told)
    finally:
        os.environ.pop("MINARI_DATASETS_PATH")
        if place is not None:
            os.environ["MINARI_DATASETS_PATH"] = place
    write_whole(output / REPORT, json.dumps(report, indent=1).encode())
    return report


def _begun(output: Path, how: dict[str, str], resume: bool) -> dict[str, Any]:
    """Returns the report of what is in a folder already, an empty one if nothing is."""
    path = output / REPORT
    there = (output / how["dataset"]).exists()
    if not resume and (path.exists() or there):
        raise SceneError(f"{output} has a dataset already: --resume adds to it")
    if not path.exists():
        if there:
            raise SceneError(f"{output} has a dataset without {REPORT}: nothing can be added to it")
        return {**how, "scenes": [], "refused": []}
    report: dict[str, Any] = json.loads(path.read_text())
    for name, value in how.items():
        if report.get(name) != value:
            raise SceneError(f"{path} was made with {name}={report.get(name)!r}, not {value!r}")
    return report


def _read(
    paths: Sequence[Path], known: set[tuple[str, str]], refused: list[dict[str, str]]
) -> Iterator[tuple[Path, str, Scene]]:
    """Yields the scenes that are not known yet, and notes those that cannot be read."""
    for path in paths:
        try:
            for entry in records(path):
                if (str(path), entry.name) in known:
                    continue
                try:
                    yield path, entry.name, entry.read()
                except (SceneError, OSError) as error:
                    refused.append({"file": str(path), "record": entry.name, "why": str(error)})
        except (SceneError, OSError) as error:
            refused.append({"file": str(path), "record": "", "why": str(error)})


def _batches(
    scenes: Iterable[tuple[Path, str, Scene]],
) -> Iterator[list[tuple[Path, str, Scene]]]:
    some: list[tuple[Path, str, Scene]] = []
    for one in scenes:
        some.append(one)
        if len(some) == TOGETHER:
            yield some
            some = []
    if some:
        yield some


def _add(
    some: Sequence[tuple[Path, str, Scene]], how: dict[str, str], report: dict[str, Any]
) -> None:
    """Drives scenes, adds their episodes to the dataset, and them to the report."""
    asked: dict[str, Any] = {name: how[name] for name in ("dynamics", "learners", "layout")}
    buffers: list[EpisodeBuffer] = []
    rows: list[dict[str, Any]] = []
    spaces: Any = None
    for path, record, scene, episodes in _driven(some, asked, report["refused"]):
        if not episodes:
            why = f"scene {scene.name or path.name!r}: nobody of {asked['learners']!r} was recorded"
            report["refused"].append({"file": str(path), "record": record, "why": why})
            continue
        rows.append(_errors(path, record, scene, episodes))
        buffers += [_buffer(one) for one in episodes]
        if spaces is None:
            envs = environment_for([scene], **asked)
            spaces = {
                "observation_space": envs.single_observation_space,
                "action_space": envs.single_action_space,
            }
            envs.close()
    if not buffers:
        return
    before = sum(one["episodes"] for one in report["scenes"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # of details left out
        if before == 0:
            minari.create_dataset_from_buffers(
                how["dataset"],
                buffers,
                eval_env="selfdrive_env/Scenes-v0",
                algorithm_name=f"recorded drivers, by the inverse of dynamics={how['dynamics']!r}",
                description=json.dumps(how),
                **spaces,
            )
        else:
            dataset = minari.load_dataset(how["dataset"])
            if dataset.total_episodes != before:
                raise SceneError(
                    f"dataset {how['dataset']} has {dataset.total_episodes} episodes, {REPORT} "
                    f"{before}: a run was broken off while it wrote; begin in another folder"
                )
            dataset.update_dataset_from_buffer(buffers)
    report["scenes"] += rows


def _driven(
    some: Sequence[tuple[Path, str, Scene]], asked: dict[str, Any], refused: list[dict[str, str]]
) -> Iterator[tuple[Path, str, Scene, list[ExpertEpisode]]]:
    """Yields scenes with their episodes: all together, or one by one where one is refused."""
    try:
        found = list(drive_experts([scene for *_, scene in some], **asked))
        yield from ((*one, episodes) for one, episodes in zip(some, found, strict=True))
        return
    except SceneError as error:
        if len(some) == 1:
            refused.append({"file": str(some[0][0]), "record": some[0][1], "why": str(error)})
            return
    for one in some:
        yield from _driven([one], asked, refused)


def _buffer(one: ExpertEpisode) -> EpisodeBuffer:
    terminated, truncated = np.zeros((2, len(one.actions)), np.bool_)
    terminated[-1], truncated[-1] = one.terminated, not one.terminated
    return EpisodeBuffer(
        observations=one.observations,
        actions=one.actions,
        rewards=one.rewards,
        terminations=terminated,
        truncations=truncated,
    )


def _errors(
    path: Path, record: str, scene: Scene, episodes: Sequence[ExpertEpisode]
) -> dict[str, Any]:
    """Returns how well the actions of a scene drive its tracks again."""
    position = np.concatenate([one.position_error for one in episodes])
    heading = np.degrees(np.concatenate([one.heading_error for one in episodes]))
    return {
        "file": str(path),
        "record": record,
        "scene": scene.name or path.stem,
        "agents": [one.agent for one in episodes],
        "episodes": len(episodes),
        "steps": sum(len(one.actions) for one in episodes),
        "position_mean": round(float(position.mean()), 4),
        "position_most": round(float(position.max()), 4),
        "heading_mean_deg": round(float(heading.mean()), 4),
        "heading_most_deg": round(float(heading.max()), 4),
        "bounded": round(float(np.mean([one.bounded for one in episodes])), 4),
    }
