#!/usr/bin/env python3
"""The comparison on a real model, without one: what is drawn from small files of the same form,
when an answer is right, how texts become wordings, that rows are kept and found again."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import types
import unittest

SOURCE = os.environ["SMFT_SOURCE"]
HERE = os.path.join(SOURCE, "examples", "forgetting", "real")
sys.dont_write_bytecode = True
os.environ.setdefault("SMFT_LIBRARY", os.path.join(os.environ["SMFT_BUILD"], "libsmft.so"))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(SOURCE, "bindings", "python")]
try:
    import numpy  # noqa: F401
    import answers
    import facts
    import methods
    import partial
    import real_rows
    import runs
    import wordings
except ImportError as error:
    print(f"SKIPPED: {error}")
    sys.exit(77)


def popqa_like(n: int) -> list[dict]:
    forms = ("What is {}'s occupation?", "What is the capital of {}?", "What sport does {} play?")
    return [{"question": forms[i % 3].format(f"Subject{i}"), "answer": f"answer{i}",
             "aliases": [f"answer{i}", f"alias {i}"]} for i in range(n)]


def hallu_like(n: int) -> list[dict]:
    return [{"id": f"h{i}", "relation": "r", "subject": f"Name{i}", "question": f"Where is Name{i}?",
             "answer": f"place{i}", "aliases": [], "paraphrases": [f"Name{i} is where?"],
             "neighbours": [{"question": f"Who is Name{i}?", "answers": []},
                            {"question": f"Where is Other{i}?", "answers": ["x"]}]}
            for i in range(n)]


class Files(unittest.TestCase):
    """A folder that stands for $SMFT_SHARED."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        before = os.environ.get("SMFT_SHARED")
        os.environ["SMFT_SHARED"] = self.folder.name
        self.addCleanup(lambda: os.environ.pop("SMFT_SHARED", None) if before is None
                        else os.environ.__setitem__("SMFT_SHARED", before))

    def write(self, name: str, text: str) -> None:
        path = os.path.join(self.folder.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def write_facts(self) -> None:
        bad = {"question": "What is the capital of ?", "answer": "x", "aliases": []}
        self.write("qa/popqa_test.json", json.dumps([bad, *popqa_like(900)]))
        self.write("edits/halluedit_a.jsonl",
                   "".join(json.dumps(one) + "\n" for one in hallu_like(520)))


class Draws(Files):
    def test_facts_are_drawn_once_and_none_that_is_known(self):
        self.write_facts()
        known = {"Subject4", "Name7"}
        drawn = facts.draw(lambda fact: fact.subject in known)
        groups = [drawn.choose, *drawn.report, drawn.tune]
        subjects = [fact.subject for group in groups for fact in group]
        self.assertEqual([len(group) for group in groups], [10, 30, 30, 30, 30])
        self.assertEqual(len(set(subjects)), 130)
        self.assertFalse(known & set(subjects))
        self.assertEqual([sum(bool(f.natural) for f in group) for group in groups], [2, 10, 10, 10, 10])
        self.assertEqual(drawn, facts.draw(lambda fact: fact.subject in known))
        self.assertEqual((len(drawn.stream), drawn.more), (90, []))
        taught = {fact.question for group in groups for fact in group}
        near = {n.question for g in groups for f in g for n in f.same_relation}
        self.assertTrue(near)
        self.assertFalse(taught & near)
        relations = {fact.relation for fact in drawn.choose}
        self.assertEqual(relations, {"occupation", "capital", "sport", "r"})

    def test_a_longer_stream_begins_with_the_reports(self):
        self.write_facts()
        drawn, longer = (facts.draw(lambda fact: False, n) for n in (0, 110))
        self.assertEqual((longer.choose, longer.tune, longer.report), (drawn.choose, drawn.tune, drawn.report))
        self.assertFalse({fact.subject for fact in drawn.tune} & {fact.subject for fact in longer.stream})
        self.assertEqual((len(longer.stream), longer.stream[:90]), (120, drawn.stream))
        self.assertEqual(len({fact.subject for fact in longer.stream}), 120)

    def test_what_gives_itself_away_is_not_drawn(self):
        fact = facts.Fact("1", "capital", "Rome", "What is the capital of Rome?", "Rome", ("Rome",))
        self.assertFalse(facts.is_fit(fact))

    def test_data_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(facts.Missing, "popqa_test.json"):
            facts.popqa()


class Right(unittest.TestCase):
    def test_an_alias_at_word_boundaries(self):
        self.assertTrue(answers.is_right("He was a POLITICIAN.", ["politician"]))
        self.assertFalse(answers.is_right("He was in politics.", ["politic"]))
        self.assertTrue(answers.is_right("It is (C++).", ["C++"]))
        self.assertFalse(answers.is_right("anything", ["", " "]))


class FakeBase:
    @staticmethod
    def is_right(question, accepted):
        return question in accepted


class Known(unittest.TestCase):
    def test_what_the_background_asks_is_not_among_the_never_counted(self):
        asked = [facts.Asked(str(i), (str(i),) if i % 3 else ()) for i in range(40)]
        told = {str(i) for i in range(0, 40, 2)}
        counted, never = answers.known(FakeBase, asked, 5, 5, 40, told)
        self.assertEqual((len(counted), len(never)), (5, 5))
        same, more = answers.known(FakeBase, asked, 5, 8, 40, told)
        self.assertEqual((same, more[:5], len(more)), (counted, never, 8))
        self.assertFalse(told & {one.question for one in never})
        self.assertFalse(set(counted) & set(never))
        self.assertTrue(all(one.accepted for one in counted + never))


class FakeTokenizer:
    """Letters are tokens, but for "  ", which is one where it can be."""

    def encode(self, text):
        return [ord(c) for c in text.replace("? N", "\u2047N")]


class Wordings(unittest.TestCase):
    def test_every_relation_has_nineteen(self):
        own = wordings.load(os.path.join(HERE, "wordings.json"))
        self.assertEqual(set(own), set(facts.POPQA))
        atlas = wordings.load(wordings.ATLAS)
        for relation, given in own.items():
            train = given.get("text") or [w for w in atlas[given["atlas"]] if w["role"] == "train"]
            self.assertGreaterEqual(len(train), 11, relation)
            self.assertEqual(len(given["chat"]), 4, relation)
            plain = facts.POPQA[relation].replace(r"\?", "?").replace("(.+)", "{s}")
            prompts = [w["prompt"] if isinstance(w, dict) else w[0] for w in train[:11]]
            self.assertNotIn(plain, prompts + given["chat"], relation)

    def test_an_answer_is_what_follows_its_prompt(self):
        words = object.__new__(wordings.Wordings)
        words.tokenizer = FakeTokenizer()
        prompt, answer = words.text("Who?", "Nora", "\n")
        self.assertEqual("".join(map(chr, prompt)), "Who")
        self.assertEqual("".join(map(chr, answer)), "\u2047Nora\n")


FACT = facts.Fact("1", "capital", "Ur", "What is the capital of Ur?", "Uruk", ("Uruk",))


class Numbers(unittest.TestCase):
    def test_what_lora_keeps(self):
        class model:
            class info:
                n_layers, hidden_size, n_heads, n_kv_heads, head_dim, ffn_size = 2, 8, 4, 2, 2, 16
        setting = {"rank": 3, "targets": ["q", "v"]}
        self.assertEqual(methods.lora_numbers(model, setting), 2 * 3 * ((8 + 8) + (8 + 4)))


    def test_what_slots_keep(self):
        path = os.path.join(SOURCE, "examples", "atlas", "model")
        if not os.path.exists(os.path.join(path, "config.json")):
            self.skipTest("no model of atlas")
        model = methods.smft.Model(path)
        slots = methods.Slots(model, [[1, 2, 3]], {"t": 5, "max_steps": 2}, 1)
        self.assertEqual(slots.n_bytes(), 0)
        slots.patch.set_row(0, 7, [0.0] * model.pool(0)[1])
        self.assertEqual(slots.n_bytes(), 4 * model.pool(0)[1])
        ids = list(model.tokenizer.encode("Who is it? Me"))
        took = slots.teach(FACT, [(ids[:-1], ids[-1:]), (ids[:-1], ids[-1:])])
        self.assertEqual((took.steps, took.wordings), (2, 2))


    def test_a_baseline_learns_with_replay(self):
        path = os.path.join(SOURCE, "examples", "atlas", "model")
        if not os.path.exists(os.path.join(path, "config.json")):
            self.skipTest("no model of atlas")
        model = methods.smft.Model(path)
        pairs = [([1, 20, 21], [30]), ([1, 22, 21], [30, 31]), ([1, 25], [30])]
        setting = {**runs.DENSE, "method": "lora", "rank": 4, "targets": ["q", "v"], "lr": 1e-2,
                   "replay": 2, "max_steps": 8}
        words = types.SimpleNamespace(model=model)
        dense = methods.Dense(words, [[1, 40, 41, 42], [1, 43, 44], [1, 50]], setting, 1)
        before = dense.losses(pairs)
        took = dense.teach(FACT, pairs)
        self.assertLess(sum(dense.losses(pairs)), sum(before))
        self.assertEqual((took.steps, took.wordings), (8, 3))


class Partials(unittest.TestCase):
    def test_what_was_stopped_goes_on(self):
        path = os.path.join(SOURCE, "examples", "atlas", "model")
        if not os.path.exists(os.path.join(path, "config.json")):
            self.skipTest("no model of atlas")
        model = methods.smft.Model(path)
        setting = {"t": 50, "max_steps": 2, "keep_given_up": True}
        known = [types.SimpleNamespace(id=str(i)) for i in range(3)]
        pairs = [[([1, 20 + i, 21], [30 + i])] for i in range(3)]
        with tempfile.TemporaryDirectory() as work:
            made = [methods.Slots(model, [[1, 2, 3]], setting, 1) for _ in range(3)]
            whole, first, second = made
            for fact, pair in zip(known, pairs):
                whole.teach(fact, pair)
            took = [first.teach(*one) for one in list(zip(known, pairs))[:2]]
            kept = partial.Partial(work, "stream")
            self.assertEqual(kept.resume(second, 3), [])
            kept.keep(first, took[:1])  # not every fact is worth a file
            self.assertEqual(os.listdir(work), [])
            kept.keep(first, took, at_once=True)
            shorter = partial.Partial(work, "stream")
            self.assertEqual(shorter.resume(second, 1), [])  # more is known than is asked for
            shorter.keep(first, took[:1], at_once=True)  # and stays
            self.assertEqual(kept.resume(second, 1), [])
            self.assertEqual(kept.resume(second, 3), took)
            second.teach(known[2], pairs[2])
            self.assertEqual(second.patch.to_bytes(), whole.patch.to_bytes())
            kept.keep(second, took + took[:1], at_once=True)
            self.assertEqual(sorted(os.listdir(os.path.join(work, "partial"))),
                             ["stream.3.safetensors", "stream.json"])
            nothing = partial.Partial(work, None)
            nothing.keep(second, took, at_once=True)
            self.assertEqual(nothing.resume(second, 9), [])


class Rows(Files):
    def test_the_report_reads_the_columns_that_are_written(self):
        self.assertEqual({*runs.OWN, *runs.TOOK, *runs.COLUMNS},
                         {*real_rows.TEXT, *real_rows.NUMBERS})

    def test_the_report_knows_the_defaults(self):
        told = [run for run in runs.plan() if run.facts.startswith(("report", "stream"))]
        self.assertTrue(told)
        for run in told:
            shown = run.describe().replace("keep_given_up True, ", "")
            self.assertEqual(shown == real_rows.SHIPPED, run.setting["method"] == "slots")

    def test_a_row_is_kept_and_its_run_is_not_planned_again(self):
        path = os.path.join(self.folder.name, "real.csv")
        run = runs.plan()[0]
        runs.keep(path, dict(zip(runs.OWN, (run.id, run.plan, "slots", run.facts, 10, "one", "a"))))
        command = [sys.executable, os.path.join(HERE, "runs.py"), "--results", path]
        out = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True)
        n = len({run.id for run in runs.plan()})
        self.assertIn(f"1 rows are there, {n - 1} runs to do", out.stdout)
        self.assertNotIn(run.id, out.stdout)
        done = subprocess.run([*command, "--model", "none"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("SKIPPED", done.stdout)


if __name__ == "__main__":
    unittest.main()
