"""Changes XML at random: its elements, its attributes, and the bytes it is written in."""

from __future__ import annotations

import gzip
import lzma
from xml.etree import ElementTree as ET

import numpy as np

Random = np.random.Generator

NUMBERS = (
    *("0", "-0", "1", "-1", "0.5", "1e-9", "-1e-9", "1e-4", "-1e-4", "1e-300", "1e3", "1e6", "1e9"),
    *("-1e6", "1e12", "1e13", "1e300", "-1e300", "1e400", "nan", "inf", "-inf", "2147483648"),
    *("-2147483649", "9" * 30, "0x10", "1_0", "1,5", "٣", "1e", "", " ", "\t7\n", "true", "one"),
)
"""Values that numbers are exchanged for."""

TEXTS = (
    *("", " ", "-1", "end", "start", "road", "junction", "+", "-", "none", "driving", "both"),
    *("bidirectional", "crosswalk", "StopLine", "274", "206", "205", "306", "1000001", "R1-1"),
    *(
        "no limit",
        "undefined",
        "yes",
        "km/h",
        "deny",
        "allow",
        "bus",
        "x" * 5000,
        "道路",
        "\u202e",
        "{}",
    ),
)
"""Values that other attributes are exchanged for."""

ENCODINGS = (
    "utf-8",
    "utf-16",
    "gbk",
    "shift_jis",
    "latin-1",
    "utf-32",
    "utf-7",
    "rot13",
    "nonesuch",
)


def changed(text: str, random: Random) -> str:
    """Returns a document with some of its elements and attributes changed.

    Args:
        text: The document.
        random: Says what is changed.
    """
    root = ET.fromstring(text)
    for _ in range(int(random.integers(1, 7))):
        parents = [(parent, child) for parent in root.iter() for child in parent]
        if not parents:
            break
        parent, child = parents[int(random.integers(len(parents)))]
        change = CHANGES[int(random.integers(len(CHANGES)))]
        change(parent, child, parents, random)
    return ET.tostring(root, encoding="unicode")


def as_bytes(text: str, random: Random, ending: str = ".xodr") -> tuple[bytes, str]:
    """Returns a document as the content of a file, now and then damaged, and the file's ending.

    Args:
        text: The document, without an XML declaration.
        random: Says what becomes of it.
        ending: Of such files, unpacked.
    """
    encoding = "utf-8" if random.random() < 0.85 else str(random.choice(ENCODINGS))
    declared = encoding if random.random() < 0.9 else str(random.choice(ENCODINGS))
    head = f'<?xml version="1.0" encoding="{declared}"?>' if random.random() < 0.9 else ""
    try:
        content = (head + text).encode(encoding, errors="replace")
    except (LookupError, UnicodeError):
        content = (head + text).encode()
    if random.random() < 0.15:
        content = damaged(content, random)
    packing = random.random()
    if packing < 0.9:
        return content, ending
    suffix = f"{ending}.gz" if packing < 0.95 else f"{ending}.xz"
    packed = (
        gzip.compress(content, 1) if suffix.endswith("gz") else lzma.compress(content, preset=0)
    )
    return (damaged(packed, random) if random.random() < 0.3 else packed), suffix


def damaged(content: bytes, random: Random) -> bytes:
    """Returns bytes with some changed, put in, or cut off."""
    out = bytearray(content)
    for _ in range(int(random.integers(0, 5))):
        at = int(random.integers(len(out))) if out else 0
        kind = random.random()
        if kind < 0.5 and out:
            out[at] = int(random.integers(256))
        elif kind < 0.75:
            out[at:at] = random.bytes(int(random.integers(1, 40)))
        else:
            del out[at : at + int(random.integers(1, 200))]
    if random.random() < 0.4:
        del out[int(random.integers(len(out) + 1)) :]
    return bytes(out)


Pairs = list[tuple[ET.Element, ET.Element]]


def _other(pairs: Pairs, random: Random) -> ET.Element:
    return pairs[int(random.integers(len(pairs)))][1]


def _drop(parent: ET.Element, child: ET.Element, _: Pairs, random: Random) -> None:
    parent.remove(child)


def _repeat(parent: ET.Element, child: ET.Element, _: Pairs, random: Random) -> None:
    for _i in range(int(2 ** random.uniform(0.0, 7.0))):
        parent.append(_copied(child))


def _copied(element: ET.Element) -> ET.Element:
    return ET.fromstring(ET.tostring(element))


def _move(parent: ET.Element, child: ET.Element, pairs: Pairs, random: Random) -> None:
    other = _other(pairs, random)
    if child not in other.iter() and other not in child.iter():
        parent.remove(child)
        other.insert(int(random.integers(len(other) + 1)), child)


def _shuffle(parent: ET.Element, child: ET.Element, _: Pairs, random: Random) -> None:
    children = list(parent)
    parent[:] = [children[i] for i in random.permutation(len(children))]


def _rename(parent: ET.Element, child: ET.Element, pairs: Pairs, random: Random) -> None:
    child.tag = _other(pairs, random).tag if random.random() < 0.8 else "unknown"


def _nest(parent: ET.Element, child: ET.Element, _: Pairs, random: Random) -> None:
    for _i in range(int(2 ** random.uniform(0.0, 8.0))):
        child = ET.SubElement(child, child.tag)


def _alter(parent: ET.Element, child: ET.Element, pairs: Pairs, random: Random) -> None:
    """Changes an attribute: to an extreme, to that of another element, by a factor, or to none.

    Of an element without attributes it is the text.
    """
    if not child.attrib:
        if child.text:
            child.text = _changed_value(child.text, _other(pairs, random).text or "", random)
        return
    name = str(random.choice(list(child.attrib)))
    value = child.attrib[name]
    other = _other(pairs, random).attrib.get(name, value)
    found = _changed_value(value, other, random)
    if found is None:
        del child.attrib[name]
    else:
        child.attrib[name] = found


def _changed_value(value: str, other: str, random: Random) -> str | None:
    """Returns another value, None for none."""
    kind = random.random()
    try:
        number = float(value)
    except ValueError:
        number = None
    if kind < 0.1:
        return None
    if kind < 0.25:
        return other
    if number is None or kind < 0.3:
        return str(random.choice(TEXTS))
    if kind < 0.6:
        return str(random.choice(NUMBERS))
    if kind < 0.8 and abs(number) < 1e6 and number == int(number):
        return str(int(number) + int(random.integers(-3, 4)))
    factor = random.choice([-1.0, 0.0, 0.01, 0.5, 0.999999, 1.000001, 2.0, 10.0, 1000.0])
    return repr(number * float(factor))


def _add(parent: ET.Element, child: ET.Element, pairs: Pairs, random: Random) -> None:
    """Gives an element the attributes of another one, or many of no meaning."""
    if random.random() < 0.8:
        child.attrib.update(_other(pairs, random).attrib)
    else:
        child.attrib.update({f"a{i}": "1" for i in range(int(2 ** random.uniform(0.0, 10.0)))})


CHANGES = (_drop, _repeat, _move, _shuffle, _rename, _nest, _add, *(_alter,) * 8)
