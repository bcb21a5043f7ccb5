#!/usr/bin/env python3
"""Makes tests/golden/ropes.json: rotary objects of config.json as files have them, older and newer
spellings, and the frequencies and magnitude that transformers makes of each, in float64.  Versions
as in families.py."""
import json
import os

from families import HERE, exact_frequencies
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SIZES = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32,
         "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 8,
         "max_position_embeddings": 8192}
LLAMA31 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192, "rope_type": "llama3"}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}
CASES = [
    {},
    {"rope_theta": 500000.0, "rope_scaling": None},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 123.0}},
    {"rope_theta": 500000.0, "rope_scaling": LLAMA31},
    {"rope_theta": 500000.0, "rope_scaling": dict(LLAMA31, factor=32.0)},
    {"rope_parameters": dict(LLAMA31, rope_theta=500000.0)},
    {"rope_theta": 500000.0, "max_position_embeddings": 131072,
     "rope_scaling": {k: v for k, v in LLAMA31.items() if k[0] != "o"}},
    {"rope_scaling": {"type": "linear", "factor": 2}},
    {"rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 2.5}},
    {"rope_parameters": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}},
    {"rope_theta": 1e6, "rope_scaling": {"type": "yarn", "factor": 4.0,
                                         "original_max_position_embeddings": 32768}},
    {"rope_parameters": dict(YARN, rope_theta=1e4)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, truncate=False)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, beta_fast=16.0, beta_slow=2)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, beta_fast=1.0, beta_slow=1.0)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, attention_factor=1.25)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, mscale=0.707, mscale_all_dim=1.0)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, mscale=0.707)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, mscale=0, mscale_all_dim=0)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, factor=None)},
    {"rope_parameters": dict(YARN, rope_theta=1e4, factor=0.5)},
    {"rope_parameters": dict(YARN, rope_theta=10.0, original_max_position_embeddings=4)},
]


def main():
    cases = []
    for case in CASES:
        config = dict(SIZES, **case)
        given = json.loads(json.dumps(config))  # the library writes into what it is given
        module = LlamaRotaryEmbedding(LlamaConfig(**given))
        exact = exact_frequencies(module, None)
        cases.append({"config": dict(config, model_type="llama"), "frequencies": exact.tolist(),
                      "magnitude": float(module.attention_scaling)})
    with open(os.path.join(HERE, "ropes.json"), "w") as f:
        f.write("[" + ",\n ".join(json.dumps(c) for c in cases) + "]\n")


if __name__ == "__main__":
    main()
