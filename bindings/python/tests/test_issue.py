"""issue: the package as a newcomer uses it: each name of the issue, section 6, as printed there, on the models that the project has."""
import json
import unittest

from support import SOURCE, TestCase, distance, flat, numpy, shared, smft


class AsPrinted(TestCase):
    """The public reference models."""

    def test_memory_model(self):
        path = shared("models/tinymem_shared")
        reference = json.loads((path / "reference.json").read_text())
        model = smft.Model(path)
        patch = smft.Patch(model)
        with smft.Session(model, patch=None) as session:
            logits = session.logits(reference["ids"])
            self.assertEqual((len(logits), len(logits[0])), (len(reference["ids"]), len(reference["logits"][0])))
            self.assertLess(distance(flat(logits), flat(reference["logits"])), 1e-4)
            self.assertGreater(session.nll(reference["ids"]), 0)
            self.assertEqual(len(session.generate(reference["ids"], max_tokens=3)), 3)
        with self.assertRaises(smft.StateError):
            session.logits([1])  # closed
        wanted = reference["sgd"]
        selector = smft.Selector(model, rule="tfidf", t=wanted["t"], empty=True, damping=0)  # the plain step of the paper
        selector.count_background(reference["background"])
        self.assertEqual({pool: list(selector.df(int(pool))) for pool in reference["df"]}, reference["df"])
        optimizer = smft.Optimizer("sgd", lr=wanted["lr"])
        learner = smft.Learner(model, patch, selector, optimizer, max_steps=1, loss_below=-1, keep_given_up=True, wordings_per_step=-1)
        for i, batch in enumerate(reference["batches"]):
            learner.push_ids(f"fact {i}", [(one["prompt"], one["answer"]) for one in batch])
        for step in wanted["steps"]:
            report = learner.step()
            self.assertAlmostEqual(report.loss, step["loss"], places=3)
            for (pool, slot, score), (pool_wanted, slot_wanted, score_wanted) in zip(report.selected, step["selected"]):
                self.assertEqual((pool, slot, round(score, 5)), (pool_wanted, slot_wanted, round(score_wanted, 5)))
        pool, slot, row = wanted["rows"][0]
        self.assertIn(slot, patch.slots(pool))
        self.assertLess(distance(patch.row(pool, slot), row), 1e-4)
        patch.save(self.directory / "patch.safetensors")
        self.assertEqual(smft.Patch.load(model, self.directory / "patch.safetensors").slots(pool), patch.slots(pool))
        if numpy is not None:  # one block of memory, no copies on the way
            self.assertEqual((logits.dtype, logits.shape, logits.flags.c_contiguous), (numpy.float32, (len(logits), len(logits[0])), True))

    def test_trained_model(self):
        path = shared("models/stories260K")
        reference = json.loads((path / "torch_reference.json").read_text())
        model = smft.Model(path)
        text = (path / "greedy_t0_expected.txt").read_text()
        ids = model.tokenizer.encode(text.strip(), special=True)
        self.assertEqual(model.tokenizer.decode(ids[1:]), text.strip())
        with smft.Session(model) as session:
            self.assertAlmostEqual(session.nll(reference["ids"]), 0.45661783, delta=1e-5)
            self.assertEqual(session.generate("", max_tokens=len(ids) - 1).strip(), text.strip())


class Atlas(TestCase):
    """The shipped model: teach it a new fact, and see that it still knows the others."""

    def setUp(self):
        super().setUp()
        self.atlas = SOURCE / "examples" / "atlas"
        if not (self.atlas / "model" / "model.safetensors").exists():
            self.skipTest("examples/atlas/model is not there")
        self.wordings = json.loads((self.atlas / "data" / "wordings.json").read_text(encoding="utf-8"))

    def facts(self, name, n):
        with open(self.atlas / "data" / name, encoding="utf-8") as lines:
            return [json.loads(next(lines)) for _ in range(n)]

    def texts(self, fact, role):
        return [tuple(one[key].replace("{s}", fact["subject"]).replace("{a}", fact["answer"]) for key in ("prompt", "answer", "end"))
                for one in self.wordings[fact["relation"]] if one["role"] == role]

    def test_a_new_fact(self):
        model = smft.Model(self.atlas / "model")
        patch = smft.Patch(model)
        probe = smft.Probe()
        for fact in self.facts("known.jsonl", 20):
            probe.add_question(fact["id"], self.texts(fact, "test")[0][0], fact["aliases"])
        probe.add_text("held out", (self.atlas / "data" / "text.heldout.txt").read_text(encoding="utf-8")[:400])
        new = self.facts("new.jsonl", 1)[0]
        question = self.texts(new, "test")[0][0]
        with smft.Session(model, patch) as session:
            probe.baseline(session)
            self.assertNotEqual(smft.score_answer(session.generate(question, 24, stop="\n"), new["aliases"])[0], 1)
            learner = smft.Learner(model, patch)
            learner.push(new["id"], self.texts(new, "train"))
            reports = list(learner)
            self.assertLess(reports[-1].loss, reports[0].loss)
            self.assertEqual(smft.score_answer(session.generate(question, 24, stop="\n"), new["aliases"])[0], 1)
            report = probe.measure(session)
        self.assertGreater(report.f1_before, 0.9)
        self.assertGreater(report.f1, 0.9)
        self.assertTrue(0 < report.kl < 0.05)
        self.assertEqual(len(probe.items()), 21)


if __name__ == "__main__":
    unittest.main()
