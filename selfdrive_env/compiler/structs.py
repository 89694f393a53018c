"""Structs by address: a kernel gets one pointer a struct, whatever the number of its arrays.

Numba passes a named tuple by value: about nine machine words an array, copied at each call that is
not inlined and again at each level of the compiler. Here a struct lies in memory as a table of data
pointers and shapes (`Table`), `struct_at` turns its address into a value whose fields read like the
named tuple's, and the loads are marked as invariant, so that the compiler keeps them in registers.
A field may be a struct itself, whose table is then a part of this one. Arrays of a table are
C-contiguous, or columns of a record whose rows are that far apart, and outlive it; nothing here
counts references.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, get_type_hints

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.extending import intrinsic, lower_getattr, lower_getattr_generic, register_model
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.np import arrayobj, numpy_support
from numba.np.arrayobj import make_array, populate_array

from selfdrive_env.compiler.threads import SIMULATED, on_cpu
from selfdrive_env.state.arrays import I64, axes, strides_of

__all__ = ["Leaf", "Nested", "Table", "array_of", "simulate", "struct_at", "table_fields"]

MAX_AXES = 4
SLOT = 1 + MAX_AXES  # words a field: data pointer, then the shape


class Table:
    """Data pointers and shapes of the arrays of one struct, as compiled code reads them."""

    def __init__(self, struct: Any, words: I64 | None = None) -> None:
        """Fills the table, and those of the structs in it.

        Args:
            struct: A named tuple of C-contiguous arrays, of scalars and of such named tuples.
            words: Where the table lies, None for memory of its own.
        """
        kind: Any = type(struct)
        self._kind = kind
        self._fields = table_fields(kind)
        self._kept: dict[str, Any] = {}
        self._first = table_places(kind)
        self.words: I64 = np.zeros(table_size(kind), np.int64) if words is None else words
        for name, value in struct._asdict().items():
            field = self._fields[name]
            if isinstance(field, Nested):
                first = self._first[name]
                part = self.words[first : first + table_size(field.struct)]
                self._kept[name] = Table(value, part)
            else:
                self.point(name, value)
        if SIMULATED:
            _simulated[self.address] = self

    def __getitem__(self, name: str) -> Table:
        """Returns the table of a field that is a struct."""
        table = self._kept[name]
        assert isinstance(table, Table)
        return table

    def point(self, name: str, value: Any) -> None:
        """Lets a field point to an array.

        Args:
            name: Of the field.
            value: The array, or the value of a scalar.

        Raises:
            ValueError: If the array is not what the struct declares, or not C-contiguous.
        """
        field = self._fields[name]
        assert isinstance(field, Leaf)
        array = value if field.is_array else np.array([value], field.dtype)
        axes_wanted = field.ndim if field.is_array else 1
        if array.dtype != field.dtype or array.ndim != axes_wanted:
            raise ValueError(
                f"{name} must be {field.dtype} with {axes_wanted} axes, got {array.dtype} with "
                f"{array.ndim}"
            )
        if not field.fits(array):
            raise ValueError(
                f"{name} must be C-contiguous" + (f" in rows of {field.row}" if field.row else "")
            )
        first = self._first[name]
        self._kept[name] = array
        self.words[first] = array.ctypes.data
        self.words[first + 1 : first + 1 + array.ndim] = array.shape

    @property
    def address(self) -> int:
        """Where the table lies."""
        return int(self.words.ctypes.data)

    @property
    def struct(self) -> Any:
        """The named tuple that the table stands for, scalars as compiled code has them."""
        values = {}
        for name, field in self._fields.items():
            kept = self._kept[name]
            if isinstance(field, Nested):
                values[name] = kept.struct
            else:
                values[name] = kept if field.is_array else kept[0]
        return self._kind(**values)


class Leaf(NamedTuple):
    """A field that is an array or a scalar."""

    element: Any
    """Numba's type of an entry."""

    ndim: int
    """Number of axes, -1 for a scalar."""

    row: int = 0
    """Entries from one row to the next where the field lies in a record, else 0."""

    @property
    def is_array(self) -> bool:
        """Whether it is no scalar."""
        return self.ndim >= 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of an entry."""
        return _dtype(self.element)

    def fits(self, array: Any) -> bool:
        """Whether entries of an array lie where kernels look for them."""
        if not self.row:
            return bool(array.flags.c_contiguous)
        return bool(array[:1].flags.c_contiguous) and (
            len(array) < 2 or array.strides[0] == self.row * array.itemsize
        )

    def words(self, address: int, shape: Sequence[int]) -> list[int]:
        """Returns the words of a field whose data lies at an address."""
        return [address, *shape, *[0] * (MAX_AXES - len(shape))]

    def bits(self, value: Any) -> int:
        """Returns a scalar as the word that holds it."""
        word = np.zeros(8 // self.dtype.itemsize, self.dtype)
        word[0] = value
        return int(word.view(np.int64)[0])


_dtype: Any = functools.cache(numpy_support.as_dtype)
"""Which steps ask for again and again, and Numba finds anew each time."""


class Nested(NamedTuple):
    """A field that is a struct."""

    struct: Any


@functools.cache
def table_fields(struct: Any) -> dict[str, Leaf | Nested]:
    """Returns the fields of a struct in the order of its table."""
    arrays, rows = axes(struct), strides_of(struct)
    out: dict[str, Leaf | Nested] = {}
    for name, hint in get_type_hints(struct).items():
        if name in arrays:
            names, element = arrays[name]
            out[name] = Leaf(numpy_support.from_dtype(element), len(names), rows.get(name, 0))
        elif isinstance(hint, type) and issubclass(hint, tuple):
            out[name] = Nested(hint)
        else:
            out[name] = Leaf(types.float32 if hint is np.float32 else types.int64, -1)
    return out


@functools.cache
def table_places(struct: Any) -> dict[str, int]:
    """Returns the first word of each field in the table of a struct."""
    places, place = {}, 0
    for name, field in table_fields(struct).items():
        places[name] = place
        place += table_size(field.struct) if isinstance(field, Nested) else SLOT
    return places


def table_size(struct: Any) -> int:
    """Returns the number of words in the table of a struct."""
    fields = table_fields(struct).values()
    return sum(table_size(f.struct) if isinstance(f, Nested) else SLOT for f in fields)


def simulate(address: int, struct: NamedTuple) -> None:
    """Lets `struct_at` find a struct in Numba's CUDA simulator, scalars as compiled code has them.

    Args:
        address: Of its table.
        struct: Its arrays.
    """
    _simulated[address] = struct


class StructPointer(types.Type):
    """Numba type of a struct that is given by the address of its table."""

    def __init__(self, struct: type[Any]) -> None:
        self.struct: Any = struct
        super().__init__(name=f"StructPointer({struct.__name__})")


class FieldArray(types.Array):
    """Numba type of an array that is a field: the address of its words in the table.

    What an access needs is loaded there and then. Numba allows for negative indices; kernels have
    none.
    """

    def __init__(self, leaf: Leaf) -> None:
        self.row = leaf.row
        name = f"FieldArray({leaf.element}, {leaf.ndim}, {leaf.row})"
        super().__init__(leaf.element, leaf.ndim, "C", name=name)

    @property
    def key(self) -> Any:
        """What tells such types apart."""
        return (*super().key, self.row)


@register_model(FieldArray)
class _FieldArrayModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64).as_pointer())


def _word(builder: Any, field: Any, number: int) -> Any:
    """Loads the data pointer of a field (0) or its length along an axis (1 + axis)."""
    return _load(builder, cgutils.gep_inbounds(builder, field, number))


def _data(context: Any, builder: Any, field: Any, element: Any) -> Any:
    """Returns a pointer to the first entry of a field; CUDA is told that it is global memory."""
    return _pointer(context, builder, _word(builder, field, 0), context.get_data_type(element))


def _pointer(context: Any, builder: Any, address: Any, kind: Any) -> Any:
    """Returns the pointer to a value of some kind that is an address; likewise."""
    if on_cpu(context):
        return builder.inttoptr(address, kind.as_pointer())
    return builder.addrspacecast(builder.inttoptr(address, kind.as_pointer(1)), kind.as_pointer())


def array_of(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Returns the array struct, as Numba's own code takes it, of a value of type `kind`."""
    if not isinstance(kind, FieldArray):
        return make_array(kind)(context, builder, value)
    array = make_array(_plain(kind))(context, builder)
    data = _data(context, builder, value, kind.dtype)
    lengths = [_word(builder, value, 1 + axis) for axis in range(kind.ndim)]
    size = context.get_constant(types.intp, context.get_abi_sizeof(data.type.pointee))
    strides = [size]
    for length in reversed(lengths[1:]):
        strides.insert(0, builder.mul(length, strides[0]))
    if kind.row:
        strides[0] = builder.mul(size, context.get_constant(types.intp, kind.row))
    populate_array(array, data, lengths, strides, size, None)
    return array


