"""edits: closed-form edits of the down projections of a few blocks, one fact after another.

MEMIT (Meng et al. 2023): z is what the last of the blocks should put out at the subject's last
token for the answer to follow: its state plus a delta by gradient, with weight decay, a bound on
its length and KL of "{subject} is a" to the base's.  Each block in turn gets its share of what is
missing, r = (z - state) / (blocks left), as W += r k^T (lambda C + k k^T)^-1, where k is what its
down projection is given at that token, the mean over the fact's wordings, and C the mean of k k^T
over the background.  AlphaEdit (Fang et al. 2025): W += r k^T P (Kp Kp^T P + k k^T P + L I)^-1,
where P projects into the directions that the background's keys hardly use and Kp are the keys of
earlier edits.

Ours: the null space is of eigenvalues below `null` times their mean; L is `ridge` times the mean
squared length of the background's keys; a delta is done when every wording's loss is low enough."""
from __future__ import annotations

import time
from typing import Any, Optional

import torch
from facts import Fact
from methods import Taught
from steer import Example, Steering, example, run, steer
from torch_model import TorchAsker, TorchModel, gives
from wordings import Pair, Wordings


def site_of(tokenizer: Any, ids: list[int], subject: str) -> Optional[int]:
    """The last token of the subject where it is named last; None: it is not named."""
    n = tokenizer.decode(ids).count(subject)
    if not n:
        return None
    return next(i for i in range(len(ids)) if tokenizer.decode(ids[:i + 1]).count(subject) == n)


def second_moments(model: TorchModel, sequences: list[list[int]],
                   blocks: list[int]) -> dict[int, Any]:
    """The mean of k k^T over the tokens, of each block: (ffn, ffn)."""
    downs = [model.blocks[block].mlp.down_proj for block in blocks]
    sums = [torch.zeros(down.in_features, down.in_features) for down in downs]
    for ids in sequences:
        for total, keys in zip(sums, model.seen(ids, downs, [], downs[-1])):
            total += keys.T @ keys
    n = sum(map(len, sequences))
    return {block: total / n for block, total in zip(blocks, sums)}


def null_space(moment: Any, below: float) -> Any:
    """Projection (ffn, ffn) on the eigenvectors of eigenvalues below so many times their mean."""
    values, vectors = torch.linalg.eigh(moment.double())
    free = vectors[:, values < below * values.mean()]
    return (free @ free.T).float()


class Memit:
    def __init__(self, moments: dict[int, Any], setting: dict[str, Any]) -> None:
        self.solvers = {block: torch.linalg.cholesky(
            setting["lambda"] * moment.double() + 1e-6 * moment.diagonal().mean()
            * torch.eye(len(moment), dtype=torch.double)) for block, moment in moments.items()}

    def direction(self, block: int, key: Any) -> Any:
        """u (ffn) of W += r u^T: (lambda C + k k^T)^-1 k, by Sherman and Morrison."""
        key = key.double()
        solved = torch.cholesky_solve(key[:, None], self.solvers[block])[:, 0]
        return (solved / (1 + key @ solved)).float()


class AlphaEdit:
    def __init__(self, moments: dict[int, Any], setting: dict[str, Any]) -> None:
        self.free = {block: null_space(moment, setting["null"])
                     for block, moment in moments.items()}
        self.ridge = {block: setting["ridge"] * float(moment.trace())
                      for block, moment in moments.items()}
        self.earlier: dict[int, list[Any]] = {block: [] for block in moments}

    def direction(self, block: int, key: Any) -> Any:
        """u of k^T P (Kp Kp^T P + k k^T P + L I)^-1, through the small matrix of the keys: with
        K = P [Kp k] it is the last column of K (K^T K + L I)^-1."""
        self.earlier[block].append(self.free[block] @ key)
        keys = torch.stack(self.earlier[block], 1).double()
        small = keys.T @ keys + self.ridge[block] * torch.eye(keys.shape[1], dtype=torch.double)
        last = torch.zeros(keys.shape[1], dtype=torch.double)
        last[-1] = 1
        return (keys @ torch.linalg.solve(small, last)).float()


