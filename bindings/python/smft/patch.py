"""patch: what was learnt, apart from the model."""
from __future__ import annotations

from ctypes import c_float, c_int64
from typing import Any, List, Optional

from . import _abi, _arrays
from ._handle import Handle, Path, c_path, create, required
from ._library import lib
from .errors import check
from .model import Model, dtype_number

KINDS = {_abi.CONSTANTS["PATCH_SLOTS"]: "slots", _abi.CONSTANTS["PATCH_FULL"]: "full", _abi.CONSTANTS["PATCH_LORA"]: "lora"}


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

    @classmethod
    def load(cls, model: Model, path: Path) -> "Patch":
        """Reads what save wrote.  A patch of another model is a MismatchError."""
        return cls.__new__(cls)._adopt(model, create("smft_patch_load", _abi.Patch, required(model, Model, "model"), c_path(path)))

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


