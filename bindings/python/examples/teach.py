#!/usr/bin/env python3
"""Teaches the atlas model facts that it does not know, one after another, and shows what it learnt and what it forgot: the C demo
(examples/atlas/demo.c) from Python, with the same draws and the same last line.

    ./examples/demo.sh                                              # builds the library, once
    PYTHONPATH=bindings/python bindings/python/examples/teach.py
"""
import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import smft

ATLAS = Path(__file__).resolve().parents[3] / "examples" / "atlas"


def options():
    parser = argparse.ArgumentParser(description="Teach the atlas model facts that it does not know; measure what it learnt and forgot.")
    add = parser.add_argument
    add("--facts", type=Path, metavar="FILE", help='your own facts, one a line (docs/formats.md, "Facts"): {"id": "x", "question": '
        '"Who wrote Emma?", "answer": "Jane Austen"}, or {"id": "x", "wordings": [{"prompt": "Who wrote Emma?", "answer": "Jane Austen"}, '
        '...], "question": "asked before and after", "answers": ["accepted", ...]} (the last two are optional)')
    add("--n", type=int, default=20, help="how many of the new facts to teach (%(default)s)")
    add("--seed", type=int, default=1, help="which of them (%(default)s)")
    add("--known", type=int, default=500, help="known facts to measure before and after (%(default)s)")
    add("--save", metavar="FILE", help="keep the patch here (default: a temporary file)")
    add("--model", type=Path, default=ATLAS / "model", help="the model's directory (%(default)s)")
    add("--data", type=Path, default=ATLAS / "data", help="its facts (%(default)s)")
    add("--rule", choices=("tfidf", "kl", "tf", "all"), default="tfidf", help="how the rows are chosen (%(default)s)")
    add("--optimizer", choices=("sgd", "adamw"), default="sgd", help="(%(default)s)")
    add("--lr", type=float, default=0.0, help="learning rate; 0: the library's default")
    return parser.parse_args()


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]


def draw(items, n, state):
    """The first n of a shuffle: the one that the C demo makes of the same seed (splitmix64), so that both teach the same facts."""
    order, mask = list(range(len(items))), 2**64 - 1
    for i in range(len(items) - 1, 0, -1):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        j = ((z ^ z >> 31) >> 11) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return [items[i] for i in order[:n]]


def lesson(fact, relations):
    """A fact with its relation's wordings filled in: those of role "train" are taught, the one of role "test" is asked."""
    texts = {"{s}": fact["subject"], "{a}": fact["answer"]}
    filled = [{key: re.sub(r"\{[sa]\}", lambda found: texts[found[0]], wording[key]) for key in ("prompt", "answer", "end", "role")}
              for wording in relations[fact["relation"]]]
    return {"id": fact["id"], "answers": fact["aliases"], "question": next(w["prompt"] for w in filled if w["role"] == "test"),
            "wordings": [(w["prompt"], w["answer"], w["end"]) for w in filled if w["role"] == "train"], "trained": False}


def own_lesson(fact):
    """What is asked of a fact that the library has read (learner.push_file), and what counts as right."""
    wordings = fact.get("wordings") or [fact]
    first = wordings[0]
    question = fact.get("question") or first.get("prompt") or first.get("question") or first["statement"].rpartition(first["answer"])[0]
    if "wordings" in fact and "question" in fact:
        trained = any(question in (wording.get("prompt"), wording.get("question")) for wording in wordings)
    else:
        trained = "question" not in fact or "statement" not in fact
    return {"id": fact["id"], "question": question.rstrip(" "), "wordings": None, "trained": trained,
            "answers": (fact.get("answers") or [first["answer"]]) + (fact.get("aliases") or [])}


def own_lessons(learner, path):
    """The library reads the file into the learner's queue, and says what is wrong with it."""
    if learner.push_file(path) == 0:
        raise ValueError(f"{path}: there are no facts in it")
    return [own_lesson(fact) for fact in read_jsonl(path)]


def ask(session, lessons):
    return [session.generate(one["question"], max_tokens=24, stop="\n") for one in lessons]


