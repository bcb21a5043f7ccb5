#!/usr/bin/env bash
# smft.h is the manual: each function has a comment that says since when it is there, and there is at least as much comment as code.
set -euo pipefail
header=$SMFT_SOURCE/include/smft/smft.h
check() { python3 "$SMFT_SOURCE/tests/abi/header.py" "$1"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# broken headers first: each must be refused by name, or this test proves nothing
refused() { # SAYS SED_SCRIPT
  sed -E "$2" "$header" >"$work/smft.h"
  cmp -s "$header" "$work/smft.h" && { echo "the self-test could not mutate the header: $2"; exit 1; }
  if check "$work/smft.h" >"$work/says"; then echo "accepted in spite of: $2"; exit 1; fi
  grep -q -- "$1" "$work/says" || { echo "$2 was refused for something else:"; cat "$work/says"; exit 1; }
}
refused '^smft_step:' '/^SMFT_API smft_status smft_step\(/i\\' # a comment that is not directly above
refused '^smft_step:' '/^SMFT_API smft_status smft_step\(/i /* Takes a step. */'
refused '^smft_new_call:' '/^SMFT_API smft_status smft_step\(/a SMFT_API void smft_new_call(void);'
refused 'less comment than code, by lines' '/Since|\*\/$/!{/^ \* /d}'
refused 'less comment than code, by characters' '/Since/!{s|^( +\*) .*[^/]$|\1|;s|^( *\/\*) .*[^/]$|\1|;s|\/\* .* \*\/|/* */|}'
check "$header"
