#!/usr/bin/env python3
"""Build the `documents` task: short passages about one entity, several real facts together, each in twelve texts.

    prepare_documents.py --source DIR [--out DIR] [--seed N]

DIR holds qa/popqa_test.json (PopQA). The output, documents.jsonl, depends only on the input, on atlas's data and the seed.
No subject is one of atlas's known or new facts, so pretraining never saw it. A document's facts pass the limits of atlas's
new facts, but for one: a title may be an ordinary word, since the passage says which work is meant.
"""
import argparse
import collections
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ATLAS = os.path.join(HERE, "..", "atlas")
sys.path.insert(0, ATLAS)
import prepare  # noqa: E402
import train_tokenizer  # noqa: E402

N_PROSE, N_OPENED = 5, 2        # texts of whole sentences; of those with a title line in front ("Shaft, a work directed by ...")
RELATION = {"A": "author", "C": "composer", "D": "director", "G": "genre", "P": "producer", "W": "screenwriter",
            "F": "father", "M": "mother", "L": "country", "K": "capital"}

# PopQA as we have it names no entity, and its rows of one title are often of several works ("Volcano" is a film and an episode
# of a series). So the rows that belong together were picked by hand, from general knowledge of the works, and often confirmed by
# a person who appears in two rows; the facts themselves are PopQA's, taken from it by this script. One entity a line; "=" says
# which row where there are several of the relation.
ENTITIES = """
After Hours: P; D=Martin Scorsese; W=Joseph Minion
Alien: G; P; D
Annie: D=Will Gluck; W=Will Gluck; P; C
Arthur: D; W=Steve Gordon; C
Avatar: P; D=James Cameron; G
Big: P; W; D
Bird: P; D; G
Blow: P; D; W; G=biographical film
Bol: D; W; C
Butterfly: P=Matt Cimber; D; C
Chicago: D=Rob Marshall; W=Bill Condon; C=John Kander
Clockwise: G; P; W; C
Control: P; W; C
Desire: P; W=Edwin Justus Mayer; C=Friedrich Hollaender
Elizabeth: G; D; W
Evergreen: P; D; C
Frequency: P; D; W
Fresh: P; D; W; C
Girlfriend: P; D; W
Glory: G; P; D; W; C
Gorgeous: P; D; W
Gravity: P; W; C
Grease: G; D; C
Halloween: P=Debra Hill; W=Debra Hill; C
Holes: G; P; W; C
Inside Out: P=Jonas Rivera; D; W; C
Kes: P; D; W
Kites: P; D; W
Kitty: P; D; W
Laura: D; W; C
Legend: D=Boyapati Srinu; W=Boyapati Srinu; C
More: P; D=Barbet Schroeder; C
Most: P; W; C
Mud: D; W; G
Neighbours: P; D; G=pixilation
Nine: P; D; W; C
Nuts: P; D; W; C
On the Town: P; W; C
Opera: P; W; G; C
Over the Top: P; W; C
PK: P; D; W
Pan: P; W=Jason Fuchs; C
Paprika: D; W=Satoshi Kon; C; G
Pixels: P; D; W
Pizza: D; W; C
Premi: D; W; C
Queen: P; D; W; C
Reds: P; D; W
Rent: P; W; C
Results: G; D; W
Ride: G; D; W
Rocky: P; W; C
Romance: P=Clarence Brown; D=Clarence Brown; W=Edwin Justus Mayer
Seven: P=Arnold Kopelson; D=David Fincher; W
Shaft: P; D; W; G
Sisters: P; D; W
Spy: G; P; W
Stretch: G; D; W
Style: D; W; C
Taken: P=Luc Besson; D=Pierre Morel; W
The Artist: P; D; C
The Car: P; D; G
The Cardinal: P; W; C
The Claim: D; W; C
The Dilemma: P; D; W
The Dove: P=Norma Talmadge; D=Roland West; W
The East: P; W; C
The Entity: G; D; W=Frank De Felitta
The Fan: P; D; W
The Firm: P=Sydney Pollack; C; G=film adaptation
The Fly: P; W=David Cronenberg; C; G
The Fog: P; W=John Carpenter; C
The Holiday: P; D; W
The Host: P; D=Andrew Niccol; W=Stephenie Meyer
The Hurricane: P; D; G
The Intern: P; D; W; G
The International: D; C; G
The Internship: P; W; G
The Interview: P; D; C; G=comedy film
The Island: P=Michael Bay; D=Michael Bay; C
The Judge: D; W; C
The Keeper: P; W; G
The List: P; D; G
The Lover: P; D; W
The Matrix: D; W; G
The Mirror: D=Andrei Tarkovsky; W=Andrei Tarkovsky; C
The Myth: P; D; G
The Omen: D; W; C
The Paper: P; W; C
The Party: P; D; G
The Piano: P; W; C
The Prestige: P; W; C
The Prize: G; W; C
The Room: P; D; C
The Sting: P; D; C
The Switch: P; D; W
The Take: P; D=Naomi Klein; W; G=documentary film
The Terminal: P; D; W
The Toy: D; W=Francis Veber; G
The Treatment: P; D; C
The Well: P; D=Russell Rouse; W=Russell Rouse; G
The Wiz: P; W; C
Tim: P; D; G
Together: D; W; G
Trance: P; D; W
Troy: W; C; G
Up in the Air: P; D=Jason Reitman; W; G
Wolf: D; W=Wesley Strick; C
Ada: P; W
Amistad: P; W
Angel: P=Ernst Lubitsch; C=Friedrich Hollaender
Anna: D; W
Anonymous: D; W
Blade: P; D
Boy: P; W
Bullet: D; W
Cabaret: D; C
Candy: P; W=Luke Davies
Carousel: C; A
Cell Phone: D; W
Closer: P; W
Clue: P; W
Cocktail: P; D=Homi Adajania
Commissioner: D; W
Cousins: D; W
Crash: P; D
Darling: D; W
Dedication: D; W
Drift: P; D
Earth: P; W=Bapsi Sidhwa
Easy Money: W; C
El Cid: P; D
Endurance: D; W
Eva: D; W
Face: D=Antonia Bird; W=Ronan Bennett
Fame: W; C
Ghost: P=Bruce Joel Rubin; D=Jerry Zucker
Greed: P; W
Heavy: W; C
Hell: P; W
Hero: P=Laura Ziskin; W=David Peoples
High Season: G; D
Holi: D; W
Hook: D; W
Hop: P; D
Hugo: P; D
Imagine: P=Phil Spector; C=John Lennon
Jade: W; C
Leader: P=M. S. Guhan; W
Leverage: P; C
Link: W; C
Made: P; W
Mall: D; W
Memories: D; W=Satoshi Kon
Michael: W; C
Milk: G; W
Missing: W; C
Monster: P=Charlize Theron; D=Patty Jenkins
Neighbors: P; D
Off the Wall: P; C
Old School: D; W
On the Road: P; D
Phenomenon: D; C
Philadelphia: P; W
Precious: P; W
Pride: D; W
Privilege: P; D
Puzzle: D; W
Ready: D=Srinu Vaitla; C
Saw: W; C
Seconds: P; W
Serial: D; C
Signs: P; C
Silence: D; W=Jay Cocks
Singles: P; C
Smoke: P; W
Stick: D; W
Sunshine: D; W
Teresa: D; W
The Accused: D; W=Tom Topor
The Anniversary: P; D
The Bachelor: P; W
The Balcony: D; W
The Campaign: P; D
The Chorus: P; W
The Corporation: D; W
The Descendants: P; W
The Express: D; C
The Fountain: P; D
The Fox: D; W
The Gift: D=Sam Raimi; W=Billy Bob Thornton
The Graduate: P; C
The Guru: D=James Ivory; W
The Hand: D=Oliver Stone; C
The Hours: D; W
The Idea: D; C
The Jacket: P; W=Massy Tadjedin
The Men: P; W
The Mission: W; C
The Passenger: P; W
The Raid: W; C
The Reader: P; W
The Ref: P; C
The Robe: P; C
The Shooting: P; W
The Split: D; C
The Trip: P; W
The Van: D; W
The Verdict: D=Sidney Lumet; W=David Mamet
Thrilling: D; W
Timeline: P; C
Toni: P; W
Trash: P; W
Unfriended: P; D
Up: W; C
Vacation: P; D
Victim: P; W
Vincent: P; W
Virus: D; W=Chuck Pfarrer
Wanted: P; D=Timur Bekmambetov
Witness: D; C
Asher: F; M
Cable: F; M
Eryx: F; M
Ganesha: F; M
Horus: F; M
Jacob: F; M
Koxinga: F; M
Krishna: F; M
Nathan: F; M
Paris: F; M
Rama: F; M
Senhime: F; M
Tocantins: L; K
Utu: F; M
Vajiralongkorn: F; M
Yonglin: F; M
"""


