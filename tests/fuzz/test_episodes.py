"""Episode files changed at random, with checksums that are right again: read, or refused."""

from __future__ import annotations

import functools
import json
import struct
import zlib
from pathlib import Path

import numpy as np

from selfdrive_env.envs import DrivingVectorEnv
from selfdrive_env.episodes import Episode
from selfdrive_env.episodes.file import HEAD, HEAD_LENGTH, MAGIC, VERSION, EpisodeError, _checksum
from selfdrive_env.episodes.page import page
from tests.fuzz import harness
from tests.fuzz.values import changed_bytes, changed_json, check_named

Random = np.random.Generator

SEED = 28


@functools.cache
def recorded() -> bytes:
    """The content of an episode file."""
    env = DrivingVectorEnv(
        4, map="riverside", layout="lean", num_threads=1, record=True, on_goal="new_route"
    )
    env.reset(seed=1)
    env.action_space.seed(1)
    for _ in range(12):
        env.step(env.action_space.sample())
    return bytes(env._recorder.episode().to_bytes())


def make(random: Random) -> bytes:
    """The content of a file."""
    content = recorded()
    kind = random.random()
    if kind < 0.15:
        return changed_bytes(content, random)
    whole = zlib.decompress(content[HEAD_LENGTH:])
    end = 4 + int.from_bytes(whole[:4], "little")
    text, arrays = whole[4:end], whole[end:]
    if kind < 0.6:
        text = json.dumps(changed_json(json.loads(text), random)).encode()
    elif kind < 0.7:
        text = changed_bytes(text, random)
    elif kind < 0.72:
        text = b"[" * int(random.integers(1, 10**6))
    elif kind < 0.74:
        arrays = bytes(int(random.integers(1, 2**24)))
    else:
        arrays = changed_bytes(arrays, random) if random.random() < 0.3 else swapped(arrays, random)
    length = len(text) if random.random() < 0.95 else int(random.integers(0, 2**32))
    whole = struct.pack("<I", length) + text + arrays
    declared = len(whole) if random.random() < 0.9 else int(2 ** random.uniform(0.0, 64.0)) % 2**64
    body = zlib.compress(whole, 1)
    version = VERSION if random.random() < 0.97 else int(random.integers(0, 2**32))
    head = HEAD.pack(MAGIC, version, len(body), declared)
    return head + _checksum(head, body) + body


def swapped(content: bytes, random: Random) -> bytes:
    """Returns bytes of the same length with some of other values."""
    out = np.frombuffer(content, np.uint8).copy()
    for _ in range(random.integers(1, 6)):
        out[random.integers(len(out))] = random.choice([0, 1, 127, 128, 255])
    return out.tobytes()


def use(one: bytes, number: int) -> str:
    """Reads a file, and makes of it what can be made of an episode."""
    try:
        episode = Episode.from_bytes(one, "a.episode")
    except EpisodeError as error:
        check_named(error, ("a.episode",))
        return "refused"
    assert episode.duration >= 0.0 and episode.seed >= 0
    for name in ("x", "speed", "reward"):
        episode.values(name)
    again = Episode.from_bytes(episode.to_bytes(), "b.episode")
    assert again.num_frames == episode.num_frames
    page(episode)
    return "read"


def test_episode_files_are_read_or_refused() -> None:
    ends = harness.fuzz(make, use, seed=SEED, count=harness.budget(100), allowed=())
    assert ends["read"] and ends["refused"]


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(1)
    body = b"".join([packer.compress(bytes(2**24)) for _ in range(17)]) + packer.flush()
    for declared in (17 * 2**24, 2**32, 2**64 - 1):
        head = HEAD.pack(MAGIC, VERSION, len(body), declared)
        path = tmp_path / "a.episode"
        path.write_bytes(head + _checksum(head, body) + body)
        before = harness.peak_memory()
        try:
            Episode.load(path)
        except EpisodeError as error:
            assert f"unpacks to {declared} bytes, allowed are" in str(error)
        else:
            raise AssertionError("it was read")
        assert harness.peak_memory() - before < 1e8
