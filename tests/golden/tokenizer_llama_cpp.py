#!/usr/bin/env python3
"""Ids of 1,000 texts (make_tokenizer_texts.py) by our tokenizers, against llama.cpp's, of which hashes are kept: one for
every hundred texts, without and with special tokens read in the text.
usage: tokenizer_llama_cpp.py keep TEXTS IDS.json... > tokenizer_llama_cpp.json    IDS: by tokenize_llama_cpp.mjs
       tokenizer_llama_cpp.py check TEXTS FILE.gguf...                             exit status 1: some differ"""
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
STEP = 100


def digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def hashes(lists):
    return [digest(lists[at:at + STEP]) for at in range(0, len(lists), STEP)]


def keep(texts, paths):
    files = {}
    for path in paths:
        for name, one in json.load(open(path, encoding="utf-8")).items():
            files[name] = {"stops": one["stops"], "plain": hashes([both[0] for both in one["ids"]]),
                           "special": hashes([both[1] for both in one["ids"]])}
    print(json.dumps({"texts": digest(texts), "files": files}, indent=0))


def check(texts, paths):
    import smft
    kept = json.load(open(os.path.join(HERE, "tokenizer_llama_cpp.json"), encoding="utf-8"))
    if digest(texts) != kept["texts"]:
        sys.exit("the texts are not those that llama.cpp was given: another python3, or other data")
    bad = 0
    for path in paths:
        tokenizer, name = smft.Tokenizer.load(path), os.path.basename(path)
        for kind, parse in (("plain", False), ("special", True)):
            ours = hashes([tokenizer.encode(text, special=False, parse=parse) for text in texts])
            wrong = [i * STEP for i, (a, b) in enumerate(zip(ours, kept["files"][name][kind])) if a != b]
            bad += len(wrong)
            print("%s, %s: %s" % (name, kind, "differs in the hundreds from %s" % wrong if wrong else "%d texts" % len(texts)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    {"keep": keep, "check": check}[sys.argv[1]](json.load(open(sys.argv[2], encoding="utf-8")), sys.argv[3:])
