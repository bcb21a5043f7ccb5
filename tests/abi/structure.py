#!/usr/bin/env python3
"""structure: what the source of lib/ must not become, beyond who includes whom (test_includes.sh):
- a parameter of a model (its enumerator, from the lists in lib/model/params.h and lib/memory/params.h) that is spoken of
  outside the places that are about single parameters: everything else is to walk the list
- a size of an element type written out (`? 4 : 2`) instead of asked of data/dtype.h
- a function of more than 60 lines
- a map (lib/README.md, README.md) that names a file, or a function or type of ours, that is not there
usage: structure.py ROOT      prints what is wrong (exit status 1), or what was looked at"""
import fnmatch
import glob
import os
import re
import sys

MOST_LINES = 60
FEWEST_PARAMETERS = 20  # fewer found: the lists could not be read

# Where single parameters are spoken of: the list, what a family calls them, how weights are seen, the blocks that compute
# with them, PEFT's names of them.
AT_HOME = """model/params.h model/params.c memory/params.h model/arch.h model/arch/*.c model/view.h model/view.c
             model/block_*.c model/stack.c model/head.c memory/layer.c model/lora_file.c model/order.c""".split()
# And these, for these parameters alone:
GUESTS = {
    "model/grads.c": {"M_ALPHA"},          # alpha is the block's to multiply with: it does not ask for the layer's backward
    "model/config.h": {"VALUES"},          # smft__pool_tensor: what everybody else asks for a pool's tensor
}


def sources(root):
    """Paths of lib/'s C files, from lib/ on."""
    top = os.path.join(root, "lib")
    found = (os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names)
    return sorted(os.path.relpath(path, top) for path in found if path.endswith((".c", ".h")))


def without_comments(text):
    """The same lines without comments, and with empty strings: what is said in them is no code."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)

    def blank(one):
        return one.group() if one.group()[0] == "'" else re.sub(r"[^\n]", " ", one.group())
    return pattern.sub(blank, text)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def parameters(code):
    """Names without SMFT__, as the two lists have them."""
    names = set(re.findall(r"^\s*X\((\w+),", code.get("model/params.h", ""), re.M))
    names |= set(re.findall(r"\bSMFT__(M_\w+)", code.get("memory/params.h", "")))
    if len(names) < FEWEST_PARAMETERS:
        sys.exit(f"lib/model/params.h and lib/memory/params.h: found {len(names)} parameters")
    return names


def misplaced_parameters(code):
    names = parameters(code)
    word = re.compile(r"\bSMFT__(?:LINE_)?(%s)\b" % "|".join(sorted(names)))
    for path, text in code.items():
        if any(fnmatch.fnmatchcase(path, home) for home in AT_HOME):
            continue
        for found in word.finditer(text):
            if found.group(1) not in GUESTS.get(path, ()):
                yield f"lib/{path}:{line_of(text, found.start())}: {found.group()}: walk the list (model/params.h) instead"


def written_sizes(code):
    """By statement: the layout may break it into lines."""
    for path, text in code.items():
        for found in re.finditer(r"\?\s*(?:4\s*:\s*2|2\s*:\s*4)\b", text):
            begin = max(text.rfind(end, 0, found.start()) for end in ";{}")
            if re.search(r"F32|F16|dtype", text[begin + 1:found.end()]):
                written = " ".join(found.group().split())
                yield f"lib/{path}:{line_of(text, found.start())}: {written}: ask data/dtype.h for the size of an element"


def functions(text):
    """(line, lines) of each: from the line that ends in its brace to the brace in the first column."""
    begin = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if begin is None and line.endswith(") {") and not line.startswith("#"):
            begin = number
        elif begin is not None and line.startswith("}"):
            yield begin, number - begin + 1
            begin = None


def long_functions(code):
    for path, text in code.items():
        for begin, lines in functions(text):
            if lines > MOST_LINES:
                yield f"lib/{path}:{begin}: a function of {lines} lines, {MOST_LINES} is the most"


def spread(word):
    """a.{b,c} -> a.b, a.c"""
    found = re.search(r"\{([^{}]*)\}", word)
    if not found:
        return [word]
    return [one for part in found.group(1).split(",") for one in spread(word[:found.start()] + part.strip() + word[found.end():])]


def is_there(root, word):
    """Whether a word that looks like a file is one, seen from the top, from lib/ or from tests/; a bare name may be anywhere."""
    if any(os.path.exists(os.path.join(root, folder, word)) for folder in ("", "lib", "tests")):
        return True
    return "/" not in word and any(word in names for folder in ("lib", "tests", "include")
                                   for _, _, names in os.walk(os.path.join(root, folder)))


def named_files(text):
    """(line, word) of the words of a page that end as C files and scripts do, patterns left out."""
    word = re.compile(r"[\w./{},-]*\.(?:\{c,h\}|c|h|sh|py)(?!\w|\.\w)")
    for number, line in enumerate(text.split("\n"), 1):
        for found in word.finditer(line):
            if line[max(found.start() - 1, 0):found.start()] not in ("*", ">"):  # a pattern
                yield from ((number, one) for one in spread(found.group().lstrip("./,")))


def table_files(root, number, line):
    """Of the map's table, | **floor/** | stems | what | tests |: stems that are no file there, and tests that are none."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    floor = re.fullmatch(r"\*\*(\S+)/\*\*", cells[0])
    if not floor or len(cells) < 4:
        return
    folder = os.path.join("lib", floor.group(1))
    for stem in (one for part in re.split(r",\s*(?![^{]*\})", cells[1]) for one in spread(part)):
        if not glob.glob(os.path.join(root, folder, f"{stem}.[ch]")):
            yield f"lib/README.md:{number}: {folder} has no {stem}"
    for test in (one for part in re.findall(r"`([^`]+)`", cells[3]) for one in spread(part)):
        if not glob.glob(os.path.join(root, "tests", f"{test}.*")):
            yield f"lib/README.md:{number}: tests/ has no {test}"


def missing_files(root, code):
    words = set(re.findall(r"\bsmft__\w+", " ".join(code.values())))
    for page in ("lib/README.md", "README.md"):
        with open(os.path.join(root, page), encoding="utf-8") as file:
            text = file.read()
        for number, word in named_files(text):
            if (page == "lib/README.md" or word.startswith("lib/")) and not is_there(root, word):
                yield f"{page}:{number}: there is no {word}"
        for number, line in enumerate(text.split("\n"), 1):
            yield from (f"{page}:{number}: there is no {word}" for word in re.findall(r"\bsmft__\w+", line) if word not in words)
        if page == "lib/README.md":
            for number, line in enumerate(text.split("\n"), 1):
                yield from table_files(root, number, line)


def main():
    root = sys.argv[1]
    code = {}
    for path in sources(root):
        with open(os.path.join(root, "lib", path), encoding="utf-8") as file:
            code[path] = without_comments(file.read())
    wrong = [*misplaced_parameters(code), *written_sizes(code), *long_functions(code), *missing_files(root, code)]
    lengths = [lines for text in code.values() for _, lines in functions(text)]
    print("\n".join(wrong) or f"{len(code)} files, {len(parameters(code))} parameters, {len(lengths)} functions, "
                              f"the longest of {max(lengths)} lines")
    sys.exit(bool(wrong))


main()
