#!/usr/bin/env python3
"""Makes tests/golden/network_qwen2/ and tests/golden/lora_qwen2/ (see families.py): biases of q, k
and v.  In network_qwen2_window/ the upper blocks have a window, as "max_window_layers" says.
network_qwen2/config_older.json is the same model's config.json in the words of transformers
4.41: "rope_theta" of its own, a "sliding_window" that "use_sliding_window" turns off, no
"layer_types"."""
import json
import os

from families import Formulas, begin, finish, folder_of, make_lora, make_network
from transformers import Qwen2Config, Qwen2ForCausalLM

# Six heads of six: no instruction set's vectors fit, and three of them share keys and values.
SHAPE = {"hidden_size": 36, "num_hidden_layers": 3, "num_attention_heads": 6,
         "num_key_value_heads": 2, "intermediate_size": 44, "vocab_size": 96,
         "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
         "bos_token_id": 1, "eos_token_id": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}

WINDOW = dict(SHAPE, hidden_size=12, num_attention_heads=2, num_key_value_heads=1,
              intermediate_size=16, vocab_size=32, use_sliding_window=True, sliding_window=4,
              max_window_layers=1)


class Windowed(Formulas):
    def window(self, layer):
        late = layer >= self.shape["max_window_layers"]
        return self.shape["sliding_window"] if late else None


def make_older_config(folder):
    """What Qwen2Config.save_pretrained of transformers 4.41.2 writes for the shape, to the byte
    (compared once; 4.37.2's differs in the version only): it keeps the size of a window that is
    off, where 4.43.1 already writes null."""
    rope = SHAPE["rope_parameters"]
    older = dict(SHAPE, architectures=["Qwen2ForCausalLM"], attention_dropout=0.0,
                 hidden_act="silu", initializer_range=0.02, max_window_layers=3,
                 model_type="qwen2", rope_theta=rope["rope_theta"], sliding_window=32768,
                 torch_dtype="float32", transformers_version="4.41.2", use_cache=True,
                 use_sliding_window=False)
    del older["rope_parameters"]
    with open(os.path.join(folder, "config_older.json"), "w") as f:
        f.write(json.dumps(older, indent=2, sort_keys=True) + "\n")


def main():
    begin()
    make_network(Qwen2ForCausalLM, Qwen2Config(**SHAPE, attn_implementation="eager"),
                 Formulas(SHAPE), "network_qwen2", 31)
    make_older_config(folder_of("network_qwen2"))
    make_lora(Qwen2ForCausalLM, Formulas(SHAPE), "network_qwen2", "lora_qwen2", 31)
    make_network(Qwen2ForCausalLM, Qwen2Config(**WINDOW, attn_implementation="eager"),
                 Windowed(WINDOW), "network_qwen2_window", 32)
    finish("network_qwen2", "lora_qwen2", "network_qwen2_window")


if __name__ == "__main__":
    main()
