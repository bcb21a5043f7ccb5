#!/usr/bin/env python3
"""1,000 texts for comparing tokenizers, the same every time: questions, prose, the texts of tok/vectors, and what tokenizers
stumble over (runs of space and newline, digits, code, contractions, CJK, Arabic, emoji, marks, names of special tokens).
usage: make_tokenizer_texts.py SHARED > texts.json     SHARED: the folder of the real data (qa/, text/, tok/)
       make_tokenizer_texts.py > texts.json            60 short ones for the toys of make_vocab_gguf.py"""
import json
import os
import random
import sys

N = 1000
LETTERS = ["a", "B", "é", "ß", "ſ", "Ω", "я", "ж", "ب", "م", "ש", "अ", "ि", "ก", "ำ", "한", "글", "日", "本", "語", "の", "ー", "ǅ", "ª", "ᵃ"]
MARKS = ["\u0301", "\u0308", "\u20dd", "\u200d", "\ufe0f", "\u00ad", "\u200b", "\ufeff"]
SPACES = [" ", "  ", "   ", "    ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2028", "\u2003", "\u0085", " \n ", "\x0b", "\x1c"]
NUMBERS = ["0", "7", "42", "123", "1234", "3.14159", "1,000,000", "٣٤", "²³", "Ⅳ", "½", "१२३४", "0x1F", "1e-9", "2024-11-28"]
SIGNS = [".", ",", "!", "?", "'", '"', "“", "”", "…", "—", "-", "_", "/", "\\", "(", ")", "[", "]", "{", "}", "<", ">", "=", "+", "*", "&", "^",
         "%", "$", "€", "#", "@", "~", "`", "|", ":", ";", "。", "，", "！", "、", "「", "」", "؟", "،", "¿", "§", "°", "™", "→", "∑", "√", "▁"]
SHORT = ["'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "’s", "'x", "'st"]
EMOJI = ["😀", "👩‍👩‍👧", "🏳️‍🌈", "🇫🇷", "👍🏽", "🫠", "\U0001f9ff"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<|eot_id|>", "<|endoftext|>",
           "<unused7>", "<0x0A>", "<table>", "</h1>", "<unk>", "[multimodal]", "<|im_start", "<think>", "<|begin_of_text|>", "<tool_call>"]
WORDS = ["the", "The", " of", "Straße", "naïve", "hello", "HELLO", "camelCase", "XMLHttpRequest", "don't", "I'M", "Zürich", "東京", "Привет",
         "مرحبا", "नमस्ते", "안녕하세요", "สวัสดี", "γειά", "שלום", "x̄", "tokenization", "antidisestablishmentarianism"]
CODE = ["def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "SELECT * FROM t WHERE x >= 10;\n",
        "<div class=\"a\">\n  <p>hi</p>\n</div>", "if x==1:\n        pass\n\n\n# end", "std::vector<std::string>&& v{};", "$\\frac{a}{b} \\neq 0$",
        "https://example.org/a?b=c&d=%20#e", "a_b_c = {'k': [1,2,3]}  # ok", "\\u00e9\\n\\t", "    \n        deep\n", "|---|---|\n| a | b |\n"]


def lines(path, n, rng):
    with open(path, encoding="utf-8") as file:
        return rng.sample([line for line in file.read().split("\n") if line.strip()], n)


def real(shared, rng):
    questions = [json.loads(line)["question"] for line in open(os.path.join(shared, "qa/NQ-open.dev.jsonl"), encoding="utf-8")]
    yield from rng.sample(questions, 100)
    for name in sorted(os.listdir(os.path.join(shared, "text"))):
        yield from lines(os.path.join(shared, "text", name), 50, rng)
        with open(os.path.join(shared, "text", name), encoding="utf-8") as file:
            text = file.read()
        for _ in range(10):
            at = rng.randrange(len(text) - 2000)
            yield text[at:at + rng.randrange(200, 2000)]
    folder = os.path.join(shared, "tok/vectors")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            text = file.read()
        if name.endswith(".inp"):
            yield from text.split("\n__ggml_vocab_test__\n")
        elif name.endswith(".json"):
            yield from (vector["text"] for vector in json.loads(text))


def mixed(rng):
    kinds = [LETTERS, MARKS, SPACES, NUMBERS, SIGNS, SHORT, EMOJI, SPECIAL, WORDS, CODE]
    while True:
        some = rng.sample(kinds, rng.randrange(2, 5)) + [WORDS, SPACES]
        yield "".join(rng.choice(rng.choice(some)) for _ in range(rng.randrange(1, 40)))


def runs(rng):
    for sign in [" ", "\n", "\t", "\r\n", " \n", "\n ", "a", "1", ".", "=", "-", "'", "é", "日", "😀", "\u00a0", "\u0301"]:
        for n in (1, 2, 3, 4, 31, 33, 70):
            yield sign * n
            yield "a" + sign * n + "b"
    for sign in range(0x21, 0x7F):
        yield " " + chr(sign) + chr(sign)


def few(rng):
    """Words of the toys, and what their added tokens make of overlaps."""
    toys = ["the", "then", "there", "cats", "sat on", "mat", "lower", "newest", "widest", "123", "12", "<turn>", "<turn>x", "xy", "yzz", "<tool>",
            "<tool>>", "<|im_end|>", "<|im_start|>", "</s>", "<s>", "Q", "é", "日本", "...", "....", "<unused>", "<unk>", "<0x41>"]
    yield from ("<turn>xyzz", "<turn>xy", "xyzz", "xxyzzz<tool>>>", "the cat sat on the mat", " the  then   there    lower", "aQb", "日本日", "ééQQ",
                "\n\n\n\n\n", "     ", "a</s>b<s> c", "Newest widest; 123123 lo", "thethen", "…‥.. .....", "_\u2581x\u2581\u2581y")
    while True:
        yield "".join(rng.choice(rng.choice([toys, toys, SPACES, SIGNS, LETTERS])) for _ in range(rng.randrange(2, 12)))


def main():
    rng = random.Random(16)
    if len(sys.argv) < 2:
        texts = few(rng)
        json.dump([next(texts) for _ in range(60)], sys.stdout, ensure_ascii=False)
        return
    texts = list(dict.fromkeys(text for text in (*CODE, *real(sys.argv[1], rng), *runs(rng)) if text and "\0" not in text))
    rng.shuffle(texts)
    texts = texts[:700]
    more = mixed(rng)
    while len(texts) < N:
        text = next(more)
        if text not in texts:
            texts.append(text)
    json.dump(texts, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
