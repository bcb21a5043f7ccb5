#!/usr/bin/python3
"""Writes chat.json: what transformers' own Jinja environment makes of conversations, for each chat template that lib/data/tokenizer/
chat_table.c knows.  test_chat.c compares.

  ./make_chat.py DIR [TOKENIZER_DIR ...]

DIR holds template files (any names: they are found by the hash of their text); the texts are not in this repository, for they are
under their models' licences.  A template that DIR lacks is named and keeps what chat.json has of it.  Each TOKENIZER_DIR (with
tokenizer.json and tokenizer_config.json, or a .gguf) adds apply_chat_template's ids, by the hash of its template.
Needs transformers and jinja2.
"""
import hashlib
import json
import os
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "chat.json")
DATE = (2026, 11, 8)

# renderer: bos, eos, and the hashes of its templates without their last newline, which Jinja drops
TEMPLATES = {
    "chatml": ("<s>", "</s>", "153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3",
               "58c1a1f04baa7adaeaba1f90267c3d57d9396f0c1f0129bdde9e76d3c6784af7",
               "fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e"),
    "chatml-bos": ("<s>", "</s>", "a805e50fed68938a076b07e2e602639611b50b1ced0e50f11eb92f1ba25be4dc", "f42d04ffb2e487fa9c501ab886afe8fce0822f9874a9ca4284ba57e2a686a56a"),
    "smollm2": ("<|im_start|>", "<|im_end|>", "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"),
    "smollm3": ("<|im_start|>", "<|im_end|>", "3e0e275a527f249670056e0078e474eadbdd007c134b4fdfae5a7b3089702814", "3982464ecf49b0b38514fec4a5c22273fe70b7259480735bf13e225e4b64bec2"),
    "smollm3-unsloth": ("<|im_start|>", "<|im_end|>", "cbc1d50f777ec029b33f53b23d7a224cceb65bcc8c7fac54946dbb56514e4d1e"),
    "llama2": ("<s>", "</s>", "e8d5b5a546d3f19df16a5320c614fab05bdc4edd50e850f1afd947b503ea41cf",
               "ea2472f29dbd93c3eb696795f6403228fcc4b775518869c771f83fbae5c11dbf"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122"),
    "llama3-open": ("<|begin_of_text|>", "<|eot_id|>", "b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2"),
    "llama3.1": ("<|begin_of_text|>", "<|eot_id|>", "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7"),
    "llama3.2": ("<|begin_of_text|>", "<|eot_id|>", "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f"),
    "qwen1.5": ("", "<|im_end|>", "af9c0233881b083b52ff773580215222b5440ac3d0beeeca99b76329b048f8db"),
    "qwen2": ("", "<|im_end|>", "793202280c0910ab26bc6eb57c8212c2417324c6d8c4efd0d10d59092ab3e3eb"),
    "qwen2.5": ("", "<|im_end|>", "55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a"),
    "qwen3": ("", "<|im_end|>", "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5",
              "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8"),
    "qwen3-2507": ("", "<|im_end|>", "64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326"),
    "mistral-v0.1": ("<s>", "</s>", "7e995b379ec01747807246483647cd99030abf331653f1119e16d7ac041a3495"),
    "mistral-v0.2": ("<s>", "</s>", "26a59556925c987317ce5291811ba3b7f32ec4c647c400c6cc7e3a9993007ba7"),
    "mistral-v0.3": ("<s>", "</s>", "af6311f48482378c1163ba7183c0cefa317fadaa6e0172a167c68d6e238368a8"),
    "mistral-v1": ("<s>", "</s>", "bbc58aad99454df60138be9530c9601a0adfe3d8932cda975e1f10b2410ddc51"),
    "mistral-v3": ("<s>", "</s>", "cafb64e0e9e5fd2503054b3479593fae39cbdfd52338ce8af9bb4664a8eb05bd"),
    "mistral-nemo": ("<s>", "</s>", "e7deee034838db2bfc7487788a3013d8a307ab69f72f3c54a85f06fd76007d4e",
                     "c7a94f505398612940c13ee95070d0d152bcb7b4afbd74a06ff148a82a02851c"),
    "mistral-v7": ("<s>", "</s>", "3c4ad5fa60dd8c7ccdf82fa4225864c903e107728fcaf859fa6052cb80c92ee9"),
    "gemma2": ("<bos>", "<eos>", "ecd6ae513fe103f0eb62e8ab5bfa8d0fe45c1074fa398b089c93a7e70c15cfd6"),
    "gemma3": ("<bos>", "<eos>", "8d9e3a3c114fb2053ec500184677af4f7e5f8ec2582443cd535834e68b3ade29"),
    "zephyr": ("<s>", "</s>", "66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362"),
    "olmo2": ("<|endoftext|>", "<|endoftext|>", "fe689ffbd6a4e2d0532d7480696b065b10e0e1eff3f9b9fc4bea415761e4bf4a"),
    "phi3": ("<s>", "<|endoftext|>", "dcaee66df77bfbb789ec541fe713218da30225a526f1db97138fc39ee6dc56aa"),
    "phi3.5": ("<s>", "<|endoftext|>", "78d976a442bcde2f0be15aafbb8e3050e1104f86732266f68403251b89982a90"),
}

S, U, A = "system", "user", "assistant"
CONVERSATIONS = [
    [(U, "Hi")],
    [(S, "Be brief."), (U, "What is 7 * 8?")],
    [(U, "Hi"), (A, "Hello!"), (U, "And you?")],
    [(S, " \u3000Sé breve.\n"), (U, "\n ¿Qué es 雪?\u00a0 "), (A, "  Schnee ❄\n\n"), (U, "\tdanke\u200b ")],
    [(S, ""), (U, "")],
    [(U, ""), (A, ""), (U, "  ")],
    [(U, "one"), (U, "two")],
    [(A, "first")],
    [(U, "Hi"), (A, "Hello!")],
    [(S, "only")],
    [(U, "Hi"), (S, "late"), (U, "two")],
    [(S, "a"), (S, "b"), (U, "c")],
    [(U, "q"), (A, "<think>\nhm\n</think>\n\nYes."), (U, "r"), (A, "<think>\n\nso\n</think>\n\n\nNo.")],
    [(U, "q"), (A, "<think>one</think>two</think>\nthree"), (A, "\n\nfour"), (A, "</think>")],
    [(U, "q"), (A, "\n\nYes."), (U, "<tool_response>x</tool_response>"), (A, "\n\nNo.\n")],
    [(S, "Short. /no_think \n"), (U, "q"), (A, "\na"), (U, "r")],
    [(S, "/think/system_override Speak.  "), (U, "q"), (A, "a")],
    [(S, "/no_think"), (U, "q")],
    [(S, "/no_/thinkthink x"), (U, "q")],
]


def today(form):
    import datetime
    return datetime.datetime(*DATE).strftime(form)


def identity(text):
    text = text[:-1] if text.endswith("\n") else text
    return hashlib.sha256(text.encode()).hexdigest()


def render(template, bos, eos, conversation, opening, thinking):
    messages = [{"role": role, "content": content} for role, content in conversation]
    words = {} if thinking else {"enable_thinking": False}
    try:
        return {"text": template.render(messages=messages, add_generation_prompt=opening, bos_token=bos, eos_token=eos,
                                        strftime_now=today, tools=None, documents=None, **words)}
    except Exception as error:  # jinja2's of raise_exception, of undefined names, and Python's own
        return {"error": str(error)}


def expected(text, bos, eos):
    template = _compile_jinja_template(text)
    rows = []
    for conversation in CONVERSATIONS:
        row = [render(template, bos, eos, conversation, opening, thinking) for opening, thinking in ((0, 1), (1, 1), (1, 0))]
        rows.append(row)
    return rows


def pack(rows):
    """An opening is mostly the same text with more behind it: only that is stored, as {"more": ...}."""
    packed = []
    for row in rows:
        first, out = row[0].get("text"), [row[0]]
        for other in row[1:]:
            more = first is not None and other.get("text", "").startswith(first) and "text" in other
            out.append({"more": other["text"][len(first):]} if more else other)
        packed.append(out if out[1] != out[2] else out[:2])
    return packed


def ids_of(path):
    from transformers import AutoTokenizer
    if path.endswith(".gguf"):
        tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path))
    else:
        tokenizer = AutoTokenizer.from_pretrained(path)
    rows = []
    for conversation in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in conversation]
        rows.append([list(tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=bool(opening),
                                                        return_dict=False)) for opening in (0, 1)])
    return identity(tokenizer.chat_template), rows


