"""context: the root handle; most programs never name it, the default one serves all."""
from __future__ import annotations

import ctypes
import threading
from typing import Any, Callable, Optional, Tuple

from . import _abi
from ._handle import PEEK, Handle, invoke, required, struct, whole
from ._library import lib

_default: Optional["Context"] = None
_lock = threading.Lock()


class Context(Handle):
    """Threads, memory accounting and log of what is made with it.

    n_threads: 0 the processors that this process may use, 1 only the caller's thread.
    amx: True lets matrix products use Intel's AMX, which needs larger signal stacks in the whole process.
    integer: True makes products of activations with quantised weights in whole numbers of 15 bits: answers come about twice
        as fast, where the processor has AVX-512 VNNI.
    fast: True rounds both sides of large products to bf16, where the processor multiplies it; else UnsupportedError.
    log(level, message): level 0 debug, 1 info, 2 warning; may be called from any thread that uses the library.
    """

    _free = "smft_ctx_free"
    _mode = PEEK

    def __init__(self, n_threads: int = 0, log: Optional[Callable[[int, str], Any]] = None, amx: bool = False,
                 integer: bool = False, fast: bool = False) -> None:
        wanted = {"CTX_AMX": amx, "CTX_INTEGER": integer, "CTX_FAST": fast}
        flags = sum(_abi.CONSTANTS[name] for name, on in wanted.items() if on)
        options = struct(_abi.CtxOptions, n_threads=n_threads, flags=flags)
        if log is not None:
            self._log = _log_callback(log)
            options.log = self._log
            # Handles made with the context may outlive this object, and threads Python itself, and still log.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._log))
        self._create("smft_ctx_create", _abi.Ctx, ctypes.byref(options))

    @property
    def n_threads(self) -> int:
        return invoke(lib.smft_ctx_n_threads, self, then=whole)

    def memory(self) -> Tuple[int, int]:
        """Bytes held now, and the most since creation or the last reset.  Mapped files are not counted."""
        now, peak = ctypes.c_int64(), ctypes.c_int64()
        invoke(lib.smft_ctx_memory, self, now, peak)
        return now.value, peak.value

    def reset_peak(self) -> None:
        invoke(lib.smft_ctx_memory_reset_peak, self)

    def _describe(self) -> str:
        return f"{self.n_threads} threads"


def _log_callback(log: Callable[[int, str], Any]) -> Any:
    def call(_user: Any, level: int, message: Optional[bytes]) -> None:
        try:
            log(level, (message or b"").decode("utf-8", "replace"))
        except Exception:  # a log has nobody to tell
            pass

    return _abi.LogFn(call)


def default_context() -> Context:
    """One for the whole process, made at first need.  It survives fork()."""
    global _default
    with _lock:
        if _default is None or _default.closed:
            _default = Context()
        return _default


def context_handle(context: Optional[Context]) -> Context:
    return required(context if context is not None else default_context(), Context, "context")
