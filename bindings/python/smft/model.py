"""model: an immutable model, its tokenizer and its memory layers."""
from __future__ import annotations

import ctypes
import os
from ctypes import c_float, c_int32, c_int64
from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from . import _abi, _arrays, chat
from ._handle import (PEEK, Handle, Part, Patch, Path, Progress, Text, c_path, c_text, invoke, optional, progress_callback, result, struct,
                      utf8, whole)
from ._library import lib
from .chat import ChatTemplate
from .context import Context, context_handle
from .errors import BufferTooSmallError, InvalidError, NotFoundError, check

DTYPES = {None: 0, "f32": _abi.CONSTANTS["DTYPE_F32"], "f16": _abi.CONSTANTS["DTYPE_F16"], "bf16": _abi.CONSTANTS["DTYPE_BF16"]}
DAMPINGS = {"squares": _abi.CONSTANTS["DAMPING_SQUARES"], "df": _abi.CONSTANTS["DAMPING_DF"]}
RANKS = {"counts": _abi.CONSTANTS["RANK_COUNTS"], "weights": _abi.CONSTANTS["RANK_WEIGHTS"]}
QUANTS = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k")  # of GGUF files: read; q8_0 alone is written
FORMATS = {"huggingface": _abi.CONSTANTS["FORMAT_HUGGING_FACE"], "gguf": _abi.CONSTANTS["FORMAT_GGUF"]}
DTYPE_NAMES = {number: name for name, number in DTYPES.items() if name}
DTYPE_NAMES.update((_abi.CONSTANTS["DTYPE_" + name.upper()], name) for name in QUANTS)


def dtype_number(dtype: Optional[str]) -> int:
    if dtype not in DTYPES:
        raise InvalidError(f"dtype must be one of 'f32', 'f16', 'bf16' or None, got {dtype!r}")
    return DTYPES[dtype]


@dataclass(frozen=True)
class ModelInfo:
    n_layers: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    context_length: int
    bos_id: Optional[int]
    eos_id: Optional[int]
    tied: bool
    n_memories: int
    n_pools: int
    n_parameters: int


@dataclass(frozen=True)
class MemoryInfo:
    layer: int  # which block
    pool: int  # which value pool it reads
    placement: str  # "replace" or "beside"
    n_keys: int  # the pool has n_keys * n_keys slots
    heads: int
    top_k: int
    key_dim: int
    value_dim: int
    n_slots: int


@dataclass(frozen=True)
class LearnDefaults:
    """What a selector and a learner do where they are told nothing, and a learner of slots without an optimizer."""

    t: int
    max_df: Optional[float]  # None: any row may change
    damping: float  # negative: none
    damping_by: str  # "squares" or "df"
    rank_by: str  # "counts" or "weights"
    step_length: Optional[float]  # None: the optimizer's rate instead
    loss_below: float
    max_steps: int
    wordings_per_step: int  # negative: all
    frames: bool  # a fact pushed with one wording is learnt through others made of it
    momentum: float  # beside step_length, of the optimizer
    length_by_loss: bool  # the same


@dataclass(frozen=True)
class Tensor:
    index: int
    name: str
    dtype: str
    n_elements: int


@dataclass(frozen=True)
class Inspection:
    format: str  # "huggingface" or "gguf"
    can_run: bool  # Model(path) takes it; else `why` says what it lacks
    why: str
    family: str  # "llama", "qwen3"
    n_layers: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    context_length: int
    n_parameters: int
    dtype: Optional[str]  # of most of its weights: "bf16", "q4_k"
    quantization: str  # as GGUF files name it: "BF16", "Q4_K"
    weight_bytes: int
    cache_bytes: int  # of a session, for each token in it
    license: str


def inspect(path: Path, context: Optional[Context] = None) -> Inspection:
    """What a model on disk is, and whether it can be run here, from its headers alone.  What is not known is 0 or empty."""
    raw = _abi.ModelInspection()
    invoke(lib.smft_model_inspect, context_handle(context), c_path(path), ctypes.byref(raw))
    fields = {name: getattr(raw, name) for name in Inspection.__dataclass_fields__}
    for name in ("why", "family", "quantization", "license"):
        fields[name] = fields[name].decode("utf-8", "replace")
    fields["format"] = "gguf" if raw.format == _abi.CONSTANTS["FORMAT_GGUF"] else "huggingface"
    fields["can_run"] = bool(raw.can_run)
    fields["dtype"] = DTYPE_NAMES.get(raw.dtype)
    return Inspection(**fields)


