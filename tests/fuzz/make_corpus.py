#!/usr/bin/env python3
"""Writes tests/fuzz/model/ and the seeds in tests/fuzz/corpus/: files of the library's own for the
small model there, configs and tokenizers of tests/golden, conversations, facts.

  SMFT_LIBRARY=.../libsmft.so ./make_corpus.py [all]

The model is made only where it is missing: seeds name its hash.  "all" makes it anew.  Files that a
fuzzer found (found-*) stay.
"""
import copy
import json
import os
import shutil
import struct
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
MODEL = os.path.join(HERE, "model")
sys.path.insert(0, os.path.join(HERE, "..", "..", "bindings", "python"))

import smft  # noqa: E402

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|im_start|>assistant\\n' }}{% endif %}")


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# ---- the model ----


def make_model():
    config = {"model_type": "llama", "hidden_size": 4, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 4,
              "vocab_size": 98, "rms_norm_eps": 1e-5, "max_position_embeddings": 160,
              "tie_word_embeddings": True, "bos_token_id": 0,
              "memory": {"layers": [0, 1], "pools": [0, 1], "placement": "beside", "n_keys": 4,
                         "heads": 1, "top_k": 2, "key_dim": 4, "value_dim": 4}}
    vocab = {"<s>": 0, "\u0120": 1, "\u010a": 2, **{chr(c): c - 30 for c in range(33, 127)}}
    begin = {"id": 0, "content": "<s>", "special": True, "normalized": False}
    tokenizer = {"added_tokens": [begin],
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False,
                                   "use_regex": True},
                 "post_processor": {"type": "TemplateProcessing", "pair": [], "special_tokens":
                                    {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}, "single":
                                    [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                     {"Sequence": {"id": "A", "type_id": 0}}]},
                 "decoder": {"type": "ByteLevel"},
                 "model": {"type": "BPE", "vocab": vocab, "merges": []}}
    os.makedirs(MODEL)
    with open(os.path.join(MODEL, "config.json"), "w") as file:
        file.write(dump(config))
    with open(os.path.join(MODEL, "tokenizer.json"), "w") as file:
        file.write(dump(tokenizer))
    with open(os.path.join(MODEL, "chat_template.jinja"), "w") as file:
        file.write(CHATML)
    smft.Model.init(MODEL, seed=1).export(MODEL, dtype=None)


# ---- files of the library ----


def learnt(model, patch, optimizer, sequences=((0, 41, 51, 61),)):
    selector = smft.Selector(model, rule="all", empty=True) if patch.kind == "slots" else None
    smft.Learner(model, patch, selector, optimizer).step_batch([list(one) for one in sequences])
    return patch


def taught(model):
    patch = smft.Patch(model)
    selector = smft.Selector(model, rule="all", empty=True)
    selector.count_background(texts=["the sea", "a ship"])
    learner = smft.Learner(model, patch, selector, smft.Optimizer(lr=0.5), max_steps=1,
                           keep_given_up=True)
    learner.push("one", ("Who?", "Jane"))
    learner.push("deux\u00e9", ("Where?", "Here"))
    learner.run()
    return patch


def saved(thing):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        thing.save(path)
        with open(path, "rb") as file:
            return file.read()


def make_patches(model):
    put("patch", "facts", taught(model).to_bytes())
    put("patch", "rows-bf16", learnt(model, smft.Patch(model), None).to_bytes("bf16"))
    put("patch", "full-bf16", learnt(model, smft.Patch.full(model), None).to_bytes("bf16"))
    lora = learnt(model, smft.Patch.lora(model, rank=1, targets=["q", "down"]), None)
    put("patch", "lora", lora.to_bytes())
    put("patch", "empty", smft.Patch(model).to_bytes())


def make_adapters(model):
    for name, rank, targets in (("plain", 1, ["q", "down"]), ("ranks", 2, ["v"])):
        lora = learnt(model, smft.Patch.lora(model, rank=rank, targets=targets), None)
        with tempfile.TemporaryDirectory() as folder:
            lora.save(folder)
            with open(os.path.join(folder, "adapter_config.json"), "rb") as file:
                config = dump(json.load(file)).encode()
            with open(os.path.join(folder, "adapter_model.safetensors"), "rb") as file:
                put("adapters", name, config + b"\0" + file.read())


