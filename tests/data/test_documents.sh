#!/usr/bin/env bash
# The documents of the forgetting benchmark are what they claim to be: answers where the spans say, nothing that pretraining knows,
# no question's wording in a text; and atlas's build.sh names its switches.
set -euo pipefail
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
examples=$SMFT_SOURCE/examples

help=$("$examples/atlas/build.sh" --help)
for word in --dense --variant one-layer late small-pool big-pool --threads; do
  grep -q -e " $word\b\|\[$word\b" <<<"$help" || { echo "build.sh --help does not name $word"; exit 1; }
done
if "$examples/atlas/build.sh" --variant none 2>/dev/null; then echo "build.sh takes any variant"; exit 1; fi

python3 - "$examples/forgetting/data/documents.jsonl" "$examples/atlas/data" <<'PYTHON'
import collections, json, sys, unicodedata

def lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]

def name(text):
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    return " ".join(w for w in words if w not in ("a", "an", "the"))

documents, atlas = lines(sys.argv[1]), sys.argv[2]
wordings = json.load(open(atlas + "/wordings.json", encoding="utf-8"))
known = lines(atlas + "/known.jsonl")
pretrained = {name(f["subject"]) for f in known + lines(atlas + "/new.jsonl")}
answers = {f["answer"] for f in known}

def check_fact(d, f):
    assert f["answer"] in f["aliases"] and f["relation"] in wordings, f
    assert len(f["answer"]) <= 24 and len(f["answer"].split()) <= 4, f
    assert f["answer_seen"] == (f["answer"] in answers), f

def check_rewrite(d, r, asked):
    raw = r["text"].encode()
    assert len(r["spans"]) == len(d["facts"]), d["id"]
    for f, (begin, end) in zip(d["facts"], r["spans"]):
        assert raw[begin:end].decode() == f["answer"] and raw[begin - 1:begin] == b" ", (d["id"], f["relation"], r["text"])
    ordered = sorted(r["spans"])
    assert all(a[1] <= b[0] for a, b in zip(ordered, ordered[1:])), d["id"]
    assert r["text"].count(d["subject"]) >= len(d["facts"]) and r["text"].endswith("\n"), d["id"]
    assert not any(q in r["text"] for q in asked), (d["id"], r["text"])

for d in documents:
    asked = [w["prompt"].replace("{s}", d["subject"]) for f in d["facts"] for w in wordings[f["relation"]] if w["role"] != "train"]
    assert name(d["subject"]) not in pretrained, d["subject"]
    assert len(d["facts"]) >= 2 and len({f["relation"] for f in d["facts"]}) == len(d["facts"]), d["id"]
    assert len({r["text"] for r in d["rewrites"]}) == len(d["rewrites"]) == 12, d["id"]
    assert asked
    for f in d["facts"]:
        check_fact(d, f)
    for r in d["rewrites"]:
        check_rewrite(d, r, asked)
assert len({d["id"] for d in documents}) == len({name(d["subject"]) for d in documents}) == len(documents)
assert len({f["id"] for d in documents for f in d["facts"]}) == sum(len(d["facts"]) for d in documents)
sizes = {s: collections.Counter(len(d["facts"]) for d in documents if d["set"] == s) for s in ("select", "report")}
assert sum(map(sum, (c.values() for c in sizes.values()))) == len(documents), "a set of another name"
assert all(sum(c.values()) >= 60 for c in sizes.values()), sizes
assert all(abs(sizes["select"][n] - sizes["report"][n]) <= 1 for n in {n for c in sizes.values() for n in c}), sizes
print("%d documents, %d facts" % (len(documents), sum(len(d["facts"]) for d in documents)))
PYTHON
