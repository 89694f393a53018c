"""Checkpoints that are whole or not there: folders of files, renamed into place, with checksums.

A checkpoint is written into a temporary folder, every file is flushed to the disk, `manifest.json`
gets length and SHA-256 of each, and one rename makes it visible. Nothing in it is pickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from torch import Tensor

from selfdrive_env.config.files import UNFINISHED, flush_folder, rename, write_flushed
from selfdrive_env.training.distributed import Ranks

__all__ = [
    "CHECKPOINT_VERSION",
    "MANIFEST",
    "CheckpointError",
    "Checkpoints",
    "array_bytes",
    "arrays_from",
    "json_bytes",
    "read_file",
    "read_folder",
    "tensor_bytes",
    "tensors_from",
    "write_folder",
]

CHECKPOINT_VERSION = 1
MANIFEST = "manifest.json"


class CheckpointError(ValueError):
    """A checkpoint is damaged, missing, or does not fit."""


class Checkpoints:
    """The checkpoints of a run, one folder each, named by the number of updates.

    Args:
        folder: Where they are.
        keep: So many of the newest stay.
        ranks: The processes of the run; the first one writes what all have in common.
    """

    def __init__(self, folder: Path, keep: int, ranks: Ranks) -> None:
        self.folder = folder
        self.keep = keep
        self.ranks = ranks

    def numbers(self) -> list[int]:
        """Returns the updates of which there is a checkpoint, newest first."""
        if not self.folder.is_dir():
            return []
        names = (path.name for path in self.folder.iterdir())
        return sorted((int(name) for name in names if re.fullmatch(r"\d{8}", name)), reverse=True)

    def path(self, number: int) -> Path:
        """Returns the folder of a checkpoint."""
        return self.folder / f"{number:08d}"

    def save(self, number: int, common: Mapping[str, bytes], own: Mapping[str, bytes]) -> None:
        """Writes a checkpoint; if that fails, those before it are as they were.

        Args:
            number: Updates so far.
            common: Name -> content of the files that are the same in all processes.
            own: Likewise, those of this process alone.

        Raises:
            OSError: If the disk is full, or the like.
        """
        temporary = self.folder / f"{UNFINISHED}{number:08d}"
        first = self.ranks.rank == 0
        problem: OSError | None = None
        try:
            if first:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
        except OSError as error:
            problem = error
        if not self.ranks.any(problem is not None):
            try:
                _write_files(temporary, {**(common if first else {}), **own})
            except OSError as error:
                problem = error
        failed = self.ranks.any(problem is not None)
        if first and not failed:
            try:
                _finish(temporary, self.path(number))
                self._prune()
            except OSError as error:
                problem = error
        if self.ranks.any(problem is not None):
            if first:
                shutil.rmtree(temporary, ignore_errors=True)
            last = self.numbers()
            kept = f"the last good one is {self.path(last[0])}" if last else "there is none yet"
            raise OSError(
                f"checkpoint {self.path(number)} could not be written ({problem}); {kept}"
            )

    def newest(self, needed: Sequence[str] = ()) -> tuple[int, dict[str, bytes]]:
        """Reads the newest whole checkpoint; damaged ones are announced and set aside.

        Args:
            needed: Names of files without which it is damaged.

        Returns:
            Its number and its files, name -> content.

        Raises:
            CheckpointError: If there is none.
        """
        chosen, problems = -1, []
        if self.ranks.rank == 0:
            for left in self.folder.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
            for number in self.numbers():
                try:
                    read_folder(self.path(number), needed)
                    chosen = number
                    break
                except CheckpointError as error:
                    problems.append(str(error))
                    print(f"selfdrive_env: {error}; trying the one before", file=sys.stderr)
                    aside = self.folder / f"{number:08d}.damaged"
                    shutil.rmtree(aside, ignore_errors=True)
                    rename(self.path(number), aside)
        chosen = self.ranks.agree(chosen)
        if chosen < 0:
            why = "; ".join(problems) or "there is none"
            raise CheckpointError(f"no checkpoint in {self.folder} to resume from: {why}")
        return chosen, read_folder(self.path(chosen))

    def _prune(self) -> None:
        for number in self.numbers()[self.keep :]:
            shutil.rmtree(self.path(number), ignore_errors=True)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files with their checksums, whole or not at all."""
    temporary = folder.parent / f"{UNFINISHED}{folder.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _write_files(temporary, files)
    _finish(temporary, folder)


def read_folder(folder: Path, needed: Sequence[str] = ()) -> dict[str, bytes]:
    """Returns the files of a folder, name -> content, compared with their checksums.

    Args:
        folder: What `write_folder` wrote.
        needed: Names of files that must be there.

    Raises:
        CheckpointError: If something is missing, cut short or altered.
    """
    manifest = _read_manifest(folder)
    for name in needed:
        _check_listed(folder, name, manifest)
    return {name: _read(folder, name, *manifest[name]) for name in manifest}


def read_file(folder: Path, name: str) -> bytes:
    """Returns one file of a folder, see `read_folder`."""
    manifest = _read_manifest(folder)
    _check_listed(folder, name, manifest)
    return _read(folder, name, *manifest[name])


def _check_listed(folder: Path, name: str, manifest: Mapping[str, Any]) -> None:
    if name not in manifest:
        raise CheckpointError(f"{folder} is damaged: {name} is missing from {MANIFEST}")


def _read_manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns length and checksum of each file, by name."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return {str(n): (int(e["bytes"]), str(e["sha256"])) for n, e in manifest.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{folder} is damaged: {MANIFEST} cannot be read ({what})") from None


def _read(folder: Path, name: str, length: int, checksum: str) -> bytes:
    try:
        content = (folder / Path(name).name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder} is damaged: {name} cannot be read: {error}") from None
    if len(content) != length:
        raise CheckpointError(
            f"{folder} is damaged: {name} has {len(content)} bytes instead of {length}"
        )
    if hashlib.sha256(content).hexdigest() != checksum:
        raise CheckpointError(f"{folder} is damaged: {name} was altered (wrong checksum)")
    return content


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        write_flushed(folder / name, content)


def _finish(temporary: Path, final: Path) -> None:
    """Adds the checksums to a folder and puts it into its place."""
    manifest = {}
    for path in sorted(temporary.iterdir()):
        content = path.read_bytes()
        manifest[path.name] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    write_flushed(temporary / MANIFEST, json_bytes(manifest))
    flush_folder(temporary)
    if final.exists():
        shutil.rmtree(final)
    rename(temporary, final)
    flush_folder(final.parent)


def json_bytes(table: Any) -> bytes:
    """Returns a table as JSON."""
    return json.dumps(table, indent=1, allow_nan=False).encode()


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Returns tensors as safetensors."""
    plain = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
    data: bytes = safetensors.torch.save(plain)
    return data


def tensors_from(content: bytes) -> dict[str, Tensor]:
    """Returns the tensors that `tensor_bytes` wrote."""
    tensors: dict[str, Tensor] = safetensors.torch.load(content)
    return tensors


def array_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns arrays as a compressed npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def arrays_from(content: bytes) -> dict[str, NDArray[Any]]:
    """Returns the arrays that `array_bytes` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
