"""Files are whole or not there, whatever goes wrong while they are written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from selfdrive_env.config import files
from selfdrive_env.config.files import UNFINISHED, replacing, write_whole


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "a.bin"
    write_whole(place, b"old")
    with replacing(place) as unfinished:
        unfinished.write_bytes(b"new")
        assert unfinished.name.startswith(UNFINISHED)
        assert unfinished.suffix == place.suffix
        assert place.read_bytes() == b"old"
    assert place.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [place]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "a.bin"
    write_whole(place, b"old")
    with pytest.raises(ZeroDivisionError), replacing(place) as unfinished:
        unfinished.write_bytes(b"half")
        raise ZeroDivisionError
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    place = tmp_path / "a.bin"
    with replacing(place) as one, replacing(place) as other:
        assert one != other
        one.write_bytes(b"1")
        other.write_bytes(b"2")
    assert place.read_bytes() == b"1"


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "a.bin"
    (tmp_path / f"{UNFINISHED}a.bin").write_bytes(b"left")
    write_whole(place, b"new", alone=True)
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_is_flushed_before_its_name_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, done = tmp_path / "a.bin", list[str]()
    fsync, replace = os.fsync, os.replace

    def flush(number: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    def rename(old: Path, new: Path) -> None:
        done.append("name")
        replace(old, new)

    monkeypatch.setattr(files.os, "fsync", flush)
    monkeypatch.setattr(files.os, "replace", rename)
    write_whole(place, b"content")
    assert done == ["file", "name", "folder"]


@pytest.mark.parametrize("name", ["nowhere/a.bin", "folder"])
def test_an_error_names_the_file_and_not_the_unfinished_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=f"{name}'$") as error:
        write_whole(tmp_path / name, b"content")
    assert error.value.filename == str(tmp_path / name)
    assert UNFINISHED not in str(error.value)
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="other limits")
@pytest.mark.parametrize("letter", ["a", "\u00e4", "\u8def"])
def test_the_longest_name_can_be_written(tmp_path: Path, letter: str) -> None:
    place = tmp_path / f"{letter * (251 // len(letter.encode()))}.bin"
    write_whole(place, b"content")
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode
    write_whole(tmp_path / "private", b"", mode=0o600)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


def test_a_file_that_somebody_reads_is_replaced_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to replace a file while it is open."""
    place, left, replace = tmp_path / "a.bin", [3], os.replace

    def refuse(old: Path, new: Path) -> None:
        if left[0]:
            left[0] -= 1
            raise PermissionError(13, "Access is denied", str(old), 5, str(new))
        replace(old, new)

    monkeypatch.setattr(files.os, "replace", refuse)
    monkeypatch.setattr(files, "PATIENCE", 60.0)
    write_whole(place, b"new")
    assert place.read_bytes() == b"new"
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    left[0] = 1
    with pytest.raises(PermissionError, match=r"a\.bin") as refused:
        write_whole(place, b"newer")
    assert (left[0], place.read_bytes()) == (0, b"new")
    assert refused.value.filename == str(place)
    assert list(tmp_path.iterdir()) == [place]
