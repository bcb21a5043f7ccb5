#!/usr/bin/env bash
# The comparison works from end to end on a few facts: every method on both tasks, going on where it was stopped, the table; and its errors.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
here=$SMFT_SOURCE/examples/forgetting
program=$SMFT_BUILD/examples/forgetting-run
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; cat "$work/out" "$work/error" 2>/dev/null; exit 1; }
export PYTHONDONTWRITEBYTECODE=1

python3 "$here/sweep.py" --smoke --work "$work" --results "$work/results" --program "$program" >"$work/out" 2>"$work/error" || fail "the smoke run fails"
grep -q 'min left' "$work/out" || fail "no progress"
python3 - "$work/results/runs.csv" <<'PY' >"$work/out" 2>"$work/error" || fail "the rows are not as they should be"
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
seen = {(row["task"], row["method"]) for row in rows}
assert seen == {("facts", method) for method in ("full", "full-replay", "lora", "lora-replay", "values", "sparse")} | {
    ("documents", method) for method in ("full", "full-replay", "sparse")}, seen
for run in {row["run"] for row in rows}:
    points = [row for row in rows if row["run"] == run]
    assert [int(p["items_done"]) for p in points][0] == 0 and points[-1]["items_done"] == points[-1]["items_total"], points
    assert float(points[0]["forgetting_percent"]) == 0 and float(points[0]["kl"]) == 0
    assert int(points[-1]["steps"]) > 0 and float(points[-1]["kl"]) > 0 and int(points[-1]["bytes_changed"]) > 1000
    assert 0 <= float(points[-1]["learning"]) <= 1 and float(points[-1]["known_f1_before"]) > 0.8
    assert (int(points[-1]["rows_changed"]) > 0) == (points[-1]["method"] == "sparse")
PY
cp "$work/results/runs.csv" "$work/before.csv"
ls "$work/runs" | head -n 1 | while read -r one; do rm "$work/runs/$one"; done # as if it had been stopped before the last run
python3 "$here/sweep.py" --smoke --work "$work" --results "$work/results" --program "$program" >"$work/out" 2>"$work/error" || fail "it does not go on"
[ "$(wc -l <"$work/out")" = 1 ] || fail "it does more than what is missing"
python3 - "$work/before.csv" "$work/results/runs.csv" <<'PY' >"$work/out" 2>"$work/error" || fail "a run that is done again gives another result"
import csv, sys
before, after = ([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(open(path, newline=""))] for path in sys.argv[1:])
assert before == after
PY

python3 "$here/sweep.py" --list >"$work/out" || fail "--list"
[ "$(grep -c ' sweep ' "$work/out")" = 54 ] || fail "--list lists too little"
"$here/run.sh" --help | grep -q -- --quick || fail "run.sh --help"
if "$here/run.sh" --nonsense >"$work/out" 2>"$work/error"; then fail "run.sh takes anything"; fi
"$program" --help | grep -q -- --method || fail "forgetting-run --help"
expect() { # MESSAGE arguments...: forgetting-run fails and says so
  local message=$1
  shift
  if "$program" "$@" >"$work/out" 2>"$work/error"; then fail "no error: $*"; fi
  grep -q -- "$message" "$work/error" || fail "not said: $message"
}
expect '--method: full, lora, values or sparse' --method other
expect '--rule: tfidf' --rule other
expect '--optimizer: sgd or adamw' --optimizer other
expect '--rows: fact or step' --rows other
expect '--task: facts or documents' --task other
expect '--set: select or report' --set other
expect 'the select set has' --n 100000
expect 'the report set has' --task documents --set report --n 100000
expect 'config.json' --model "$work"
expect 'new.jsonl' --data "$work" --n 2
expect 'none.txt' --n 2 --known 5 --background "$work/none.txt"
expect 'usage' --n 0
expect '--replay: for full' --method sparse --replay 4
expect '--replay: for full' --method full --replay -1
expect '--replay: for full' --method full --replay 4 --loss-all
expect '--background: with --replay all' --method full --replay 4 --background "$work/none.txt"
expect 'only with --method sparse' --method full --save-counts "$work/counts.safetensors"
expect 'none.safetensors' --n 2 --known 5 --background "$work/none.safetensors"
expect 'no/such' --n 1 --known 5 --texts 1 --out "$work/no/such/file"

# what the counts know: one half of the known facts, from a file; replay of the same; all known facts asked at the end
mkdir "$work/data" && ln -s "$SMFT_SOURCE"/examples/atlas/data/* "$work/data/" && rm "$work/data/known.jsonl"
head -n 200 "$SMFT_SOURCE/examples/atlas/data/known.jsonl" >"$work/data/known.jsonl"
few=(--n 2 --known 100 --texts 2 --checkpoints 1 --set report --data "$work/data")
"$program" --method sparse --background half --data "$work/data" --save-counts "$work/half.safetensors" || fail "--save-counts"
"$program" --method sparse --background "$work/half.safetensors" "${few[@]}" --whole >"$work/counted.csv" 2>"$work/error" || fail "counts from a file"
"$program" --method values --lr 1e-3 --pool-lr 1e-3 --replay 2 --background half "${few[@]}" >"$work/values.csv" 2>"$work/error" || fail "--method values"
"$program" --header >"$work/header" || fail "--header"
python3 - "$work" <<'PY' >"$work/out" 2>"$work/error" || fail "what is known, replayed and asked is not as it should be"
import csv, sys
columns = open(f"{sys.argv[1]}/header").read().strip().split(",")
def read(name):
    with open(f"{sys.argv[1]}/{name}.csv", newline="") as file:
        rows = [dict(zip(columns, row)) for row in csv.reader(file)]
    assert all(len(row) == len(columns) for row in rows)
    return rows
counted, values = read("counted"), read("values")
assert [row["known"] for row in counted] == ["100", "200"] and counted[1]["knows"] == "half"
assert (values[1]["method"], values[1]["replay"], values[1]["knows"]) == ("values-replay", "2", "half")
assert 0 < int(values[1]["steps"]) and float(values[1]["learning_trained"]) > 0.4
lost = [float(values[1][name]) for name in ("half_forgetting_percent", "rest_forgetting_percent", "forgetting_percent")]
assert min(lost[:2]) - 1e-3 <= lost[2] <= max(lost[:2]) + 1e-3, lost
PY
