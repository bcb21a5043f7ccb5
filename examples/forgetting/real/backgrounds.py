"""backgrounds: what is to be kept, as texts and chats, and the grafts that are made of them.  Owns
the two backgrounds, "own" (examples/graft/data, which the model wrote itself) and "wiki" (wikitext
in place of its prose), and the directories of grafts, each made once."""
from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import smft
from facts import prose

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(os.path.dirname(HERE)), "graft", "data")
LENGTH = 96  # tokens of a sequence


def own_prose() -> list[str]:
    with open(os.path.join(DATA, "prose.txt"), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def own_chats() -> list[tuple[str, str]]:
    with open(os.path.join(DATA, "chats.jsonl"), encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    return [(one["question"], one["answer"]) for one in pairs]


class Backgrounds:
    """Of one base model; grafts lie in `work`."""

    def __init__(self, model: Any, path: str, work: str, context: Any) -> None:
        self.model, self.path, self.work = model, os.path.abspath(path), work
        self.context = context

    def texts(self, name: str) -> list[list[int]]:
        encode = self.model.tokenizer.encode
        found = own_prose() if name == "own" else prose(600, "valid")
        return [list(encode(one)) for one in found]

    def chats(self) -> list[list[int]]:
        chat = self.model.tokenizer.chat
        return [list(chat([("user", question), ("assistant", answer)], answer=False))
                for question, answer in own_chats()]

    def sequences(self, name: str) -> list[list[int]]:
        """Each of at most 96 tokens."""
        whole = self.texts(name) + self.chats()
        cut = [ids[i:i + LENGTH] for ids in whole for i in range(0, len(ids), LENGTH)]
        return [ids for ids in cut if len(ids) > 8]

    def graft(self, name: str, blocks: list[int], options: dict[str, Any]) -> Any:
        sequences = self.sequences(name)
        key = json.dumps([blocks, options, self.path, sequences], sort_keys=True)
        place = os.path.join(self.work, "grafts", hashlib.sha256(key.encode()).hexdigest()[:12])
        if not os.path.exists(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            smft.graft(self.model, sequences, place, layers=blocks, **options)
        return smft.Model(place, context=self.context)
