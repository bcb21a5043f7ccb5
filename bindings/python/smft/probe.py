"""probe: what must not be forgotten."""
from __future__ import annotations

import ctypes
from ctypes import c_double, c_int64
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Tuple

from . import _abi, _arrays
from ._handle import READ, Handle, Path, Progress, Text, c_path, c_text, invoke, progress_callback, required, struct, together
from ._library import lib
from .context import Context, context_handle
from .errors import NotFoundError
from .session import Session

KINDS = {_abi.CONSTANTS["PROBE_QUESTION"]: "question", _abi.CONSTANTS["PROBE_TEXT"]: "text", _abi.CONSTANTS["PROBE_CHOICE"]: "choice"}


@dataclass(frozen=True)
class ProbeReport:
    """*_before: the baseline; *_change: in percent of it (0 where the baseline is 0).  Metrics without items are 0."""

    n_questions: int
    n_texts: int
    n_choices: int
    exact_match: float
    exact_match_before: float
    exact_match_change: float
    f1: float
    f1_before: float
    f1_change: float
    nll: float  # per token, over all texts' tokens
    nll_before: float
    nll_change: float
    accuracy: float
    accuracy_before: float
    accuracy_change: float
    kl: float  # nats per token, base against patched
    lost: int  # items that were right and are wrong now
    gained: int
    seconds: float


@dataclass(frozen=True)
class ProbeItem:
    id: str
    kind: str  # "question", "text" or "choice"
    text: str  # what was generated (questions)
    before: float  # questions: F1; texts: NLL per token; choices: 1 or 0
    after: float
    lost: bool
    gained: bool


def _fields(raw: Any, kind: Any) -> Dict[str, Any]:
    return {name: getattr(raw, name) for name in kind.__dataclass_fields__}


class Probe(Handle):
    """Questions, texts and choices, measured once as a baseline and again at any time.

    max_tokens, stop: of generated answers; 0 and None: 32 and a newline.  A question is lost when its F1 was >= gained_above and is
    < lost_below now (0: 0.5 both).  exact: a choice's prompt and endings are joined exactly as they
    stand; else a space is put where running text has one, as for facts.
    """

    _free = "smft_probe_free"
    _stops = True

    def __init__(self, max_tokens: int = 0, stop: Optional[Text] = None, lost_below: float = 0.0, gained_above: float = 0.0,
                 context: Optional[Context] = None, exact: bool = False) -> None:
        options = struct(_abi.ProbeOptions, max_tokens=max_tokens, stop=None if stop is None else c_text(stop, "stop"),
                         lost_below=lost_below, gained_above=gained_above, flags=_abi.CONSTANTS["PROBE_EXACT"] if exact else 0)
        self._n_items = 0
        self._create("smft_probe_create", _abi.Probe, context_handle(context), ctypes.byref(options))

    def add_question(self, id: Text, prompt: Text, answers: Iterable[Text]) -> None:
        """Greedy generation after `prompt`, scored by exact match and token F1, the best over `answers`."""
        texts = _texts(answers, "answers")
        invoke(lib.smft_probe_add_question, self, c_text(id, "id"), c_text(prompt, "prompt"), _arrays.strings(texts), len(texts))
        self._n_items += 1

    def add_text(self, id: Text, text: Text) -> None:
        """NLL per token, and KL(base || patched)."""
        invoke(lib.smft_probe_add_text, self, c_text(id, "id"), c_text(text, "text"))
        self._n_items += 1

    def add_choice(self, id: Text, prompt: Text, endings: Iterable[Text], correct: int) -> None:
        """Log-likelihood per token of each ending after `prompt`; the best must be endings[correct]."""
        texts = _texts(endings, "endings")
        invoke(lib.smft_probe_add_choice, self, c_text(id, "id"), c_text(prompt, "prompt"), _arrays.strings(texts), len(texts), correct)
        self._n_items += 1

    def add_file(self, path: Path) -> int:
        """Items from a JSONL file, all or none; their number."""
        n = c_int64()
        invoke(lib.smft_probe_add_file, self, c_path(path), n)
        self._n_items += n.value
        return n.value

    def baseline(self, session: Session, progress: Optional[Progress] = None) -> None:
        """Measures and keeps the values to compare with."""
        callback = progress_callback(progress)
        invoke(lib.smft_probe_baseline, self, required(session, Session, "session"), callback.pointer, None, callbacks=[callback], stops=True)

    def measure(self, session: Session, progress: Optional[Progress] = None) -> ProbeReport:
        """Measures again, against the baseline (StateError without one)."""
        callback = progress_callback(progress)
        raw = _abi.ProbeReport()
        invoke(lib.smft_probe_measure, self, required(session, Session, "session"), callback.pointer, None, ctypes.byref(raw),
               callbacks=[callback], stops=True)
        return ProbeReport(**_fields(raw, ProbeReport))

    def items(self) -> List[ProbeItem]:
        """Every item with its values of the baseline and of the last measurement."""
        return together("items", [(self, READ)], self._items)

    def _items(self) -> List[ProbeItem]:
        items: List[ProbeItem] = []
        raw = _abi.ProbeItem()
        while True:
            try:
                invoke(lib.smft_probe_get_item, self, len(items), ctypes.byref(raw), mode=READ)
            except NotFoundError:
                return items
            items.append(ProbeItem(raw.id.decode("utf-8"), KINDS.get(raw.kind, "?"), raw.text.decode("utf-8", "replace"), raw.before,
                                   raw.after, bool(raw.lost), bool(raw.gained)))

    def save_report(self, path: Path) -> None:
        """The last measurement with every item as a JSON file."""
        invoke(lib.smft_probe_save_report, self, c_path(path), mode=READ)

    def _describe(self) -> str:
        return f"{self._n_items} items"


def _texts(texts: Iterable[Text], what: str) -> List[bytes]:
    if isinstance(texts, (str, bytes)):
        raise TypeError(f"{what} must be a list of texts, got one {type(texts).__name__}")
    return [c_text(text, what) for text in texts]


def score_answer(answer: Text, accepted: Iterable[Text]) -> Tuple[float, float]:
    """Exact match and token F1 of one answer, the best over the accepted ones: lower-case, no punctuation, no English articles, white
    space collapsed."""
    texts = _texts(accepted, "accepted")
    exact_match, f1 = c_double(), c_double()
    invoke(lib.smft_score_answer, c_text(answer, "answer"), _arrays.strings(texts), len(texts), exact_match, f1)
    return exact_match.value, f1.value
