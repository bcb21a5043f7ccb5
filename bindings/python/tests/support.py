"""support: what the tests share: numpy hidden on request, the real data or a visible skip, and models made on the fly."""
import json
import math
import os
import sys
import tempfile
import unittest
from pathlib import Path


class _NoNumpy:
    """A meta-path finder that makes `import numpy` fail as where it is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name == "numpy" or name.startswith("numpy."):
            raise ImportError("numpy is hidden by SMFT_TEST_NO_NUMPY")
        return None


NO_NUMPY = bool(os.environ.get("SMFT_TEST_NO_NUMPY"))
if NO_NUMPY:
    sys.meta_path.insert(0, _NoNumpy())

import smft  # noqa: E402
from smft import _arrays  # noqa: E402

numpy = _arrays.numpy
SOURCE = Path(os.environ.get("SMFT_SOURCE") or Path(__file__).resolve().parents[3])
needs_numpy = unittest.skipIf(numpy is None, "numpy is not there, or hidden")


def shared(path):
    """A file of the real data, or a skipped test."""
    root = Path(os.environ.get("SMFT_SHARED") or SOURCE.parent / "shared" / "data")
    if not (root / path).exists():
        raise unittest.SkipTest(f"{path} is not there (real data is not in a clone)")
    return root / path


def distance(got, wanted):
    """max |a - b| / max(1, max |b|) over flat sequences; NaN is infinitely far."""
    if len(got) != len(wanted):
        return math.inf
    scale = max([1.0] + [abs(float(b)) for b in wanted])
    worst = 0.0
    for a, b in zip(got, wanted):
        d = abs(float(a) - float(b))
        worst = d if d > worst or d != d else worst
    return math.inf if worst != worst else worst / scale


def flat(rows):
    return [float(x) for row in rows for x in row]


VOCAB, CONTEXT, BOS, EOS = 258, 64, 256, 257
CONFIG = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 32, "vocab_size": VOCAB, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "max_position_embeddings": CONTEXT, "tie_word_embeddings": False, "bos_token_id": BOS, "eos_token_id": EOS,
    "memory": {"layers": [1], "pools": [0], "placement": "replace", "n_keys": 8, "heads": 2, "top_k": 4, "key_dim": 8,
               "value_dim": 16, "query_norm": "layernorm", "key_norm": "none", "temperature": 1.0, "gate": True, "bias": False,
               "norm_eps": 1e-5},
}
N_SLOTS, VALUE_DIM = 64, 16


def _byte_tokenizer():
    """256 bytes with GPT-2's printable stand-ins, no merges, begin-of-text added."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [b for b in range(256) if b not in printable]
    vocab = {chr(b if b in printable else 256 + moved.index(b)): b for b in range(256)}
    vocab.update({"<bos>": BOS, "<eos>": EOS})
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, text in ((BOS, "<bos>"), (EOS, "<eos>"))]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    post = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, sequence], "pair": [sequence],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}}}
    return {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": level, "post_processor": post,
            "decoder": level, "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                                        "end_of_word_suffix": None, "fuse_unk": False, "merges": [], "vocab": vocab}}


def write_model(directory, memory=True, tokenizer=True):
    directory = Path(directory)
    directory.mkdir(exist_ok=True)
    config = {key: value for key, value in CONFIG.items() if memory or key != "memory"}
    (directory / "config.json").write_text(json.dumps(config))
    if tokenizer:
        (directory / "tokenizer.json").write_text(json.dumps(_byte_tokenizer()))
    return directory


def large_model(directory, context=None):
    """The same, wider and deeper, with room for 4096 tokens: 2000 of them take a thread about a second."""
    write_model(directory)
    config = dict(CONFIG, hidden_size=256, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=4, intermediate_size=1024,
                  max_position_embeddings=4096)
    (Path(directory) / "config.json").write_text(json.dumps(config))
    model = smft.Model.init(directory, seed=7, context=context)
    model.export(directory, dtype="f32")
    return model


class TestCase(unittest.TestCase):
    """A directory for the test's files, gone afterwards."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="smft-python-")
        self.addCleanup(folder.cleanup)
        self.directory = Path(folder.name)

    def assertClose(self, got, wanted, tolerance=1e-4):
        self.assertLess(distance(list(got), list(wanted)), tolerance)


class ModelTestCase(TestCase):
    """A tiny memory model with random weights."""

    def setUp(self):
        super().setUp()
        self.model = smft.Model.init(write_model(self.directory), seed=7)
        self.addCleanup(self.model.close)