def main():
    folder, tokenizers = sys.argv[1], sys.argv[2:]
    texts = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), newline="", encoding="utf-8") as file:
            text = file.read()
        texts[identity(text)] = text
    old = json.load(open(OUT, encoding="utf-8")) if os.path.exists(OUT) else {}
    out = {"date": DATE[0] * 10000 + DATE[1] * 100 + DATE[2], "conversations": CONVERSATIONS, "templates": {}, "ids": old.get("ids", {})}
    for name, (bos, eos, *wanted) in TEMPLATES.items():
        found = [h for w in wanted for h in texts if h.startswith(w)]
        if len(found) != len(wanted):
            print(f"{name}: {len(wanted) - len(found)} of {len(wanted)} templates are not in {folder}")
        all_rows = [expected(texts[h], bos, eos) for h in found]
        if any(rows != all_rows[0] for rows in all_rows):
            sys.exit(f"{name}: its templates do not render alike")
        if not found:
            if name in old.get("templates", {}):
                out["templates"][name] = old["templates"][name]
            continue
        out["templates"][name] = {"bos": bos, "eos": eos, "hashes": found, "rows": pack(all_rows[0])}
    for path in tokenizers:
        key, rows = ids_of(path)
        out["ids"][key] = rows
    with open(OUT, "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


main()
