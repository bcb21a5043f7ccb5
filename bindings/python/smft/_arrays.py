"""_arrays: Python sequences and numpy arrays in and out of C, without copies where there is a numpy array already.

A numpy array of the wrong type or layout is a TypeError, never a silent misreading.  numpy is optional; without it results are
array.array (one dimension) or a list of array.array (two).
"""
from __future__ import annotations

import array
import ctypes
from ctypes import POINTER, c_float, c_int32, c_int64, c_uint32
from typing import Any, Iterable, List, Sequence, Tuple

from .errors import InvalidError, TokenError

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

_CODES = {c_int32: "i", c_uint32: "I", c_int64: "q", c_float: "f"}
_DTYPES = {c_int32: "int32", c_uint32: "uint32", c_int64: "int64", c_float: "float32"}


def is_numpy(value: Any) -> bool:
    return numpy is not None and isinstance(value, numpy.ndarray)


class Borrowed:
    """A C pointer and what keeps its memory alive: `pointer` is good as long as this object lives."""

    def __init__(self, owner: Any, address: int, kind: Any, n: int) -> None:
        self.owner = owner
        self.n = n
        self.pointer = ctypes.cast(address, POINTER(kind)) if n else POINTER(kind)()


def borrow_array(values: "array.array[Any]", kind: Any) -> Borrowed:
    address, n = values.buffer_info()
    return Borrowed(values, address, kind, n)


def _borrow_numpy(values: Any, kind: Any, what: str) -> Borrowed:
    wanted = numpy.dtype(_DTYPES[kind])
    if values.dtype != wanted:
        raise TypeError(f"{what} must be {wanted} where it is a numpy array, got {values.dtype}; convert with .astype('{wanted}')")
    if values.ndim != 1:
        raise TypeError(f"{what} must have one dimension, got shape {values.shape}")
    if not values.flags.c_contiguous:
        raise TypeError(f"{what} must be contiguous in memory; numpy.ascontiguousarray makes it so")
    return Borrowed(values, values.ctypes.data, kind, values.size)


def _integer_numpy(values: Any, what: str) -> Any:
    """Token ids as int32: numpy's own default is int64, whose values are checked one by one on the way."""
    if values.dtype == numpy.int32:
        return values
    if values.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, got a numpy array of {values.dtype}")
    if values.ndim != 1 or not values.flags.c_contiguous:
        raise TypeError(f"{what} must be contiguous and have one dimension, got shape {values.shape}, strides {values.strides}")
    if values.size and (int(values.min()) < -(2**31) or int(values.max()) >= 2**31):
        raise TokenError(f"{what}: a token id does not fit in 32 bits")
    return values.astype(numpy.int32)


def token_ids(ids: Any, what: str = "ids") -> Borrowed:
    """ids (n): a sequence of ints, or a contiguous integer numpy array (int32: not copied)."""
    if isinstance(ids, (str, bytes)):
        raise TypeError(f"{what} must be token ids, got {type(ids).__name__}; model.tokenizer.encode gives them")
    if is_numpy(ids):
        return _borrow_numpy(_integer_numpy(ids, what), c_int32, what)
    try:
        return borrow_array(array.array("i", ids), c_int32)
    except OverflowError:
        raise TokenError(f"{what}: a token id does not fit in 32 bits") from None
    except TypeError as error:
        raise TypeError(f"{what} must be a sequence of integers: {error}") from None


def floats(values: Any, what: str) -> Borrowed:
    """values (n): a sequence of numbers, or a contiguous float32 numpy array (not copied)."""
    if is_numpy(values):
        return _borrow_numpy(values, c_float, what)
    try:
        return borrow_array(array.array("f", values), c_float)
    except OverflowError:
        raise InvalidError(f"{what}: a number is too large") from None
    except TypeError as error:
        raise TypeError(f"{what} must be a sequence of numbers: {error}") from None


def sequences(lists: Iterable[Any], what: str = "ids") -> Tuple[Borrowed, Borrowed]:
    """Lists of token ids, one after another, and their lengths (n_sequences)."""
    together, lengths = array.array("i"), array.array("q")
    for ids in lists:
        one = token_ids(ids, what)
        together.frombytes(ctypes.string_at(one.pointer, one.n * 4) if one.n else b"")
        lengths.append(one.n)
    return borrow_array(together, c_int32), borrow_array(lengths, c_int64)


def new(kind: Any, n: int) -> Tuple[Any, Any]:
    """An array of n elements for the library to fill, and its pointer.  numpy's where there is numpy."""
    if numpy is not None:
        values = numpy.zeros(n, dtype=_DTYPES[kind])
        return values, values.ctypes.data_as(POINTER(kind))
    plain = array.array(_CODES[kind], bytes(n * ctypes.sizeof(kind)))
    return plain, ctypes.cast(plain.buffer_info()[0], POINTER(kind))


def rows(values: Any, n_rows: int, n_columns: int) -> Any:
    """The same memory as (n_rows, n_columns): a numpy view, or a list of n_rows arrays."""
    if numpy is not None:
        return values.reshape(n_rows, n_columns)
    return [values[i * n_columns:(i + 1) * n_columns] for i in range(n_rows)]


def as_list(ids: Borrowed) -> List[int]:
    return list(ids.pointer[:ids.n]) if ids.n else []


def raw_bytes(data: Any) -> Tuple[Any, ctypes.c_void_p, int]:
    """What keeps the bytes where they are, their address, their number.  Read-only memory that is not bytes (a mapped file) is copied
    where there is no numpy."""
    view = memoryview(data).cast("B")
    if view.readonly and not isinstance(data, bytes):
        data = bytes(view) if numpy is None or not view.nbytes else numpy.frombuffer(view, dtype="uint8")
    if is_numpy(data):
        return data, ctypes.c_void_p(data.ctypes.data), view.nbytes
    if isinstance(data, bytes):
        return data, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data)
    owner = (ctypes.c_char * view.nbytes).from_buffer(view)
    return owner, ctypes.c_void_p(ctypes.addressof(owner)), view.nbytes


def strings(texts: Sequence[bytes]) -> Any:
    return (ctypes.c_char_p * len(texts))(*texts)
