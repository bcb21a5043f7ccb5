"""bench_model.c's work in PyTorch: a Llama as a user writes it.  Same models, same tasks, same clock, same lines of output.

Run: OMP_NUM_THREADS=THREADS /usr/bin/python3 tests/bench/peer_model.py A|B THREADS TASK...|-
Tasks: forward, train (AdamW), decode, decode_bf16 (the model converted with .bfloat16()), and limit_forward: the tokens/s that a forward
pass could reach if all its arithmetic ran as fast as OpenBLAS's sgemm does on (256, K) x (K, N) with K = d, N = ffn.
Prints: peer MODEL THREADS TASK TOKENS/S OTHERS.  run.sh asks this and bench_model in turn.
"""
import copy
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

SHAPES = {"A": (6, 288, 6, 768, 32000), "B": (12, 576, 9, 1536, 8192)}
SEQUENCE, PROMPT, DECODED = 256, 16, 64
WARM_SECONDS, TIMED_SECONDS = 0.25, 0.5


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cos, sin):  # x (heads, tokens, head_dim)
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_ffn = RMSNorm(d), RMSNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(d, ffn, bias=False), nn.Linear(d, ffn, bias=False)
        self.down = nn.Linear(ffn, d, bias=False)

    def attend(self, x, cos, sin, mask, cache, start):
        n, d = x.shape
        q, k, v = (f(x).view(n, self.heads, -1).transpose(0, 1) for f in (self.q, self.k, self.v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            cache[0][:, start:start + n] = k
            cache[1][:, start:start + n] = v
            k, v = cache[0][:, :start + n], cache[1][:, :start + n]
        scores = q @ k.transpose(1, 2) / (d // self.heads) ** 0.5
        if mask is not None:
            scores = scores + mask
        return self.o((scores.softmax(-1) @ v).transpose(0, 1).reshape(n, d))

    def forward(self, x, cos, sin, mask, cache, start):
        x = x + self.attend(self.norm_attention(x), cos, sin, mask, cache, start)
        h = self.norm_ffn(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, layers, d, heads, ffn, vocab):
        super().__init__()
        self.embed = nn.Embedding(vocab, d)
        self.blocks = nn.ModuleList(Block(d, heads, ffn) for _ in range(layers))
        self.norm = RMSNorm(d)
        nn.init.normal_(self.embed.weight, std=0.02)
        half = torch.arange(0, d // heads, 2).float() / (d // heads)
        angles = torch.outer(torch.arange(SEQUENCE).float(), 10000.0 ** -half).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("mask", torch.full((SEQUENCE, SEQUENCE), float("-inf")).triu(1))
        self.cache_shape = (layers, 2, heads, SEQUENCE, d // heads)

    def forward(self, ids, caches=None, start=0):
        n = len(ids)
        x = self.embed(ids)
        mask = self.mask[:n, :n] if n > 1 else None
        for i, block in enumerate(self.blocks):
            x = block(x, self.cos[start:start + n], self.sin[start:start + n], mask, caches[i] if caches is not None else None, start)
        return F.linear(self.norm(x), self.embed.weight)  # tied


def prepare_forward(model, shape, ids):
    def forward():
        with torch.inference_mode():
            model(ids)
        return SEQUENCE
    return forward


def prepare_train(model, shape, ids):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)

    def train():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(ids)[:-1], ids[1:]).backward()
        optimizer.step()
        return SEQUENCE
    return train


def prepare_decode(model, shape, ids):
    caches = torch.zeros(model.cache_shape, dtype=model.embed.weight.dtype)
    with torch.inference_mode():
        model(ids[:PROMPT], caches, 0)

    def decode():
        with torch.inference_mode():
            token = ids[PROMPT:PROMPT + 1]
            for i in range(PROMPT, PROMPT + DECODED):
                token = model(token, caches, i).argmax(-1)
        return DECODED
    return decode


def prepare_limit(model, shape, ids):
    layers, d, heads, ffn, vocab = shape
    flops = 2 * sum(p.numel() for p in model.parameters()) + 4 * layers * d * SEQUENCE
    a, b, out = torch.randn(SEQUENCE, d), torch.randn(d, ffn), torch.empty(SEQUENCE, ffn)

    def limit():
        for _ in range(32):
            torch.mm(a, b, out=out)
        return 32 * 2 * SEQUENCE * d * ffn / flops
    return limit


TASKS = {
    "forward": prepare_forward,
    "train": lambda model, *rest: prepare_train(copy.deepcopy(model), *rest),
    "decode": prepare_decode,
    "decode_bf16": lambda model, *rest: prepare_decode(copy.deepcopy(model).bfloat16(), *rest),
    "limit_forward": prepare_limit,
}


def machine_busy():  # seconds that all processors have worked for anybody
    f = [int(x) for x in open("/proc/stat").readline().split()[1:8]]
    return (sum(f) - f[3] - f[4]) / os.sysconf("SC_CLK_TCK")


def work_for(work, seconds):
    units, begin = 0, time.perf_counter()
    while True:
        units += work()
        if time.perf_counter() - begin >= seconds:
            return units


def rate(work, threads):
    clock = time.process_time if threads == 1 else time.perf_counter
    work_for(work, WARM_SECONDS)
    busy, own, wall, begin = machine_busy(), time.process_time(), time.perf_counter(), clock()
    units = work_for(work, TIMED_SECONDS)
    took = clock() - begin
    own, wall = time.process_time() - own, time.perf_counter() - wall
    return units / took, max(0.0, (machine_busy() - busy - own) / wall)


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Llama(*SHAPES[name])
    ids = torch.randint(SHAPES[name][4], (SEQUENCE,))
    current = work = None
    for task in (line.strip() for line in sys.stdin) if sys.argv[3] == "-" else sys.argv[3:]:
        if task != current:
            work = None  # frees what the last task held
            work, current = TASKS[task](model, SHAPES[name], ids), task
        tokens, others = rate(work, threads)
        print("peer", name, threads, task, "%.1f %.2f" % (tokens, others), flush=True)


main()
