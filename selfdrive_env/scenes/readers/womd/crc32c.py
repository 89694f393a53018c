"""CRC-32C (Castagnoli), which TFRecord files guard their records with, in NumPy.

A long message is cut into equal pieces whose remainders are found side by side and joined: a
remainder followed by zeros is a linear function of it, kept as four tables of 256.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["crc32c", "masked"]

POLYNOMIAL = 0x82F63B78
"""With its bits reversed."""

PIECES = 1024
SHORT = 4 * PIECES
"""Shorter messages are done byte by byte."""

FULL = 0xFFFFFFFF
MASK = 0xA282EAD8
"""What TFRecord adds to a checksum that is turned by 15 bits."""


def _table() -> NDArray[np.uint32]:
    out = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        out = np.where(out & 1, (out >> 1) ^ np.uint32(POLYNOMIAL), out >> 1).astype(np.uint32)
    return out


TABLE = _table()
BYTES = TABLE.tolist()


def crc32c(data: bytes | memoryview) -> int:
    """Returns the checksum of bytes."""
    size = len(data) // PIECES if len(data) >= SHORT else 0
    state = FULL
    if size:
        pieces = np.frombuffer(data, np.uint8, size * PIECES).reshape(PIECES, size)
        found = np.zeros(PIECES, np.uint32)
        found[0] = FULL
        for column in np.ascontiguousarray(pieces.T):
            found = TABLE[(found ^ column) & 0xFF] ^ (found >> np.uint32(8))
        tables = _after_zeros(size)
        state = 0
        for one in found.tolist():
            state = (
                tables[0][state & 0xFF]
                ^ tables[1][state >> 8 & 0xFF]
                ^ tables[2][state >> 16 & 0xFF]
                ^ tables[3][state >> 24]
                ^ one
            )
    for byte in bytes(data[size * PIECES :]):
        state = BYTES[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ FULL


def masked(checksum: int) -> int:
    """Returns a checksum as TFRecord writes it."""
    turned = (checksum >> 15 | checksum << 17) & FULL
    return (turned + MASK) & FULL


@functools.lru_cache(maxsize=64)
def _after_zeros(count: int) -> list[list[int]]:
    """Returns tables of what a remainder becomes after so many bytes of 0."""
    # Bit k of a remainder alone, after one zero; then that function applied `count` times.
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    step = TABLE[bits & 0xFF] ^ (bits >> np.uint32(8))
    power = bits
    while count:
        if count & 1:
            power = _applied(step, power)
        step = _applied(step, step)
        count >>= 1
    values = np.arange(256, dtype=np.uint32)
    return [_applied(power, values << np.uint32(8 * place)).tolist() for place in range(4)]


def _applied(function: NDArray[np.uint32], values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Returns a linear function, given by its values of single bits, of each value."""
    out = np.zeros_like(values)
    for bit in range(32):
        chosen = (values >> np.uint32(bit) & np.uint32(1)).astype(bool)
        out ^= np.where(chosen, function[bit], np.uint32(0))
    return out
