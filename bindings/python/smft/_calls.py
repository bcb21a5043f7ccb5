"""_calls: one call of the library: the handles that it uses, how it is stopped, what the end of
Python and a fork mean for it.

Owns who may use a handle when: a handle is freed exactly once, by close(), by the garbage
collector or when Python exits, and never while a call uses it: then at the end of the last such
call, which is asked to stop.  Every integer that goes to C is checked here.  Ctrl-C is
_interrupt's.
"""

from __future__ import annotations

import atexit
import ctypes
import operator
import os
import threading
import time
import weakref
from ctypes import c_double, c_float, c_int32, c_int64, c_uint32, c_uint64
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

from .errors import CancelledError, InvalidError, StateError, check

if TYPE_CHECKING:
    from ._handle import Callback

T = TypeVar("T")

#: How a call uses a handle that one thread may use at a time.  PEEK only keeps it from being freed:
#: a number is read.  READ: what no USE may change meanwhile.  USE: alone.  INSIDE: alone, but also
#: within a call of the same thread.
PEEK, READ, USE, INSIDE = range(4)

#: So long does an exit of Python wait for the calls of daemon threads, which were asked to stop.
EXIT_SECONDS = 5.0

_lock = threading.RLock()  # a finalizer may run anywhere, also inside of it
_running: Dict["Call", None] = {}
_live: Dict[int, "Hold"] = {}
_exiting_thread: Optional[int] = None
_interrupts: Any = None  # the module, which sets it


class Call:
    """One call in flight."""

    __slots__ = ("name", "thread", "holds", "stopped", "guarded")

    def __init__(self, name: str) -> None:
        self.name = name
        self.thread = threading.get_ident()
        self.holds: List[Hold] = []
        self.stopped = False  # its callbacks end it
        self.guarded = False  # _interrupt watches for Ctrl-C

    def stop(self) -> None:
        """Asks it to end soon; any thread, any number of times."""
        self.stopped = True
        with _lock:
            for hold in list(self.holds):
                if hold.cancel is not None and hold.calls.get(self, PEEK) >= USE:
                    hold.cancel(hold.pointer)


class Hold:
    """A C handle, and the calls that use it.  Outlives its Python object while one does."""

    __slots__ = ("name", "pointer", "free", "cancel", "forget", "stops", "calls", "closing", "freed")

    def __init__(
        self,
        name: str,
        pointer: Any,
        free: Callable[[Any], Any],
        cancel: Optional[Callable[[Any], Any]],
        forget: Callable[[Any], Any],
        stops: bool,
    ) -> None:
        self.name, self.pointer, self.free, self.stops = name, pointer, free, stops
        self.cancel, self.forget = cancel, forget
        self.calls: Dict[Call, int] = {}
        self.closing = self.freed = False
        _live[id(self)] = self

    def enter(self, call: Call, mode: int) -> None:
        """With the lock held."""
        if self.closing and not (mode == INSIDE and self.in_thread(call)):
            raise StateError(f"this {self.name} is closed")
        for other, its in (
            list(self.calls.items()) if self.calls else ()
        ):  # a call may end meanwhile
            if other is call or mode == INSIDE and other.thread == call.thread:
                continue
            if mode >= USE and its >= READ or mode == READ and its >= USE:
                where = (
                    "this is called from inside it"
                    if other.thread == call.thread
                    else "in another thread"
                )
                raise StateError(f"this {self.name} is in use: {other.name} is running, {where}")
        self.calls[call] = max(mode, self.calls.get(call, mode))
        call.holds.append(self)

    def in_thread(self, call: Call) -> bool:
        """Another call of the same thread uses it."""
        return any(one.thread == call.thread and one is not call for one in list(self.calls))

    def close(self) -> None:
        """Frees it, now or when the calls that use it have ended; those that work with it alone
        are asked to stop."""
        if self.closing:
            return
        with _lock:
            self.closing = True
            calls = [call for call, mode in list(self.calls.items()) if mode >= USE and self.stops]
        for call in calls:
            call.stop()
        self.settle()

    def settle(self) -> None:
        with _lock:
            if self.calls or self.freed or not self.closing:
                return
            self.freed = True
            _live.pop(id(self), None)
        self.free(self.pointer)  # may log, so without the lock


