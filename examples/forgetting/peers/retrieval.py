"""retrieval: nothing is trained; the taught facts that are nearest to a question are put into its
prompt.  Owns the index of what was taught, both ways of being near (TF-IDF over words, the
model's own states) and the places where a fact is put.  Below a threshold nothing is put in, and
the prompt is the base's own."""
from __future__ import annotations

import collections
import math
import re
import time
from typing import Any, Callable, Iterable, Optional

import smft
from answers import Asker
from facts import Fact
from methods import Taught
from wordings import Pair, Wordings

MOST = 3  # facts in a prompt
Vector = dict[Any, float]


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def unit(vector: Vector) -> Vector:
    length = math.sqrt(sum(x * x for x in vector.values()))
    return {key: x / length for key, x in vector.items()} if length else {}


def cosine(a: Vector, b: Vector) -> float:
    """Of vectors of length 1."""
    return sum(x * b.get(key, 0.0) for key, x in a.items())


class Tfidf:
    """A text as its words, each times log((1 + texts) / (1 + texts with it)) + 1.  The texts are
    the background's questions and, as they come, the taught ones."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.n, self.df = 0, collections.Counter()
        for text in texts:
            self.count(text)

    def count(self, text: str) -> None:
        self.n += 1
        self.df.update(set(words_of(text)))

    def __call__(self, text: str) -> Vector:
        return unit({word: n * (math.log((1 + self.n) / (1 + self.df[word])) + 1)
                     for word, n in collections.Counter(words_of(text)).items()})


class Index:
    """Facts by the questions they were taught with."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.questions: list[tuple[str, int]] = []
        self.facts: list[tuple[str, str]] = []  # question and answer as they are put into a prompt

    def add(self, questions: Iterable[str], said: tuple[str, str]) -> None:
        self.questions += [(question, len(self.facts)) for question in questions]
        self.facts.append(said)

    def find(self, question: str, vector: Callable[[str], Vector]) -> list[tuple[str, str]]:
        """At most MOST, the nearest last: it then stands next to the question."""
        asked, near = vector(question), {}
        for taught, fact in self.questions:
            near[fact] = max(near.get(fact, -1.0), cosine(asked, vector(taught)))
        best = sorted((fact for fact in near if near[fact] >= self.threshold),
                      key=lambda fact: -near[fact])[:MOST]
        return [self.facts[fact] for fact in reversed(best)]


def placed(place: str, facts: list[tuple[str, str]], question: str) -> list[tuple[str, str]]:
    """The conversation: "system", "user": a list of known facts before the question; "turns": each
    fact has been asked and answered before."""
    if not facts:
        return [("user", question)]
    known = "Known facts:\n" + "\n".join(f"- {asked} {answer}" for asked, answer in facts)
    if place == "system":
        return [("system", known), ("user", question)]
    if place == "user":
        return [("user", f"{known}\n\n{question}")]
    turns = [turn for asked, answer in facts for turn in (("user", asked), ("assistant", answer))]
    return [*turns, ("user", question)]


class RetrievalAsker(Asker):
    def __init__(self, model: Any, method: "Retrieval") -> None:
        super().__init__(model)
        self.method = method

    def prompt(self, question: str) -> list[int]:
        found = self.method.index.find(question, self.method.vector)
        return list(self.tokenizer.chat(placed(self.method.place, found, question)))


class Retrieval:
    """vector: of a text; kept for each that was asked once, where it does not change."""

    def __init__(self, words: Wordings, setting: dict[str, Any],
                 vector: Callable[[str], Vector]) -> None:
        self.words, self.vector, self.place = words, vector, setting["place"]
        self.index = Index(setting["threshold"])

    def teach(self, fact: Fact, pairs: Optional[list[Pair]]) -> Taught:
        """Found by its question, or, of many wordings, by any of them."""
        wall, cpu = time.monotonic(), time.process_time()
        questions = [fact.question]
        if pairs:
            decode = self.words.tokenizer.decode
            questions = [strip_chat(decode(prompt, skip_special=True)) for prompt, _ in pairs]
        if isinstance(self.vector, Tfidf):
            self.vector.count(questions[0])
        self.index.add(questions, (questions[0], fact.answer))
        return Taught(True, 0, len(questions), len(questions), time.monotonic() - wall,
                      time.process_time() - cpu)

    def asker(self) -> Asker:
        return RetrievalAsker(self.words.model, self)

    def n_bytes(self) -> int:
        """The texts alone."""
        texts = [question for question, _ in self.index.questions]
        texts += [answer for _, answer in self.index.facts]
        return sum(len(text.encode()) for text in texts)


def strip_chat(text: str) -> str:
    """A wording without what the chat's template puts around it."""
    found = re.search(r"(?:^|\n)user\n(.*)\nassistant\n?$", text, re.DOTALL)
    return found[1] if found else text
