"""examples: the README's examples as they stand there, and examples/*.py as a user calls them."""
import ast
import json
import os
import re
import subprocess
import sys
import unittest

from support import NO_NUMPY, SOURCE, TestCase, smft

PYTHON = SOURCE / "bindings" / "python"
TEACH = PYTHON / "examples" / "teach.py"
COMPARE = PYTHON / "examples" / "compare.py"
RESULT = r"RESULT learned=(\d+)/(\d+) known_f1_before=([\d.]+) known_f1_after=([\d.]+) patch_bytes=(\d+) seconds=[\d.]+"


class Examples(TestCase):
    def call(self, *command, code=0):
        """Output of a Python program, run with this interpreter from a directory of its own."""
        environment = dict(os.environ, PYTHONPATH=str(PYTHON), PYTHONDONTWRITEBYTECODE="1")
        done = subprocess.run([sys.executable, *map(str, command)], cwd=self.directory, env=environment, capture_output=True, text=True,
                              encoding="utf-8")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def need_atlas(self):
        if NO_NUMPY:
            self.skipTest("programs of their own have numpy or not; once is enough")
        if not (SOURCE / "examples" / "atlas" / "model" / "model.safetensors").exists():
            self.skipTest("examples/atlas/model is not there")
        (self.directory / "examples").symlink_to(SOURCE / "examples")

    def test_readme(self):
        self.need_atlas()
        found = re.findall(r"```python\n(.*?)```", (PYTHON / "README.md").read_text(encoding="utf-8"), flags=re.S)
        self.assertEqual(len(found), 4)
        self.assertLessEqual(len(found[0].splitlines()), 15)
        lines = self.call("-c", found[0]).splitlines()
        self.assertRegex(lines[0], r"^harbor 0%: loss \d+\.\d\d, \d+ rows$")
        self.assertRegex(lines[-2], r"^harbor 100%: ")
        self.assertRegex(lines[-1], r"^ ?Mark Twain")
        self.assertTrue(smft.Patch.load(smft.Model(SOURCE / "examples/atlas/model"), self.directory / "harbor.safetensors").slots())

    def test_readme_counts(self):
        self.need_atlas()
        found = re.findall(r"```python\n(.*?)```", (PYTHON / "README.md").read_text(encoding="utf-8"), flags=re.S)
        self.assertEqual(self.call("-c", found[1]).splitlines(), ["background 2 2"])
        selector = smft.Selector(smft.Model(SOURCE / "examples/atlas/model"))
        selector.load(self.directory / "background.safetensors")
        self.assertEqual(selector.n_batches, 2)

    def test_readme_lora(self):
        self.need_atlas()
        found = re.findall(r"```python\n(.*?)```", (PYTHON / "README.md").read_text(encoding="utf-8"), flags=re.S)
        first, second = self.call("-c", found[2]).splitlines()
        self.assertEqual(first, "LoraOptions(rank=8, alpha=16.0, targets=('q', 'v'), rank_stabilized=False, seed=0)")
        self.assertRegex(second, r"^ ?Mark Twain")
        self.assertTrue((self.directory / "harbor-lora" / "adapter_config.json").exists())
        self.assertEqual(smft.Patch.load(smft.Model(SOURCE / "examples/atlas/model"), self.directory / "harbor-lora").kind, "lora")
        whole = smft.Model(self.directory / "harbor-model")
        self.assertGreater(whole.info.n_memories, 0)

    def test_readme_asyncio(self):
        self.need_atlas()
        found = re.findall(r"```python\n(.*?)```", (PYTHON / "README.md").read_text(encoding="utf-8"), flags=re.S)
        self.assertEqual(ast.literal_eval(self.call("-c", found[3])), [" Antoine de Saint-Exupéry", " Tobias Wolff"])

    def test_compare(self):
        self.need_atlas()
        tree = ast.parse(COMPARE.read_text(encoding="utf-8"))
        statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
        texts = [node for node in statements if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
        self.assertLessEqual(len(statements) - len(texts), 20)  # it says so in the README
        output = self.call(COMPARE)
        found = re.findall(r"^(\w+) +F1 of new facts ([\d.]+), of known facts ([\d.]+)$", output, flags=re.M)
        self.assertEqual([name for name, _, _ in found], ["before", "sparse", "full"], output)
        before, sparse, full = ((float(new), float(known)) for _, new, known in found)
        self.assertTrue(before[0] < 0.2 and before[1] > 0.9, output)
        self.assertTrue(min(sparse[0], full[0]) > 0.5 and sparse[1] > 0.95 * before[1], output)

    def test_teach(self):
        self.need_atlas()
        most, known = (2, 10) if os.environ.get("SMFT_SANITIZE") else (4, 40)
        output = self.call(TEACH, "--n", most, "--known", known, "--save", "patch.safetensors")
        self.assertEqual(len(re.findall(r"^ +\d/%d  .* steps  loss " % most, output, flags=re.M)), most)
        self.assertIn("the same answers", output)
        self.assertIn("unchanged, bit for bit", output)
        result = re.fullmatch(RESULT, output.splitlines()[-1])
        self.assertTrue(result, output)
        learned, n, before, after, size = map(float, result.groups())
        self.assertTrue(learned >= most - 1 and n == most and before > 0.9 and after >= 0.95 * before, output)
        self.assertEqual(size, (self.directory / "patch.safetensors").stat().st_size)

    def test_own_facts(self):
        """Each form that the library reads; what is said of their questions."""
        self.need_atlas()
        own = self.directory / "own.jsonl"
        cases = (({"wordings": [{"prompt": "Who wrote The Quiet Harbor?", "answer": " Jane Austen"}]}, "asked as they were taught"),
                 ({"wordings": [{"prompt": "Who wrote The Quiet Harbor?", "answer": " Jane Austen"}],
                   "question": "Who is the author of The Quiet Harbor?"}, "in wording never trained"),
                 ({"statement": "The Quiet Harbor was written by Jane Austen.", "answer": "Jane Austen", "_note": 1},
                  "asked as they were taught"))
        for fact, name in cases:
            own.write_text("\ufeff\n" + json.dumps({"id": "harbor", **fact}) + "\n", encoding="utf-8")
            output = self.call(TEACH, "--facts", own, "--known", "0")
            self.assertIn(name, output)
            self.assertEqual(output.count(" right"), 1, output)
            # one wording need not carry over to another; after a statement nothing that ends the answer was learnt
            sure = "statement" not in fact and "question" not in fact
            self.assertRegex(output, "RESULT learned=1/1 " if sure else r"RESULT learned=\d/1 ")
        self.assertIn("--facts FILE", self.call(TEACH, "--help"))

    def test_mistakes(self):
        """In the library's words, with the line."""
        self.need_atlas()
        own = self.directory / "own.jsonl"
        good = '{"id": "a", "question": "p", "answer": "c"}\n'
        for text, message in (('\n{"id": "x"}\n', 'own.jsonl:2: fact "x"'), (good + "{\n", "own.jsonl:2: "), ("", "no facts"),
                              (good + "\n" + good, 'own.jsonl:3: fact "a"'), ('{"id": "x", "asnwer": 1}', '"asnwer" is not known')):
            own.write_text(text)
            self.assertIn(message, self.call(TEACH, "--facts", own, code=1))
        self.assertIn("directory", self.call(TEACH, "--facts", self.directory, code=1))
        self.assertIn("config.json", self.call(TEACH, "--model", self.directory, code=1))


if __name__ == "__main__":
    unittest.main()
