"""_abi: smft.h in ctypes: structures, callbacks, constants and the signature of every function.

Owns nothing but declarations.  tests/test_abi.py compares all of it with the header, field by field.
"""
from __future__ import annotations

import ctypes
from ctypes import (CFUNCTYPE, POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64,
                    c_void_p)
from typing import Any, Dict, List, Tuple

VERSION = (0, 1)  # major, minor of the header that this file mirrors


class Ctx(Structure):
    """Opaque.  A type of its own for each handle: ctypes then refuses the wrong one."""


class Model(Structure):
    pass


class Memory(Structure):
    pass


class Tokenizer(Structure):
    pass


class Patch(Structure):
    pass


class Session(Structure):
    pass


class Selector(Structure):
    pass


class Optimizer(Structure):
    pass


class Learner(Structure):
    pass


class Wordings(Structure):
    pass


class Probe(Structure):
    pass


ProgressFn = CFUNCTYPE(c_int32, c_void_p, c_char_p, c_int64, c_int64)
FactFn = CFUNCTYPE(c_int32, c_void_p, c_void_p)  # a Report
LogFn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
AllocFn = CFUNCTYPE(c_void_p, c_void_p, c_size_t)
ReallocFn = CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_size_t)
FreeFn = CFUNCTYPE(None, c_void_p, c_void_p)
BlockFn = CFUNCTYPE(None, c_void_p, c_int64)
ParallelForFn = CFUNCTYPE(None, c_void_p, c_int64, BlockFn, c_void_p)
# The text is no C string: it comes with its length.
TokenFn = CFUNCTYPE(c_int32, c_void_p, c_int32, c_void_p, c_size_t)


class Sized(Structure):
    """A struct whose first field is its size; every other field starts as zero."""

    def __init__(self, **values: Any) -> None:
        super().__init__(struct_size=ctypes.sizeof(type(self)), **values)


class CtxOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("n_threads", c_int32), ("alloc", AllocFn), ("realloc", ReallocFn), ("free", FreeFn),
                ("alloc_user", c_void_p), ("log", LogFn), ("log_user", c_void_p), ("parallel_for", ParallelForFn),
                ("parallel_user", c_void_p), ("flags", c_uint32), ("reserved", c_uint32)]


class LoadOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("progress", ProgressFn), ("progress_user", c_void_p)]


class ModelInspection(Sized):
    _fields_ = [("struct_size", c_uint32), ("format", c_int32), ("can_run", c_int32), ("n_layers", c_int32),
                ("hidden_size", c_int32), ("n_heads", c_int32), ("n_kv_heads", c_int32), ("vocab_size", c_int32),
                ("context_length", c_int32), ("dtype", c_int32), ("n_parameters", c_int64), ("weight_bytes", c_int64),
                ("cache_bytes", c_int64), ("family", c_char * 64), ("quantization", c_char * 16), ("license", c_char * 64),
                ("why", c_char * 512)]


class ExportOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("dtype", c_int32), ("progress", ProgressFn), ("progress_user", c_void_p),
                ("format", c_int32), ("reserved", c_int32)]


class ModelInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("n_layers", c_int32), ("hidden_size", c_int32), ("n_heads", c_int32),
                ("n_kv_heads", c_int32), ("head_dim", c_int32), ("ffn_size", c_int32), ("vocab_size", c_int32),
                ("context_length", c_int32), ("bos_id", c_int32), ("eos_id", c_int32), ("tied", c_int32), ("n_memories", c_int32),
                ("n_pools", c_int32), ("n_parameters", c_int64)]


class MemoryInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("layer", c_int32), ("pool", c_int32), ("placement", c_int32), ("n_keys", c_int32),
                ("heads", c_int32), ("top_k", c_int32), ("key_dim", c_int32), ("value_dim", c_int32), ("reserved", c_int32),
                ("n_slots", c_int64)]


