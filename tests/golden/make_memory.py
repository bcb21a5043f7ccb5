"""Writes memory.safetensors: four memory layers as PyTorch computes them, forward and backward, in float64, stored as float32.

Run: /usr/bin/python3 tests/golden/make_memory.py   (numpy and torch; no other package)
"""
import json
import os
import struct

import torch

torch.manual_seed(7)
tensors = {}
NONE, LAYERNORM, RMSNORM, L2 = range(4)


def norm(kind, x, weight, bias, eps):
    if kind == LAYERNORM:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)
    if kind == RMSNORM:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight
    if kind == L2:
        return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + eps)
    return x


def example(number, tokens, n, heads, k, dk, dv, d, query_norm, key_norm, gate, bias, eps, temperature):
    half, given = dk // 2, {}

    def give(name, *shape, scale=1.0, offset=0.0, when=True):
        if when:
            value = (torch.randn(*shape) * scale + offset).float().double()
            given[name] = value.requires_grad_()
            return given[name]
        return None

    x = give("x", tokens, d)
    query_w = give("query_w", heads * dk, d, scale=0.3)
    query_b = give("query_b", heads * dk, scale=0.3, when=bias)
    gate_w, gate_b = give("gate_w", dv, d, scale=0.3, when=gate), give("gate_b", dv, scale=0.3, when=gate and bias)
    out_w, out_b = give("out_w", d, dv, scale=0.3), give("out_b", d, scale=0.3, when=bias)
    keys, values = give("keys", heads, 2, n, half), give("values", n * n, dv)
    weighted = (LAYERNORM, RMSNORM)
    query_norm_w = give("query_norm_w", half, scale=0.2, offset=1, when=query_norm in weighted)
    query_norm_b = give("query_norm_b", half, scale=0.2, when=query_norm == LAYERNORM)
    key_norm_w = give("key_norm_w", half, scale=0.2, offset=1, when=key_norm in weighted)
    key_norm_b = give("key_norm_b", half, scale=0.2, when=key_norm == LAYERNORM)
    d_out = torch.randn(tokens, d).float().double()

    q = torch.nn.functional.linear(x, query_w, query_b).view(tokens, heads, 2, half)
    q = norm(query_norm, q, query_norm_w, query_norm_b, eps)
    scores = torch.einsum("thpi,hpni->thpn", q, norm(key_norm, keys, key_norm_w, key_norm_b, eps)) * temperature
    grid = (scores[:, :, 0, :, None] + scores[:, :, 1, None, :]).flatten(2)
    best, slots = grid.topk(k, dim=-1)
    weights = best.softmax(-1)
    y = (weights[..., None] * values[slots]).sum((1, 2))
    if gate:
        y = y * torch.nn.functional.silu(torch.nn.functional.linear(x, gate_w, gate_b))
    out = torch.nn.functional.linear(y, out_w, out_b)
    out.backward(d_out)

    config = [n, heads, k, dk, dv, d, query_norm, key_norm, int(gate), int(bias), eps, temperature]
    keep = {"config": torch.tensor(config), "d_out": d_out, "out": out, "weights": weights, "slots": slots}
    for name, value in given.items():
        keep[name], keep[name + ".grad"] = value, value.grad
    for name, value in keep.items():
        tensors[f"{number}.{name}"] = value.detach()


def save(path):
    header, data = {}, b""
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        integer = value.dtype == torch.int64
        raw = value.numpy().astype("<i8" if integer else "<f4").tobytes()
        header[name] = {"dtype": "I64" if integer else "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


example(0, 12, 8, 2, 4, 12, 20, 24, LAYERNORM, NONE, True, True, 1e-5, 1.0)
example(1, 9, 10, 3, 6, 20, 18, 16, RMSNORM, RMSNORM, True, False, 1e-6, 1.0)
example(2, 9, 12, 1, 5, 32, 16, 24, L2, L2, False, True, 1e-5, 6.0)
example(3, 9, 6, 2, 6, 16, 12, 16, NONE, LAYERNORM, False, False, 1e-5, 0.5)
save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "memory.safetensors"))
