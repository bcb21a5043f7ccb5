"""session: one inference workspace over a model and a patch."""
from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int32, c_int64
from typing import Any, Callable, List, Optional, Tuple, Union

from . import _abi, _arrays
from ._handle import INSIDE, PEEK, USE, Callback, Handle, Text, c_text, invoke, optional, required, result, struct, together, utf8, whole
from ._library import lib
from .errors import InvalidError, check
from .model import Model
from .patch import Patch

_FINISH = {_abi.CONSTANTS["FINISH_NONE"]: None, _abi.CONSTANTS["FINISH_END"]: "end", _abi.CONSTANTS["FINISH_STOP"]: "stop",
           _abi.CONSTANTS["FINISH_LENGTH"]: "length", _abi.CONSTANTS["FINISH_CONTEXT"]: "context",
           _abi.CONSTANTS["FINISH_CALLBACK"]: "callback", _abi.CONSTANTS["FINISH_TIME"]: "time"}
_WHICH = {None: _abi.CONSTANTS["LOGITS_NONE"], "last": _abi.CONSTANTS["LOGITS_LAST"], "all": _abi.CONSTANTS["LOGITS_ALL"]}


class Nll(float):
    """Mean negative log-likelihood in nats: a float; `tokens` (n - 1) has that of each token after the first."""

    tokens: Any

    def __new__(cls, mean: float, tokens: Any) -> "Nll":
        self = super().__new__(cls, mean)
        self.tokens = tokens
        return self


