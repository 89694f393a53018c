"""Reads the XML of a map file incrementally into light elements, one child of the root at a time.

Only elements that a reader asks for are kept. DOCTYPE declarations are refused, so that no entity
is ever expanded; sizes, depths and counts are bounded, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import codecs
import gzip
import lzma
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from selfdrive_env.maps.road_network import MapError

__all__ = ["Element", "Schema", "read_elements"]

MAX_BYTES = 1 << 29
"""Longest document after decompression; an OpenDRIVE town of 660 km of lanes has a tenth of it."""

MAX_DEPTH = 64
"""Deepest nesting of elements; the formats read here need 9."""

MAX_ELEMENTS = 3_000_000
"""Most elements of a document, those that are not kept included; that town has 0.65 million."""

MAX_KEPT = 50_000
"""Most elements kept of one child of the root; that town has 1,100."""

MAX_ATTRIBUTES = 256
"""Most attributes of an element; the formats read here need 17."""

MAX_TOKEN = 1 << 24
"""Longest tag with its attributes, or comment [bytes]."""

MAX_TEXT = 1 << 16
"""Longest text kept of one element."""

MAX_NUMBER = 1e12
"""Largest absolute value of any number; keeps cubics from overflowing."""

MAX_NAMES, MAX_NAME = 100, 40
"""Most names of elements that are not kept, and the longest, that are told of."""

CHUNK = 1 << 20

DECLARATION = 200
"""Longest XML declaration that is looked at for an encoding [bytes]."""

DECLARED = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*encoding\s*=\s*[\"']([A-Za-z0-9._:-]+)")

MULTIBYTE = frozenset(
    (
        *("utf-8", "utf-8-sig", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "cp950"),
        *("shift_jis", "cp932", "euc_jp", "euc_kr", "cp949", "johab"),
    )
)
"""Encodings in which ASCII is ASCII, by their names in Python."""

KEPT_BYTES = "selfdrive_env.keep_bytes"
"""Name of the way to decode what cannot be decoded."""

KNOWN_ROOTS = {
    "OpenDRIVE": "an OpenDRIVE map",
    "OpenSCENARIO": "an OpenSCENARIO scenario",
    "net": "a SUMO network",
    "routes": "a SUMO route file",
    "additional": "a SUMO additional file",
    "configuration": "a SUMO configuration",
    "nodes": "nodes that netconvert makes a SUMO network of",
    "edges": "edges that netconvert makes a SUMO network of",
    "osm": "an OpenStreetMap or Lanelet2 file",
    "commonRoad": "a CommonRoad scenario",
    "CommonRoadSolution": "a CommonRoad solution",
    "CityGML": "a CityGML model",
    "kml": "a KML file",
    "gpx": "a GPX track",
}
"""What a file is whose root element has that name."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What of a format is read."""

    format: str
    """Its name for a sentence, as in "an OpenDRIVE file"."""

    root: str
    """Name of the root element, without a namespace."""

    suffixes: tuple[str, ...]
    """Endings of file names; .gz and .xz are decompressed."""

    kept: Callable[[str, dict[str, str]], bool]
    """Whether an element of that name and attributes is kept; its children are only then."""

    texts: frozenset[str] = frozenset()
    """Elements whose text is kept in `Element.content`."""

    with_root: bool = False
    """Whether the root element comes first of all, with its attributes and without children."""


