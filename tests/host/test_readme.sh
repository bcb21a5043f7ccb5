#!/usr/bin/env bash
# The README's host program is examples/quickstart.c exactly; the files and commands that it names are there.
set -euo pipefail
cd "$SMFT_SOURCE"
awk '/^```c$/{on=1; next} /^```$/{if (on) exit} on' README.md | diff - examples/quickstart.c
lines=$(wc -l <examples/quickstart.c)
[ "$lines" -le 26 ] || { echo "quickstart.c has $lines lines"; exit 1; }
for command in ./examples/demo.sh ./tests/run.sh ./examples/graft/run.sh; do
  grep -qF -- "$command" README.md || { echo "README.md does not name $command"; exit 1; }
  "$command" --help >/dev/null || { echo "$command --help fails"; exit 1; }
done
missing=0
for path in $(grep -oE '\]\([A-Za-z][^):#]*\)' README.md docs/*.md lib/README.md | sed -E 's/^([^:]*):\]\(([^)]*)\)$/\1|\2/; t; s/^\]\(([^)]*)\)$/README.md|\1/'); do
  file=$(dirname "${path%%|*}")/${path##*|}
  [ -e "$file" ] || { echo "${path%%|*} links to ${path##*|}, which is not there"; missing=1; }
done
exit $missing