def _plain(kind: Any) -> Any:
    """Returns Numba's own type of an array."""
    return types.Array(kind.dtype, kind.ndim, "A" if kind.row else "C")


def _entry(context: Any, builder: Any, kind: Any, value: Any, indices: Any, words: Any) -> Any:
    """Returns a pointer to one entry of a field."""
    place = None
    for axis, (index, word) in enumerate(zip(indices, words, strict=True)):
        index = context.cast(builder, index, word, types.intp)
        if place is not None:
            length = _word(builder, value, 1 + axis)
            if axis == 1 and kind.row:
                length = context.get_constant(types.intp, kind.row)
            index = builder.add(builder.mul(place, length), index)
        place = index
    if kind.ndim == 1 and kind.row:
        place = builder.mul(place, context.get_constant(types.intp, kind.row))
    data = _data(context, builder, value, kind.dtype)
    return builder.gep(data, [place], inbounds=True)


def _indices(builder: Any, kind: Any, value: Any) -> tuple[list[Any], list[Any]]:
    """Returns values and types of an index, which is one integer or a tuple."""
    several = isinstance(kind, types.BaseTuple)
    if several:
        return cgutils.unpack_tuple(builder, value, count=len(kind)), list(kind)
    return [value], [kind]


def _is_entry(array: Any, index: Any) -> bool:
    """Whether an index names a single entry."""
    several = isinstance(index, types.BaseTuple)
    kinds = list(index) if several else [index]
    return len(kinds) == array.ndim and all(isinstance(kind, types.Integer) for kind in kinds)


