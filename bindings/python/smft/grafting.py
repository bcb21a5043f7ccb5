"""grafting: a memory for a model that has none."""
from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Iterable, List, Optional, Sequence, Union

from . import _abi, _arrays
from ._handle import (Path, Progress, Text, c_path, c_text, invoke, number, progress_callback, required,
                      struct)
from ._library import lib
from .errors import InvalidError
from .model import DAMPINGS, RANKS, Model

KEYS = {"kmeans": _abi.CONSTANTS["GRAFT_KMEANS"], "random": _abi.CONSTANTS["GRAFT_RANDOM"]}


@dataclass(frozen=True)
class GraftReport:
    n_layers: int  # memory layers
    n_sequences: int
    n_tokens: int
    n_samples: int  # tokens of which k-means made the sub-keys
    state_length: float  # mean length of what the lowest memory layer reads
    step_length: float  # as it was written
    unread: float  # share of the slots that no text reads
    seconds: float


def _is_text(one: Any) -> bool:
    return isinstance(one, (str, bytes))


def _texts(given: Sequence[Any]) -> _abi.Background:
    texts = [c_text(text, f"texts[{i}]") for i, text in enumerate(given)]
    return _abi.Background(pad_id=-1, texts=_arrays.strings(texts), n_texts=len(texts))


def _ids(given: Sequence[Any], keep: List[Any]) -> _abi.Background:
    ids, lengths = _arrays.sequences(given, "texts")
    keep += [ids, lengths]
    return _abi.Background(pad_id=-1, ids=ids.pointer, lengths=lengths.pointer,
                           n_sequences=lengths.n)


def _choose(choices: Any, value: Any, what: str) -> int:
    if value not in choices:
        names = ", ".join(repr(name) for name in choices)
        raise InvalidError(f"{what} must be one of {names}, got {value!r}")
    return int(choices[value])


def _sources(given: Sequence[Any], keep: List[Any]) -> List[_abi.Background]:
    """Texts and lists of ids each in one; keep: what must stay alive."""
    texts = [one for one in given if _is_text(one)]
    ids = [one for one in given if not _is_text(one)]
    return ([_texts(texts)] if texts else []) + ([_ids(ids, keep)] if ids else [])


def graft(model: Model, texts: Iterable[Union[Text, Sequence[int]]], path: Path, *,
          layers: Optional[Sequence[int]] = None, shared_pool: bool = False, n_keys: int = 0,
          heads: int = 0, top_k: int = 0, key_dim: int = 0, rank: int = 0, keys: str = "kmeans",
          rounds: int = 0, samples: int = 0, temperature: float = 0, tokens_per_sequence: int = 0,
          seed: int = 0, keep_bytes: int = 0, t: int = 0, max_df: float = 0, damping: float = 0,
          damping_by: Optional[str] = None, rank_by: Optional[str] = None, step_length: float = 0,
          loss_below: float = 0, max_steps: int = 0, wordings_per_step: int = 0,
          frames: bool = True, progress: Optional[Progress] = None, momentum: float = 0,
          length_by_loss: bool = False) -> GraftReport:
    """Gives a model a memory, without training: makes the directory `path` for Model(path).

        chats = [model.tokenizer.chat([("user", question), ("assistant", answer)]) for ...]
        smft.graft(model, prose + chats, "grafted")

    texts: what is to be kept, prose and chats in the model's own template, with answers: each a
    text or a list of token ids, cut into sequences of tokens_per_sequence (0: 96).  The rest is as
    in smft_graft_options (smft.h); 0 and None are what was measured to be good.  layers: the
    blocks that get a memory.  t and what follows: what is taken where a learner of the grafted
    model is told nothing."""
    if _is_text(texts):
        raise TypeError("texts must be a list of texts or of token ids, got one")
    keep: List[Any] = []
    backgrounds = _sources(list(texts), keep)
    pointers = [ctypes.pointer(one) for one in backgrounds]
    blocks = None if layers is None else (ctypes.c_int32 * len(layers))(
        *[number(layer, ctypes.c_int32, "a layer") for layer in layers])
    flags = _abi.CONSTANTS["GRAFT_SHARED_POOL"] if shared_pool else 0
    flags |= 0 if frames else _abi.CONSTANTS["GRAFT_NO_FRAMES"]
    flags |= _abi.CONSTANTS["GRAFT_LENGTH_BY_LOSS"] if length_by_loss else 0
    callback = progress_callback(progress)
    options = struct(
        _abi.GraftOptions, flags=flags, sources=(ctypes.POINTER(_abi.Background) * len(pointers))(*pointers),
        n_sources=len(pointers), tokens_per_sequence=tokens_per_sequence, layers=blocks,
        n_layers=len(layers or ()), n_keys=n_keys, heads=heads, top_k=top_k, key_dim=key_dim,
        rank=rank, keys=_choose(KEYS, keys, "keys"), rounds=rounds, samples=samples,
        temperature=temperature, seed=seed, keep_bytes=keep_bytes, t=t, max_df=max_df,
        damping=damping, damping_by=_choose({None: 0, **DAMPINGS}, damping_by, "damping_by"),
        rank_by=_choose({None: 0, **RANKS}, rank_by, "rank_by"), step_length=step_length,
        loss_below=loss_below, max_steps=max_steps, wordings_per_step=wordings_per_step,
        progress=callback.pointer, momentum=momentum)
    report = _abi.GraftReport()
    invoke(lib.smft_graft, required(model, Model, "model"), c_path(path), ctypes.byref(options),
           ctypes.byref(report), callbacks=[callback], stops=True)
    return GraftReport(**{name: getattr(report, name) for name in GraftReport.__dataclass_fields__})
