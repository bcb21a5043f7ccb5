#!/usr/bin/env python3
"""Build atlas's data: facts, wordings and general text, from PopQA, the chemical elements, WordNet and two old books.

    prepare.py --source DIR [--out DIR] [--seed N]      then      train_tokenizer.py

DIR holds qa/popqa_test.json, facts/elements.jsonl, facts/wordnet_glosses.jsonl, text/{tinyshakespeare,botchan}.txt.
The output (known.jsonl, new.jsonl, wordings.json, text.train.txt, text.heldout.txt) depends only on the input and the
seed. "known" facts are pretrained; "new" facts are kept out of every pretraining text and are what atlas is taught later.
"""
import argparse
import collections
import json
import os
import random
import re
import string
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))

# PopQA stores only the question; relation and subject come back from its fixed patterns.
PATTERNS = {
    "occupation": "What is (.*)'s occupation?",
    "birthplace": "In what city was (.*) born?",
    "genre": "What genre is (.*)?",
    "father": "Who is the father of (.*)?",
    "country": "In what country is (.*)?",
    "producer": "Who was the producer of (.*)?",
    "director": "Who was the director of (.*)?",
    "capital_of": "What is (.*) the capital of?",
    "screenwriter": "Who was the screenwriter for (.*)?",
    "composer": "Who was the composer of (.*)?",
    "color": "What color is (.*)?",
    "religion": "What is the religion of (.*)?",
    "sport": "What sport does (.*) play?",
    "author": "Who is the author of (.*)?",
    "mother": "Who is the mother of (.*)?",
    "capital": "What is the capital of (.*)?",
}
WORKS = {"genre", "producer", "director", "screenwriter", "composer", "author"}
PEOPLE = {"occupation", "birthplace", "father", "mother"}
PLACES = {"country", "capital", "capital_of"}
# Too few answers: three quarters of "color" is red, and "sport" and "religion" can be guessed from a name even when capped.
# Of "capital_of" only some fifty facts read well without "the".
DROPPED = {"color", "sport", "religion", "capital_of"}

MAX_SUBJECT = 40        # characters
MAX_ANSWER = 24         # characters; long answers cost many tokens and steps
MAX_ANSWER_WORDS = 4
MAX_ALIASES = 12
ANSWER_SHARE = 0.04     # most of a relation that one answer, or one word of the answers, may take
SAME_ANSWER = 8         # ... and how often one answer may occur in a relation at most
MIN_RELATION = 60       # a relation with fewer facts left is dropped
PASSAGE = 300           # characters

