#!/usr/bin/env bash
# The exported symbols are exactly those that smft.h declares and lib/libsmft.map lists; the archive has nothing outside smft_ and smft__.
set -euo pipefail
declared() { sed -nE '/^SMFT_API/{:a;/\(/!{N;ba};s/^SMFT_API[^(]*\b(smft_[a-z0-9_]+)\(.*/\1/p}' "$1" | sort -u; }
listed() { sed -nE 's/^ +(smft_[a-z0-9_]+);.*/\1/p' "$SMFT_SOURCE/lib/libsmft.map" | sort -u; }
exported() { nm -D --defined-only "$SMFT_BUILD/libsmft.so" | awk '{print $3}' | sed 's/@.*//' | grep -vE '^(SMFT_0|_init|_fini|__asan|__tsan|__ubsan|_edata|_end|__bss_start)' | sort -u; }
compare() { diff <("$1" "${3:-}") <("$2" "${3:-}") >/tmp/smft-symbols.$$ || { echo "$1 (<) and $2 (>) differ:"; cat /tmp/smft-symbols.$$; rm -f /tmp/smft-symbols.$$; return 1; }; rm -f /tmp/smft-symbols.$$; }
header() { declared "$SMFT_SOURCE/include/smft/smft.h"; }
[ "$(header | wc -l)" -gt 50 ] || { echo "the header could not be read"; exit 1; }
compare header listed
compare header exported
committed() { grep -v '^#' "$SMFT_SOURCE/tests/abi/symbols.txt"; }
gone=$(comm -23 <(committed | sort) <(header)) # a symbol that was ever there stays
[ -z "$gone" ] || { echo "symbols that are gone: $gone"; exit 1; }
new=$(comm -13 <(committed | sort) <(header))
[ -z "$new" ] || { echo "add to tests/abi/symbols.txt: $new"; exit 1; }
outside=$(nm -g --defined-only "$SMFT_BUILD/libsmft.a" 2>/dev/null | awk 'NF==3 {print $3}' | grep -vE '^(smft_|smft__|__asan|__odr_asan|__ubsan|__tsan)' | sort -u || true)
[ -z "$outside" ] || { echo "the archive defines: $outside"; exit 1; }
