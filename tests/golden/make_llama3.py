#!/usr/bin/env python3
"""Makes tests/golden/network_llama3/, network_linear/ and network_yarn/ (see families.py): Llamas
whose rotary frequencies are scaled, each rule with numbers that leave some pairs, slow down others,
and do both to some between them."""
import numpy as np
from families import Formulas, begin, finish, make_network
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 20, "vocab_size": 32,
         "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
         "bos_token_id": 1, "eos_token_id": [2, 3]}
ROPES = {
    "llama3": {"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 0.5,
               "high_freq_factor": 2.0, "original_max_position_embeddings": 16},
    "linear": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
    "yarn": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "beta_fast": 2.0,
             "beta_slow": 0.25, "mscale": 1.5, "mscale_all_dim": 0.5, "truncate": False,
             "original_max_position_embeddings": 16},
}


class Scaled(Formulas):
    def turns(self, layer):
        rope = self.shape["rope_parameters"]
        plain = super().turns(layer)
        return {"llama3": self.llama3, "linear": lambda _, f: f / rope["factor"],
                "yarn": self.yarn}[rope["rope_type"]](rope, plain)

    def llama3(self, rope, f):
        rounds = rope["original_max_position_embeddings"] * f / (2 * np.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = np.clip((rounds - low) / (high - low), 0, 1)
        assert kept[0] == 1 and kept[-1] == 0 and any((0 < kept) & (kept < 1))
        return f * (kept + (1 - kept) / rope["factor"])

    def yarn(self, rope, f):
        """Linear in the pair's number, between the pairs that go round beta times."""
        rounds = rope["original_max_position_embeddings"] * f / (2 * np.pi)
        pairs = np.arange(len(f))
        first, last = (np.interp(-np.log(rope[b]), -np.log(rounds), pairs)
                       for b in ("beta_fast", "beta_slow"))
        slowed = np.clip((pairs - first) / (last - first), 0, 1)
        assert slowed[0] == 0 and slowed[-1] == 1 and any((0 < slowed) & (slowed < 1))
        return f * (1 - slowed + slowed / rope["factor"])

    def magnitude(self, layer):
        rope = self.shape["rope_parameters"]
        if rope["rope_type"] != "yarn":
            return 1.0
        by, over = (1 + 0.1 * rope[m] * np.log(rope["factor"]) for m in ("mscale", "mscale_all_dim"))
        return by / over


def main():
    begin()
    for name, rope in ROPES.items():
        shape = dict(SHAPE, rope_parameters=rope)
        make_network(LlamaForCausalLM, LlamaConfig(**shape, attn_implementation="eager"),
                     Scaled(shape), "network_" + name, 51)
    finish(*("network_" + name for name in ROPES))


if __name__ == "__main__":
    main()
