#!/usr/bin/env python3
"""in_use: smft.h's table of what becomes of a call on a handle that another call has in hand.  Owns
the rules.  Without --write it says whether the header has the table as it is here, and whether
every exported function is in it (exit code 1 where not).

    in_use.py [--write] HEADER SYMBOLS
"""
from __future__ import annotations

import re
import sys
import textwrap

BEGIN = " *   In use     "
END = " *   Versions   "
INTRO = """A call on a handle that another call has in hand, from another thread or from a
callback of that call (progress, on_token, on_fact, log, allocator, parallel_for).
Other handles may be used there.
"state": SMFT_E_STATE, nothing is done.  "later": the handle goes at that call's end,
which is asked to stop and returns SMFT_E_CANCELLED.  "counted": handles that were
made of it hold a reference.  In a child of fork() no handle is in use.  After its
free a handle must not be used: in C that is not found out, in Python it is
StateError."""
STATE, LATER, AT_ONCE, STOPS, READ = "state", "later", "at once", "stops it", "value as it stands"
COUNTED, ALWAYS, INSIDE = "counted", "always", "in callbacks only"
# functions, then what happens; {a,b} stands for several
RULES = [
    ("smft_session_{feed,nll,generate,generate_ids}", STATE),
    ("smft_session_{rewind,set_patch}", STATE),
    ("smft_session_{length,version,finish}", READ),
    ("smft_session_cancel", STOPS),
    ("smft_session_free", LATER),
    ("smft_step", STATE),
    ("smft_learner_{run,step_batch,skip,set_patch}", STATE),
    ("smft_learner_{push,push_ids,push_wordings,push_file}", STATE),
    ("smft_learner_pending", READ),
    ("smft_learner_selected", INSIDE),
    ("smft_learner_cancel", STOPS),
    ("smft_learner_free", LATER),
    ("smft_probe_{add_question,add_text,add_choice}", STATE),
    ("smft_probe_add_file", STATE),
    ("smft_probe_{baseline,measure,save_report}", STATE),
    ("smft_probe_get_item", INSIDE),
    ("smft_probe_free", LATER),
    ("smft_optimizer_{set_lr,set_group,reset,save,load}", "state, in a step, too"),
    ("smft_selector_{count_background,load}", "state, in a step, too"),
    ("smft_selector_{df,save}", "state while it counts"),
    ("smft_{optimizer,selector,patch,model,tokenizer,ctx}_free", COUNTED),
    ("smft_patch_{set_row,reset_row,clear,assign,fact_remove}", "state while it changes"),
    ("smft_patch_{row,slots,copy,merge,version}", "always (slots)"),
    ("smft_patch_{save,save_buffer}", "always (slots)"),
    ("smft_patch_{kind,get_lora}", ALWAYS),
    ("smft_patch_{fact_count,fact_get,fact_id,fact_rows}", ALWAYS),
]
# what needs no line: these have no handle, make one, or only read what never changes
FREELY = ("_create|_load$|_load_buffer|_init|smft_version|smft_status|smft_error|smft_score|smft_graft|"
          "smft_wordings|smft_tokenizer|smft_model|smft_memory|smft_ctx_")


def names(pattern: str) -> list[str]:
    found = re.match(r"(.*)\{(.*)\}(.*)$", pattern)
    return [found[1] + one + found[3] for one in found[2].split(",")] if found else [pattern]


def table() -> str:
    said = textwrap.wrap(" ".join(INTRO.split()), 84)
    lines = [BEGIN + said[0]] + [f" *              {line}" for line in said[1:]]
    lines += [f" *                {what:<56} {how}" for what, how in RULES]
    too_long = [line for line in lines if len(line) > 100]
    if too_long:
        sys.exit("in_use: too long: " + too_long[0])
    return "\n".join(lines) + "\n"


def missing(symbols: str) -> list[str]:
    said = {name for pattern, _ in RULES for name in names(pattern)}
    return [name for name in symbols.split()
            if name not in said and not re.search(FREELY, name)] + sorted(said - set(symbols.split()))


def main() -> int:
    write = "--write" in sys.argv
    path, symbols = [one for one in sys.argv[1:] if one != "--write"]
    with open(path, encoding="utf-8") as file:
        header = file.read()
    begin, end = header.find(BEGIN), header.index(END)
    was = header[begin if begin >= 0 else end:end]
    with open(symbols, encoding="utf-8") as file:
        left = missing(file.read())
    for name in left:
        print(f"in_use: {name}: no rule, or no such function")
    if write:
        text = header[:end - len(was)] + table() + header[end:]
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    elif was != table():
        print(f"in_use: the table in {path} is not this one: {sys.argv[0]} --write {path} {symbols}")
    return int(bool(left) or (not write and was != table()))


if __name__ == "__main__":
    sys.exit(main())
