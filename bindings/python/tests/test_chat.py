"""Conversations as ids: libsmft's renderers and jinja2 give the same; any template runs, in a sandbox."""
import datetime
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

from support import SOURCE, TestCase, shared, smft, write_model
from smft import chat

GOLDEN = json.loads((SOURCE / "tests/golden/chat.json").read_text("utf-8"))
DATE = GOLDEN["date"]
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
needs_jinja = unittest.skipUnless(chat.has_jinja(), "jinja2 is not there")


class Templates(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        write_model(self.folder)

    def tokenizer(self, template, **more):
        (self.folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, **more}))
        return smft.Tokenizer.load(self.folder)

    def test_what_it_knows(self):
        template = self.tokenizer(CHATML, bos_token="<s>").chat_template
        self.assertEqual((template.text, template.renderer, template.bos, template.eos), (CHATML, "chatml", "<s>", None))
        self.assertRegex(template.hash, "^[0-9a-f]{64}$")
        self.assertIsNone(self.tokenizer("{{ 1 }}").chat_template.renderer)

    def test_in_c(self):
        tokenizer = self.tokenizer(CHATML)
        text = "<|im_start|>user\nHi<|im_end|>\n"
        self.assertEqual(tokenizer.decode(tokenizer.chat([("user", "Hi")], answer=False)), text)
        self.assertEqual(tokenizer.decode(tokenizer.chat([{"role": "user", "content": "Hi"}])), text + "<|im_start|>assistant\n")
        long = tokenizer.chat([("user", "long " * 1000)])
        self.assertGreater(len(long), 1000)
        with self.assertRaisesRegex(smft.InvalidError, "System role not supported"):
            tokenizer.chat([("system", "x"), ("user", "y")], renderer="gemma2")
        with self.assertRaises(smft.NotFoundError):
            tokenizer.chat([("user", "x")], renderer="latin")
        with self.assertRaises(smft.InvalidError):
            tokenizer.chat([])
        with self.assertRaises(smft.InvalidError):
            tokenizer.chat(["hello"])
        day = datetime.date(2026, 11, 8)
        self.assertIn("08 Nov 2026", tokenizer.decode(tokenizer.chat([("user", "x")], renderer="llama3.2", date=day)))
        self.assertEqual(tokenizer.chat([("user", "x")], renderer="llama3.2", date=DATE),
                         tokenizer.chat([("user", "x")], renderer="llama3.2", date=day))
        with self.assertRaises(smft.InvalidError):
            tokenizer.chat([("user", "x")], renderer="llama3.2", date=20261301)

    @needs_jinja
    def test_any_template(self):
        tokenizer = self.tokenizer("{{ bos_token }}{% for m in messages if m.role != 'x' %}{% if m.role == 'y' %}{% break %}{% endif %}"
                                   "[{{ m.role }}:{{ m.content }}]{% endfor %}{{ tools | tojson }}{{ strftime_now('%Y') }}",
                                   bos_token="B")
        ids = tokenizer.chat([("user", "é"), ("x", "-"), ("assistant", "b"), ("y", ""), ("user", "c")], date=DATE, tools=["<"])
        self.assertEqual(tokenizer.decode(ids), 'B[user:é][assistant:b]["<"]2026')

    @needs_jinja
    def test_refusals(self):
        with self.assertRaisesRegex(smft.InvalidError, "not so"):
            self.tokenizer("{{ raise_exception('not so') }}").chat([("user", "x")])
        with self.assertRaises(smft.InvalidError):
            self.tokenizer("{% if %}").chat([("user", "x")])

    @needs_jinja
    def test_sandbox(self):
        for template in ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append(1) }}",
                         "{{ raise_exception.__globals__['json'].dumps }}"):
            with self.assertRaises(smft.InvalidError):
                self.tokenizer(template).chat([("user", "x")])

    @needs_jinja
    def test_users_write_no_tokens(self):
        tokenizer = self.tokenizer("{{ messages[0].content }}!")
        special = tokenizer.decode([smft.Model.init(self.folder).info.bos_id])
        with self.assertRaisesRegex(smft.InvalidError, "message 0 spells a special token"):
            tokenizer.chat([("user", "a" + special)])
        self.assertEqual(tokenizer.decode(tokenizer.chat([("user", "a" + special)], parse=True)), "a" + special + "!")

    def test_without_jinja(self):
        hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "jinja2"}
        sys.modules["jinja2"] = None
        try:
            self.assertFalse(chat.has_jinja())
            self.tokenizer(CHATML).chat([("user", "x")])
            with self.assertRaisesRegex(smft.UnsupportedError, "jinja2"):
                self.tokenizer("{{ 1 }}").chat([("user", "x")])
        finally:
            del sys.modules["jinja2"]
            sys.modules.update(hidden)

    @needs_jinja
    def test_templates_of_a_folder(self):
        """Every known template that is in SMFT_CHAT_TEMPLATES, both ways; the texts are not in this repository."""
        folder = os.environ.get("SMFT_CHAT_TEMPLATES")
        if not folder:
            self.skipTest("SMFT_CHAT_TEMPLATES names no folder of templates")
        known = set()
        for path in sorted(Path(folder).iterdir()):
            text = path.read_bytes().decode("utf-8")
            tokenizer = self.tokenizer(text, bos_token="<s>", eos_token="</s>")
            if tokenizer.chat_template.renderer:
                known.add(tokenizer.chat_template.renderer)
                both_ways(self, tokenizer)
        self.assertTrue(known)
        print("templates:", " ".join(sorted(known)), file=sys.stderr)


def both_ways(case, tokenizer):
    for conversation in GOLDEN["conversations"]:
        for answer, thinking in ((False, True), (True, True), (True, False)):
            try:
                in_c = tokenizer.chat(conversation, answer, thinking=thinking, date=DATE)
            except smft.InvalidError:
                in_c = None
            words = {} if thinking else {"enable_thinking": False}
            try:
                in_jinja = chat.ids_in_jinja(tokenizer.encode, tokenizer.chat_template, chat.normal_messages(conversation), answer,
                                             True, DATE, words)
            except smft.InvalidError:
                in_jinja = None
            case.assertEqual(in_c, in_jinja, (tokenizer.chat_template.renderer, conversation))


class RealTokenizers(TestCase):
    def check(self, name):
        tokenizer = smft.Tokenizer.load(shared(f"tok/{name}/tokenizer.json"))
        rows = GOLDEN["ids"][tokenizer.chat_template.hash]
        for conversation, (closed, opened) in zip(GOLDEN["conversations"], rows):
            self.assertEqual(tokenizer.chat(conversation, answer=False), closed)
            self.assertEqual(tokenizer.chat(conversation), opened)
        if not chat.has_jinja():
            self.skipTest("jinja2 is not there")
        both_ways(self, tokenizer)

    def test_llama3(self):
        self.check("hf_llama3")

    def test_qwen3(self):
        self.check("hf_qwen3")


if __name__ == "__main__":
    unittest.main()
