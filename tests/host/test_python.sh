#!/usr/bin/env bash
# The Python package against the library of this build: with numpy where a python3 has it, and with numpy hidden.
set -euo pipefail
# A plain python3 takes a library with the address sanitizer where that is loaded first.  Its own
# leaks are its own; memory of Python's is the C library's, so that what is written past an array is
# seen.
preload=""
case "${SMFT_SANITIZE:-}" in
  "") ;;
  *address*)
    for name in libasan.so libclang_rt.asan-x86_64.so libclang_rt.asan-aarch64.so; do
      found=$(${CC:-cc} -print-file-name="$name")
      [ "$found" = "$name" ] || preload=$found
    done
    export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONMALLOC=malloc
    ;;
esac
if [ -n "${SMFT_SANITIZE:-}" ] && [ -z "$preload" ]; then
  echo "SKIPPED: a library with this sanitizer cannot be loaded into a plain python3"
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
  env ${preload:+LD_PRELOAD="$preload"} "$python" -W error -m unittest -b -v >"$log" 2>&1 || { cat "$log"; exit 1; }
  grep -h '\.\.\. skipped' "$log" || true
  tail -n 3 "$log"
}
if "$python" -c 'import numpy' 2>/dev/null; then
  run "with numpy"
  [ -z "$preload" ] || exit 0 # once is slow enough
  export SMFT_TEST_NO_NUMPY=1
  run "numpy hidden"
else
  echo "-- SKIPPED the half with numpy: $python has none"
  run "without numpy"
fi
