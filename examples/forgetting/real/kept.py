#!/usr/bin/env python3
"""kept: what a model still knows with a patch that was saved, such as that of the demo of a graft:
of the questions that the base answers rightly, those lost and those whose answer has other tokens;
nats a token of prose, glosses and chats.  Teaches nothing.

    SMFT_SHARED=DIR kept.py MODEL GRAFT PATCH [--work DIR] [--known N] [--threads N]
"""
from __future__ import annotations

import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))

import smft  # noqa: E402
from answers import Asker, Base, is_right, known  # noqa: E402
from backgrounds import own_chats  # noqa: E402
from facts import Asked, candidates, is_here  # noqa: E402
from probes import Sizes, Texts  # noqa: E402


def ask(name: str, asked: list[Asked], base: Base, asker: Asker) -> None:
    lost, same = 0, 0
    for one in asked:
        before = base.text(one.question)
        unchanged = asker.still(one.question, base.ids(one.question))
        after = before if unchanged else asker.text(one.question)
        same += unchanged
        lost += not is_right(after, one.accepted)
        if not unchanged:
            print(f"  {one.question} | {before!r} | {after!r}")
    print(f"{name}: {len(asked)} known, {lost} lost, {same} with the very same tokens", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "graft", "patch"):
        parser.add_argument(name)
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "forgetting", "real"))
    parser.add_argument("--known", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if not is_here():
        return 77
    os.makedirs(given.work, exist_ok=True)
    context = smft.Context(n_threads=given.threads)
    model = smft.Model(given.model, context=context)
    base = Base(Asker(model), os.path.join(given.work, "answers.jsonl"))
    graft = smft.Model(given.graft, context=context)
    asker = Asker(graft, smft.Patch.load(graft, given.patch))
    told = {question for question, _ in own_chats()}
    counted, never = known(base, candidates(), given.known, given.known, 20 * given.known, told)
    ask("never counted", never, base, asker)
    ask("asked in the background", [one for one in counted if one.question in told], base, asker)
    texts = Texts(base.asker, base, Sizes())
    now = texts.measure(asker.session)
    for kind, value in texts.before.items():
        print(f"{kind}: {value:.4f} to {now[kind]:.4f} nats a token")
    print(f"KL over prose: {texts.kl(asker.session):.5f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
