"""peer_memory: the memory layer of bench_memory.c in PyTorch (EmbeddingBag).

The step is the naive masked sparse finetuning step: dense gradient of the table, a mask of the chosen rows, SGD.
Run: OMP_NUM_THREADS=MOST /usr/bin/python3 tests/bench/peers/peer_memory.py D N_KEYS, with questions on standard input (peer.py):
  forward T   step T   check DIR T (with the inputs that bench_memory wrote there)      T: threads
"""
import sys

import torch
from torch.nn.functional import silu

import peer

T, H, K, ROWS, SAMPLES = 2048, 4, 32, 10000, 32


class Layer:
    def __init__(self, d, n):
        self.d, self.n, self.half = d, n, d // 4
        self.query, self.gate, self.out = (torch.randn(rows, d) * 0.05 for rows in (H * d // 2, d, d))
        self.keys = torch.randn(H, 2, n, self.half) * 0.1
        self.use_values(torch.empty(n * n, d).uniform_(-0.1, 0.1))
        self.x = torch.randn(T, d)

    def use_values(self, table):
        self.values = torch.nn.EmbeddingBag(self.n * self.n, self.d, mode="sum", _weight=table)

    def read(self, directory):
        for name in ("query", "gate", "out", "keys", "x"):
            was = getattr(self, name)
            setattr(self, name, torch.frombuffer(bytearray(content(directory, name)), dtype=torch.float32).view(was.shape))
        self.use_values(torch.frombuffer(bytearray(content(directory, "values")), dtype=torch.float32).view(self.n * self.n, self.d))

    def run(self):
        q = (self.x @ self.query.T).view(T, H, 2, self.half)
        s = torch.einsum("thpi,hpni->pthn", q, self.keys)
        best, at = s.topk(K, dim=-1)
        grid = (best[0, :, :, :, None] + best[1, :, :, None, :]).flatten(2)
        score, index = grid.topk(K, dim=-1)
        slots = at[0].gather(-1, index // K) * self.n + at[1].gather(-1, index % K)
        weights = score.softmax(-1)
        y = self.values(slots.view(T, H * K), per_sample_weights=weights.view(T, H * K))
        return (y * silu(self.x @ self.gate.T)) @ self.out.T, slots

    def forward(self):
        with torch.no_grad():
            self.run()
        return 1

    def gradient(self):
        y, slots = self.run()
        self.values.weight.grad = None
        (0.5 * (y * y).sum()).backward()
        return y, torch.unique(slots)[:ROWS]

    def step(self):
        _, chosen = self.gradient()
        with torch.no_grad():
            mask = torch.zeros(self.n * self.n, 1)
            mask[chosen] = 1
            self.values.weight.grad.mul_(mask)
            self.values.weight.sub_(self.values.weight.grad, alpha=1e-6)
        return 1

    def check(self, directory):
        self.read(directory)
        y, chosen = self.gradient()
        return {"numbers": samples(y.detach()), "rows": len(chosen), "gradient": samples(self.values.weight.grad[chosen])}


def content(directory, name):
    with open("%s/%s" % (directory, name), "rb") as file:
        return file.read()


def samples(numbers):
    flat = numbers.flatten()
    return [flat[i * 7919 % len(flat)].item() for i in range(SAMPLES)]


def main():
    torch.manual_seed(0)
    layer = Layer(int(sys.argv[1]), int(sys.argv[2]))

    def make(name, words):
        return layer.check(*words) if name == "check" else getattr(layer, name)
    peer.serve(make)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    peer.run(main)
