"""Films from pictures, as GIF or animated PNG (pillow) or MP4 (PyAV)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfdrive_env.config.files import replacing
from selfdrive_env.rendering.canvas import import_pillow
from selfdrive_env.state.arrays import U8

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["import_av", "write_video"]

COLOURS = 128
SAMPLED = 8
"""An animated PNG has one palette; it is made from about so many of its pictures."""


def write_video(frames: Iterable[U8], path: str | Path, fps: float) -> None:
    """Writes pictures as a film: `.gif`, `.png` (animated), or `.mp4` (H.264).

    Notebooks and pages show an animated PNG like any picture, which they do not all do with a GIF.

    Args:
        frames: RGB, each [H, W, 3], all of one size; an odd edge loses a pixel in `.mp4`. In a
            `.gif` or `.png`, equal frames in a row become one that is shown longer. A `.png` has
            128 colours for the whole film and keeps all its pictures in memory meanwhile.
        path: File to write; the suffix chooses the format.
        fps: Frames a second.
    """
    path = Path(path)
    writers = {".gif": _write_gif, ".png": _write_png, ".mp4": _write_mp4}
    if path.suffix not in writers:
        raise ValueError(f"path must end in .gif, .png or .mp4, got {str(path)!r}")
    if not (math.isfinite(fps) and 0.1 <= fps <= 240.0):
        raise ValueError(f"fps must be in [0.1, 240], got {fps}")
    with replacing(path) as unfinished:
        writers[path.suffix](_checked_frames(frames), unfinished, fps)


def _checked_frames(frames: Iterable[U8]) -> Iterator[U8]:
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ValueError("frames must hold at least one picture, got none")
    for index, frame in enumerate(itertools.chain([first], iterator)):
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(
                f"frame {index} must be uint8 [H, W, 3], got {frame.dtype} {frame.shape}"
            )
        if frame.shape != first.shape:
            raise ValueError(f"frame {index} is {frame.shape}, the first is {first.shape}")
        yield frame


def _write_gif(frames: Iterator[U8], path: Path, fps: float) -> None:
    image_module = import_pillow()[0]

    def palettes() -> Iterator[Image]:
        for frame in frames:
            yield image_module.fromarray(frame).quantize(COLOURS, dither=image_module.Dither.NONE)

    images = palettes()
    first = next(images)
    duration = max(20, round(1000.0 / fps))
    options: dict[str, Any] = {"append_images": images, "duration": duration, "loop": 0}
    with open(path, "wb") as file:  # closed at once, also when a picture fails
        first.save(file, "GIF", save_all=True, **options)


def _write_png(frames: Iterator[U8], path: Path, fps: float) -> None:
    image_module = import_pillow()[0]
    pictures = list(frames)
    some = np.concatenate(pictures[:: math.ceil(len(pictures) / SAMPLED)])
    none = image_module.Dither.NONE
    palette = image_module.fromarray(some).quantize(COLOURS, dither=none)
    first, *rest = (
        image_module.fromarray(picture).quantize(palette=palette, dither=none)
        for picture in pictures
    )
    options: dict[str, Any] = {"append_images": rest, "duration": 1000.0 / fps, "loop": 0}
    with open(path, "wb") as file:
        first.save(file, "PNG", save_all=True, **options)


def import_av() -> Any:
    """Returns PyAV."""
    try:
        import av
    except ImportError as error:
        raise ImportError('writing .mp4 needs PyAV: pip install "selfdrive_env[render]"') from error
    return av


def _write_mp4(frames: Iterator[U8], path: Path, fps: float) -> None:
    av = import_av()
    first = next(frames)
    height, width = (n - n % 2 for n in first.shape[:2])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "fast"}
        for frame in itertools.chain([first], frames):
            pixels = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
