#!/usr/bin/env bash
# Who in lib/ may include whom.  Data flows down the list of floors, an include only points up it;
# a floor's sub-folder is its own (others go through a header of the floor itself), but for the
# words that kernels are written in; and headers never include each other in a circle.
# usage: test_includes.sh [LIB]    LIB: another tree than this one's
set -euo pipefail
if [ $# -eq 0 ]; then # broken trees first: each must be refused, or this test proves nothing
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  refused() { # FILE INCLUDE
    mkdir -p "$work/lib/$(dirname "$1")" "$work/lib/$(dirname "$2")"
    touch "$work/lib/$2"
    echo "#include \"$2\"" >>"$work/lib/$1"
    if "$0" "$work/lib" >/dev/null; then echo "$1 may include $2?"; exit 1; fi
    [ -n "${3:-}" ] || rm -r "$work/lib"
  }
  refused base/a.h model/b.h
  refused model/a.c nn/kernels/b.h
  refused data/tokenizer/a.c model/b.h
  refused colour/a.c base/b.h
  echo '#include "nn/c.h"' >"$work/b" && mkdir -p "$work/lib/nn" && cp "$work/b" "$work/lib/nn/b.h"
  echo '#include "nn/a.h"' >"$work/lib/nn/c.h"
  refused nn/a.h nn/b.h
fi
cd "${1:-$SMFT_SOURCE/lib}"
find . -name '*.[ch]' -printf '%P\n' | sort | xargs grep -HnE '^ *# *include "' |
  sed -E 's/^([^:]+):[0-9]+: *# *include "([^"]+)".*/\1 \2/' |
  awk -v floors='base data nn memory model learn graft measure store' '
    function circle(file, path,    n, i, next_files) {
      if (index(path, " " file " ")) { print "a circle of headers:" path file; exit bad = 1 }
      if (file in seen) return
      n = split(headers[file], next_files, " ")
      for (i = 1; i <= n; i++) circle(next_files[i], path file " ")
      seen[file] = 1
    }
    BEGIN { for (n = split(floors, name, " "); n; n--) rank[name[n]] = n }
    $2 ~ /^smft\// { next }
    {
      split($1, mine, "/"); depth = split($2, theirs, "/")
      if (!(mine[1] in rank)) { print $1 ": its folder is not one of " floors; bad = 1 }
      if (!(theirs[1] in rank) || rank[theirs[1]] > rank[mine[1]]) {
        print $1 " includes " $2 ": points down the list"; bad = 1
      }
      if (depth > 2 && theirs[1] != mine[1] && $2 != "nn/kernels/simd.h" && $2 != "nn/kernels/levels.h") {
        print $1 " includes " $2 ": another floor\047s own"; bad = 1
      }
      if ($1 ~ /\.h$/) headers[$1] = headers[$1] " " $2
    }
    END { if (!bad) for (file in headers) circle(file, " "); exit bad }'
