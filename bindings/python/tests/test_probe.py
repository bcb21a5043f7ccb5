"""probe and score from Python; the C side is tests/api/test_probe.c."""
import json
import unittest

from support import VALUE_DIM, N_SLOTS, ModelTestCase, smft


class Probes(ModelTestCase):
    def setUp(self):
        super().setUp()
        self.patch = smft.Patch(self.model)
        self.session = smft.Session(self.model, self.patch)
        self.probe = smft.Probe()
        self.answer = self.session.generate("Who?", 32, stop="\n")

    def disturb(self):
        for slot in range(N_SLOTS):
            self.patch.set_row(0, slot, [float((slot * 31 + i * 17) % 13 - 6) for i in range(VALUE_DIM)])

    def test_before_and_after(self):
        self.probe.add_question("who", "Who?", ["no", self.answer])
        self.probe.add_text("text", "some text")
        self.probe.add_choice("choice", "It is", [" a", " b"], 0)
        seen = []
        self.probe.baseline(self.session, progress=lambda *at: seen.append(at))
        self.assertEqual(seen, [("questions", 0, 3), ("texts", 1, 3), ("choices", 2, 3), ("done", 3, 3)])
        self.disturb()
        report = self.probe.measure(self.session)
        self.assertEqual((report.n_questions, report.n_texts, report.n_choices), (1, 1, 1))
        self.assertEqual((report.f1_before, report.exact_match_before), (1.0, 1.0))
        self.assertLess(report.f1, 1)
        self.assertGreater(report.kl, 0)
        self.assertAlmostEqual(report.nll_before, smft.Session(self.model).nll(self.model.tokenizer.encode("some text")), places=4)
        who, text, choice = self.probe.items()
        self.assertEqual((who.id, who.kind, text.kind, choice.kind), ("who", "question", "text", "choice"))
        self.assertEqual((who.before, who.after, who.lost), (1.0, report.f1, report.f1 < 0.5))
        self.assertEqual(who.text, self.session.generate("Who?", 32, stop="\n"))
        self.assertEqual((text.before, text.after), (report.nll_before, report.nll))
        self.probe.save_report(self.directory / "report.json")
        saved = json.loads((self.directory / "report.json").read_text())
        self.assertEqual((saved["f1"], saved["kl"], len(saved["items"])), (report.f1, report.kl, 3))
        self.assertEqual((saved["items"][0]["text"], saved["items"][0]["text_before"]), (who.text, self.answer))
        self.patch.clear()
        report = self.probe.measure(self.session)
        self.assertEqual((report.f1_change, report.nll_change, report.kl, report.lost), (0, 0, 0, 0))

    def test_file(self):
        path = self.directory / "items.jsonl"
        lines = [{"id": "q", "question": "Who?", "answers": ["x"]}, {"id": "t", "text": "é"}]
        path.write_text("\n".join(map(json.dumps, lines)))
        self.assertEqual(self.probe.add_file(path), 2)
        path.write_text(json.dumps(lines[0]) + "\n{}")
        with self.assertRaises(smft.FormatError) as caught:
            self.probe.add_file(path)
        self.assertIn(":2:", str(caught.exception))
        self.assertEqual([item.id for item in self.probe.items()], ["q", "t"])

    def test_failures(self):
        with self.assertRaises(smft.StateError):
            self.probe.baseline(self.session)
        self.probe.add_text("t", "some text")
        with self.assertRaises(smft.StateError):
            self.probe.measure(self.session)
        with self.assertRaises(smft.CancelledError):
            self.probe.baseline(self.session, progress=lambda *_: True)
        for call, error in ((lambda: self.probe.add_question("q", "Who?", "one text"), TypeError),
                            (lambda: self.probe.add_question("q", "Who?", []), smft.InvalidError),
                            (lambda: self.probe.add_text("t", ""), smft.InvalidError),
                            (lambda: self.probe.add_choice("c", "a", [" b", " c"], 2), smft.InvalidError),
                            (lambda: smft.Probe(lost_below=2.0), smft.InvalidError)):
            with self.assertRaises(error):
                call()


    def test_endings_are_joined_as_running_text(self):
        """Two equal endings: the first wins. So " a" and "a" are the same, but not in an exact probe."""
        for exact, wins in ((False, 2), (True, 1)):
            probe = smft.Probe(exact=exact)
            probe.add_choice("one", "It is", [" a", "a"], 0)
            probe.add_choice("two", "It is", ["a", " a"], 0)
            probe.baseline(self.session)
            self.assertEqual(sum(item.before for item in probe.items()), wins)


class Scores(unittest.TestCase):
    def test_aliases(self):
        self.assertEqual(smft.score_answer(" The Montreal!\n", ["Ville-Marie", "montreal"]), (1.0, 1.0))
        match, f1 = smft.score_answer("Jane", ["Jane Austen"])
        self.assertEqual((match, round(f1, 6)), (0.0, round(2 / 3, 6)))
        with self.assertRaises(smft.InvalidError):
            smft.score_answer("x", [])
        with self.assertRaises(smft.EncodingError):
            smft.score_answer(b"\xff", ["x"])


if __name__ == "__main__":
    unittest.main()
