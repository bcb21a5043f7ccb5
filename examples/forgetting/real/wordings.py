"""wordings: in which a fact is taught, as pairs of ids (prompt, answer): "one", what the library
makes of its question; "many", nineteen, of atlas' wordings and of wordings.json: eleven as text,
four of those as chats too, four chats of their own.  The question itself is not among the many.
HalluEdit's facts have relations of all kinds and no wordings of atlas: both are of its question."""
from __future__ import annotations

import json
import os
from typing import Any, Optional

import smft
from facts import Fact, whole

HERE = os.path.dirname(os.path.abspath(__file__))
ATLAS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "atlas", "data", "wordings.json")
Pair = tuple[list[int], list[int]]


def load(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Wordings:
    """Of one model: ids are its tokenizer's."""

    def __init__(self, model: Any) -> None:
        self.model, self.tokenizer = model, model.tokenizer
        self.own, self.atlas = load(os.path.join(HERE, "wordings.json")), load(ATLAS)
        self.free = whole("edits", "free_wordings.json")

    def of(self, fact: Fact, kind: str) -> Optional[list[Pair]]:
        """None: of its question."""
        many = kind == "many" and fact.relation in self.own and not fact.natural
        return self.many(fact) if many else None

    def one(self, fact: Fact) -> list[Pair]:
        return [(list(w.prompt_ids), list(w.answer_ids))
                for w in smft.wordings_from_qa(self.model, fact.question, fact.answer)]

    def many(self, fact: Fact) -> list[Pair]:
        own = self.own[fact.relation]
        forms = own.get("text") or [[w["prompt"], w["end"]] for w in self.atlas[own["atlas"]]
                                    if w["role"] == "train"][:11]
        asked = [prompt for prompt, _ in forms if prompt.endswith("?")]
        begun = [prompt for prompt, _ in forms if not prompt.endswith("?")]
        chats = [*asked, *begun][:4] + own["chat"]
        pairs = [self.text(prompt.replace("{s}", fact.subject), fact.answer, end)
                 for prompt, end in forms]
        return pairs + [self.chat(one.replace("{s}", fact.subject), fact.answer) for one in chats]

    def text(self, prompt: str, answer: str, end: str) -> Pair:
        """The answer's ids are those that follow the prompt's in the whole text."""
        given = list(self.tokenizer.encode(prompt))
        both = list(self.tokenizer.encode(f"{prompt} {answer}{end}"))
        n = len(given)
        while both[:n] != given[:n]:
            n -= 1
        return both[:n], both[n:]

    def chat(self, question: str, answer: str) -> Pair:
        given = list(self.tokenizer.chat([("user", question)]))
        both = list(self.tokenizer.chat([("user", question), ("assistant", answer)], answer=False))
        stops = set(self.model.stop_ids)
        end = next(i for i, id in enumerate(both) if i >= len(given) and id in stops)
        return given, both[len(given):end + 1]

    def asked_freely(self, fact: Fact, half: str) -> list[str]:
        """Free wordings that are never taught: "choose", the first five; "report", the others."""
        forms = self.free.get(fact.relation, []) if not fact.natural else []
        forms = forms[:5] if half == "choose" else forms[5:]
        return [one.replace("{s}", fact.subject) for one in forms]
