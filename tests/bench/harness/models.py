"""models: the benchmark's models on disk: made by bench_make at first need, and in the forms that peers and large pools need.

A model is made again when bench_make is newer than it.
"""
import json
import math
import os
import random
import subprocess
from array import array

import gguf
import tensors

FEW_KEYS = 32  # of a model whose pool is widened afterwards


class Models:
    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        os.makedirs(folder, exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.folder, "".join(parts))

    def made(self, name, make):
        """The path of `name`, made by make(path) unless it is there and new enough."""
        path, stamp = self.path(name), self.path(name, ".made")
        if not os.path.exists(stamp) or os.path.getmtime(stamp) < os.path.getmtime(self.program):
            make(path)
            with open(stamp, "w", encoding="utf-8"):
                pass
        return path

    def directory(self, shape):
        return self.made(shape, lambda path: subprocess.run([self.program, shape, path], check=True))

    def half(self, shape):
        return self.directory(shape) + "-bf16"

    def gguf(self, shape, half=False):
        source = self.half(shape) if half else self.directory(shape)
        return self.made(os.path.basename(source) + ".gguf", lambda path: gguf.write(source, path))

    def widened(self, shape, n_keys):
        """The shape with n_keys^2 value rows, a hole in the file: a pool of gigabytes takes neither time nor room to make."""
        def make(path):
            narrow = self.path(shape, "-narrow")
            subprocess.run([self.program, shape, narrow, str(FEW_KEYS)], check=True)
            widen(narrow, path, n_keys)
        return self.made("%s-%d" % (shape, n_keys), make)

    def config(self, shape):
        with open(os.path.join(self.directory(shape), "config.json"), encoding="utf-8") as file:
            return json.load(file)

    def parameters(self, shape):
        weights = tensors.read(os.path.join(self.directory(shape), "model.safetensors"))
        return sum(math.prod(tensor.shape) for tensor in weights.values())


def uniform_like(tensor, count):
    """Random numbers with the mean square of a tensor's."""
    numbers = array("f", bytes(tensor.data))
    bound = math.sqrt(3 * sum(x * x for x in numbers) / len(numbers))
    source = random.Random(1)
    return array("f", ((2 * source.random() - 1) * bound for _ in range(count))).tobytes()


def widen(narrow, wide, n_keys):
    os.makedirs(wide, exist_ok=True)
    with open(os.path.join(narrow, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["memory"]["n_keys"] = n_keys
    with open(os.path.join(wide, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    entries = []
    for name, tensor in tensors.read(os.path.join(narrow, "model.safetensors")).items():
        shape, data = tensor.shape, tensor.data
        if name.endswith("memory.keys"):
            shape = (*shape[:2], n_keys, shape[3])
            data = uniform_like(tensor, math.prod(shape))
        elif name.endswith(".values"):
            shape, data = (n_keys * n_keys, shape[1]), None
        entries.append((name, tensor.dtype, shape, data))
    tensors.write(os.path.join(wide, "model.safetensors"), entries)
