"""patch: what was learnt, apart from the model."""
from __future__ import annotations

import os
from ctypes import c_float, c_int64
from types import MethodType
from typing import Any, Callable, List, Optional, Type

from . import _abi, _arrays
from ._handle import Handle, Path, c_path, create, required
from ._library import lib
from .errors import UnsupportedError, check
from .model import Model, dtype_number

KINDS = {_abi.CONSTANTS["PATCH_SLOTS"]: "slots", _abi.CONSTANTS["PATCH_FULL"]: "full", _abi.CONSTANTS["PATCH_LORA"]: "lora"}


class _ClassOrInstance:
    """Patch.load(model, path) and patch.load(path): one name, as smft.Selector and smft.Optimizer have theirs on the instance."""

    def __init__(self, function: Callable[..., "Patch"]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, patch: Optional["Patch"], kind: Type["Patch"]) -> Callable[..., "Patch"]:
        return MethodType(self._function, kind) if patch is None else patch._load_here


class Patch(Handle):
    """An empty patch of value rows (sparse memory finetuning); Patch.full(model) has a private copy of every weight instead.

    Model + an empty patch gives exactly the model's logits.
    """

    _free = "smft_patch_free"

    def __init__(self, model: Model) -> None:
        self._adopt(model, create("smft_patch_create", _abi.Patch, required(model, Model, "model"), _abi.CONSTANTS["PATCH_SLOTS"]))

    def _adopt(self, model: Model, pointer: Any) -> "Patch":
        self._own(pointer)
        self.model = model
        return self

    @classmethod
    def full(cls, model: Model) -> "Patch":
        """A private f32 copy of every weight: full finetuning, pretraining."""
        pointer = create("smft_patch_create", _abi.Patch, required(model, Model, "model"), _abi.CONSTANTS["PATCH_FULL"])
        return cls.__new__(cls)._adopt(model, pointer)

    @_ClassOrInstance
    def load(cls, model: Model, path: Path) -> "Patch":
        """Patch.load(model, path): a new patch of what save wrote.  One of another model is a MismatchError.

        patch.load(path), of a patch of slots: what save wrote takes the place of what the patch holds; sessions that read it see that.
        """
        return cls.__new__(cls)._adopt(model, create("smft_patch_load", _abi.Patch, required(model, Model, "model"), c_path(path)))

    def _load_here(self, path: Path) -> "Patch":
        with type(self).load(self.model, path) as other:
            if (self.kind, other.kind) != ("slots", "slots"):
                raise UnsupportedError(f"{os.fspath(path)!r} holds a patch of {other.kind}, this one is of {self.kind}; "
                                       "only slots are loaded in place: use Patch.load(model, path)")
            with self.copy() as before:
                try:
                    return self._replace(other)
                except BaseException:
                    self._replace(before)
                    raise

    def _replace(self, other: "Patch") -> "Patch":
        self.clear()
        for pool in range(self.model.info.n_pools):
            for slot in other.slots(pool):
                self.set_row(pool, slot, other.row(pool, slot))
        return self

    def save(self, path: Path, dtype: Optional[str] = "f32") -> None:
        """Writes a safetensors file, whole or not at all.  dtype "f32" (exact) or "bf16" (half the size, rounded)."""
        check(lib.smft_patch_save(self._handle, c_path(path), dtype_number(dtype)))

    def copy(self) -> "Patch":
        """A snapshot."""
        return type(self).__new__(type(self))._adopt(self.model, create("smft_patch_copy", _abi.Patch, self._handle))

    @property
    def kind(self) -> str:
        """"slots" or "full"."""
        return KINDS.get(lib.smft_patch_kind(self._handle), "?")

    def clear(self) -> None:
        """Back to the base."""
        check(lib.smft_patch_clear(self._handle))

    def slots(self, pool: int = 0) -> List[int]:
        """Changed rows of a pool, ascending."""
        n = c_int64()
        check(lib.smft_patch_slots(self._handle, pool, None, 0, n))
        slots = (c_int64 * n.value)()
        if n.value:
            check(lib.smft_patch_slots(self._handle, pool, slots, n.value, n))
        return slots[:n.value]

    def row(self, pool: int, slot: int) -> Any:
        """A value row (value_dim) as model + patch have it, changed or not: a copy, f32."""
        value_dim = self.model.pool(pool)[1]
        values, pointer = _arrays.new(c_float, value_dim)
        check(lib.smft_patch_row(self._handle, pool, slot, pointer, value_dim))
        return values

    def set_row(self, pool: int, slot: int, values: Any) -> None:
        """values (value_dim): a sequence of numbers or a contiguous float32 array."""
        row = _arrays.floats(values, "values")
        check(lib.smft_patch_set_row(self._handle, pool, slot, row.pointer, row.n))

    def reset_row(self, pool: int, slot: int) -> None:
        """The base's row again."""
        check(lib.smft_patch_reset_row(self._handle, pool, slot))


