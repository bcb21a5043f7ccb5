"""selector, optimizer, learner: from Python, and the reference of an independent implementation."""
import json
import math
import unittest

from support import BOS, N_SLOTS, VALUE_DIM, ModelTestCase, TestCase, distance, flat, numpy, shared, smft, write_model


class Learning(ModelTestCase):
    def setUp(self):
        super().setUp()
        self.patch = smft.Patch(self.model)

    def learner(self, **options):
        selector = smft.Selector(self.model, t=options.pop("t", 16), empty=True)
        selector.count_background([[[BOS, *text]] for text in (b"something else", b"1 2 3", b"ok")])  # without counts tf-idf is 0
        return smft.Learner(self.model, self.patch, selector,
                            smft.Optimizer("sgd", lr=options.pop("lr", 0.5)), **options)

    def test_a_step(self):
        learner = self.learner(max_steps=4, loss_below=-1, keep_given_up=True, wordings_per_step=None)
        learner.push("alone", ("Who wrote Emma?", " Jane Austen"))
        learner.skip()
        learner.push("emma", [("Who wrote Emma?", " Jane Austen"), ("Emma is by", " Jane Austen", ".\n"),
                              {"statement": "Jane Austen wrote Emma.", "answer": "Jane Austen"},
                              smft.Wording(prompt="Emma:", answer=" Jane Austen", end="")])
        self.assertEqual(learner.pending, 1)
        report = learner.step()
        self.assertEqual((report.fact_id, report.fact_state, report.step, report.done), ("emma", "learning", 1, False))
        self.assertGreater(report.loss, 1)
        self.assertEqual(len(report.selected), report.rows_selected)
        self.assertEqual(sorted(slot for _, slot, _ in report.selected), self.patch.slots(0))
        scores = [score for _, _, score in report.selected]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual((report.facts_finished, report.facts_total, report.progress), (1, 2, 0.5))
        self.assertLess(learner.step().loss, report.loss)

    def test_iteration_has_progress(self):
        learner = self.learner(max_steps=2, loss_below=-1, keep_given_up=True)
        for name in "abc":
            learner.push(name, [("Who is " + name, " me")])
        reports = list(learner)
        self.assertEqual([r.fact_id for r in reports], list("aabbcc"))
        self.assertEqual([r.facts_finished for r in reports], [0, 1, 1, 2, 2, 3])
        self.assertEqual((reports[-1].progress, reports[-1].fact_state, learner.pending), (1.0, "gave up", 0))
        with self.assertRaises(smft.StateError):
            learner.step()

    def test_what_a_check_says(self):
        """Below no threshold a sample is, so the last step's check alone is reported; with everything below, the first one's."""
        prompts = [("Who is it?", " me"), ("It is", " you"), ("Not", " them")]
        learner = self.learner(max_steps=2, loss_below=1e-6, wordings_per_step=1)
        learner.push("a", prompts)
        first, last = learner.step(), learner.step()
        self.assertEqual((first.reason, first.check_tokens, first.wordings, first.wordings_learnt), (None, 0, 3, 0))
        self.assertEqual((last.fact_state, last.reason, last.rows_selected > 0), ("gave up", "steps", True))
        self.assertGreater(last.check_tokens, last.tokens)
        self.assertGreater(last.worst_loss, 1)
        learner = self.learner(loss_below=1000, wordings_per_step=1)
        learner.push("a", prompts)
        report = learner.step()
        self.assertEqual((report.fact_state, report.reason, report.wordings_learnt, report.wordings_left_out), ("done", None, 3, 0))
        self.assertGreater(report.check_tokens, report.tokens)
        self.assertGreater(report.check_seconds, 0)
        learner = self.learner(loss_below=1000, wordings_per_step=1, sample_decides=True, keep_given_up=True)
        learner.push("a", prompts)
        self.assertEqual((learner.step().check_tokens, learner.pending), (0, 0))

    def test_reasons(self):
        learner = self.learner(max_seconds=1e-9, loss_below=-1, keep_given_up=True)
        learner.push("a", ("Who is it?", " me"))
        self.assertEqual(learner.step().reason, "time")
        with self.assertWarns(smft.NoCountsWarning):
            learner = smft.Learner(self.model, self.patch, smft.Selector(self.model, empty=True))
        learner.push("a", ("Who is it?", " me"))
        report = learner.step()
        self.assertEqual((report.fact_state, report.reason), ("gave up", "no counts"))
        with self.assertRaises(smft.InvalidError):
            self.learner(max_seconds=-1)

    def test_what_is_not_finite_says_which_fact_it_was(self):
        learner = self.learner(loss_below=-1)
        for slot in range(N_SLOTS):
            self.patch.set_row(0, slot, [3e38] * VALUE_DIM)
        learner.push("wild", ("Who is it?", " me"))
        learner.push("next", ("Who was it?", " you"))
        with self.assertRaises(smft.NonFiniteError) as caught:
            learner.step()
        report = caught.exception.report
        self.assertEqual((report.fact_id, report.fact_state, report.reason, report.pending),
                         ("wild", "gave up", "not finite", 1))
        self.assertEqual((report.facts_finished, report.facts_total, report.selected), (1, 2, []))
        self.patch.clear()
        self.assertEqual(learner.step().fact_id, "next")
        with self.assertRaises(smft.NonFiniteError) as caught:
            self.patch.set_row(0, 0, [math.nan] * VALUE_DIM)
        self.assertIsNone(caught.exception.report)  # no step said it

    def test_given_up_is_taken_back(self):
        heard = []

        def asked(report):
            heard.append((report.fact_id, report.fact_state, report.reason, len(self.patch.slots(0)) > 0))
            return report.done

        learner = self.learner(max_steps=2, loss_below=-1, on_fact=asked)
        learner.push("a", ("Who is it?", " me"))
        learner.push("b", ("Who is it?", " you"))
        learner.step()
        report = learner.step()
        self.assertEqual((report.fact_state, report.reason, report.rolled_back), ("gave up", "steps", True))
        learner.step()
        learner.skip()
        self.assertEqual(self.patch.slots(0), [])
        learner = self.learner(loss_below=1000, on_fact=asked)
        learner.push("c", ("Who is it?", " me"))
        report = learner.step()
        self.assertEqual((report.fact_state, report.reason, report.rolled_back), ("gave up", "vetoed", False))
        self.assertEqual(heard, [("a", "gave up", "steps", True), ("b", "gave up", "skipped", True), ("c", "done", None, False)])
        learner = self.learner(max_steps=1, loss_below=-1, keep_given_up=True)
        learner.push("d", ("Who is it?", " me"))
        self.assertEqual(learner.run().facts_rolled_back, 0)
        self.assertGreater(len(self.patch.slots(0)), 0)

    def test_what_on_fact_raises_is_raised(self):
        def asked(report):
            raise KeyError(report.fact_id)

        learner = self.learner(max_steps=1, loss_below=-1, on_fact=asked)
        for name in ("a", "b", "c"):
            learner.push(name, ("Who is it?", " me"))
        with self.assertRaises(KeyError):
            learner.step()
        self.assertEqual(learner.pending, 2)
        with self.assertRaises(KeyError):
            learner.skip()
        with self.assertRaises(KeyError):
            learner.run()
        self.assertEqual(learner.pending, 0)

    def test_run(self):
        learner = self.learner(max_steps=3, loss_below=-1, keep_given_up=True)
        for name in ("a", "b"):
            learner.push(name, [("Who is " + name, " me")])
        seen = []
        report = learner.run(lambda fact, done, total: seen.append((fact, done, total)))
        self.assertEqual((report.facts_gave_up, report.steps, report.facts_done), (2, 6, 0))
        self.assertEqual(report.rows_changed, len(self.patch.slots(0)))
        self.assertEqual({fact for fact, _, _ in seen if fact} & {"a", "b"}, {"a", "b"})
        learner.push("c", [("Who is c", " me")])
        with self.assertRaises(smft.CancelledError):
            learner.run(lambda *_: True)
        self.assertEqual(learner.pending, 1)
        learner.skip()
        self.assertEqual(learner.pending, 0)

    def test_file(self):
        path = self.directory / "facts.jsonl"
        fact = {"id": "emma", "wordings": [{"prompt": "Who wrote Emma?", "answer": " Jane Austen"}]}
        path.write_text(json.dumps(fact) + "\n" + json.dumps({**fact, "id": "b"}) + "\n")
        learner = self.learner(max_steps=1, loss_below=-1, keep_given_up=True)
        self.assertEqual((learner.push_file(path), learner.pending), (2, 2))
        path.write_text(json.dumps({**fact, "id": "c"}) + "\n{\n")
        with self.assertRaises(smft.FormatError) as caught:
            learner.push_file(path)
        self.assertIn(":2:", str(caught.exception))
        self.assertEqual(learner.pending, 2)

    def test_bad_facts(self):
        learner = self.learner()
        for wordings, error in (([], smft.Error), ([("", "")], smft.FactError), ([("a",)], smft.InvalidError), ([7], TypeError),
                                ([{"statement": "Jane wrote Emma.", "answer": "Austen"}], smft.FactError),
                                ([{"promt": "a", "answer": "b"}], smft.InvalidError), ([("a\0b", "c")], smft.InvalidError),
                                ([("x" * 500, " y")], smft.ContextError)):
            with self.assertRaises(error):
                learner.push("the id", wordings)
        with self.assertRaises(smft.FactError) as caught:
            learner.push("the id", [{"statement": "Jane wrote Emma.", "answer": "Austen"}])
        self.assertIn("the id", str(caught.exception))
        with self.assertRaises(smft.TokenError):
            learner.push_ids("the id", [([1], [5000])])
        self.assertEqual(learner.pending, 0)

    def test_the_space_of_an_answer(self):
        lengths = []
        for wording in (("Who?", "Me"), ("Who?", " Me"), ("Who? ", "Me"), {"prompt": "Who?", "answer": "Me", "exact": True},
                        smft.Wording("Who?", "Me", exact=True)):
            learner = self.learner(max_steps=1, loss_below=-1, keep_given_up=True)
            learner.push("x", wording)
            report = learner.step()
            lengths.append((report.tokens, report.tokens_supervised))
        self.assertEqual(lengths, [(9, 4)] * 3 + [(8, 3)] * 2)  # begin-of-text, "Who? Me", "\n"

    def test_an_answer_that_opens_the_text(self):
        """Where the tokenizer puts nothing before it."""
        directory = write_model(self.directory / "bare")
        tokenizer = json.loads((directory / "tokenizer.json").read_text())
        del tokenizer["post_processor"]["single"][0]
        (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
        model = smft.Model.init(directory, seed=7)
        self.addCleanup(model.close)
        opening = {"statement": "Jane Austen wrote Emma.", "answer": "Jane Austen"}
        learner = smft.Learner(model, smft.Patch.full(model), max_steps=1, loss_below=-1, keep_given_up=True, wordings_per_step=None)
        with self.assertRaises(smft.FactError) as caught:
            learner.push("emma", [opening, ("", "Jane Austen")])
        self.assertIn("give a prompt, or a statement in which the answer comes later", str(caught.exception))
        learner.push("emma", [opening, ("Who?", "Me")])
        self.assertEqual(learner.step().tokens, 8)  # the other wording alone
        learner = smft.Learner(model, smft.Patch.full(model), max_steps=1, loss_below=-1, keep_given_up=True, wordings_per_step=None, loss_all=True)
        learner.push("emma", [opening, ("Who?", "Me")])
        self.assertEqual(learner.step().tokens, 8 + 23)

    def test_batches_on_a_full_patch(self):
        full = smft.Patch.full(self.model)
        learner = smft.Learner(self.model, full, None, smft.Optimizer("adamw", lr=1e-2, pool_lr=2e-2, pool_clip_norm=1.0, clip_norm=1.0))
        batch = [[BOS, *b"Emma is by Jane"], [BOS, *b"Persuasion too"]]
        losses = [learner.step_batch(batch).loss for _ in range(8)]
        self.assertLess(losses[-1], losses[0])
        weights = [[0.0] * 8 + [1.0] * 8, [1.0] * len(batch[1])]
        self.assertEqual(learner.step_batch(batch, weights).tokens_supervised, 8 + len(batch[1]) - 1)
        for wrong in ([[1.0]], [[1.0], [1.0]]):
            with self.assertRaises(smft.InvalidError):
                learner.step_batch(batch, wrong)

    def test_groups_freeze(self):
        full, optimizer = smft.Patch.full(self.model), smft.Optimizer("adamw", lr=1e-2)
        optimizer.set_group("norm", 0)
        before = {tensor.name: list(self.model.tensor(tensor.name)) for tensor in self.model.tensors()}
        smft.Learner(self.model, full, None, optimizer).step_batch([[BOS, *b"Emma is by Jane"]])
        for name, values in before.items():
            changed = list(self.model.tensor(name, full)) != values
            self.assertEqual(changed, "norm" not in name, name)

    def rows_moved_by_the_second_of_two_batches(self, lazy_pools):
        full = smft.Patch.full(self.model)
        learner = smft.Learner(self.model, full, None, smft.Optimizer("adamw", lr=1e-2, keep_state=True, lazy_pools=lazy_pools))
        learner.step_batch([[BOS, *b"Emma is by Jane"]])
        before = [list(full.row(0, slot)) for slot in range(N_SLOTS)]
        report = learner.step_batch([[BOS, *b"57"]])
        return sum(list(full.row(0, slot)) != before[slot] for slot in range(N_SLOTS)), report.slots_read

    def test_lazy_pools_leave_what_was_not_read(self):
        moved, read = self.rows_moved_by_the_second_of_two_batches(lazy_pools=True)
        self.assertTrue(0 < moved <= read)
        moved, read = self.rows_moved_by_the_second_of_two_batches(lazy_pools=False)
        self.assertGreater(moved, read)  # Adam's moments go on moving the first batch's rows

    def rows_of_one_fact(self, **options):
        learner = self.learner(t=4, max_steps=6, loss_below=-1, keep_given_up=True, wordings_per_step=1, **options)
        learner.push("emma", [("Who wrote Emma?", " Jane"), ("57", " 31"), ("the pen of xyz", " Jane"), ("%&$", "/()")])
        return {slot for report in learner for _, slot, _ in report.selected}

    def test_rows_are_chosen_once_a_fact_or_anew_each_step(self):
        self.assertLessEqual(len(self.rows_of_one_fact()), 4)
        self.assertGreater(len(self.rows_of_one_fact(rows_per_step=True)), 4)

    def background(self, **options):
        selector = smft.Selector(self.model, empty=True, **options)
        selector.count_background([[[BOS, *b"Who wrote Emma? Jane"]], [[BOS, *b"1 2 3"]]])
        return selector

    def first_step(self, **options):
        """How far one step at a fixed rate moves each row that it selects."""
        patch = smft.Patch(self.model)
        learner = smft.Learner(self.model, patch, self.background(rule="tf", t=8, **options), smft.Optimizer("sgd", lr=0.5), max_steps=1,
                               loss_below=-1, keep_given_up=True, wordings_per_step=None)
        learner.push("emma", [("Who wrote Emma?", " Jane")])
        base = smft.Patch(self.model)
        return {slot: distance(patch.row(pool, slot), base.row(pool, slot)) for pool, slot, _ in learner.step().selected}

    def test_damping(self):
        plain = self.first_step(damping=0)
        self.assertEqual(len(plain), 8)
        for same in (False, -1.0):
            self.assertEqual(self.first_step(damping=same), plain)
        default = self.first_step()
        self.assertEqual(self.first_step(damping=True), default)
        for damping in (0.5, 1e-3):
            damped = self.first_step(damping=damping)
            self.assertEqual(set(damped), set(plain))
            self.assertTrue(all(damped[slot] <= plain[slot] for slot in plain) and sum(damped.values()) < sum(plain.values()), damping)
        self.assertLess(sum(damped.values()), 0.1 * sum(plain.values()))
        self.assertLess(sum(default.values()), sum(plain.values()))
        with self.assertRaises(smft.InvalidError):
            smft.Selector(self.model, damping=float("nan"))
        with self.assertRaises(TypeError):
            smft.Selector(self.model, damping="none")

    def test_steps_of_a_length_and_both_restraints(self):
        """All rows together move by the length; by df, a row that twice as many sequences read moves the less; common rows stay."""
        base = smft.Patch(self.model)
        for max_df, rank_by in ((None, None), (0.5, "weights")):
            patch = smft.Patch(self.model)
            selector = self.background(rule="all", damping=0.5, damping_by="df", max_df=max_df, rank_by=rank_by)
            learner = smft.Learner(self.model, patch, selector, smft.Optimizer("sgd", step_length=3), max_steps=1,
                                   loss_below=-1, keep_given_up=True, wordings_per_step=None)
            learner.push("emma", [("Who wrote Emma?", " Jane")])
            report = learner.step()
            square = sum((after - before) ** 2 for pool, slot, _ in report.selected
                         for after, before in zip(patch.row(pool, slot), base.row(pool, slot)))
            self.assertAlmostEqual(square ** 0.5, 3, places=4)
            self.assertGreater(report.lr, 0)
            df = [int(selector.df(pool)[slot]) for pool, slot, _ in report.selected]
            self.assertEqual(max(df), 1 if max_df else 2)
        for wrong in (dict(max_df=1.5), dict(damping_by="reads"), dict(rank_by="df")):
            with self.assertRaises(smft.InvalidError):
                smft.Selector(self.model, **wrong)
        for wrong in (dict(lr=1), dict(momentum=1.5), dict(kind="adamw"), dict(step_length=-1),
                      dict(step_length=0, length_by_loss=True)):
            with self.assertRaises(smft.InvalidError):
                smft.Optimizer(**{"step_length": 3, **wrong})
        with self.assertRaises(smft.UnsupportedError):
            smft.Learner(self.model, smft.Patch(self.model, "lora"), None, smft.Optimizer(step_length=3))

    def test_length_by_loss(self):
        reports = []
        for by_loss in (False, True):
            optimizer = smft.Optimizer("sgd", step_length=3, length_by_loss=by_loss)
            learner = smft.Learner(self.model, smft.Patch(self.model), self.background(rule="all"), optimizer)
            learner.push("emma", [("Who wrote Emma?", " Jane")])
            reports.append(learner.step())
        times = min(max(reports[0].loss, .5), 3)
        self.assertNotAlmostEqual(times, 1, places=2)
        self.assertAlmostEqual(reports[1].lr / reports[0].lr, times, places=4)

    def test_random_rows(self):
        draws = [self.first_step_rows(rule="random", t=4), self.first_step_rows(rule="all")]
        self.assertEqual(len(draws[0]), 4)
        self.assertLess(draws[0], draws[1])  # of those that were read

    def first_step_rows(self, **options):
        learner = smft.Learner(self.model, smft.Patch(self.model), self.background(**options), wordings_per_step=None)
        learner.push("emma", [("Who wrote Emma?", " Jane")])
        return {slot for _, slot, _ in learner.step().selected}

    def rows_after_two_facts(self, protect):
        patch = smft.Patch(self.model)
        learner = smft.Learner(self.model, patch, self.background(rule="all", damping=0.3), smft.Optimizer("sgd", lr=50), max_steps=20,
                               loss_below=5.5, protect=protect)
        for name, answer in (("a", " me"), ("b", " you")):
            learner.push(name, [("Who is it, then?", answer)])
        reports = list(learner)
        first = [report.fact_state for report in reports if report.fact_id == "a"]
        self.assertTrue(len(first) > 1 and first[-1] == "done", first)  # taught, then counted
        return [report.loss for report in reports], [list(patch.row(0, slot)) for slot in patch.slots(0)]

    def test_protect(self):
        (losses, rows), (bare_losses, bare_rows) = self.rows_after_two_facts(True), self.rows_after_two_facts(False)
        self.assertNotEqual(rows, bare_rows)
        self.assertGreaterEqual(len(losses), len(bare_losses))  # held back, the second fact takes as long or longer

    def test_one_learner_teaches_another_patch(self):
        learner, second = self.learner(max_steps=2, loss_below=-1), smft.Patch(self.model)
        learner.push("a", [("Who is a", " me")])
        learner.push("b", [("Who is b", " me")])
        learner.step()
        with self.assertRaises(smft.StateError):
            learner.patch = second
        self.assertIs(learner.patch, self.patch)
        learner.step()
        before = self.patch.slots(0)
        learner.patch = second
        self.assertIs(learner.patch, second)
        self.assertEqual(learner.run().facts_gave_up, 1)
        self.assertEqual(self.patch.slots(0), before)
        with self.assertRaises(smft.UnsupportedError):
            learner.patch = smft.Patch.full(self.model)

    def taught(self):
        patch = smft.Patch(self.model)
        learner = smft.Learner(self.model, patch, self.background(rule="all", damping=0.3), smft.Optimizer("sgd", lr=50), max_steps=20,
                               loss_below=5.5)
        for name, answer in (("a", " me"), ("caf\u00e9", " you")):
            learner.push(name, [("Who is it, then?", answer)])
        reports = list(learner)
        rows = [sorted({(pool, slot) for report in reports if report.fact_id == name for pool, slot, _ in report.selected})
                for name in ("a", "caf\u00e9")]
        return patch, rows

    def test_facts_are_kept(self):
        patch, rows = self.taught()
        self.assertEqual([(fact.id, fact.state, fact.wordings) for fact in patch.facts], [("a", "done", 1), ("caf\u00e9", "done", 1)])
        self.assertEqual([fact.rows for fact in patch.facts], rows)
        self.assertTrue(all(fact.reads >= len(fact.rows) > 0 for fact in patch.facts))
        path = self.directory / "facts.safetensors"
        patch.save(path)
        loaded, copy = smft.Patch.load(self.model, path), patch.copy()
        self.assertEqual((loaded.facts, copy.facts), (patch.facts, patch.facts))
        self.assertEqual(smft.Patch(self.model).load(path).facts, patch.facts)
        before = [list(patch.row(0, slot)) for slot in patch.slots(0)]
        patch.remove_fact(0)
        self.assertEqual(([fact.id for fact in patch.facts], len(copy.facts)), (["caf\u00e9"], 2))
        self.assertEqual([list(patch.row(0, slot)) for slot in patch.slots(0)], before)
        with self.assertRaises(smft.NotFoundError):
            patch.remove_fact(1)
        copy.clear()
        self.assertEqual((copy.facts, smft.Patch.full(self.model).facts), ([], []))

    def test_warmup(self):
        full = smft.Patch.full(self.model)
        learner = smft.Learner(self.model, full, None, smft.Optimizer("adamw", lr=1e-3, warmup_steps=4))
        rates = [learner.step_batch([[BOS, *b"Emma is by Jane"]]).lr for _ in range(6)]
        for got, share in zip(rates, (0.25, 0.5, 0.75, 1, 1, 1)):
            self.assertAlmostEqual(got, 1e-3 * share)
        with self.assertRaises(smft.InvalidError):
            smft.Optimizer("adamw", warmup_steps=-1)

    def trained(self, patch, optimizer):
        learner = smft.Learner(self.model, patch, None, optimizer, max_steps=3, loss_below=-1, keep_given_up=True)
        learner.push("emma", [("Who wrote Emma?", " Jane"), ("Emma is by", " Jane")])
        rates = {report.lr for report in learner}
        return rates, flat(smft.Session(self.model, patch).logits([BOS, *b"Who"]))

    def test_the_librarys_own_optimizer(self):
        for kind, lr, pools in (("full", 1e-5, 0.1), ("lora", 1e-4, 0.0)):
            rates, logits = self.trained(smft.Patch(self.model, kind), None)
            self.assertEqual(len(rates), 1)
            self.assertAlmostEqual(rates.pop(), lr, places=9)
            paper = smft.Optimizer("adamw", weight_decay=0.1, pool_weight_decay=pools, clip_norm=1)
            self.assertEqual(self.trained(smft.Patch(self.model, kind), paper)[1], logits, kind)
            self.assertNotEqual(self.trained(smft.Patch(self.model, kind), smft.Optimizer("sgd"))[1], logits, kind)

    def test_optimizer_checkpoint(self):
        optimizer = smft.Optimizer("adamw", lr=1e-2, keep_state=True)
        learner = smft.Learner(self.model, self.patch, smft.Selector(self.model, "tf"), optimizer, max_steps=1, loss_below=-1, keep_given_up=True)
        learner.push("a", [("Who?", " me")])
        learner.run()
        optimizer.save(self.directory / "optimizer.safetensors")
        smft.Optimizer("adamw", lr=1e-2, keep_state=True).load(self.model, self.directory / "optimizer.safetensors")
        optimizer.set_lr(1e-3)
        optimizer.reset()
        for wrong in (lambda: smft.Optimizer("adam"), lambda: smft.Optimizer(lr=float("nan")), lambda: smft.Selector(self.model, "best")):
            with self.assertRaises(smft.Error):
                wrong()


class Background(ModelTestCase):
    def test_counts(self):
        selector = smft.Selector(self.model, empty=True)
        self.assertEqual((list(selector.df(0)), selector.n_batches), ([0] * N_SLOTS, 0))
        one, two = [[BOS, 1, 2, 3], [BOS, 9, 8]], [[BOS, 7, 7, 7, 7]]
        seen = []
        selector.count_background([one, two, one], progress=lambda *at: seen.append(at))
        self.assertEqual(selector.n_batches, 3)
        self.assertTrue(seen)
        together = list(selector.df(0))
        parts = []
        for batch in (one, two, one):
            alone = smft.Selector(self.model, empty=True)
            alone.count_background([batch])
            parts.append(list(alone.df(0)))
            self.assertLessEqual(max(parts[-1]), 1)
        self.assertEqual(together, [sum(column) for column in zip(*parts)])
        path = self.directory / "counts.safetensors"
        selector.save(path)
        alone.load(path)
        self.assertEqual((list(alone.df(0)), alone.n_batches), (together, 3))
        if numpy is not None:
            self.assertEqual(selector.df(0).dtype, numpy.uint32)

    def test_all_or_nothing(self):
        selector = smft.Selector(self.model, empty=True)
        selector.count_background([[[BOS, 1, 2]]])
        before = list(selector.df(0))
        good = [[BOS, 3, 4]]
        for batches, error in (([good, [[1], [5000]]], smft.TokenError), ([good, []], smft.InvalidError), ([good, 7], TypeError)):
            with self.assertRaises(error):
                selector.count_background(batches)
            self.assertEqual((list(selector.df(0)), selector.n_batches), (before, 1))
        stages = []
        with self.assertRaises(smft.CancelledError):  # in the second of two groups
            selector.count_background([good, [[1], [2]]], progress=lambda stage, done, total: stages.append(total) or total == 2)
        self.assertEqual(set(stages), {1, 2})
        self.assertEqual((list(selector.df(0)), selector.n_batches), (before, 1))

    def test_texts(self):
        selector, plain = smft.Selector(self.model, empty=True), smft.Selector(self.model, empty=True)
        seen = []
        texts = (text for text in ("one line", b"another\nwith two", ""))
        selector.count_background(texts=texts, progress=lambda *at: seen.append(at))
        plain.count_background([[[BOS, *b"one line"]], [[BOS, *b"another\nwith two"]]])
        self.assertEqual((list(selector.df(0)), selector.n_batches), (list(plain.df(0)), 2))
        self.assertEqual(seen, [("background", 3, 3)])
        selector.count_background(texts=["x" * 40], tokens_per_sequence=10)
        self.assertEqual(selector.n_batches, 2 + 5)
        for wrong, error in ((dict(texts="one"), TypeError), (dict(texts=[1]), TypeError), (dict(texts=["a\0b"]), smft.InvalidError),
                             (dict(texts=[b"\xff"]), smft.EncodingError), (dict(), smft.InvalidError),
                             (dict(batches=[[[1]]], texts=["a"]), smft.InvalidError)):
            with self.assertRaises(error):
                selector.count_background(**wrong)
        with self.assertRaises(smft.CancelledError):
            selector.count_background(texts=["a"], progress=lambda *_: True)
        self.assertEqual(selector.n_batches, 2 + 5)

    def test_no_counts_are_warned_of(self):
        patch = smft.Patch(self.model)
        with self.assertWarns(smft.NoCountsWarning) as caught:
            selector = smft.Selector(self.model)
        self.assertEqual(caught.filename, __file__)
        self.assertIn("selector.count_background(texts=[...])", str(caught.warning))
        smft.Learner(self.model, patch, selector)  # once; tests run with warnings as errors
        empty = smft.Selector(self.model, empty=True)
        with self.assertWarns(smft.NoCountsWarning) as caught:
            smft.Learner(self.model, patch, empty)
        self.assertEqual(caught.filename, __file__)
        with self.assertWarns(smft.NoCountsWarning):
            learner = smft.Learner(self.model, patch)  # the library's own selector
        learner.selector.count_background(texts=["something else", "1 2 3", "ok"])
        learner.push("emma", [("Who wrote Emma?", "Jane Austen")])
        self.assertGreater(learner.step().rows_selected, 0)
        for quiet in (smft.Selector(self.model, "kl"), smft.Selector(self.model, "tf", empty=True), learner.selector):
            smft.Learner(self.model, patch, quiet)
        self.assertIsNone(smft.Learner(self.model, smft.Patch.full(self.model)).selector)

    def test_padding_and_files(self):
        padded, plain = smft.Selector(self.model, empty=True), smft.Selector(self.model, empty=True)
        padded.count_background([[[BOS, 1, 2, 0, 0]]], pad_id=0)
        plain.count_background([[[BOS, 1, 2]]])
        self.assertEqual(list(padded.df(0)), list(plain.df(0)))
        path = self.directory / "text.txt"
        path.write_text("one line\nanother\n")
        plain.count_background_file(path)
        self.assertEqual(plain.n_batches, 3)


class Tinymem(TestCase):
    """What reference.json says of two memory models, in float64 by an independent implementation."""

    def check(self, name):
        folder = shared(f"models/{name}")
        reference = json.loads((folder / "reference.json").read_text())
        model = smft.Model(folder)
        self.assertClose(flat(smft.Session(model).logits(reference["ids"])), flat(reference["logits"]))
        selector = smft.Selector(model, empty=True)
        selector.count_background(reference["background"])
        self.assertEqual(selector.n_batches, len(reference["background"]))
        for pool, df in reference["df"].items():
            self.assertEqual(list(selector.df(int(pool))), df)
        selector.save(folder_counts := self.directory / f"{name}.safetensors")
        for kind in ("sgd", "adamw"):
            for rows_per_step in (False, True):  # with every wording in the batch, and one step a fact, the same
                with self.subTest(model=name, optimizer=kind, rows_per_step=rows_per_step):
                    self.check_steps(model, folder_counts, reference, kind, rows_per_step)

    def check_steps(self, model, counts, reference, kind, rows_per_step):
        wanted = reference[kind]
        patch = smft.Patch(model)
        selector = smft.Selector(model, t=wanted["t"], empty=True, damping=0)  # the plain step of the paper
        selector.load(counts)
        optimizer = smft.Optimizer(kind, lr=wanted["lr"], keep_state=True)
        learner = smft.Learner(model, patch, selector, optimizer, max_steps=1, loss_below=-1, keep_given_up=True, wordings_per_step=None,
                               rows_per_step=rows_per_step)
        for i, batch in enumerate(reference["batches"]):
            learner.push_ids(f"fact {i}", [(one["prompt"], one["answer"]) for one in batch])
        for report, step in zip(learner, wanted["steps"]):
            self.assertAlmostEqual(report.loss, step["loss"], delta=1e-4 * max(1, step["loss"]))
            norm = step["selected_gradient_norm"]
            self.assertAlmostEqual(report.gradient_norm, norm, delta=1e-4 * max(1, norm))
            self.assertEqual([(pool, slot) for pool, slot, _ in report.selected], [(pool, slot) for pool, slot, _ in step["selected"]])
            self.assertLess(max(abs(a[2] - b[2]) for a, b in zip(report.selected, step["selected"])), 1e-6)
        self.assertEqual(learner.pending, 0)
        self.assertEqual({slot for pool, slot, _ in wanted["rows"] if pool == 0}, set(patch.slots(0)))
        for pool, slot, row in wanted["rows"]:
            self.assertClose(patch.row(pool, slot), row)
        self.assertLess(distance(smft.Session(model, patch).logits(reference["ids"])[-1], wanted["last_logits_after"]), 1e-4)

    def test_replace(self):
        self.check("tinymem_replace")

    def test_shared_pool(self):
        self.check("tinymem_shared")


if __name__ == "__main__":
    unittest.main()
