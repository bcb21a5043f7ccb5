#!/usr/bin/env python3
"""Train atlas's tokenizer: byte-level BPE on the known facts' texts and the general text, never on a new fact.

    train_tokenizer.py [--data DIR] [--vocab 4096]

Reads known.jsonl, wordings.json and text.train.txt of DIR and writes tokenizer.json there (Hugging Face format). Then it
encodes every text again, checks the round trip and prints how many tokens facts and answers have.
"""
import argparse
import collections
import heapq
import json
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<|bos|>", "<|eos|>", "<|pad|>"]
# GPT-2's split regex, said without \p{L}: [^\W\d_] is a letter. Equal on our texts, which have no digits but 0-9.
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def byte_letters():
    """GPT-2's printable stand-in for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for b in range(256):
        if b in plain:
            letters[b] = chr(b)
        else:
            letters[b] = chr(256 + extra)
            extra += 1
    return letters


LETTERS = byte_letters()


def read_jsonl(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def fact_texts(facts, wordings):
    for f in facts:
        for w in wordings[f["relation"]]:
            yield w["prompt"].replace("{s}", f["subject"]) + w["answer"].replace("{a}", f["answer"]) + w["end"]


def count_words(texts):
    count = collections.Counter()
    for text in texts:
        count.update(SPLIT.findall(text))
    return {tuple(LETTERS[b] for b in w.encode()): n for w, n in count.items()}


def train(words, vocab_size):
    """Merges in order. Only the words that hold the merged pair are counted again, so a merge costs little."""
    pieces, freq = [list(w) for w in words], list(words.values())
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, w in enumerate(pieces):
        for pair in zip(w, w[1:]):
            pairs[pair] += freq[i]
            where[pair].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    merges, tokens = [], set(LETTERS.values())
    while len(tokens) + len(SPECIAL) < vocab_size and heap:
        n, pair = heapq.heappop(heap)
        if pairs[pair] != -n:                       # an old entry: put it back with the count it has now
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        merges.append(pair)
        tokens.add(pair[0] + pair[1])
        grown = set()
        for i in where.pop(pair):
            old = pieces[i]
            for p in zip(old, old[1:]):
                pairs[p] -= freq[i]
            pieces[i] = merge(old, pair)
            for p in zip(pieces[i], pieces[i][1:]):
                pairs[p] += freq[i]
                where[p].add(i)
                grown.add(p)
        for p in grown:
            if p != pair:
                heapq.heappush(heap, (-pairs[p], p))
    return merges


def merge(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == pair[0] and word[i + 1] == pair[1]:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


class Encoder:
    """The BPE that a loader of tokenizer.json must equal; words are remembered."""

    def __init__(self, vocab, merges):
        self.vocab, self.rank, self.known = vocab, {m: i for i, m in enumerate(merges)}, {}
        self.byte = {c: b for b, c in LETTERS.items()}
        self.piece = {i: p for p, i in vocab.items()}

    def encode(self, text):
        ids = []
        for word in SPLIT.findall(text):
            if word not in self.known:
                w = [LETTERS[b] for b in word.encode()]
                while len(w) > 1:
                    best = min(zip(w, w[1:]), key=lambda p: self.rank.get(p, len(self.rank)))
                    if best not in self.rank:
                        break
                    w = merge(w, best)
                self.known[word] = [self.vocab[p] for p in w]
            ids += self.known[word]
        return ids

    def decode(self, ids):
        return bytes(self.byte[c] for i in ids for c in self.piece[i]).decode()


def tokenizer_json(vocab, merges):
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                          "special": True} for i, t in enumerate(SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": SPECIAL[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": SPECIAL[0], "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0], "tokens": [SPECIAL[0]]}}},
        "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab,
                  "merges": ["%s %s" % m for m in merges]},
    }


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(HERE, "data"))
    parser.add_argument("--vocab", type=int, default=4096)
    args = parser.parse_args()
    path = lambda name: os.path.join(args.data, name)
    known, new = read_jsonl(path("known.jsonl")), read_jsonl(path("new.jsonl"))
    wordings = json.load(open(path("wordings.json"), encoding="utf-8"))
    text = open(path("text.train.txt"), encoding="utf-8").read().splitlines(keepends=True)
    held = open(path("text.heldout.txt"), encoding="utf-8").read().splitlines(keepends=True)

    merges = train(count_words([*fact_texts(known, wordings), *text]), args.vocab)
    pieces = SPECIAL + sorted(LETTERS.values()) + ["".join(m) for m in merges]
    vocab = {p: i for i, p in enumerate(dict.fromkeys(pieces))}
    with open(path("tokenizer.json"), "w", encoding="utf-8", newline="\n") as out:
        json.dump(tokenizer_json(vocab, merges), out, ensure_ascii=False, indent=0)
        out.write("\n")

    enc = Encoder(vocab, merges)
    used = collections.Counter()
    for t in [*fact_texts(known, wordings), *text]:
        ids = enc.encode(t)
        used.update(ids)
        assert enc.decode(ids) == t, t
    for t in [*fact_texts(new, wordings), *held]:
        assert enc.decode(enc.encode(t)) == t, t
    print("vocabulary %d, %d of its tokens occur in training; every text survives the round trip" % (len(vocab), len(used)))
    for name, facts in (("known", known), ("new", new)):
        lengths = [len(enc.encode(t)) for t in fact_texts(facts, wordings)]
        answers = [len(enc.encode(" " + f["answer"])) for f in facts]
        subjects = [len(enc.encode(" " + f["subject"])) for f in facts]
        print("%-6s tokens: text %.1f (max %d), answer %.2f (max %d), subject %.2f (max %d)" % (
            name, mean(lengths), max(lengths), mean(answers), max(answers), mean(subjects), max(subjects)))
    ids = [len(enc.encode(t)) for t in text]
    print("text   tokens: train %d (%.1f a line, max %d), heldout %d" % (sum(ids), mean(ids), max(ids), sum(len(enc.encode(t)) for t in held)))
    rare = {t for f in new for t in enc.encode(" " + f["answer"]) if not used[t]}
    print("answer tokens of new facts that training never has: %d %s" % (len(rare), sorted(enc.piece[t] for t in rare)[:10]))


if __name__ == "__main__":
    main()
