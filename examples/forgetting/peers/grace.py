"""grace: a codebook beside one block (GRACE, Hartvigsen et al. 2023).  A key is what the block's
FFN is given at the last token of a prompt; where that lies within epsilon of a key, the FFN's
output at this token becomes the key's value, which was trained by gradient.  No weight
changes.  A wording that lies in no ball gets a key of its own; where the ball of another fact is
in the way both shrink to half the distance.  Ours: a fact's further keys start from its last
value, and a value is trained on all wordings of its fact that lie in its ball."""
from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from facts import Fact
from methods import Taught
from steer import Example, Steering, example, steer
from torch_model import TorchAsker, TorchModel
from wordings import Pair, Wordings


@dataclass
class Entry:
    key: Any  # (hidden)
    value: Any  # (hidden)
    epsilon: float
    fact: str
    examples: list[Example] = field(default_factory=list)  # while its fact is taught


@torch.no_grad()
def distance_of(model: TorchModel, chats: list[list[int]], block: int) -> float:
    """Between the keys of two chats of the background, the mean: the unit of epsilon."""
    mlp = model.blocks[block].mlp
    chats = random.Random(1).sample(chats, min(24, len(chats)))
    ends = [next((i for i in range(len(ids), 0, -1) if model.opens(ids[:i])), 0) for ids in chats]
    keys = [model.seen(ids[:n], [mlp], [], mlp)[0][-1] for ids, n in zip(chats, ends) if n]
    apart = [float((a - b).norm()) for a, b in itertools.combinations(keys, 2)]
    return sum(apart) / len(apart)


class Grace:
    def __init__(self, model: TorchModel, words: Wordings, chats: list[list[int]],
                 setting: dict[str, Any]) -> None:
        self.model, self.words, self.setting = model, words, setting
        self.mlp = model.blocks[setting["block"]].mlp
        self.epsilon = setting["epsilon"] * distance_of(model, chats, setting["block"])
        self.entries: list[Entry] = []

    def teach(self, fact: Fact, pairs: Optional[list[Pair]]) -> Taught:
        wall, cpu = time.monotonic(), time.process_time()
        pairs = pairs or self.words.one(fact)
        steps = sum(self.edit(fact.id, pair) for pair in pairs)
        own = [entry for entry in self.entries if entry.fact == fact.id]
        learnt = sum(self.losses(entry)[i] < self.setting["loss_below"]
                     for entry in own for i in range(len(entry.examples)))
        for entry in own:
            entry.examples = []
        return Taught(learnt == len(pairs), steps, len(pairs), learnt, time.monotonic() - wall,
                      time.process_time() - cpu)

    def edit(self, fact: str, pair: Pair) -> int:
        """One wording; the steps it took."""
        site = len(pair[0]) - 1
        key, value = (x[site] for x in
                      self.model.seen(pair[0], [self.mlp], [self.mlp], self.mlp))
        entry = self.entry_for(fact, key, value)
        entry.examples.append(example(self.model, pair, site))
        usual = float(value.pow(2).mean().sqrt())
        how = Steering(self.mlp, add=False, lr=self.setting["lr"] * usual,
                       steps=self.setting["steps"], below=self.setting["loss_below"],
                       together=self.setting["wordings_per_step"])
        entry.value, steps, _ = steer(self.model, how, entry.value, entry.examples)
        return steps

    def entry_for(self, fact: str, key: Any, value: Any) -> Entry:
        """That whose ball the key lies in, if it is of the same fact; else a new one."""
        near, distance = self.nearest(key)
        epsilon = self.epsilon
        if near and distance < near.epsilon + self.epsilon:
            if near.fact == fact:
                near.epsilon = max(near.epsilon, distance)
                return near
            epsilon = near.epsilon = distance / 2
        own = [entry for entry in self.entries if entry.fact == fact]
        self.entries.append(Entry(key, own[-1].value if own else value, epsilon, fact))
        return self.entries[-1]

    def nearest(self, key: Any) -> tuple[Optional[Entry], float]:
        if not self.entries:
            return None, 0.0
        apart = torch.stack([entry.key for entry in self.entries]).sub(key).norm(dim=1)
        return self.entries[int(apart.argmin())], float(apart.min())

    def losses(self, entry: Entry) -> list[float]:
        how = Steering(self.mlp, add=False, lr=0.0, steps=0, below=0.0, together=1)
        return steer(self.model, how, entry.value, entry.examples)[2]

    def asker(self) -> "GraceAsker":
        return GraceAsker(self)

    def n_bytes(self) -> int:
        """Key, value, epsilon."""
        return sum(4 * (len(entry.key) + len(entry.value) + 1) for entry in self.entries)


class GraceAsker(TorchAsker):
    """Looks up where an answer begins, as long as it lives."""

    def __init__(self, method: Grace) -> None:
        super().__init__(method.model)
        self.method, self.given = method, None
        mlp = method.mlp
        self.hooks = [mlp.register_forward_pre_hook(self.remember),
                      mlp.register_forward_hook(self.put)]

    def remember(self, _: Any, args: Any) -> None:
        self.given = args[0]

    def put(self, _: Any, __: Any, out: Any) -> Any:
        for site in self.method.model.sites:
            entry, distance = self.method.nearest(self.given[0, site])
            if entry and distance < entry.epsilon:
                out = out.clone()
                out[0, site] = entry.value
        return out
