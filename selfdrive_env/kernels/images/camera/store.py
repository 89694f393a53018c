"""From the frames of a camera to its picture: colours as they are, or codes as those from above.

A ring holds three bytes a pixel where pictures are in colour, else one: its brightness or class.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.kernels.images.store import store_picture
from selfdrive_env.state.images import EMPTY

__all__ = ["empty_frames", "keep_codes", "store_frame"]

RED, GREEN, BLUE = 77, 150, 29  # shares of grey, of 256 (ITU-R BT.601)
BRIGHTEST = 254  # the code after it stands for no agent
PER_STEP = np.float32(1.0 / 255.0)  # of the brightest, a step of a channel


@njit
def keep_codes(code, image, owner):
    """Writes one byte a pixel: its class where there are classes, else its brightness."""
    for pixel in range(warp_lane(), code.shape[0], warp_size()):
        if owner.shape[0] > 0:
            code[pixel] = np.uint8(owner[pixel] & 255)
            continue
        total = RED * np.int64(image[3 * pixel]) + GREEN * np.int64(image[3 * pixel + 1])
        total += BLUE * np.int64(image[3 * pixel + 2])
        code[pixel] = np.uint8(min(total >> 8, BRIGHTEST))


@njit
def empty_frames(frames, row):
    """Empties the frames of a row: all channels of its picture are 0."""
    value = EMPTY if frames.word.shape[0] > 0 else 0
    for place in range(frames.code.shape[1]):
        for entry in range(warp_lane(), frames.code.shape[2], warp_size()):
            frames.code[row, place, entry] = value


@inline
def copy_bytes(picture, code, first, stride, per_pixel):
    """Copies a frame: pixel p, channel c to first + stride * p + per_pixel * c."""
    for pixel in range(warp_lane(), code.shape[0] // 3, warp_size()):
        for channel in range(3):
            value = code[3 * pixel + channel]
            picture[first + stride * pixel + per_pixel * channel] = value


@inline
def copy_numbers(picture, code, first, stride, per_pixel):
    """The same as numbers from 0 to 1."""
    for pixel in range(warp_lane(), code.shape[0] // 3, warp_size()):
        for channel in range(3):
            value = np.float32(code[3 * pixel + channel]) * PER_STEP
            picture[first + stride * pixel + per_pixel * channel] = value


@njit
def store_bytes(picture, frames, row, channels_first):
    """Writes a picture of whole numbers, the oldest frame first."""
    history, length = frames.code.shape[1], frames.code.shape[2]
    if history == 1 and channels_first == 0:
        for entry in range(warp_lane(), length, warp_size()):
            picture[entry] = frames.code[row, 0, entry]
        return
    place = np.int64(frames.newest[row])
    for frame in range(history):
        place = place + 1 if place + 1 < history else np.int64(0)
        if channels_first != 0:
            copy_bytes(picture, frames.code[row, place], frame * length, 1, length // 3)
        else:
            copy_bytes(picture, frames.code[row, place], 3 * frame, 3 * history, 1)


@njit
def store_numbers(picture, frames, row, channels_first):
    """Writes a picture of floats, the oldest frame first."""
    history, length = frames.code.shape[1], frames.code.shape[2]
    place = np.int64(frames.newest[row])
    for frame in range(history):
        place = place + 1 if place + 1 < history else np.int64(0)
        if channels_first != 0:
            copy_numbers(picture, frames.code[row, place], frame * length, 1, length // 3)
        else:
            copy_numbers(picture, frames.code[row, place], 3 * frame, 3 * history, 1)


@njit
def store_frame(frames, row, camera, last):
    """Writes the picture of a row as the caller gets it.

    Args:
        frames: `Frames` of the view.
        row: Of the view.
        camera: `Camera` of the view.
        last: Whether it is the last of an episode; only where these are handed out.
    """
    first = np.int64(camera.first)
    if frames.word.shape[0] > 0:
        store_picture(frames, row, camera, last)
    elif last:
        if frames.final_picture.shape[0] > 0:
            store_bytes(frames.final_picture[row], frames, row, first)
        elif frames.final_number.shape[0] > 0:
            store_numbers(frames.final_number[row], frames, row, first)
    elif frames.picture.shape[0] > 0:
        store_bytes(frames.picture[row], frames, row, first)
    else:
        store_numbers(frames.number[row], frames, row, first)
