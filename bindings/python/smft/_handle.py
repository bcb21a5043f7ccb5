"""_handle: what the modules of handles share: text and path arguments, handles as arguments, callbacks.

Who may use a handle when, and how a call is made: _calls.
"""
from __future__ import annotations

import os
from typing import Any, Callable, Optional, Tuple, Type, TypeVar, Union

from . import _abi, _interrupt
from ._calls import INSIDE, PEEK, READ, USE, Call, Handle, Part, PathBytes, invoke, number, result, struct, together, whole
from .errors import EncodingError, InvalidError

Text = Union[str, bytes]
Path = Union[str, bytes, "os.PathLike[str]"]
Progress = Callable[[str, int, int], Any]
H = TypeVar("H", bound=Handle)


class Patch(Handle):
    """What a model's methods know of a patch: that it is one.  patch.Patch is the rest."""


def optional(handle: Optional[H], kind: Type[H], what: str) -> Optional[H]:
    """The handle, or None, which is NULL; another class is a TypeError that says so."""
    return None if handle is None else required(handle, kind, what)


def required(handle: Any, kind: Type[H], what: str) -> H:
    if not isinstance(handle, kind):
        raise TypeError(f"{what} must be a smft.{kind.__name__}, got {type(handle).__name__}")
    return handle


def utf8(text: Text, what: str) -> bytes:
    """Bytes of a text with a length: bytes are passed on as they are, the library checks them."""
    if isinstance(text, str):
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise EncodingError(f"{what}: character {error.start} is half of a pair (U+{ord(text[error.start]):04X}): "
                                "it has no UTF-8") from None
    if isinstance(text, bytes):
        return text
    raise TypeError(f"{what} must be str or bytes, got {type(text).__name__}")


def c_text(text: Text, what: str) -> bytes:
    """The same for C strings, which a NUL would cut short."""
    data = utf8(text, what)
    if b"\0" in data:
        raise InvalidError(f"{what} contains a NUL character")
    return data


def c_path(path: Path) -> PathBytes:
    try:
        data = PathBytes(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise EncodingError(f"a path cannot be written as bytes: {error}") from None
    if 0 in data:
        raise InvalidError("a path contains a NUL character")
    data.given = path
    return data


class Callback:
    """A Python function as a C callback.  Holds the trampoline as long as the call runs; an exception inside stops the call and is
    raised again by `finish`.

    stops: what it answers where the call is to stop; None: it is asked as ever, and the call ends by its cancel function."""

    def __init__(self, kind: Any, function: Optional[Callable[..., Any]], convert: Callable[..., Tuple[Any, ...]],
                 stops: Optional[int] = 1) -> None:
        self._error: Optional[BaseException] = None
        self._function = function
        self._convert = convert
        self._stops = stops
        self._call_in_flight: Optional[Call] = None
        # A callback is given even where the user has none: close() and the end of Python stop the call through it.
        self.pointer = kind(self._call)

    def begin(self, call: Call) -> None:
        self._call_in_flight = call

    def _call(self, _user: Any, *arguments: Any) -> int:
        call = self._call_in_flight
        if self._error is not None:
            return 1
        if self._stops is not None and call is not None and call.stopped:
            return self._stops
        if self._function is None:
            return 0
        try:
            _interrupt.enter_callback(call)
            answer = self._function(*self._convert(*arguments))
            _interrupt.leave_callback(call)
            return 1 if answer else 0
        except BaseException as error:  # pylint: disable=broad-except
            _interrupt.leave_callback(call)
            self._error = error
            return self._failed(call, error)

    def _failed(self, call: Optional[Call], error: BaseException) -> int:
        """An exception: the call ends now.  Where that is the answer of an end in good order, Ctrl-C and its kind cancel instead."""
        if self._stops == 1 or call is None or self._stops == 0 and isinstance(error, Exception):
            return 1
        call.stop()
        return 1 if self._stops is None else 0

    def finish(self) -> None:
        """Raises what the callback raised."""
        self._call_in_flight = None
        error, self._error = self._error, None
        if error is not None:
            raise error


def progress_callback(progress: Optional[Progress]) -> Callback:
    """progress(stage, done, total): true cancels (CancelledError)."""
    return Callback(_abi.ProgressFn, progress, lambda stage, done, total: ((stage or b"").decode("utf-8", "replace"), done, total))


__all__ = ["INSIDE", "PEEK", "READ", "USE", "Handle", "Part", "Callback", "invoke", "number", "result", "struct", "together", "whole", "optional",
           "required", "utf8", "c_text", "c_path", "progress_callback"]
