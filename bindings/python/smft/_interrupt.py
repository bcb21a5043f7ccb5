"""_interrupt: Ctrl-C while the library works: KeyboardInterrupt, soon, and never lost.

Python runs a signal's handler between two of its own instructions: during a long call only where a
callback begins, before any `try` of the callback, where ctypes can but print what is raised.  So
while a call that can be stopped runs on the main thread, SIGINT has a handler that asks the call to
stop and keeps what the old handler raises, for the end of the call.  A call without callbacks does
not even get that far: there one thread of the process reads what the C part of Python's signal
handling writes (signal.set_wakeup_fd), at once.  That is done only where the old handler is
Python's own, which is known to raise.  Owns handler, wake-up and thread, and puts back what was
there; threads other than the main one get no signals and no handler.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from typing import Any, Callable, Optional, TypeVar

try:  # signal's own functions look each handler up in an enumeration
    from _signal import (  # type: ignore[import-not-found]
        getsignal as _handler,
        signal as _set_handler,
    )
except ImportError:
    _handler, _set_handler = signal.getsignal, signal.signal

from . import _calls
from ._calls import Call

T = TypeVar("T")
_SIGINT = int(signal.SIGINT)


class _State:
    """Of the main thread."""

    call: Optional[Call] = None  # the innermost that is watched
    inside = False  # in the user's callback: there an exception is raised where it occurs
    error: Optional[BaseException] = None
    old: Any = None  # SIGINT's handler before
    old_wakeup = -1


_state = _State()


def enter_callback(call: Optional[Call]) -> None:
    if call is not None and call.guarded:
        _state.inside = True


def leave_callback(call: Optional[Call]) -> None:
    if call is not None and call.guarded:
        _state.inside = False


def _note(number: int, frame: Any) -> Any:
    """The handler."""
    if _state.inside or _state.call is None:
        _watcher.forget()
        return _state.old(number, frame)
    try:
        _state.old(number, frame)
    except BaseException as error:  # pylint: disable=broad-except
        _state.error = error
        _state.call.stop()
    return None


def guard(call: Call, body: Callable[[], T], stops: bool) -> T:
    """body(), which runs the call: on the main thread Ctrl-C stops it, if that can be, and is raised
    at its end, so that no exception comes between the lines that count calls."""
    if threading.get_ident() != threading.main_thread().ident:
        return body()
    old = _handler(_SIGINT)
    if old is _note:
        return _nested(call, body)
    if not callable(old):  # ignored, or the process ends by it, or it is not Python's
        return body()
    _state.old, _state.error, _state.inside = old, None, False
    call.guarded = True
    _state.call = call
    try:
        _set_handler(_SIGINT, _note)  # from here on nothing is raised between two lines
    except ValueError:  # not the main interpreter
        _state.call = None
        call.guarded = False
        return body()
    try:
        if stops and old is signal.default_int_handler:
            _watcher.begin()
        return body()
    finally:
        _watcher.end()
        if _handler(_SIGINT) is _note:  # a callback may have set another
            _set_handler(_SIGINT, old)  # what came until now goes to _note
        _state.call = None
        error, _state.error = _state.error, None
        if error is not None:
            raise error from None


def _nested(call: Call, body: Callable[[], T]) -> T:
    """In a callback of a watched call: what comes now is raised in that callback."""
    outer, inside = _state.call, _state.inside
    call.guarded = True
    _state.call = call
    _state.inside = False
    _watcher.find()
    try:
        return body()
    finally:
        error, _state.error = _state.error, None
        _state.call = outer
        _state.inside = inside
        if error is not None:
            raise error from None


class _Watcher:
    """One thread for as long as the process lives, made at first need."""

    def __init__(self) -> None:
        self.reader = self.writer = -1
        self.active = False
        self.lost = False  # by a fork in a callback: calls in it want another

    def begin(self) -> None:
        self.lost = False
        try:
            if self.reader < 0:
                self._start()
            self.active = True  # until end() nothing of before is there: that took it all
            _state.old_wakeup = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        except (OSError, ValueError, RuntimeError):
            pass  # no descriptors or threads: the call is stopped by its callbacks alone

    def find(self) -> None:
        """At first need: a child that goes on to exec or exit makes no thread; the call that was
        forked in has its callbacks, which hear."""
        if self.lost:
            self.begin()

    def end(self) -> None:
        self.lost = False
        if not self.active:
            return
        with _calls._lock:
            self.active = False
            now = signal.set_wakeup_fd(-1)
            back = _state.old_wakeup if now == self.writer else now
            try:
                if back >= 0:
                    signal.set_wakeup_fd(back, warn_on_full_buffer=False)
            except (OSError, ValueError):
                pass  # it was closed meanwhile
            self._drain()

    def forget(self) -> None:
        """What came is the user's callback's."""
        if self.active:
            with _calls._lock:
                self._drain()

    def _start(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)
        threading.Thread(
            target=self._serve, args=(self.reader,), name="smft-interrupt", daemon=True
        ).start()

    def _drain(self) -> bytes:
        """What came, which is passed on to whom it would have gone to.  With the lock held."""
        try:
            data = os.read(self.reader, 4096)
        except OSError:
            return b""
        if _state.old_wakeup >= 0:
            try:
                os.write(_state.old_wakeup, data)
            except OSError:
                pass
        return data

    def _serve(self, reader: int) -> None:
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        while True:
            poll.poll()
            with _calls._lock:
                came = _SIGINT in self._drain()
                call = _state.call if came and self.active and not _state.inside else None
            if call is not None:
                call.stop()

    def in_child(self) -> None:
        """After fork: the pipe is the parent's, its thread is not there; nor is the parent's main
        thread with its call, where another one forked."""
        if self.active:
            signal.set_wakeup_fd(-1)
        if _state.call is not None and _state.call.thread != threading.get_ident():
            _state.call = None
            _set_handler(_SIGINT, _state.old)
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)
        lost = self.active and _state.call is not None
        self.__init__()  # type: ignore[misc]
        self.lost = lost


_watcher = _Watcher()
_calls._interrupts = sys.modules[__name__]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _watcher.in_child())
