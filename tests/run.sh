#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test through ctest.  Works from any directory.  Extra arguments go to ctest.
#   tests/run.sh                 everything
#   tests/run.sh -R unit         the tests whose name matches
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
. "$(dirname "${BASH_SOURCE[0]}")/support/install.sh"
install_for_tests
build_release -DSMFT_BUILD_TESTS=ON -DSMFT_BUILD_EXAMPLES=ON
say "testing"
cd "$root/build"
ctest --output-on-failure -j "$(nproc)" "$@"
