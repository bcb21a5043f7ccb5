#!/usr/bin/env python3
"""subjects: what teaching a fact does to other questions about its subject (the plain questions of
all other PopQA relations) and to questions about namesakes (PopQA's about up to eight subjects that
share a word with it).  Of the facts that choose settings.  Counts answers whose text is the base's,
and those that give the taught answer where the base did not.

    SMFT_SHARED=DIR subjects.py [--facts choose|tune] [--ask own,namesakes] [--blocks 3,6] [--t 32]
                                [--most 10] [--model FILE] [--work DIR] [--threads N]
"""
from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any, Iterable, Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))

from answers import Asker  # noqa: E402
from facts import POPQA, Asked, Fact, is_here, popqa  # noqa: E402
from probes import Sizes, share  # noqa: E402
from runs import CHOSEN, START, World, model_path, summary  # noqa: E402


def others_of(fact: Fact) -> Iterator[Asked]:
    """Whether they make sense of it or not: people ask, and the base says something."""
    for form in POPQA.values():
        question = form.replace("(.+)", fact.subject).replace("\\?", "?")
        if question != fact.question:
            yield Asked(question)


WORD = re.compile(r"[^\W\d_]{3,}")
SMALL = {"The", "the", "and", "for", "with", "von", "van", "der"}
NAMESAKES = 8


def words_of(fact: Fact) -> set[str]:
    return set(WORD.findall(fact.subject)) - SMALL


class Namesakes:
    """From the end of PopQA's lists, as the facts that choose are: the report's are in front."""

    def __init__(self, taught: list[Fact]) -> None:
        subjects = {fact.subject for fact in taught}
        self.facts = [(fact, words_of(fact)) for facts in popqa().values()
                      for fact in reversed(facts) if fact.subject not in subjects]

    def of(self, fact: Fact) -> list[Asked]:
        own = words_of(fact)
        alike = (one for one, words in self.facts if words & own)
        return [Asked(one.question, one.accepted) for one, _ in zip(alike, range(NAMESAKES))]


def ask(world: World, asker: Asker, asked: Iterable[tuple[Fact, Asked]], what: str) -> None:
    same, spilt = [], []
    for fact, one in asked:
        unchanged = asker.still(one.question, world.base.ids(one.question))
        same.append(unchanged)
        spilt.append(not unchanged and world.probes.has_spilt(asker, fact, one))
    print(f"{len(same)} questions about {what}: the same text {share(same) or 0:.3f}, "
          f"the taught answer {share(spilt) or 0:.3f}", flush=True)


def ask_wordings(world: World, asker: Asker, facts: list[Fact]) -> None:
    found = world.probes.learnt(asker, facts, "choose")
    print(f"taught questions {found['taught']:.2f}, free wordings {found['free']:.2f} of "
          f"{found['free_n']}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", choices=("choose", "tune"), default="choose")
    parser.add_argument("--ask", default="own,namesakes")
    parser.add_argument("--blocks", default="3,6")
    parser.add_argument("--t", type=int, default=CHOSEN["t"], help="rows of a fact")
    parser.add_argument("--most", type=int, default=10, help="facts")
    parser.add_argument("--model")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "forgetting", "real"))
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if not is_here():
        return 77
    world = World(model_path(given.model), given.work, given.threads, Sizes())
    setting: dict[str, Any] = {**START, **CHOSEN, "t": given.t,
                               "blocks": [int(block) for block in given.blocks.split(",")]}
    facts = world.facts[given.facts][:given.most]
    method = world.make(setting)
    took = summary([world.teach(method, fact, "one") for fact in facts], method.n_bytes(),
                   world.peak())
    print(f"blocks {given.blocks}, {given.t} rows: {took['learnt']} done in {took['steps']} steps, "
          f"{took['cpu']} s of a core")
    asker = world.asker(method)
    ask_wordings(world, asker, facts)
    if "own" in given.ask:
        ask(world, asker, ((fact, one) for fact in facts for one in others_of(fact)),
            "the subjects")
    if "namesakes" in given.ask:
        namesakes = Namesakes(facts)
        ask(world, asker, ((fact, one) for fact in facts for one in namesakes.of(fact)),
            "namesakes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
