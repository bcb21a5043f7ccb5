"""patch: what was learnt, apart from the model."""
from __future__ import annotations

import ctypes
import math
import os
from ctypes import c_float, c_int64, c_size_t
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, Iterable, List, Optional, Tuple, Type, TypeVar, Union, overload

from . import _abi, _arrays, _handle
from ._handle import PEEK, Path, c_path, invoke, required, struct, whole
from ._library import lib
from .errors import BufferTooSmallError, InvalidError, UnsupportedError
from .model import Model, dtype_number

KINDS = {_abi.CONSTANTS["PATCH_SLOTS"]: "slots", _abi.CONSTANTS["PATCH_FULL"]: "full", _abi.CONSTANTS["PATCH_LORA"]: "lora"}
_KIND_NUMBERS = {name: number for number, name in KINDS.items()}
FACT_STATES = {_abi.CONSTANTS["FACT_LEARNING"]: "learning", _abi.CONSTANTS["FACT_DONE"]: "done",
               _abi.CONSTANTS["FACT_GAVE_UP"]: "gave up"}
LORA_TARGETS = {name: _abi.CONSTANTS["LORA_" + name.upper()] for name in ("q", "k", "v", "o", "gate", "up", "down")}

A = TypeVar("A")
B = TypeVar("B")
P = TypeVar("P", bound="Patch")


class _ClassOrInstance(Generic[A, B]):
    """One name for two things: of the class (Patch.load(model, path): a new patch) and of an object (patch.load(path): into this one, as
    smft.Selector and smft.Optimizer have it)."""

    def __init__(self, of_class: Callable[..., A], of_object: Callable[..., B]) -> None:
        self._of_class: Any = of_class  # a classmethod
        self._of_object: Any = of_object
        self.__doc__ = f"{getattr(of_class, '__func__').__doc__}\n\n        {of_object.__doc__}"

    @overload
    def __get__(self, patch: None, kind: Type["Patch"]) -> Callable[..., A]: ...

    @overload
    def __get__(self, patch: "Patch", kind: Type["Patch"]) -> Callable[..., B]: ...

    def __get__(self, patch: Optional["Patch"], kind: Type["Patch"]) -> Any:
        return (self._of_class if patch is None else self._of_object).__get__(patch, kind)