class Tokenizer(Part):
    """Text <-> token ids.  `model.tokenizer`, or Tokenizer.load(path) for one of its own."""

    # Of a model, or of the handle of a tokenizer that was loaded alone.

    @classmethod
    def load(cls, path: Path, context: Optional[Context] = None) -> "Tokenizer":
        """path: a tokenizer.json, a directory that holds one, or one with GPT-2's encoder.json and vocab.bpe."""
        owner = _TokenizerHandle(context_handle(context), c_path(path))
        return cls(owner, owner._held().pointer)

    def __repr__(self) -> str:
        return f"<smft.Tokenizer: {'closed' if self._owner.closed else f'{self.vocab_size} tokens'}>"

    def encode(self, text: Text, special: bool = True, parse: bool = True, continues: bool = False,
               prompt: bool = False) -> List[int]:
        """Ids of a text.

        special: add what the tokenizer puts around a whole text (begin-of-text; with some, end-of-text).  prompt: an answer
        follows: add only what stands before.  parse: special tokens written in the text become those tokens.
        continues: the text continues another: no prefix space, nothing added.
        """
        data = utf8(text, "text")
        flags = 0 if parse else _abi.CONSTANTS["ENCODE_NO_PARSE"]
        around = "ENCODE_PROMPT" if prompt else "ENCODE_SPECIAL"
        flags |= _abi.CONSTANTS["ENCODE_CONTINUE"] if continues else _abi.CONSTANTS[around] if special else 0
        n = c_int64()
        capacity = len(data) + 8  # a token is a byte or more; few texts need a second call
        while True:
            ids = (c_int32 * capacity)()
            try:
                invoke(lib.smft_tokenizer_encode, self, data, len(data), flags, ids, capacity, n)
                return ids[:n.value]
            except BufferTooSmallError:
                capacity = n.value

    def decode(self, ids: Any, skip_special: bool = False) -> str:
        """Text of ids (n).  Bytes that are no UTF-8 become U+FFFD."""
        tokens = _arrays.token_ids(ids)
        flags = _abi.CONSTANTS["DECODE_SKIP_SPECIAL"] if skip_special else 0
        length = ctypes.c_size_t()
        capacity = tokens.n * 8 + 64
        while True:
            text = ctypes.create_string_buffer(capacity)
            try:
                invoke(lib.smft_tokenizer_decode, self, tokens.pointer, tokens.n, flags, text, capacity, length)
                return ctypes.string_at(text, length.value).decode("utf-8", "replace")
            except BufferTooSmallError:
                capacity = length.value + 1

    def token_id(self, token: Text) -> Optional[int]:
        """Id of a token by its exact spelling in the vocabulary, or None."""
        out = c_int32()
        try:
            invoke(lib.smft_tokenizer_token_id, self, c_text(token, "token"), out)
        except NotFoundError:
            return None
        return out.value

    @property
    def chat_template(self) -> ChatTemplate:
        """The model's chat template, and whether libsmft has a renderer for it."""
        return chat.template_of(self)

    def chat(self, messages: Sequence[chat.Message], answer: bool = True, parse: bool = False, thinking: bool = True,
             renderer: Optional[str] = None, date: chat.Date = None, **variables: Any) -> List[int]:
        """Ids of a conversation by the model's chat template: session.feed(ids), then session.generate("", continues=True).

        messages: dicts with "role" and "content", or pairs of them.  answer: the opening of an answer stands behind them.
        parse: special tokens that messages spell become those tokens; else they are text.  thinking: False opens an answer without
        thoughts, where the template has a word for it.  renderer: one of libsmft's, in place of the template.  date: the day that a
        template says it is (a datetime.date or YYYYMMDD); None: today, UTC.  variables: others that a template reads, such as tools.

        A template that libsmft has no renderer for, messages with more than role and text, and variables need jinja2.
        """
        wanted = chat.normal_messages(messages)
        template = self.chat_template
        words = dict(variables) if thinking else {"enable_thinking": False, **variables}
        in_c = renderer is not None or template.text is None or (template.renderer is not None and not variables)
        if in_c and chat.is_plain(wanted):
            flags = (_abi.CONSTANTS["CHAT_OPEN_ANSWER"] if answer else 0) | (_abi.CONSTANTS["CHAT_PARSE"] if parse else 0)
            flags |= 0 if thinking else _abi.CONSTANTS["CHAT_NO_THINKING"]
            return chat.ids_in_c(self, wanted, flags, renderer, date)
        if renderer is not None or template.text is None:
            raise InvalidError("chat: libsmft's renderers take messages of a role and a text")
        return chat.ids_in_jinja(self.encode, template, wanted, answer, parse, date, words)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return invoke(lib.smft_tokenizer_vocab_size, self, then=whole)

    def __len__(self) -> int:
        return self.vocab_size


