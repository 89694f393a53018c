"""From the frames of a row to its picture: each code becomes the values of its channels."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.compiler.vectors import put_three

__all__ = ["store_picture"]

RGB = 3


@inline
def store_rgb(picture, code, word):
    """Writes a picture of one frame in three channels, side by side."""
    pixels = code.shape[0]
    for pixel in range(warp_lane(), pixels - 1, warp_size()):
        put_three(picture, RGB * pixel, word[code[np.uint64(pixel)]])
    if warp_lane() == 0:
        last = pixels - 1
        for channel in range(RGB):
            value = (word[code[last]] >> np.uint32(8 * channel)) & np.uint32(255)
            picture[RGB * last + channel] = np.uint8(value)


@inline
def store_channel(picture, code, table, first, stride):
    """Writes a channel of a frame."""
    for pixel in range(warp_lane(), code.shape[0], warp_size()):
        place = np.uint64(first + pixel * stride)
        picture[place] = table[code[np.uint64(pixel)]]


@inline
def store_frames(picture, frames, row, table, channels_first):
    """Writes all channels of all frames, the oldest frame first."""
    history, pixels = frames.code.shape[1], frames.code.shape[2]
    channels = table.shape[0]
    place = np.int64(frames.newest[row])
    for frame in range(history):
        place = place + 1 if place + 1 < history else np.int64(0)
        code = frames.code[row, place]
        for channel in range(channels):
            number = frame * channels + channel
            if channels_first != 0:
                store_channel(picture, code, table[channel], number * pixels, 1)
            else:
                store_channel(picture, code, table[channel], number, history * channels)


@njit
def store_picture(frames, row, lens, last):
    """Writes the picture of a row as the caller gets it.

    Args:
        frames: `Frames` of the view.
        row: Of the view.
        lens: `Lens` of the view.
        last: Whether it is the last of an episode; only where these are handed out.
    """
    first = lens.first
    if last:
        if frames.final_picture.shape[0] > 0:
            store_bytes(frames.final_picture[row], frames, row, first)
        elif frames.final_number.shape[0] > 0:
            store_frames(frames.final_number[row], frames, row, frames.shade, first)
    elif frames.picture.shape[0] > 0:
        store_bytes(frames.picture[row], frames, row, first)
    else:
        store_frames(frames.number[row], frames, row, frames.shade, first)


@inline
def store_bytes(picture, frames, row, channels_first):
    """Writes a picture of whole numbers."""
    plain = channels_first == 0 and frames.code.shape[1] == 1
    if plain and frames.tint.shape[0] == RGB:
        store_rgb(picture, frames.code[row, 0], frames.word)
    else:
        store_frames(picture, frames, row, frames.tint, channels_first)
