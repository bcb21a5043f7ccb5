#!/usr/bin/env bash
# Hostile bytes for the readers: a fixed replay with the build's own compiler, then (where clang has libFuzzer) some seconds of fuzzing
# with the address sanitizer.  FUZZ_SECONDS=600 fuzzes longer; a crash is left in the working directory: replay it with ./replay_X FILE.
set -euo pipefail
source=${SMFT_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
build=${SMFT_BUILD:-$source/build}
seconds=${FUZZ_SECONDS:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
libraries=$(pkg-config --cflags --libs jansson libpcre2-8 libutf8proc)
common="-std=c11 -D_GNU_SOURCE -g -I $source/lib -I $source/include"
files="$source/lib/base/*.c $source/lib/data/*.c $source/lib/data/tokenizer/*.c"
# What a target begins with.
seeds_of() {
  case $1 in *gguf) echo "seeds_$1.h" ;; *) echo seeds_safetensors.h ;; esac
}
# What a target is linked with: a whole model takes the whole library.
files_of() {
  case $1 in model_gguf) echo "$2" ;; *) echo "$files" ;; esac
}
sanitize=${SMFT_SANITIZE:+-fsanitize=${SMFT_SANITIZE//;/,}}
for target in safetensors json gguf tokenizer_gguf model_gguf; do
  # shellcheck disable=SC2086
  ${CC:-cc} $common -O1 $sanitize "-DREPLAY_SEEDS=\"$(seeds_of "$target")\"" "$source/tests/fuzz/fuzz_$target.c" "$source/tests/fuzz/replay.c" \
    $(files_of "$target" "$build/libsmft.a") -o "$work/replay_$target" $libraries -lm -lpthread
  "$work/replay_$target" 20000
  echo "replay_$target: 20000 mutations"
done
if [ -n "$sanitize" ] || ! echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d == 0 && n; }' \
    | clang -fsanitize=fuzzer,address -x c - -o "$work/probe" 2>/dev/null; then
  echo "SKIPPED IN PART: no libFuzzer here (clang with its runtime), or a sanitizer build; replay alone was run"
  exit 0
fi
for target in safetensors json gguf tokenizer_gguf model_gguf; do
  corpus=$work/corpus-$target
  mkdir "$corpus"
  "$work/replay_$target" --seeds "$corpus"
  # shellcheck disable=SC2086
  clang $common -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined "$source/tests/fuzz/fuzz_$target.c" \
    $(files_of "$target" "$(find "$source/lib" -name '*.c')") -o "$work/fuzz_$target" $libraries -lm -lpthread
  "$work/fuzz_$target" -seed=1 -max_total_time="$seconds" -max_len=4096 "$corpus" >"$work/log" 2>&1 \
    || { tail -40 "$work/log"; exit 1; }
  tail -1 "$work/log"
done
