"""_library: finds, loads and checks libsmft.so.

Order: the file that SMFT_LIBRARY names (that one or none), beside this package, the build tree that this package lies in
(build/libsmft.so), and what the loader finds by its soname.
"""
from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import List, Tuple

from . import _abi, errors

SONAME = "libsmft.so.0"


def candidates() -> List[str]:
    """Where the library is looked for, in order."""
    exact = os.environ.get("SMFT_LIBRARY")
    if exact:
        return [exact]
    package = Path(__file__).resolve().parent
    build = package.parent.parent.parent / "build"  # bindings/python/smft -> the checkout's build/
    return [str(package / SONAME), str(package / "libsmft.so"), str(build / "libsmft.so"), SONAME]


def load() -> ctypes.CDLL:
    failures: List[Tuple[str, str]] = []
    for path in candidates():
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            failures.append((path, str(error)))
            continue
        _check_version(library, path)
        return library
    tried = "\n".join(f"  {path}: {reason}" for path, reason in failures)
    raise ImportError(f"libsmft.so was not found; SMFT_LIBRARY can name it.  Tried:\n{tried}")


def _check_version(library: ctypes.CDLL, path: str) -> None:
    """Before anything else is touched: another version may have other functions."""
    try:
        number = library.smft_version_number
    except AttributeError:
        raise ImportError(f"{path} is not libsmft: it has no smft_version_number") from None
    number.restype, number.argtypes = ctypes.c_uint32, []
    found = number()
    major, minor = found // 10000, found // 100 % 100
    if (major, minor) != _abi.VERSION:
        raise ImportError(f"{path} is libsmft {major}.{minor}, but this package is for {_abi.VERSION[0]}.{_abi.VERSION[1]}")


def _declare(library: ctypes.CDLL) -> None:
    try:
        _abi.declare(library)
    except AttributeError as error:  # its version is right, but it was built before the function was there
        raise ImportError(f"this package wants a newer build of libsmft than {library._name}: {error}") from None


lib = load()
_declare(lib)
errors._last_message = lib.smft_error_message
