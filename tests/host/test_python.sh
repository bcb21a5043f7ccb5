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
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { # quiet, but what was skipped is named
  echo "-- $python, $1"
  "$python" -W error -m unittest -b -v >"$log" 2>&1 || { cat "$log"; exit 1; }
  grep -h '\.\.\. skipped' "$log" || true
  tail -n 3 "$log"
}
if "$python" -c 'import numpy' 2>/dev/null; then
  run "with numpy"
  export SMFT_TEST_NO_NUMPY=1
  run "numpy hidden"
else
  echo "-- SKIPPED the half with numpy: $python has none"
  run "without numpy"
fi