def read_lines(name):
    with open(os.path.join(ATLAS, "data", name), encoding="utf-8") as rows:
        return [json.loads(row) for row in rows]


# --------------------------------------------------------------------------------------------------------------- facts
def parse_entities():
    for line in ENTITIES.strip().split("\n"):
        subject, facts = line.split(": ", 1)
        picks = [(RELATION[p[0]], p[2:] or None) for p in facts.split("; ")]
        assert len({r for r, _ in picks}) == len(picks) >= 2, line
        yield subject, picks


def cleaned(facts):
    """The source's rows by subject and relation, with the aliases that atlas's facts would have."""
    by_relation = collections.defaultdict(list)
    for f in facts:
        by_relation[f["relation"]].append(f)
    table = collections.defaultdict(list)
    for relation, rows in by_relation.items():
        for f in prepare.clean_aliases(rows):
            table[f["subject"], relation].append(f)
    return table


def pick(rows, answer, what):
    """One fact of the rows: they must agree on the answer, and only the aliases that all of them accept are kept."""
    rows = [f for f in rows if answer in (None, f["answer"])]
    assert len({f["answer"] for f in rows}) == 1, (what, answer, [f["answer"] for f in rows])
    shared = [a for a in rows[0]["aliases"] if all(a in f["aliases"] for f in rows)]
    return {**rows[0], "aliases": shared}


