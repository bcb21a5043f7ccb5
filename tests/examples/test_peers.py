#!/usr/bin/env python3
"""The methods of the field without a real model: what retrieval finds and where it puts it; that
the plan has six settings of each.  With PyTorch, on a small random Llama: the session against
passes without a cache, closed forms against the papers' matrices, the Fisher matrix against its
formula, and that each method teaches and looks up what it says."""
from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ["SMFT_SOURCE"]
PEERS = os.path.join(SOURCE, "examples", "forgetting", "peers")
sys.dont_write_bytecode = True
os.environ.setdefault("SMFT_LIBRARY", os.path.join(os.environ["SMFT_BUILD"], "libsmft.so"))
sys.path[:0] = [PEERS, os.path.join(SOURCE, "bindings", "python")]
try:
    import numpy  # noqa: F401
    import peers
    import retrieval
except ImportError as error:
    print(f"SKIPPED: {error}")
    sys.exit(77)
from facts import Fact  # noqa: E402  (found through peers)

if peers.has_torch():
    import torch
    import edits
    import ewc
    import grace
    import steer
    import torch_model
    from transformers import LlamaConfig, LlamaForCausalLM


class Finding(unittest.TestCase):
    def setUp(self):
        self.vector = retrieval.Tfidf(["What is the capital of Peru?", "Who is the mayor?"])
        self.index = retrieval.Index(0.3)
        for subject, answer in (("Colón", "Panama"), ("Leaf", "Rome"), ("Baker", "Oslo")):
            question = f"What is the capital of {subject}?"
            self.vector.count(question)
            self.index.add([question], (question, answer))

    def find(self, question):
        return [answer for _, answer in self.index.find(question, self.vector)]

    def test_weights_are_as_the_formula_says(self):
        import math
        tfidf = retrieval.Tfidf(["a b", "a c"])
        got = tfidf("A a b d")
        want = [2 * 1.0, math.log(3 / 2) + 1, math.log(3) + 1]
        length = math.sqrt(sum(x * x for x in want))
        for word, x in zip("abd", want):
            self.assertAlmostEqual(got[word], x / length)

    def test_the_nearest_stands_last_and_none_below_the_threshold(self):
        self.assertEqual(self.find("capital of COLÓN")[-1], "Panama")
        self.assertEqual(self.find("Who wrote it?"), [])
        self.index.threshold = -1
        self.assertEqual(len(self.find("Leaf")), 3)
        self.index.add(["Leaf"], ("Leaf", "x"))
        self.assertEqual((len(self.find("Leaf")), self.find("Leaf")[-1]), (3, "x"))

    def test_a_fact_of_many_questions_is_found_once(self):
        index = retrieval.Index(0.1)
        index.add(["Leaf?", "Leaf where?"], ("Leaf?", "x"))
        self.assertEqual(index.find("Leaf", self.vector), [("Leaf?", "x")])

    def test_places(self):
        facts = [("A?", "b"), ("C?", "d")]
        self.assertEqual(retrieval.placed("user", [], "Q"), [("user", "Q")])
        self.assertEqual(retrieval.placed("user", facts, "Q"),
                         [("user", "Known facts:\n- A? b\n- C? d\n\nQ")])
        self.assertEqual([role for role, _ in retrieval.placed("system", facts, "Q")],
                         ["system", "user"])
        self.assertEqual(retrieval.placed("turns", facts, "Q"),
                         [("user", "A?"), ("assistant", "b"), ("user", "C?"), ("assistant", "d"),
                          ("user", "Q")])

    def test_a_wording_loses_its_template(self):
        chat = "system\nYou are.\nuser\nWho is it?\nassistant\n"
        self.assertEqual(retrieval.strip_chat(chat), "Who is it?")
        self.assertEqual(retrieval.strip_chat("Q: Who? A:"), "Q: Who? A:")


