"""LoRA patches from Python: options, training, PEFT's files, merging; the C side is tests/unit/test_lora*.c."""
import json
import math
import struct
import unittest

from support import BOS, ModelTestCase, distance, flat, needs_numpy, numpy, smft, write_model

TEXT = [BOS, *b"Emma is by Jane"]
PREFIX = "base_model.model.model.layers."


def safetensors(path):
    """Name -> (dtype, shape, bytes), read without the library; and the metadata."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length:]
    return {name: (one["dtype"], one["shape"], body[slice(*one["data_offsets"])]) for name, one in header.items()}, metadata


def write_safetensors(path, tensors):
    """tensors: name -> (shape, floats)."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (shape, values) in tensors.items():
        one = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(one)]}
        body += one
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class Lora(ModelTestCase):
    def logits(self, patch=None):
        return flat(smft.Session(self.model, patch).logits(TEXT))

    def taught(self, **options):
        patch = smft.Patch.lora(self.model, **options)
        learner = smft.Learner(self.model, patch, None, smft.Optimizer("adamw", lr=1e-2))
        losses = [learner.step_batch([TEXT]).loss for _ in range(6)]
        self.assertLess(losses[-1], losses[0])
        self.assertGreater(distance(self.logits(patch), self.logits()), 1e-3)
        return patch

    def test_options(self):
        every = ("q", "k", "v", "o", "gate", "up", "down")
        self.assertEqual(smft.Patch.lora(self.model).lora_options, smft.LoraOptions(16, 32.0, every, False, 0))
        self.assertEqual(smft.Patch(self.model, kind="lora").lora_options, smft.Patch.lora(self.model).lora_options)
        patch = smft.Patch.lora(self.model, 4, 6, ["up", "q"], rank_stabilized=True, seed=2**64 - 1)
        self.assertEqual(patch.lora_options, smft.LoraOptions(4, 6.0, ("q", "up"), True, 2**64 - 1))
        self.assertEqual((patch.lora_options.scale, smft.Patch.lora(self.model, alpha=8).lora_options.scale), (3.0, 0.5))
        for targets in (("v",), {"v"}, iter(["v", "v"])):
            self.assertEqual(smft.Patch.lora(self.model, targets=targets).lora_options.targets, ("v",))
        self.assertEqual(smft.Patch.lora(self.model, targets=every).lora_options.targets, every)

    def test_bad_options(self):
        for options, error, said in (
                ({"rank": 0}, smft.InvalidError, "rank must be 1 or more, got 0"), ({"rank": -4}, smft.InvalidError, "got -4"),
                ({"rank": 65537}, smft.InvalidError, "smft_lora_options.rank"), ({"rank": 2**32 + 1}, smft.InvalidError, "4294967297"),
                ({"rank": 1.5}, TypeError, ""), ({"rank": "16"}, TypeError, ""), ({"rank": None}, TypeError, ""),
                ({"alpha": 0}, smft.InvalidError, "None is 2 * rank"), ({"alpha": -1}, smft.InvalidError, "alpha"),
                ({"alpha": math.nan}, smft.InvalidError, "alpha"), ({"alpha": math.inf}, smft.InvalidError, "alpha"),
                ({"alpha": "x"}, TypeError, ""), ({"targets": []}, smft.InvalidError, "'all' or a list"),
                ({"targets": "q"}, smft.InvalidError, "got 'q'"), ({"targets": ["q_proj"]}, smft.InvalidError, "'gate', 'up', 'down'"),
                ({"targets": ["q", 7]}, smft.InvalidError, "['q', 7]"), ({"targets": None}, TypeError, ""),
                ({"seed": "x"}, TypeError, "")):
            with self.subTest(options=options), self.assertRaises(error) as caught:
                smft.Patch.lora(self.model, **options)
            self.assertIn(said, str(caught.exception))
        for patch in (smft.Patch.slots(self.model), smft.Patch.full(self.model)):
            with self.assertRaises(smft.UnsupportedError):
                patch.lora_options

    def test_a_model_without_the_matrices(self):
        folder = self.directory / "all memory"  # no block has an FFN
        folder.mkdir()
        config = json.loads((write_model(folder) / "config.json").read_text())
        config["memory"].update(layers=[0, 1], pools=[0, 0])
        (folder / "config.json").write_text(json.dumps(config))
        model = smft.Model.init(folder)
        self.assertEqual(smft.Patch.lora(model).lora_options.targets, ("q", "k", "v", "o"))
        with self.assertRaises(smft.UnsupportedError):
            smft.Patch.lora(model, targets=["up", "down"])

    def test_training(self):
        patch = self.taught(rank=4)
        with self.assertRaises(smft.UnsupportedError):
            patch.slots(0)
        snapshot, learnt = patch.copy(), self.logits(patch)
        self.assertEqual(snapshot.lora_options, patch.lora_options)
        patch.clear()
        self.assertEqual((self.logits(patch), self.logits(snapshot)), (self.logits(), learnt))
        seeds = [self.logits(self.taught(rank=4, seed=seed)) for seed in (0, 1)]
        self.assertEqual(seeds[0], learnt)  # again, bit for bit
        self.assertNotEqual(seeds[1], learnt)
        narrow = self.taught(rank=4, targets=["q"])
        changed = {tensor.name for tensor in self.model.tensors()
                   if list(self.model.tensor(tensor.name, narrow)) != list(self.model.tensor(tensor.name))}
        self.assertEqual(changed, {f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1)})

    def test_a_fact_and_groups(self):
        patch, optimizer = smft.Patch.lora(self.model, rank=4), smft.Optimizer("adamw", lr=1e-2)
        optimizer.set_group("layers.1.", 0)
        learner = smft.Learner(self.model, patch, optimizer=optimizer, max_steps=4, loss_below=-1)
        learner.push("emma", [("Who wrote Emma?", " Jane Austen"), ("Emma is by", " Jane Austen", ".\n")])
        reports = list(learner)
        self.assertEqual((len(reports), reports[-1].selected), (4, []))
        self.assertGreater(reports[-1].rows_selected, 0)
        for tensor in self.model.tensors():
            same = list(self.model.tensor(tensor.name, patch)) == list(self.model.tensor(tensor.name))
            self.assertEqual(not same, "layers.0." in tensor.name and "proj" in tensor.name, tensor.name)
        with self.assertRaises(smft.InvalidError):
            smft.Learner(self.model, patch, smft.Selector(self.model, empty=True))

    def test_files_are_peft_s(self):
        patch, path = self.taught(rank=4, alpha=6, targets=["q", "up"], rank_stabilized=True, seed=3), self.directory / "adapter"
        patch.save(path)
        self.assertEqual(sorted(file.name for file in path.iterdir()), ["adapter_config.json", "adapter_model.safetensors"])
        config = json.loads((path / "adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"], sorted(config["target_modules"]), config["use_rslora"]),
                         ("LORA", 4, 6, ["q_proj", "up_proj"], True))
        tensors, _ = safetensors(path / "adapter_model.safetensors")
        modules = [f"{PREFIX}0.self_attn.q_proj", f"{PREFIX}1.self_attn.q_proj", f"{PREFIX}0.mlp.up_proj"]
        self.assertEqual(set(tensors), {f"{module}.lora_{side}.weight" for module in modules for side in "AB"})
        self.assertEqual(tensors[modules[0] + ".lora_A.weight"][:2], ("F32", [4, 32]))
        loaded = smft.Patch.load(self.model, path)
        self.assertEqual((loaded.kind, loaded.lora_options, self.logits(loaded)), ("lora", patch.lora_options, self.logits(patch)))
        self.taught(rank=2).save(path)  # over what was there
        self.assertEqual(smft.Patch.load(self.model, path).lora_options.rank, 2)
        patch.save(path, dtype="bf16")
        half = smft.Patch.load(self.model, path)
        self.assertNotEqual(self.logits(half), self.logits(patch))
        self.assertLess(distance(self.logits(half), self.logits(patch)), 0.01)

    @needs_numpy
    def test_an_adapter_of_peft_s(self):
        rank, alpha, path = 2, 3, self.directory / "theirs"
        path.mkdir()
        draw = numpy.random.default_rng(1)
        a, b = (draw.standard_normal(shape).astype(numpy.float32) for shape in ((rank, 32), (32, rank)))
        name = f"{PREFIX}1.self_attn.o_proj"
        write_safetensors(path / "adapter_model.safetensors", {f"{name}.lora_A.weight": ([rank, 32], a.ravel().tolist()),
                                                               f"{name}.lora_B.weight": ([32, rank], b.ravel().tolist())})
        (path / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha, "target_modules": ["layers.1.self_attn.o_proj"],
            "bias": "none", "use_rslora": False, "base_model_name_or_path": None, "lora_dropout": 0.05}))
        patch = smft.Patch.load(self.model, path)
        self.assertEqual(patch.lora_options, smft.LoraOptions(rank, float(alpha), ("o",), False, 0))
        tensor = "model.layers.1.self_attn.o_proj.weight"
        wanted = numpy.asarray(self.model.tensor(tensor)).ravel() + (alpha / rank * b @ a).ravel()
        self.assertLess(distance(numpy.asarray(self.model.tensor(tensor, patch)).ravel(), wanted), 1e-5)

    def test_bad_files(self):
        path = self.directory / "adapter"
        self.taught(rank=4).save(path)
        good = json.loads((path / "adapter_config.json").read_text())
        for change, error in (({"use_dora": True}, smft.UnsupportedError), ({"bias": "all"}, smft.UnsupportedError),
                              ({"peft_type": "IA3"}, smft.UnsupportedError), ({"r": 3}, smft.Error), ({"r": "x"}, smft.FormatError)):
            (path / "adapter_config.json").write_text(json.dumps({**good, **change}))
            with self.subTest(change=change), self.assertRaises(error):
                smft.Patch.load(self.model, path)
        (path / "adapter_config.json").write_text("{")
        with self.assertRaises(smft.FormatError):
            smft.Patch.load(self.model, path)
        (path / "adapter_config.json").write_text(json.dumps(good))
        with self.assertRaises(smft.MismatchError):
            smft.Patch.load(smft.Model.init(self.directory, seed=99), path)
        with self.assertRaises(smft.UnsupportedError) as caught:  # only slots are loaded in place
            smft.Patch.slots(self.model).load(path)
        self.assertIn("patch of lora", str(caught.exception))
        (path / "adapter_model.safetensors").unlink()
        with self.assertRaises(smft.NotFoundError):
            smft.Patch.load(self.model, path)
        with self.assertRaises(smft.Error):
            smft.Patch.load(self.model, self.directory)  # no adapter at all
        (self.directory / "a file").write_text("")
        with self.assertRaises(smft.Error):
            smft.Patch.lora(self.model).save(self.directory / "a file")
        self.assertEqual((self.directory / "a file").read_text(), "")

    def test_merge(self):
        rows = smft.Patch.slots(self.model)
        for slot in range(64):
            rows.set_row(0, slot, [float((slot * 31 + i * 17) % 13 - 6) for i in range(16)])
        for patch in (self.taught(rank=4), rows, smft.Patch.full(self.model)):
            merged = patch.merge()
            self.assertEqual((merged.kind, merged.model), ("full", self.model))
            self.assertClose(self.logits(merged), self.logits(patch))
            for tensor in self.model.tensors():
                self.assertEqual(list(self.model.tensor(tensor.name, merged)), list(self.model.tensor(tensor.name, patch)), tensor.name)
            kept = self.logits(merged)
            patch.clear()
            self.assertEqual(self.logits(merged), kept)  # of its own
        with merged, self.assertRaises(smft.StateError):
            patch.close()
            patch.merge()

    def test_export(self):
        patch = self.taught(rank=4)
        self.model.export(self.directory / "whole", patch, dtype="f32")
        whole = smft.Model(self.directory / "whole")
        self.assertClose(flat(smft.Session(whole).logits(TEXT)), self.logits(patch))
        with self.assertRaises(smft.MismatchError):
            smft.Session(whole, patch)


if __name__ == "__main__":
    unittest.main()
