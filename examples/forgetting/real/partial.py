"""partial: what a long run of slots has taught so far, in the work folder: the patch, which knows
its facts, and what each took.  A run that was stopped goes on there, and a longer run of the same
stream begins with it."""
from __future__ import annotations

import json
import os
from typing import Any, Optional

import smft
from methods import Taught

EVERY = 10  # facts


class Partial:
    def __init__(self, work: str, name: Optional[str]) -> None:
        """name: of the stream and its setting; None: nothing is kept."""
        self.path = name and os.path.join(work, "partial", name)
        self.n_kept = 0  # facts, of a run that went further

    def patch_of(self, n: int) -> str:
        return f"{self.path}.{n}.safetensors"

    def resume(self, method: Any, n_facts: int) -> list[Taught]:
        """What the first facts took, which `method` knows then; none where more are known."""
        if not self.path or not os.path.exists(f"{self.path}.json"):
            return []
        with open(f"{self.path}.json", encoding="utf-8") as file:
            took = [Taught(**one) for one in json.load(file)]
        if len(took) > n_facts:
            self.n_kept = len(took)
            return []
        method.use(smft.Patch.load(method.model, self.patch_of(len(took))))
        print(f"  {len(took)} facts were taught before", flush=True)
        return took

    def keep(self, method: Any, took: list[Taught], at_once: bool = False) -> None:
        """Every few facts, unless more are kept; the list comes last, and names the patch by its
        length."""
        if not self.path or len(took) < self.n_kept or (len(took) % EVERY and not at_once):
            return
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        old = [self.patch_of(n) for n in range(len(took)) if os.path.exists(self.patch_of(n))]
        method.patch.save(self.patch_of(len(took)))
        with open(f"{self.path}.part", "w", encoding="utf-8") as file:
            json.dump([one.__dict__ for one in took], file)
        os.replace(f"{self.path}.part", f"{self.path}.json")
        for path in old:
            os.remove(path)
