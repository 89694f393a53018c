"""Reads TFRecord files of the Waymo Open Motion Dataset: Scenario and tf.Example, as they come.

Both are protocol buffers, read from the bytes; neither TensorFlow nor their definitions are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from selfdrive_env.scenes.readers.recorded import Record
from selfdrive_env.scenes.readers.womd import example, scenario
from selfdrive_env.scenes.readers.womd.tfrecord import Entry, entries
from selfdrive_env.scenes.readers.womd.wire import Message, WireError, fields
from selfdrive_env.scenes.scene import Scene

__all__ = ["records"]


def records(path: Path) -> Iterator[Record]:
    """Yields the scenes of a file."""
    for entry in entries(path):
        yield Record(f"{entry.number:05d}", lambda entry=entry: _read(entry))  # type: ignore[misc]


def _read(entry: Entry) -> Scene:
    place = entry.place
    data = memoryview(entry.read())
    source = f"{entry.path}#{entry.number}"
    try:
        if _is_example(data):
            return example.read(data, place, source)
        return scenario.read(data, place, source)
    except WireError as error:
        raise place.error("the record", f"is damaged, or no WOMD scene: {error}") from None


def _is_example(data: Message) -> bool:
    """Whether a message has one field, 1, that is a message: `Example.features`."""
    first = next(fields(data), None)
    return first is not None and first[0] == 1 and isinstance(first[1], memoryview) and (
        len(first[1]) > len(data) - 12
    )  # fmt: skip