@dataclass(frozen=True)
class LoraOptions:
    """How the adapters of a LoRA patch are: W + scale * B A."""

    rank: int  # columns of B and rows of A
    alpha: float
    targets: Tuple[str, ...]  # the kinds of matrices that have an adapter: "q", "k", "v", "o", "gate", "up", "down"
    rank_stabilized: bool
    seed: int  # of A; adapters that PEFT wrote have 0

    @property
    def scale(self) -> float:
        """alpha / rank; rank_stabilized: alpha / sqrt(rank)."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)


@dataclass(frozen=True)
class Fact:
    """A fact that a patch was taught."""

    id: str  # under which it was pushed; two facts may have the same
    state: str  # "done", or "gave up": given up, and its changes kept
    wordings: int  # that it was taught in
    rows: List[Tuple[int, int]] = field(repr=False)  # (pool, slot) of what it changed
    reads: int  # slots that its wordings read, which facts that follow spare; 0: it is not protected


class Patch(_handle.Patch):
    """An empty patch.  Model + an empty patch gives exactly the model's logits.

    kind "slots": value rows of memory pools (sparse memory finetuning), "full": a private copy of every weight, "lora": low-rank adapters.
    The same as Patch.slots(model), Patch.full(model), Patch.lora(model), which takes options.
    """

    _free = "smft_patch_free"
    _mode = PEEK

    def __init__(self, model: Model, kind: str = "slots") -> None:
        required(model, Model, "model")
        if kind not in _KIND_NUMBERS:
            raise InvalidError(f"kind must be one of {', '.join(map(repr, _KIND_NUMBERS))}, got {kind!r}")
        self._make(model, "smft_patch_create", model, _KIND_NUMBERS[kind])

    def _make(self: P, of: Model, function: str, *arguments: Any) -> P:
        self.model, self._shapes = of, of._shapes()
        self._create(function, _abi.Patch, *arguments)
        return self

    # -- a new one

    @classmethod
    def _new_slots(cls, model: Model) -> "Patch":
        """Patch.slots(model): an empty patch of value rows, copied where they change: sparse memory finetuning."""
        return cls(model, "slots")

    @classmethod
    def full(cls, model: Model) -> "Patch":
        """A private f32 copy of every weight: full finetuning, pretraining."""
        return cls(model, "full")

    @classmethod
    def lora(cls, model: Model, rank: int = 16, alpha: Optional[float] = None, targets: Union[str, Iterable[str]] = "all",
             rank_stabilized: bool = False, seed: int = 0) -> "Patch":
        """Low-rank adapters beside attention and FFN matrices, W + alpha/rank * B A: LoRA finetuning.

        rank: 1 or more.  alpha: None: 2 * rank.  targets: "all" that the model has, or a list of "q", "k", "v", "o", "gate", "up", "down";
        a model with none of those is an UnsupportedError.  rank_stabilized: alpha / sqrt(rank) instead (rsLoRA).  seed: of A; B starts as
        zeros.
        """
        required(model, Model, "model")
        options = struct(_abi.LoraOptions, rank=_rank(rank), alpha=_alpha(alpha), targets=_target_bits(targets), seed=seed,
                         flags=_abi.CONSTANTS["LORA_RANK_STABILIZED"] if rank_stabilized else 0)
        return cls.__new__(cls)._make(model, "smft_patch_create_lora", model, ctypes.byref(options))

    def copy(self) -> "Patch":
        """A snapshot."""
        return self._made("smft_patch_copy")

    def merge(self) -> "Patch":
        """A full patch with the weights that model + patch have, of any kind: changed rows put in place, adapters multiplied out."""
        return self._made("smft_patch_merge")

    def _made(self, function: str) -> "Patch":
        return type(self).__new__(type(self))._make(self.model, function, self)

    # -- files

    @classmethod
    def _load_new(cls, model: Model, path: Path) -> "Patch":
        """Patch.load(model, path): a new patch of what save wrote, or of LoRA adapters that PEFT wrote (path: their directory, with
        adapter_config.json and adapter_model.safetensors).  One of another model is a MismatchError; what an adapter needs that is not
        done here (DoRA, biases, other modules, ...) an UnsupportedError that names it."""
        return cls.__new__(cls)._make(model, "smft_patch_load", required(model, Model, "model"), c_path(path))

    def _load_here(self, path: Path) -> "Patch":
        """patch.load(path), of a patch of slots: what save wrote takes the place of what the patch holds; sessions that read it see
        that."""
        kind = self.kind
        with type(self).load(self.model, path) as other:
            if (kind, other.kind) != ("slots", "slots"):
                raise UnsupportedError(f"{os.fspath(path)!r} holds a patch of {other.kind}, this one is of {kind}; "
                                       "only slots are loaded in place: use Patch.load(model, path)")
            invoke(lib.smft_patch_assign, self, other)
        return self

    load = _ClassOrInstance(_load_new, _load_here)

    @classmethod
    def from_bytes(cls, model: Model, data: Any) -> "Patch":
        """A new patch of what to_bytes gave, or of the bytes of a file that save wrote; they are copied."""
        _view, pointer, size = _arrays.raw_bytes(data)
        return cls.__new__(cls)._make(model, "smft_patch_load_buffer", required(model, Model, "model"), pointer, size)

    def to_bytes(self, dtype: Optional[str] = "f32") -> bytes:
        """What save would write, for a database.  A LoRA patch: adapter_model.safetensors, with adapter_config.json in its metadata."""
        number, size = dtype_number(dtype), c_int64()
        invoke(lib.smft_patch_save_buffer, self, number, None, 0, size)
        while True:
            capacity = size.value
            data = ctypes.create_string_buffer(capacity)
            try:
                invoke(lib.smft_patch_save_buffer, self, number, data, capacity, size)
                return data.raw[:size.value]
            except BufferTooSmallError:  # a learner changed more meanwhile
                continue

    def save(self, path: Path, dtype: Optional[str] = "f32") -> None:
        """Writes a safetensors file, whole or not at all; a LoRA patch: a directory, made if missing, in PEFT's layout
        (adapter_config.json, adapter_model.safetensors), which PEFT loads.  dtype "f32" (exact) or "bf16" (half the size, rounded)."""
        invoke(lib.smft_patch_save, self, c_path(path), dtype_number(dtype))

    # -- what it holds

    @property
    def kind(self) -> str:
        """"slots", "full" or "lora"."""
        return KINDS.get(invoke(lib.smft_patch_kind, self, then=whole), "?")

    @property
    def lora_options(self) -> LoraOptions:
        """Of a LoRA patch, with the defaults filled in; of another an UnsupportedError."""
        raw = _abi.LoraOptions()
        invoke(lib.smft_patch_get_lora, self, ctypes.byref(raw))
        return LoraOptions(rank=raw.rank, alpha=raw.alpha, targets=tuple(name for name, bit in LORA_TARGETS.items() if raw.targets & bit),
                           rank_stabilized=bool(raw.flags & _abi.CONSTANTS["LORA_RANK_STABILIZED"]), seed=raw.seed)

    @property
    def version(self) -> int:
        """Number of the present version: larger after every change.  A call that reads reads one version from its beginning to its end."""
        return invoke(lib.smft_patch_version, self, then=whole)

    def clear(self) -> None:
        """Back to the base; adapters start again as their seed has them."""
        invoke(lib.smft_patch_clear, self)

    def _changed_slots(self, pool: int = 0) -> List[int]:
        """patch.slots(pool): the changed rows of a pool, ascending."""
        n = c_int64()
        invoke(lib.smft_patch_slots, self, pool, None, 0, n)
        while n.value:
            capacity = n.value
            slots = (c_int64 * capacity)()
            try:
                invoke(lib.smft_patch_slots, self, pool, slots, capacity, n)
                return slots[:n.value]
            except BufferTooSmallError:  # a learner changed more meanwhile
                continue
        return []

    slots = _ClassOrInstance(_new_slots, _changed_slots)

    def row(self, pool: int, slot: int) -> Any:
        """A value row (value_dim) as model + patch have it, changed or not: a copy, f32."""
        value_dim = self._shapes[pool][1] if 0 <= pool < len(self._shapes) else 0  # where C says what is wrong
        values, pointer = _arrays.new(c_float, value_dim)
        invoke(lib.smft_patch_row, self, pool, slot, pointer, value_dim)
        return values

    def set_row(self, pool: int, slot: int, values: Any) -> None:
        """values (value_dim): a sequence of numbers or a contiguous float32 array."""
        row = _arrays.floats(values, "values")
        invoke(lib.smft_patch_set_row, self, pool, slot, row.pointer, row.n)

    def reset_row(self, pool: int, slot: int) -> None:
        """The base's row again."""
        invoke(lib.smft_patch_reset_row, self, pool, slot)

    # -- what it was taught

    @property
    def facts(self) -> List[Fact]:
        """The facts that the patch was taught, the oldest first: kept with it, and in its file; facts that follow spare what they read.
        Only patches of slots have any."""
        return [self._fact(i) for i in range(invoke(lib.smft_patch_fact_count, self, then=whole))]

    def _fact(self, index: int) -> Fact:
        info, length, n = _abi.FactInfo(), c_size_t(), c_int64()
        invoke(lib.smft_patch_fact_get, self, index, ctypes.byref(info))
        invoke(lib.smft_patch_fact_id, self, index, None, 0, length)
        name = ctypes.create_string_buffer(length.value + 1)
        invoke(lib.smft_patch_fact_id, self, index, name, length.value + 1, length)
        rows = (_abi.FactRow * info.n_rows)()
        invoke(lib.smft_patch_fact_rows, self, index, rows, info.n_rows, n)
        return Fact(id=name.value.decode("utf-8"), state=FACT_STATES.get(info.state, "?"), wordings=info.n_wordings,
                    rows=[(row.pool, row.slot) for row in rows], reads=info.n_reads)

    def remove_fact(self, index: int) -> None:
        """Forgets that facts[index] was taught: what it read is not spared any more, and facts after it move up.  Its rows stay as they
        are; to take them back, reset_row those of its rows that no other fact changed, before."""
        invoke(lib.smft_patch_fact_remove, self, index)

    def _describe(self) -> str:
        n = invoke(lib.smft_patch_fact_count, self, then=whole)
        return f"{self.kind}, version {self.version}" + (f", {n} facts" if n else "")


# ---- options of C in which 0 means the default: here nothing given does --------------------------------------------------------


def _rank(rank: int) -> int:
    if not 1 <= rank < 2**31:  # beyond, ctypes would cut it
        raise InvalidError(f"rank must be 1 or more, got {rank!r}")
    return rank


def _alpha(alpha: Optional[float]) -> float:
    if alpha is not None and alpha == 0:
        raise InvalidError("alpha must be positive; None is 2 * rank")
    return 0.0 if alpha is None else alpha


def _target_bits(targets: Union[str, Iterable[str]]) -> int:
    if targets == "all":
        return _abi.CONSTANTS["LORA_ALL"]
    names = [] if isinstance(targets, str) else list(targets)
    if not names or not set(names) <= set(LORA_TARGETS):
        raise InvalidError(f"targets must be 'all' or a list of some of {', '.join(map(repr, LORA_TARGETS))}, got {names or targets!r}")
    return sum(LORA_TARGETS[name] for name in set(names))