def make_optimizers(model):
    patches = {"slots": lambda: smft.Patch(model), "full": lambda: smft.Patch.full(model),
               "lora": lambda: smft.Patch.lora(model, rank=1, targets=["q", "down"])}
    kinds = {"adamw": dict(kind="adamw"), "momentum": dict(momentum=0.9), "sgd": {}}
    for patch, make in patches.items():
        for kind, options in kinds.items():
            if (patch, kind) == ("full", "adamw"):
                continue  # twice as large as the rest, for the same code
            optimizer = smft.Optimizer(lr=0.01, keep_state=True, **options)
            learnt(model, make(), optimizer)
            put("optimizer", f"{patch}-{kind}", saved(optimizer))
    put("optimizer", "none", saved(smft.Optimizer(kind="adamw", keep_state=True)))


def as_format_1(counts):
    """The same counts without their squares, as format 1 had them."""
    n = struct.unpack("<Q", counts[:8])[0]
    header, data = json.loads(counts[8:8 + n]), counts[8 + n:]
    kept, made = b"", {"__metadata__": dict(header["__metadata__"], format="smft.background.1")}
    for name in sorted(header):
        if name.startswith("df."):
            begin, end = header[name]["data_offsets"]
            made[name] = dict(header[name], data_offsets=[len(kept), len(kept) + end - begin])
            kept += data[begin:end]
    text = dump(made).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + kept


def make_backgrounds(model):
    few, many = smft.Selector(model, empty=True), smft.Selector(model, empty=True)
    few.count_background(texts=["a", "aa"])
    many.count_background(texts=[chr(33 + i) + chr(120 - i) * 2 + "the sea" for i in range(40)])
    put("background", "format-3", saved(few))
    put("background", "format-2", saved(many))
    put("background", "format-1", as_format_1(saved(many)))


# ---- configs, tokenizers, conversations, facts ----

LEARN = {"t": 12, "max_df": 0.5, "damping": 1.0, "damping_by": "squares", "rank_by": "counts",
         "loss_below": 0.1, "wordings_per_step": 4, "frames": True, "step_length": 0.5,
         "max_steps": 40}
GRAFT = {"base": {"path": "../base", "hash": "0123456789abcdef" * 4},
         "memory": {"layers": [0, 3], "pools": [0, 1], "placement": "beside", "n_keys": 4,
                    "heads": 2, "top_k": 4, "key_dim": 8, "value_dim": 8, "query_norm": "none",
                    "key_norm": "none", "temperature": 1.0, "gate": False, "bias": True,
                    "out": "identity", "values": "zero", "learn": LEARN}}


def make_configs():
    for name in ("smollm3", "gemma3", "qwen3", "qwen2_window", "mistral", "yarn", "llama3",
                 "linear", "replace"):
        with open(os.path.join(GOLDEN, f"network_{name}", "config.json")) as file:
            config = json.load(file)
        for key in ("architectures", "transformers_version", "attention_dropout",
                    "initializer_range", "use_cache", "dtype", "pad_token_id"):
            config.pop(key, None)
        generation = "\0" + dump({"eos_token_id": [3, 4]}) if name == "llama3" else ""
        put("config", name, dump(config) + generation)
    put("config", "graft", dump(GRAFT))


SMALL = {"level": ["t", "h", "e", "a", "\u0120", "\u00c3", "\u00a9", "1", "2", "th", "the",
                   "\u0120the"],
         "piece": ["<unk>", "<s>", "t", "h", "e", "\u2581", "th", "the", "\u2581the", "1",
                   "<0xC3>", "<0xA9>"]}
MERGES = {"level": ["t h", "th e", "\u0120 the"], "piece": ["t h", "th e", "\u2581 the"]}