class Edits:
    def __init__(self, model: TorchModel, words: Wordings, moments: dict[int, Any],
                 setting: dict[str, Any]) -> None:
        self.model, self.words, self.setting = model, words, setting
        self.blocks = setting["blocks"]
        self.last = model.blocks[self.blocks[-1]]
        rule = Memit if setting["method"] == "memit" else AlphaEdit
        self.rule = rule({block: moments[block] for block in self.blocks}, setting)
        self.n_edits = 0

    def teach(self, fact: Fact, pairs: Optional[list[Pair]]) -> Taught:
        wall, cpu = time.monotonic(), time.process_time()
        pairs = pairs or self.words.one(fact)
        found = [(pair, site_of(self.words.tokenizer, pair[0], fact.subject)) for pair in pairs]
        named = [(pair, site) for pair, site in found if site is not None]
        steps = self.edit(fact, named) if named else 0
        losses = [self.loss(pair) for pair in pairs]
        learnt = sum(one < self.setting["loss_below"] for one in losses)
        return Taught(learnt == len(pairs), steps, len(pairs), learnt, time.monotonic() - wall,
                      time.process_time() - cpu)

    def edit(self, fact: Fact, named: list[tuple[Pair, int]]) -> int:
        delta, steps = self.delta(fact, named)
        wanted = self.mean(named, [], [self.last])[0] + delta
        for i, block in enumerate(self.blocks):
            down = self.model.blocks[block].mlp.down_proj
            key, state = self.mean(named, [down], [self.last])
            share = (wanted - state) / (len(self.blocks) - i)
            down.weight.data += torch.outer(share, self.rule.direction(block, key))
        self.n_edits += 1
        return steps

    def mean(self, named: list[tuple[Pair, int]], inputs: list[Any],
             outputs: list[Any]) -> list[Any]:
        """What the modules are given, and give, at the subject: the mean over the wordings."""
        seen = [[x[site] for x in self.model.seen(pair[0][:site + 1], inputs, outputs, self.last)]
                for pair, site in named]
        return [torch.stack(x).mean(0) for x in zip(*seen)]

    def delta(self, fact: Fact, named: list[tuple[Pair, int]]) -> tuple[Any, int]:
        state = self.mean(named, [], [self.last])[0]
        scale, s = float(state.norm()), self.setting
        how = Steering(self.last, add=True, lr=s["lr"] * scale / len(state) ** 0.5,
                       steps=s["steps"], below=s["loss_below"], together=s["wordings_per_step"],
                       weight_decay=s["decay"], most=s["most"] * scale, scale=scale)
        examples = [example(self.model, pair, site) for pair, site in named]
        delta, steps, _ = steer(self.model, how, torch.zeros_like(state), examples,
                                self.essence(fact))
        return delta, steps

    def essence(self, fact: Fact) -> Any:
        """KL(before || with delta) of what follows "{subject} is a"."""
        ids = list(self.words.tokenizer.encode(f"{fact.subject} is a"))
        site = site_of(self.words.tokenizer, ids, fact.subject)
        one: Example = example(self.model, (ids, ids[:1]), site or 0)
        with torch.no_grad():
            before = torch.log_softmax(run(self.model, one), -1)

        def kl() -> Any:
            now = torch.log_softmax(run(self.model, one), -1)
            return self.setting["kl"] * (before.exp() * (before - now)).sum()
        return kl

    @torch.no_grad()
    def loss(self, pair: Pair) -> float:
        logits = self.model([*pair[0], *pair[1]][:-1], keep=len(pair[1]))
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(pair[1])))

    def asker(self) -> TorchAsker:
        return TorchAsker(self.model)

    def n_bytes(self) -> int:
        """Both vectors of each edit of each block, all that has to be kept."""
        down = self.model.blocks[0].mlp.down_proj
        return 4 * self.n_edits * len(self.blocks) * (down.in_features + down.out_features)