class Plan(unittest.TestCase):
    def test_six_settings_of_each_and_the_report(self):
        runs = peers.plan()
        self.assertEqual(len({run.id for run in runs}), len(runs))
        trials = collections.Counter(
            (run.setting["method"], run.setting.get("by")) for run in runs if run.plan == "peers")
        self.assertEqual(set(trials.values()), {6})
        report = [run for run in runs if run.plan == "peers-report"]
        self.assertEqual(len(report), 3 * len(trials))

    def test_one_can_be_asked_for_by_its_method(self):
        with tempfile.TemporaryDirectory() as folder:
            out = subprocess.run([sys.executable, os.path.join(PEERS, "peers.py"), "grace",
                                  "--list", "--results", os.path.join(folder, "a.csv")],
                                 capture_output=True, text=True, check=True).stdout
        self.assertIn(" grace choose", out)
        self.assertNotIn(" ewc ", out)

    def test_without_torch_tfidf_alone_is_run(self):
        world = object.__new__(peers.PeersWorld)
        before, peers.has_torch = peers.has_torch, lambda: False
        try:
            self.assertEqual(world.lacks(peers.setting("retrieval", {})), "")
            for kind in ("states", "grace", "memit", "alphaedit", "ewc"):
                self.assertIn("PyTorch", world.lacks(peers.setting(kind, {})))
        finally:
            peers.has_torch = before


class Letters:
    """Letters are tokens."""

    def encode(self, text):
        return [ord(c) % 64 for c in text]

    def decode(self, ids):
        return "".join(chr(id + 64) for id in ids)


