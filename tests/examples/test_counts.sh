#!/usr/bin/env bash
# counts.py with a program that only pretends to learn: what it is given, that rows are kept as they come, and the table.
set -euo pipefail
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
export PYTHONDONTWRITEBYTECODE=1
here=$SMFT_SOURCE/examples/forgetting
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; cat "$work/out"; exit 1; }
cat >"$work/program" <<'SH'
#!/usr/bin/env bash
case "$1" in
  --header) echo "seed,learning,forgetting_percent,nll,nll_before"; exit ;;
esac
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=$2 ;;
    --background) lines=$(wc -l <"$2") ;;
    --sample-decides | --keep-given-up) exit 3 ;; # the published rows are by the library's defaults
  esac
  shift
done
runs=$(cat "$(dirname "$0")/runs" 2>/dev/null || echo 0)
echo $((runs + 1)) >"$(dirname "$0")/runs"
[ "$runs" != 5 ] || exit 1 # stopped
echo "$seed,0.9,$((seed + ${lines:-0} / 1000)),5.25,5.125"
SH
chmod +x "$work/program"
mkdir "$work/results"
count() { python3 -W error "$here/counts.py" --results "$work/results" --work "$work/work" --program "$work/program" "$@" >"$work/out" 2>&1; }
count --list || fail "--list fails"
[ "$(grep -c ', seed ' "$work/out")" = 51 ] || fail "51 runs were to be planned"
if count; then fail "a run that fails was not noticed"; fi
[ "$(wc -l <"$work/results/counts.csv")" = 6 ] || fail "the five rows before the failure were not kept"
count || fail "it does not go on"
[ "$(cat "$work/runs")" = 52 ] || fail "finished runs were repeated, or some left out"
grep -qxF '| 12,072 | prose | 0.90 | 14.0% (13.0, 14.0, 15.0) | 0.1250 |' "$work/out" || fail "all lines of prose were to be there"
grep -qxF '| 32,000 | known | 0.90 | 34.0% (33.0, 34.0, 35.0) | 0.1250 |' "$work/out" || fail "32,000 sentences were to be there"
grep -qxF '| 60,000 | shipped | 0.90 | 2.0% (1.0, 2.0, 3.0) | 0.1250 |' "$work/out" || fail "the shipped counts were to be there"
[ "$(sort "$work/work/half-2000.txt" | comm -12 - <(sort "$SMFT_SOURCE/examples/atlas/data/text.train.txt") | wc -l)" -ge 1000 ] || fail "half of the texts were to be prose"
grep -q '? ' "$work/work/known-500.txt" && ! grep -q '[{}]' "$work/work/known-500.txt" || fail "the sentences were not filled in"
grep -qxF '| 32,000 | other | 0.90 | 34.0% (33.0, 34.0, 35.0) | 0.1250 |' "$work/out" || fail "as many without what is measured were to be there"
count && [ "$(cat "$work/runs")" = 52 ] || fail "nothing was left to do"
