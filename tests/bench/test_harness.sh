#!/usr/bin/env bash
# The benchmark runs from end to end on tiny models, its files have the form they promise, and it refuses what it must not compare.
# Nothing here asserts a time.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
export PYTHONDONTWRITEBYTECODE=1
bench=$SMFT_SOURCE/tests/bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }
run() { # OUT option...
  local out=$1
  shift
  python3 "$bench/bench.py" --smoke --threads 2 --build "$SMFT_BUILD" --models "$work/models" --out "$work/$out" "$@" >"$work/$out.txt" 2>&1 ||
    { cat "$work/$out.txt"; fail "bench.py $* failed"; }
}

# ---- the command line ----
"$bench/run.sh" --help >"$work/help"
grep -q -- '--threads THREADS' "$work/help" || fail "run.sh --help does not name --threads"
"$bench/run.sh" --list >"$work/list"
grep -q '^memory.d1024 ' "$work/list" || fail "run.sh --list does not name memory.d1024"
grep -q '^prefill.B ' "$work/list" || fail "run.sh --list does not name prefill.B"
if python3 "$bench/bench.py" --build "$SMFT_BUILD" --only nothing >/dev/null 2>&1; then fail "--only takes any name"; fi

# ---- everything once, without peers ----
run all --peers none
python3 - "$work/all" <<'PYTHON'
import csv, sys

with open(sys.argv[1] + "/results.csv", newline="") as file:
    header, *rows = csv.reader(file)
assert header == ["name", "ours", "peer", "ratio", "limit_share", "target", "met"], header
assert all(len(row) == len(header) for row in rows), "a row is too short"
names = [row[0] for row in rows]
assert len(set(names)) == len(names), "two rows of one name"
targets = """prefill.R.f32.1thr prefill.R.f32.2thr prefill.S.f32.2thr scaling.prefill.S
    decode.R.f32.1thr decode.S.f32.2thr decode.S.f32.2thr.bandwidth
    train.R.f32.1thr train.S.f32.2thr train.S.llmc scaling.train.S lora.S.f32.2thr first.R.q8_0.2thr
    step.first.all.T step.first.answer.T step.repeated.all.T step.repeated.answer.T scaling.step.T
    product.64x64x64.f32.1thr memory.step.d64.1K.16.1thr memory.step.d64.4K.64.2thr memory.forward.d64.1K.64.2thr
    memory.peak.d64.1K.64.2thr memory.growth.d64 open.pool open.resident size.libsmft idle.threads""".split()
curves = """product.64x64x64.bf16.2thr memory.gather.d64.1K.64.2thr memory.step.d64.16K.mapped facts.lookup.100 facts.save.100 fact.R.f32.1thr
    facts.load.100 facts.forward.100 length.prefill.S.256 length.step.T.64 supervised.step.T.1 sessions.S.2
    limit.stream.1thr limit.rows.4096B.1thr limit.fma.1thr""".split()
alone = """prefill.R.f32.1thr decode.S.f32.2thr train.S.f32.2thr train.S.llmc lora.S.f32.2thr first.R.q8_0.2thr
    memory.step.d64.1K.16.1thr memory.forward.d64.1K.64.2thr product.64x64x64.f32.1thr""".split()
limited = """prefill.R.f32.2thr decode.R.q8_0.2thr train.S.f32.2thr lora.S.f32.2thr product.64x64x64.f32.1thr
    memory.gather.d64.1K.64.2thr decode.S.f32.2thr.bandwidth""".split()
for name in targets + curves:
    row = dict(zip(header, rows[names.index(name)]))
    assert (row["met"] in ("yes", "no")) == bool(row["target"]) == (name in targets), row
    assert all(not row[column] or float(row[column]) is not None for column in header[1:5]), row
    if name.startswith("limit."):
        assert float(row["peer"]) > 0, row
    else:
        assert row["ours"] != "", row
    if name in alone:
        assert (row["peer"], row["ratio"]) == ("", "") and row["met"] in ("no", ""), "a peer that was not there: %s" % row
    if name in limited:
        assert float(row["limit_share"]) > 0, "a row without its limit: %s" % row
