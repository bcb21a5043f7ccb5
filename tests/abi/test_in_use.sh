#!/usr/bin/env bash
# smft.h's table of handles that are in use is what tests/abi/in_use.py says, and names every
# function that has a handle.
set -euo pipefail
cd "$SMFT_SOURCE"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed '/smft_session_free  /d' include/smft/smft.h >"$work/smft.h" # broken ones are found
! python3 tests/abi/in_use.py "$work/smft.h" tests/abi/symbols.txt >/dev/null
echo smft_session_dance | cat tests/abi/symbols.txt - >"$work/symbols.txt"
! python3 tests/abi/in_use.py include/smft/smft.h "$work/symbols.txt" >/dev/null
python3 tests/abi/in_use.py include/smft/smft.h tests/abi/symbols.txt