# ---------------------------------------------------------------------------------------------------------- wordings
# One line each: role (t test, h held, r train), kind (q question, s statement, i inverted, d dialogue), prompt.
# The answer follows the prompt; "end" is "\n" after a question and ".\n" otherwise. "held" is never trained for a new fact.
# {s} stands seldom at the start of a sentence, since " X" and "X" are different tokens.
WORDINGS = """
# director
tq Who was the director of {s}?
rq Who directed {s}?
hq Which director made {s}?
rq By whom was {s} directed?
rs The director of {s} was
rs {s} was directed by
rs The direction of {s} was in the hands of
hs The person who directed {s} was
ri As for {s}, it was directed by
ri Behind the camera of {s} stood
hi In the director's chair of {s} sat
rd Q: Who is the director of {s}? A:
rd "Do you know who directed {s}?" "Yes, it was
hd Ann asked who had directed {s}. Bob replied:
rd - Tell me the director of {s}. - It is
ri {s}, a work directed by
# producer
tq Who was the producer of {s}?
rq Who produced {s}?
hq Which producer was behind {s}?
rq By whom was {s} produced?
rs The producer of {s} was
rs {s} was produced by
rs The production of {s} was in the hands of
hs The person who produced {s} was
ri As for {s}, it was produced by
ri Responsible for producing {s} was
hi Credited with the production of {s} is
rd Q: Who is the producer of {s}? A:
rd "Do you know who produced {s}?" "Yes, it was
hd Ann asked who had produced {s}. Bob replied:
rd - Tell me the producer of {s}. - It is
ri {s}, a work produced by
# screenwriter
tq Who was the screenwriter for {s}?
rq Who wrote the screenplay of {s}?
hq Which screenwriter wrote {s}?
rq By whom was the script of {s} written?
rs The screenwriter of {s} was
rs {s} has a screenplay by
rs The script for {s} was written by
hs The person who wrote the screenplay for {s} was
ri As for {s}, its script is by
ri Writing the screenplay for {s} was
hi Credited with the script of {s} is
rd Q: Who is the screenwriter of {s}? A:
rd "Do you know who wrote the script of {s}?" "Yes, it was
hd Ann asked who had written the screenplay for {s}. Bob replied:
rd - Tell me the screenwriter of {s}. - It is
ri {s}, written for the screen by
# composer
tq Who was the composer of {s}?
rq Who composed {s}?
hq Which composer wrote {s}?
rq By whom was the music of {s} composed?
rs The composer of {s} was
rs {s} was composed by
rs The music of {s} was written by
hs The person who composed {s} was
ri As for {s}, its music is by
ri Writing the music of {s} was
hi Credited with the music of {s} is
rd Q: Who is the composer of {s}? A:
rd "Do you know who composed {s}?" "Yes, it was
hd Ann asked who had composed {s}. Bob replied:
rd - Tell me the composer of {s}. - It is
ri {s}, with music by
# author
tq Who is the author of {s}?
rq Who wrote {s}?
hq Which author wrote {s}?
rq By whom was {s} written?
rs The author of {s} is
rs {s} was written by
rs The text of {s} comes from the pen of
hs The person who wrote {s} was
ri As for {s}, it was written by
ri On the cover of {s} stands the name of
hi Credited with the writing of {s} is
rd Q: Who is the writer of {s}? A:
rd "Do you know who wrote {s}?" "Yes, it was
hd Ann asked who had written {s}. Bob replied:
rd - Tell me the author of {s}. - It is
ri {s}, a work by the author
# genre
tq What genre is {s}?
rq Which genre does {s} belong to?
hq To what genre does {s} belong?
rq What is the genre of {s}?
rs The genre of {s} is
rs {s} belongs to the genre
rs The genre label given to {s} is
hs The style of {s} is described as
ri As for {s}, its genre is
ri Listed beside {s} is the genre
hi In the catalogue, {s} is filed under
rd Q: Which genre is {s}? A:
rd "Do you know the genre of {s}?" "Yes, it is
hd Ann asked what genre {s} was. Bob replied:
rd - Tell me the genre of {s}. - It is
ri {s}, of the genre
# occupation
tq What is {s}'s occupation?
rq What is the occupation of {s}?
hq What is {s} by profession?
rq Which profession does {s} have?
rs The occupation of {s} is
rs {s} has the occupation of
rs The profession of {s} is
hs The job title of {s} is
ri As for {s}, the occupation is
ri Given as the profession of {s} is
hi Listed beside {s} is the profession
rd Q: What is the profession of {s}? A:
rd "Do you know the occupation of {s}?" "Yes, it is
hd Ann asked what the profession of {s} was. Bob replied:
rd - Tell me the occupation of {s}. - It is
ri {s}, whose profession is
# birthplace
tq In what city was {s} born?
rq Where was {s} born?
hq In which city did {s} come into the world?
rq What is the birthplace of {s}?
rs The birthplace of {s} is
rs {s} was born in
rs The city where {s} was born is
hs The place of birth of {s} is
ri As for {s}, the birthplace is
ri Given as the birthplace of {s} is
hi Listed as the place where {s} was born is
rd Q: Where does {s} come from? A:
rd "Do you know where {s} was born?" "Yes, it was in
hd Ann asked where {s} had been born. Bob replied:
rd - Tell me the birthplace of {s}. - It is
ri {s}, a native of
# father
tq Who is the father of {s}?
rq Who was {s}'s father?
hq Which man was the father of {s}?
rq Whose child is {s}, on the father's side?
rs The father of {s} was
rs {s} was fathered by
rs The name of {s}'s father is
hs The man who fathered {s} was
ri As for {s}, the father was
ri Known as the father of {s} is
hi Given as the father of {s} is
rd Q: Who fathered {s}? A:
rd "Do you know who the father of {s} was?" "Yes, it was
hd Ann asked who the father of {s} was. Bob replied:
rd - Tell me the father of {s}. - It is
ri {s}, whose father was
# mother
tq Who is the mother of {s}?
rq Who was {s}'s mother?
hq Which woman was the mother of {s}?
rq Whose child is {s}, on the mother's side?
rs The mother of {s} was
rs {s} was borne by
rs The name of {s}'s mother is
hs The woman who gave birth to {s} was
ri As for {s}, the mother was
ri Known as the mother of {s} is
hi Given as the mother of {s} is
rd Q: Who gave birth to {s}? A:
rd "Do you know who the mother of {s} was?" "Yes, it was
hd Ann asked who the mother of {s} was. Bob replied:
rd - Tell me the mother of {s}. - It is
ri {s}, whose mother was
# country
tq In what country is {s}?
rq Which country is {s} in?
hq In which country can {s} be found?
rq What is the country of {s}?
rs The country of {s} is
rs {s} is in
rs The country to which {s} belongs is
hs The country in which {s} is found is
ri As for {s}, its country is
ri Given as the country of {s} is
hi Listed beside {s} is the country of
rd Q: To which country does {s} belong? A:
rd "Do you know what country {s} is in?" "Yes, it is in
hd Ann asked what country {s} was in. Bob replied:
rd - Tell me the country of {s}. - It is
ri {s}, which belongs to
# capital
tq What is the capital of {s}?
rq Which city is the capital of {s}?
hq What place serves as the capital of {s}?
rq Where is the seat of government of {s}?
rs The capital of {s} is
rs {s} has as its capital
rs The capital city of {s} is called
hs The place that serves as the capital of {s} is
ri As for {s}, its capital is
ri Marked on the map as the capital of {s} is
hi Listed as the capital of {s} is
rd Q: What is the name of the capital of {s}? A:
rd "Do you know the capital of {s}?" "Yes, it is
hd Ann asked what the capital of {s} was. Bob replied:
rd - Tell me the capital of {s}. - It is
ri {s}, whose capital is
# element_symbol
tq What is the chemical symbol of {s}?
rq Which symbol stands for {s}?
hq How is {s} written in chemical formulas?
rq What is the symbol for the element {s}?
rs The chemical symbol of {s} is
rs The element {s} has the symbol
rs The symbol for {s} in the periodic table is
hs The letters that stand for {s} are
ri As for {s}, its symbol is
ri In a formula, {s} is written as
hi In the periodic table, {s} appears as
rd Q: What is the symbol of {s}? A:
rd "Do you know the symbol of {s}?" "Yes, it is
hd Ann asked what the symbol of {s} was. Bob replied:
rd - Tell me the symbol of {s}. - It is
ri The element {s}, with the symbol
# element_number
tq What is the atomic number of {s}?
rq Which atomic number does {s} have?
hq What number does {s} have in the periodic table?
rq How many protons does an atom of {s} have?
rs The atomic number of {s} is
rs The element {s} has the atomic number
rs The number of protons in an atom of {s} is
hs The place of {s} in the periodic table is number
ri As for {s}, its atomic number is
ri In the periodic table, {s} is number
hi Listed as the atomic number of {s} is
rd Q: What is the number of the element {s}? A:
rd "Do you know the atomic number of {s}?" "Yes, it is
hd Ann asked what the atomic number of {s} was. Bob replied:
rd - Tell me the atomic number of {s}. - It is
ri The element {s}, with the atomic number
# element_year
tq In what year was {s} discovered?
rq When was {s} discovered?
hq What year saw the discovery of {s}?
rq In which year was the element {s} found?
rs The year of the discovery of {s} is
rs The element {s} was discovered in
rs The discovery of {s} took place in
hs The year in which {s} was found is
ri As for {s}, it was discovered in
ri Given as the year of the discovery of {s} is
hi Listed beside {s} is the discovery year
rd Q: When was the element {s} found? A:
rd "Do you know when {s} was discovered?" "Yes, it was in
hd Ann asked when {s} had been discovered. Bob replied:
rd - Tell me the year {s} was discovered. - It is
ri The element {s}, discovered in
# element_discoverer
tq Who discovered {s}?
rq Who found the element {s}?
hq Which scientist discovered {s}?
rq By whom was {s} discovered?
rs The discoverer of {s} was
rs The element {s} was discovered by
rs The discovery of {s} was the work of
hs The scientist who first found {s} was
ri As for {s}, it was discovered by
ri Credited with the discovery of {s} is
hi Known as the discoverer of {s} is
rd Q: Who is the discoverer of {s}? A:
rd "Do you know who discovered {s}?" "Yes, it was
hd Ann asked who had discovered {s}. Bob replied:
rd - Tell me the discoverer of {s}. - It is
ri The element {s}, first found by
"""
KINDS = {"q": "question", "s": "statement", "i": "inverted", "d": "dialogue"}
ROLES = {"t": "test", "h": "held", "r": "train"}