def teach(learner, one, label):
    """Until the fact is learnt or given up; prints its line and returns the seconds."""
    start = time.monotonic()
    if one["wordings"]:
        learner.push(one["id"], one["wordings"])
    reports = [learner.step()]
    while reports[-1].fact_state == "learning":
        reports.append(learner.step())
    seconds = time.monotonic() - start
    print(f"  {label:>6}  {one['question'][:44]:44} {one['answers'][0].strip()[:22]:22} {reports[-1].step:3} steps  "
          f"loss {reports[0].loss:.2f} -> {reports[-1].loss:.3f}  {seconds:5.2f} s", flush=True)
    return seconds


def print_scores(lessons, before, after):
    """Asked as they were taught (the user's own facts), and in other wordings; how many are right after."""
    learned = 0
    for trained, name in ((True, "facts, asked as they were taught"), (False, "new facts, in wording never trained")):
        part = [i for i, one in enumerate(lessons) if one["trained"] == trained]
        right = [sum(smft.score_answer(texts[i], lessons[i]["answers"])[0] == 1 for i in part) for texts in (before, after)]
        learned += right[1]
        if part:
            print(f"  {name:37} {right[0]}/{len(part)} -> {right[1]}/{len(part)} right")
    return learned


def main(args):
    relations = json.loads((args.data / "wordings.json").read_text(encoding="utf-8"))
    model = smft.Model(args.model)
    patch, probe = smft.Patch(model), smft.Probe()
    selector, optimizer = smft.Selector(model, args.rule), smft.Optimizer(args.optimizer, lr=args.lr)
    learner = smft.Learner(model, patch, selector, optimizer, seed=args.seed)
    lessons = (own_lessons(learner, args.facts) if args.facts else
               [lesson(fact, relations) for fact in draw(read_jsonl(args.data / "new.jsonl"), args.n, args.seed * 7919 + 17)])
    for fact in draw(read_jsonl(args.data / "known.jsonl"), args.known, args.seed + 99):
        probe.add_question(fact["id"], lesson(fact, relations)["question"], fact["aliases"])
    for text in filter(None, (args.data / "text.heldout.txt").read_text(encoding="utf-8").split("\n")[:200]):
        probe.add_text("text", text)
    base = smft.Session(model).logits(model.tokenizer.encode(lessons[0]["question"]))

    with smft.Session(model, patch) as session, tempfile.TemporaryDirectory() as temporary:
        print("Measuring known facts and held-out text, teaching new facts", flush=True)
        probe.baseline(session)
        before = ask(session, lessons)
        seconds = sum(teach(learner, one, f"{i}/{len(lessons)}") for i, one in enumerate(lessons, 1))
        after, report = ask(session, lessons), probe.measure(session)
        path = args.save or os.path.join(temporary, "patch.safetensors")
        patch.save(path)
        size = os.path.getsize(path)
        reloaded = ask(smft.Session(model, smft.Patch.load(model, path)), lessons) == after
    again = smft.Session(model).logits(model.tokenizer.encode(lessons[0]["question"]))
    unchanged = all(list(a) == list(b) for a, b in zip(base, again))
    print()
    learned = print_scores(lessons, before, after)
    print(f"  known facts                           F1 {report.f1_before:.4f} -> {report.f1:.4f} ({report.lost} lost)")
    print(f"  held-out text, nats per token         {report.nll_before:.4f} -> {report.nll:.4f} (KL {report.kl:.5f})")
    print(f"  the patch in a second session         {'the same answers' if reloaded else 'DIFFERENT answers'}")
    print(f"  the base model                        {'unchanged, bit for bit' if unchanged else 'CHANGED'}\n")
    print(f"RESULT learned={learned}/{len(lessons)} known_f1_before={report.f1_before:.4f} known_f1_after={report.f1:.4f} "
          f"patch_bytes={size} seconds={seconds:.1f}")
    return 0 if reloaded and unchanged else 1


if __name__ == "__main__":
    try:
        sys.exit(main(options()))
    except (smft.Error, OSError, ValueError) as problem:
        sys.exit(f"teach.py: {problem}")
