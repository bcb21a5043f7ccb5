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
# C99 and C++ clean; every struct that begins with its size has an INIT macro, which gives the size and zeros (a background's pad_id: -1)
init() { # HEADER: a program that fails where a macro gives something else; does not compile where one is missing or too short
  printf '#include <stdio.h>\n#include <string.h>\n#include "%s"\nint main(void) {\n  int bad = 0;\n' "$1"
  dump "$1" | sed -nE 's/^(smft_(\w+))\.struct_size 0 4$/\1 \2/p' | while read -r struct name; do
    expected='memset(&zero, 0, sizeof zero); zero.struct_size = sizeof zero;'
    [ "$name" = background ] && expected+=' zero.pad_id = -1;'
    printf '  { %s made = SMFT_%s_INIT, zero; %s if (memcmp(&made, &zero, sizeof zero)) { puts("%s"); bad = 1; } }\n' \
      "$struct" "${name^^}" "$expected" "SMFT_${name^^}_INIT is not the size and zeros"
  done
  printf '  return bad;\n}\n'
}
initialises() { # HEADER COMPILER...
  init "$1" >"$work/init" && "${@:2}" -Wall -Wextra -Wpedantic -Werror -o "$work/program" "$work/init" && "$work/program"
}
[ "$(init "$header" | grep -c _INIT,)" -ge 20 ] || { echo "the structs with a size could not be found"; exit 1; }
for compile in "${CC:-cc} -std=c99 -x c" "${CXX:-c++} -std=c++11 -x c++"; do
  $compile -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$header"
  # shellcheck disable=SC2086
  initialises "$header" $compile
done
for mutation in 's/define SMFT_IDS_WORDING_INIT/define SMFT_OTHER_INIT/' 's/sizeof\(smft_model_info\), 0/&, 1/; s/(sizeof\(smft_model_info\).*), 0 \}/\1 }/' \
                's/(sizeof\(smft_memory_info\).*), 0 \}/\1 }/'; do # missing, other than zero, too short
  sed -E "$mutation" "$header" >"$work/smft.h"
  # shellcheck disable=SC2086
  if initialises "$work/smft.h" ${CC:-cc} -std=c99 -x c >/dev/null 2>&1; then echo "an INIT macro was spoilt, and nothing noticed: $mutation"; exit 1; fi
done