class Handle:
    """Owns one C handle.  close() may be called any number of times; a closed handle raises
    StateError."""

    _free: str = ""  # name of the C function that frees it
    _cancel: str = ""  # that stops its running call, where there is one
    #: takes back a stop that came too late for its call: the library keeps that for the next one
    _forget: Callable[[Any], Any] = staticmethod(lambda _pointer: None)
    _stops: bool = False  # close() stops a call that works with it alone
    _mode: int = USE  # PEEK: any number of threads may use it

    def _own(self, pointer: Any) -> None:
        from ._library import lib

        self._hold = Hold(
            type(self).__name__,
            pointer,
            getattr(lib, self._free),
            getattr(lib, self._cancel) if self._cancel else None,
            self._forget,
            self._stops,
        )
        weakref.finalize(self, self._hold.close).atexit = False  # _at_exit does that

    def _create(self, function: str, handle_type: Any, *arguments: Any, **how: Any) -> None:
        """Calls a constructor, out-pointer first, and owns what comes of it."""
        from ._library import lib

        out = ctypes.POINTER(handle_type)()

        def then(status: int, path: Any) -> None:
            check(status, path)
            self._own(out)

        invoke(getattr(lib, function), ctypes.byref(out), *arguments, then=then, **how)

    def _held(self) -> Hold:
        hold: Optional[Hold] = getattr(self, "_hold", None)
        if hold is None:
            raise StateError(f"this {type(self).__name__} is closed")
        return hold

    @property
    def closed(self) -> bool:
        hold: Optional[Hold] = getattr(self, "_hold", None)
        return hold is None or hold.closing

    def close(self) -> None:
        """Frees the handle.  What was made from it goes on working: it holds a reference of its
        own.  While a call of this handle runs it is freed at that call's end, and the call is asked
        to stop (CancelledError)."""
        self._held().close()

    def __enter__(self: T) -> T:
        if self.closed:  # type: ignore[attr-defined]
            raise StateError(f"this {type(self).__name__} is closed")
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _describe(self) -> str:
        return "open"

    def __repr__(self) -> str:
        try:
            text = "closed" if self.closed else self._describe()
        except StateError:
            text = "closed" if self.closed else "in use"
        return f"<smft.{type(self).__name__}: {text}>"


class Part:
    """A pointer that is borrowed from a handle: the handle is in use as long as it is."""

    def __init__(self, owner: Handle, pointer: Any) -> None:
        self._owner = owner
        self._pointer = pointer


# ---- integers ----

RANGES: Dict[Any, Tuple[int, int]] = {
    c_int32: (-(2**31), 2**31 - 1),
    c_uint32: (0, 2**32 - 1),
    c_int64: (-(2**63), 2**63 - 1),
    c_uint64: (0, 2**64 - 1),
}


def number(value: Any, kind: Any, what: str, place: int = -1) -> Any:
    """As C takes it: ctypes cuts what does not fit.  what, place: of it for the message."""
    limits = RANGES.get(kind)
    what = what if place < 0 else f"{what}: argument {place + 1}"
    if limits is not None:
        low, high = limits
        whole = operator.index(value)
        if not low <= whole <= high:
            raise InvalidError(f"{what} must be from {low} to {high}, got {whole}")
        return whole
    if isinstance(value, int) and (kind is c_double or kind is c_float):
        try:
            return float(value)
        except OverflowError:
            raise InvalidError(
                f"{what} is too large for a number: {len(str(value))} digits"
            ) from None
    return value


_types: Dict[Any, Dict[str, Any]] = {}  # of the fields of each struct


def struct(mirror: Callable[..., T], /, **values: Any) -> T:
    """A struct of _abi with its numbers checked."""
    types = _types.get(mirror)
    if types is None:
        types = {field[0]: field[1] for field in mirror._fields_}  # type: ignore[attr-defined]
        _types[mirror] = types
    return mirror(**{name: number(value, types[name], name) for name, value in values.items()})


# ---- a call ----


def _enter(call: Call, uses: Sequence[Tuple[Handle, int]], part: bool) -> None:
    if _exiting_thread is not None and _exiting_thread != call.thread:
        _park()
    with _lock:
        _running[call] = None
        for handle, mode in uses:
            handle._held().enter(call, handle._mode and mode)
        if part:
            call.stopped = any(
                one.stopped
                for hold in call.holds
                for one in hold.calls
                if one.thread == call.thread
            )


