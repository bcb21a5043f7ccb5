#!/usr/bin/env bash
# Public structs only grow at the end: every line of the committed dump (but sizes) must still be true; new fields must be added to it.
# A mutated header must fail, or this gate proves nothing.
set -euo pipefail
here=$SMFT_SOURCE/tests/abi
header=$SMFT_SOURCE/include/smft/smft.h
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dump() { python3 "$here/layout.py" "$1" "${CC:-cc}" | sort; }
kept() { grep -v ' size ' "$here/layout.txt" | sort | comm -23 - <(dump "$1" | grep -v ' size '); }
[ -z "$(kept "$header")" ] || { echo "fields moved or gone:"; kept "$header"; exit 1; }
diff <(sort "$here/layout.txt") <(dump "$header") || { echo "add the new fields to tests/abi/layout.txt"; exit 1; }
# no padding: the sizes of the fields add up to the size of the struct
dump "$header" | awk '/ size /{size[$1]=$3; next} {split($1,a,"."); sum[a[1]]+=$3} END {for (s in size) if (size[s]!=sum[s]) {print s": "size[s]" bytes, fields "sum[s]; bad=1} exit bad}'
sed 's/^  int64_t t;/  int64_t inserted;\n&/' "$header" >"$work/smft.h"
cmp -s "$header" "$work/smft.h" && { echo "the self-test could not mutate the header"; exit 1; }
[ -n "$(kept "$work/smft.h")" ] || { echo "a field inserted in the middle was not noticed"; exit 1; }
# C99 and C++ clean, and INIT macros give what zero plus the size gives
for compile in "${CC:-cc} -std=c99 -x c" "${CXX:-c++} -std=c++11 -x c++"; do
  $compile -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$header"
done
