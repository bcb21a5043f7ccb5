"""answers: a model asked in its own chat template, 20 greedy tokens long.  Owns asking, when an
answer is right, and the cache of what the base answered; which questions is facts.py's affair."""
from __future__ import annotations

import json
import os
import re
from typing import Any, Iterable, Optional

import smft

LENGTH = 20  # tokens of an answer


def is_right(text: str, accepted: Iterable[str]) -> bool:
    """An accepted alias occurs in it at word boundaries, whatever the case."""
    text = text.casefold()
    return any(re.search(rf"(?<!\w){re.escape(one.casefold())}(?!\w)", text)
               for one in accepted if one.strip())


class Asker:
    """A session that answers.  The template's opening is kept between questions."""

    def __init__(self, model: Any, patch: Optional[Any] = None) -> None:
        self.session, self.tokenizer = smft.Session(model, patch), model.tokenizer

    def prompt(self, question: str) -> list[int]:
        return list(self.tokenizer.chat([("user", question)]))

    def ids(self, question: str) -> list[int]:
        """The answer's ids: greedy, without the token that ends it."""
        return list(self.session.generate(self.prompt(question), max_tokens=LENGTH))

    def text(self, question: str) -> str:
        return self.tokenizer.decode(self.ids(question))

    def still(self, question: str, answer: list[int]) -> bool:
        """Whether it would answer just that: one pass, where no token has to be waited for."""
        prompt = self.prompt(question)
        self.session.rewind(0)
        self.session.feed(prompt[:-1], None)
        ends = len(answer) < LENGTH
        logits = self.session.feed([prompt[-1], *(answer if ends else answer[:-1])], "all")
        best = [int(row.argmax()) for row in logits]
        stops = set(self.session.model.stop_ids)
        return best[:len(answer)] == answer and (not ends or best[-1] in stops)


class Base:
    """What the model answered before anything was taught: asked once, kept in a file."""

    def __init__(self, asker: Asker, path: str) -> None:
        self.asker, self.path = asker, path
        self.known: dict[str, list[int]] = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.known = {q: ids for q, ids in map(json.loads, file)}

    def ids(self, question: str) -> list[int]:
        if question not in self.known:
            self.known[question] = self.asker.ids(question)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps([question, self.known[question]]) + "\n")
        return self.known[question]

    def text(self, question: str) -> str:
        return self.asker.tokenizer.decode(self.ids(question))

    def is_right(self, question: str, accepted: Iterable[str]) -> bool:
        return is_right(self.text(question), accepted)


def known(base: Base, candidates: Iterable[Any], n_counted: int, n_never: int, most: int,
          told: set[str]) -> tuple[list[Any], list[Any]]:
    """What the base answers rightly, of at most so many candidates: some that are to be counted as
    background, some that no count sees.  What the background asks already (told) is counted."""
    counted: list[Any] = []
    never: list[Any] = []
    for i, one in enumerate(candidates):
        if i >= most or (len(counted) == n_counted and len(never) == n_never):
            break
        short = len(counted) < min(len(never), n_counted)
        side, n = (counted, n_counted) if one.question in told or short else (never, n_never)
        if len(side) < n and base.is_right(one.question, one.accepted):
            side.append(one)
    return counted, never
