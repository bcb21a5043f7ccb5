"""graft.safetensors: what golden/test_graft.c compares a graft of network_llama3 with.

    VENV/bin/python tests/golden/make_graft.py      (torch, transformers: see families.py)

States are those that transformers' modules give in float64 (what the MLP of each block reads); all
else is numpy's: per block b the mean of the states, `inverse.b` (16, 16) = U diag(1 / (value +
1e-3 mean value)) U^T of the covariance's eigenvectors, which is what queries' W^T W must be where a
head has as many directions as there are, whatever its rotation; and a k-means of `samples` (400,
2 sets, 3) from `start` (2, 9, 3), of which one centre lies where no sample is: 4 rounds."""
import os

import numpy as np
import torch
import transformers
from families import HERE, Float64
from safetensors.numpy import save_file

FLOOR = 1e-3
SEQUENCES, TOKENS = 25, 8


def states_of(ids):
    """What the MLP of each block reads: (blocks, tokens, d)."""
    path = os.path.join(HERE, "network_llama3")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float64).eval()
    taken = {}
    for i, layer in enumerate(model.model.layers):
        layer.mlp.register_forward_pre_hook(lambda _, inputs, i=i: taken.__setitem__(i, inputs[0]))
    with torch.no_grad(), Float64():
        model(torch.tensor(ids))
    return np.stack([taken[i].reshape(-1, taken[i].shape[-1]).numpy() for i in sorted(taken)])


def inverse(states):
    values, vectors = np.linalg.eigh(np.cov(states.T, bias=True))
    return vectors @ np.diag(1 / (np.maximum(values, 0) + FLOOR * values.mean())) @ vectors.T


def kmeans(samples, centres, rounds):
    """samples (n, d), centres (k, d)"""
    centres = centres.copy()
    for _ in range(rounds):
        squared = ((samples[:, None] - centres[None]) ** 2).sum(2)
        nearest, far = squared.argmin(1), squared.min(1)
        for i in range(len(centres)):
            if (nearest == i).any():
                centres[i] = samples[nearest == i].mean(0)
            else:
                farthest = far.argmax()
                centres[i], far[farthest] = samples[farthest], -1
    return centres


def main():
    random = np.random.default_rng(18)
    ids = random.integers(0, 32, (SEQUENCES, TOKENS))
    states = states_of(ids)
    samples = random.normal(size=(400, 2, 3)) * [1, 2, 3]
    start = samples[:9].transpose(1, 0, 2).copy()
    start[0, 4] = 1000  # nobody's
    centres = np.stack([kmeans(samples[:, i], start[i], 4) for i in range(2)])
    out = {"ids": ids.astype(np.int32), "states": states, "samples": samples, "start": start,
           "centres": centres}
    for b, one in enumerate(states):
        out[f"mean.{b}"] = one.mean(0)
        out[f"inverse.{b}"] = inverse(one)
        out[f"length.{b}"] = np.linalg.norm(one, axis=1).mean(keepdims=True)
    save_file({name: value if value.dtype == np.int32 else value.astype(np.float32)
               for name, value in out.items()}, os.path.join(HERE, "graft.safetensors"))


main()
