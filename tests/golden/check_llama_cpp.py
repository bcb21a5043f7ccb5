#!/usr/bin/env python3
"""Holds exported GGUF files against llama.cpp (npm's node-llama-cpp), as F32, F16, BF16 and Q8_0, and with a LoRA patch merged:
ids of 20 prompts, the 16 greedy tokens after each, the mean NLL of some 1,000 tokens.

    SMFT_LIBRARY=build/libsmft.so PYTHONPATH=bindings/python NODE_LLAMA_CPP=.../node_modules/node-llama-cpp \\
        tests/golden/check_llama_cpp.py MODEL TEXT [DTYPE...]

MODEL: what smft_model_load takes, with a tokenizer or without; TEXT: a file of text, of which 1,000 tokens are measured.  DTYPE: of
f32 f16 bf16 q8_0 none lora; all of them unless some are named.  Not run by CI.  Ours is the exported file as the library loads it
back (of f32 and lora also the model and patch that it came from)."""
import json
import os
import subprocess
import sys
import tempfile

import smft

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = ["The capital of France is", "Once upon a time there was a", "Water boils at", "The largest planet in the solar system is",
           "def fibonacci(n):\n", "Q: What is the chemical symbol for gold?\nA:", "In 1969, the first humans", "Shakespeare wrote",
           "The recipe needs two eggs,", "Photosynthesis is the process by which", "3 + 4 = 7\n5 + 6 =", "The opposite of hot is",
           "She opened the door and", "A triangle has three", "The speed of light is about", "List of fruits:\n- apple\n-",
           "My favourite season is", "Albert Einstein was born in", "To be, or not to be,", "The Great Wall of China"]
STEPS, PIECE, PIECES = 16, 101, 10


def make_cases(model, text):
    if not model.tokenizer:  # numbers instead of words
        n = model.info.vocab_size
        numbers = [[(7 * i + 3 * j * j + i * j) % n for j in range(PIECE)] for i in range(20)]
        return {"ids": [piece[:6] for piece in numbers], "steps": STEPS, "pieces": numbers[:PIECES]}
    ids = [list(map(int, model.tokenizer.encode(prompt))) for prompt in PROMPTS]
    words = list(map(int, model.tokenizer.encode(open(text, encoding="utf-8").read()[:12000])))
    begin, words = words[:1], words[1:]
    pieces = [begin + words[i * (PIECE - 1):(i + 1) * (PIECE - 1)] for i in range(PIECES)]
    return {"prompts": PROMPTS, "ids": ids, "steps": STEPS, "pieces": pieces}


def ours(model, cases, patch=None):
    greedy, total, n = [], 0.0, 0
    for ids in cases["ids"]:
        session = smft.Session(model, patch)
        logits, tokens = session.feed(ids), []
        while len(tokens) < cases["steps"]:
            tokens.append(max(range(len(logits)), key=logits.__getitem__))
            logits = session.feed(tokens[-1:])
        greedy.append(tokens)
    for piece in cases["pieces"]:
        mean = float(smft.Session(model, patch).nll(piece))
        total, n = total + mean * (len(piece) - 1), n + len(piece) - 1
    return greedy, total / n


def make_lora(model, cases):
    """A small patch that changes what is said: a few steps on the text."""
    patch = smft.Patch.lora(model, rank=4)
    learner = smft.Learner(model, patch, optimizer=smft.Optimizer("adamw", lr=2e-3))
    for piece in cases["pieces"][:3]:
        learner.step_batch([piece])
    return patch


def report(name, theirs, cases, greedy, nll):
    same = sum(a[:STEPS] == b[:STEPS] for a, b in zip(theirs["greedy"], greedy))
    print(f"{name}: greedy {same}/{len(greedy)}, NLL {nll:.5f}, llama.cpp's {theirs['nll'] / theirs['n']:.5f}, "
          f"difference {abs(nll - theirs['nll'] / theirs['n']):.5f} over {theirs['n']} tokens", flush=True)
    return same >= 0.9 * len(greedy) and abs(nll - theirs["nll"] / theirs["n"]) <= 0.01


def check(model, name, cases, folder, patch=None):
    path, todo = os.path.join(folder, name + ".gguf"), os.path.join(folder, "cases.json")
    model.export(path, patch=patch, dtype={"none": None, "lora": "f32"}.get(name, name), format="gguf")
    with open(todo, "w", encoding="utf-8") as file:
        json.dump(cases, file)
    theirs = json.loads(subprocess.run(["node", os.path.join(HERE, "check_llama_cpp.mjs"), todo, path], check=True,
                                       stdout=subprocess.PIPE).stdout)
    same_ids = theirs["ids"] == cases["ids"] if "prompts" in cases else True
    if not same_ids:
        print("ids differ:", [(a, b) for a, b in zip(theirs["ids"], cases["ids"]) if a != b][:3])
    fine = report(name, theirs, cases, *ours(smft.Model(path), cases))
    if name in ("f32", "lora"):
        fine = report(name + ", not exported", theirs, cases, *ours(model, cases, patch)) and fine
    os.unlink(path)
    return fine and same_ids


def main():
    model = smft.Model(sys.argv[1])
    cases = make_cases(model, sys.argv[2])
    names, fine = sys.argv[3:] or ["f32", "f16", "bf16", "q8_0", "lora"], True
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            fine = check(model, name, cases, folder, make_lora(model, cases) if name == "lora" else None) and fine
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
