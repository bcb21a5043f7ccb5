"""models: the benchmark's models on disk: made by bench_make at first need, and in the forms that
peers and large pools need; real ones from the GGUF file that they came in.

A model is made again when bench_make is newer than it.
"""
import json
import math
import os
import random
import subprocess
from array import array
from collections import namedtuple

import gguf
import tensors

FEW_KEYS = 32  # of a model whose pool is widened afterwards
PLAIN = ("f32", "bf16")  # kinds of weights that directories have; the others are GGUF's alone
QV = 1 | 4  # SMFT_LORA_Q | SMFT_LORA_V
ALL = 127

# What is done with a model: tokens of a prompt, a batch of training, the adapters' targets; of a
# fact its wordings, their tokens and those of the answer.
Work = namedtuple("Work", "prompt sequences length targets fact")
FACT = (6, 30, 4)
SHAPE_WORK, REAL_WORK = Work(256, 1, 256, ALL, FACT), Work(512, 4, 128, QV, FACT)


class Models:
    """real: {name: GGUF file} of the real ones that are there."""

    def __init__(self, folder, program, real=None):
        self.folder, self.program, self.real = folder, program, real or {}
        os.makedirs(folder, exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.folder, "".join(parts))

    def made(self, name, make, after=None):
        """The path of `name`, made by make(path) unless it is there and new enough."""
        path, stamp = self.path(name), self.path(name, ".made")
        newest = max(os.path.getmtime(file) for file in (self.program, after) if file)
        if not os.path.exists(stamp) or os.path.getmtime(stamp) < newest:
            make(path)
            with open(stamp, "w", encoding="utf-8"):
                pass
        return path

    def work(self, name):
        return REAL_WORK if name in self.real else SHAPE_WORK

    # ---- files by kind of weights ----

    def directory(self, name, kind="f32"):
        """A Hugging Face directory."""
        if name in self.real:
            return self.exported(name, kind, "")
        made = self.made(name, lambda path: subprocess.run([self.program, name, path], check=True))
        return made + "-bf16" if kind == "bf16" else made

    def half(self, name):
        return self.directory(name, "bf16")

    def gguf(self, name, kind="f32"):
        """What llama.cpp gets."""
        if name in self.real:
            return self.real[name] if self.is_source(name, kind) else \
                self.exported(name, kind, ".gguf")
        source = self.directory(name, kind)
        return self.made(os.path.basename(source) + ".gguf", lambda path: gguf.write(source, path))

    def ours(self, name, kind="f32"):
        return self.directory(name, kind) if kind in PLAIN else self.gguf(name, kind)

    def is_source(self, name, kind):
        """Whether the file that a real model came in has its weights of this kind."""
        return kind in os.path.basename(self.real[name]).lower()

    def exported(self, name, kind, suffix):
        """By the library itself, from the file that the model came in."""
        source = self.real[name]
        return self.made("%s-%s%s" % (name, kind, suffix), lambda path: subprocess.run(
            [self.program, "export", source, kind, path], check=True), after=source)

    def grafted(self, name, block, n_keys, kind="f32"):
        """A memory beside a block's FFN, on the model's directory."""
        source = self.directory(name, kind)
        return self.made("%s-%s-graft-%d" % (name, kind, block), lambda path: subprocess.run(
            [self.program, "graft", source, str(block), str(n_keys), path], check=True))

    def widened(self, shape, n_keys):
        """The shape with n_keys^2 value rows, a hole in the file: a pool of gigabytes takes neither
        time nor room to make."""
        def make(path):
            narrow = self.path(shape, "-narrow")
            subprocess.run([self.program, shape, narrow, str(FEW_KEYS)], check=True)
            widen(narrow, path, n_keys)
        return self.made("%s-%d" % (shape, n_keys), make)

    def config(self, name):
        with open(os.path.join(self.directory(name), "config.json"), encoding="utf-8") as file:
            return json.load(file)


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
