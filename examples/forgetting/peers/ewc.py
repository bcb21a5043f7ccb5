"""ewc: all weights by AdamW, with lambda / 2 sum F (w - w0)^2 in the loss (EWC, Kirkpatrick et
al. 2017).  F is the diagonal of the Fisher matrix over background sequences, of tokens drawn from
the model's own distribution, a token's mean.  It takes the place of replay.  Steps are those of
the dense methods of ../real: the wordings that were worst when all were measured last, a third at
random."""
from __future__ import annotations

import random
import time
from typing import Any, Optional

import torch
from facts import Fact
from methods import Taught
from torch_model import TorchAsker, TorchModel
from wordings import Pair, Wordings


def fisher(model: TorchModel, sequences: list[list[int]], seed: int = 1) -> list[Any]:
    """Of each parameter.  The gradient of a whole sequence is squared: with drawn tokens the
    products of two tokens' gradients are 0 in the mean."""
    chance = torch.Generator().manual_seed(seed)
    weights = list(model.net.parameters())
    total = [torch.zeros_like(w) for w in weights]
    model.net.requires_grad_(True)
    for ids in sequences:
        logits = model(ids, keep=0)
        drawn = torch.multinomial(torch.softmax(logits.detach(), -1), 1, generator=chance)[:, 0]
        surprise = torch.nn.functional.cross_entropy(logits, drawn, reduction="sum")
        found = torch.autograd.grad(surprise, weights)
        for sum_, gradient in zip(total, found):
            sum_.addcmul_(gradient, gradient)
    model.net.requires_grad_(False)
    n = sum(map(len, sequences))
    return [sum_ / n for sum_ in total]


class Ewc:
    def __init__(self, model: TorchModel, words: Wordings, fisher_of: list[Any],
                 setting: dict[str, Any], seed: int = 1) -> None:
        self.model, self.words, self.setting, self.fisher = model, words, setting, fisher_of
        self.chance = random.Random(seed)
        self.weights = list(model.net.requires_grad_(True).parameters())
        self.start = [w.detach().clone() for w in self.weights]
        self.optimizer = torch.optim.AdamW(self.weights, lr=setting["lr"],
                                           weight_decay=setting["weight_decay"])

    def teach(self, fact: Fact, pairs: Optional[list[Pair]]) -> Taught:
        wall, cpu, steps = time.monotonic(), time.process_time(), 0
        spared = 0 if pairs else None
        pairs = pairs or self.words.one(fact)
        spared = len(pairs) // 8 if spared is None else spared
        losses = self.losses(pairs)
        while not self.enough(losses, spared) and steps < self.setting["max_steps"]:
            self.step(pairs, losses)
            steps += 1
            if steps % 4 == 0:
                losses = self.losses(pairs)
        learnt = sum(loss < self.setting["loss_below"] for loss in losses)
        return Taught(self.enough(losses, spared), steps, len(pairs), learnt,
                      time.monotonic() - wall, time.process_time() - cpu)

    def enough(self, losses: list[float], spared: int) -> bool:
        above = [i for i, loss in enumerate(losses) if loss >= self.setting["loss_below"]]
        return len(above) <= spared and not any(i < 2 for i in above)

    def loss(self, pair: Pair) -> Any:
        logits = self.model([*pair[0], *pair[1]][:-1], keep=len(pair[1]))
        return torch.nn.functional.cross_entropy(logits, torch.tensor(pair[1]), reduction="sum")

    @torch.no_grad()
    def losses(self, pairs: list[Pair]) -> list[float]:
        return [float(self.loss(pair)) / len(pair[1]) for pair in pairs]

    def step(self, pairs: list[Pair], losses: list[float]) -> None:
        n = min(self.setting["wordings_per_step"], len(pairs))
        worst = sorted(range(len(pairs)), key=lambda i: -losses[i])[:n - n // 3]
        rest = [i for i in range(len(pairs)) if i not in worst]
        drawn = [pairs[i] for i in worst + self.chance.sample(rest, min(n // 3, len(rest)))]
        total = sum(len(answer) for _, answer in drawn)
        self.optimizer.zero_grad()
        for pair in drawn:
            (self.loss(pair) / total).backward()
        with torch.no_grad():
            for w, start, f in zip(self.weights, self.start, self.fisher):
                w.grad.addcmul_(f, w - start, value=self.setting["lambda"])
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()

    def asker(self) -> TorchAsker:
        self.model.net.requires_grad_(False)
        return TorchAsker(self.model)

    def n_bytes(self) -> int:
        return sum(4 * w.numel() for w in self.weights)