def small_model():
    """A random Llama of four blocks, as TorchModel has it; after 7, 8 comes an answer."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
                         num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2)
    model = object.__new__(torch_model.TorchModel)
    model.net = LlamaForCausalLM(config).requires_grad_(False).eval()
    model.net.lm_head.weight.data *= 4  # else no state makes a token sure
    model.blocks, model.tokenizer = model.net.model.layers, Letters()
    model.stop_ids, model.opening, model.sites = [63], [7, 8], []
    return model


PAIRS = [([1, 20, 21, 22, 7, 8], [30]), ([1, 5, 20, 21, 22, 7, 8], [30])]
LAST = ([1, 7, 20, 21, 22], [30])
FACT = Fact("f", "r", "TUV", "", "", ())  # its letters are 20, 21, 22


class Words:
    tokenizer = Letters()


@unittest.skipUnless(peers.has_torch(), "no PyTorch with transformers")
class Torch(unittest.TestCase):
    def setUp(self):
        self.model = small_model()

    def answer(self, prompt):
        return torch_model.TorchSession(self.model).generate(prompt, 1)

    def test_a_session_is_passes_without_a_cache(self):
        session = torch_model.TorchSession(self.model)
        for prompt in ([1, 2, 3, 4], [1, 2, 3, 9, 7], [1, 2, 3, 9, 7], [5]):
            got, ids = session.generate(prompt, 6), list(prompt)
            for id in got:
                with torch.no_grad():
                    self.assertEqual(id, int(self.model(ids)[-1].argmax()))
                ids.append(id)
        with torch.no_grad():
            want = torch.nn.functional.cross_entropy(self.model([1, 2, 3, 4], keep=0)[:-1],
                                                     torch.tensor([2, 3, 4]))
        self.assertAlmostEqual(float(session.nll([1, 2, 3, 4])), float(want), places=5)
        self.assertEqual(len(session.nll([1, 2, 3, 4]).tokens), 3)

    def test_what_was_kept_is_not_made_again(self):
        with tempfile.TemporaryDirectory() as folder:
            first = torch_model.kept(folder, "a", [1], lambda: [torch.ones(2)])
            again = torch_model.kept(folder, "a", [1], lambda: self.fail("made again"))
            other = torch_model.kept(folder, "a", [2], lambda: [torch.zeros(2)])
        self.assertTrue(torch.equal(first[0], again[0]))
        self.assertFalse(torch.equal(first[0], other[0]))

    def test_an_example_is_the_whole_text(self):
        prompt, answer = PAIRS[1]
        with torch.no_grad():
            want = self.model([*prompt, *answer][:-1], keep=1)
            for site in (0, 4, len(prompt) - 1):
                got = steer.run(self.model, steer.example(self.model, PAIRS[1], site))
                self.assertLess(float((got - want).abs().max()), 1e-4)

    def test_a_vector_is_learnt(self):
        how = steer.Steering(self.model.blocks[0], True, 0.5, 300, 0.5, 2)
        examples = [steer.example(self.model, pair, len(pair[0]) - 3) for pair in PAIRS]
        start = torch.zeros(32)
        vector, steps, losses = steer.steer(self.model, how, start, examples)
        self.assertLess(max(losses), 0.5)
        self.assertLess(steps, 300)
        self.assertEqual(float(start.norm()), 0.0)
        how.most = 0.5
        vector, _, _ = steer.steer(self.model, how, start, examples)
        self.assertLessEqual(float(vector.norm()), 0.5001)

    def test_memit_is_the_papers_matrix(self):
        keys = torch.randn(200, 48)
        moment, key = keys.T @ keys / 200, torch.randn(48)
        got = edits.Memit({1: moment}, {"lambda": 7}).direction(1, key)
        want = key.double() @ torch.linalg.inv(7 * moment.double() + torch.outer(key, key).double())
        self.assertLess(float((got - want).abs().max()), 1e-4)

    def test_alphaedit_is_the_papers_matrix_and_leaves_the_background(self):
        keys = torch.randn(200, 20) @ torch.randn(20, 48)  # the other directions are never used
        moment = keys.T @ keys / 200
        rule = edits.AlphaEdit({1: moment}, {"null": 0.001, "ridge": 0.01})
        free = rule.free[1].double()
        self.assertEqual(round(float(free.trace())), 28)
        first, second = torch.randn(2, 48).double()
        rule.direction(1, first.float())
        got = rule.direction(1, second.float())
        both = torch.outer(first, first) @ free + torch.outer(second, second) @ free
        ridge = 0.01 * float(moment.trace()) * torch.eye(48).double()
        want = second @ free @ torch.linalg.inv(both + ridge)
        self.assertLess(float((got - want).abs().max()), 1e-4)
        self.assertLess(float((keys @ got).abs().max()), 1e-3)

    def test_moments_are_of_what_the_projection_is_given(self):
        found = edits.second_moments(self.model, [[1, 2, 3], [4, 5]], [0, 2])
        down, seen = self.model.blocks[2].mlp.down_proj, []
        handle = down.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
        with torch.no_grad():
            self.model([1, 2, 3]), self.model([4, 5])
        handle.remove()
        keys = torch.cat(seen)
        self.assertLess(float((found[2] - keys.T @ keys / 5).abs().max()), 1e-5)

    def test_the_subject_is_found_where_it_is_named_last(self):
        ids = Letters().encode("AB TUV C TUV D")
        self.assertEqual(edits.site_of(Letters(), [i for i in ids], "TUV"), 11)
        self.assertIsNone(edits.site_of(Letters(), [1, 2], "TUV"))

    def edits(self, **other):
        moments = edits.second_moments(self.model, [list(range(i, i + 20))
                                                    for i in range(0, 40, 4)], [0, 1])
        setting = {"loss_below": 0.3, "wordings_per_step": 2, "blocks": [0, 1], "lambda": 1e-3,
                   "null": 1e9, "ridge": 1e-4, "steps": 100, "lr": 0.5, "most": 30.0, "decay": 0.0,
                   "kl": 0.0, **other}
        return edits.Edits(self.model, Words, moments, setting)

    def test_edits_teach(self):
        for method in ("memit", "alphaedit"):
            self.model = small_model()
            rule = self.edits(method=method)
            before = self.model.blocks[2].mlp.down_proj.weight.clone()
            took = rule.teach(FACT, [LAST])  # of one wording the key is just what is seen
            self.assertEqual((took.done, took.learnt), (True, 1), method)
            self.assertLess(took.steps, 100)
            self.assertEqual(self.answer(LAST[0]), LAST[1])
            self.assertTrue(torch.equal(before, self.model.blocks[2].mlp.down_proj.weight))
            self.assertEqual(rule.n_bytes(), 4 * 2 * (48 + 32))

    def test_a_fact_whose_subject_is_not_named_is_not_learnt(self):
        took = self.edits(method="memit").teach(FACT, [([1, 2], [3])])
        self.assertEqual((took.done, took.steps), (False, 0))

    def test_the_fisher_matrix_is_the_mean_square_gradient(self):
        """Of one next token the mean over the model's distribution can be summed."""
        ids, name = [5], "model.layers.1.mlp.down_proj.weight"
        at = [n for n, _ in self.model.net.named_parameters()].index(name)
        got = sum(ewc.fisher(self.model, [ids], seed)[at] for seed in range(80)) / 80
        weights = dict(self.model.net.named_parameters())[name].requires_grad_(True)
        logs = torch.log_softmax(self.model(ids, keep=0), -1)[0]
        want = 0
        for log in logs:
            gradient = torch.autograd.grad(log, weights, retain_graph=True)[0]
            want += log.detach().exp() * gradient ** 2
        self.assertLess(abs(float(got.sum() / want.sum()) - 1), 0.2)

    def test_ewc_teaches_and_a_large_lambda_holds(self):
        setting = {"lr": 3e-3, "lambda": 0.0, "weight_decay": 0.0, "wordings_per_step": 2,
                   "loss_below": 0.1, "max_steps": 40}
        moved = []
        for strength in (0.0, 1e6):
            self.model = small_model()
            fisher = ewc.fisher(self.model, [list(range(20))])
            rule = ewc.Ewc(self.model, Words, fisher, {**setting, "lambda": strength})
            took = rule.teach(FACT, PAIRS)
            self.assertEqual(took.done, strength == 0)
            moved.append(sum(float((f * (w.detach() - s) ** 2).sum())
                             for f, w, s in zip(fisher, rule.weights, rule.start)))
        self.assertLess(moved[1], moved[0] / 10)

    def grace(self, epsilon):
        chats = [[*range(i, i + 9), 7, 8, 3] for i in range(10, 40, 3)]
        setting = {"block": 1, "epsilon": epsilon, "loss_below": 0.1, "wordings_per_step": 4,
                   "lr": 1.0, "steps": 80}
        return grace.Grace(self.model, Words, chats, setting)

    def test_grace_answers_in_a_ball_and_is_the_base_outside(self):
        before = self.answer([1, 50, 51, 52, 7, 8])
        rule = self.grace(0.2)
        took = rule.teach(FACT, PAIRS)
        self.assertTrue(took.done)
        asker = rule.asker()
        for prompt, answer in PAIRS:
            self.assertEqual(asker.session.generate(prompt, 1), answer)
        self.assertEqual(asker.session.generate([1, 50, 51, 52, 7, 8], 1), before)
        self.assertTrue(all(not entry.examples for entry in rule.entries))
        prompt, answer = PAIRS[0]
        all_at_once = asker.session.logits([*prompt, *answer])[len(prompt) - 1]
        self.assertEqual(int(all_at_once.argmax()), answer[0])

    def test_balls_of_two_facts_do_not_overlap(self):
        rule = self.grace(0.5)
        one = rule.entry_for("a", torch.zeros(32), torch.zeros(32))
        near = torch.zeros(32)
        near[0] = rule.epsilon / 2
        self.assertIs(rule.entry_for("a", near, near), one)
        other = rule.entry_for("b", near, near)
        self.assertIsNot(other, one)
        self.assertAlmostEqual(one.epsilon + other.epsilon, rule.epsilon / 2, places=5)


if __name__ == "__main__":
    unittest.main()
