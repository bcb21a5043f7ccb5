#!/usr/bin/env bash
# What the source of lib/ must not become: structure.py says what that is.  Broken copies first: each
# must be refused for what was broken, and what only looks like it must pass, or this proves nothing.
set -euo pipefail
check() { python3 "$SMFT_SOURCE/tests/abi/structure.py" "$1"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for other in tests include bindings; do ln -s "$SMFT_SOURCE/$other" "$work/$other"; done

copy() {
  rm -rf "$work/lib"
  cp -r "$SMFT_SOURCE/lib" "$work/lib"
  cp "$SMFT_SOURCE/README.md" "$work/README.md"
}
refused() { # SAYS: the copy, for that alone
  if check "$work" >"$work/says"; then echo "accepted in spite of: $1"; exit 1; fi
  [ "$(wc -l <"$work/says")" = 1 ] && grep -q -- "$1" "$work/says" ||
    { echo "to be refused for $1, was for:"; cat "$work/says"; exit 1; }
  copy
}
accepted() { # WHAT
  check "$work" >"$work/says" || { echo "$1 was refused:"; cat "$work/says"; exit 1; }
  copy
}
lines() { # N: a function of N lines
  printf 'static int spoilt(int a,\n                  int b) {\n'
  for ((i = 2; i < $1; i++)); do echo '  a += b;'; done
  echo '}'
}

copy
# ---- parameters ----
for use in SMFT__GATE SMFT__LINE_Q SMFT__M_KEYS SMFT__LINE_M_KEYS SMFT__VALUES; do
  echo "int spoilt(void) { return $use; }" >>"$work/lib/model/export.c"
  refused "lib/model/export.c:[0-9]*: $use:"
done
echo 'static int spoilt = SMFT__M_ALPHA;' >>"$work/lib/model/weights.c" # may speak of others
refused 'lib/model/weights.c:[0-9]*: SMFT__M_ALPHA:'
sed -i 's/^  X(UP, .*/&\n  X(LATER, "later", (F, D), FAN_IN, FFN, NONE, 0) \\/' "$work/lib/model/params.h"
echo 'static int spoilt = SMFT__LATER;' >>"$work/lib/learn/dense.c" # a new line of the list
refused 'lib/learn/dense.c:[0-9]*: SMFT__LATER:'
sed -i 's/^  SMFT__M_ALPHA,/  SMFT__M_LATER,\n&/' "$work/lib/memory/params.h"
echo 'static int spoilt = SMFT__M_LATER;' >>"$work/lib/memory/gather.c"
refused 'lib/memory/gather.c:[0-9]*: SMFT__M_LATER:'
{
  echo '/* SMFT__GATE is'
  echo ' * SMFT__UP. */'
  echo 'static const char *fine = "SMFT__Q \" SMFT__K";'
  echo 'static int also_fine = SMFT__N_BLOCK_PARAMS + SMFT__GATES + XSMFT__UP;'
} >>"$work/lib/model/export.c"
accepted 'a comment, a text, another name'
echo 'static int fine = SMFT__LINE_GATE;' >"$work/lib/model/arch/other.c"
accepted 'a family'

# ---- sizes of element types ----
for size in 'dtype == SMFT__F32 ? 4 : 2' 'd == SMFT__BF16 ? 2 : 4' $'t->dtype == what\n                 ? 4\n                 : 2'; do
  printf 'static int64_t spoilt = %s;\n' "$size" >>"$work/lib/nn/linear.c"
  refused 'lib/nn/linear.c:[0-9]*: ? '
done
printf 'static int dtype = 1;\nstatic int fine = wide ? 4 : 2, also = dtype == SMFT__F32 ? 4 : 20;\n' >>"$work/lib/nn/linear.c"
accepted 'a 4 or 2 of something else'

# ---- long functions ----
lines 60 >>"$work/lib/base/clock.c"
accepted 'a function of 60 lines'
lines 61 >>"$work/lib/base/clock.c"
refused 'lib/base/clock.c:[0-9]*: a function of 61 lines'

# ---- maps ----
mv "$work/lib/base/clock.c" "$work/lib/base/timer.c"
rm "$work/lib/base/clock.h"
refused 'lib/base has no clock'
for word in model/prefix.c prefix.c 'model/{params,prefix}.c'; do
  echo "See $word." >>"$work/lib/README.md"
  refused 'lib/README.md:[0-9]*: there is no .*prefix.c'
done
echo 'See `smft__prefix_make`.' >>"$work/lib/README.md"
refused 'lib/README.md:[0-9]*: there is no smft__prefix_make'
echo 'See lib/model/prefix.c.' >>"$work/README.md"
refused '^README.md:[0-9]*: there is no lib/model/prefix.c'
sed -i 's/^| \*\*measure\/\*\* | score,/& prefix,/' "$work/lib/README.md"
refused 'lib/README.md:[0-9]*: lib/measure has no prefix'
sed -i 's/`unit\/test_score`/`unit\/test_{score,prefix}`/' "$work/lib/README.md"
refused 'lib/README.md:[0-9]*: tests/ has no unit/test_prefix'

check "$SMFT_SOURCE"
