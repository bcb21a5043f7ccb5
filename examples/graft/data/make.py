#!/usr/bin/env python3
"""make: the background texts of a graft, written by the model itself, so that a newcomer needs no
download.  Owns what is asked for and what is thrown away; prose.txt (a text a line) and
chats.jsonl ({"question", "answer"} a line) beside it are what it wrote.

    make.py MODEL [--out DIR] [--work DIR] [--prose N] [--chats N] [--plain N] [--seed N]
            [--batches N]

MODEL: a GGUF file or a Hugging Face directory.  Needs torch, transformers and gguf.  Prose is
sampled after <|endoftext|> and an opening of those below; questions after the opening of the
user's turn in the model's own chat template and a word; answers are the model's, half of them
greedy; plain questions are those of asked.json, answered greedily.  A batch that was written is
kept in the work folder, so that it goes on after a stop.  The same seed, versions and machine give
the same texts.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import asked

HERE = os.path.dirname(os.path.abspath(__file__))

PROSE = """|The|In|A|It|When|After|According to|During the|One of the|For many years|
The history of|The city of|The river|The first|In 18|In 19|In 20|She|He|They|My|I|We|
You|There are|There was|Although|Because|While|Most people|Scientists have|
Researchers at|A new study|The company|The film|The novel|The song|The band|The team|
The church|The village of|The king|The war|The government|The president|The species|
The bird|The plant|Born in|Once upon a time|Chapter 1|Recipe:|How to|Question:|Q:|Dear|
Abstract|Introduction|Definition:|Biography|Geography|Music|Food|Energy|Children|
Teachers|Doctors|Farmers|The sun|Water|Light|Mathematics|The theory of|The law|Today|
Yesterday|Last week|On Monday|Welcome to|Did you know"""

ASKED = """||Who|Who was|Who is|Who wrote|Who invented|Who played|Who directed|Who won|
Who founded|What|What is|What is the|What is the capital of|What was|What does|What do|
What kind of|What color|What year|What language|What are|What causes|In which|
In which country|In what|Where|Where is|Where was|Where do|When|When was|When did|How|
How many|How long|How do|How old|How far|Why|Why do|Which|Which country|Which of|Name|
Name the|Name a|Is|Is it|Are|Was|Did|Does|Do|Can|Can you|Could you|Tell me|Give me|I|
I want|My|Explain|Describe|Define|Write|Translate|Please|Hi|Hello|Thanks|List|If|
The capital of|A"""

ROUND = 448  # questions sampled together
BRIEF = ("Answer briefly.", "Answer in one word.", "In a few words, please.", "Be brief.")


def openings(text: str) -> list[str]:
    return [one.strip() for one in text.replace("\n", "").split("|")]


class Writer:
    """The model with its tokenizer: prompts of any lengths to what it writes after them."""

    def __init__(self, path: str, work: str, seed: int, batches: int) -> None:
        directory, name = os.path.split(os.path.abspath(path))
        self.file = {} if os.path.isdir(path) else {"gguf_file": name}
        self.place = path if os.path.isdir(path) else directory
        self.tokenizer = AutoTokenizer.from_pretrained(self.place, **self.file)
        self.tokenizer.padding_side = "left"
        self.model, self.work, self.seed, self.left = None, work, seed, batches
        self.begun = time.time()
        os.makedirs(work, exist_ok=True)

    def load(self) -> None:
        if self.model is None:
            self.model = AutoModelForCausalLM.from_pretrained(self.place, dtype=torch.float32,
                                                              **self.file).eval()

    def write(self, prompts: list[str], n: int, size: int, **how: object) -> list[str]:
        """Up to n tokens after each prompt, up to the end of the turn or of the text."""
        written: list[str] = []
        for at in range(0, len(prompts), size):
            written += self.kept(prompts[at:at + size], n, how)
        return written

    def kept(self, prompts: list[str], n: int, how: dict) -> list[str]:
        """A batch, sampled once: what was written is in the work folder after a stop, too."""
        key = hashlib.sha256(json.dumps([prompts, n, how, self.seed]).encode()).hexdigest()[:16]
        path = os.path.join(self.work, key + ".json")
        if not os.path.exists(path):
            torch.manual_seed(int(key, 16) % 2**31)
            texts = self.sampled(prompts, n, how)
            with open(path + ".part", "w", encoding="utf-8") as file:
                json.dump(texts, file)
            os.replace(path + ".part", path)
            print(f"{len(prompts)} prompts, {n} tokens: {time.time() - self.begun:.0f} s",
                  flush=True)
            self.left -= 1
            if self.left == 0:
                raise SystemExit(3)
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    @torch.inference_mode()
    def sampled(self, prompts: list[str], n: int, how: dict) -> list[str]:
        self.load()
        given = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        out = self.model.generate(**given, max_new_tokens=n, eos_token_id=[0, 2], pad_token_id=2,
                                  **how)
        texts = self.tokenizer.batch_decode(out[:, given["input_ids"].shape[1]:])
        return [re.split(r"<\|im_end\|>|<\|endoftext\|>|<\|im_start\|>", one)[0] for one in texts]

    def asked(self, words: str) -> str:
        """The template up to the user's words, which are to go on."""
        whole = self.tokenizer.apply_chat_template([{"role": "user", "content": "\0"}],
                                                   tokenize=False)
        return whole.split("\0")[0] + words

    def answered(self, question: str) -> str:
        return self.tokenizer.apply_chat_template([{"role": "user", "content": question}],
                                                  tokenize=False, add_generation_prompt=True)


# ---- what is thrown away ------------------------------------------------------------------------


