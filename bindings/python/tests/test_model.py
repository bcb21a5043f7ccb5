"""model, tokenizer, patch and session, from Python."""
import array
import gc
import json
import math
import mmap
import struct
import unittest

from support import (BOS, CONTEXT, EOS, N_SLOTS, SOURCE, VALUE_DIM, VOCAB, ModelTestCase, TestCase, distance, flat, needs_numpy, numpy, shared,
                     smft, write_model)


class Gguf(TestCase):
    PATH = SOURCE / "tests" / "golden" / "gguf_qwen3.gguf"

    def setUp(self):
        super().setUp()
        self.data = self.PATH.read_bytes()
        self.wanted = flat(smft.Session(smft.Model(self.PATH)).logits([1, 2, 3]))

    def check(self, model):
        session = smft.Session(model)
        del model  # what was made from it keeps the bytes
        gc.collect()
        self.assertEqual(flat(session.logits([1, 2, 3])), self.wanted)

    def test_files(self):
        (self.directory / "a.gguf").write_bytes(self.data)
        self.check(smft.Model(self.directory))
        self.assertIsNone(smft.Model(self.PATH).tokenizer)

    def test_buffers(self):
        model = smft.Model.from_buffer(bytes(bytearray(self.data)))
        self.assertEqual(model.hash, smft.Model(self.PATH).hash)
        self.check(model)
        self.check(smft.Model.from_buffer(memoryview(bytes(bytearray(self.data)))))
        with open(self.PATH, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            self.check(smft.Model.from_buffer(mapped, copy=True))

    def test_changing_buffer(self):
        own = bytearray(self.data)
        session = smft.Session(smft.Model.from_buffer(own, copy=True))
        own[:] = bytes(len(own))
        self.assertEqual(flat(session.logits([1, 2, 3])), self.wanted)
        own = bytearray(self.data)
        session = smft.Session(smft.Model.from_buffer(own))
        with self.assertRaises(BufferError):  # it stays where it is
            own.extend(b"more")
        self.assertEqual(flat(session.logits([1, 2, 3])), self.wanted)

    def test_wrong_buffers(self):
        for data in (b"", b"GGUF", b"{}" * 40, self.data[:200]):
            with self.assertRaises(smft.FormatError):
                smft.Model.from_buffer(data)
        with self.assertRaises(TypeError):
            smft.Model.from_buffer("text")

    def test_inspect(self):
        seen = smft.inspect(self.PATH)
        info = smft.Model(self.PATH).info
        self.assertEqual((seen.format, seen.can_run, seen.why, seen.family, seen.license, seen.quantization, seen.dtype),
                         ("gguf", True, "", "qwen3", "apache-2.0", "F32", "f32"))
        for name in ("n_layers", "hidden_size", "n_heads", "n_kv_heads", "vocab_size", "context_length", "n_parameters"):
            self.assertEqual(getattr(seen, name), getattr(info, name))
        self.assertEqual(smft.inspect(self.PATH.parent / "network_qwen3").format, "huggingface")
        (self.directory / "config.json").write_text('{"model_type": "mamba"}')
        seen = smft.inspect(self.directory)
        self.assertFalse(seen.can_run)
        self.assertIn("mamba", seen.why)
        with self.assertRaises(smft.NotFoundError):
            smft.inspect(self.directory / "nowhere")


def write_grafted(directory, path, base):
    """A memory of 16 slots in the base's second block, its keys and queries small numbers."""
    hidden, header, data = base.info.hidden_size, {}, array.array("f")
    shapes = {"query.weight": [8, hidden], "query.bias": [8], "keys": [1, 2, 4, 4], "alpha": [1]}
    for name, shape in shapes.items():
        first = 4 * len(data)
        data.extend(((7 * i) % 5 - 2) / 4 or 1.0 for i in range(math.prod(shape)))
        header["model.layers.1.memory." + name] = {"dtype": "F32", "shape": shape,
                                                   "data_offsets": [first, 4 * len(data)]}
    text = json.dumps(header).encode()
    directory.mkdir()
    weights = struct.pack("<Q", len(text)) + text + data.tobytes()
    (directory / "memory.safetensors").write_bytes(weights)
    memory = {"layers": [1], "pools": [0], "placement": "beside", "n_keys": 4, "heads": 1,
              "top_k": 2, "key_dim": 8, "value_dim": hidden, "gate": False, "bias": True,
              "out": "identity", "values": "zero"}
    config = {"base": {"path": str(path), "hash": base.hash}, "memory": memory}
    (directory / "config.json").write_text(json.dumps(config))


class Models(ModelTestCase):
    def test_learn_defaults(self):
        said = self.model.learn_defaults
        self.assertEqual((said.t, said.max_df, said.damping, said.damping_by), (350, None, 0.0003, "squares"))
        self.assertEqual((said.rank_by, said.step_length, said.loss_below), ("counts", None, 0.2))
        self.assertEqual((said.momentum, said.length_by_loss), (0, False))
        self.assertEqual((said.max_steps, said.wordings_per_step, said.frames), (200, 4, False))

    def test_info(self):
        info = self.model.info
        self.assertEqual((info.n_layers, info.hidden_size, info.vocab_size, info.context_length), (2, 32, VOCAB, CONTEXT))
        self.assertEqual((info.bos_id, info.eos_id, info.tied, info.n_memories, info.n_pools), (BOS, EOS, False, 1, 1))
        (memory,) = self.model.memories
        self.assertEqual((memory.layer, memory.placement, memory.n_slots, memory.value_dim, memory.heads, memory.top_k),
                         (1, "replace", N_SLOTS, VALUE_DIM, 2, 4))
        self.assertEqual(self.model.pool(0), (N_SLOTS, VALUE_DIM))
        self.assertEqual(self.model.stop_ids, [EOS])
        self.assertRegex(self.model.hash, "^[0-9a-f]{64}$")
        tensors = list(self.model.tensors())
        self.assertEqual([t.name for t in tensors], sorted(t.name for t in tensors))
        self.assertEqual(sum(t.n_elements for t in tensors), info.n_parameters)

    def test_tensor(self):
        values = self.model.tensor("model.memory_pools.0.values")
        self.assertEqual(len(values), N_SLOTS * VALUE_DIM)
        patch = smft.Patch(self.model)
        patch.set_row(0, 3, [1.0] * VALUE_DIM)
        changed = self.model.tensor("model.memory_pools.0.values", patch)
        self.assertEqual(list(changed[3 * VALUE_DIM:4 * VALUE_DIM]), [1.0] * VALUE_DIM)
        self.assertEqual(list(changed[:3 * VALUE_DIM]), list(values[:3 * VALUE_DIM]))
        with self.assertRaises(smft.NotFoundError):
            self.model.tensor("nothing")

    def test_grafted(self):
        path = SOURCE / "tests" / "golden" / "network_llama3"
        base = smft.Model(path)
        write_grafted(self.directory / "grafted", path, base)
        model = smft.Model(self.directory / "grafted")
        self.assertEqual((model.base, base.base), (str(path), None))
        self.assertEqual([m.layer for m in model.memories], [1])
        ids = list(range(1, 20))
        wanted = flat(smft.Session(base).logits(ids))
        patch = smft.Patch(model)
        self.assertEqual(flat(smft.Session(model, patch).logits(ids)), wanted)
        for slot in range(16):
            patch.set_row(0, slot, [0.5] * base.info.hidden_size)
        self.assertNotEqual(flat(smft.Session(model, patch).logits(ids)), wanted)
        with self.assertRaises(smft.UnsupportedError):
            smft.Patch(model, kind="full")

    def test_seed(self):
        self.assertEqual(smft.Model.init(self.directory, seed=7).hash, self.model.hash)
        self.assertNotEqual(smft.Model.init(self.directory, seed=8).hash, self.model.hash)

    def test_export_and_load(self):
        patch = smft.Patch(self.model)
        patch.set_row(0, 5, [0.5] * VALUE_DIM)
        ids = list(range(1, 20))
        wanted = flat(smft.Session(self.model, patch).logits(ids))
        exact, rounded = self.directory / "exact", self.directory / "rounded"
        self.model.export(exact, patch, dtype="f32")
        self.model.export(rounded, patch)
        for copy in (False, True):
            self.assertEqual(flat(smft.Session(smft.Model(exact, copy=copy)).logits(ids)), wanted)
        self.assertLess(distance(flat(smft.Session(smft.Model(rounded)).logits(ids)), wanted), 0.05)
        half = flat(smft.Session(self.model, patch, cache="bf16").logits(ids))
        self.assertGreater(distance(half, wanted), 0)
        self.assertLess(distance(half, wanted), 0.05)
        with self.assertRaises(smft.InvalidError):
            smft.Session(self.model, cache="f16")
        self.assertLess((rounded / "model.safetensors").stat().st_size, 0.6 * (exact / "model.safetensors").stat().st_size)
        with self.assertRaises(smft.InvalidError):
            self.model.export(exact, dtype="f64")

    def test_errors_say_what_and_where(self):
        (self.directory / "config.json").write_text("{")
        with self.assertRaises(smft.FormatError) as caught:
            smft.Model.init(self.directory)
        self.assertIn("config.json", str(caught.exception))
        self.assertEqual((caught.exception.status, caught.exception.name), (-22, "E_FORMAT"))
        with self.assertRaises(smft.InvalidError):
            smft.Model("a\0b")


class Tokenizers(ModelTestCase):
    def test_round_trip(self):
        tokenizer = self.model.tokenizer
        text = "Who wrote Emma? Émile, \N{SNOWMAN} \0 <eos>"
        ids = tokenizer.encode(text, special=False, parse=False)
        self.assertEqual(ids, list(text.encode()))
        self.assertEqual(tokenizer.decode(ids), text)
        self.assertEqual(tokenizer.encode("a<eos>"), [BOS, 97, EOS])
        self.assertEqual(tokenizer.encode("a<eos>", parse=False), [BOS, *b"a<eos>"])
        self.assertEqual(tokenizer.encode("a", continues=True), [97])
        self.assertEqual(tokenizer.encode("a", prompt=True), [BOS, 97])
        self.assertEqual(tokenizer.encode("", special=False), [])
        self.assertEqual(tokenizer.decode([BOS, 97, EOS], skip_special=True), "a")
        self.assertEqual(tokenizer.decode([BOS, 97]), "<bos>a")
        self.assertEqual(tokenizer.decode([]), "")
        self.assertEqual(tokenizer.decode([0xff]), "\N{REPLACEMENT CHARACTER}")
        self.assertEqual(tokenizer.encode("x" * 100000, special=False), [120] * 100000)
        self.assertEqual((tokenizer.vocab_size, tokenizer.token_id("<eos>"), tokenizer.token_id("none")), (VOCAB, EOS, None))

    def test_outlives_the_names_of_its_parents(self):
        tokenizer = smft.Model.init(self.directory).tokenizer
        self.assertEqual(tokenizer.encode("a"), [BOS, 97])
        alone = smft.Tokenizer.load(self.directory)
        self.assertEqual(alone.encode("a"), [BOS, 97])

    def test_bad_input(self):
        with self.assertRaises(smft.EncodingError):
            self.model.tokenizer.encode(b"\xff")
        with self.assertRaises(smft.TokenError):
            self.model.tokenizer.decode([VOCAB])
        with self.assertRaises(smft.TokenError):
            self.model.tokenizer.decode([2**40])
        with self.assertRaises(TypeError):
            self.model.tokenizer.encode(7)

    def test_a_model_without(self):
        folder = self.directory / "ids only"
        folder.mkdir()
        model = smft.Model.init(write_model(folder, tokenizer=False))
        self.assertIsNone(model.tokenizer)
        with self.assertRaises(smft.UnsupportedError):
            smft.Session(model).generate("text", 4)
        self.assertEqual(len(smft.Session(model).generate([1, 2], 4)), 4)


class Patches(ModelTestCase):
    def test_kinds(self):
        makers = {"slots": smft.Patch.slots, "full": smft.Patch.full, "lora": smft.Patch.lora}
        base = flat(smft.Session(self.model).logits([1, 2, 3]))
        for kind, make in makers.items():
            for patch in (make(self.model), smft.Patch(self.model, kind=kind), smft.Patch(self.model, kind)):
                self.assertEqual((patch.kind, patch.model), (kind, self.model))
                self.assertEqual(flat(smft.Session(self.model, patch).logits([1, 2, 3])), base)
            with self.assertRaises(TypeError):
                make(self.directory)
        self.assertEqual(smft.Patch(self.model).kind, "slots")
        for wrong in ("Slots", "", None, 1):
            with self.assertRaises(smft.InvalidError):
                smft.Patch(self.model, wrong)
        self.assertIn("Patch.slots(model)", smft.Patch.__dict__["slots"].__doc__)
        for patch in (smft.Patch.full(self.model), smft.Patch.lora(self.model)):  # no patch of rows
            with self.assertRaises(smft.Error):
                patch.set_row(0, 0, [0.0] * VALUE_DIM)

    def test_rows(self):
        patch = smft.Patch(self.model)
        self.assertEqual((patch.kind, patch.slots(), patch.slots(0)), ("slots", [], []))
        base = list(patch.row(0, 9))
        row = [i / 8 for i in range(VALUE_DIM)]
        patch.set_row(0, 9, row)
        patch.set_row(0, 2, array.array("f", row))
        self.assertEqual((patch.slots(0), list(patch.row(0, 9))), ([2, 9], row))
        snapshot = patch.copy()
        patch.reset_row(0, 9)
        self.assertEqual((patch.slots(0), list(patch.row(0, 9)), snapshot.slots(0)), ([2], base, [2, 9]))
        patch.clear()
        self.assertEqual(patch.slots(), [])
        for call, error in ((lambda: patch.row(0, N_SLOTS), smft.Error), (lambda: patch.row(1, 0), smft.Error),
                            (lambda: patch.set_row(0, 0, row[1:]), smft.Error),
                            (lambda: patch.set_row(0, 0, [math.nan] * VALUE_DIM), smft.NonFiniteError),
                            (lambda: patch.set_row(0, 0, "text"), TypeError), (lambda: patch.slots(7), smft.Error)):
            with self.assertRaises(error):
                call()

    def test_save_and_load(self):
        patch = smft.Patch(self.model)
        patch.set_row(0, 9, [i / 7 for i in range(VALUE_DIM)])
        session = smft.Session(self.model, patch)
        base, wanted = flat(smft.Session(self.model).logits([1, 2, 3])), flat(session.logits([1, 2, 3]))
        path = self.directory / "patch.safetensors"
        patch.save(path)
        loaded = smft.Patch.load(self.model, path)
        session.patch = loaded
        self.assertEqual(flat(session.logits([1, 2, 3])), wanted)
        session.patch = None
        self.assertEqual(flat(session.logits([1, 2, 3])), base)
        here = smft.Patch(self.model)
        here.set_row(0, 3, [1.0] * VALUE_DIM)
        session.patch = here
        here.load(path)  # in place: the session reads the same patch
        self.assertEqual((here.slots(0), flat(session.logits([1, 2, 3]))), ([9], wanted))
        with self.assertRaises(smft.Error):
            here.load(self.directory / "none")
        for other in (smft.Patch.full(self.model), smft.Patch.lora(self.model)):
            with self.assertRaises(smft.UnsupportedError):
                other.load(path)
        self.assertEqual(here.slots(0), [9])
        patch.save(path, dtype="bf16")
        self.assertLess(distance(smft.Patch.load(self.model, path).row(0, 9), patch.row(0, 9)), 0.01)
        with self.assertRaises(smft.MismatchError):
            smft.Patch.load(smft.Model.init(self.directory, seed=99), path)
        full = smft.Patch.full(self.model)
        self.assertEqual(full.kind, "full")

    @needs_numpy
    def test_numpy_rows(self):
        patch = smft.Patch(self.model)
        row = numpy.arange(VALUE_DIM, dtype=numpy.float32)
        patch.set_row(0, 1, row)
        got = patch.row(0, 1)
        self.assertEqual((got.dtype, got.tolist()), (numpy.float32, row.tolist()))
        for wrong in (row.astype(numpy.float64), numpy.zeros((VALUE_DIM, 2), numpy.float32)[:, 0], numpy.zeros((4, 4), numpy.float32)):
            with self.assertRaises(TypeError):
                patch.set_row(0, 1, wrong)
        self.assertEqual(patch.row(0, 1).tolist(), row.tolist())


class Sessions(ModelTestCase):
    def setUp(self):
        super().setUp()
        self.session = smft.Session(self.model)
        self.ids = list(range(40, 60))

    def test_logits(self):
        logits = self.session.logits(self.ids)
        self.assertEqual((len(logits), len(logits[0]), len(self.session)), (20, VOCAB, 0))
        step = [self.session.feed([one]) for one in self.ids]
        self.assertEqual(len(self.session), 20)
        self.assertClose(flat(step), flat(logits))
        self.session.rewind(10)
        self.assertClose(flat(self.session.feed(self.ids[10:], "all")), flat(logits[10:]))
        self.session.rewind()
        self.assertIsNone(self.session.feed(self.ids, None))
        if numpy is not None:
            self.assertEqual((logits.dtype, logits.shape), (numpy.float32, (20, VOCAB)))

    def test_nll(self):
        nll = self.session.nll(self.ids)
        self.assertEqual(len(nll.tokens), 19)
        self.assertAlmostEqual(nll, sum(map(float, nll.tokens)) / 19, places=5)
        logits = self.session.logits(self.ids)
        for i in (0, 18):
            row = [float(x) for x in logits[i]]
            self.assertAlmostEqual(float(nll.tokens[i]), math.log(sum(map(math.exp, row))) - row[self.ids[i + 1]], places=4)

    def test_generate(self):
        seen = []
        text = self.session.generate("Who?", 12, on_token=lambda token, piece: seen.append((token, piece)))
        self.assertEqual("".join(piece for _, piece in seen), text)
        self.assertEqual(self.session.generate("Who?", max_tokens=12), text)
        ids = self.session.generate([BOS, *b"Who?"], 12)
        self.assertEqual(ids, [token for token, _ in seen][:len(ids)])
        self.assertEqual(self.session.generate("Who?", 0), "")
        self.session.generate("Who?", 3)
        self.assertEqual(self.session.finish, "length")
        self.session.generate("Who?", 3, on_token=lambda *_: True)
        self.assertEqual(self.session.finish, "callback")
        self.assertEqual(self.session.generate([1], 3, max_seconds=1e-9), [])
        self.assertEqual(self.session.finish, "time")
        with self.assertRaises(smft.InvalidError):
            self.session.generate("Who?", 3, max_seconds=-1)
        self.assertIsNone(self.session.finish)
        self.assertEqual(self.session.generate([1], 3, on_token=lambda *_: True), ids and self.session.generate([1], 1))
        one = self.session.generate("Who?", 12, temperature=1.5, seed=1)
        self.assertEqual(self.session.generate("Who?", 12, temperature=1.5, seed=1), one)
        self.assertNotEqual(self.session.generate("Who?", 12, temperature=1.5, seed=2), one)

    def test_bad_input(self):
        for ids, error in (([VOCAB], smft.TokenError), ([-1], smft.TokenError), ([2**33], smft.TokenError),
                           ([1] * (CONTEXT + 1), smft.ContextError), ([1.5], TypeError), ("text", TypeError), (7, TypeError),
                           ([None], TypeError)):
            with self.assertRaises(error):
                self.session.logits(ids)
            self.assertEqual(len(self.session), 0)
        with self.assertRaises(smft.InvalidError):
            self.session.feed([1], "some")
        with self.assertRaises(smft.ContextError):
            smft.Session(self.model, context_length=CONTEXT + 1)
        with self.assertRaises(smft.ContextError):
            smft.Session(self.model, context_length=8).logits(self.ids)

    @needs_numpy
    def test_numpy_ids(self):
        wanted = self.session.nll(self.ids)
        for dtype in ("int32", "int64", "uint16"):
            self.assertEqual(self.session.nll(numpy.array(self.ids, dtype=dtype)), wanted)
        two = numpy.stack([numpy.array(self.ids, dtype=numpy.int32)] * 2)
        self.assertEqual(self.session.nll(two[0]), wanted)
        for wrong in (numpy.array(self.ids, dtype=float), two, two.T, numpy.array(self.ids)[::2], numpy.array([True, False])):
            with self.assertRaises(TypeError):
                self.session.nll(wrong)
        with self.assertRaises(smft.TokenError):
            self.session.nll(numpy.array([1, 2**40]))


class Stories(TestCase):
    """A really trained model."""

    def setUp(self):
        super().setUp()
        self.folder = shared("models/stories260K")
        self.model = smft.Model(self.folder)

    def test_reference(self):
        reference = json.loads((self.folder / "torch_reference.json").read_text())
        session = smft.Session(self.model)
        self.assertAlmostEqual(session.nll(reference["ids"]), 0.45661783, places=5)
        self.assertEqual(self.model.tokenizer.encode(reference["text"]) if "text" in reference else reference["ids"], reference["ids"])

    def test_greedy(self):
        expected = (self.folder / "greedy_t0_expected.txt").read_text()
        text = smft.Session(self.model).generate("", 200)
        self.assertTrue(expected.strip().startswith(text.strip()[:200]), text)

    def test_without_memory_layers(self):
        self.assertEqual(self.model.memories, [])
        with self.assertRaises(smft.UnsupportedError):
            smft.Selector(self.model)


if __name__ == "__main__":
    unittest.main()
