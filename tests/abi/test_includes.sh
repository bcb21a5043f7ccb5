#!/usr/bin/env bash
# Data flows down the list of folders in lib/; an include that points down it fails.  cblas.h and the like must not appear at all.
set -euo pipefail
cd "$SMFT_SOURCE/lib"
order=(base data nn memory model learn measure store)
bad=0
rank() { local i; for i in "${!order[@]}"; do [ "${order[$i]}" = "$1" ] && { echo "$i"; return; }; done; echo -1; }
for file in */*.[ch]; do
  mine=$(rank "${file%%/*}")
  [ "$mine" -ge 0 ] || { echo "$file: its folder is not one of ${order[*]}"; bad=1; }
  for included in $(sed -nE 's/^ *# *include "([a-z]+)\/[^"]*".*/\1/p' "$file"); do
    [ "$included" = smft ] && continue
    theirs=$(rank "$included")
    if [ "$theirs" -lt 0 ] || [ "$theirs" -gt "$mine" ]; then echo "$file includes $included/: points down the list"; bad=1; fi
  done
done
exit $bad
