#!/usr/bin/env python3
"""peers: the methods of the field beside those of ../real/runs.py, with its facts, wordings,
background and probes, and rows of the same real.csv.

    SMFT_SHARED=DIR peers.py [PLAN ...] [--model FILE] [--work DIR] [--results FILE] [--quick]
                             [--list] [--threads N] [--most N]

PLAN may also be a method (retrieval, grace, memit, alphaedit, ewc) or a run's number.  Plans:
peers (on the facts that choose settings), peers-report and peers-many (the best setting of each
on the facts of the report, from one question and from nineteen wordings). Without $SMFT_SHARED
nothing is run, and that is said (exit code 77).  Retrieval by TF-IDF needs python3 with NumPy;
without PyTorch and transformers the others are skipped, and that is said.
"""
from __future__ import annotations

import importlib.util
import os
import random
import resource
import sys
from typing import Any, Callable

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "real"))

import runs  # noqa: E402
from answers import Asker  # noqa: E402
from backgrounds import own_chats  # noqa: E402
from probes import QUICK  # noqa: E402
from retrieval import Retrieval, Tfidf  # noqa: E402
from runs import DENSE, Run  # noqa: E402

COMMON = {"background": "own", "loss_below": DENSE["loss_below"],
          "wordings_per_step": DENSE["wordings_per_step"]}
STARTS: dict[str, dict[str, Any]] = {
    "retrieval": {"by": "tfidf", "place": "user", "threshold": 0.4},
    "grace": {**COMMON, "block": 15, "epsilon": 0.5, "steps": 50, "lr": 0.3},
    "memit": {**COMMON, "blocks": [3, 4, 5, 6, 7], "lambda": 100, "steps": 25, "lr": 0.5,
              "most": 3.0, "decay": 0.01, "kl": 0.0625, "sequences": 400},
    "alphaedit": {**COMMON, "blocks": [3, 4, 5, 6, 7], "null": 0.1, "ridge": 0.01, "steps": 25,
                  "lr": 0.5, "most": 3.0, "decay": 0.01, "kl": 0.0625, "sequences": 400},
    "ewc": {**DENSE, "lr": 1e-5, "lambda": 1e4, "weight_decay": 0.0, "sequences": 64},
}
TRIALS: dict[str, list[dict[str, Any]]] = {  # what differs; the likeliest first
    "retrieval": [{}, {"place": "turns"}, {"place": "system"}, {"threshold": 0.6},
                  {"threshold": 0.25}, {"place": "turns", "threshold": 0.6}],
    "states": [{"threshold": t, "place": place, "block": block}
               for t, place, block in ((0.6, "user", 12), (0.6, "turns", 12), (0.7, "turns", 12),
                                       (0.6, "turns", 4), (0.6, "turns", 20), (0.5, "turns", 12))],
    "grace": [{}, {"epsilon": 0.3}, {"block": 20}, {"block": 10}, {"epsilon": 0.7},
              {"block": 20, "epsilon": 0.3}],
    "memit": [{}, {"lambda": 1000}, {"lambda": 10}, {"blocks": [6, 7, 8, 9, 10]}, {"blocks": [5]},
              {"steps": 50}],
    "alphaedit": [{}, {"null": 0.5}, {"null": 0.02}, {"blocks": [6, 7, 8, 9, 10]},
                  {"ridge": 0.001}, {"steps": 50}],
    "ewc": [{}, {"lambda": 1e3}, {"lambda": 1e5}, {"lr": 3e-5}, {"lr": 3e-6},
            {"lr": 3e-5, "lambda": 1e5}],
}
BEST: dict[str, dict[str, Any]] = {}  # what of the starts the trials changed


def setting(kind: str, other: dict[str, Any]) -> dict[str, Any]:
    method, by = ("retrieval", {"by": "states"}) if kind == "states" else (kind, {})
    return {"method": method, **STARTS[method], **by, **other}