@lower_builtin(operator.getitem, FieldArray, types.Integer)
@lower_builtin(operator.getitem, FieldArray, types.BaseTuple)
def _get_entry(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, index = signature.args
    if not _is_entry(array, index):
        general = (
            arrayobj.getitem_array_tuple
            if isinstance(index, types.BaseTuple)
            else arrayobj.getitem_arraynd_intp
        )
        plain = array_of(context, builder, array, arguments[0])._getvalue()
        signature = signature.replace(args=(_plain(array), index))
        return general(context, builder, signature, (plain, arguments[1]))
    place = _entry(context, builder, array, arguments[0], *_indices(builder, index, arguments[1]))
    return context.unpack_value(builder, array.dtype, place)


@lower_builtin(operator.setitem, FieldArray, types.Integer, types.Any)
@lower_builtin(operator.setitem, FieldArray, types.BaseTuple, types.Any)
def _set_entry(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, index, kind = signature.args
    if not _is_entry(array, index):
        plain = array_of(context, builder, array, arguments[0])._getvalue()
        signature = signature.replace(args=(_plain(array), index, kind))
        return arrayobj.setitem_array(context, builder, signature, (plain, *arguments[1:]))
    place = _entry(context, builder, array, arguments[0], *_indices(builder, index, arguments[1]))
    value = context.cast(builder, arguments[2], kind, array.dtype)
    context.pack_value(builder, array.dtype, value, place)
    return context.get_dummy_value()


@lower_getattr(FieldArray, "shape")
def _get_shape(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return cgutils.pack_array(
        builder, [_word(builder, value, 1 + axis) for axis in range(kind.ndim)]
    )


@lower_builtin(len, FieldArray)
def _get_length(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return _word(builder, arguments[0], 1)


@register_model(StructPointer)
class _StructPointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64).as_pointer())


@infer_getattr
class _StructPointerFields(AttributeTemplate):
    key = StructPointer

    def generic_resolve(self, kind: Any, name: str) -> Any:  # type: ignore[override]
        field = table_fields(kind.struct).get(name)
        if field is None:
            return None
        if isinstance(field, Nested):
            return StructPointer(field.struct)
        return FieldArray(field) if field.is_array else field.element


def _load(builder: Any, pointer: Any) -> Any:
    """Loads a word that does not change while a kernel runs."""
    value = builder.load(pointer)
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


@lower_getattr_generic(StructPointer)
def _get_field(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    field = table_fields(kind.struct)[name]
    place = cgutils.gep_inbounds(builder, value, table_places(kind.struct)[name])
    if isinstance(field, Nested) or field.is_array:
        return place
    return _load(builder, _data(context, builder, place, field.element))


@intrinsic
def _struct_at(typing_context: Any, struct: Any, address: Any) -> Any:
    pointer = StructPointer(struct.instance_class)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _pointer(context, builder, arguments[1], ir.IntType(64))

    return pointer(struct, types.int64), generate


_simulated: dict[int, Any] = {}
"""Tables, or structs, by address."""


def _simulated_struct_at(struct: Any, address: Any) -> Any:
    """Returns the struct itself, its scalars as compiled code reads them."""
    found = _simulated[int(address)]
    return found.struct if isinstance(found, Table) else found


struct_at: Any = _simulated_struct_at if SIMULATED else _struct_at
"""Returns the struct of a class whose table lies at an address, given (class, address)."""
