#!/usr/bin/env python3
"""Makes tests/golden/network_smollm3/ and tests/golden/lora_smollm3/ (see families.py): two of four
blocks know no positions.  (A pad token's row would get no gradient as an embedding.)"""
from families import Formulas, begin, finish, make_lora, make_network
from transformers import SmolLM3Config, SmolLM3ForCausalLM

SHAPE = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 20, "vocab_size": 32,
         "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
         "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, "no_rope_layer_interval": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 5e4}}


class SmolLM3(Formulas):
    def turns(self, layer):
        return super().turns(layer) if layer % 2 == 0 else None


def main():
    begin()
    make_network(SmolLM3ForCausalLM, SmolLM3Config(**SHAPE, attn_implementation="eager"),
                 SmolLM3(SHAPE), "network_smollm3", 61)
    make_lora(SmolLM3ForCausalLM, SmolLM3(SHAPE), "network_smollm3", "lora_smollm3", 61)
    finish("network_smollm3", "lora_smollm3")


if __name__ == "__main__":
    main()
