"""methods: the ways to teach: "slots" on a grafted model, and "full", "lora" and "ffn" on the base,
which may replay background sequences in every step.  Owns how a fact is taught and what that took;
a method is given its facts one after another, and has a patch in the end.  Of the wordings that were
made of one question every method may leave one of eight, but not the first two, as the library does."""
from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from typing import Any, Optional

import smft
from backgrounds import Backgrounds
from facts import Fact
from wordings import Pair, Wordings

METHODS = ("slots", "full", "lora", "ffn")


@dataclass(frozen=True)
class Taught:
    done: bool
    steps: int
    wordings: int
    learnt: int  # wordings
    seconds: float
    cpu: float


class Slots:
    """Rows of a memory that was grafted onto the model; counted: chats added to its counts."""

    def __init__(self, model: Any, counted: list[list[int]], setting: dict[str, Any],
                 seed: int) -> None:
        self.model, self.patch = model, smft.Patch(model)
        names = ("t", "damping", "damping_by", "max_df", "rank_by")
        self.selector = smft.Selector(model, **{n: setting[n] for n in names if n in setting})
        self.selector.count_background([[ids] for ids in counted])
        length, optimizer = setting.get("step_length"), None
        if length:
            optimizer = smft.Optimizer("sgd", step_length=length,
                                       momentum=setting.get("momentum", 0),
                                       length_by_loss=setting.get("length_by_loss", False))
        names = ("loss_below", "wordings_per_step", "max_steps", "protect", "keep_given_up")
        self.learner = smft.Learner(model, self.patch, self.selector, optimizer, seed=seed,
                                    contrast=setting.get("contrast", False),
                                    **{n: setting[n] for n in names if n in setting})

    def teach(self, fact: Fact, pairs: Optional[list[Pair]]) -> Taught:
        """Without pairs: of its question, as the library makes them."""
        if pairs:
            self.learner.push_ids(fact.id, pairs)
        else:
            self.learner.push(fact.id, [(fact.question, fact.answer)])
        wall, cpu, last = time.monotonic(), time.process_time(), None
        while self.learner.pending:
            last = self.learner.step()
        return Taught(last.done, last.step, last.wordings, last.wordings_learnt,
                      time.monotonic() - wall, time.process_time() - cpu)

    def use(self, patch: Any) -> None:
        """Goes on with what another run taught."""
        self.patch = self.learner.patch = patch

    def n_bytes(self) -> int:
        pools = range(self.model.info.n_pools)
        return sum(4 * self.model.pool(pool)[1] * len(self.patch.slots(pool))
                   for pool in pools)


class Dense:
    """AdamW on a full or LoRA patch of the base.  A step has the wordings that were worst when all
    were measured last, a third of it at random, and `replay` background sequences that together
    weigh as much."""

    def __init__(self, words: Wordings, background: list[list[int]], setting: dict[str, Any],
                 seed: int) -> None:
        model = words.model
        self.model, self.words, self.background, self.setting = model, words, background, setting
        self.chance = random.Random(seed)
        self.patch = dense_patch(model, setting, seed)
        decay = setting.get("weight_decay", 0.1)
        self.optimizer = smft.Optimizer("adamw", lr=setting["lr"], weight_decay=decay, clip_norm=1)
        if setting["method"] == "ffn":
            self.optimizer.set_group("model", 0)
            for block in setting["blocks"]:
                self.optimizer.set_group(f"layers.{block}.mlp", 1)
        self.learner = smft.Learner(model, self.patch, optimizer=self.optimizer, seed=seed)
        self.session = smft.Session(model, self.patch)

    def teach(self, fact: Fact, pairs: Optional[list[Pair]]) -> Taught:
        wall, cpu, steps = time.monotonic(), time.process_time(), 0
        spared = 0
        if not pairs:
            pairs = self.words.one(fact)
            spared = len(pairs) // 8
        losses = self.losses(pairs)
        while not self.enough(losses, spared) and steps < self.setting["max_steps"]:
            self.step(pairs, losses)
            steps += 1
            if steps % self.setting.get("check_every", 4) == 0:
                losses = self.losses(pairs)
        learnt = sum(loss < self.setting["loss_below"] for loss in losses)
        return Taught(self.enough(losses, spared), steps, len(pairs), learnt, time.monotonic() - wall,
                      time.process_time() - cpu)

    def enough(self, losses: list[float], spared: int) -> bool:
        above = [i for i, loss in enumerate(losses) if loss >= self.setting["loss_below"]]
        return len(above) <= spared and not any(i < 2 for i in above)

    def losses(self, pairs: list[Pair]) -> list[float]:
        return [float(sum(self.session.nll(a + b).tokens[len(a) - 1:]) / len(b)) for a, b in pairs]

    def step(self, pairs: list[Pair], losses: list[float]) -> None:
        n = min(self.setting["wordings_per_step"], len(pairs))
        worst = sorted(range(len(pairs)), key=lambda i: -losses[i])[:n - n // 3]
        rest = [i for i in range(len(pairs)) if i not in worst]
        drawn = [pairs[i] for i in worst + self.chance.sample(rest, min(n // 3, len(rest)))]
        sequences = [a + b for a, b in drawn]
        weights = [[0.0] * len(a) + [1.0] * len(b) for a, b in drawn]
        again = self.chance.sample(self.background, self.setting.get("replay", 0))
        total, others = sum(map(sum, weights)), sum(len(ids) - 1 for ids in again)
        weights += [[0.0] + [total / others] * (len(ids) - 1) for ids in again]
        self.learner.step_batch(sequences + again, weights)

    def n_bytes(self) -> int:
        """What must be kept: f32 of every tensor that was trained."""
        if self.setting["method"] == "lora":
            return 4 * lora_numbers(self.model, self.setting)
        if self.setting["method"] == "ffn":
            sizes = self.model.info
            return 4 * 3 * sizes.hidden_size * sizes.ffn_size * len(self.setting["blocks"])
        return 4 * self.model.info.n_parameters


def dense_patch(model: Any, setting: dict[str, Any], seed: int) -> Any:
    if setting["method"] != "lora":
        return smft.Patch.full(model)
    return smft.Patch.lora(model, rank=setting["rank"], targets=setting["targets"], seed=seed)


def lora_numbers(model: Any, setting: dict[str, Any]) -> int:
    sizes = model.info
    d, kv, f = sizes.hidden_size, sizes.n_kv_heads * sizes.head_dim, sizes.ffn_size
    ends = {"q": d + sizes.n_heads * sizes.head_dim, "k": d + kv, "v": d + kv,
            "o": d + sizes.n_heads * sizes.head_dim, "gate": d + f, "up": d + f, "down": d + f}
    targets = ends if setting["targets"] == "all" else setting["targets"]
    return sizes.n_layers * setting["rank"] * sum(ends[one] for one in targets)


def make(words: Wordings, backgrounds: Backgrounds, counted: list[list[int]], setting: dict[str, Any],
         seed: int = 1) -> Any:
    """The method of a setting, ready to teach."""
    if setting["method"] == "slots":
        graft = backgrounds.graft(setting["background"], setting["blocks"],
                                  setting.get("graft", {}))
        return Slots(graft, counted, setting, seed)
    replayed = backgrounds.sequences(setting["background"]) + counted
    return Dense(words, replayed, setting, seed)
