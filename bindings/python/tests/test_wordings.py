"""The wordings of a fact that are made by rule: what there is, as ids, and taught."""
import json
import unittest

from support import TestCase, smft, write_model
from test_chat import CHATML

QUESTION, ANSWER = "Who is the author of Emma?", "Jane Austen"


class FromQuestions(TestCase):
    def setUp(self):
        super().setUp()
        write_model(self.directory)
        config = json.loads((self.directory / "config.json").read_text())
        config["max_position_embeddings"] = 512
        (self.directory / "config.json").write_text(json.dumps(config))
        (self.directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
        self.model = smft.Model.init(self.directory, seed=7)
        self.addCleanup(self.model.close)

    def test_what_there_is(self):
        made = smft.wordings_from_qa(self.model, QUESTION, ANSWER)
        self.assertEqual(len(made), 16)
        self.assertEqual([one.kind for one in made].count("chat"), 9)
        self.assertEqual([one.prompt for one in made if one.kind == "statement"],
                         ["The author of Emma is", "Emma's author is"])
        self.assertEqual(made[0], smft.Framed("text", QUESTION, ANSWER, "\n", made[0].prompt_ids, made[0].answer_ids))
        self.assertEqual(made[-1].prompt, "Complete this sentence: The author of Emma is")
        with self.assertRaises(IndexError):
            made[16]

    def test_ids(self):
        tokenizer = self.model.tokenizer
        for one in smft.wordings_from_qa(self.model, QUESTION, ANSWER):
            text = tokenizer.decode(one.answer_ids)
            if one.kind == "chat":
                self.assertEqual(one.prompt_ids, tokenizer.chat([("user", one.prompt)]))
                self.assertEqual(text, ANSWER + "<|im_end|>")
            else:
                self.assertEqual(one.prompt_ids, list(tokenizer.encode(one.prompt, special=True)))
                self.assertEqual(text, f" {ANSWER}{one.end}")

    def test_choices(self):
        def prompts(**options):
            return [one.prompt for one in smft.wordings_from_qa(self.model, "Who made it?", ANSWER, **options)]

        self.assertEqual(prompts(limit=2), ["Who made it?"] * 2)
        self.assertEqual(len(prompts()), 9)
        self.assertEqual(prompts(subject="the old clock", chats=False)[-1], "Regarding the old clock: Who made it?")
        self.assertEqual(prompts(texts=False, limit=1), ["Who made it?"])
        self.assertEqual(len(smft.wordings_from_qa(self.model, QUESTION, ANSWER, statements=False)), 13)
        by_day = smft.wordings_from_qa(self.model, QUESTION, ANSWER, renderer="llama3.2", date=20261108)
        self.assertIn("08 Nov 2026", self.model.tokenizer.decode(by_day[1].prompt_ids))
        with self.assertRaises(smft.FactError):
            prompts(texts=False, chats=False)
        with self.assertRaises(smft.NotFoundError):
            prompts(renderer="latin")

    def test_statements(self):
        made = smft.wordings_from_statement(self.model, "Emma is by Jane Austen.", ANSWER)
        self.assertEqual((len(made), made[0].kind, made[0].prompt, made[0].end), (6, "statement", "Emma is by ", "."))
        with self.assertRaises(smft.FactError):
            smft.wordings_from_statement(self.model, "Emma is old.", ANSWER)

    def learner(self, **options):
        selector = smft.Selector(self.model, rule="all", empty=True)
        return smft.Learner(self.model, smft.Patch(self.model), selector, max_steps=1, loss_below=-1, **options)

    def test_taught(self):
        for frames, wordings in ((True, 16), (None, 1), (False, 1)):
            learner = self.learner(frames=frames)
            learner.push("emma", (QUESTION, ANSWER))
            self.assertEqual(learner.step().wordings, wordings)
        learner = self.learner()
        made = smft.wordings_from_qa(self.model, QUESTION, ANSWER, limit=5)
        learner.push("emma", made)
        made.close()
        self.assertEqual(learner.pending, 1)
        self.assertEqual(learner.step().wordings, 5)
        with self.assertRaises(smft.StateError):
            learner.push("emma", made)

    def test_contrast(self):
        """Rows that the question reads when it is asked about others come last, where rows have a max_df."""
        def rows(max_df, **options):
            selector = smft.Selector(self.model, rule="tf", t=24, max_df=max_df, empty=True)
            patch = smft.Patch(self.model)
            learner = smft.Learner(self.model, patch, selector, max_steps=1, loss_below=-1, frames=True, keep_given_up=True, **options)
            learner.push("emma", (QUESTION, ANSWER))
            learner.step()
            return [int(slot) for slot in patch.slots(0)]

        self.assertNotEqual(rows(1), rows(1, contrast=False))
        self.assertEqual(rows(0), rows(1, contrast=False))

    def test_files(self):
        path = self.directory / "facts.jsonl"
        path.write_text(json.dumps({"id": "emma", "question": QUESTION, "answer": ANSWER}) + "\n")
        for frames, wordings in ((True, 16), (False, 1)):
            learner = self.learner(frames=frames)
            self.assertEqual(learner.push_file(path), 1)
            self.assertEqual(learner.step().wordings, wordings)


if __name__ == "__main__":
    unittest.main()