class Session(Handle):
    """Reads model + patch (None: the base model).  Results are always those of the patch as it is now.

    context_length: most tokens; 0: as many as the model takes.  The KV cache grows with the tokens.
    cache: "f32", or "bf16" for half the memory and logits that differ by the rounding.
    pin: keep to one version of the (slots) patch from the first token on, until the session is rewound to 0 or generates afresh.
    """

    _free = "smft_session_free"
    _cancel = "smft_session_cancel"
    # does nothing, and is what the stop ends
    _forget = staticmethod(lambda pointer: lib.smft_session_feed(pointer, None, -1, 0, None, 0))
    _stops = True

    def __init__(self, model: Model, patch: Optional[Patch] = None, context_length: int = 0, cache: str = "f32",
                 pin: bool = False) -> None:
        if cache not in ("f32", "bf16"):
            raise InvalidError(f"cache must be 'f32' or 'bf16', got {cache!r}")
        flags = (_abi.CONSTANTS["SESSION_CACHE_BF16"] if cache == "bf16" else 0) | (_abi.CONSTANTS["SESSION_PIN"] if pin else 0)
        options = struct(_abi.SessionOptions, context_length=context_length, flags=flags)
        info = required(model, Model, "model").info
        self._create("smft_session_create", _abi.Session, model, optional(patch, Patch, "patch"), ctypes.byref(options))
        self.model = model
        self._patch = patch
        self._vocab = info.vocab_size
        self._context_length = context_length or info.context_length

    @property
    def patch(self) -> Optional[Patch]:
        return self._patch

    @patch.setter
    def patch(self, patch: Optional[Patch]) -> None:
        def then(status: int, path: Any) -> None:
            check(status, path)
            self._patch = patch

        invoke(lib.smft_session_set_patch, self, optional(patch, Patch, "patch"), then=then)

    @property
    def version(self) -> int:
        """Number of the version of its patch (patch.version) that the last call read; 0: none did."""
        return invoke(lib.smft_session_version, self, mode=PEEK, then=whole)

    def logits(self, ids: Any) -> Any:
        """Logits (n_ids, vocab_size) after each of the ids (n_ids).  Starts from an empty session and leaves it empty."""
        return together("logits", [(self, USE)], lambda: self._logits(ids), stops=True)

    def _logits(self, ids: Any) -> Any:
        self._rewind(0, INSIDE)
        try:
            return self._feed(ids, "all", INSIDE)
        finally:
            self._rewind(0, INSIDE)

    def feed(self, ids: Any, logits: Optional[str] = "last") -> Any:
        """Appends ids (n_ids).  logits: "last" gives (vocab_size), "all" (n_ids, vocab_size), None nothing."""
        return self._feed(ids, logits, USE)

    def _feed(self, ids: Any, logits: Optional[str], mode: int) -> Any:
        if logits not in _WHICH:
            raise InvalidError(f"logits must be 'last', 'all' or None, got {logits!r}")
        tokens = _arrays.token_ids(ids)
        n_rows = {"last": min(1, tokens.n), "all": tokens.n, None: 0}[logits]
        values, pointer = _arrays.new(c_float, n_rows * self._vocab)
        invoke(lib.smft_session_feed, self, tokens.pointer, tokens.n, _WHICH[logits], pointer, n_rows * self._vocab, mode=mode,
               stops=True, part=mode == INSIDE)
        if logits is None:
            return None
        return values if logits == "last" else _arrays.rows(values, n_rows, self._vocab)

    def __len__(self) -> int:
        return invoke(lib.smft_session_length, self, mode=PEEK, then=whole)

    def __bool__(self) -> bool:
        return True  # an empty session is still a session

    def rewind(self, length: int = 0) -> None:
        """Forgets all tokens after the first `length`."""
        self._rewind(length, USE)

    def _rewind(self, length: int, mode: int) -> None:
        invoke(lib.smft_session_rewind, self, length, mode=mode)

    def nll(self, ids: Any) -> Nll:
        """Mean negative log-likelihood of each token after the first, in nats; `.tokens` (n_ids - 1) has them one by one."""
        tokens = _arrays.token_ids(ids)
        values, pointer = _arrays.new(c_float, max(0, tokens.n - 1))
        mean = c_double()
        invoke(lib.smft_session_nll, self, tokens.pointer, tokens.n, pointer, mean, stops=True)
        return Nll(mean.value, values)

    def generate(self, text: Union[Text, Any], max_tokens: int = 64, temperature: float = 0.0, top_p: float = 0.0, top_k: int = 0,
                 seed: int = 0, stop: Optional[Text] = None, on_token: Optional[Callable[[int, str], Any]] = None,
                 continues: bool = False, max_seconds: float = 0.0) -> Any:
        """What follows a prompt: a text for a text, a list of ids for a list of ids.

        temperature 0 is greedy.  Ends at end-of-text, before `stop`, after max_tokens, with a full context, after
        max_seconds (0: no limit), or when on_token(id, text) is true; `finish` says which.  continues: go on after what
        the session holds.
        """
        if max_tokens == 0:
            return "" if isinstance(text, (str, bytes)) else []  # 0 is the default of the C interface
        callback = Callback(_abi.TokenFn, on_token, _token_arguments, stops=0)
        options = struct(_abi.GenerateOptions, max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_k=top_k, seed=seed,
                         flags=_abi.CONSTANTS["GENERATE_CONTINUE"] if continues else 0,
                         stop=None if stop is None else c_text(stop, "stop"), on_token=callback.pointer, max_seconds=max_seconds)
        if isinstance(text, (str, bytes)):
            return self._generate_text(utf8(text, "text"), options, callback)
        return self._generate_ids(text, options, callback)

    def _generate_text(self, prompt: bytes, options: _abi.GenerateOptions, callback: Callback) -> str:
        text, length = ctypes.c_void_p(), ctypes.c_size_t()

        def then(status: int, path: Any) -> str:
            check(status, path)
            return ctypes.string_at(text, length.value).decode("utf-8", "replace")

        return invoke(lib.smft_session_generate, self, prompt, len(prompt), ctypes.byref(options), text, length, then=then,
                      callbacks=[callback], stops=True)

    def _generate_ids(self, ids: Any, options: _abi.GenerateOptions, callback: Callback) -> List[int]:
        tokens = _arrays.token_ids(ids)
        if options.max_tokens < 0:
            raise InvalidError(f"max_tokens must not be negative, got {options.max_tokens}")
        most = min(options.max_tokens, self._context_length + 1)  # the context is full before
        out, n = (c_int32 * most)(), c_int64()
        invoke(lib.smft_session_generate_ids, self, tokens.pointer, tokens.n, ctypes.byref(options), out, most, n,
               callbacks=[callback], stops=True)
        return list(out[:n.value])

    @property
    def finish(self) -> Optional[str]:
        """Why the last generation ended: "end" (of text), "stop" (the string), "length" (max_tokens), "context" (it is full),
        "callback" or "time" (max_seconds); None: there was none, or it failed."""
        return _FINISH[invoke(lib.smft_session_finish, self, mode=PEEK, then=whole)]

    def cancel(self) -> None:
        """Makes the running call raise CancelledError soon.  From any thread."""
        invoke(lib.smft_session_cancel, self, mode=PEEK, then=result)

    def _describe(self) -> str:
        return f"{len(self)} of {self._context_length} tokens, {'no patch' if self._patch is None else 'a patch of ' + self._patch.kind}"


def _token_arguments(token: int, text: Optional[int], length: int) -> Tuple[int, str]:
    return token, ctypes.string_at(text, length).decode("utf-8", "replace") if text and length else ""