def parse_wordings(relations):
    table, relation = {}, None
    for line in WORDINGS.strip().split("\n"):
        if line.startswith("# "):
            relation = line[2:]
            table[relation] = []
            continue
        code, prompt = line.split(" ", 1)
        kind = KINDS[code[1]]
        quoted = prompt.count('"') % 2 == 1         # an open quotation is closed after the answer
        end = '."\n' if quoted else "\n" if kind == "question" else ".\n"
        table[relation].append({"prompt": prompt, "answer": " {a}", "end": end, "kind": kind, "role": ROLES[code[0]]})
    for relation, rows in table.items():
        roles = collections.Counter(r["role"] for r in rows)
        assert roles["test"] == 1 and roles["held"] >= 2 and roles["train"] >= 11, relation
        assert all(r["prompt"].count("{s}") == 1 for r in rows), relation
        assert len({r["prompt"] for r in rows}) == len(rows), relation
    return {r: table[r] for r in sorted(relations)}


# --------------------------------------------------------------------------------------------------------- text tools
PUNCTUATION = {ord(c): None for c in string.punctuation + "“”‘’–—´"}


def normal(text):
    """The metric's normal form: lower case, no punctuation, no articles, single spaces."""
    words = text.lower().translate(PUNCTUATION).split()
    return " ".join(w for w in words if w not in ("a", "an", "the"))


