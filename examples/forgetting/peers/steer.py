"""steer: a vector at one position of a text, learnt by gradient so that an answer follows: the
value of a lookup (grace.py), the target of an edit (edits.py).  What stands before the position
is not changed by it: its keys and values are made once and kept."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import torch
from torch_model import TorchModel, gives
from transformers import DynamicCache
from wordings import Pair


@dataclass
class Example:
    """A wording from the position on: rest[0] stands at it, the last ids of rest give `answer`."""

    past: list[tuple[Any, Any]]  # of each block, of what stands before
    rest: list[int]
    answer: list[int]


def example(model: TorchModel, pair: Pair, site: int) -> Example:
    ids, past = [*pair[0], *pair[1]], DynamicCache()
    model.sites = []
    if site:
        with torch.no_grad():
            model(ids[:site], past)
    kept = [(layer.keys, layer.values) for layer in past.layers] if site else []
    return Example(kept, ids[site:-1], pair[1])


def run(model: TorchModel, one: Example) -> Any:
    """Logits (answer, vocabulary) where the answer's ids are wanted."""
    past = DynamicCache()
    for i, (keys, values) in enumerate(one.past):
        past.update(keys, values, i)
    return model(one.rest, past, len(one.answer))


def loss(model: TorchModel, one: Example) -> Any:
    """Nats a token of the answer."""
    return torch.nn.functional.cross_entropy(run(model, one), torch.tensor(one.answer))


def at_first(vector: Any, add: bool) -> Callable[[Any], Any]:
    """Puts the vector (numbers) at the first position of an output, or adds it there."""
    def change(out: Any) -> Any:
        first = out[:, :1] + vector if add else vector.expand_as(out[:, :1])
        return torch.cat([first, out[:, 1:]], 1)
    return change


@dataclass
class Steering:
    """module: whose output at the position is changed; extra: what is added to the loss."""

    module: Any
    add: bool
    lr: float
    steps: int
    below: float  # done when the loss of every example is
    together: int  # examples of a step: those that were worst when they were run last
    weight_decay: float = 0.0  # times the squared length over that of `scale`
    most: float = 0.0  # length; 0: any
    scale: float = 1.0


def steer(model: TorchModel, how: Steering, start: Any, examples: list[Example],
          extra: Callable[[], Any] = lambda: 0.0) -> tuple[Any, int, list[float]]:
    """The vector, the steps and each example's loss, by Adam."""
    vector = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([vector], lr=how.lr)
    with gives(how.module, at_first(vector, how.add)):
        last = measured(model, examples)
        for step in range(how.steps):
            if step and max(last) < how.below:  # as they were before some of the steps
                last = measured(model, examples)
            if max(last) < how.below:
                return vector.detach(), step, last
            optimizer.zero_grad()
            for i in sorted(range(len(last)), key=lambda i: -last[i])[:how.together]:
                found = loss(model, examples[i])
                (found / min(how.together, len(last))).backward()
                last[i] = float(found.detach())
            (extra() + how.weight_decay * vector.pow(2).sum() / how.scale ** 2).backward()
            optimizer.step()
            shorten(vector, how.most)
        return vector.detach(), how.steps, measured(model, examples) if how.steps else last


@torch.no_grad()
def measured(model: TorchModel, examples: list[Example]) -> list[float]:
    return [float(loss(model, one)) for one in examples]


@torch.no_grad()
def shorten(vector: Any, most: float) -> None:
    length = float(vector.norm())
    if most and length > most:
        vector.mul_(most / length)