class LearnDefaults(Sized):
    _fields_ = [("struct_size", c_uint32), ("damping_by", c_int32), ("rank_by", c_int32), ("max_steps", c_int32),
                ("wordings_per_step", c_int32), ("frames", c_int32), ("t", c_int64), ("damping", c_double),
                ("max_df", c_double), ("step_length", c_double), ("loss_below", c_double), ("momentum", c_double),
                ("length_by_loss", c_int32), ("reserved", c_int32)]


class LoraOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("rank", c_int32), ("alpha", c_double), ("targets", c_uint32), ("flags", c_uint32),
                ("seed", c_uint64)]


class FactInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("state", c_int32), ("n_wordings", c_int64), ("n_rows", c_int64), ("n_reads", c_int64)]


class FactRow(Structure):
    _fields_ = [("slot", c_int64), ("pool", c_int32), ("reserved", c_int32)]


class SessionOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("context_length", c_int32), ("flags", c_uint32), ("reserved", c_uint32)]


class GenerateOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("max_tokens", c_int32), ("temperature", c_float), ("top_p", c_float),
                ("top_k", c_int32), ("flags", c_uint32), ("seed", c_uint64), ("stop", c_char_p), ("on_token", TokenFn),
                ("user", c_void_p), ("max_seconds", c_double)]


class Message(Structure):
    _fields_ = [("role", c_char_p), ("content", c_char_p)]


class ChatOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("renderer", c_char_p), ("date", c_int32), ("reserved", c_int32)]


class ChatInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("thinks", c_int32), ("renderer", c_char_p), ("hash", c_char_p),
                ("template_text", c_char_p), ("bos", c_char_p), ("eos", c_char_p)]


class SelectorOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("rule", c_int32), ("t", c_int64), ("flags", c_uint32), ("reserved", c_int32),
                ("damping", c_double), ("max_df", c_double), ("damping_by", c_int32), ("rank_by", c_int32)]


class Background(Sized):
    _fields_ = [("struct_size", c_uint32), ("pad_id", c_int32), ("text_path", c_char_p), ("ids", POINTER(c_int32)),
                ("lengths", POINTER(c_int64)), ("n_sequences", c_int64), ("sequences_per_batch", c_int64),
                ("tokens_per_sequence", c_int64), ("max_batches", c_int64), ("progress", ProgressFn), ("progress_user", c_void_p),
                ("texts", POINTER(c_char_p)), ("n_texts", c_int64)]


class GraftOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("sources", POINTER(POINTER(Background))), ("n_sources", c_int64),
                ("tokens_per_sequence", c_int64), ("layers", POINTER(c_int32)), ("n_layers", c_int32), ("n_keys", c_int32),
                ("heads", c_int32), ("top_k", c_int32), ("key_dim", c_int32), ("rank", c_int32), ("keys", c_int32), ("rounds", c_int32),
                ("samples", c_int64), ("temperature", c_double), ("seed", c_uint64), ("keep_bytes", c_int64), ("t", c_int64),
                ("max_df", c_double), ("damping", c_double), ("damping_by", c_int32), ("rank_by", c_int32), ("step_length", c_double),
                ("loss_below", c_double), ("max_steps", c_int64), ("wordings_per_step", c_int64), ("progress", ProgressFn),
                ("progress_user", c_void_p), ("momentum", c_double)]


class GraftReport(Sized):
    _fields_ = [("struct_size", c_uint32), ("n_layers", c_int32), ("n_sequences", c_int64), ("n_tokens", c_int64), ("n_samples", c_int64),
                ("state_length", c_double), ("step_length", c_double), ("unread", c_double), ("seconds", c_double)]


class OptimizerOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("kind", c_int32), ("flags", c_uint32), ("reserved", c_int32), ("lr", c_double),
                ("momentum", c_double), ("weight_decay", c_double), ("beta1", c_double), ("beta2", c_double), ("eps", c_double),
                ("clip_norm", c_double), ("pool_lr", c_double), ("pool_clip_norm", c_double), ("pool_weight_decay", c_double),
                ("warmup_steps", c_int64), ("step_length", c_double)]


class LearnerOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("max_steps", c_int32), ("wordings_per_step", c_int32),
                ("loss_below", c_double), ("seed", c_uint64), ("max_seconds", c_double), ("on_fact", FactFn),
                ("on_fact_user", c_void_p)]


