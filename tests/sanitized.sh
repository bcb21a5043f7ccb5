#!/usr/bin/env bash
# The address and undefined-behaviour sanitizers over a part of the tests, in a few minutes: installs what is missing, builds the test programs
# into build/asan (preset "asan"), runs them.  Arguments go to ctest in place of that choice; examples.* want all that the preset builds.
#   tests/sanitized.sh                    what .ci/run runs: readers, hostile bytes, wrong calls, failures, each file of lib/
#   tests/sanitized.sh -R '^host.python'  the tests whose name matches
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
. "$(dirname "${BASH_SOURCE[0]}")/support/install.sh"
# What takes longest under sanitizers is not of the choice, nor are the kernels' other instruction sets.
slow='unit\.(nn_.*|parallel|params|product_keys|quant_model)|api\.(serving|taught)|golden\.(real|tokenizer_llama_cpp)|fault\.(alloc_failures|killed|learn_exact|steady)'
choice=(-R '^(unit|api|golden|fault|fuzz)\.' -E "^($slow)\$|\.(portable|avx2|tiles)\$")
[ $# = 0 ] || choice=("$@")
install_for_tests
cd "$root"
say "configuring and building the test programs in $root/build/asan"
quietly cmake --preset asan
quietly cmake --build --preset asan -j "$(nproc)" --target programs
say "testing under the address and undefined-behaviour sanitizers"
ctest --preset asan -j "$(nproc)" "${choice[@]}"
