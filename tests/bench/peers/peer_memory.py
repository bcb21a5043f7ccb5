"""peer_memory: the memory layer of bench_memory.c in PyTorch, its sparse step written three ways.

Run: python peer_memory.py D N_KEYS TOKENS, with questions on standard input (peer.py):
  forward T   STEP T   check STEP DIR T (with the inputs that bench_memory wrote there)  T: threads
STEP: hand     no gradient of the table: the reads sorted by slot, the chosen rows' gradients as an
               embedding_bag over the tokens' gradients, index_add_ on those rows
      sparse   autograd with sparse gradients (EmbeddingBag(sparse=True)), those of the chosen rows
               added to them
      dense    autograd with the table's dense gradient, masked, SGD
"""
import sys

import torch
from torch.nn.functional import embedding_bag, silu

import peer

H, K, ROWS, SAMPLES = 4, 32, 10000, 32
RATE = 1e-6


def product_keys(q, keys, k):
    """slots and weights (tokens, H * k) that queries (tokens, H, 2, half) read, by keys
    (H, 2, n, half)."""
    n = keys.shape[2]
    s = torch.einsum("thpi,hpni->pthn", q, keys)
    best, at = s.topk(k, dim=-1)
    grid = (best[0, :, :, :, None] + best[1, :, :, None, :]).flatten(2)
    score, index = grid.topk(k, dim=-1)
    slots = at[0].gather(-1, index // k) * n + at[1].gather(-1, index % k)
    return slots.flatten(1), score.softmax(-1).flatten(1)


def by_slot(slots):
    """The reads in the order of their slots, the slots, and how many reads each has."""
    ordered, order = slots.flatten().sort()
    return order, *torch.unique_consecutive(ordered, return_counts=True)


def row_gradients(order, counts, weights, d_read):
    """Of rows whose reads are `order`, counts of them each: no gradient of the table."""
    return embedding_bag(order // weights.shape[1], d_read, counts.cumsum(0) - counts, mode="sum",
                         per_sample_weights=weights.flatten()[order])


class Layer:
    def __init__(self, d, n, tokens):
        self.d, self.n, self.half, self.tokens = d, n, d // 4, tokens
        self.query, self.gate, self.out = (torch.randn(rows, d) * 0.05
                                           for rows in (H * d // 2, d, d))
        self.keys = torch.randn(H, 2, n, self.half) * 0.1
        self.table = torch.empty(n * n, d).uniform_(-0.1, 0.1)
        self.x = torch.randn(tokens, d)

    def read(self, directory):
        for name, file in (("query", 0), ("gate", 0), ("out", 0), ("keys", 0), ("x", 0),
                           ("table", "values")):
            with open("%s/%s" % (directory, file or name), "rb") as source:
                data = torch.frombuffer(bytearray(source.read()), dtype=torch.float32)
            setattr(self, name, data.view(getattr(self, name).shape))

    # ---- forward ----

    def choose(self):
        """slots and weights (tokens, H * K) of the reads."""
        q = (self.x @ self.query.T).view(self.tokens, H, 2, self.half)
        return product_keys(q, self.keys, K)

    def project(self, read):
        return (read * silu(self.x @ self.gate.T)) @ self.out.T

    def forward(self):
        with torch.no_grad():
            slots, weights = self.choose()
            self.project(embedding_bag(slots, self.table, per_sample_weights=weights, mode="sum"))
        return 1

    # ---- steps: each returns the output, the chosen slots, and their gradient ----
    # The loss is half the output's square, so that its gradient is the output.

    def hand(self):
        with torch.no_grad():
            slots, weights = self.choose()
            read = embedding_bag(slots, self.table, per_sample_weights=weights, mode="sum")
            gate = silu(self.x @ self.gate.T)
            y = (read * gate) @ self.out.T
            d_read = (y @ self.out) * gate
            order, chosen, counts = by_slot(slots)
            chosen, counts = chosen[:ROWS], counts[:ROWS]
            gradient = row_gradients(order[:int(counts.sum())], counts, weights, d_read)
            self.table.index_add_(0, chosen, gradient, alpha=-RATE)
        return y, chosen, gradient

    def by_autograd(self, sparse):
        with torch.no_grad():
            slots, weights = self.choose()
        table = self.table.requires_grad_()
        table.grad = None
        y = self.project(embedding_bag(slots, table, per_sample_weights=weights, mode="sum",
                                       sparse=sparse))
        (0.5 * (y * y).sum()).backward()
        return y.detach(), torch.unique(slots)[:ROWS], table.grad

    def sparse(self):
        y, chosen, gradient = self.by_autograd(True)
        with torch.no_grad():
            slots = gradient._indices()[0]
            wanted = slots <= chosen[-1]  # the chosen ones are the lowest
            slots, values = slots[wanted], gradient._values()[wanted]
            self.table.index_add_(0, slots, values, alpha=-RATE)
        return y, chosen, gradient

    def dense(self):
        y, chosen, gradient = self.by_autograd(False)
        with torch.no_grad():
            mask = torch.zeros(self.n * self.n, 1)
            mask[chosen] = 1
            gradient.mul_(mask)
            self.table.sub_(gradient, alpha=RATE)
        return y, chosen, gradient

    def step(self, name):
        def work():
            getattr(self, name)()
            return 1
        return work

    def check(self, name, directory):
        self.read(directory)
        y, chosen, gradient = getattr(self, name)()
        if len(gradient) != len(chosen):
            gradient = (gradient.coalesce().to_dense() if gradient.is_sparse else gradient)[chosen]
        return {"numbers": samples(y), "rows": len(chosen), "gradient": samples(gradient)}


def samples(numbers):
    flat = numbers.flatten()
    return [flat[i * 7919 % len(flat)].item() for i in range(SAMPLES)]


def main():
    torch.manual_seed(0)
    layer = Layer(*map(int, sys.argv[1:]))

    def make(name, words):
        if name == "check":
            return layer.check(*words)
        return layer.forward if name == "forward" else layer.step(name)
    peer.serve(make)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    peer.run(main)
