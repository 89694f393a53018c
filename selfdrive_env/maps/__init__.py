"""Road maps: built-in towns and OpenDRIVE files, read into a `RoadNetwork`."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from selfdrive_env.maps.generate import BUILT_IN, generate
from selfdrive_env.maps.road_network import MapError, RoadNetwork

__all__ = ["BUILT_IN", "MapError", "RoadNetwork", "load"]

FILE_ENDINGS = (".xodr", ".xodr.gz", ".xodr.xz")


def load(source: str | os.PathLike[str]) -> RoadNetwork:
    """Returns the road network of a built-in town or of an OpenDRIVE file.

    Args:
        source: One of `BUILT_IN`, or the path of a file that ends in .xodr, .xodr.gz or .xodr.xz.
    """
    text = os.fspath(source)
    if text in BUILT_IN:
        return generate(text)
    if not text.endswith(FILE_ENDINGS):
        nearest = difflib.get_close_matches(text, BUILT_IN, 1, 0.0)[0]
        raise MapError(
            f"unknown map {text!r}: use one of {', '.join(BUILT_IN)} or a file that ends in "
            f"{', '.join(FILE_ENDINGS)} (did you mean {nearest!r}?)"
        )
    if not Path(text).is_file():
        raise MapError(f"map file {text!r} does not exist")

    from selfdrive_env.maps.opendrive import read_opendrive

    return read_opendrive(text)
