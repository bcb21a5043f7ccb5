"""facts: what is taught and what is asked, from the files of $SMFT_SHARED (docs/graft.md names
them): PopQA and HalluEdit as facts, questions with accepted answers as candidates for what the
model knows.  Owns reading and drawing; nothing here asks a model."""
from __future__ import annotations

import json
import os
import random
import re
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator

# PopQA's relations by its only form of question; the names are those of free_wordings.json
POPQA = {
    "occupation": r"What is (.+)'s occupation\?", "place of birth": r"In what city was (.+) born\?",
    "genre": r"What genre is (.+)\?", "father": r"Who is the father of (.+)\?",
    "country": r"In what country is (.+)\?", "producer": r"Who was the producer of (.+)\?",
    "director": r"Who was the director of (.+)\?", "capital of": r"What is (.+) the capital of\?",
    "screenwriter": r"Who was the screenwriter for (.+)\?",
    "composer": r"Who was the composer of (.+)\?", "color": r"What color is (.+)\?",
    "religion": r"What is the religion of (.+)\?", "sport": r"What sport does (.+) play\?",
    "author": r"Who is the author of (.+)\?", "mother": r"Who is the mother of (.+)\?",
    "capital": r"What is the capital of (.+)\?",
}
N_CHOOSE, N_POPQA, N_HALLU, N_DRAWS = 10, 20, 10, 3
N_NEAR = 400  # the last of HalluEdit, whose neighbours may be known
SEED = 2026


@dataclass(frozen=True)
class Asked:
    """A question and its accepted answers; () where only the model's own answer can be compared."""

    question: str
    accepted: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Fact:
    id: str
    relation: str
    subject: str
    question: str
    answer: str
    accepted: tuple[str, ...]
    natural: tuple[str, ...] = ()  # questions as people ask them: HalluEdit's
    same_subject: tuple[Asked, ...] = ()
    same_relation: tuple[Asked, ...] = ()


class Missing(Exception):
    """The data is not there."""


def shared(*names: str) -> str:
    path = os.path.join(os.environ.get("SMFT_SHARED", ""), *names)
    if not os.environ.get("SMFT_SHARED") or not os.path.exists(path):
        raise Missing(f"{os.path.join('$SMFT_SHARED', *names)} is not there")
    return path


def is_here() -> bool:
    """Says so where the data is not there."""
    try:
        shared("qa", "popqa_test.json")
    except Missing as missing:
        print(f"SKIPPED: {missing}")
        return False
    return True


