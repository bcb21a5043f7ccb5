"""peer_graft: bench_learn.c's steps of a fact on a grafted model in PyTorch, written by hand: the
base by transformers, the graft from its files, no gradient but that of what the memory put out.

Run: python peer_graft.py BASE MODE GRAFT, with questions on standard input (peer.py):
  fact S L A T    first_loss S L A T       S wordings of L tokens, of which A are the answer's
BASE, MODE: as peer_model.py's; in compiled mode the memory's own block runs as it is.
A step as docs/method.md has it: reads sorted by slot, weights summed over each slot and multiplied
by log((|B| + 1) / (df + 1)), rows that background reads too often left out, the best 32 changed by
their gradient, brought together to a fixed length.  The background read nothing here: every df is
0, looked up as if it were not."""
import json
import math
import os
import re
import sys

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import peer
import peer_model
from peer_memory import by_slot, product_keys, row_gradients

ROWS, LENGTH, STEPS_OF_A_FACT, SEED = 32, 30.0, 25, 100
BATCHES, MOST = 128.0, 0.01


class Memory:
    """Beside one block's FFN; table (n^2, d) begins at zero, and memory comes as rows change."""

    def __init__(self, folder, width):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)["memory"]
        tensors = load_file(os.path.join(folder, "memory.safetensors"))
        self.block = int(re.search(r"layers\.(\d+)\.", next(iter(tensors))).group(1))
        parts = {name.split(".memory.")[1]: x.float() for name, x in tensors.items()}
        self.query, self.bias, self.keys = (parts[name] for name in ("query.weight", "query.bias",
                                                                     "keys"))
        self.k, n_slots = config["top_k"], config["n_keys"] ** 2
        self.table = torch.from_numpy(numpy.zeros((n_slots, width), numpy.float32))
        self.df = torch.from_numpy(numpy.zeros(n_slots, numpy.float32))
        self.read = self.slots = self.weights = None

    def choose(self, x):
        """slots and weights (tokens, heads * k) that states (tokens, d) read."""
        q = (x @ self.query.T + self.bias).view(len(x), len(self.keys), 2, -1)
        return product_keys(q, self.keys, self.k)

    def beside(self, _module, inputs, output):
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            self.slots, self.weights = self.choose(inputs[0].flatten(0, 1).float())
            read = F.embedding_bag(self.slots, self.table, per_sample_weights=self.weights,
                                   mode="sum")
        self.read = read.view(output.shape).to(output.dtype).requires_grad_()
        return output + self.read

    def update(self):
        """One step by the gradient of what was read; returns the rows it changed."""
        gradient = self.read.grad.flatten(0, 1).float()
        order, slots, counts = by_slot(self.slots)
        rows = row_gradients(order, counts, self.weights, gradient)
        total = torch.zeros(len(slots)).index_add_(
            0, torch.repeat_interleave(torch.arange(len(slots)), counts),
            self.weights.flatten()[order])
        df = self.df[slots]
        score = total * torch.log((BATCHES + 1) / (df + 1))
        score[df > MOST * BATCHES] = -math.inf
        chosen = score.topk(min(ROWS, len(slots))).indices
        rows = rows[chosen] / (1 + df[chosen, None] / (1e-3 * BATCHES))
        rows *= LENGTH / rows.norm().clamp(min=1e-30)
        self.table.index_add_(0, slots[chosen], rows, alpha=-1)
        return slots[chosen]


class Tasks:
    def __init__(self, base, mode, folder):
        self.mode, self.model = mode, peer_model.load(base, "eager")
        self.model.requires_grad_(False)
        self.memory = Memory(folder, self.model.config.hidden_size)
        blocks = self.model.model.layers
        blocks[self.memory.block].mlp.register_forward_hook(self.memory.beside)
        if mode == "compiled":
            peer_model.compile_blocks(block for i, block in enumerate(blocks)
                                      if i != self.memory.block)

    def wordings(self, fact, count, length, n_answer):
        """(count, length) ids; all end with the first one's answer."""
        ids = peer_model.token_ids(self.model.config.vocab_size, count * length, SEED + fact)
        ids = ids.view(count, length)
        ids[:, -n_answer:] = ids[0, -n_answer:].clone()
        return ids

    def step(self, ids, n_answer):
        """The loss before it."""
        with peer_model.casting(self.mode):
            hidden = self.model.model(ids[:, :-1], use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, -n_answer:]).float()
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, -n_answer:].flatten())
        loss.backward()
        with torch.no_grad():
            changed = self.memory.update()
        return loss.item(), changed

    def run(self, count, length, n_answer):
        """Losses of steps, fact after fact; each leaves the table as it was."""
        fact = 0
        while True:
            ids, rows = self.wordings(fact, count, length, n_answer), []
            for _ in range(STEPS_OF_A_FACT):
                loss, changed = self.step(ids, n_answer)
                rows.append(changed)
                yield loss
            self.memory.table[torch.cat(rows)] = 0
            fact += 1

    def fact(self, *words):
        count, length, n_answer = map(int, words)
        losses = self.run(count, length, n_answer)

        def work():
            next(losses)
            return count * length
        return work

    def first_loss(self, *words):
        losses = self.run(*map(int, words))
        return {"numbers": [next(losses)]}


def main():
    tasks = Tasks(*sys.argv[1:])
    peer.serve(lambda name, words: getattr(tasks, name)(*words))


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[2] not in peer_model.MODES:
        sys.exit(__doc__)
    peer.run(main)
