#!/usr/bin/env python3
"""Two ways to teach the atlas model 5 facts that it does not know, and what each costs the facts that it knows: half a minute.

    ./examples/demo.sh                                              # builds the library, once
    PYTHONPATH=bindings/python bindings/python/examples/compare.py
"""
import json
from pathlib import Path

import smft

atlas = Path(__file__).resolve().parents[3] / "examples" / "atlas"
model, relations = smft.Model(atlas / "model"), json.loads((atlas / "data" / "wordings.json").read_text("utf-8"))


def facts(name, n):
    """The first n of a file: id, wordings to train, a question in wording that is never trained, answers that count as right."""
    for fact in map(json.loads, (atlas / "data" / name).read_text("utf-8").split("\n")[:n]):
        said = [[w[key].format(s=fact["subject"], a=fact["answer"]) for key in ("role", "prompt", "answer", "end")]
                for w in relations[fact["relation"]]]
        yield fact["id"], [w[1:] for w in said if w[0] == "train"], next(w[1] for w in said if w[0] == "test"), fact["aliases"]


def f1(session, asked):
    return sum(smft.score_answer(session.generate(q, 24, stop="\n"), answers)[1] for _, _, q, answers in asked) / len(asked)


new, known = list(facts("new.jsonl", 5)), list(facts("known.jsonl", 200))
print(f"{'before':8}F1 of new facts {f1(smft.Session(model), new):.2f}, of known facts {f1(smft.Session(model), known):.3f}", flush=True)
for name, patch, optimizer in (("sparse", smft.Patch.slots(model), None),  # None: the library's default for this kind of patch
                               ("full", smft.Patch.full(model), smft.Optimizer("adamw", lr=1e-5))):
    learner = smft.Learner(model, patch, optimizer=optimizer, max_steps=150)
    for fact, wordings, _, _ in new:
        learner.push(fact, wordings)
    learner.run()
    with smft.Session(model, patch) as session:
        print(f"{name:8}F1 of new facts {f1(session, new):.2f}, of known facts {f1(session, known):.3f}", flush=True)
