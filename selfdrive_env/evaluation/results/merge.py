"""Parts of one evaluation, driven on several machines or in chunks, added up again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfdrive_env.config.settings import NOT_IN_DIGEST
from selfdrive_env.evaluation.results.evaluation import Evaluation, joined
from selfdrive_env.evaluation.results.files import read

__all__ = ["merge", "read_shard"]


def read_shard(text: str) -> tuple[int, int]:
    """Reads "I/N", the I-th of N parts."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise ValueError(f"--shard must be I/N with I from 1 to N, such as 2/8, got {text!r}")
    return number, of


def merge(paths: Sequence[Path]) -> tuple[Evaluation, Evaluation | None]:
    """Returns what several files hold together, each world once.

    Parts are the shards of one run, or runs with the same settings and other seeds. Counts, the
    order of worlds and with them all figures are those of a single run.

    Args:
        paths: Files that `files.write` wrote.

    Returns:
        The evaluation, and that of the policy it is compared with, if there is one.

    Raises:
        ValueError: If a file is none, or two of them differ in policy, settings, maps, version or
            length, or hold the same world.
    """
    if not paths:
        raise ValueError("merge needs files that `evaluate -o FILE` wrote, got none")
    names = [str(path) for path in paths]
    pairs = [read(path) for path in paths]
    others = [other for _, other in pairs if other is not None]
    for name, (_, other) in zip(names, pairs, strict=True):
        if (other is None) != (pairs[0][1] is None):
            raise ValueError(f"{name} and {names[0]}: only one of them compares two policies")
    return _added(names, [one for one, _ in pairs]), _added(names, others) if others else None


def _added(names: Sequence[str], parts: Sequence[Evaluation]) -> Evaluation:
    """Returns parts together, after all checks."""
    first, alike = parts[0], [_renamed(part, parts[0]) for part in parts]
    digests: dict[str, Any] = {}
    probes: dict[str, Any] = {}
    holders: dict[tuple[int, str], str] = {}
    for name, part, own in zip(names, alike, parts, strict=True):
        _check_same(name, names[0], _identity(own), _identity(first))
        _check_same(name, "an earlier file", part.map_digests, digests, "map digest of ")
        _check_same(name, "an earlier file", part.probes, probes, "probe ")
        digests.update(part.map_digests)
        probes.update(part.probes)
        for place, seed in enumerate(part.seeds):
            where = part.maps[place] if part.maps else ""
            if (seed, where) in holders:
                on = f" on {where}" if where else ""
                raise ValueError(
                    f"{name} overlaps with {holders[seed, where]}: both hold seed {seed}{on}"
                )
            holders[seed, where] = name
    return joined(alike)


def _identity(part: Evaluation) -> dict[str, Any]:
    """Returns what must be the same in all parts, under its names."""
    settings = {name: one for name, one in part.settings.items() if name not in NOT_IN_DIGEST}
    return {
        "policy": part.policy_digest or part.policy,
        "package version": part.package,
        "minutes": part.minutes,
        "each_map": bool(part.maps),
        **settings,
        "map": [Path(name).name for name in part.settings["map"]],
    }


def _renamed(part: Evaluation, first: Evaluation) -> Evaluation:
    """Returns a part with the names of the first one's maps: files may lie in other folders."""
    names = dict(zip(part.settings["map"], first.settings["map"], strict=False))
    return replace(
        part,
        maps=tuple(names.get(one, one) for one in part.maps),
        map_digests={names.get(one, one): digest for one, digest in part.map_digests.items()},
    )


def _check_same(
    name: str, other: str, found: dict[str, Any], known: dict[str, Any], what: str = ""
) -> None:
    """Raises a ValueError that names what two files do not have in common."""
    for key in known.keys() & found.keys() if what else known.keys() | found.keys():
        values = [one.get(key) for one in (found, known)]
        if values[0] != values[1]:
            raise ValueError(
                f"{name} cannot be added: its {what}{key} is {values[0]!r}, but {values[1]!r} in "
                f"{other}"
            )