def plan() -> list[Run]:
    """The first setting of each method, then the second; then the reports."""
    trials = [Run("peers", "choose", "one", setting(kind, TRIALS[kind][i]))
              for i in range(6) for kind in TRIALS]
    best = [setting(kind, BEST.get(kind, TRIALS[kind][0])) for kind in TRIALS]
    draws = [f"report{i}" for i in (1, 2, 3)]
    return trials + [Run(name, draw, wordings, one)
                     for name, wordings in (("peers-report", "one"), ("peers-many", "many"))
                     for draw in draws for one in best]


def has_torch() -> bool:
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def states_of(model: Any, block: int, texts: list[str]) -> Callable[[str], dict[int, float]]:
    """A text as the mean state that a block puts out over it as a chat's question, less the mean of
    other questions and over their standard deviation, of length 1."""
    import torch
    from retrieval import unit
    plain = [list(model.tokenizer.chat([("user", text)])) for text in ("a", "b")]
    before = next(i for i, (a, b) in enumerate(zip(*plain)) if a != b)
    known: dict[str, Any] = {}

    def raw(text: str) -> Any:
        ids = list(model.tokenizer.chat([("user", text)]))
        last = model.blocks[block]
        return model.seen(ids, [], [last], last)[0][before:len(ids) - len(model.opening)].mean(0)

    usual = torch.stack([raw(text) for text in texts])
    mean, spread = usual.mean(0), usual.std(0)

    def vector(text: str) -> dict[int, float]:
        if text not in known:
            known[text] = unit(dict(enumerate(((raw(text) - mean) / spread).tolist())))
        return known[text]

    return vector


class PeersWorld(runs.World):
    def __init__(self, path: str, work: str, threads: int, sizes: Any) -> None:
        super().__init__(path, work, threads, sizes)
        self.work, self.threads, self.quick = work, threads, sizes == QUICK

    def lacks(self, setting: dict[str, Any]) -> str:
        alone = setting["method"] == "retrieval" and setting["by"] == "tfidf"
        return "" if alone or has_torch() else "no PyTorch with transformers"

    def make(self, setting: dict[str, Any]) -> Any:
        if setting["method"] == "retrieval":
            return self.retrieval(setting)
        from edits import Edits
        from ewc import Ewc
        from grace import Grace
        model = self.torch_model()
        if setting["method"] == "grace":
            return Grace(model, self.words, self.backgrounds.chats() + self.probes.counted_chats(),
                         setting)
        if setting["method"] == "ewc":
            return Ewc(model, self.words, self.fisher(model, setting), setting)
        return Edits(model, self.words, self.moments(model, setting), setting)

    def retrieval(self, setting: dict[str, Any]) -> Retrieval:
        texts = [question for question, _ in own_chats()]
        texts += [one.question for one in self.probes.counted]
        if setting["by"] == "tfidf":
            return Retrieval(self.words, setting, Tfidf(texts))
        some = random.Random(1).sample(texts, min(12 if self.quick else 120, len(texts)))
        return Retrieval(self.words, setting, states_of(self.torch_model(), setting["block"], some))

    def torch_model(self) -> Any:
        from torch_model import TorchModel
        return TorchModel(self.model, self.work, self.threads)

    def sequences(self, n: int) -> list[list[int]]:
        """Of what the other methods replay or count; what is counted is all in it."""
        counted = self.probes.counted_chats()
        rest = self.backgrounds.sequences("own")
        n = min(n, 24) if self.quick else n
        return counted + random.Random(1).sample(rest, min(len(rest), max(0, n - len(counted))))

    def fisher(self, model: Any, setting: dict[str, Any]) -> Any:
        from ewc import fisher
        from torch_model import kept
        sequences = self.sequences(setting["sequences"])
        return kept(self.work, "fisher", [self.model.hash, sequences],
                    lambda: fisher(model, sequences))

    def moments(self, model: Any, setting: dict[str, Any]) -> Any:
        from edits import second_moments
        from torch_model import kept
        sequences, blocks = self.sequences(setting["sequences"]), setting["blocks"]
        return kept(self.work, "moments", [self.model.hash, blocks, sequences],
                    lambda: second_moments(model, sequences, blocks))

    def asker(self, method: Any) -> Asker:
        return method.asker()

    def peak(self) -> int:
        """Of the whole process, and of all its runs."""
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(runs.main(plan, PeersWorld))
