"""_handle: what all handles share: creation, closing, freeing at the end; text and path arguments; callbacks.

Owns the rule that a handle is freed exactly once: by close(), by the garbage collector, or when Python exits.
"""
from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from . import _abi
from ._library import lib
from .errors import CancelledError, InvalidError, StateError, check

Text = Union[str, bytes]
Path = Union[str, bytes, "os.PathLike[str]"]
Progress = Callable[[str, int, int], Any]
H = TypeVar("H", bound="Handle")


class Handle:
    """Owns one C handle.  close() may be called any number of times; a closed handle raises StateError."""

    _free: str = ""  # name of the C function that frees it

    def _own(self, pointer: Any) -> None:
        self._pointer = pointer
        self._finalizer = weakref.finalize(self, getattr(lib, self._free), pointer)

    @property
    def _handle(self) -> Any:
        finalizer = getattr(self, "_finalizer", None)
        if finalizer is None or not finalizer.alive:
            raise StateError(f"this {type(self).__name__} is closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def close(self) -> None:
        """Frees the handle now.  What was made from it goes on working: it holds a reference of its own."""
        self._finalizer()

    def __enter__(self: H) -> H:
        self._handle
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def create(function: str, handle_type: Type[ctypes.Structure], *arguments: Any) -> Any:
    """Calls a constructor: out-pointer first."""
    out = ctypes.POINTER(handle_type)()
    check(getattr(lib, function)(ctypes.byref(out), *arguments))
    return out


class Patch(Handle):
    """What a model's methods know of a patch: that it is one.  patch.Patch is the rest."""


def optional(handle: Optional[Handle], kind: type, what: str) -> Any:
    """The C handle, or NULL for None; another class is a TypeError that says so."""
    if handle is None:
        return None
    return required(handle, kind, what)


def required(handle: Any, kind: type, what: str) -> Any:
    if not isinstance(handle, kind):
        raise TypeError(f"{what} must be a smft.{kind.__name__}, got {type(handle).__name__}")
    return handle._handle


def utf8(text: Text, what: str) -> bytes:
    """Bytes of a text with a length: bytes are passed on as they are, the library checks them."""
    if isinstance(text, str):
        return text.encode("utf-8")
    if isinstance(text, bytes):
        return text
    raise TypeError(f"{what} must be str or bytes, got {type(text).__name__}")


def c_text(text: Text, what: str) -> bytes:
    """The same for C strings, which a NUL would cut short."""
    data = utf8(text, what)
    if b"\0" in data:
        raise InvalidError(f"{what} contains a NUL character")
    return data


def c_path(path: Path) -> bytes:
    data = os.fsencode(path)
    if b"\0" in data:
        raise InvalidError("a path contains a NUL character")
    return data


class Callback:
    """A Python function as a C callback.  Holds the trampoline as long as the call runs; an exception inside stops the library and is
    raised again by `finish`."""

    def __init__(self, kind: Any, function: Optional[Callable[..., Any]], convert: Callable[..., Tuple[Any, ...]]) -> None:
        self._error: Optional[BaseException] = None
        self._function = function
        self._convert = convert
        # A callback is given even where the user has none: while it runs, Python sees Ctrl-C.
        self.pointer = kind(self._call)

    def _call(self, _user: Any, *arguments: Any) -> int:
        if self._error is not None:
            return 1
        try:
            return 1 if self._function is not None and self._function(*self._convert(*arguments)) else 0
        except BaseException as error:  # pylint: disable=broad-except
            self._error = error
            return 1

    def finish(self, status: int) -> None:
        """Raises what the callback raised, else what the status says."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        check(status)


def progress_callback(progress: Optional[Progress]) -> Callback:
    """progress(stage, done, total): true cancels (CancelledError)."""
    return Callback(_abi.ProgressFn, progress, lambda stage, done, total: ((stage or b"").decode("utf-8", "replace"), done, total))


__all__ = ["CancelledError", "Handle", "Callback", "create", "optional", "required", "utf8", "c_text", "c_path", "progress_callback"]
