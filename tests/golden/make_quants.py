#!/usr/bin/env python3
"""Makes tests/golden/quants.safetensors: for each block type of GGUF files two rows of random
blocks, `TYPE.blocks` (rows, bytes; U8), and their values as the PyPI package gguf decodes them,
`TYPE.values` (rows, numbers; F32).  And the way back: `Q8_0.from` (2, 192; F32) and what gguf makes of
it, `Q8_0.made`.

Every byte is random but those of the f16 scales and minima, which are random finite numbers;
subnormal ones, zeros of both signs and the largest are among them.

    python3 -m venv VENV && VENV/bin/pip install gguf safetensors
    VENV/bin/python tests/golden/make_quants.py

The file was made with Python 3.11, gguf 0.19.0, numpy 2.4.6 and safetensors 0.8.0."""
import os

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
# where a block's f16 numbers stand, and how many numbers a row has
TYPES = {"Q4_0": ([0], 192), "Q4_1": ([0, 2], 192), "Q5_0": ([0], 192), "Q5_1": ([0, 2], 192), "Q8_0": ([0], 192),
         "Q4_K": ([0, 2], 768), "Q5_K": ([0, 2], 768), "Q6_K": ([208], 768)}
SPECIAL = np.array([0.0, -0.0, 65504, -65504, 2.0**-24, -(2.0**-15)], np.float16)


def random_blocks(rng, kind, places, n):
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (2 * n // numbers, size), np.uint8)
    for place in places:
        halves = (rng.standard_normal(len(blocks)) * 0.1).astype(np.float16)
        chosen = rng.permutation(len(blocks))[:len(SPECIAL) // 2]
        halves[chosen] = rng.permutation(SPECIAL)[:len(chosen)]
        blocks[:, place:place + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(2, -1)


def back(rng):
    """Random numbers, and blocks of zeros, of halves that are ties, of very small and of large numbers."""
    values = rng.standard_normal((2, 192)).astype(np.float32)
    values[0, 32:64] = 0
    values[0, 64:96] = rng.integers(-254, 255, 32) / 2
    values[0, 64] = -127
    values[1, :32] *= np.float32(2.0**-118)
    values[1, 32:64] *= np.float32(1e-7)
    values[1, 64:96] *= np.float32(1e6)
    made = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    return {"Q8_0.from": values, "Q8_0.made": made}


def main():
    rng, tensors = np.random.default_rng(16), {}
    for name, (places, n) in TYPES.items():
        kind = gguf.GGMLQuantizationType[name]
        blocks = random_blocks(rng, kind, places, n)
        values = gguf.quants.dequantize(blocks, kind)
        assert values.shape == (2, n) and values.dtype == np.float32 and np.isfinite(values).all()
        tensors[name + ".blocks"], tensors[name + ".values"] = blocks, values
    tensors.update(back(rng))
    save_file(tensors, os.path.join(HERE, "quants.safetensors"))


if __name__ == "__main__":
    main()
