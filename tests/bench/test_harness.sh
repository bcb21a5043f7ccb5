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
  python3 "$bench/bench.py" --smoke --build "$SMFT_BUILD" --models "$work/models" --out "$work/$out" "$@" >"$work/$out.txt" 2>&1 ||
    { cat "$work/$out.txt"; fail "bench.py $* failed"; }
}

# ---- the command line ----
"$bench/run.sh" --help >"$work/help"
grep -q -- '--threads THREADS' "$work/help" || fail "run.sh --help does not name --threads"
"$bench/run.sh" --list >"$work/list"
grep -q '^memory.d1024 ' "$work/list" || fail "run.sh --list does not name memory.d1024"
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
targets = """forward.S.torch forward.S.sgemm scaling.forward.S prefill.S.llama decode.S.f32.bandwidth decode.S.f32.llama
    decode.S.bf16.bandwidth decode.S.bf16.llama train.S.torch train.S.llmc scaling.train.S lora.S.torch step.first.all.T
    step.first.answer.T step.repeated.all.T step.repeated.answer.T scaling.step.T memory.forward.d64.1K memory.gather.d64.1K
    memory.step.d64.1K memory.step.d64.4K memory.peak.d64.1K memory.growth.d64 open.pool open.resident size.libsmft
    idle.threads""".split()
curves = """memory.step.d64.16K.mapped facts.lookup.100 facts.save.100 facts.load.100 facts.forward.100 length.prefill.S.256
    length.step.T.64 supervised.step.T.1 sessions.S.2 limit.stream.1thr limit.rows.4KB.1thr""".split()
for name in targets + curves:
    row = dict(zip(header, rows[names.index(name)]))
    assert (row["met"] in ("yes", "no")) == bool(row["target"]) == (name in targets), row
    assert all(not row[column] or float(row[column]) is not None for column in header[1:5]), row
    if name.startswith("limit."):
        assert float(row["peer"]) > 0, row
    else:
        assert row["ours"] != "", row
    if name.endswith((".torch", ".llama", ".llmc")):
        assert (row["peer"], row["ratio"]) == ("", "") and row["met"] == "no", "a peer that was not there: %s" % row
print(len(rows), "rows")
PYTHON

# ---- a peer that agrees is compared; one that does not, or that runs on another BLAS, is not ----
cat >"$work/peer.py" <<'PYTHON'
import json, os, subprocess, sys
program, directory = os.environ["BENCH_MODEL"], sys.argv[2]
for line in sys.stdin:
    answer = {"rate": 1000.0, "unit": 0.001, "others": 0.0}
    if line.startswith("blas"):
        answer = {"file": "a library", "config": "", "parallel": int(os.environ["PARALLEL"])}
    if line.startswith("peak"):
        answer = {"peak_mb": 12.5}
    if line.startswith("logits"):
        done = subprocess.run([program, directory, "1"], input="logits\n", capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        answer["numbers"][7] += float(os.environ["ERROR"])
    print(json.dumps(answer), flush=True)
PYTHON
printf '#!/bin/sh\ncase "$1" in -c) echo none ;; *) exec python3 "%s" "$@" ;; esac\n' "$work/peer.py" >"$work/python"
chmod +x "$work/python"
export BENCH_MODEL=$SMFT_BUILD/tests/bench/bench_model
check() { # OUT condition on the row of forward.S.torch
  python3 - "$bench/harness" "$work/$1" "$2" <<'PYTHON'
import sys
sys.path.insert(0, sys.argv[1])
import rows
row = next(row for row in rows.read(sys.argv[2]) if row["name"] == "forward.S.torch")
assert eval(sys.argv[3], {}, row), row
PYTHON
}
PARALLEL=2 ERROR=0 run agrees --peers torch --python "$work/python" --only forward
check agrees 'float(peer) == 1000 and abs(float(ratio) * 1000 / float(ours) - 1) < 1e-3 and peer_peak_mb == "12.5"'
PARALLEL=2 ERROR=0.01 run differs --peers torch --python "$work/python" --only forward
check differs 'ours == peer == ratio == "" and met == "no" and note.startswith("refused: outputs differ")'
PARALLEL=1 ERROR=0 run pthread --peers torch --python "$work/python" --only forward
check pthread 'ours != "" and peer == ratio == "" and met == "no" and "not compared" in note'

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
grep -q '^| forward.S.torch |' "$work/page.md" || fail "table.py wrote no row"
cp "$work/page.md" "$work/again.md"
python3 "$bench/table.py" --results "$work/all" --write "$work/again.md"
cmp "$work/page.md" "$work/again.md" || fail "table.py does not replace what it wrote"
