#!/usr/bin/env bash
# turns.sh measures a build against itself on tiny models, and its table has the form it promises.
# Nothing here asserts a time.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
bench=$SMFT_SOURCE/tests/bench
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { cat "$work/log"; echo "$*"; exit 1; }
status_of() { # COMMAND...: its exit status, its output in the log
  local status=0
  "$@" >"$work/log" 2>&1 || status=$?
  echo "$status"
}
turns() { # OPTION...: the status on two builds that are one
  status_of "$bench/turns.sh" --threads 1 --seconds 0.002 "$@" "$SMFT_BUILD" "$SMFT_BUILD"
}

# ---- the table ----
number='[0-9]+\.[0-9]+'
rows=(forward.S train.S lora.S decode.S.f32 decode.S.bf16 step.T again.T)
[ "$(turns --rounds 2 --rows "$(IFS=,; echo "${rows[*]}")")" = 0 ] || fail "turns.sh fails"
for row in "${rows[@]}"; do
  grep -Eq "^$row +$number +$number +$number +$number  (yes|no)$" "$work/log" || fail "no row $row"
done
grep -Eq '^met \(0.99 of the old speed\): .*; not met: ' "$work/log" || fail "no closing line"
grep -q '^too few rounds for an interval' "$work/log" || fail "two rounds have an interval"
[ "$(turns --rounds 6 --rows forward.S)" = 0 ] || fail "turns.sh fails on one row"
grep -Eq "^forward.S +($number +){6} (yes|yes, by the interval|no)$" "$work/log" ||
  fail "six rounds have no interval"

# ---- what is computed: the interval of 11 values is the second to the tenth ----
python3 -B - "$bench" >"$work/log" 2>&1 <<'PYTHON' || fail "turns.py computes something else"
import sys
sys.path.insert(0, sys.argv[1])
from turns import Round, closing, interval, line_of, verdict
values = [5, 3, 1, 9, 11, 2, 10, 4, 8, 6, 7]
assert interval(values) == (2, 10), interval(values)
assert interval(values[:5]) is None and interval(values[:6]) == (1, 11)
assert interval(list(range(20))) == (5, 14), interval(list(range(20)))
assert verdict([0.99] * 11) == "yes" and verdict([0.98] * 11) == verdict([0.98] * 2) == "no"
assert verdict([0.98] * 9 + [1, 1]) == "yes, by the interval" and verdict([0.98] * 10 + [1]) == "no"
assert line_of("a", [Round(100, 110, 0.25)] * 7).split() == [
    "a", "100.0", "110.0", "1.1000", "1.1000", "1.1000", "0.25", "yes"]
assert closing({"a": "yes", "b": "no", "c": "yes, by the interval"}).endswith(
    ": a, c (by the interval alone: c); not met: b")
PYTHON

# ---- the command line ----
[ "$(status_of "$bench/turns.sh" --help)" = 0 ] || fail "--help fails"
grep -q 'OLD_BUILD NEW_BUILD' "$work/log" || fail "--help does not name the builds"
[ "$(status_of "$bench/turns.sh" "$SMFT_BUILD")" = 2 ] || fail "one build is enough"
[ "$(status_of "$bench/turns.sh" "$SMFT_BUILD" "$work")" = 2 ] || fail "no library is enough"
for wrong in "--rows forward.X" "--rows step.S" "--rows nothing" "--rounds 0" "--rounds x" \
  "--threads 0" "--seconds 0" "--seconds x" --nothing; do
  # shellcheck disable=SC2086 # an option and its value
  [ "$(turns $wrong)" = 2 ] || fail "$wrong is taken"
done
turns --rows decode.S >/dev/null
grep -q 'no row decode.S' "$work/log" || fail "what is not listed has parts"
[ "$(status_of "$bench/turns.sh" --rounds)" = 2 ] || fail "--rounds needs no value"
