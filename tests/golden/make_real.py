#!/usr/bin/env python3
"""Makes tests/golden/real_*.json: what transformers computes, in float32, from the weights of a real
GGUF checkpoint, dequantised by the package gguf: 64 greedy tokens after each of 20 prompts, the
steps at which the two best logits were close, and the mean loss of 10,000 tokens of a text.

    python3 -m venv VENV && VENV/bin/pip install torch transformers gguf
    VENV/bin/python tests/golden/make_real.py MODEL.gguf IDS.json tests/golden/real_NAME.json

IDS.json: {"prompts": [[id, ...], ...], "pieces": [[id, ...], ...]}: the prompts of test_real.c, and
the first ids of botchan.txt in ten pieces of 1,000 ids, begin-of-text in front where the tokenizer
puts it, both as llama.cpp tokenizes them.  The files were made with Python 3.11, torch 2.15.0,
transformers 5.24.0 and gguf 0.19.0."""
import json
import math
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy as np
import torch
import transformers

NEW = 64
CLOSE = 1e-4  # two best logits: which is the better one is no error


def value(reader, key, default=None):
    field = reader.get_field(key)
    return default if field is None else field.contents()


def unpermute(w, heads):
    """Rows of q and k as Hugging Face has them; llama.cpp turns neighbours, not halves."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def common(reader, arch):
    heads = value(reader, arch + ".attention.head_count")
    return dict(hidden_size=value(reader, arch + ".embedding_length"),
                num_hidden_layers=value(reader, arch + ".block_count"),
                intermediate_size=value(reader, arch + ".feed_forward_length"),
                num_attention_heads=heads,
                num_key_value_heads=value(reader, arch + ".attention.head_count_kv", heads),
                max_position_embeddings=value(reader, arch + ".context_length"),
                rms_norm_eps=value(reader, arch + ".attention.layer_norm_rms_epsilon"),
                vocab_size=len(reader.get_field("tokenizer.ggml.tokens").data),
                tie_word_embeddings=True, attn_implementation="eager")


def llama(reader):
    shape = common(reader, "llama")
    config = transformers.LlamaConfig(
        **shape, rope_parameters={"rope_type": "default",
                                  "rope_theta": value(reader, "llama.rope.freq_base")})
    names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    return transformers.LlamaForCausalLM(config), names, shape


def gemma3(reader):
    shape = common(reader, "gemma3")
    theta = value(reader, "gemma3.rope.freq_base")
    config = transformers.Gemma3TextConfig(
        **shape, head_dim=value(reader, "gemma3.attention.key_length"),
        query_pre_attn_scalar=value(reader, "gemma3.attention.key_length"),
        sliding_window=value(reader, "gemma3.attention.sliding_window"),
        layer_types=["full_attention" if i % 6 == 5 else "sliding_attention"
                     for i in range(shape["num_hidden_layers"])],
        rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": theta},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
    names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
             "attn_output": "self_attn.o_proj", "post_attention_norm": "post_attention_layernorm",
             "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    return transformers.Gemma3ForCausalLM(config), names, shape


def load(path):
    reader = gguf.GGUFReader(path)
    arch = value(reader, "general.architecture")
    model, names, shape = {"llama": llama, "gemma3": gemma3}[arch](reader)
    state = {}
    for tensor in reader.tensors:
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if arch == "gemma3" and tensor.name.endswith("norm.weight"):
            w = w - 1
        parts = tensor.name.split(".")
        if tensor.name == "token_embd.weight":
            state["model.embed_tokens.weight"] = w
        elif tensor.name == "output_norm.weight":
            state["model.norm.weight"] = w
        else:
            assert parts[0] == "blk" and parts[3] == "weight", tensor.name
            if arch == "llama" and parts[2] in ("attn_q", "attn_k"):
                w = unpermute(w, shape["num_attention_heads" if parts[2] == "attn_q" else
                                       "num_key_value_heads"])
            state[f"model.layers.{parts[1]}.{names[parts[2]]}.weight"] = w
    state = {k: torch.from_numpy(np.ascontiguousarray(w)) for k, w in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    model.tie_weights()
    return model.float().eval()


@torch.no_grad()
def greedy(model, ids):
    out, gaps, cache, feed = [], [], None, torch.tensor([ids])
    for _ in range(NEW):
        got = model(feed, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = got.past_key_values
        top = got.logits[0, -1].topk(2)
        out.append(int(top.indices[0]))
        gaps.append(float(top.values[0] - top.values[1]))
        feed = top.indices[:1][None]
    return out, gaps


@torch.no_grad()
def mean_nll(model, pieces):
    total, n = 0.0, 0
    for piece in pieces:
        ids = torch.tensor(piece)
        logits = model(ids[None], use_cache=False).logits[0, :-1]
        nll = torch.nn.functional.cross_entropy(logits.double(), ids[1:], reduction="sum")
        total, n = total + float(nll), n + len(piece) - 1
    return total / n, n


def main():
    path, given, out = sys.argv[1:]
    model = load(path)
    with open(given) as f:
        given = json.load(f)
    answers = [greedy(model, ids) for ids in given["prompts"]]
    nll, n = mean_nll(model, given["pieces"])
    with open(out, "w") as f:
        json.dump({"prompts": given["prompts"], "greedy": [a for a, _ in answers],
                   "close": [[i for i, g in enumerate(gaps) if g <= CLOSE] for _, gaps in answers],
                   "nll": nll, "predictions": n}, f, separators=(",", ":"))
        f.write("\n")
    print(nll, n)


main()
