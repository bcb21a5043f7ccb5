"""graft: the Python side of smft_graft; what is computed is for the C tests of that name."""
import json
import unittest

from support import TestCase, smft, write_model

PROSE = ["The cat sat on the mat and looked at the dog.", b"Five fish swim in a tank.", "",
         "Zoe plays the harp; Quentin prefers jazz, by far."]
IDS = [[256, 5, 9, 31, 44, 7, 8, 9], [256, 90, 91, 92, 93]]
SIZES = {"n_keys": 6, "heads": 2, "rank": 12, "key_dim": 6, "top_k": 2}


class Graft(TestCase):
    def setUp(self):
        super().setUp()
        directory = write_model(self.directory / "base", memory=False)
        smft.Model.init(directory, seed=7).export(directory)
        self.base = smft.Model(directory)
        self.addCleanup(self.base.close)
        self.path = self.directory / "grafted"

    def memory(self):
        return json.loads((self.path / "config.json").read_text())["memory"]

    def test_a_grafted_model(self):
        seen = []
        n_tokens = sum(len(self.base.tokenizer.encode(text)) for text in PROSE if text) + 13
        report = smft.graft(self.base, PROSE + IDS, self.path,
                            progress=lambda *call: seen.append(call), **SIZES)
        self.assertEqual((report.n_tokens, report.n_samples), (n_tokens, n_tokens))
        self.assertEqual((report.n_layers, report.n_sequences), (1, 5))
        self.assertGreater(report.step_length, report.state_length)
        self.assertEqual(len({stage for stage, _, _ in seen}), 4)
        with smft.Model(self.path) as model:
            self.assertEqual(model.info.n_memories, 1)
            selector = smft.Selector(model)
            self.assertEqual(selector.n_batches, 5)
            with smft.Session(self.base) as plain, smft.Session(model) as grafted:
                for session in plain, grafted:
                    session.feed(IDS[0])
                self.assertEqual(plain.generate("The cat", max_tokens=8),
                                 grafted.generate("The cat", max_tokens=8))

    def test_options(self):
        smft.graft(self.base, PROSE, self.path, layers=[0, 1], shared_pool=True, keys="random",
                   damping_by="df", rank_by="counts", t=9, max_df=-1, step_length=5,
                   loss_below=.3, max_steps=8, wordings_per_step=2, frames=False, temperature=2,
                   momentum=.25, length_by_loss=True, **SIZES)
        memory = self.memory()
        self.assertEqual((memory["layers"], memory["pools"]), ([0, 1], [0, 0]))
        self.assertEqual(memory["temperature"], 2)
        self.assertEqual(memory["learn"], {
            "t": 9, "max_df": -1, "damping": .001, "damping_by": "df", "rank_by": "counts",
            "loss_below": .3, "wordings_per_step": 2, "frames": False, "step_length": 5,
            "max_steps": 8, "momentum": .25, "length_by_loss": True})

    def test_what_is_refused(self):
        with self.assertRaises(TypeError):
            smft.graft(self.base, "one text", self.path)
        with self.assertRaises(smft.InvalidError):
            smft.graft(self.base, [], self.path)
        with self.assertRaises(smft.InvalidError):
            smft.graft(self.base, PROSE, self.path, keys="best")
        with self.assertRaises(smft.InvalidError):
            smft.graft(self.base, PROSE, self.path, **{**SIZES, "rank": 33})
        with self.assertRaises(smft.TokenError):
            smft.graft(self.base, [[1, 100000]], self.path, **SIZES)
        with self.assertRaises(smft.CancelledError):
            smft.graft(self.base, PROSE, self.path, progress=lambda *_: True, **SIZES)
        self.assertFalse(self.path.exists())
        self.assertEqual([one.name for one in self.directory.iterdir()], ["base"])


if __name__ == "__main__":
    unittest.main()
