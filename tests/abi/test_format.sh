#!/usr/bin/env bash
# The layout of the C and C++ files: no line over 100 columns, and what .clang-format says, where
# clang-format 14 is there (other versions lay out differently).  To apply it:
#   git ls-files '*.c' '*.h' '*.cpp' ':!examples/quickstart.c' | xargs clang-format-14 -i
# (quickstart.c is printed in the README, where it is to be short.)
set -euo pipefail
cd "$SMFT_SOURCE"
files=$(find lib include tests examples bindings -name build -prune -o \
        \( -name '*.c' -o -name '*.h' -o -name '*.cpp' \) -print)
# shellcheck disable=SC2086
long=$(awk 'length > 100 {print FILENAME ":" FNR ": " length " columns"}' $files)
if [ -n "$long" ]; then
  printf 'lines over 100 columns:\n%s\n' "$long"
  exit 1
fi
if ! command -v clang-format-14 >/dev/null; then
  echo "no line over 100 columns; clang-format 14 is not here, the rest was not checked"
  exit 0
fi
# shellcheck disable=SC2086
clang-format-14 --dry-run --Werror ${files/examples\/quickstart.c/}
echo "$(wc -w <<<"$files") files are laid out as .clang-format says"
