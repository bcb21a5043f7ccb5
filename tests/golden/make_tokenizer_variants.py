#!/usr/bin/python3
"""Writes tokenizer_variants.json: small tokenizers with every part that the library reads, and what the Rust tokenizers library makes
of hard texts with them.  test_tokenizer_variants.c compares.

Needs node and the npm package @anush008/tokenizers (the Rust library), installed anywhere:
  npm install --prefix DIR @anush008/tokenizers && ./make_tokenizer_variants.py DIR
Only characters that Unicode 3.2 has are used: the Rust library's parts are built on tables of different Unicode versions.
"""
import collections
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = "\u2581"
CORPUS = ("the old man went to the sea and the sea was there, then he said: \"we'll go to the other side\". "
          "In 1984 the 3 ships had 120 men; they didn't see the end of it. aaaa abab été là où ") * 3

NODE = r"""
const {Tokenizer} = require(process.argv[1] + '/node_modules/@anush008/tokenizers'), fs = require('fs');
(async () => {
  const jobs = JSON.parse(fs.readFileSync(process.argv[2], 'utf8')), out = [];
  for (const job of jobs) {
    const t = Tokenizer.fromFile(job.path), vectors = [];
    for (const text of job.texts) {
      const ids = (await t.encode(text, null, {addSpecialTokens: false})).getIds();
      const special = (await t.encode(text, null, {addSpecialTokens: true})).getIds();
      vectors.push([text, ids, special, await t.decode(special, false), await t.decode(special, true)]);
    }
    out.push(vectors);
  }
  fs.writeFileSync(process.argv[3], JSON.stringify(out));
})();
"""


def learn(words, alphabet, n):
    """Plain BPE on a list of words; vocabulary and merges."""
    words = [list(w) for w in words]
    vocab, merges = {c: i for i, c in enumerate(alphabet)}, []
    for _ in range(n):
        pairs = collections.Counter(p for w in words for p in zip(w, w[1:]))
        if not pairs:
            break
        a, b = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(a + " " + b)
        vocab.setdefault(a + b, len(vocab))
        for w in words:
            i = 0
            while i + 1 < len(w):
                if w[i] == a and w[i + 1] == b:
                    w[i:i + 2] = [a + b]
                i += 1
    return vocab, merges


def byte_letters():
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in itself]
    return {**{b: chr(b) for b in itself}, **{b: chr(0x100 + i) for i, b in enumerate(rest)}}


def token(number, content, **more):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **more}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def model(vocab, merges, **more):
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **more, "vocab": vocab, "merges": merges}


