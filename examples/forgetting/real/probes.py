"""probes: what is measured before and after teaching, with the numbers of it.  Owns the sizes of a
round and the report's columns; asking and being right are answers.py's."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterable, Optional

import numpy
import smft
from answers import Asker, Base, is_right, known
from backgrounds import own_chats
from facts import Asked, Fact, candidates, glosses, nq_questions, prose
from wordings import Wordings


@dataclass(frozen=True)
class Sizes:
    counted: int = 40  # known answers
    never: int = 120  # that no count sees
    candidates: int = 900  # asked at most to find them
    prose: int = 10
    chats: int = 8
    glosses: int = 12
    kl: int = 2
    tokens: int = 96  # of a text


QUICK = Sizes(counted=6, never=6, candidates=60, prose=2, chats=2, glosses=2, kl=1, tokens=32)
COLUMNS = ("taught", "taught_f1", "plain", "free", "free_n", "natural", "natural_n", "never_lost",
           "never_n", "counted_lost", "counted_n", "never_same", "counted_same", "relation_same",
           "relation_n", "subject_same", "subject_n", "spill", "prose", "prose_before", "chats",
           "chats_before", "glosses", "glosses_before", "kl")


def share(values: Iterable[bool]) -> Optional[float]:
    values = list(values)
    return sum(values) / len(values) if values else None


class Texts:
    """Running text, chats with the base's answers, glosses: the mean NLL of their tokens."""

    def __init__(self, asker: Asker, base: Base, sizes: Sizes) -> None:
        encode = asker.tokenizer.encode
        self.ids = {"prose": [list(encode(one))[:sizes.tokens] for one in prose(sizes.prose)],
                    "chats": [asker.prompt(one) + base.ids(one)
                              for one in nq_questions(sizes.chats)],
                    "glosses": [list(encode(one))[:sizes.tokens] for one in glosses(sizes.glosses)]}
        self.kl_ids = self.ids["prose"][:sizes.kl]
        self.before = self.measure(asker.session)
        self.base_log = [log_softmax(asker.session.logits(ids)) for ids in self.kl_ids]

    def measure(self, session: Any) -> dict[str, float]:
        return {kind: mean_nll(session, texts) for kind, texts in self.ids.items()}

    def kl(self, session: Any) -> float:
        """KL(base || patched) of the next token, the mean over positions."""
        found = [float((numpy.exp(base) * (base - log_softmax(session.logits(ids)))).sum(-1).mean())
                 for base, ids in zip(self.base_log, self.kl_ids)]
        return sum(found) / len(found)


def log_softmax(logits: Any) -> Any:
    """(tokens, vocabulary)"""
    x = numpy.asarray(logits, dtype=numpy.float64)
    x = x - x.max(-1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(-1, keepdims=True))


def mean_nll(session: Any, texts: list[list[int]]) -> float:
    total = sum(float(session.nll(ids)) * (len(ids) - 1) for ids in texts)
    return total / sum(len(ids) - 1 for ids in texts)


class Probes:
    """Of one base model; a round of measurements is `measure`."""

    def __init__(self, asker: Asker, base: Base, words: Wordings, sizes: Sizes) -> None:
        self.base, self.words = base, words
        told = {question for question, _ in own_chats()}
        self.counted, self.never = known(base, candidates(), sizes.counted, sizes.never,
                                         sizes.candidates, told)
        self.texts = Texts(asker, base, sizes)

    def counted_chats(self) -> list[list[int]]:
        """What the counts are to know: the question with the base's own answer, as ids."""
        return [self.base.asker.prompt(one.question) + self.base.ids(one.question)
                for one in self.counted]

    def measure(self, asker: Asker, facts: list[Fact], half: str) -> dict[str, Any]:
        after = {**self.learnt(asker, facts, half), **self.lost(asker), **self.near(asker, facts)}
        now = self.texts.measure(asker.session)
        after.update(now)
        after.update({f"{kind}_before": value for kind, value in self.texts.before.items()})
        after["kl"] = self.texts.kl(asker.session)
        return {name: after[name] for name in COLUMNS}

    def learnt(self, asker: Asker, facts: list[Fact], half: str) -> dict[str, Any]:
        """The fact's question in a chat; it counts as plain where it was not among the wordings."""
        said = [asker.text(fact.question) for fact in facts]
        right = [is_right(text, fact.accepted) for text, fact in zip(said, facts)]
        f1 = [smft.score_answer(text, fact.accepted)[1] for text, fact in zip(said, facts)]
        free = [is_right(asker.text(question), fact.accepted)
                for fact in facts for question in self.words.asked_freely(fact, half)]
        natural = [is_right(asker.text(question), fact.accepted)
                   for fact in facts for question in fact.natural if half == "report"]
        popqa = [ok for ok, fact in zip(right, facts) if not fact.natural]
        return {"taught": share(right), "taught_f1": sum(f1) / len(f1), "plain": share(popqa),
                "free": share(free), "free_n": len(free), "natural": share(natural),
                "natural_n": len(natural)}

    def lost(self, asker: Asker) -> dict[str, Any]:
        """Of the base's right answers, which are wrong now; and whose text is another."""
        after = {}
        for name, asked in (("never", self.never), ("counted", self.counted)):
            same = [asker.still(one.question, self.base.ids(one.question)) for one in asked]
            right = [ok or is_right(asker.text(one.question), one.accepted)
                     for ok, one in zip(same, asked)]
            after.update({f"{name}_lost": 1 - (share(right) or 0), f"{name}_n": len(asked),
                          f"{name}_same": share(same)})
        return after

    def near(self, asker: Asker, facts: list[Fact]) -> dict[str, Any]:
        """Neighbours whose answer's text is unchanged; spill: those that now get the taught one."""
        same: dict[str, list[bool]] = {"relation": [], "subject": []}
        spilt = []
        for fact in facts:
            for name, asked in (("relation", fact.same_relation), ("subject", fact.same_subject)):
                for one in asked:
                    ok = asker.still(one.question, self.base.ids(one.question))
                    same[name].append(ok)
                    spilt.append(not ok and self.has_spilt(asker, fact, one))
        return {"relation_same": share(same["relation"]), "relation_n": len(same["relation"]),
                "subject_same": share(same["subject"]), "subject_n": len(same["subject"]),
                "spill": share(spilt)}

    def has_spilt(self, asker: Asker, fact: Fact, near: Asked) -> bool:
        if is_right(self.base.text(near.question), fact.accepted):
            return False
        text = asker.text(near.question)
        return is_right(text, fact.accepted) and not is_right(text, near.accepted)


def number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) and math.isfinite(value) else str(value)
