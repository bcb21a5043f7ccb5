"""errors: what is raised is the library's and, of files and values, Python's own kind, too."""

import errno
import importlib.util
import os
import pickle
import subprocess
import sys
import unittest

from support import NO_NUMPY, SOURCE, ModelTestCase, TestCase, smft


class Files(ModelTestCase):
    def test_a_missing_file(self):
        missing = self.directory / "nowhere" / "x"
        patch, probe, selector = (
            smft.Patch(self.model),
            smft.Probe(),
            smft.Selector(self.model, "tf", empty=True),
        )
        learner = smft.Learner(self.model, patch, selector)
        calls = [
            lambda path: smft.Model(path),
            lambda path: smft.inspect(path),
            lambda path: smft.Tokenizer.load(path),
            lambda path: smft.Patch.load(self.model, path),
            lambda path: patch.load(path),
            lambda path: patch.save(path),
            lambda path: smft.Patch.full(self.model).save(path),
            lambda path: selector.save(path),
            lambda path: selector.load(path),
            lambda path: selector.count_background_file(path),
            lambda path: learner.push_file(path),
            lambda path: probe.add_file(path),
            lambda path: smft.Optimizer("sgd").load(self.model, path),
            lambda path: smft.Model.init(path),
        ]
        for i, call in enumerate(calls):
            for path in (missing, str(missing), os.fsencode(missing)):
                with self.subTest(call=i, path=path):
                    with self.assertRaises(FileNotFoundError) as caught:
                        call(path)
                    error = caught.exception
                    self.assertIsInstance(error, smft.MissingFileError)
                    self.assertIsInstance(error, smft.NotFoundError)
                    self.assertEqual(
                        (error.status, error.name, error.errno), (-21, "E_NOT_FOUND", errno.ENOENT)
                    )
                    self.assertTrue(
                        os.fsdecode(error.filename).startswith(str(missing)), error.filename
                    )
                    self.assertIn("nowhere", str(error))
                    self.assertEqual(str(pickle.loads(pickle.dumps(error))), str(error))

    def test_a_file_missing_in_a_directory(self):
        (self.directory / "empty").mkdir()
        with self.assertRaises(smft.MissingFileError) as caught:
            smft.Model(self.directory / "empty")
        self.assertEqual(caught.exception.filename, str(self.directory / "empty" / "config.json"))
        os.remove(self.directory / "tokenizer.json")
        with self.assertRaises(smft.MissingFileError) as caught:
            smft.Model(self.directory)  # no weights: two names would do
        self.assertEqual(caught.exception.filename, str(self.directory))

    def test_a_file_that_cannot_be_read(self):
        for call in (
            lambda: smft.Selector(self.model, "tf", empty=True).load(self.directory),
            lambda: smft.Probe().add_file(self.directory),
        ):
            with self.assertRaises(smft.FileError) as caught:
                call()
            self.assertIsInstance(caught.exception, OSError)
            self.assertNotIsInstance(caught.exception, FileNotFoundError)
            self.assertEqual(caught.exception.filename, str(self.directory))
            self.assertIn(str(self.directory), str(caught.exception))

    def test_what_is_missing_elsewhere_is_no_file(self):
        for call in (
            lambda: self.model.tensor("nothing"),
            lambda: self.model.pool(9),
            lambda: smft.Patch(self.model).remove_fact(0),
        ):
            with self.assertRaises(smft.NotFoundError) as caught:
                call()
            self.assertNotIsInstance(caught.exception, OSError)
            self.assertIsInstance(caught.exception, LookupError)


class Texts(ModelTestCase):
    def test_half_of_a_pair(self):
        half = "a\ud800b"
        session, probe = smft.Session(self.model), smft.Probe()
        selector = smft.Selector(self.model, "tf", empty=True)
        learner = smft.Learner(self.model, smft.Patch(self.model), selector)
        for i, call in enumerate(
            (
                lambda: self.model.tokenizer.encode(half),
                lambda: self.model.tokenizer.token_id(half),
                lambda: session.generate(half),
                lambda: session.generate("a", stop=half),
                lambda: learner.push(half, ("a", "b")),
                lambda: learner.push("a", (half, "b")),
                lambda: learner.push("a", {"prompt": "a", "answer": half}),
                lambda: probe.add_text(half, "a"),
                lambda: probe.add_question("a", "b", [half]),
                lambda: smft.Probe(stop=half),
                lambda: smft.score_answer(half, ["a"]),
                lambda: selector.count_background(texts=[half]),
                lambda: smft.wordings_from_qa(self.model, half, "a"),
                lambda: smft.wordings_from_qa(self.model, "a", "b", subject=half),
                lambda: smft.Model(half),
                lambda: selector.save(half),
                lambda: self.model.tokenizer.chat([("user", half)]),
                lambda: smft.graft(self.model, [half], self.directory / "x"),
                lambda: smft.Optimizer("adamw").set_group(half, 1.0),
            )
        ):
            with self.subTest(call=i):
                with self.assertRaises(smft.EncodingError) as caught:
                    call()
                self.assertIsInstance(caught.exception, ValueError)
                self.assertNotIsInstance(caught.exception, UnicodeError)
        with self.assertRaises(smft.EncodingError) as caught:
            session.generate(half)
        self.assertEqual(
            str(caught.exception), "text: character 1 is half of a pair (U+D800): it has no UTF-8"
        )


class Types(TestCase):
    def test_the_package_is_typed(self):
        if NO_NUMPY or importlib.util.find_spec("mypy") is None:
            self.skipTest("mypy is not installed")
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(self.directory), "smft"],
            cwd=SOURCE / "bindings" / "python",
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