def fits(fact):
    """The limits of atlas's new facts, for one fact; see prepare.py."""
    return prepare.reads_well(fact) and not prepare.gives_itself_away(fact) and prepare.ordinary(fact)


def collect(source, known, new):
    table = cleaned(prepare.read_popqa(os.path.join(source, "qa", "popqa_test.json")))
    taken = {prepare.folded(f["subject"]) for f in known + new}
    answers = {f["answer"] for f in known}
    for subject, picks in parse_entities():
        facts = [pick(table[subject, r], answer, (subject, r)) for r, answer in picks]
        assert prepare.folded(subject) not in taken, subject
        assert all(map(fits, facts)), [f["answer"] for f in facts if not fits(f)]
        taken.add(prepare.folded(subject))
        yield {"subject": subject, "facts": [{"id": "", "relation": f["relation"], "answer": f["answer"], "aliases": f["aliases"],
                                              "answer_seen": f["answer"] in answers} for f in facts]}


# --------------------------------------------------------------------------------------------------------------- texts
class Writer:
    """Makes the texts of one document from train wordings, and knows where the answers stand in them."""

    def __init__(self, document, wordings, rng):
        self.subject, self.facts, self.rng = document["subject"], document["facts"], rng
        train = {f["relation"]: [w for w in wordings[f["relation"]] if w["role"] == "train"] for f in self.facts}
        self.forms = {r: {k: [w for w in ws if w["kind"] == k] for k in ("question", "dialogue")} for r, ws in train.items()}
        for r, ws in train.items():
            plain = [w for w in ws if w["kind"] in ("statement", "inverted")]
            # "{s}, a work directed by" is no sentence, but reads well as the line that opens a passage.
            self.forms[r]["opening"] = [w for w in plain if w["prompt"].startswith("{s},")]
            self.forms[r]["sentence"] = [w for w in plain if w not in self.forms[r]["opening"]]

    def shuffled(self, n):
        return self.rng.sample(range(n), n)

    def text(self, order, wordings, between):
        """Joins the facts in this order, each in its wording; spans are in the order of the document's facts."""
        text, spans = "", [None] * len(self.facts)
        for i, w in zip(order, wordings):
            text += (between if text else "") + w["prompt"].replace("{s}", self.subject) + " "
            begin = len(text.encode())
            text += self.facts[i]["answer"]
            spans[i] = [begin, len(text.encode())]
            text += w["end"].rstrip("\n")
        return {"text": text + "\n", "spans": spans}

    def prose(self, turn, opened):
        """Neighbouring facts get different forms, and over the turns each fact goes through all of its forms."""
        order = self.shuffled(len(self.facts))
        forms = [self.forms[self.facts[i]["relation"]] for i in order]
        chosen = [f["sentence"][(self.slots[turn % len(self.slots)] + i) % len(f["sentence"])] for i, f in zip(order, forms)]
        if opened:
            chosen[0] = forms[0]["opening"][0]
        return self.text(order, chosen, " ")

    def lines(self, kind, turn):
        order = self.shuffled(len(self.facts))
        return self.text(order, [self.forms[self.facts[i]["relation"]][kind][turn] for i in order], "\n")

    def write(self):
        while True:
            self.slots = self.shuffled(N_PROSE)
            out = [self.prose(t, t >= N_PROSE) for t in range(N_PROSE + N_OPENED)]
            out += [self.lines("question", t) for t in range(2)] + [self.lines("dialogue", t) for t in range(3)]
            if len({r["text"] for r in out}) == len(out):
                return out