class _TokenizerHandle(Handle):
    _free = "smft_tokenizer_free"
    _mode = PEEK

    def __init__(self, context: Context, path: bytes) -> None:
        self._create("smft_tokenizer_load", _abi.Tokenizer, context, path)


class Model(Handle):
    """A model, opened read-only and mapped; any number of sessions, patches and threads share it.

    path: a Hugging Face directory, a GGUF file (the first part of a split one), or a directory that holds one GGUF model.
    copy: read the weights into memory instead (where the files may be truncated while the model lives).
    """

    _free = "smft_model_free"
    _mode = PEEK
    _buffer: Any = None  # what the weights are read from, where that is memory
    _known_shapes: Optional[List[Tuple[int, int]]] = None

    def __init__(self, path: Path, copy: bool = False, context: Optional[Context] = None, progress: Optional[Progress] = None) -> None:
        callback = progress_callback(progress)
        options = _abi.LoadOptions(flags=_abi.CONSTANTS["LOAD_COPY"] if copy else 0, progress=callback.pointer)
        self._create("smft_model_load", _abi.Model, context_handle(context), c_path(path), ctypes.byref(options), callbacks=[callback],
                     stops=True)

    @classmethod
    def init(cls, directory: Path, seed: int = 0, context: Optional[Context] = None) -> "Model":
        """A new model with random weights, from a directory that holds config.json and, if wanted, tokenizer.json."""
        model = cls.__new__(cls)
        model._create("smft_model_init", _abi.Model, context_handle(context), c_path(directory), seed)
        return model

    @classmethod
    def from_buffer(cls, data: Any, copy: bool = False, context: Optional[Context] = None) -> "Model":
        """A model from the bytes of one GGUF file: bytes, bytearray, memoryview, mmap.

        The bytes are kept alive, and must not change, as long as anything made from the model lives; copy: they need not.
        """
        view, pointer, size = _arrays.raw_bytes(data)
        options = _abi.LoadOptions(flags=_abi.CONSTANTS["LOAD_COPY"] if copy else 0)
        model = cls.__new__(cls)
        model._buffer = None if copy else view
        model._create("smft_model_load_buffer", _abi.Model, context_handle(context), pointer, size, ctypes.byref(options))
        return model

    def export(self, path: Path, patch: Optional[Patch] = None, dtype: Optional[str] = "bf16",
               progress: Optional[Progress] = None, format: str = "huggingface") -> None:
        """Writes model + patch: format "huggingface": a directory; "gguf": one file, for llama.cpp, of a model without memory.
        dtype: "f32", "f16", "bf16", for a GGUF also "q8_0"; None: each tensor as it is."""
        if format not in FORMATS:
            raise InvalidError(f"format must be one of 'huggingface' or 'gguf', got {format!r}")
        gguf = format == "gguf"
        number = _abi.CONSTANTS["DTYPE_Q8_0"] if gguf and dtype == "q8_0" else dtype_number(dtype)
        callback = progress_callback(progress)
        options = _abi.ExportOptions(dtype=number, progress=callback.pointer, format=FORMATS[format])
        invoke(lib.smft_model_export, self, optional(patch, Patch, "patch"), c_path(path), ctypes.byref(options), callbacks=[callback],
               stops=True)

    @property
    def info(self) -> ModelInfo:
        raw = _abi.ModelInfo()
        invoke(lib.smft_model_get_info, self, ctypes.byref(raw))
        fields = {name: getattr(raw, name) for name in ModelInfo.__dataclass_fields__}
        for name in ("bos_id", "eos_id"):
            fields[name] = None if fields[name] < 0 else fields[name]
        fields["tied"] = bool(fields["tied"])
        return ModelInfo(**fields)

    @property
    def learn_defaults(self) -> LearnDefaults:
        """From the model's config.json ("memory": {"learn": {...}}), else the library's own."""
        raw = _abi.LearnDefaults()
        invoke(lib.smft_model_learn_defaults, self, ctypes.byref(raw))
        fields = {name: getattr(raw, name) for name in LearnDefaults.__dataclass_fields__}
        fields["max_df"] = raw.max_df if raw.max_df >= 0 else None
        fields["step_length"] = raw.step_length or None
        fields["damping_by"] = {number: name for name, number in DAMPINGS.items()}[raw.damping_by]
        fields["rank_by"] = {number: name for name, number in RANKS.items()}[raw.rank_by]
        fields["frames"] = bool(raw.frames)
        fields["length_by_loss"] = bool(raw.length_by_loss)
        return LearnDefaults(**fields)

    @property
    def stop_ids(self) -> List[int]:
        """Ids at which generation ends."""
        n = c_int64()
        invoke(lib.smft_model_stop_ids, self, None, 0, n)
        ids = (c_int32 * max(1, n.value))()
        invoke(lib.smft_model_stop_ids, self, ids, n.value, n)
        return ids[:n.value]

    @property
    def hash(self) -> str:
        """Fingerprint (64 hex digits); patches and background counts carry it."""
        return invoke(lib.smft_model_hash, self, then=lambda text, _: str(text, "ascii"))

    @property
    def base(self) -> Optional[str]:
        """Path of the model that a grafted model's memory was put into; None: it is not grafted."""
        path: Optional[bytes] = invoke(lib.smft_model_base, self, then=result)
        return os.fsdecode(path) if path else None

    @property
    def tokenizer(self) -> Optional[Tokenizer]:
        """None where the directory has no tokenizer.json, or the GGUF no vocabulary."""
        pointer = invoke(lib.smft_model_tokenizer, self, then=result)
        return Tokenizer(self, pointer) if pointer else None

    @property
    def memories(self) -> List[MemoryInfo]:
        """The memory layers, in order of depth."""
        return [self._memory(i) for i in range(self.info.n_memories)]

    def _memory(self, i: int) -> MemoryInfo:
        raw = _abi.MemoryInfo()
        invoke(lib.smft_memory_get_info, Part(self, invoke(lib.smft_model_memory, self, i, then=result)), ctypes.byref(raw))
        fields = {name: getattr(raw, name) for name in MemoryInfo.__dataclass_fields__}
        fields["placement"] = "beside" if raw.placement == _abi.CONSTANTS["PLACEMENT_BESIDE"] else "replace"
        return MemoryInfo(**fields)

    def pool(self, pool: int = 0) -> Tuple[int, int]:
        """Slots of a pool and the numbers in each: (n_slots, value_dim)."""
        n_slots, value_dim = c_int64(), c_int64()
        invoke(lib.smft_model_pool, self, pool, n_slots, value_dim)
        return n_slots.value, value_dim.value

    def _shapes(self) -> List[Tuple[int, int]]:
        """pool(i) of each pool: what patches and selectors know when the model is closed."""
        if self._known_shapes is None:
            self._known_shapes = [self.pool(i) for i in range(self.info.n_pools)]
        return self._known_shapes

    def tensors(self) -> Iterator[Tensor]:
        """Name, type and size of every tensor, in order of name."""
        name, dtype, n = ctypes.c_char_p(), c_int32(), c_int64()
        index = 0

        def named(status: int, path: Any) -> str:
            check(status, path)
            return (name.value or b"").decode("utf-8")

        while True:
            try:
                spelled = invoke(lib.smft_model_tensor, self, index, name, dtype, n, then=named)
            except NotFoundError:
                return
            yield Tensor(index, spelled, DTYPE_NAMES.get(dtype.value, "?"), n.value)
            index += 1

    def tensor(self, name: str, patch: Optional[Patch] = None) -> Any:
        """Values (n_elements) of a tensor as model + patch have it, as f32, row-major."""
        for tensor in self.tensors():
            if tensor.name == name:
                values, pointer = _arrays.new(c_float, tensor.n_elements)
                invoke(lib.smft_model_tensor_values, self, optional(patch, Patch, "patch"), tensor.index, pointer, tensor.n_elements)
                return values
        raise NotFoundError(f"the model has no tensor named {name!r}")

    def _describe(self) -> str:
        info = self.info
        memory = f", {info.n_memories} of memory" if info.n_memories else ""
        return f"{info.n_layers} layers{memory}, {info.n_parameters:,} parameters"
