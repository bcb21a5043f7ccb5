#!/usr/bin/env bash
# Hostile bytes for the readers: a fixed replay with the build's own compiler (seeds, truncations, mutations), then, where clang has
# libFuzzer, some seconds of fuzzing with the address and undefined sanitizers.  FUZZ_SECONDS=600 fuzzes longer, FUZZ_TARGETS="patch chat"
# fewer, CLANG=clang-14 another one; a crash is left in the working directory: replay it with ./replay_X FILE.  What was run so far: tests/README.md.
set -euo pipefail
source=${SMFT_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
build=${SMFT_BUILD:-$source/build}
seconds=${FUZZ_SECONDS:-2}
clang=${CLANG:-clang}
# made by a seeds_*.h, and from the files of corpus/
made="safetensors json gguf tokenizer_gguf model_gguf"
kept="config tokenizer encode chat facts patch optimizer background adapters"
targets=${FUZZ_TARGETS:-$made $kept}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
libraries=$(pkg-config --cflags --libs jansson libpcre2-8 libutf8proc)
common="-std=c11 -D_GNU_SOURCE -g -I $source/lib -I $source/include -DSMFT_SOURCE_DIR=\"$source\" -DMOST=8192"
# Which header has a target's seeds.
seeds_of() {
  case $1 in *gguf) echo "seeds_$1.h" ;; safetensors | json) echo seeds_safetensors.h ;; *) echo seeds_corpus.h ;; esac
}
# A second of each, or two.
mutations_of() {
  case $1 in chat | facts) echo 4000 ;; *) echo 20000 ;; esac
}
sanitize=${SMFT_SANITIZE:+-fsanitize=${SMFT_SANITIZE//;/,}}
for target in $targets; do
  # shellcheck disable=SC2086
  ${CC:-cc} $common -O1 $sanitize "-DREPLAY_SEEDS=\"$(seeds_of "$target")\"" "$source/tests/fuzz/fuzz_$target.c" \
    "$source/tests/fuzz/replay.c" "$build/libsmft.a" -o "$work/replay_$target" $libraries -lm -lpthread
  FUZZ_CORPUS=$source/tests/fuzz/corpus/$target "$work/replay_$target" "$(mutations_of "$target")"
  echo "replay_$target: $(mutations_of "$target") mutations"
done
if [ -n "$sanitize" ] || ! echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d == 0 && n; }' \
    | "$clang" -fsanitize=fuzzer,address -x c - -o "$work/probe" 2>/dev/null; then
  echo "SKIPPED IN PART: no libFuzzer here (clang with its runtime), or a sanitizer build; replay alone was run"
  exit 0
fi
# The library once for all targets; of its largest file clang would count edges for minutes.
checks="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
mkdir "$work/objects"
compile() {
  local how=-fsanitize=fuzzer-no-link name=${1#"$source/lib/"}
  [ "$name" != nn/gemm.c ] || how=-fno-sanitize=undefined
  # shellcheck disable=SC2086
  "$clang" $common -O1 $checks $how -c "$1" -o "$work/objects/${name//\//_}.o"
}
export -f compile
export source work common checks clang
find "$source/lib" -name '*.c' -print0 | xargs -0 -P "${FUZZ_JOBS:-1}" -I{} bash -c 'compile "$1"' _ {}
ar rcs "$work/library.a" "$work"/objects/*.o
for target in $targets; do
  begin=$work/corpus-$target
  mkdir "$begin"
  FUZZ_CORPUS=$source/tests/fuzz/corpus/$target "$work/replay_$target" --seeds "$begin"
  # shellcheck disable=SC2086
  "$clang" $common -O1 $checks -fsanitize=fuzzer "$source/tests/fuzz/fuzz_$target.c" "$work/library.a" -o "$work/fuzz_$target" \
    $libraries -lm -lpthread
  "$work/fuzz_$target" -seed=1 -max_total_time="$seconds" -max_len=8192 "$begin" >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
  echo "$target: $(tail -1 "$work/log")"
done