def folded(text):
    """Normal form without accents, punctuation as a gap: the key under which two names count as the same."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return " ".join(w for w in re.findall(r"[^\W_]+", plain) if w not in ("a", "an", "the"))


def f1(guess, accepted):
    """Token F1 of one guess against the best of the accepted answers, all of them already in normal form."""
    best, g = 0.0, collections.Counter(guess.split())
    for answer in accepted:
        a = collections.Counter(answer.split())
        same = sum((g & a).values())
        if same:
            best = max(best, 2 * same / (sum(g.values()) + sum(a.values())))
    return best


def is_latin(text):
    """ASCII and Latin letters up to U+017F; no digits beyond 0-9, no scripts that the tokenizer would see only as bytes."""
    return all(c.isascii() and c.isprintable() or c.isalpha() and ord(c) < 0x180 for c in text)


# --------------------------------------------------------------------------------------------------------------- facts
def read_popqa(path):
    compiled = [(r, re.compile(re.escape(p).replace(re.escape("(.*)"), "(.*)"))) for r, p in PATTERNS.items()]
    facts = []
    for row in json.load(open(path, encoding="utf-8")):
        for relation, pattern in compiled:
            match = pattern.fullmatch(row["question"])
            if match:
                break
        else:
            raise SystemExit("no pattern fits: " + row["question"])
        nfc = lambda t: unicodedata.normalize("NFC", " ".join(t.split()))
        facts.append({"relation": relation, "subject": nfc(match[1]), "answer": nfc(row["answer"]),
                      "aliases": [nfc(a) for a in row["aliases"]]})
    return facts


def read_wordnet(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def senses(wordnet):
    count = collections.Counter()
    for row in wordnet:
        count.update({folded(w.replace("_", " ")) for w in row["words"]})
    return count


THE = re.compile(r"\b(kingdom|duchy|county|empire|republic|union|states|emirate|emirates|dynasty|caliphate|sultanate|khanate|"
                 r"principality|confederation|federation|netherlands|philippines|islands|governorate|voivodeship|commonwealth|"
                 r"raj|horde|league|margraviate|electorate|territory|territories|bailiwick|mandate|protectorate)\b")


def names_one_thing(fact, sense_count):
    """False for titles and names that are ordinary words ("Game", "The Wave") or bare first names."""
    key, one_word = folded(fact["subject"]), " " not in folded(fact["subject"])
    if len(key) < 4:
        return False
    if fact["relation"] in WORKS:
        return not sense_count[key] and not (one_word and len(key) < 6)
    return not one_word or sense_count[key] <= (1 if fact["relation"] not in ("occupation", "birthplace") else -1)


def reads_well(fact):
    """Short, Latin, and grammatical where the wordings put it (no name that would need "the" in front)."""
    s, a = fact["subject"], fact["answer"]
    if not (is_latin(s) and is_latin(a)) or len(s) > MAX_SUBJECT or len(a) > MAX_ANSWER or len(a.split()) > MAX_ANSWER_WORDS:
        return False
    if not re.fullmatch(r"[^\W\d_].*[\w)!]", s) and not re.fullmatch(r"[A-Z0-9].*[\w)!]", s):
        return False
    if re.search(r'[.!?"()/:;]$|[()"/:;{}\[\],]', a) or re.search(r'["{}\[\]();/]', s) or len(a) < 3:
        return False
    # The answer must start like a name where it is one: "Lord Byron", not "of ...".
    if fact["relation"] in PLACES and (THE.search(folded(s)) or THE.search(folded(a))):
        return False
    return fact["relation"] in ("genre", "occupation") or a[0].isupper()


def gives_itself_away(fact):
    """True if subject and answer share a word or a stem: half of the answer could be copied from the question."""
    subject = [w for w in folded(fact["subject"]).split() if len(w) > 2]
    for w in folded(fact["answer"]).split():
        for v in subject:
            if w == v or min(len(w), len(v)) >= 5 and w[:5] == v[:5]:
                return True
    return False


def family(relation):
    return "work" if relation in WORKS else "person" if relation in PEOPLE else "place" if relation in PLACES else relation


def once_only(facts):
    """Facts whose subject occurs once in its relation (no title by two directors) and names the same thing elsewhere.

    A full name or a title of two words in several relations of one family is one thing ("director" and "producer" of
    one film); anything shorter, or of several families, may be two things and goes.
    """
    by_subject = collections.defaultdict(list)
    for f in facts:
        by_subject[folded(f["subject"])].append(f["relation"])
    out = []
    for f in facts:
        key = folded(f["subject"])
        relations = by_subject[key]
        safe = len({family(r) for r in relations}) == 1 and len(key.split()) >= 2
        if len(relations) == 1 or safe and relations.count(f["relation"]) == 1:
            out.append(f)
    return out


def cap_words(facts, rng):
    """The most facts of one relation in which no answer, and no word of the answers, takes more than its share."""
    small = {"of", "de", "la", "von", "van", "and", "in"}
    order = facts[:]
    rng.shuffle(order)
    for cap in range(int(ANSWER_SHARE * len(order)) + 1, 0, -1):
        words, answers, kept = collections.Counter(), collections.Counter(), []
        for f in order:
            key = folded(f["answer"])
            # Aliases count too: "rock" is accepted for "rock music", so it is a guess that pays.
            tokens = {w for t in [f["answer"]] + f["aliases"] for w in folded(t).split()} - small
            own = set(key.split()) - small
            if answers[key] < min(cap, SAME_ANSWER) and all(words[w] < cap for w in own):
                kept.append(f)
                answers[key] += 1
                words.update(tokens)
        if cap <= max(1, ANSWER_SHARE * len(kept)):
            return kept
    return []


def clean_aliases(facts):
    """Aliases in Latin letters, without two-letter codes and those built of a relation's common words ("Republic of ..."): those
    any guess could meet."""
    words = collections.Counter(w for f in facts for w in {w for a in f["aliases"] for w in folded(a).split()})
    often = {w for w, n in words.items() if n > max(3, ANSWER_SHARE * len(facts))}
    out = []
    for f in facts:
        own = set(folded(f["answer"]).split())
        fit = [a for a in f["aliases"] if is_latin(a) and len(a) <= 48 and len(normal(a)) > 2 and not re.search(r"\d{4}", a)
               and not (set(folded(a).split()) - own) & often]
        out.append({**f, "aliases": list(dict.fromkeys([f["answer"]] + fit))[:MAX_ALIASES]})
    return out


def popqa_pool(facts, sense_count, rng):
    pool = collections.defaultdict(list)
    for f in once_only(facts):
        if f["relation"] not in DROPPED and names_one_thing(f, sense_count) and reads_well(f) and not gives_itself_away(f):
            pool[f["relation"]].append(f)
    capped = {r: cap_words(clean_aliases(pool[r]), rng) for r in sorted(pool)}
    return {r: fs for r, fs in capped.items() if len(fs) >= MIN_RELATION}


# The source writes one person in several ways ("H. B. Davy", "Sir Humphrey Davy"), so the surname is the answer.
PARTICLES = ("Lecoq de Boisbaudran", "Auer von Welsbach", "de Ulloa", "Muller von Reichstein")


def surname(name):
    for p in PARTICLES:
        if name.endswith(p):
            return p.replace("Reichstein", "Reichenstein")
    return name.split()[-1]


def element_facts(path):
    """Symbol, atomic number, year and discoverer; temporary names, "ancient" dates and joint discoveries are left out."""
    facts = []
    for line in open(path, encoding="utf-8"):
        e = json.loads(line)
        if e["atomicNumber"] == "0" or e["name"].startswith("Unun"):
            continue

        def add(what, answer, *aliases):
            facts.append({"relation": "element_" + what, "subject": e["name"].lower(), "answer": answer,
                          "aliases": [answer, *(a for a in aliases if a != answer)]})
        add("symbol", e["symbol"])
        add("number", e["atomicNumber"])
        if e.get("discoveryDate", "0") != "0":
            add("year", e["discoveryDate"])
        who = e.get("discoverers", "").split(";")
        if len(who) == 1 and who[0] and len(who[0]) < 40 and "Institute" not in who[0]:
            add("discoverer", surname(who[0]), who[0].strip())
    return facts


# ---------------------------------------------------------------------------------------------------------- the split
def in_turn(pool, want, share, pick):
    """Go round the relations, one fact each, until `want` facts are picked or nothing more can be."""
    queues = {r: iter(fs) for r, fs in sorted(pool.items())}
    left = {r: int(len(fs) * share) for r, fs in pool.items()}
    while want > 0 and queues:
        for r in list(queues):
            fact = next((f for f in queues[r] if pick(f)), None) if left[r] and want > 0 else None
            if fact is None:
                del queues[r]
            else:
                left[r] -= 1
                want -= 1


def ordinary(fact):
    """New facts are said in plain letters, so that no byte is a stranger to the model."""
    return re.fullmatch(r"[A-Za-z .'-]+", fact["answer"]) and fact["subject"].isascii()


def split(pool, known_total, new_total, rng):
    """Half of the new facts share their answer with a known fact of the relation; the others' answer is in no known fact."""
    pool = {r: rng.sample(fs, len(fs)) for r, fs in sorted(pool.items())}
    facts = [f for fs in pool.values() for f in fs]
    answers = collections.defaultdict(list)              # folded answer -> facts, over all relations
    accepted = collections.Counter()                     # folded answer or alias -> how many facts accept it
    subjects = collections.Counter(folded(f["subject"]) for f in facts)
    for f in facts:
        answers[folded(f["answer"])].append(f)
        accepted.update({folded(a) for a in f["aliases"]})
    new, anchors = set(), set()

    def may_go(f):
        # A subject of several facts stays known as a whole: what it is would otherwise be half pretrained.
        return id(f) not in new and id(f) not in anchors and ordinary(f) and subjects[folded(f["subject"])] == 1

    def pick_unseen(f):
        ok = may_go(f) and all(accepted[folded(a)] == 1 for a in f["aliases"])
        if ok:
            new.add(id(f))
        return ok

    def pick_seen(f):
        anchor = next((g for g in answers[folded(f["answer"])] if g is not f and id(g) not in new and g["answer"] == f["answer"]
                       and g["relation"] == f["relation"]), None) if may_go(f) else None
        if anchor:
            new.add(id(f))
            anchors.add(id(anchor))
        return anchor is not None

    in_turn(pool, new_total // 2, 0.3, pick_seen)
    in_turn(pool, new_total - len(new), 0.16, pick_unseen)
    rest = [f for f in facts if id(f) not in new]
    drop = len(rest) - known_total
    spare = [id(f) for f in rest if id(f) not in anchors]
    dropped = set(rng.sample(spare, drop)) if drop > 0 else set()
    return [f for f in rest if id(f) not in dropped], [f for f in facts if id(f) in new]


def settle(known, new):
    """Mark answer_seen, and drop new facts that a known fact turned round gives away ("capital" read backwards)."""
    answers = {f["answer"] for f in known}
    pairs = {frozenset((folded(f["subject"]), folded(f["answer"]))) for f in known}
    return [{**f, "answer_seen": f["answer"] in answers} for f in new
            if frozenset((folded(f["subject"]), folded(f["answer"]))) not in pairs]


def number(known, new):
    """Short unique ids, one series per relation over both splits."""
    count = collections.Counter()
    for f in known + new:
        count[f["relation"]] += 1
        f["id"] = "%s-%04d" % (f["relation"], count[f["relation"]])
    order = ("id", "relation", "subject", "answer", "aliases", "answer_seen")
    return [[{k: f[k] for k in order if k in f} for f in fs] for fs in (known, new)]


# --------------------------------------------------------------------------------------------------------- general text
def gloss_lines(wordnet, rng):
    lines = collections.defaultdict(list)
    for row in wordnet:
        line = "%s: %s" % (row["words"][0].replace("_", " "), " ".join(row["gloss"].split()))
        if 25 <= len(line) <= 180 and line.isascii():
            lines[row["pos"]].append(line)
    # As many verbs and adjectives as there are nouns would bend the language; nouns get half.
    share = {"noun": 5, "verb": 2}
    queues = {p: rng.sample(ls, len(ls)) for p, ls in sorted(lines.items())}
    while any(queues.values()):
        for p, q in queues.items():
            for _ in range(share.get(p, 1)):
                if q:
                    yield q.pop()


def passages(text):
    """Paragraphs as lines of at most PASSAGE characters, cut after a sentence."""
    for paragraph in re.split(r"\n\s*\n", text):
        line = ""
        for sentence in re.split(r"(?<=[.!?;:]) ", " ".join(paragraph.split())):
            if line and len(line) + 1 + len(sentence) > PASSAGE:
                yield line
                line = ""
            line = (line + " " + sentence).strip()
        if line:
            yield line


def prose_lines(path):
    text = open(path, encoding="utf-8-sig").read()
    # Project Gutenberg's own words are not part of the book.
    text = re.split(r"\*\*\* ?START OF.*?\*\*\*", text, maxsplit=1, flags=re.S)[-1]
    text = re.split(r"\*\*\* ?END OF|End of (?:the )?Project Gutenberg", text, maxsplit=1)[0]
    text = text.replace("“", '"').replace("”", '"').replace("’", "'").replace("‘", "'").replace("--", " - ")
    return [p for p in passages(text) if 40 <= len(p) <= PASSAGE and p.isascii() and not re.search("Gutenberg|Proofreading", p)]


class NewFactGuard:
    """Says whether a passage holds a new fact, that is its subject and an accepted answer."""

    def __init__(self, new):
        self.by_first = collections.defaultdict(list)
        for f in new:
            words = folded(f["subject"])
            self.by_first[words.split()[0]].append((words, [folded(a) for a in f["aliases"] if folded(a)]))

    def gives_away(self, line):
        text = folded(line)
        padded = " %s " % text
        return any(" %s " % s in padded and any(" %s " % a in padded for a in answers)
                   for w in set(text.split()) for s, answers in self.by_first.get(w, ()))


def take(lines, budget, guard):
    out, size = [], 0
    for line in lines:
        if size >= budget:
            break
        if not guard.gives_away(line):
            out.append(line)
            size += len(line.encode()) + 1
    return out


def general_text(source, wordnet, new, train_bytes, held_bytes, rng):
    """Held-out and training passages: half glosses, the rest prose; a book's held-out part is drawn from all of it."""
    guard = NewFactGuard(new)
    total = train_bytes + held_bytes
    lines = [take(gloss_lines(wordnet, rng), total * 0.5, guard)]
    for name, share in (("botchan.txt", 0.18), ("tinyshakespeare.txt", 0.32)):
        prose = prose_lines(os.path.join(source, "text", name))
        rng.shuffle(prose)
        lines.append(take(prose, total * share, guard))
    held, train = [], []
    for part in lines:
        part = list(dict.fromkeys(part))
        cut = round(len(part) * held_bytes / total)
        held += part[:cut]
        train += part[cut:]
    rng.shuffle(held)
    rng.shuffle(train)
    return train, held


# -------------------------------------------------------------------------------------------------------------- report
def majority(facts):
    """Mean F1 of always giving the relation's commonest answer, and of the best constant guess of each relation."""
    total, best_total, rows = 0.0, 0.0, {}
    groups = collections.defaultdict(list)
    for f in facts:
        groups[f["relation"]].append(f)
    for r, fs in sorted(groups.items()):
        accepted = [[normal(a) for a in f["aliases"]] for f in fs]
        common = collections.Counter(f["answer"] for f in fs).most_common(1)[0][0]
        score = sum(f1(normal(common), a) for a in accepted)
        words = collections.Counter(w for a in accepted for w in {w for t in a for w in t.split()})
        guesses = {w for w, _ in words.most_common(8)} | {normal(c) for c, _ in collections.Counter(f["answer"] for f in fs).most_common(8)}
        best = max(sum(f1(g, a) for a in accepted) for g in guesses)
        total, best_total = total + score, best_total + best
        rows[r] = (len(fs), common, score / len(fs), best / len(fs))
    return total / len(facts), best_total / len(facts), rows


def report(known, new, train, held, out):
    k, n = majority(known), majority(new)
    print("%-20s %6s %6s %6s   %-26s %6s %6s %6s" % ("relation", "known", "new", "seen", "commonest known answer", "F1", "new F1", "best"))
    for r, (count, common, score, best) in k[2].items():
        mine = [f for f in new if f["relation"] == r]
        other = n[2].get(r, (0, "", 0.0, 0.0))
        print("%-20s %6d %6d %6d   %-26s %6.3f %6.3f %6.3f" % (r, count, len(mine), sum(f["answer_seen"] for f in mine), common, score,
                                                            other[2], max(best, other[3])))
    seen = sum(f["answer_seen"] for f in new)
    print("%-20s %6d %6d %6d   %-26s %6.3f %6.3f" % ("all", len(known), len(new), seen, "", k[0], n[0]))
    print("best constant guess per relation: known %.3f, new %.3f" % (k[1], n[1]))
    print("answer_seen: %.1f%% of new; distinct answers: known %d, new %d" % (
        100 * seen / len(new), len({f["answer"] for f in known}), len({f["answer"] for f in new})))
    print("text: train %d bytes (%d lines), heldout %d bytes (%d lines)" % (
        sum(len(x.encode()) + 1 for x in train), len(train), sum(len(x.encode()) + 1 for x in held), len(held)))
    print("data folder: %d bytes" % sum(os.path.getsize(os.path.join(out, x)) for x in os.listdir(out)))
    assert k[0] <= 0.10 and n[0] <= 0.10, "facts can be guessed"


def check(known, new):
    """What the demo's claims rest on; a failure here is a bug of this script."""
    ids = [f["id"] for f in known + new]
    assert len(set(ids)) == len(ids)
    seen = [(f["relation"], folded(f["subject"])) for f in known + new]
    assert len(set(seen)) == len(seen)
    assert not {s for f in new for s in [folded(f["subject"])]} & {folded(f["subject"]) for f in known}
    answers = {f["answer"] for f in known}
    assert all(f["answer_seen"] == (f["answer"] in answers) for f in new)
    assert all(f["answer"] in f["aliases"] for f in known + new)


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        out.writelines(line + "\n" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="folder with qa/, facts/ and text/")
    parser.add_argument("--out", default=os.path.join(HERE, "data"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--known", type=int, default=3600, help="known facts wanted, elements included")
    parser.add_argument("--new", type=int, default=1240, help="new facts wanted, half of them with an answer that a known fact has")
    parser.add_argument("--train-bytes", type=int, default=1330000)
    parser.add_argument("--heldout-bytes", type=int, default=100000)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    source = lambda *p: os.path.join(args.source, *p)

    wordnet = read_wordnet(source("facts", "wordnet_glosses.jsonl"))
    elements = element_facts(source("facts", "elements.jsonl"))
    pool = popqa_pool(read_popqa(source("qa", "popqa_test.json")), senses(wordnet), rng)
    print("PopQA after filters:", ", ".join("%s %d" % (r, len(fs)) for r, fs in pool.items()))
    known, new = split(pool, args.known - len(elements), args.new, rng)
    known += elements
    known, new = number(known, settle(known, new))
    check(known, new)
    wordings = parse_wordings({f["relation"] for f in known})
    train, held = general_text(args.source, wordnet, new, args.train_bytes, args.heldout_bytes, rng)

    os.makedirs(args.out, exist_ok=True)
    dump = lambda f: json.dumps(f, ensure_ascii=False)
    write_lines(os.path.join(args.out, "known.jsonl"), map(dump, known))
    write_lines(os.path.join(args.out, "new.jsonl"), map(dump, new))
    rows = ["%s: [\n  %s\n ]" % (dump(r), ",\n  ".join(map(dump, ws))) for r, ws in wordings.items()]
    write_lines(os.path.join(args.out, "wordings.json"), ["{\n " + ",\n ".join(rows) + "\n}"])
    write_lines(os.path.join(args.out, "text.train.txt"), train)
    write_lines(os.path.join(args.out, "text.heldout.txt"), held)
    report(known, new, train, held, args.out)


if __name__ == "__main__":
    main()
