#!/usr/bin/env bash
# The demo over 10 random draws of 20 new facts: mean and standard deviation of what it learns and forgets.  About a minute and a half.
#   measure.sh [DRAWS [MODEL_DIR [demo options...]]]
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,3s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
draws=${1:-10}
model=${2:-$here/model}
shift $(($# > 2 ? 2 : $#))
for seed in $(seq "$draws"); do
  "$here/../../build/examples/atlas-demo" --quiet --seed "$seed" --model "$model" "$@" | tee /dev/stderr
done | LC_ALL=C awk '
  function add(name, x) { n[name]++; sum[name] += x; square[name] += x * x; if (n[name] == 1 || x < least[name]) least[name] = x; if (n[name] == 1 || x > most[name]) most[name] = x }
  function show(name, format,   mean, deviation) {
    mean = sum[name] / n[name]
    deviation = n[name] > 1 ? sqrt((square[name] - n[name] * mean * mean) / (n[name] - 1) + 1e-18) : 0
    printf "| %s | " format " | " format " | " format " | " format " |\n", name, mean, deviation, least[name], most[name]
  }
  /^RESULT/ {
    split($2, learned, /[=\/]/); split($3, before, "="); split($4, after, "="); split($5, bytes, "="); split($6, seconds, "=")
    add("learned of " learned[3], learned[2]); add("known F1 lost, percent", 100 * (before[2] - after[2]) / before[2])
    add("patch, MB", bytes[2] / 1e6); add("learning, seconds", seconds[2]); name = "learned of " learned[3]
  }
  END { print "| over " n[name] " draws | mean | standard deviation | least | most |\n|---|---|---|---|---|"
        show(name, "%.1f"); show("known F1 lost, percent", "%.2f"); show("patch, MB", "%.2f"); show("learning, seconds", "%.1f") }'
