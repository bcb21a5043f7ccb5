#!/usr/bin/env bash
# The Python package against the library of this build: with numpy where a python3 has it, and with numpy hidden.
set -euo pipefail
if [ -n "${SMFT_SANITIZE:-}" ]; then
  echo "SKIPPED: a sanitized library cannot be loaded into a plain python3"
  exit 77
fi
python=""
for candidate in /usr/bin/python3 python3; do # the first on PATH may be one without numpy
  command -v "$candidate" >/dev/null || continue
  [ -n "$python" ] || python=$candidate
  if "$candidate" -c 'import numpy' 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "SKIPPED: no python3"
  exit 77
fi
export PYTHONPATH="$SMFT_SOURCE/bindings/python" PYTHONDONTWRITEBYTECODE=1 SMFT_LIBRARY="$SMFT_BUILD/libsmft.so" SMFT_SOURCE CC="${CC:-cc}"
cd "$SMFT_SOURCE/bindings/python/tests"
if "$python" -c 'import numpy' 2>/dev/null; then
  echo "-- $python, with numpy"
  "$python" -W error -m unittest -b
else
  echo "-- SKIPPED the half with numpy: $python has none"
fi
echo "-- $python, numpy hidden"
SMFT_TEST_NO_NUMPY=1 "$python" -W error -m unittest -b