def repeats(text: str) -> bool:
    """Degenerate: three words that come again twice, or hardly any different words."""
    words = text.lower().split()
    threes = [tuple(words[i:i + 3]) for i in range(len(words) - 2)]
    return any(threes.count(one) > 2 for one in set(threes)) or len(set(words)) * 3 < len(words)


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\ufffd", "")).strip()


def question_of(text: str) -> str:
    """Its first sentence, if it is one; else nothing."""
    text = text.strip().split("\n")[0]
    end = re.search(r"[?.!](\s|$)", text)
    text = text[:end.end()].strip() if end else ""
    return text if 2 <= len(text.split()) <= 24 and not repeats(text) else ""


def answer_of(text: str, ended: bool) -> str:
    """As it was written; one that was cut off, up to its last sentence."""
    text = text.replace("\ufffd", "").strip()
    if not ended:
        cut = max(text.rfind(mark) for mark in (". ", ".\n", "! ", "? "))
        text = text[:cut + 1]
    return "" if repeats(text) or not re.search(r"\w", text.lstrip("1. ")) else text


def unlike(texts: list[str]) -> list[int]:
    """Which to keep: of those that begin alike (60 letters), the first."""
    seen: set[str] = set()
    kept = []
    for i, text in enumerate(texts):
        key = re.sub(r"\W+", " ", text.lower())[:60]
        if text and key not in seen:
            seen.add(key)
            kept.append(i)
    return kept


# ---- what is written ----------------------------------------------------------------------------


def prose(writer: Writer, n: int, chance: random.Random) -> list[str]:
    begun = [chance.choice(openings(PROSE)) for _ in range(n)]
    more = writer.write(["<|endoftext|>" + one for one in begun], 94, 192,
                        do_sample=True, temperature=0.9, top_k=100)
    texts = [one_line(a + b) for a, b in zip(begun, more)]
    texts = [one for one in texts if len(one) > 60 and not repeats(one)]
    return [texts[i] for i in unlike(texts)]


def questions(writer: Writer, begun: list[str], chance: random.Random) -> list[str]:
    more = writer.write([writer.asked(one) for one in begun], 22, ROUND, do_sample=True,
                        temperature=1.0, top_k=200)
    texts = [question_of(a + b) for a, b in zip(begun, more)]
    texts = [texts[i] for i in unlike(texts)]
    texts = [f"{one} {chance.choice(BRIEF)}" if chance.random() < 0.4 else one for one in texts]
    return sorted(texts, key=len)


def answers(writer: Writer, questions: list[str], words: int = 44) -> list[tuple[str, str]]:
    """Every other one greedy, the others sampled at temperature 0.7."""
    pairs = []
    for group, how in ((questions[::2], {"do_sample": False}),
                       (questions[1::2], {"do_sample": True, "temperature": 0.7})):
        said = writer.write([writer.answered(one) for one in group], words, ROUND, **how)
        sizes = [len(writer.tokenizer(one)["input_ids"]) for one in said]
        pairs += [(q, answer_of(a, size < words)) for q, a, size in zip(group, said, sizes)]
    return pairs


def plain_chats(writer: Writer, n: int, seed: int, words: int = 26) -> list[dict[str, str]]:
    """Short questions of asked.json with greedy answers: a sentence or so."""
    wanted, kept = asked.questions(seed, n), []
    said = writer.write([writer.answered(one) for one in wanted], words, 200, do_sample=False)
    for question, text in zip(wanted, said):
        answer = answer_of(text, len(writer.tokenizer(text)["input_ids"]) < words)
        if answer:
            kept.append({"question": question, "answer": answer})
    return kept


def chats(writer: Writer, n: int, chance: random.Random) -> list[dict[str, str]]:
    """In rounds: a round's questions are answered before the next.  Of twice as many openings the
    shorter half is taken, which leaves more to the model."""
    begun = sorted((chance.choice(openings(ASKED)) for _ in range(2 * n)), key=len)[:n]
    pairs = []
    for at in range(0, n, ROUND):
        pairs += answers(writer, questions(writer, begun[at:at + ROUND], chance))
    pairs = [(q, a) for q, a in pairs if a]
    kept = [pairs[i] for i in unlike([q for q, _ in pairs])]
    chance.shuffle(kept)
    return [{"question": q, "answer": a} for q, a in kept]


def tokens(writer: Writer, texts: list[str]) -> int:
    return sum(len(writer.tokenizer(one, add_special_tokens=False)["input_ids"]) for one in texts)


def write_chats(writer: Writer, given: argparse.Namespace) -> None:
    chance = random.Random(given.seed)
    said = chats(writer, given.chats, chance) + plain_chats(writer, given.plain, given.seed)
    chance.shuffle(said)
    with open(os.path.join(given.out, "chats.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in said)
    whole = [writer.answered(one["question"]) + one["answer"] for one in said]
    print(f"{len(said)} chats, {tokens(writer, whole)} tokens")


def write_prose(writer: Writer, given: argparse.Namespace) -> None:
    texts = prose(writer, given.prose, random.Random(given.seed))
    with open(os.path.join(given.out, "prose.txt"), "w", encoding="utf-8") as file:
        file.writelines(one + "\n" for one in texts)
    print(f"{len(texts)} texts, {tokens(writer, texts)} tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", default=HERE)
    parser.add_argument("--work", default=os.path.join(HERE, "work"), help="batches that are done")
    parser.add_argument("--prose", type=int, default=384, help="texts to sample")
    parser.add_argument("--chats", type=int, default=448, help="questions to sample")
    parser.add_argument("--plain", type=int, default=1600, help="questions of asked.json")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=-1, help="stop after so many (exit code 3)")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    writer = Writer(given.model, given.work, given.seed, given.batches)
    if given.prose:
        write_prose(writer, given)
    if given.chats:
        write_chats(writer, given)


if __name__ == "__main__":
    main()
