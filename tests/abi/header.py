#!/usr/bin/env python3
"""header: what smft.h, which is the manual, lacks: a comment with "Since VERSION." directly above each function, and as much comment as
code, by lines and by characters.  A line counts as comment only if there is no code on it.
usage: header.py HEADER     prints what is wrong (exit status 1), or the measure"""
import re
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.S)
MARK = "\x01"


def undocumented(text):
    """Names of functions without a comment of their own that ends directly above them and says since when they are there."""
    declarations = list(re.finditer(r"^SMFT_API\b[^;]*?\b(smft_\w+)\(", text, re.M))
    if len(declarations) < 50:
        sys.exit("the header could not be read")
    for found in declarations:
        above = [one for one in COMMENT.finditer(text, 0, found.start()) if text[one.end():found.start()] == "\n"]
        if not above or not re.search(r"\bSince[\s*]+\d+\.\d+\.", above[-1].group()):
            yield found.group(1)


def ratios(text):
    """Comment to code, in lines and in characters."""
    marked = COMMENT.sub(lambda one: re.sub(r"[^\n]", MARK, one.group()), text)
    lines = marked.split("\n")
    code_lines = sum(bool(line.replace(MARK, "").strip()) for line in lines)
    comment_lines = sum(MARK in line and not line.replace(MARK, "").strip() for line in lines)
    comment = marked.count(MARK)
    return comment_lines / code_lines, comment / (len(marked) - comment)


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    lines, characters = ratios(text)
    wrong = [f"{name}: no comment directly above it that says since when it is there" for name in undocumented(text)]
    wrong += [f"less comment than code, by {kind}" for kind, ratio in (("lines", lines), ("characters", characters)) if ratio < 1]
    print("\n".join([*wrong, f"comment / code: {lines:.2f} of lines, {characters:.2f} of characters"]))
    sys.exit(bool(wrong))


main()
