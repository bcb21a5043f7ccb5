#!/usr/bin/env python3
"""Makes tests/golden/gguf_<family>.gguf, the twin of network_<family>/, as llama.cpp's converter
would: its names and keys, rows of Llama-type queries and keys with the halves of each head in
turns, Gemma's norms with their 1.

    python3 -m venv VENV && VENV/bin/pip install gguf numpy
    VENV/bin/python tests/golden/make_gguf.py

The files were made with Python 3.11, gguf 0.19.0 and numpy 2.4.6."""
import json
import os

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TURNED = ("llama", "mistral", "smollm3")  # whose rows of q and k the converter puts in turns
BLOCK = {"input_layernorm.weight": "attn_norm.weight", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm.weight": "ffn_norm.weight",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
GEMMA = {"post_attention_layernorm.weight": "post_attention_norm.weight", "pre_feedforward_layernorm.weight": "ffn_norm.weight",
         "post_feedforward_layernorm.weight": "post_ffw_norm.weight"}
MODEL = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def read_safetensors(path):
    """name -> (numbers, type); bf16 as f32, which holds it exactly."""
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header, out = json.loads(data[8:8 + size]), {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        raw = data[8 + size + begin:8 + size + end]
        if info["dtype"] == "BF16":
            array = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            array = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[info["dtype"]])
        out[name] = (array.reshape(info["shape"]), info["dtype"])
    return out


def gguf_name(name, kind):
    if name in MODEL:
        return MODEL[name]
    _, _, number, rest = name.split(".", 3)
    for table in ([GEMMA] if kind == "gemma3_text" else []) + [BLOCK]:
        for hf, own in table.items():
            if rest.startswith(hf):
                return f"blk.{number}.{own}{rest[len(hf):]}"
    raise SystemExit(f"no name for {name}")


def in_turns(rows, n_heads):
    return rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def converted(name, array, config):
    kind = config["model_type"]
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for part, n in heads.items():
        if kind in TURNED and part in name:
            return in_turns(array, n)
    if kind == "gemma3_text" and name.endswith("norm.weight"):
        return array.astype(np.float32) + np.float32(1)
    return array


def rope_of(config):
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    full = rope.get("full_attention", rope)
    return full, full.get("rope_theta", config.get("rope_theta", 10000.0))


def llama3_factors(rope, theta, dim):
    """Divisors of the frequencies, as the converter computes them."""
    freqs = 1.0 / theta ** (np.arange(0, dim, 2) / dim)
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    context, out = rope["original_max_position_embeddings"], []
    for wave in 2 * np.pi / freqs:
        smooth = (context / wave - low) / (high - low)
        out.append(1 if wave < context / high else factor if wave > context / low
                   else 1 / ((1 - smooth) / factor + smooth))
    return np.array(out, np.float32)


def put_rope(writer, config, dim):
    rope, theta = rope_of(config)
    kind = rope.get("rope_type", "default")
    writer.add_rope_freq_base(theta)
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        own = 1 + 0.1 * np.log(rope["factor"])  # what llama.cpp multiplies by in any case
        writer.add_rope_scaling_attn_factors(rope["attention_factor"] / own)
    if kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, theta, dim))


def put_keys(writer, config):
    kind = config["model_type"]
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_type("model")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    if kind in TURNED:
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(dim)
    if kind == "gemma3_text" or kind == "mistral":
        writer.add_sliding_window(config["sliding_window"])
    if kind == "gemma3_text":  # what llama.cpp's converter leaves out, since real models do not differ in it
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])
        writer.add_attention_scale(config["query_pre_attn_scalar"] ** -0.5)
        writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])
    put_rope(writer, config, dim)
    writer.add_license("apache-2.0")
    for key, add in (("bos_token_id", writer.add_bos_token_id), ("eos_token_id", writer.add_eos_token_id)):
        if config.get(key) is not None:
            add(np.ravel(config[key])[0].item())
    return dim


def config_of(family, directory):
    """The fixture's, or gguf_<family>.json beside: that with what a GGUF can say in place of what it cannot."""
    config = json.load(open(os.path.join(directory, "config.json")))
    if family not in INSTEAD:
        return config
    config.update(INSTEAD[family])
    with open(os.path.join(HERE, f"gguf_{family}.json"), "w") as file:
        file.write(json.dumps(config, indent=2) + "\n")
    return config


def make(family, quant=None):
    directory = os.path.join(HERE, f"network_{family}")
    config = config_of(family, directory)
    arch = {"mistral": "llama", "gemma3_text": "gemma3"}.get(config["model_type"], config["model_type"])
    out = os.path.join(HERE, f"gguf_{family}{'_' + quant.name.lower() if quant else ''}.gguf")
    writer = gguf.GGUFWriter(out, arch)
    put_keys(writer, config)
    for name, (array, dtype) in read_safetensors(os.path.join(directory, "model.safetensors")).items():
        array, own = converted(name, array, config), gguf_name(name, config["model_type"])
        raw = gguf.GGMLQuantizationType[dtype]
        if "norm" in own:  # the converter keeps norms in f32
            array, raw = array.astype(np.float32), gguf.GGMLQuantizationType.F32
        elif quant and array.ndim == 2:
            raw = quant
        data = gguf.quants.quantize(np.ascontiguousarray(array), raw)
        writer.add_tensor(own, data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(os.path.basename(out), os.path.getsize(out))


# llama.cpp has SmolLM3's interval in its source; YaRN's mscale and truncate have no key
INSTEAD = {"smollm3": {"no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0]},
           "yarn": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 2.0,
                                        "beta_slow": 0.25, "original_max_position_embeddings": 16, "attention_factor": 1.5}}}
FAMILIES = ["qwen2", "qwen3", "gemma3", "mistral", "llama3", "linear", "smollm3", "yarn"]  # those whose fixtures a GGUF can say


def main():
    for family in FAMILIES:
        make(family)


if __name__ == "__main__":
    main()