class Element:
    """An XML element: tag, attributes, children, text and the line it starts in."""

    __slots__ = ("attributes", "children", "content", "line", "source", "tag")

    def __init__(self, tag: str, attributes: dict[str, str], line: int, source: str) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.content = ""
        self.line = line
        self.source = source

    def all(self, tag: str) -> list[Element]:
        """Returns the children with this tag."""
        return [child for child in self.children if child.tag == tag]

    def child(self, tag: str) -> Element | None:
        """Returns the first child with this tag, or None."""
        return next((child for child in self.children if child.tag == tag), None)

    def inside(self, *tags: str) -> list[Element]:
        """Returns the elements at the end of a path of tags, as in `inside("planView", "arc")`."""
        found = [self]
        for tag in tags:
            found = [child for element in found for child in element.children if child.tag == tag]
        return found

    def text(self, name: str, default: str = "") -> str:
        """Returns an attribute, without surrounding blanks."""
        return self.attributes.get(name, default).strip()

    def number(self, name: str, default: float | None = None) -> float:
        """Returns an attribute as a finite number.

        Args:
            name: Of the attribute.
            default: For an absent or empty attribute; None makes the attribute mandatory.

        Returns:
            The value in the unit of the file.
        """
        value = self.attributes.get(name)
        if value is None or (not value.strip() and default is not None):
            if default is None:
                raise self.error(f"attribute {name} is missing; a finite number is needed")
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"{name}={value[:40]!r} is not a finite number")
        if abs(number) > MAX_NUMBER:
            raise self.error(f"{name}={value[:40]!r} is beyond {MAX_NUMBER:g}")
        return number

    def integer(self, name: str) -> int:
        """Returns an attribute as an integer, such as a lane id."""
        value = self.text(name)
        if not value:
            raise self.error(f"attribute {name} is missing; an integer is needed")
        try:
            return int(value)
        except ValueError:
            raise self.error(f"{name}={value[:40]!r} is not an integer") from None

    def error(self, message: str) -> MapError:
        """Returns an error that names the file, the line and this element."""
        return MapError(f"{self.source}, line {self.line}: <{self.tag}> {message}")


def read_elements(
    path: str | Path, schema: Schema, skipped: Counter[str] | None = None
) -> Iterator[Element]:
    """Yields the children of the root element of a file, each complete with its children.

    Args:
        path: Ends in one of the suffixes of the schema.
        schema: What is kept.
        skipped: Receives the names of elements that are not, and how many there are; those within
            them are not counted.

    Yields:
        The root element itself if the schema asks for it, then those that are kept, in the order
        of the file.

    Raises:
        MapError: The file is damaged, of another kind, or beyond the limits of this module.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    if not path.name.lower().endswith(schema.suffixes):
        raise MapError(
            f"{path}: not the name of {schema.format}; allowed endings: "
            f"{', '.join(schema.suffixes)}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such map file")
    builder = _Builder(path.name, schema, Counter() if skipped is None else skipped)
    total = 0
    try:
        with _opened(path) as file:
            while chunk := file.read(CHUNK):
                total += len(chunk)
                if total > MAX_BYTES:
                    raise MapError(f"{path.name}: more than {MAX_BYTES} bytes when decompressed")
                builder.feed(chunk)
                yield from builder.take()
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise MapError(f"{path.name}: damaged or truncated archive ({error})") from None
    builder.finish()
    yield from builder.take()


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Opens a plain, gzip or xz file for reading bytes."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")
    if path.suffix.lower() == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def _decoder(head: bytes) -> codecs.IncrementalDecoder | None:
    """Returns what decodes a file that begins so, None where the parser does it itself.

    The parser knows no encoding of several bytes but those of Unicode. Text that is no UTF-8 though
    it has to be is taken as it is: names with other bytes stay apart from each other.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head[:4]:
        return None
    found = DECLARED.match(head[:DECLARATION])
    name = found[1].decode("ascii").lower() if found else "utf-8"
    try:
        name = codecs.lookup(name).name
    except LookupError:
        return None
    if name not in MULTIBYTE:
        return None
    return codecs.getincrementaldecoder(name)(KEPT_BYTES)


def _keep_byte(error: UnicodeError) -> tuple[str, int]:
    """Stands a character for private use for a byte that cannot be decoded."""
    assert isinstance(error, UnicodeDecodeError)
    return chr(0xF700 + error.object[error.start]), error.start + 1


codecs.register_error(KEPT_BYTES, _keep_byte)


