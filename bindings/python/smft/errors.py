"""errors: one exception per smft_status.

Owns the status table of the package (a test compares it with smft.h) and `check`, which turns a status into an exception.
"""
from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Type

if TYPE_CHECKING:
    from .learn import Report


class Error(Exception):
    """A call of libsmft failed.  `status` is the number, `name` the C name without SMFT_, the text the library's message."""

    status: int = 0
    name: str = ""
    meaning: str = ""

    def __str__(self) -> str:
        return BaseException.__str__(self)  # an OSError with a filename would print that alone


class InvalidError(Error, ValueError):
    status, name = -1, "E_INVALID"
    meaning = "an argument is not valid: NULL, out of its range, or contradicting another"


class StructSizeError(Error):
    status, name = -2, "E_STRUCT_SIZE"
    meaning = "a struct's first field is not the size of any known version of it"


class UnsupportedError(Error):
    status, name = -3, "E_UNSUPPORTED"
    meaning = "valid, but this version of the library does not do it"


class StateError(Error):
    status, name = -4, "E_STATE"
    meaning = "not now: the handle is in use, or a step that comes first was not taken"


class BufferTooSmallError(Error):
    status, name = -5, "E_BUFFER"
    meaning = "the caller's buffer is too small; the needed length was stored"


class NoMemoryError(Error, MemoryError):
    status, name = -10, "E_NOMEM"
    meaning = "memory could not be allocated"


class FileError(Error, OSError):
    """`filename`: the path that was given."""

    status, name = -20, "E_IO"
    meaning = "a file could not be opened, read or written"


class NotFoundError(Error, LookupError):
    status, name = -21, "E_NOT_FOUND"
    meaning = "a file, tensor, token or item does not exist"


class MissingFileError(NotFoundError, FileNotFoundError):
    """There is no such file or directory, `filename`: a NotFoundError and a FileNotFoundError."""


class FormatError(Error, ValueError):
    status, name = -22, "E_FORMAT"
    meaning = "a file or text is not what it should be"


class MismatchError(Error):
    status, name = -23, "E_MISMATCH"
    meaning = "two things that belong together do not: config and tensors, patch and model"


class EncodingError(Error, ValueError):
    status, name = -24, "E_ENCODING"
    meaning = "text is not valid UTF-8"


class TokenError(Error, ValueError):
    status, name = -30, "E_TOKEN"
    meaning = "a token id is outside the vocabulary"


class ContextError(Error, ValueError):
    status, name = -31, "E_CONTEXT"
    meaning = "a sequence is longer than the context"


class FactError(Error, ValueError):
    status, name = -32, "E_FACT"
    meaning = "a fact cannot be learnt as given: empty, or its answer is not in the statement"


class NonFiniteError(Error, ArithmeticError):
    """`report`, of a learner's step: which fact left the queue, given up and taken back."""

    report: Optional[Report] = None
    status, name = -40, "E_NONFINITE"
    meaning = "a weight, loss or gradient is NaN or infinite; nothing was changed"


class CancelledError(Error):
    status, name = -41, "E_CANCELLED"
    meaning = "cancelled by the progress callback or a *_cancel call; nothing was changed"


class InternalError(Error):
    status, name = -99, "E_INTERNAL"
    meaning = "a defect of the library"


class NoCountsWarning(UserWarning):
    """A selector whose rule goes by background counts has none: what is learnt with it changes nothing."""


#: Every status and its exception; 0 (OK) has none.
BY_STATUS: Dict[int, Type[Error]] = {kind.status: kind for kind in Error.__subclasses__()}

#: Set by _library: the library's message of this thread.
_last_message: Optional[Callable[[], bytes]] = None


def check(status: int, path: Any = None) -> None:
    """Raises the exception of a status that is not 0.  path: of a call that reads or writes one, as it was given."""
    if status == 0:
        return
    message = _last_message().decode("utf-8", "replace") if _last_message else ""
    raise _made(status, message, path)


def _made(status: int, message: str, path: Any) -> Error:
    kind = BY_STATUS.get(status, Error)
    name = None if path is None else _filename(message, path)
    if kind is NotFoundError and name is not None and not os.path.isfile(name):  # else it is something in the file
        kind = MissingFileError
    error = kind(message or kind.meaning)
    if kind is Error:
        error.status, error.name = status, "E_UNKNOWN"
    if isinstance(error, OSError):
        error.filename = name
        if isinstance(error, FileNotFoundError):
            error.errno = errno.ENOENT
    return error


def _filename(message: str, path: Any) -> Any:
    """The path, or the file within it that the message begins with."""
    given = os.fspath(path)
    if isinstance(given, str) and message.startswith(os.path.join(given, "")):
        inner = message[len(given):message.find(": ")]
        return given if " " in inner else given + inner
    return given
