#!/usr/bin/env python3
"""Makes tests/golden/network_gemma3/ and tests/golden/lora_gemma3/ (see families.py): norms by 1 +
weight before and after attention and FFN and on each head of queries and keys, GELU, a scaled
embedding, scores scaled by another number than the size of a head, and windows with rotary
frequencies of their own in two blocks of three."""
import numpy as np
from families import Formulas, begin, finish, make_lora, make_network
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

SHAPE = {"hidden_size": 20, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 28, "vocab_size": 48,
         "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
         "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, "query_pre_attn_scalar": 9,
         "sliding_window": 5,
         "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
         "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e5},
                             "sliding_attention": {"rope_type": "default", "rope_theta": 300.0}}}


class Gemma3Formulas(Formulas):
    def norm(self, w, name, x):
        squares = (x * x).mean(-1, keepdims=True) + self.shape["rms_norm_eps"]
        return x / np.sqrt(squares) * (1 + w[name + ".weight"])

    def kind(self, layer):
        return self.shape["layer_types"][layer]

    def turns(self, layer):
        theta = self.shape["rope_parameters"][self.kind(layer)]["rope_theta"]
        return theta ** (-2.0 * np.arange(self.size // 2) / self.size)

    def window(self, layer):
        return self.shape["sliding_window"] if self.kind(layer) == "sliding_attention" else None

    def scale(self, layer):
        return self.shape["query_pre_attn_scalar"] ** -0.5

    def head(self, w, name, x):
        return self.norm(w, name.replace("_proj", "_norm"), x)

    def activation(self, x):
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))

    def embed(self, w, ids):
        return w["model.embed_tokens.weight"][ids] * float(np.float32(len(w["model.norm.weight"]) ** 0.5))

    def block(self, w, layer, x):
        b = f"model.layers.{layer}."
        h = self.attention(w, layer, self.norm(w, b + "input_layernorm", x))
        x = x + self.norm(w, b + "post_attention_layernorm", h)
        h = self.ffn(w, layer, self.norm(w, b + "pre_feedforward_layernorm", x))
        return x + self.norm(w, b + "post_feedforward_layernorm", h)


def main():
    begin()
    formulas = Gemma3Formulas(SHAPE)
    make_network(Gemma3ForCausalLM, Gemma3TextConfig(**SHAPE, attn_implementation="eager"),
                 formulas, "network_gemma3", 34, norm=0)
    make_lora(Gemma3ForCausalLM, formulas, "network_gemma3", "lora_gemma3", 34)
    finish("network_gemma3", "lora_gemma3")


if __name__ == "__main__":
    main()