def template(*before):
    return {"type": "TemplateProcessing", "pair": [],
            "single": [*({"SpecialToken": {"id": t, "type_id": 0}} for t, _ in before), {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in before}}


def bases():
    letters = byte_letters()
    words = ["".join(letters[b] for b in (" " + w).encode()) for w in CORPUS.split()]
    vocab, merges = learn(words, [letters[b] for b in range(256)], 120)
    level = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [token(len(vocab), "<|end|>")], "normalizer": None,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
             "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
             "model": model(vocab, merges)}
    alphabet = ["<unk>", "<s>", *("<0x%02X>" % b for b in range(256)), *sorted(set(CORPUS.replace(" ", MARK)))]
    vocab, merges = learn([MARK + w for w in CORPUS.split()], alphabet, 120)
    piece = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [token(0, "<unk>"), token(1, "<s>")],
             "normalizer": sequence("normalizers", {"type": "Prepend", "prepend": MARK},
                                    {"type": "Replace", "pattern": {"String": " "}, "content": MARK}),
             "pre_tokenizer": None, "post_processor": template(("<s>", 1)),
             "decoder": sequence("decoders", {"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"},
                                 {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
             "model": model(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)}
    return {"level": level, "piece": piece}


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def variants(base):
    """name -> (base, changed keys; "model" is merged into the base's)."""
    plain = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    meta = {"type": "Metaspace", "replacement": MARK}
    out = {"level": ("level", {}), "piece": ("piece", {})}

    def split(pattern, behavior="Isolated", invert=False):
        return {"pre_tokenizer": sequence("pretokenizers", {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert},
                                          plain)}

    def before_bytes(part):
        return {"pre_tokenizer": sequence("pretokenizers", part, plain)}

    for name, pattern in {"llama3": LLAMA3, "o200k": O200K, "anchors": r"^a|e$|\A.|[^\S\n]+", "looks": r"(?<=\s)\S|x*?y|a{2,3}|(?>b+)c",
                          "scripts": r"\p{Han}+|\p{Hiragana}|\p{^L}+|[\u4e00-\u4e10\v]", "caseless": r"(?i)the|\x{17F}|k"}.items():
        out["regex " + name] = ("level", split({"Regex": pattern}))
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        out["split " + behavior] = ("level", split({"Regex": r"[\s\d]|the|(?=[A-Z])"}, behavior))
        out["split inverted " + behavior] = ("level", split({"Regex": r"[\s\d]|the"}, behavior, True))
        out["punctuation " + behavior] = ("level", before_bytes({"type": "Punctuation", "behavior": behavior}))
    out["split string"] = ("level", split({"String": " "}, "MergedWithNext"))
    for name in ["Whitespace", "WhitespaceSplit", "BertPreTokenizer"]:
        out[name] = ("level", before_bytes({"type": name}))
    out["delimiter"] = ("level", before_bytes({"type": "CharDelimiterSplit", "delimiter": "e"}))
    for individual in [True, False]:
        out["digits %d" % individual] = ("level", before_bytes({"type": "Digits", "individual_digits": individual}))
    out["prefix"] = ("level", {"pre_tokenizer": {**plain, "add_prefix_space": True, "use_regex": True}, "post_processor": {
        "type": "RobertaProcessing", "sep": ["e", 68], "cls": ["d", 67], "trim_offsets": True, "add_prefix_space": True}})
    for form in ["NFC", "NFD", "NFKC", "NFKD"]:
        out[form] = ("level", {"normalizer": {"type": form}})
    out["lower and strip"] = ("level", {"normalizer": sequence("normalizers", {"type": "Lowercase"}, {
        "type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "})})
    for scheme in ["always", "first", "never"]:
        part = {**meta, "prepend_scheme": scheme, "add_prefix_space": scheme != "never", "split": scheme != "first"}
        out["metaspace " + scheme] = ("piece", {"normalizer": None, "pre_tokenizer": part, "decoder": part})
    n = len(base["piece"]["model"]["vocab"])
    added = [token(0, "<unk>"), token(1, "<s>"), token(n, "<L>", lstrip=True), token(n + 1, "<R>", rstrip=True),
             token(n + 2, "sea", single_word=True, special=False), token(n + 3, "\xc9T", normalized=True, special=False), token(n + 4, "<L><R>")]
    out["added"] = ("piece", {"added_tokens": added})
    out["added normalized"] = ("piece", {"added_tokens": added, "normalizer": sequence(
        "normalizers", {"type": "Lowercase"}, *base["piece"]["normalizer"]["normalizers"])})
    out["unknown fused"] = ("piece", {"model": {"byte_fallback": False}})
    out["unknown"] = ("piece", {"model": {"byte_fallback": False, "fuse_unk": False}})
    out["dropped"] = ("piece", {"model": {"byte_fallback": False, "unk_token": None}})
    out["ignore merges"] = ("level", {"model": {"ignore_merges": True, "merges": base["level"]["model"]["merges"][:40]}})
    out["no decoder"] = ("piece", {"decoder": None})
    out["post sequence"] = ("piece", {"post_processor": sequence("processors", {
        "type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template(("<s>", 1), ("<unk>", 0)))})
    return out


def make_text(rng, letters, extra):
    parts = ["the ", "sea", " didn't", "'LL", "aaaa", " \n", "\r\n", "  ", "\t", "1984", "3.14", "<|end|>", "<s>", *extra]
    text = "".join(rng.choice(parts) if rng.random() < 0.6 else rng.choice(letters) for _ in range(rng.randrange(4, 16)))
    return text


def main():
    rng, base = random.Random(20), bases()
    old = unicodedata.ucd_3_2_0
    letters = [chr(c) for c in range(0x20, 0x30000) if old.category(chr(c)) not in ("Cn", "Cs", "Co")]
    letters = rng.sample(letters, 300) + list("\xe9\u0301\u0323\u1e69\ud55c\u3000\x85\u180e\u200b\u2028\u0130\u017f\u212a\ufb01\u2460\u0663e ")
    extra, jobs, out = ["<L>", " <R> ", "<L><R>", "\xc9T", MARK, "sea-sea"], [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, (which, changes)) in enumerate(variants(base).items()):
            full = copy.deepcopy(base[which])
            full.update({k: v for k, v in changes.items() if k != "model"})
            full["model"].update(changes.get("model", {}))
            path = os.path.join(folder, "%d.json" % i)
            json.dump(full, open(path, "w"))
            jobs.append({"path": path, "texts": ["", " ", "the old  sea"] + [make_text(rng, letters, extra) for _ in range(9)]})
            out.append({"name": name, "base": which, "changes": changes})
        json.dump(jobs, open(os.path.join(folder, "jobs"), "w"))
        subprocess.run(["node", "-e", NODE, sys.argv[1], folder + "/jobs", folder + "/out"], check=True)
        for variant, vectors in zip(out, json.load(open(folder + "/out"))):
            variant["vectors"] = vectors
    with open(os.path.join(HERE, "tokenizer_variants.json"), "w") as file:
        json.dump({"bases": base, "variants": out}, file, separators=(",", ":"))


main()
