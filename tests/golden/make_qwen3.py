#!/usr/bin/env python3
"""Makes tests/golden/network_qwen3/ and tests/golden/lora_qwen3/ (see families.py): each head of
queries and keys has a norm; the size of a head is no part of the hidden size; the head is tied."""
from families import Formulas, begin, finish, make_lora, make_network
from transformers import Qwen3Config, Qwen3ForCausalLM

SHAPE = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 28, "vocab_size": 48,
         "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
         "bos_token_id": 1, "eos_token_id": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}


class Qwen3Formulas(Formulas):
    def head(self, w, name, x):
        return self.norm(w, name.replace("_proj", "_norm"), x) if "v_proj" not in name else x


def main():
    begin()
    formulas = Qwen3Formulas(SHAPE)
    make_network(Qwen3ForCausalLM, Qwen3Config(**SHAPE, attn_implementation="eager"), formulas,
                 "network_qwen3", 33)
    make_lora(Qwen3ForCausalLM, formulas, "network_qwen3", "lora_qwen3", 33)
    finish("network_qwen3", "lora_qwen3")


if __name__ == "__main__":
    main()