def lines(*names: str) -> list[Any]:
    with open(shared(*names), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def whole(*names: str) -> Any:
    with open(shared(*names), encoding="utf-8") as file:
        return json.load(file)


# ---- facts --------------------------------------------------------------------------------------


def popqa_relation(question: str) -> tuple[str, str]:
    """Relation and subject; "" where the subject is missing, as in a few."""
    for relation, form in POPQA.items():
        found = re.fullmatch(form, question)
        if found:
            return relation, found[1]
    return "", ""


def popqa() -> dict[str, list[Fact]]:
    """Facts of each relation, in one fixed random order."""
    facts: dict[str, list[Fact]] = {relation: [] for relation in POPQA}
    for i, one in enumerate(whole("qa", "popqa_test.json")):
        relation, subject = popqa_relation(one["question"])
        if not relation:
            continue
        accepted = tuple(dict.fromkeys([one["answer"], *one["aliases"]]))
        facts[relation].append(Fact(f"popqa-{i}", relation, subject, one["question"], one["answer"],
                                    accepted))
    for relation in facts:
        random.Random(SEED).shuffle(facts[relation])
    return facts


def hallu() -> list[Fact]:
    facts = []
    for one in lines("edits", "halluedit_a.jsonl"):
        near = [Asked(n["question"], tuple(n["answers"]), "hallu") for n in one["neighbours"]]
        facts.append(Fact(one["id"], one["relation"], one["subject"], one["question"],
                          one["answer"], tuple(dict.fromkeys([one["answer"], *one["aliases"]])),
                          tuple(one["paraphrases"]), tuple(near[:1]), tuple(near[1:])))
    random.Random(SEED).shuffle(facts)
    return facts


def is_fit(fact: Fact) -> bool:
    """A short answer that the question does not give away, about a subject that has a name."""
    given_away = any(alias.casefold() in fact.question.casefold() for alias in fact.accepted)
    return len(fact.subject) > 2 and len(fact.answer) <= 40 and not given_away


def with_neighbours(fact: Fact, others: list[Fact], n: int = 2) -> Fact:
    """PopQA has no neighbours of its own: others of its relation, and of its subject if any."""
    near = [one for one in others[len(others) // 2:] if one.subject != fact.subject]
    near = random.Random(fact.id).sample(near, min(n, len(near)))
    asked = tuple(Asked(one.question, one.accepted, "popqa") for one in near)
    return Fact(**{**fact.__dict__, "same_relation": asked})


@dataclass
class Draws:
    """Facts that the model answers wrongly: those that choose settings, and the report's draws."""

    choose: list[Fact]
    tune: list[Fact]  # more of those that choose settings, as many as a draw of the report
    report: list[list[Fact]]
    more: list[Fact]  # for long streams, after the report's

    @property
    def stream(self) -> list[Fact]:
        return [fact for facts in self.report for fact in facts] + self.more


def draw(knows: Callable[[Fact], bool], n_stream: int = 0) -> Draws:
    """n_stream: the stream has so many at least."""
    by_relation, natural = popqa(), hallu()
    front = _wrong(_turns(by_relation), knows), _wrong(iter(natural), knows)
    back = (_wrong(_turns(_backwards(by_relation)), knows),
            _wrong(iter(natural[-N_NEAR - 1::-1]), knows))

    def take(n_popqa: int, n_hallu: int, source: Any = front, near: int = 2) -> list[Fact]:
        taken = [with_neighbours(one, by_relation[one.relation], near)
                 for one in _next(source[0], n_popqa)]
        taken += _next(source[1], n_hallu)
        random.Random(SEED).shuffle(taken)
        return taken

    choose = take(N_CHOOSE - 2, 2)
    tune = take(N_POPQA, N_HALLU, back, 5)
    report = [take(N_POPQA, N_HALLU) for _ in range(N_DRAWS)]
    missing = n_stream - N_DRAWS * (N_POPQA + N_HALLU)
    more = [take(N_POPQA, N_HALLU) for _ in range(0, missing, N_POPQA + N_HALLU)]
    return Draws(choose, tune, report, [fact for facts in more for fact in facts])


def _backwards(by_relation: dict[str, list[Fact]]) -> dict[str, list[Fact]]:
    """The halves that are taught from, from their ends, of relations that no stream comes to the
    end of."""
    return {relation: facts[len(facts) // 2 - 1::-1] + facts[len(facts) // 2:]
            for relation, facts in by_relation.items() if len(facts) > 200}


def _turns(by_relation: dict[str, list[Fact]]) -> Iterator[Fact]:
    """A fact of each relation in turn, so that no relation makes up a draw."""
    for i in range(max(len(facts) for facts in by_relation.values()) // 2):
        for facts in by_relation.values():
            if i < len(facts) // 2:  # the second half are neighbours
                yield facts[i]


def _wrong(facts: Iterator[Fact], knows: Callable[[Fact], bool]) -> Iterator[Fact]:
    seen: set[str] = set()
    for fact in facts:
        if is_fit(fact) and fact.subject not in seen and not knows(fact):
            seen.add(fact.subject)
            yield fact


def _next(facts: Iterator[Fact], n: int) -> list[Fact]:
    return [next(facts) for _ in range(n)]


# ---- what the model may know --------------------------------------------------------------------


# of relations.jsonl: what small models know well, and what they know something of
WELL = ("country_capital_city", "country_largest_city", "country_currency")
SOME = ("landmark_on_continent", "substance_phase", "fruit_inside_color", "fruit_outside_color",
        "person_native_language", "person_plays_pro_sport", "product_by_company",
        "object_superclass", "food_from_country", "person_plays_position_in_sport")


def candidates() -> list[Asked]:
    """Questions of many kinds in turn, more of those that a small model may know; none of them is
    of a fact that may be taught."""
    by_kind = _relations()
    hard = by_kind["hard"] + list(_capitals()) + list(_nq()) + list(_hallu_near())
    kinds = [(1, by_kind["well"]), (2, list(_elements())), (2, by_kind["some"]), (1, hard)]
    for _, kind in kinds:
        random.Random(SEED).shuffle(kind)
    mixed = []
    for i in range(max(len(kind) for _, kind in kinds)):
        for n, kind in kinds:
            mixed += kind[n * i:n * i + n]
    return list(dict.fromkeys(mixed))


def _relations() -> dict[str, list[Asked]]:
    kinds: dict[str, list[Asked]] = {"well": [], "some": [], "hard": []}
    for one in lines("edits", "relations.jsonl"):
        relation = one["relation"]
        kind = "well" if relation in WELL else "some" if relation in SOME else "hard"
        if one["question"]:
            accepted = tuple(dict.fromkeys([one["answer"], *one["aliases"]]))
            kinds[kind].append(Asked(one["question"], accepted, "relations"))
    return kinds


def _capitals() -> Iterable[Asked]:
    """The relations of PopQA that small models know something of; the second half of each."""
    by_relation = popqa()
    for relation in ("capital", "capital of", "country", "sport", "author", "religion"):
        for one in by_relation[relation][len(by_relation[relation]) // 2:][:80]:
            yield Asked(one.question, one.accepted, "popqa")


def _elements() -> Iterable[Asked]:
    for one in lines("facts", "elements.jsonl")[1:]:
        name = one["name"].lower()
        yield Asked(f"What is the chemical symbol of {name}?", (one["symbol"],), "elements")
        yield Asked(f"What is the atomic number of {name}?", (one["atomicNumber"],), "elements")


def _nq() -> Iterable[Asked]:
    for one in lines("qa", "NQ-open.dev.jsonl")[:400]:
        question = one["question"]
        yield Asked(question[0].upper() + question[1:] + "?", tuple(one["answer"]), "nq")


def _hallu_near() -> Iterable[Asked]:
    for fact in hallu()[-N_NEAR:]:
        for near in fact.same_relation:
            yield Asked(near.question, near.accepted, "hallu")


# ---- texts --------------------------------------------------------------------------------------


def prose(n: int, part: str = "test") -> list[str]:
    """Paragraphs of wikitext-2, spread over the file."""
    with open(shared("text", f"wikitext-2.{part}.txt"), encoding="utf-8") as file:
        found = [line.strip() for line in file if len(line) > 300]
    return found[::max(1, len(found) // n)][:n]


def glosses(n: int) -> list[str]:
    found = lines("facts", "wordnet_glosses.jsonl")
    picked = random.Random(SEED).sample(found, n)
    return [f"{one['words'][0].replace('_', ' ')}: {one['gloss']}" for one in picked]


def nq_questions(n: int) -> list[str]:
    """The last of NQ-open: none of them is a candidate."""
    found = lines("qa", "NQ-open.dev.jsonl")[-n:]
    return [one["question"][0].upper() + one["question"][1:] + "?" for one in found]