class Wording(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("prompt", c_char_p), ("answer", c_char_p), ("end", c_char_p),
                ("statement", c_char_p)]


class IdsWording(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_uint32), ("prompt", POINTER(c_int32)), ("n_prompt", c_int64),
                ("answer", POINTER(c_int32)), ("n_answer", c_int64)]


class WordingsOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("subject", c_char_p), ("limit", c_int64),
                ("chat", POINTER(ChatOptions))]


class WordingInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("kind", c_int32), ("prompt", c_char_p), ("answer", c_char_p), ("end", c_char_p),
                ("prompt_ids", POINTER(c_int32)), ("n_prompt_ids", c_int64), ("answer_ids", POINTER(c_int32)),
                ("n_answer_ids", c_int64)]


class Report(Sized):
    _fields_ = [("struct_size", c_uint32), ("fact_state", c_int32), ("fact_id", c_char_p), ("step", c_int64), ("loss", c_double),
                ("gradient_norm", c_double), ("lr", c_double), ("rows_selected", c_int64), ("slots_read", c_int64),
                ("reads", c_int64), ("tokens", c_int64), ("tokens_supervised", c_int64), ("seconds", c_double),
                ("pending", c_int64), ("reason", c_int32), ("rolled_back", c_int32), ("wordings", c_int64),
                ("wordings_learnt", c_int64), ("worst_loss", c_double), ("check_tokens", c_int64), ("check_seconds", c_double),
                ("wordings_left_out", c_int64)]


class Selected(Structure):
    _fields_ = [("slot", c_int64), ("score", c_double), ("pool", c_int32), ("reserved", c_int32)]


class RunReport(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), ("facts_done", c_int64), ("facts_gave_up", c_int64),
                ("steps", c_int64), ("rows_changed", c_int64), ("seconds", c_double), ("facts_rolled_back", c_int64)]


class Batch(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), ("ids", POINTER(c_int32)), ("lengths", POINTER(c_int64)),
                ("n_sequences", c_int64), ("token_weights", POINTER(c_float))]


class ProbeOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("max_tokens", c_int32), ("stop", c_char_p), ("lost_below", c_double),
                ("gained_above", c_double), ("flags", c_uint32), ("reserved", c_int32)]


class ProbeReport(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), ("n_questions", c_int64), ("n_texts", c_int64),
                ("n_choices", c_int64), ("exact_match", c_double), ("exact_match_before", c_double),
                ("exact_match_change", c_double), ("f1", c_double), ("f1_before", c_double), ("f1_change", c_double),
                ("nll", c_double), ("nll_before", c_double), ("nll_change", c_double), ("accuracy", c_double),
                ("accuracy_before", c_double), ("accuracy_change", c_double), ("kl", c_double), ("lost", c_int64),
                ("gained", c_int64), ("seconds", c_double)]


class ProbeItem(Sized):
    _fields_ = [("struct_size", c_uint32), ("kind", c_int32), ("id", c_char_p), ("text", c_char_p), ("before", c_double),
                ("after", c_double), ("lost", c_int32), ("gained", c_int32)]


#: C name of every struct with fields -> its mirror here.
STRUCTS: Dict[str, type] = {
    "smft_ctx_options": CtxOptions, "smft_load_options": LoadOptions, "smft_export_options": ExportOptions,
    "smft_model_info": ModelInfo, "smft_model_inspection": ModelInspection, "smft_memory_info": MemoryInfo,
    "smft_learn_defaults": LearnDefaults, "smft_lora_options": LoraOptions,
    "smft_fact_info": FactInfo, "smft_fact_row": FactRow,
    "smft_session_options": SessionOptions, "smft_generate_options": GenerateOptions, "smft_selector_options": SelectorOptions,
    "smft_message": Message, "smft_chat_options": ChatOptions, "smft_chat_info": ChatInfo,
    "smft_background": Background, "smft_optimizer_options": OptimizerOptions, "smft_learner_options": LearnerOptions,
    "smft_wording": Wording, "smft_graft_options": GraftOptions, "smft_graft_report": GraftReport,
    "smft_wordings_options": WordingsOptions, "smft_wording_info": WordingInfo,
    "smft_ids_wording": IdsWording, "smft_report": Report, "smft_selected": Selected, "smft_run_report": RunReport,
    "smft_batch": Batch, "smft_probe_options": ProbeOptions, "smft_probe_report": ProbeReport, "smft_probe_item": ProbeItem,
}