def make_tokenizers():
    with open(os.path.join(GOLDEN, "tokenizer_variants.json")) as file:
        golden = json.load(file)
    for i, variant in enumerate(golden["variants"]):
        base = variant["base"]
        whole = copy.deepcopy(golden["bases"][base])
        for key, change in variant["changes"].items():
            if key == "model":
                small = {k: v for k, v in change.items() if k not in ("vocab", "merges")}
                whole["model"].update(small)
            else:
                whole[key] = change
        whole["model"]["vocab"] = {token: n for n, token in enumerate(SMALL[base])}
        whole["model"]["merges"] = MERGES[base]
        for token in whole["added_tokens"]:
            token["id"] = 12 + token["id"] % 8 if token["id"] > 1 else token["id"]
        if i % 3 == 0 or i > 28:  # enough of the many kinds of splits
            text = "\0the <s> th\u00e9 12\n the"
            put("tokenizer", variant["name"].replace(" ", "-"), dump(whole) + text)


TEXTS = ("the sea, <|end|> 12 caf\u00e9s.\n\n  It's \u4e2d\u6587 \U0001f600 e\u0301",
         "<unk><s>a<L>b <R> \u2581x", "there was  a ship\tTHE end\r\n",
         "x\u0000y \ud7ff\uffff\u200d")


def make_texts():
    for i, text in enumerate(TEXTS):
        for which in (0, 1, 5, 17, 33, 40, 44):
            if (i + which) % 2:
                put("encode", f"{i}-{which}", bytes([which, which % 16]) + text.encode())


def make_chats():
    talk = ["system", "Be brief.", "user", " Hi <|im_start|>x ", "assistant",
            "<think>no</think>Hello", "user", "Who?"]
    config = dump({"bos_token": "<s>", "eos_token": {"content": "<|im_end|>"},
                   "chat_template": "{{ 1 }}"})
    names = ("chatml", "smollm3", "llama2", "llama3.2", "mistral-nemo", "mistral-v7", "gemma3",
             "qwen3", "phi3.5", "olmo2", "")
    for i, name in enumerate(names):
        messages = talk[2 * (i % 2):] + (["tool", "x"] if i == 5 else [])
        template = CHATML if name in ("", "qwen3") else ""
        parts = [name, template, config if i % 3 else "", *messages]
        put("chat", name or "own", bytes([i % 8, i]) + b"\0".join(one.encode() for one in parts))


def make_facts():
    facts = [{"id": "emma", "question": "Who wrote Emma?", "answer": "Jane"},
             {"id": "two", "wordings": [{"prompt": "Emma is by", "answer": "Jane", "end": ""},
                                        {"statement": "Jane wrote it.", "answer": "Jane"}]},
             {"id": "s", "statement": "The sea is deep.", "answer": "deep",
              "question": "How is it?", "_note": 1}]
    put("facts", "three", "\n".join(dump(one) for one in facts) + "\n")
    put("facts", "lists", dump({"id": "l", "question": "Where?", "answer": "Here", "subject": "it",
                                "exact": True, "answers": ["a"], "aliases": ["b"],
                                "ask": ["c"]}) + "\n\n")
    bom = {"id": "b\u00e9", "prompt": "Jane\u2019s", "answer": " Emma"}
    put("facts", "bom", "\ufeff" + dump(bom))
    put("facts", "items", "\n".join(dump(one) for one in (
        {"id": "q", "question": "Who?", "answers": ["Jane", "J."]},
        {"id": "t", "text": "the sea"},
        {"id": "c", "prompt": "The sea is", "endings": ["deep", "dry"], "correct": 0})))


def main():
    if sys.argv[1:] == ["all"]:
        shutil.rmtree(MODEL, ignore_errors=True)
    if not os.path.exists(os.path.join(MODEL, "model.safetensors")):
        make_model()
    model = smft.Model(MODEL)
    make_patches(model)
    make_adapters(model)
    make_optimizers(model)
    make_backgrounds(model)
    make_configs()
    make_tokenizers()
    make_texts()
    make_chats()
    make_facts()


main()
