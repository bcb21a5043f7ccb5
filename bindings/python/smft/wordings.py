"""wordings: the wordings of one fact, made by rule from a question, or a sentence, and its answer."""
from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Iterator, List, Optional

from . import _abi
from ._handle import PEEK, Handle, Text, c_text, invoke, required, struct, whole
from ._library import lib
from .chat import Date, day_of
from .errors import check
from .model import Model

KINDS = {_abi.CONSTANTS["FRAME_TEXT"]: "text", _abi.CONSTANTS["FRAME_CHAT"]: "chat",
         _abi.CONSTANTS["FRAME_STATEMENT"]: "statement"}


@dataclass(frozen=True)
class Framed:
    """One wording.  prompt_ids are given, answer_ids learnt, with what ends the answer."""

    kind: str  # "text", "chat" (prompt is the user's message) or "statement"
    prompt: str
    answer: str
    end: str  # the text that follows the answer; "" of a chat, whose end is a token
    prompt_ids: List[int]
    answer_ids: List[int]


class Wordings(Handle):
    """What smft.wordings_from_qa and smft.wordings_from_statement make: a sequence of Framed, the
    plainest first.

        learner.push("emma", smft.wordings_from_qa(model, "Who wrote Emma?", "Jane Austen"))
    """

    _free = "smft_wordings_free"
    _mode = PEEK

    def __len__(self) -> int:
        return invoke(lib.smft_wordings_count, self, then=whole)

    def __getitem__(self, index: int) -> Framed:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} wordings, got {index}")
        raw = _abi.WordingInfo()

        def then(status: int, path: Any) -> Framed:
            check(status, path)
            texts = {name: getattr(raw, name).decode("utf-8") for name in ("prompt", "answer", "end")}
            return Framed(kind=KINDS[raw.kind], prompt_ids=raw.prompt_ids[:raw.n_prompt_ids],
                          answer_ids=raw.answer_ids[:raw.n_answer_ids], **texts)

        return invoke(lib.smft_wordings_get, self, index % len(self), ctypes.byref(raw), then=then)

    def _describe(self) -> str:
        return str(len(self))

    def __iter__(self) -> Iterator[Framed]:
        return (self[i] for i in range(len(self)))


def _make(function: str, model: Model, text: Text, answer: Text, subject: Optional[Text],
          chosen: "dict[str, bool]", limit: int, renderer: Optional[Text], date: Date) -> Wordings:
    flags = sum(_abi.CONSTANTS[f"WORDINGS_NO_{name}"] for name, wanted in chosen.items() if not wanted)
    options = struct(_abi.WordingsOptions, flags=flags, limit=limit)
    options.subject = None if subject is None else c_text(subject, "subject")
    chat = _abi.ChatOptions()
    chat.renderer = None if renderer is None else c_text(renderer, "renderer")
    if date is not None:
        day = day_of(date)
        chat.date = day.year * 10000 + day.month * 100 + day.day
    options.chat = ctypes.pointer(chat)
    list_ = Wordings()
    list_._create(function, _abi.Wordings, required(model, Model, "model"), c_text(text, "text"),
                  c_text(answer, "answer"), ctypes.byref(options))
    return list_


def wordings_from_qa(model: Model, question: Text, answer: Text, *, subject: Optional[Text] = None,
                     texts: bool = True, chats: bool = True, statements: bool = True, limit: int = 0,
                     renderer: Optional[Text] = None, date: Date = None) -> Wordings:
    """The wordings of a fact from one question and its answer: raw ones, chats in the model's own
    template, and statements where the question is English and its grammar is sure.

    subject: what the question is about, for wordings that name it; None: found by rule; "": none.
    texts, chats, statements: False leaves them out.  limit: the first so many; 0: all.
    renderer, date: of the chats, as for Tokenizer.chat."""
    chosen = {"TEXT": texts, "CHATS": chats, "STATEMENTS": statements}
    return _make("smft_wordings_from_qa", model, question, answer, subject, chosen, limit, renderer, date)


def wordings_from_statement(model: Model, statement: Text, answer: Text, *, texts: bool = True,
                            chats: bool = True, limit: int = 0, renderer: Optional[Text] = None,
                            date: Date = None) -> Wordings:
    """The same from a sentence that the answer is a part of, as it stands there: the sentence, and
    chats that ask to complete it."""
    chosen = {"TEXT": texts, "CHATS": chats}
    return _make("smft_wordings_from_statement", model, statement, answer, None, chosen, limit, renderer,
                 date)


__all__: List[Any] = ["Framed", "Wordings", "wordings_from_qa", "wordings_from_statement"]