#: Every integer SMFT_* constant of the header, the version apart.
CONSTANTS: Dict[str, int] = {
    "CTX_AMX": 1, "CTX_INTEGER": 2, "CTX_FAST": 4, "ENCODE_SPECIAL": 1, "ENCODE_NO_PARSE": 2, "ENCODE_CONTINUE": 4,
    "ENCODE_PROMPT": 8, "DECODE_SKIP_SPECIAL": 1, "LOAD_COPY": 1,
    "CHAT_OPEN_ANSWER": 1, "CHAT_PARSE": 2, "CHAT_NO_THINKING": 4,
    "DTYPE_F32": 1, "DTYPE_F16": 2, "DTYPE_BF16": 3, "DTYPE_Q4_0": 16, "DTYPE_Q4_1": 17, "DTYPE_Q5_0": 18, "DTYPE_Q5_1": 19,
    "DTYPE_Q8_0": 20, "DTYPE_Q4_K": 21, "DTYPE_Q5_K": 22, "DTYPE_Q6_K": 23, "FORMAT_HUGGING_FACE": 1, "FORMAT_GGUF": 2,
    "PLACEMENT_REPLACE": 1, "PLACEMENT_BESIDE": 2,
    "PATCH_SLOTS": 1, "PATCH_FULL": 2, "PATCH_LORA": 3, "LORA_Q": 1, "LORA_K": 2, "LORA_V": 4, "LORA_O": 8, "LORA_GATE": 16,
    "LORA_UP": 32, "LORA_DOWN": 64, "LORA_ALL": 127, "LORA_RANK_STABILIZED": 1,
    "LOGITS_NONE": 0, "LOGITS_LAST": 1, "LOGITS_ALL": 2,
    "FINISH_NONE": 0, "FINISH_END": 1, "FINISH_STOP": 2, "FINISH_LENGTH": 3, "FINISH_CONTEXT": 4, "FINISH_CALLBACK": 5,
    "FINISH_TIME": 6,
    "GENERATE_CONTINUE": 1, "SESSION_CACHE_BF16": 1, "SESSION_PIN": 2,
    "RULE_TFIDF": 1, "RULE_KL": 2, "RULE_TF": 3, "RULE_ALL": 4, "RULE_RANDOM": 5, "SELECTOR_EMPTY": 1,
    "DAMPING_SQUARES": 1, "DAMPING_DF": 2, "RANK_COUNTS": 1, "RANK_WEIGHTS": 2,
    "GRAFT_SHARED_POOL": 1, "GRAFT_NO_FRAMES": 2, "GRAFT_LENGTH_BY_LOSS": 4, "GRAFT_KMEANS": 1, "GRAFT_RANDOM": 2,
    "OPTIMIZER_SGD": 1, "OPTIMIZER_ADAMW": 2, "OPTIMIZER_KEEP_STATE": 1, "OPTIMIZER_LAZY_POOLS": 2, "OPTIMIZER_LENGTH_BY_LOSS": 4,
    "LEARNER_LOSS_ALL": 1, "LEARNER_ROWS_PER_STEP": 2, "LEARNER_NO_PROTECT": 4, "WORDING_EXACT": 1, "PROBE_EXACT": 1,
    "LEARNER_SAMPLE_DECIDES": 8, "LEARNER_KEEP_GIVEN_UP": 16, "LEARNER_FRAMES": 32, "LEARNER_NO_FRAMES": 64, "LEARNER_NO_CONTRAST": 128,
    "WORDINGS_NO_TEXT": 1, "WORDINGS_NO_CHATS": 2, "WORDINGS_NO_STATEMENTS": 4, "FRAME_TEXT": 1, "FRAME_CHAT": 2, "FRAME_STATEMENT": 3,
    "REASON_NONE": 0, "REASON_NO_ROWS": 1, "REASON_NO_COUNTS": 2, "REASON_STEPS": 3, "REASON_TIME": 4, "REASON_NONFINITE": 5,
    "REASON_VETOED": 6, "REASON_SKIPPED": 7,
    "FACT_LEARNING": 0, "FACT_DONE": 1, "FACT_GAVE_UP": 2, "PROBE_QUESTION": 1, "PROBE_TEXT": 2, "PROBE_CHOICE": 3,
}

