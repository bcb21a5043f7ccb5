"""Writes nn.safetensors: the kernels of lib/nn as PyTorch computes them, forward and backward, in float64, stored as float32.

Run: /usr/bin/python3 tests/golden/make_nn.py   (numpy and torch; no other package)
"""
import json
import math
import os
import struct

import torch

torch.manual_seed(20)
tensors = {}


def give(name, *shape):
    """A float32-exact input with a gradient, kept in the file."""
    value = torch.randn(*shape).double()
    tensors[name] = value.clone()
    return value.requires_grad_()


def keep(**named):
    for name, value in named.items():
        tensors[name.replace("__", ".")] = value.detach()


def linear():
    x, w, b, dy = give("linear.x", 21, 40), give("linear.w", 35, 40), give("linear.b", 35), give("linear.dy", 21, 35)
    y = torch.nn.functional.linear(x, w, b)
    y.backward(dy)
    keep(linear__y=y, linear__dx=x.grad, linear__dw=w.grad, linear__db=b.grad)


def norm():
    x, w, dy = give("norm.x", 11, 72), give("norm.w", 72), give("norm.dy", 11, 72)
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w
    y.backward(dy)
    keep(norm__y=y, norm__dx=x.grad, norm__dw=w.grad)


def swiglu():
    gate, up, d = give("swiglu.gate", 300), give("swiglu.up", 300), give("swiglu.d_act", 300)
    act = torch.nn.functional.silu(gate) * up
    act.backward(d)
    keep(swiglu__act=act, swiglu__d_gate=gate.grad, swiglu__d_up=up.grad)


def rotate(x, theta):
    """x (T, heads, dim), as Hugging Face's Llama does it."""
    tokens, _, dim = x.shape
    frequency = theta ** (-torch.arange(0, dim, 2).double() / dim)
    angle = torch.arange(tokens).double()[:, None] * frequency
    cosine, sine = torch.cat([angle.cos()] * 2, -1)[:, None], torch.cat([angle.sin()] * 2, -1)[:, None]
    half = torch.cat([-x[..., dim // 2:], x[..., :dim // 2]], -1)
    return x * cosine + half * sine


def attention():
    """Rotary positions and causal grouped-query attention together."""
    tokens, heads, kv_heads, dim = 70, 4, 2, 12
    q = give("attention.q", tokens, heads, dim)
    k, v = give("attention.k", tokens, kv_heads, dim), give("attention.v", tokens, kv_heads, dim)
    d_out = give("attention.d_out", tokens, heads, dim)
    group = heads // kv_heads
    rq, rk = rotate(q, 5000.0), rotate(k, 5000.0).repeat_interleave(group, 1)
    scores = torch.einsum("ihd,jhd->hij", rq, rk) / math.sqrt(dim)
    scores = scores.masked_fill(torch.triu(torch.ones(tokens, tokens, dtype=torch.bool), 1), -math.inf)
    out = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v.repeat_interleave(group, 1))
    out.backward(d_out)
    keep(attention__rq=rq, attention__out=out, attention__log_sum=scores.logsumexp(-1).t(), attention__dq=q.grad, attention__dk=k.grad,
         attention__dv=v.grad)


def loss():
    logits, scale = give("loss.logits", 9, 130), give("loss.scale", 9)
    targets = torch.randint(0, 130, (9,))
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (nll * scale).sum().backward()
    tensors["loss.targets"] = targets.double()
    keep(loss__nll=nll, loss__d_logits=logits.grad)
    other = give("loss.other", 9, 130)
    p, q = logits.detach().log_softmax(-1), other.detach().log_softmax(-1)
    keep(loss__kl=(p.exp() * (p - q)).sum(-1))


def embedding():
    table, dy = give("embedding.table", 30, 20), give("embedding.dy", 50, 20)
    ids = torch.randint(0, 30, (50,))
    y = torch.nn.functional.embedding(ids, table)
    y.backward(dy)
    tensors["embedding.ids"] = ids.double()
    keep(embedding__y=y, embedding__d_table=table.grad)


def write(path):
    header, data = {}, b""
    for name in sorted(tensors):
        raw = tensors[name].contiguous().float().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


for part in (linear, norm, swiglu, attention, loss, embedding):
    part()
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "nn.safetensors"))
