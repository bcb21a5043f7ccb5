"""variants: the ways to run the library that its header offers: none of SMFT_CTX_*, or one of them.

Which flags there are is read from the header, so that a row for a new one needs no new name here.
"""
import os
import re
from collections import namedtuple

from worker import Unavailable

DEFINED = re.compile(r"^#define SMFT_CTX_([A-Z0-9_]+) (\d+)u$", re.MULTILINE)
# Which kinds of weights a flag is measured on; one that is not named here: those in blocks.
KINDS = {"AMX": ("f32", "bf16"), "FAST": ("bf16", "q4_1", "q4_k")}
PLAIN_KINDS = ("f32", "bf16")
OF_MANY_ROWS = ("amx", "fast")  # flags that change no product of one row
SPLITS = {"f32": 6, "bf16": 3}  # products of pieces that exact AMX takes for one of f32
EVERY_UNIT = ("fma", "bf16", "bytes", "tiles", "tiles_bytes")

# name: "" or the flag's, in small letters; flags: its bit
Variant = namedtuple("Variant", "name flags")
PLAIN = Variant("", 0)


class Variants:
    def __init__(self, bench, header):
        self.bench = bench
        self.defined, self.usable = [], {}
        if os.path.exists(header):
            with open(header, encoding="utf-8") as file:
                self.defined = [Variant(name.lower(), int(value))
                                for name, value in DEFINED.findall(file.read())]

    def takes(self, variant):
        """Whether this machine has what the flag asks for."""
        if variant.name not in self.usable:
            self.usable[variant.name] = self.tried(variant)
        return self.usable[variant.name]

    def tried(self, variant):
        if variant.name == "amx":  # taken everywhere, and does nothing without the unit
            return self.bench.limit.has("tiles")
        worker = self.bench.ours("bench_products", 1, variant.flags)
        try:
            worker.ask("check 64 64 64 f32")
        except Unavailable:
            return False
        finally:
            worker.close()
        return True

    def of(self, kind):
        """The plain one, and those that are measured on such weights here."""
        return [PLAIN] + [one for one in self.defined if self.suits(one, kind) and self.takes(one)]

    def suits(self, variant, kind):
        kinds = KINDS.get(variant.name.upper())
        return kind in kinds if kinds else kind not in PLAIN_KINDS

    @property
    def has_fast(self):
        return any(one.name == "fast" for one in self.of("bf16"))


def fastest(sides):
    """Of {variant: side} the one that was measured to be the fastest."""
    def rate(variant):
        found = sides[variant].measured
        return found.median if found else 0
    return max(sides, key=rate)


def arithmetic(bench, threads, variant, kind):
    """[(limit, what one operation of ours is to it)]: the units that may do the row's products; the
    one that allows most is its limit."""
    limit = bench.limit
    if variant.name == "":
        return [(limit.units(threads, ("fma",)), 1)]
    if variant.name == "amx":
        return [(limit.units(threads, ("fma",)), 1),
                (limit.units(threads, ("tiles",)), SPLITS.get(kind, 1))]
    if variant.name == "fast":
        return [(limit.units(threads, ("fma", "bf16", "tiles")), 1)]
    return [(limit.units(threads, EVERY_UNIT), 1)]