# ------------------------------------------------------------------------------------------------------------ the sets
def share_out(documents, rng):
    """Two sets with the same numbers of facts a document; then ids (which facts get too), in a mixed order."""
    turn = 0
    for n in sorted({len(d["facts"]) for d in documents}, reverse=True):
        same = [d for d in documents if len(d["facts"]) == n]
        for d in rng.sample(same, len(same)):
            d["set"] = ("select", "report")[turn % 2]
            turn += 1
    rng.shuffle(documents)
    for i, d in enumerate(documents):
        d["id"] = "document-%04d" % (i + 1)
        for f in d["facts"]:
            f["id"] = "%s-%s" % (d["id"], f["relation"])
    return documents


# -------------------------------------------------------------------------------------------------------------- checks
def asked(document, wordings):
    """The texts that only questions may have: test and held wordings, filled with the subject."""
    for f in document["facts"]:
        for w in wordings[f["relation"]]:
            if w["role"] != "train":
                yield w["prompt"].replace("{s}", document["subject"])


def training_tokens(known, wordings):
    spec = json.load(open(os.path.join(ATLAS, "data", "tokenizer.json"), encoding="utf-8"))["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in spec["merges"]]
    encoder = train_tokenizer.Encoder(spec["vocab"], merges)
    text = open(os.path.join(ATLAS, "data", "text.train.txt"), encoding="utf-8").read().splitlines(keepends=True)
    seen = set()
    for t in [*train_tokenizer.fact_texts(known, wordings), *text]:
        seen.update(encoder.encode(t))
    return encoder, seen, text


def check(documents, known, wordings):
    """What the task's claims rest on; a failure here is a bug of this script or of the list above."""
    encoder, seen, text = training_tokens(known, wordings)
    guard = prepare.NewFactGuard([{"subject": d["subject"], "aliases": f["aliases"]} for d in documents for f in d["facts"]])
    told = [line for line in text if guard.gives_away(line)]
    pairs = {frozenset((prepare.folded(f["subject"]), prepare.folded(f["answer"]))) for f in known}
    for d in documents:
        for f in d["facts"]:
            assert frozenset((prepare.folded(d["subject"]), prepare.folded(f["answer"]))) not in pairs, f
            assert set(encoder.encode(" " + f["answer"])) <= seen, f
        for r in d["rewrites"]:
            assert [r["text"].encode()[b:e].decode() for b, e in r["spans"]] == [f["answer"] for f in d["facts"]], r
            assert not any(q in r["text"] for q in asked(d, wordings)), r
    assert not told, "general text tells a fact of a document: %s" % told[:3]
    return [len(encoder.encode(r["text"])) for d in documents for r in d["rewrites"]]


def report(documents, tokens, path):
    facts = [{**f, "subject": d["subject"]} for d in documents for f in d["facts"]]
    for name in ("select", "report"):
        mine = [d for d in documents if d["set"] == name]
        print("%-7s %d documents, %d facts, by number of facts: %s" % (
            name, len(mine), sum(len(d["facts"]) for d in mine),
            ", ".join("%dx%d" % (c, n) for n, c in sorted(collections.Counter(len(d["facts"]) for d in mine).items()))))
    people = lambda d: [{prepare.folded(a) for a in f["aliases"]} for f in d["facts"] if f["relation"] in prepare.WORKS - {"genre"}]
    confirmed = sum(any(a & b for i, a in enumerate(s) for b in s[:i]) for s in map(people, documents))
    print("confirmed by a person in two rows: %d of %d; documents whose answers are all one: %d" % (
        confirmed, len(documents), sum(len({f["answer"] for f in d["facts"]}) == 1 for d in documents)))
    print("relations:", ", ".join("%s %d" % rc for rc in collections.Counter(f["relation"] for f in facts).most_common()))
    constant, best, _ = prepare.majority(facts)
    print("answer_seen %.1f%%; F1 of the relation's commonest answer %.3f, of the best constant guess %.3f" % (
        100 * sum(f["answer_seen"] for f in facts) / len(facts), constant, best))
    print("tokens a text: mean %.1f, max %d; file: %d bytes" % (sum(tokens) / len(tokens), max(tokens), os.path.getsize(path)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="folder with qa/popqa_test.json")
    parser.add_argument("--out", default=os.path.join(HERE, "data"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    known, new = read_lines("known.jsonl"), read_lines("new.jsonl")
    wordings = json.load(open(os.path.join(ATLAS, "data", "wordings.json"), encoding="utf-8"))
    documents = share_out(list(collect(args.source, known, new)), rng)
    for d in documents:
        d["rewrites"] = Writer(d, wordings, rng).write()
    tokens = check(documents, known, wordings)
    order = ("id", "set", "subject", "facts", "rewrites")
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, "documents.jsonl")
    prepare.write_lines(path, [json.dumps({k: d[k] for k in order}, ensure_ascii=False) for d in documents])
    report(documents, tokens, path)


if __name__ == "__main__":
    main()
