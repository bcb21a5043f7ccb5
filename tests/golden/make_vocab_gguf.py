#!/usr/bin/env python3
"""Vocabularies as GGUF files without tensors, for tests of tokenizers.
usage: make_vocab_gguf.py shared SHARED OUT   of tok/hf_llama3, tok/hf_qwen3 and tok/gpt2 (the folder of the real data), and one
                                              of GPT-2's vocabulary for each way of cutting that lib/data/tokenizer/pre.c has
       make_vocab_gguf.py toys OUT            bpe.gguf and spm.gguf, a few KB each, and variants of them"""
import json
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# ---- the format ---------------------------------------------------------------------------------------------------------


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def value(item):
    """Type and bytes: str, bool, int (u32), or a list of str, int (i32) or float (f32)."""
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    kind = {str: 8, bytes: 8, int: 5, float: 6}[type(item[0])]
    head = struct.pack("<IIQ", 9, kind, len(item))
    return head + (b"".join(map(text, item)) if kind == 8 else struct.pack("<%d%s" % (len(item), "i" if kind == 5 else "f"), *item))


def write(path, keys):
    sizes = dict.fromkeys(("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"), 1)
    sizes["attention.layer_norm_rms_epsilon"] = 1e-5  # llama.cpp opens nothing without these
    keys = {"general.architecture": "llama", **{"llama." + key: item for key, item in sizes.items()},
            **{"tokenizer.ggml." + key: item for key, item in keys.items()}}
    with open(path, "wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)))
        out.write(b"".join(text(key) + value(item) for key, item in keys.items()))


# ---- the real ones ------------------------------------------------------------------------------------------------------


def from_json(folder, pre, **keys):
    """As llama.cpp's converter does: added tokens are control tokens where they are special, else user-defined."""
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        root = json.load(file)
    vocab = dict(root["model"]["vocab"])
    types = {token["id"]: CONTROL if token["special"] else USER_DEFINED for token in root["added_tokens"]}
    vocab.update((token["content"], token["id"]) for token in root["added_tokens"])
    tokens = {number: spelling for spelling, number in vocab.items()}
    n = max(tokens) + 1
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in root["model"]["merges"]]
    return {"model": "gpt2", "pre": pre, "tokens": [tokens.get(i, "[PAD%d]" % i) for i in range(n)],
            "token_type": [types.get(i, NORMAL if i in tokens else UNUSED) for i in range(n)], "merges": merges, **keys}


def from_gpt2(folder):
    with open(os.path.join(folder, "encoder.json"), encoding="utf-8") as file:
        tokens = {number: spelling for spelling, number in json.load(file).items()}
    with open(os.path.join(folder, "vocab.bpe"), encoding="utf-8") as file:
        merges = [line for line in file.read().split("\n") if line and not line.startswith("#version")]
    return {"model": "gpt2", "pre": "gpt-2", "tokens": [tokens[i] for i in range(len(tokens))],
            "token_type": [CONTROL if tokens[i] == "<|endoftext|>" else NORMAL for i in range(len(tokens))], "merges": merges,
            "bos_token_id": 50256, "eos_token_id": 50256}


def pre_names():
    """The first name of each kind in pre.c."""
    with open(os.path.join(HERE, "../../lib/data/tokenizer/pre.c"), encoding="utf-8") as file:
        return re.findall(r'^ *\{" (\S+) ', file.read(), re.M)


def make_shared(shared, out):
    tok = os.path.join(shared, "tok")
    write(os.path.join(out, "llama3.gguf"), from_json(os.path.join(tok, "hf_llama3"), "llama-bpe", bos_token_id=128000, eos_token_id=128001))
    write(os.path.join(out, "qwen3.gguf"), from_json(os.path.join(tok, "hf_qwen3"), "qwen2", eos_token_id=151645, add_bos_token=False))
    gpt2 = from_gpt2(os.path.join(tok, "gpt2"))
    for name in pre_names():
        write(os.path.join(out, "pre-%s.gguf" % name), {**gpt2, "pre": name})


# ---- the toys -----------------------------------------------------------------------------------------------------------

WORDS = ["the", "then", "there", "cat", "cats", "sat", "on", "mat", "lo", "low", "lower", "new", "newest", "wide", "widest", "12", "123", "ing"]


def byte_letters():
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in itself]
    return {**{b: chr(b) for b in itself}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


def toy_bpe():
    letters = byte_letters()
    space = letters[0x20]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>", "<tool>>", "  ", "\n\n"]
    types = [CONTROL, CONTROL, NORMAL, USER_DEFINED, USER_DEFINED, USER_DEFINED, USER_DEFINED]
    tokens += [letters[b] for b in range(256) if b not in (0x51, 0xE9)]  # no Q, no byte E9
    merges = []
    for word in WORDS:
        for form in (word, space + word):
            for n in range(2, len(form) + 1):
                if form[:n] not in tokens:
                    merges.append(form[:n - 1] + " " + form[n - 1])
                    tokens.append(form[:n])
    merges += ["t h", "e r", "a t"]  # the first is there already, the others come late
    tokens += [token for token in ("er", "at") if token not in tokens]
    tokens.append("")
    types += [NORMAL] * (len(tokens) - len(types))
    return {"model": "gpt2", "pre": "smollm", "tokens": tokens, "token_type": types, "merges": merges, "bos_token_id": 1, "eos_token_id": 2}


def toy_spm():
    mark = "\u2581"
    tokens = ["<unk>", "<s>", "</s>"]
    types = [UNKNOWN, CONTROL, CONTROL]
    tokens += ["<0x%02X>" % b for b in range(256)]
    types += [BYTE] * 256
    tokens += ["<turn>", "<turn>x", "xy", "yzz", "\n", "\n\n", "  ", "    "]
    types += [CONTROL] + [USER_DEFINED] * 7
    scores = [0.0] * len(tokens)
    pieces = [mark, *sorted(set("".join(WORDS))), "Q", "é", "日", "本", "日本", mark + mark, "...", "..", "."]
    for word in WORDS:
        pieces += [form[:n] for form in (word, mark + word) for n in range(2, len(form) + 1)]
    for i, piece in enumerate(dict.fromkeys(pieces)):
        tokens.append(piece)
        types.append(NORMAL)
        scores.append(-float(i * 7919 % 97))  # in no order, and some are equal
    tokens.append("<unused>")
    types.append(UNUSED)
    scores.append(0.0)
    return {"model": "llama", "tokens": tokens, "token_type": types, "scores": scores, "bos_token_id": 1, "eos_token_id": 2,
            "unknown_token_id": 0}


def make_toys(out):
    write(os.path.join(out, "bpe.gguf"), toy_bpe())
    write(os.path.join(out, "bpe_plain.gguf"), {**toy_bpe(), "pre": "llama-bpe", "add_bos_token": False, "add_eos_token": True})
    write(os.path.join(out, "spm.gguf"), toy_spm())
    write(os.path.join(out, "spm_plain.gguf"), {**toy_spm(), "add_space_prefix": False, "add_bos_token": False})


def main():
    if sys.argv[1] == "toys":
        make_toys(sys.argv[2])
    else:
        make_shared(sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
