"""Values that no setting was made for, and ways to change what JSON and files hold."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator

# fmt: off
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 7, 12, 64, 100, 255, 10_000, 2**31 - 1, 2**31, 2**63, 2**64, -(2**70), 10**400,
    0.0, -0.0, 0.5, 1.0, 2.5, 1e-12, 1e-45, 1e6, 1e30, 1e308, -1e30, float("nan"), float("inf"),
    float("-inf"), True, False, 1j,
)
TEXTS: tuple[Any, ...] = (
    "", " ", "a", "None", "1", "nan", "inf", "lean", "full", "idm", "riverside", "eval", "cpu",
    "terminate", "stop", "ignore", "SameStep", "../x", "/", ".", "~", "\0", "a\0b", "x" * 5000,
    "道路", "\ud800", "\n", "%s", "{0}", "__class__", "no/such.xodr", "typed", "cuda:99", "torch",
    "random", "new_route",
)
OTHERS: tuple[Any, ...] = (
    None, (), [], {}, set(), b"", b"\xff", [None], [None, 3], [[]], [1, 2], [2, 1], (3.0, 4.0),
    {"a": 1}, {None: 1}, {"car": 1.0}, {"car": -1}, {"collision": 2.0}, {"collision": [1, 2, 3]},
    {"agents": 3}, {"agents": 1.5}, {1: 2}, {"goals": "x"}, object, len, ..., slice(3), range(3),
    range(0), Exception("x"), Path("a"), Path("\0"), memoryview(b"ab"), np.array(3),
    np.array([1.0, np.nan]), np.array(["a"]), np.zeros((2, 2)), np.zeros(0), np.float32(0.5),
    np.int64(3), np.bool_(True), np.str_("lean"), np.datetime64("nat"),
    np.array([None, 1], dtype=object),
)
# fmt: on


def odd(random: Random, depth: int = 0) -> Any:
    """Returns a value of any type, now and then in lists and tables."""
    kind = random.random()
    if kind < 0.35:
        return NUMBERS[random.integers(len(NUMBERS))]
    if kind < 0.55:
        return TEXTS[random.integers(len(TEXTS))]
    if kind < 0.85 or depth > 2:
        value = OTHERS[random.integers(len(OTHERS))]
        return copy.copy(value) if isinstance(value, list | dict | set) else value
    values = [odd(random, depth + 1) for _ in range(random.integers(0, 4))]
    if kind < 0.9:
        return values
    if kind < 0.95:
        return tuple(values)
    return {str(odd(random, 9))[:20]: value for value in values}


def odd_json(random: Random, depth: int = 0) -> Any:
    """Returns a value of those that JSON holds."""
    kind = random.random()
    if kind < 0.4:
        return NUMBERS[random.integers(len(NUMBERS) - 1)]
    if kind < 0.6:
        text = TEXTS[random.integers(len(TEXTS))]
        return text.encode(errors="replace").decode()
    if kind < 0.7 or depth > 2:
        return None
    values = [odd_json(random, depth + 1) for _ in range(random.integers(0, 4))]
    if kind < 0.85:
        return values
    return {str(odd_json(random, 9))[:20]: value for value in values}


def changed_json(table: Any, random: Random) -> Any:
    """Returns a copy of what JSON holds with some of its values changed, dropped or added."""
    table = copy.deepcopy(table)
    for _ in range(random.integers(1, 4)):
        places = list(_places(table))
        if not places:
            return odd_json(random)
        holder, key = places[random.integers(len(places))]
        kind = random.random()
        if kind < 0.15:
            del holder[key]
        elif kind < 0.25 and isinstance(holder, dict):
            holder[str(odd_json(random, 9))[:20]] = odd_json(random)
        elif kind < 0.4 and type(holder[key]) in (int, float):
            holder[key] = holder[key] * int(random.integers(-2, 4)) + int(random.integers(-2, 3))
        else:
            holder[key] = odd_json(random)
    return table if random.random() < 0.97 else odd_json(random)


def _places(value: Any) -> Any:
    """Yields every table or list within a value, with each key or index of it."""
    if isinstance(value, dict):
        keys: Any = list(value)
    else:
        keys = range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def changed_bytes(content: bytes, random: Random) -> bytes:
    """Returns bytes with some changed, put in, or cut off."""
    out = bytearray(content)
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(len(out) + 1))
        kind = random.random()
        if kind < 0.4 and at < len(out):
            out[at] = int(random.integers(256))
        elif kind < 0.6:
            out[at:at] = random.bytes(int(random.integers(1, 40)))
        elif kind < 0.8:
            del out[at : at + int(random.integers(1, 200))]
        else:
            del out[at:]
    return bytes(out)


def log_number(random: Random, low: float, high: float) -> float:
    """Returns a number from a range, as likely of each order of magnitude as of another."""
    kind = random.random()
    if kind < 0.2:
        return float(low)
    if kind < 0.4:
        return float(high)
    if kind < 0.7:
        return float(random.uniform(low, high))
    value = float(np.exp(random.uniform(np.log(1e-9), np.log(max(abs(low), abs(high), 1.0)))))
    return float(np.clip(value * random.choice([-1.0, 1.0]), low, high))


def check_named(error: Exception, words: Any) -> None:
    """Fails where the message of an error has none of some words."""
    text = str(error)
    assert any(word.lower() in text.lower() for word in words), (
        f"{type(error).__name__} names neither setting nor file: {text}"
    )