class _Builder:
    """Turns parser events into elements; complete children of the root wait in `ready`."""

    def __init__(self, source: str, schema: Schema, names: Counter[str]) -> None:
        self.source = source
        self.schema = schema
        self.names = names
        self.ready: list[Element] = []
        self.stack: list[Element] = []
        self.skipped = 0
        self.elements = self.kept = self.fed = 0
        self.rooted = False
        self.decoder: codecs.IncrementalDecoder | None = None
        self.parser = expat.ParserCreate()
        self.listen()

    def listen(self) -> None:
        """Has the parser tell of elements and declarations."""
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        if self.schema.texts:
            self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.EntityDeclHandler = self.refuse

    def feed(self, chunk: bytes, last: bool = False) -> None:
        """Parses one more piece of the file."""
        if not self.fed:
            self.decoder = _decoder(chunk)
            if self.decoder is not None:
                self.parser = expat.ParserCreate("utf-8")
                self.listen()
        try:
            if self.decoder is not None:
                chunk = self.decoder.decode(chunk, last).encode()
            self.fed += len(chunk)
            self.parser.Parse(chunk, last)
        except expat.ExpatError as error:
            message = expat.ErrorString(error.code)
            raise MapError(
                f"{self.source}, line {error.lineno}: not well-formed or truncated XML ({message})"
            ) from None
        except (LookupError, ValueError) as error:
            if isinstance(error, MapError):
                raise
            raise MapError(f"{self.source}: unusable text encoding ({error})") from None
        # What the parser has not told yet lies in its buffer.
        if self.fed - self.parser.CurrentByteIndex > MAX_TOKEN:
            raise self.error(f"a tag or comment is longer than {MAX_TOKEN >> 20} MiB")

    def finish(self) -> None:
        """Ends the document."""
        self.feed(b"", True)

    def take(self) -> list[Element]:
        """Returns the elements that became complete."""
        ready, self.ready = self.ready, []
        return ready

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handles an opening tag."""
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise self.error(f"the file has more than {MAX_ELEMENTS} elements")
        if len(self.stack) + self.skipped >= MAX_DEPTH:
            raise self.error(f"<{tag[:40]}> is nested more than {MAX_DEPTH} deep")
        if len(attributes) > MAX_ATTRIBUTES:
            raise self.error(
                f"<{tag[:40]}> has {len(attributes)} attributes; at most {MAX_ATTRIBUTES} are "
                "allowed"
            )
        if self.skipped:
            self.skipped += 1
            return
        if not self.rooted:
            name = tag.rpartition(":")[2]
            if name != self.schema.root:
                known = f", as of {KNOWN_ROOTS[name]}" if name in KNOWN_ROOTS else ""
                raise self.error(
                    f"the root element is <{tag[:40]}>{known}; only <{self.schema.root}> is "
                    f"allowed in {self.schema.format}"
                )
            self.rooted = True
            if self.schema.with_root:
                line = self.parser.CurrentLineNumber
                self.ready.append(Element(name, attributes, line, self.source))
            return
        if not self.schema.kept(tag, attributes):
            self.skipped = 1
            name = tag[:MAX_NAME]
            if name in self.names or len(self.names) < MAX_NAMES:
                self.names[name] += 1
            return
        element = Element(tag, attributes, self.parser.CurrentLineNumber, self.source)
        if self.stack:
            self.kept += 1
            if self.kept > MAX_KEPT:
                raise self.stack[0].error(f"has more than {MAX_KEPT} elements")
            self.stack[-1].children.append(element)
        else:
            self.kept = 0
        self.stack.append(element)

    def end(self, tag: str) -> None:
        """Handles a closing tag."""
        if self.skipped:
            self.skipped -= 1
            return
        if not self.stack:
            return
        element = self.stack.pop()
        if not self.stack:
            self.ready.append(element)

    def text(self, data: str) -> None:
        """Handles text between tags."""
        if self.skipped or not self.stack or self.stack[-1].tag not in self.schema.texts:
            return
        element = self.stack[-1]
        element.content += data
        if len(element.content) > MAX_TEXT:
            raise element.error(f"has more than {MAX_TEXT} characters of text")

    def refuse(self, *_: Any) -> None:
        """Handles a DOCTYPE or entity declaration."""
        raise self.error("document type and entity declarations are not allowed")

    def error(self, message: str) -> MapError:
        """Returns an error that names the file and the line."""
        return MapError(f"{self.source}, line {self.parser.CurrentLineNumber}: {message}")
