#!/usr/bin/env python3
"""Makes tests/golden/network_mistral/ and tests/golden/lora_mistral/ (see families.py): a window
shorter than the sequences, heads that are wider than a part of the hidden size."""
from families import Formulas, begin, finish, make_lora, make_network
from transformers import MistralConfig, MistralForCausalLM

SHAPE = {"hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 28, "vocab_size": 40,
         "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
         "bos_token_id": 1, "eos_token_id": 2, "sliding_window": 5,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}


class Mistral(Formulas):
    def window(self, layer):
        return self.shape["sliding_window"]


def main():
    begin()
    make_network(MistralForCausalLM, MistralConfig(**SHAPE, attn_implementation="eager"),
                 Mistral(SHAPE), "network_mistral", 41)
    make_lora(MistralForCausalLM, Mistral(SHAPE), "network_mistral", "lora_mistral", 41)
    finish("network_mistral", "lora_mistral")


if __name__ == "__main__":
    main()
