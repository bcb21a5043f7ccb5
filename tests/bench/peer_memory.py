"""The memory layer of bench_memory.c in PyTorch (EmbeddingBag): "FORWARD_MS STEP_MS" on standard output, best of the runs.

The step is the naive masked sparse finetuning step: dense gradient of the table, a mask of the chosen rows, SGD.
Run: /usr/bin/python3 tests/bench/peer_memory.py D N_KEYS THREADS
"""
import sys
import time

import torch

d, n, threads = map(int, sys.argv[1:4])
torch.set_num_threads(threads)
clock = time.thread_time if threads == 1 else time.perf_counter  # as bench_memory.c
torch.manual_seed(0)
T, H, K, ROWS = 2048, 4, 32, 10000
half = d // 4
query = torch.nn.Linear(d, H * d // 2, bias=False).requires_grad_(False)
gate = torch.nn.Linear(d, d, bias=False).requires_grad_(False)
out = torch.nn.Linear(d, d, bias=False).requires_grad_(False)
keys = torch.randn(H, 2, n, half) * 0.1
values = torch.nn.EmbeddingBag(n * n, d, mode="sum", _weight=torch.empty(n * n, d).uniform_(-0.1, 0.1))
x = torch.randn(T, d)


def forward():
    q = query(x).view(T, H, 2, half)
    s = torch.einsum("thpi,hpni->pthn", q, keys)
    best, at = s.topk(K, dim=-1)
    grid = (best[0, :, :, :, None] + best[1, :, :, None, :]).flatten(2)
    score, index = grid.topk(K, dim=-1)
    slots = at[0].gather(-1, index // K) * n + at[1].gather(-1, index % K)
    weights = score.softmax(-1)
    y = values(slots.view(T, H * K), per_sample_weights=weights.view(T, H * K))
    return out(y * torch.nn.functional.silu(gate(x))), slots


def step():
    y, slots = forward()
    values.weight.grad = None
    (0.5 * (y * y).sum()).backward()
    with torch.no_grad():
        chosen = torch.unique(slots)[:ROWS]
        mask = torch.zeros(n * n, 1)
        mask[chosen] = 1
        values.weight.grad.mul_(mask)
        values.weight.sub_(values.weight.grad, alpha=1e-6)


def best_of(run, runs):
    run()
    times = []
    for _ in range(runs):
        begin = clock()
        run()
        times.append(clock() - begin)
    return 1e3 * min(times)


with torch.no_grad():
    forward_ms = best_of(forward, 5)
print(forward_ms, best_of(step, 3))
