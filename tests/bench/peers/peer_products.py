"""peer_products: bench_products.c's work in PyTorch: y = x W^T, the same numbers.

Run: python peer_products.py, with questions on standard input (peer.py):
  product M N K KIND T   check M N K KIND T     KIND: f32 or bf16 (x, W and y); T: threads
"""
import torch

import peer

SAMPLES = 32


def numbers(rows, columns, step, size):
    i = torch.arange(rows * columns)
    return (((i * step) % size - size // 2).float() * 1e-3).view(rows, columns)


class Products:
    def __init__(self, m, n, k, kind):
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[kind]
        m, n, k = int(m), int(n), int(k)
        self.x, self.w = numbers(m, k, 7919, 2001).to(dtype), numbers(n, k, 104729, 1999).to(dtype)
        self.units = 2 * m * n * k

    def product(self):
        with torch.inference_mode():
            torch.nn.functional.linear(self.x, self.w)
        return self.units

    def check(self):
        y = torch.nn.functional.linear(self.x, self.w).float().flatten()
        return {"numbers": [y[i * 7919 % len(y)].item() for i in range(SAMPLES)]}


def make(name, words):
    products = Products(*words)
    return products.check() if name == "check" else products.product


if __name__ == "__main__":
    peer.run(lambda: peer.serve(make))
