"""summary: a run in a few lines, for the README: ratios to the fastest peer, by threads."""
import re

from rows import short

NAMES = {"prefill": "a prompt of 512 tokens", "decode": "one token after another",
         "train": "a step of every weight, 4 x 128 tokens",
         "lora": "a step of adapters (q, v; rank 8), 4 x 128 tokens",
         "fact": "grafted: a step of a fact, 6 wordings of 30 tokens"}
WEIGHTS = {"f32": "f32", "bf16": "bf16", "q8_0": "Q8_0", "q4_1": "Q4_1", "q4_k": "Q4_K"}
MODELS = {"smollm2": "SmolLM2-135M", "gemma": "Gemma 3 270M"}
MODEL = re.compile(r"(prefill|decode|train|lora|fact)\.(smollm2|gemma)\.(\w+)(?:\.(\w+))?\.(\d+)thr")
LAYER = re.compile(r"memory\.(step|forward)\.d\d+\.\w+\.\d+\.(\d+)thr")
PRODUCT = re.compile(r"product\.\w+\.(f32|bf16)(?:\.(\w+))?\.(\d+)thr")
FIRST = re.compile(r"first\.smollm2\.q4_1\.(\d+)thr")
LAYERS = {"step": "a memory layer's sparse step", "forward": "a memory layer, forward"}


def named(flag):
    return ", `SMFT_CTX_%s`" % flag.upper() if flag else ""


def title_of(task, model, kind, flag):
    weights = "products in bf16" if (task, flag) == ("train", "fast") else WEIGHTS.get(kind, kind)
    return "%s, %s, %s%s" % (MODELS[model], NAMES[task], weights, named(flag))


def label_of(peer_name):
    return peer_name.split(",")[0]


def models(found):
    """{title: {threads: text}}"""
    lines = {}
    for row in found:
        match = MODEL.fullmatch(row["name"])
        if match and row["ratio"]:
            task, model, kind, flag, threads = match.groups()
            lines.setdefault(title_of(task, model, kind, flag), {})[int(threads)] = "%s (%s)" % (
                short(row["ratio"]), label_of(row["peer_name"]))
    return lines


def ranges(found, pattern, title_and_threads):
    """From the least to the most of rows of one title, whatever their sizes."""
    ratios, peers = {}, {}
    for row in found:
        match = pattern.fullmatch(row["name"])
        if match and row["ratio"]:
            key = title_and_threads(*match.groups())
            ratios.setdefault(key, []).append(float(row["ratio"]))
            peers.setdefault(key, set()).add(label_of(row["peer_name"]))
    lines = {}
    for (title, threads), values in ratios.items():
        lines.setdefault(title, {})[int(threads)] = "%s to %s (%s)" % (
            short(min(values)), short(max(values)), ", ".join(sorted(peers[title, threads])))
    return lines


def layers(found):
    return ranges(found, LAYER, lambda what, threads: (LAYERS[what], threads))


def products(found):
    return ranges(found, PRODUCT, lambda kind, flag, threads: (
        "matrix products, 512 rows at SmolLM2's shapes, %s%s" % (WEIGHTS[kind], named(flag)),
        threads))


def first(found):
    lines = {}
    for row in found:
        match = FIRST.fullmatch(row["name"])
        if match and row["ratio"]:
            title = "SmolLM2-135M from Q4_1, a new process to the first token after 64"
            lines[title] = {int(match.group(1)): "%s (llama.cpp)" % short(row["ratio"])}
    return lines


def table(found):
    """Markdown: how many times as fast as the fastest peer."""
    lines = {**models(found), **first(found), **layers(found), **products(found)}
    threads = sorted({n for cells in lines.values() for n in cells})
    head = ["times as fast as"] + ["%d thread%s" % (n, "s" if n > 1 else "") for n in threads]
    cells = [head, ["---"] * len(head)]
    cells += [[title] + [found_at.get(n, "") for n in threads]
              for title, found_at in lines.items()]
    return "\n".join("| %s |" % " | ".join(line) for line in cells)