for stem in "prefill.R.bf16 decode.R.q8_0 lora.R.bf16 fact.R.bf16".split():  # one of the flags that this machine takes, or none of them
    held = [row for row in rows if row[0].startswith(stem) and row[0].endswith(".2thr") and row[5]]
    assert len(held) == 1, "not one row of %s is held against the target: %s" % (stem, held)
print(len(rows), "rows")
PYTHON

# ---- a run that was stopped is resumed: what is there is kept, and the rows stay in the plan's order ----
cp -r "$work/all" "$work/resumed"
python3 - "$work/resumed/groups.json" <<'PYTHON'
import json, sys
with open(sys.argv[1]) as file:
    groups = json.load(file)
assert groups["size"]["seconds"] >= 0 and groups["limits"]["rows"], groups
groups["limits"]["rows"][0]["note"] = "kept"
del groups["size"]
with open(sys.argv[1], "w") as file:
    json.dump(groups, file)
PYTHON
run resumed --peers none --resume
cut -d, -f1 "$work/all/results.csv" >"$work/names"
cut -d, -f1 "$work/resumed/results.csv" | cmp - "$work/names" || fail "a resumed run has other rows"
grep -q ',kept$' "$work/resumed/details.csv" || fail "a resumed run measured again what was there"

# ---- a peer that agrees is compared; one that does not, or that is not what a reader has, is not; of several the fastest counts ----
cat >"$work/peer.py" <<'PYTHON'
import json, os, subprocess, sys
program, directory, mode = os.environ["BENCH_MODEL"], sys.argv[2:3], sys.argv[3:]
speed = 4000.0 if mode == ["compiled"] else 1000.0
for line in sys.stdin:
    answer = {"rate": speed, "unit": 0.001, "others": 0.0}
    if line.startswith("about"):
        answer = {"version": os.environ["VERSION"], "mkl": True, "text": "a library"}
    if line.startswith("peak"):
        answer = {"peak_mb": 12.5}
    if line.startswith("logits"):
        done = subprocess.run([program, *directory, "1"], input=line[:line.rindex(" ")], capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        if mode == [os.environ["WRONG"]] or os.environ["WRONG"] == "both":
            answer["numbers"][7] += 0.01
    print(json.dumps(answer), flush=True)
PYTHON
printf '#!/bin/sh\nexec python3 "%s" "$@"\n' "$work/peer.py" >"$work/python"
chmod +x "$work/python"
export BENCH_MODEL=$SMFT_BUILD/tests/bench/bench_model
check() { # OUT condition on the row of prefill.S.f32.2thr
  python3 - "$bench/harness" "$work/$1" "$2" <<'PYTHON'
import sys
sys.path.insert(0, sys.argv[1])
import rows
row = next(row for row in rows.read(sys.argv[2]) if row["name"] == "prefill.S.f32.2thr")
assert eval(sys.argv[3], {}, row), row
PYTHON
}
with_torch() { run "$1" --peers torch --python "$work/python" --only prefill.S --threads 2; }
VERSION=2.15.0 WRONG=none with_torch agrees
check agrees 'float(peer) == 4000 and abs(float(ratio) * 4000 / float(ours) - 1) < 1e-3 and peer_peak_mb == "12.5"'
check agrees 'peer_name == "PyTorch compiled, 2 thr" and note.startswith("PyTorch, ") and " thr 1000 (" in note'
VERSION=2.15.0 WRONG=compiled with_torch one
check one 'float(peer) == 1000 and peer_name.startswith("PyTorch, ") and "PyTorch compiled: outputs differ" in note'
VERSION=2.15.0 WRONG=both with_torch differs
check differs 'ours == peer == ratio == "" and met == "no" and note.startswith("refused: outputs differ")'
VERSION=1.13.1 WRONG=none with_torch old
check old 'ours != "" and peer == ratio == "" and met == "no" and "not compared" in note'

# ---- a limit is the best of all methods and rounds; a row that passes it fails the run ----
python3 - "$bench" <<'PYTHON'
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/harness", sys.argv[1] + "/peers"]
from rows import Row, over_limit
from worker import Limit, Measured, Side, in_turn

class Machine:
    settles = 0
    answers = {"a": [5, 1, 1], "b": [7, 9, 8]}
    def ask(self, question):
        return {"rate": self.answers[question].pop(0), "others": 0}
limit = Limit(Machine(), settings={"a": "a", "b": "b"})
in_turn([limit], 2, lambda ask: ask(), {}, lambda text: None)
assert limit.measured.median == 9 and limit.best == "b", limit.measured.median

found = [Row("under", "GB/s", Measured([8, 9, 10]), limit=limit.measured).texts,
         Row("over", "GB/s", Measured([9.5]), limit=limit.measured).texts]
assert over_limit(found) == ["over is 1.056 of its limit"], over_limit(found)

# ---- a peer that is far behind the best of them is timed once; one that is ours never is ----
class Even:
    settles = 0
    def __init__(self, rate):
        self.rate, self.asked = rate, 0
    def ask(self, question):
        self.asked += 1
        return {"rate": self.rate, "others": 0}
slow, fast, ours = Even(1), Even(2), Even(0.1)
class Threads(Even):
    def ask(self, question):
        self.rate = {"1 thread": 1.9, "2 threads": 0.5}[question]
        return super().ask(question)
one = Threads(0)
in_turn([Side(ours, "q"), Side(slow, "q", is_rival=True), Side(fast, "q", is_rival=True),
         Side(one, settings={1: "1 thread", 2: "2 threads"}, is_rival=True)], 4, lambda ask: ask(), {}, lambda text: None)
assert (slow.asked, fast.asked, ours.asked, one.asked) == (1, 4, 4, 6), (slow.asked, fast.asked, ours.asked, one.asked)
PYTHON

# ---- what llama.cpp gets: a GGUF with every tensor, and the rows of q in its order ----
python3 "$bench/peers/gguf.py" "$work/models/S" "$work/S.gguf"
python3 - "$bench/peers" "$work/models/S/model.safetensors" "$work/S.gguf" <<'PYTHON'
import struct, sys
sys.path.insert(0, sys.argv[1])
import tensors
source = tensors.read(sys.argv[2])
with open(sys.argv[3], "rb") as file:
    data = file.read()
assert struct.unpack_from("<4sIQ", data) == (b"GGUF", 3, len(source))
q = source["model.layers.0.self_attn.q_proj.weight"]
row = len(q.data) // q.shape[0]
half = q.shape[0] // 4 // 2 # of the 4 heads
def lies_in_file(order):
    return b"".join(bytes(q.data[at * row:(at + 1) * row]) for at in order) in data
assert lies_in_file([0, half, 1, half + 1]) and not lies_in_file([0, 1]), "q's rows do not alternate between the halves of a head"
PYTHON

# ---- the tables of docs/performance.md ----
cp "$SMFT_SOURCE/docs/performance.md" "$work/page.md"
python3 "$bench/table.py" --results "$work/all" --write "$work/page.md"
grep -q '^| prefill.S.f32.2thr |' "$work/page.md" || fail "table.py wrote no row"
cp "$work/page.md" "$work/again.md"
python3 "$bench/table.py" --results "$work/all" --write "$work/again.md"
python3 "$bench/table.py" --results "$work/all" --summary >"$work/short" || fail "table.py --summary fails"
python3 - "$bench/harness" <<'PYTHON'
import sys
sys.path.insert(0, sys.argv[1])
import summary
def row(name, ratio, peer):
    return {"name": name, "ratio": ratio, "peer_name": peer}
found = summary.table([row("prefill.smollm2.bf16.fast.2thr", "1.25", "PyTorch bf16, 2 thr"),
                       row("prefill.smollm2.bf16.fast.1thr", "1.5", "PyTorch bf16, 1 thr"), row("prefill.B.f32.2thr", "3", "PyTorch"),
                       row("memory.step.d64.1K.16.2thr", "2.5", "PyTorch by hand, 2 thr"),
                       row("memory.step.d64.4K.16.2thr", "2", "PyTorch by hand, 2 thr"), row("decode.smollm2.f32.1thr", "", "")])
assert "| SmolLM2-135M, a prompt of 512 tokens, bf16, `SMFT_CTX_FAST` | 1.5 (PyTorch bf16) | 1.25 (PyTorch bf16) |" in found, found
assert "| a memory layer's sparse step |  | 2 to 2.5 (PyTorch by hand) |" in found and len(found.splitlines()) == 4, found
PYTHON
cmp "$work/page.md" "$work/again.md" || fail "table.py does not replace what it wrote"
