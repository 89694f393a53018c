"""Typing operators once: a third of what Numba needs to compile kernels."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from numba import types
from numba.core.targetconfig import ConfigStack

__all__ = ["remembered_signatures"]


class _Signatures:
    """What built-in functions make of numbers and arrays, found once instead of at each place.

    To type `a + b` Numba asks some twenty candidates, each of which compares all options.
    """

    def __init__(self) -> None:
        self._found: dict[Any, Any] = {}
        self._options: dict[int, tuple[Any, int]] = {}  # flags stay alive, so that ids stay theirs

    def find(self, function: Any, context: Any, args: Any, kws: Any) -> Any:
        if kws or not args or not all(_is_plain(kind) for kind in args):
            return types.BaseFunction.get_call_type(function, context, args, kws)
        key = (function, context, tuple(args), self._options_now())
        if key not in self._found:
            found = types.BaseFunction.get_call_type(function, context, args, kws)
            if found is None:
                return None
            self._found[key] = found
        return self._found[key]

    def _options_now(self) -> int:
        flags = ConfigStack.top_or_none()
        if id(flags) not in self._options:
            self._options[id(flags)] = (flags, hash(flags))
        return self._options[id(flags)][1]


def _is_plain(kind: Any) -> bool:
    """Whether a type is that of a number, an array or an index."""
    if isinstance(kind, types.UniTuple | types.Tuple):
        return all(isinstance(part, types.Number) for part in kind.types)
    return isinstance(kind, types.Number | types.Boolean | types.Array)


_CALL_TYPE = "get_call_type"
_compiling = 0
_compiling_lock = threading.Lock()


@contextlib.contextmanager
def remembered_signatures() -> Iterator[None]:
    """Lets Numba's typing use `_Signatures` until the last of its users is done."""
    global _compiling
    with _compiling_lock:
        if _compiling == 0:
            found = _Signatures()
            setattr(types.Function, _CALL_TYPE, lambda *call: found.find(*call))
        _compiling += 1
    try:
        yield
    finally:
        with _compiling_lock:
            _compiling -= 1
            if _compiling == 0:
                delattr(types.Function, _CALL_TYPE)  # the class above has the usual one