_P = POINTER
_IDS, _LONGS, _FLOATS, _DOUBLES, _STRINGS = _P(c_int32), _P(c_int64), _P(c_float), _P(c_double), _P(c_char_p)
_CTX, _MODEL, _TOK, _PATCH, _SESSION = _P(Ctx), _P(Model), _P(Tokenizer), _P(Patch), _P(Session)
_SELECTOR, _OPTIMIZER, _LEARNER, _PROBE = _P(Selector), _P(Optimizer), _P(Learner), _P(Probe)
_WORDINGS = _P(Wordings)
_S = c_int32  # smft_status

#: name -> (result, arguments).  const char * that the caller frees or that is no C string is c_void_p.
FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "smft_status_name": (c_char_p, [_S]),
    "smft_status_meaning": (c_char_p, [_S]),
    "smft_error_message": (c_char_p, []),
    "smft_version_string": (c_char_p, []),
    "smft_version_number": (c_uint32, []),
    "smft_ctx_create": (_S, [_P(_CTX), _P(CtxOptions)]),
    "smft_ctx_free": (None, [_CTX]),
    "smft_ctx_memory": (_S, [_CTX, _LONGS, _LONGS]),
    "smft_ctx_memory_reset_peak": (_S, [_CTX]),
    "smft_ctx_n_threads": (c_int32, [_CTX]),
    "smft_tokenizer_load": (_S, [_P(_TOK), _CTX, c_char_p]),
    "smft_tokenizer_free": (None, [_TOK]),
    "smft_tokenizer_encode": (_S, [_TOK, c_char_p, c_size_t, c_uint32, _IDS, c_int64, _LONGS]),
    "smft_tokenizer_decode": (_S, [_TOK, _IDS, c_int64, c_uint32, c_char_p, c_size_t, _P(c_size_t)]),
    "smft_tokenizer_vocab_size": (c_int32, [_TOK]),
    "smft_tokenizer_token_id": (_S, [_TOK, c_char_p, _IDS]),
    "smft_tokenizer_chat": (_S, [_TOK, _P(Message), c_int64, _P(ChatOptions), _IDS, c_int64, _LONGS]),
    "smft_tokenizer_chat_info": (_S, [_TOK, _P(ChatInfo)]),
    "smft_model_load": (_S, [_P(_MODEL), _CTX, c_char_p, _P(LoadOptions)]),
    "smft_model_inspect": (_S, [_CTX, c_char_p, _P(ModelInspection)]),
    "smft_model_load_buffer": (_S, [_P(_MODEL), _CTX, c_void_p, c_int64, _P(LoadOptions)]),
    "smft_model_init": (_S, [_P(_MODEL), _CTX, c_char_p, c_uint64]),
    "smft_model_free": (None, [_MODEL]),
    "smft_model_export": (_S, [_MODEL, _PATCH, c_char_p, _P(ExportOptions)]),
    "smft_model_get_info": (_S, [_MODEL, _P(ModelInfo)]),
    "smft_model_stop_ids": (_S, [_MODEL, _IDS, c_int64, _LONGS]),
    "smft_model_hash": (c_char_p, [_MODEL]),
    "smft_model_base": (c_char_p, [_MODEL]),
    "smft_model_tokenizer": (_TOK, [_MODEL]),
    "smft_model_memory": (_P(Memory), [_MODEL, c_int32]),
    "smft_memory_get_info": (_S, [_P(Memory), _P(MemoryInfo)]),
    "smft_model_pool": (_S, [_MODEL, c_int32, _LONGS, _LONGS]),
    "smft_model_learn_defaults": (_S, [_MODEL, _P(LearnDefaults)]),
    "smft_model_tensor": (_S, [_MODEL, c_int64, _P(c_char_p), _IDS, _LONGS]),
    "smft_model_tensor_values": (_S, [_MODEL, _PATCH, c_int64, _FLOATS, c_int64]),
    "smft_patch_create": (_S, [_P(_PATCH), _MODEL, c_int32]),
    "smft_patch_create_lora": (_S, [_P(_PATCH), _MODEL, _P(LoraOptions)]),
    "smft_patch_get_lora": (_S, [_PATCH, _P(LoraOptions)]),
    "smft_patch_merge": (_S, [_P(_PATCH), _PATCH]),
    "smft_patch_copy": (_S, [_P(_PATCH), _PATCH]),
    "smft_patch_load": (_S, [_P(_PATCH), _MODEL, c_char_p]),
    "smft_patch_save": (_S, [_PATCH, c_char_p, c_int32]),
    "smft_patch_save_buffer": (_S, [_PATCH, c_int32, c_void_p, c_int64, _LONGS]),
    "smft_patch_load_buffer": (_S, [_P(_PATCH), _MODEL, c_void_p, c_int64]),
    "smft_patch_free": (None, [_PATCH]),
    "smft_patch_kind": (c_int32, [_PATCH]),
    "smft_patch_version": (c_uint64, [_PATCH]),
    "smft_patch_clear": (_S, [_PATCH]),
    "smft_patch_assign": (_S, [_PATCH, _PATCH]),
    "smft_patch_slots": (_S, [_PATCH, c_int32, _LONGS, c_int64, _LONGS]),
    "smft_patch_row": (_S, [_PATCH, c_int32, c_int64, _FLOATS, c_int64]),
    "smft_patch_set_row": (_S, [_PATCH, c_int32, c_int64, _FLOATS, c_int64]),
    "smft_patch_reset_row": (_S, [_PATCH, c_int32, c_int64]),
    "smft_patch_fact_count": (c_int64, [_PATCH]),
    "smft_patch_fact_get": (_S, [_PATCH, c_int64, _P(FactInfo)]),
    "smft_patch_fact_id": (_S, [_PATCH, c_int64, c_char_p, c_size_t, _P(c_size_t)]),
    "smft_patch_fact_rows": (_S, [_PATCH, c_int64, _P(FactRow), c_int64, _LONGS]),
    "smft_patch_fact_remove": (_S, [_PATCH, c_int64]),
    "smft_session_create": (_S, [_P(_SESSION), _MODEL, _PATCH, _P(SessionOptions)]),
    "smft_session_free": (None, [_SESSION]),
    "smft_session_set_patch": (_S, [_SESSION, _PATCH]),
    "smft_session_feed": (_S, [_SESSION, _IDS, c_int64, c_int32, _FLOATS, c_int64]),
    "smft_session_length": (c_int64, [_SESSION]),
    "smft_session_version": (c_uint64, [_SESSION]),
    "smft_session_rewind": (_S, [_SESSION, c_int64]),
    "smft_session_nll": (_S, [_SESSION, _IDS, c_int64, _FLOATS, _DOUBLES]),
    "smft_session_generate": (_S, [_SESSION, c_char_p, c_size_t, _P(GenerateOptions), _P(c_void_p), _P(c_size_t)]),
    "smft_session_generate_ids": (_S, [_SESSION, _IDS, c_int64, _P(GenerateOptions), _IDS, c_int64, _LONGS]),
    "smft_session_finish": (c_int32, [_SESSION]),
    "smft_session_cancel": (None, [_SESSION]),
    "smft_selector_create": (_S, [_P(_SELECTOR), _MODEL, _P(SelectorOptions)]),
    "smft_selector_free": (None, [_SELECTOR]),
    "smft_selector_count_background": (_S, [_SELECTOR, _P(Background)]),
    "smft_graft": (_S, [_MODEL, c_char_p, _P(GraftOptions), _P(GraftReport)]),
    "smft_selector_save": (_S, [_SELECTOR, c_char_p]),
    "smft_selector_load": (_S, [_SELECTOR, c_char_p]),
    "smft_selector_df": (_S, [_SELECTOR, c_int32, _P(c_uint32), c_int64, _LONGS]),
    "smft_optimizer_create": (_S, [_P(_OPTIMIZER), _CTX, _P(OptimizerOptions)]),
    "smft_optimizer_free": (None, [_OPTIMIZER]),
    "smft_optimizer_set_lr": (_S, [_OPTIMIZER, c_double, c_double]),
    "smft_optimizer_set_group": (_S, [_OPTIMIZER, c_char_p, c_double]),
    "smft_optimizer_reset": (_S, [_OPTIMIZER]),
    "smft_optimizer_save": (_S, [_OPTIMIZER, c_char_p]),
    "smft_optimizer_load": (_S, [_OPTIMIZER, _MODEL, c_char_p]),
    "smft_learner_create": (_S, [_P(_LEARNER), _MODEL, _PATCH, _SELECTOR, _OPTIMIZER, _P(LearnerOptions)]),
    "smft_learner_free": (None, [_LEARNER]),
    "smft_learner_push": (_S, [_LEARNER, c_char_p, _P(Wording), c_int64]),
    "smft_learner_push_ids": (_S, [_LEARNER, c_char_p, _P(IdsWording), c_int64]),
    "smft_learner_push_file": (_S, [_LEARNER, c_char_p, _LONGS]),
    "smft_learner_push_wordings": (_S, [_LEARNER, c_char_p, _WORDINGS]),
    "smft_wordings_from_qa": (_S, [_P(_WORDINGS), _MODEL, c_char_p, c_char_p, _P(WordingsOptions)]),
    "smft_wordings_from_statement": (_S, [_P(_WORDINGS), _MODEL, c_char_p, c_char_p, _P(WordingsOptions)]),
    "smft_wordings_free": (None, [_WORDINGS]),
    "smft_wordings_count": (c_int64, [_WORDINGS]),
    "smft_wordings_get": (_S, [_WORDINGS, c_int64, _P(WordingInfo)]),
    "smft_learner_pending": (c_int64, [_LEARNER]),
    "smft_step": (_S, [_LEARNER, _P(Report)]),
    "smft_learner_skip": (_S, [_LEARNER]),
    "smft_learner_set_patch": (_S, [_LEARNER, _PATCH]),
    "smft_learner_selected": (_S, [_LEARNER, _P(Selected), c_int64, _LONGS]),
    "smft_learner_run": (_S, [_LEARNER, ProgressFn, c_void_p, _P(RunReport)]),
    "smft_learner_cancel": (None, [_LEARNER]),
    "smft_learner_step_batch": (_S, [_LEARNER, _P(Batch), _P(Report)]),
    "smft_probe_create": (_S, [_P(_PROBE), _CTX, _P(ProbeOptions)]),
    "smft_probe_free": (None, [_PROBE]),
    "smft_probe_add_question": (_S, [_PROBE, c_char_p, c_char_p, _STRINGS, c_int64]),
    "smft_probe_add_text": (_S, [_PROBE, c_char_p, c_char_p]),
    "smft_probe_add_choice": (_S, [_PROBE, c_char_p, c_char_p, _STRINGS, c_int64, c_int64]),
    "smft_probe_add_file": (_S, [_PROBE, c_char_p, _LONGS]),
    "smft_probe_baseline": (_S, [_PROBE, _SESSION, ProgressFn, c_void_p]),
    "smft_probe_measure": (_S, [_PROBE, _SESSION, ProgressFn, c_void_p, _P(ProbeReport)]),
    "smft_probe_get_item": (_S, [_PROBE, c_int64, _P(ProbeItem)]),
    "smft_probe_save_report": (_S, [_PROBE, c_char_p]),
    "smft_score_answer": (_S, [c_char_p, _STRINGS, c_int64, _DOUBLES, _DOUBLES]),
}


def declare(library: ctypes.CDLL) -> None:
    """Gives every function its types: an undeclared result would lose the upper half of a pointer."""
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
