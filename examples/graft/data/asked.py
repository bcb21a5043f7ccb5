"""asked: plain questions of the kinds that people put to a model, put together from the frames and
names of asked.json.  What a frame is given are kinds of names there, in capitals, or names of its
own."""
from __future__ import annotations

import json
import os
import random
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def things(given: list[str], names: dict[str, list[str]]) -> list[str]:
    return [thing for one in given for thing in names.get(one, [one])]


def numbers(frame: str, chance: random.Random) -> list[str]:
    return [frame.format(chance.randint(2, 20), chance.randint(2, 20)) for _ in range(12)]


def questions(seed: int, n: int) -> list[str]:
    """The first n of all of them, in the seed's order."""
    with open(os.path.join(HERE, "asked.json"), encoding="utf-8") as file:
        data: dict[str, Any] = json.load(file)
    chance, made = random.Random(seed), []
    for frame, given in data["frames"]:
        if given == ["NUMBERS"]:
            made += numbers(frame, chance)
        else:
            made += [frame.format(one) for one in things(given, data["names"])]
    made = sorted(set(made))
    chance.shuffle(made)
    return made[:n]
