#!/usr/bin/env bash
# Which lines of lib/ the tests run: builds with counters (preset "coverage", gcc alone), runs ctest, prints a table by folder and what no
# test runs.  Arguments go to ctest (-R unit: those alone, on top of what ran before; --fresh as the first forgets that).
#   tests/coverage.sh                everything but what tests the build itself
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cmake --preset coverage >/dev/null
cmake --build --preset coverage -j "${JOBS:-$(nproc)}" | grep -E 'error|warning' || true
if [ "${1:-}" = --fresh ]; then
  shift
  find build/coverage -name '*.gcda' -delete
fi
# Left out: what looks at the library's own file (counters need more of the C library), and what builds it anew.
failed=0
ctest --preset coverage -j "${JOBS:-$(nproc)}" -E '^(abi|install|bits|fuzz|bench)\.' "$@" || failed=1
python3 tests/coverage.py build/coverage
exit "$failed"
