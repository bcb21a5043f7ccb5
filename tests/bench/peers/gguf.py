#!/usr/bin/env python3
"""gguf: a Llama in a Hugging Face directory (as smft_model_export writes it) as a GGUF file that llama.cpp loads.

usage: gguf.py DIRECTORY FILE.gguf      f32 and bf16 weights stay what they are; norms become f32, as llama.cpp wants them

llama.cpp turns neighbouring numbers of a head, (0, 1), (2, 3), ..., where Hugging Face's files turn (0, half), (1, half + 1), ...: the rows
of q_proj and k_proj change places for that, and nothing else does.  The vocabulary is made up (SentencePiece with byte tokens): enough to
load the file and to work with token ids.  Models with memory layers cannot be converted: llama.cpp does not know them.
"""
import argparse
import json
import os
import struct
import sys
from array import array

import tensors

UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5  # types of metadata values
TYPES = {"F32": 0, "BF16": 30}                         # types of tensors
ALL_F32, MOSTLY_BF16 = 0, 32                           # general.file_type
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6            # types of tokens
ALIGNMENT = 32
SPECIAL = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
BLOCK = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}


# ---- metadata ----

def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, kind, value):
    if kind == STRING:
        return text(key) + struct.pack("<I", kind) + text(value)
    return text(key) + struct.pack("<I" + {UINT32: "I", FLOAT32: "f"}[kind], kind, value)


def entries(key, kind, values):
    head = text(key) + struct.pack("<IIQ", ARRAY, kind, len(values))
    if kind == STRING:
        return head + b"".join(text(value) for value in values)
    return head + array({FLOAT32: "f", INT32: "i"}[kind], values).tobytes()


def vocabulary(size):
    tokens = SPECIAL + [("<0x%02X>" % i, BYTE) for i in range(256)]
    if size < len(tokens):
        raise SystemExit("gguf.py: a vocabulary of %d is too small for the byte tokens that llama.cpp needs" % size)
    return tokens + [("t%d" % i, NORMAL) for i in range(len(tokens), size)]


def metadata(config, is_half):
    heads = config["num_attention_heads"]
    tokens = vocabulary(config["vocab_size"])
    return [
        entry("general.architecture", STRING, "llama"),
        entry("general.name", STRING, "benchmark"),
        entry("general.file_type", UINT32, MOSTLY_BF16 if is_half else ALL_F32),
        entry("general.alignment", UINT32, ALIGNMENT),
        entry("llama.context_length", UINT32, config["max_position_embeddings"]),
        entry("llama.embedding_length", UINT32, config["hidden_size"]),
        entry("llama.block_count", UINT32, config["num_hidden_layers"]),
        entry("llama.feed_forward_length", UINT32, config["intermediate_size"]),
        entry("llama.attention.head_count", UINT32, heads),
        entry("llama.attention.head_count_kv", UINT32, config.get("num_key_value_heads", heads)),
        entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, config["rms_norm_eps"]),
        entry("llama.rope.dimension_count", UINT32, config["hidden_size"] // heads),
        entry("llama.rope.freq_base", FLOAT32, config.get("rope_theta", 10000.0)),
        entry("llama.vocab_size", UINT32, config["vocab_size"]),
        entry("tokenizer.ggml.model", STRING, "llama"),
        entries("tokenizer.ggml.tokens", STRING, [token for token, _ in tokens]),
        entries("tokenizer.ggml.scores", FLOAT32, [0.0] * len(tokens)),
        entries("tokenizer.ggml.token_type", INT32, [kind for _, kind in tokens]),
        entry("tokenizer.ggml.unknown_token_id", UINT32, 0),
        entry("tokenizer.ggml.bos_token_id", UINT32, 1),
        entry("tokenizer.ggml.eos_token_id", UINT32, 2),
    ]


# ---- tensors ----

def new_name(name):
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    model, layers, index, part = name.split(".", 3)
    if (model, layers) != ("model", "layers") or part.removesuffix(".weight") not in BLOCK:
        raise SystemExit("gguf.py: llama.cpp has no place for %s" % name)
    return "blk.%s.%s.weight" % (index, BLOCK[part.removesuffix(".weight")])


def interleave(tensor, heads):
    """Row (head, half, i) goes to (head, i, half)."""
    rows, row = tensor.shape[0], len(tensor.data) // tensor.shape[0]
    half = rows // heads // 2
    order = (head * 2 * half + side * half + i for head in range(heads) for i in range(half) for side in (0, 1))
    return tensor._replace(data=b"".join(tensor.data[at * row:(at + 1) * row] for at in order))


def to_f32(tensor):
    if tensor.dtype == "F32":
        return tensor
    numbers = array("I", [value << 16 for value in array("H", bytes(tensor.data))])
    return tensor._replace(dtype="F32", data=numbers.tobytes())


def convert(name, tensor, config):
    if tensor.dtype not in TYPES:
        raise SystemExit("gguf.py: %s is %s; only f32 and bf16 are done" % (name, tensor.dtype))
    heads = config["num_attention_heads"]
    if name.endswith("q_proj.weight"):
        tensor = interleave(tensor, heads)
    if name.endswith("k_proj.weight"):
        tensor = interleave(tensor, config.get("num_key_value_heads", heads))
    return to_f32(tensor) if len(tensor.shape) == 1 else tensor


def describe(name, tensor, offset):
    shape = tensor.shape[::-1]
    return text(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *shape, TYPES[tensor.dtype], offset)


def pad(file):
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def write(directory, path):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    weights = {new_name(name): convert(name, tensor, config)
               for name, tensor in tensors.read(os.path.join(directory, "model.safetensors")).items()}
    facts = metadata(config, any(tensor.dtype == "BF16" for tensor in weights.values()))
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(weights), len(facts)) + b"".join(facts))
        offset = 0
        for name, tensor in weights.items():
            file.write(describe(name, tensor, offset))
            offset += len(tensor.data) + -len(tensor.data) % ALIGNMENT
        pad(file)
        for tensor in weights.values():
            file.write(tensor.data)
            pad(file)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="config.json and model.safetensors")
    parser.add_argument("file", help="the GGUF file to write")
    arguments = parser.parse_args()
    write(arguments.directory, arguments.file)


if __name__ == "__main__":
    sys.exit(main())