def _leave(call: Call) -> None:
    _running.pop(call, None)
    for hold in call.holds:
        mode = hold.calls.pop(call, PEEK)
        if call.stopped and hold.cancel is not None and mode >= USE and not hold.calls:
            with _lock:  # nobody stops it any more
                hold.forget(hold.pointer)
        if hold.closing:
            hold.settle()
    if _exiting_thread is not None and _exiting_thread != call.thread:
        _park()


def _within(
    call: Call, uses: Sequence[Tuple[Handle, int]], body: Callable[[], T], part: bool = False
) -> T:
    try:  # from the first line on: Ctrl-C may come between any two
        _enter(call, uses, part)
        return body()
    finally:
        _leave(call)


def together(
    name: str, uses: Sequence[Tuple[Handle, int]], body: Callable[[], T], stops: bool = False
) -> T:
    """Several calls as one: nobody comes between.  Those inside are INSIDE."""
    call = Call(name)
    guarded: T = _interrupts.guard(call, lambda: _within(call, uses, body), stops)
    return guarded


def invoke(
    function: Any,
    *arguments: Any,
    mode: int = USE,
    also: Sequence[Tuple[Handle, int]] = (),
    then: Callable[[Any, Any], T] = check,  # type: ignore[assignment]
    callbacks: Sequence["Callback"] = (),
    path: Any = None,
    stops: bool = False,
    part: bool = False,
) -> T:
    """Calls a C function.  Handles and Parts among the arguments stand for their pointers, and are
    in use until `then(result, path)` has returned, as are those of `also`.  stops: Ctrl-C, close()
    and the end of Python stop it, by a cancel function or a callback.  part: of calls that are made
    as one (together): does not begin where that was asked to stop."""
    uses = list(also)
    given: List[Any] = []
    for value, kind in zip(arguments, function.argtypes):
        if isinstance(value, Handle):
            uses.append((value, mode))
            value = value._held().pointer
        elif isinstance(value, Part):
            uses.append((value._owner, mode))
            value = value._pointer
        elif kind in RANGES or kind is c_double:
            value = number(value, kind, function.__name__, len(given))
        elif isinstance(value, PathBytes):
            path = value.given
        given.append(value)

    def body() -> T:
        for callback in callbacks:
            callback.begin(call)
        if call.stopped:  # the last moment: from here on the library knows of it
            raise CancelledError(f"{call.name}: cancelled before it began")
        result = function(*given)
        for callback in callbacks:
            callback.finish()
        return then(result, path)

    call = Call(function.__name__)
    if not stops and (mode == PEEK or not any(handle._mode for handle, _ in uses)):
        return _within(call, uses, body, part)  # nothing that could stay in use for ever
    guarded: T = _interrupts.guard(call, lambda: _within(call, uses, body, part), stops)
    return guarded


class PathBytes(bytes):
    """A path as C takes it, and as it was given: an error has that as its filename."""

    given: Any = None


def result(value: T, _path: Any) -> T:
    """`then` of functions that return no status,"""
    return value


def whole(value: Any, _path: Any) -> int:
    """and of those that return an integer."""
    return int(value)


# ---- the end of Python, fork ----


def _park() -> None:
    """A daemon thread that comes back from C while Python ends goes no further, as CPython itself
    has it."""
    while True:
        time.sleep(3600)


def _at_exit() -> None:
    """Calls of daemon threads are asked to stop and waited for; then everything is freed that no
    call uses."""
    global _exiting_thread
    _exiting_thread = threading.get_ident()
    end = time.monotonic() + EXIT_SECONDS
    while time.monotonic() < end:
        calls = [call for call in list(_running) if call.thread != _exiting_thread]
        if not calls:
            break
        for call in calls:
            call.stop()
        time.sleep(0.002)
    for hold in list(_live.values()):
        hold.close()


def _in_child() -> None:
    """Threads other than the one that forked are not there, nor are their calls.  What such a call
    used and was closed is never freed."""
    global _lock
    _lock = threading.RLock()
    me = threading.get_ident()
    for call in [one for one in _running if one.thread != me]:
        del _running[call]
        for hold in call.holds:
            hold.calls.pop(call, None)
            hold.freed = hold.freed or hold.closing


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _lock.acquire(),
        after_in_parent=lambda: _lock.release(),
        after_in_child=_in_child,
    )
