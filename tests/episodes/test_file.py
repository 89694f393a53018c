"""Episode files: what was written is read, and nothing else is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.__main__ import main
from selfdrive_env.episodes import Episode, EpisodeError
from selfdrive_env.episodes.file import HEAD, HEAD_LENGTH, MAGIC, VERSION
from selfdrive_env.episodes.page import page, save
from selfdrive_env.episodes.tracks import SCHEMA, as_numbers, as_whole

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def signed(body: bytes, *, version: int = VERSION) -> bytes:
    """A file with a right checksum around any body."""
    packed = zlib.compress(body)
    head = HEAD.pack(MAGIC, version, len(packed), len(body))
    return head + hashlib.sha256(head + packed).digest() + packed


@pytest.fixture(scope="module")
def file(small: Episode) -> bytes:
    """The file of an episode, packed once for all examples."""
    return small.to_bytes()


def body_of(file: bytes) -> bytes:
    return zlib.decompress(file[HEAD_LENGTH:])


def with_header(file: bytes, change: Any) -> bytes:
    """The file with another header, signed again."""
    body = body_of(file)
    end = 4 + int.from_bytes(body[:4], "little")
    header = json.loads(body[4:end])
    change(header)
    text = json.dumps(header).encode()
    return signed(len(text).to_bytes(4, "little") + text + body[end:])


def test_an_episode_is_read_as_it_was_written(small: Episode, tmp_path: Path) -> None:
    small.save(tmp_path / "a.episode")
    again = Episode.load(tmp_path / "a.episode")
    assert again.about == small.about
    for name, one, other in zip(SCHEMA, small.tracks, again.tracks, strict=True):
        assert one.dtype == other.dtype == SCHEMA[name].dtype
        np.testing.assert_array_equal(one, other, name)
    assert again.to_bytes() == small.to_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.episode"]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_file_cut_short_is_refused(file: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(file) - 1))
    with pytest.raises(EpisodeError, match=r"'a\.episode'.*(cut short|no episode)"):
        Episode.from_bytes(file[:length], "a.episode")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_an_altered_file_is_refused(file: bytes, data: st.DataObject) -> None:
    content = bytearray(file)
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EpisodeError, match=r"'a\.episode'"):
        Episode.from_bytes(bytes(content), "a.episode")


@settings(max_examples=50, deadline=None)
@given(extra=st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_refused(file: bytes, extra: bytes) -> None:
    with pytest.raises(EpisodeError, match="altered"):
        Episode.from_bytes(file + extra, "a.episode")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.binary(max_size=200).map(MAGIC.__add__))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(EpisodeError):
        Episode.from_bytes(content, "a.episode")


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=100))
def test_any_signed_body_is_refused(body: bytes) -> None:
    with pytest.raises(EpisodeError, match="damaged"):
        Episode.from_bytes(signed(body), "a.episode")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_forged_body_is_refused_or_can_be_shown(file: bytes, data: st.DataObject) -> None:
    body = bytearray(body_of(file))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        episode = Episode.from_bytes(signed(bytes(body)), "a.episode")
    except EpisodeError:
        return
    page(episode)
    assert Episode.from_bytes(episode.to_bytes(), "b").to_bytes() == episode.to_bytes()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_forged_header_is_refused_or_can_be_shown(
    small: Episode, file: bytes, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from([*small.about, "arrays"]))
    value = data.draw(JSON)
    try:
        content = with_header(file, lambda header: header.update({key: value}))
        episode = Episode.from_bytes(content, "a.episode")
    except EpisodeError as error:
        assert "'a.episode' is damaged" in str(error)
        return
    page(episode)


@pytest.mark.parametrize("key", ["dt", "seed", "focus", "terms", "observation", "settings"])
def test_a_missing_entry_is_named(file: bytes, key: str) -> None:
    content = with_header(file, lambda header: header.pop(key))
    with pytest.raises(EpisodeError, match="damaged"):
        Episode.from_bytes(content, "a.episode")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("track", 10_000), ("route_leg", -2), ("route_leg_track", -1), ("track_type", 200),
        ("observed_agent", 3),
        ("status", 9), ("light", 7), ("outline_kind", 6), ("outline_first", -5), ("left_frame", 99),
        ("track_goals", 5),
    ],
)  # fmt: skip
def test_an_index_beyond_its_table_is_named(small: Episode, name: str, value: int) -> None:
    array = getattr(small.tracks, name).copy()
    array.flat[-1] = value
    forged = dataclasses.replace(small, tracks=small.tracks._replace(**{name: array}))
    with pytest.raises(EpisodeError, match=f"{name}|polylines"):
        Episode.from_bytes(forged.to_bytes(), "a.episode")


def test_another_version_is_named(file: bytes) -> None:
    content = signed(body_of(file), version=7)
    with pytest.raises(EpisodeError, match=r"'a\.episode' has version 7, this package reads .* 2"):
        Episode.from_bytes(content, "a.episode")


def test_a_body_that_unpacks_to_more_than_it_says_is_refused() -> None:
    packed = zlib.compress(bytes(10**8))
    head = HEAD.pack(MAGIC, VERSION, len(packed), 1000)
    content = head + hashlib.sha256(head + packed).digest() + packed
    with pytest.raises(EpisodeError, match="1000 bytes"):
        Episode.from_bytes(content, "a.episode")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.episode"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(EpisodeError, match="no episode"):
        Episode.load(path)


def test_numbers_survive_within_half_a_unit() -> None:
    for name, values in {
        "x": [-1234.567, 0.004, 98765.4321],
        "heading": [-3.14159, 0.0, 3.1415],
        "speed": [-3.21, 55.5],
        "observation": [-1.0, 0.3333, 1.0],
    }.items():
        back = as_numbers(name, as_whole(name, values))
        assert np.abs(back - values).max() <= 0.5001 * SCHEMA[name].scale
    assert as_whole("heading", np.pi) == as_whole("heading", -np.pi)
    assert as_whole("speed", 1.0e9) == 32767  # cut, not wrapped
    assert np.isfinite(as_whole("reward", 1.0e9))


def test_a_minute_of_150_agents_is_a_page_of_less_than_3_mb(long: Episode) -> None:
    assert (long.num_agents, long.duration) == (150, pytest.approx(60.0))
    size = len(page(long))
    print(f"page of 60 s, 150 agents, steps of {long.dt} s: {size / 1e6:.2f} MB")
    assert size < 3_000_000


def test_the_page_has_no_text_of_the_episode(hostile: Episode) -> None:
    text = page(hostile).decode()
    assert "alert(1)" not in text
    assert text.count("<script") == text.count("</script") == 3  # of them two hold data
    assert "http:" not in text
    assert "https:" not in text
    assert "@EPISODE" not in text


def test_other_endings_are_refused(small: Episode, tmp_path: Path) -> None:
    for name in ("a.npz", "a", "a.htm"):
        with pytest.raises(ValueError, match=f"end in .*{name}'"):
            save(small, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_page(
    small: Episode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.save(tmp_path / "a.episode")
    assert main(["replay", str(tmp_path / "a.episode")]) == 0
    assert main(["replay", str(tmp_path / "a.episode"), "-o", str(tmp_path / "b.html")]) == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes() == page(small)
    assert "3.0 s, 3 agents" in capsys.readouterr().out


def test_mistakes_give_one_line_and_exit_code_2(
    small: Episode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small.save(tmp_path / "a.episode")
    (tmp_path / "cut.episode").write_bytes(small.to_bytes()[:-9])
    for words in (
        ["missing.episode"],
        [str(tmp_path / "cut.episode")],
        [str(tmp_path)],
        [str(tmp_path / "a.episode"), "-o", str(tmp_path / "a.png")],
        [str(tmp_path / "a.episode"), "-o", str(tmp_path / "no" / "folder" / "a.html")],
    ):
        assert main(["replay", *words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.episode", "cut.episode"]


def test_what_could_not_be_read_again_is_not_written(
    small: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfdrive_env.episodes.file.MAX_BODY", len(body_of(small.to_bytes())) - 1)
    with pytest.raises(EpisodeError, match=r"holds at most .* record for less time"):
        small.to_bytes()


def test_a_header_longer_than_any_is_refused(small: Episode) -> None:
    with pytest.raises(EpisodeError, match=r"its header has .* bytes, allowed are 1048576"):
        Episode.from_bytes(signed((2**21).to_bytes(4, "little") + b"[" * 2**21), "a")


def test_a_file_longer_than_any_episode_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.episode"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, which takes no room on the disk
    with pytest.raises(EpisodeError, match="is longer than"):
        Episode.load(path)
