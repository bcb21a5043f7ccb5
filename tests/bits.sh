#!/usr/bin/env bash
# Compares what two builds of libsmft compute, to the last bit, at every instruction set of this
# processor and with 1 and 2 threads; and the threads with each other.
#   tests/bits.sh [--short] OLD_BUILD NEW_BUILD [MODEL...]
#   tests/bits.sh --compare OLD_RESULTS NEW_RESULTS
# A build is a directory that holds libsmft.a; the two may be the same.  MODEL is a Hugging Face
# directory; without one: the two networks of tests/golden, stories260K (from SMFT_SHARED or
# ../shared/data) and examples/atlas.  Both builds are compiled with this checkout's header.
#   --short    the two small networks alone, at the portable level
#   --compare  only the comparison: two files of lines "name hash"
#   --keep DIRECTORY (before the builds) leaves the lists of results there
# What differs is named.  Exit: 0 equal, 1 different or a run failed, 2 used wrongly.

# Owns: which models, levels and threads are run, what counts as equal.  bits/ owns what is done.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() { # WHY
  printf 'bits: %s; see %s --help\n' "$1" "$0" >&2
  exit 2
}

compare() { # OLD_RESULTS NEW_RESULTS [LABEL]
  awk -v label="${3:-}" '
    function say(what) { print "bits: " label what; bad = 1 }
    first { old[$1] = $2; next }
    !($1 in old) { say($1 " is in the second alone"); next }
    { if (old[$1] != $2) say($1 " differs"); delete old[$1]; n++ }
    END { for (name in old) say(name " is in the first alone")
          if (n == 0) say("nothing to compare")
          exit bad }' first=1 "$1" first=0 "$2"
}

compile() { # BUILD PROGRAM
  local dependencies
  dependencies=$(pkg-config --cflags --libs jansson libpcre2-8 libutf8proc)
  # shellcheck disable=SC2086 # several words
  ${CC:-cc} -std=c11 -O2 -I"$here/../include" "$here/bits/bits.c" -o "$2" "$1/libsmft.a" \
    $dependencies -lpthread -lm || usage "bits.c does not compile against $1"
}

name_of() { # MODEL: its directory's name, or the one above where that says nothing
  local name
  name=$(basename "$(realpath "$1")")
  [ "$name" != model ] || name=$(basename "$(dirname "$(realpath "$1")")")
  printf '%s' "$name"
}

run_model() { # PROGRAM LEVEL THREADS MODEL: appends "name hash" lines; 77: no such level
  local out=$work/files name status=0
  name=$(name_of "$4")
  rm -rf "$out"
  mkdir -p "$out/$name"
  "$1" "$2" "$3" "$out/$name" "$4" >"$work/log" 2>&1 || status=$?
  [ $status = 0 ] || [ $status = 77 ] || { cat "$work/log" >&2; return 1; }
  (cd "$out" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum) |
    sed -E 's/^([0-9a-f]+)  \.\/(.*)$/\2 \1/'
  return $status
}

failed() { # WHICH LEVEL THREADS MODEL
  echo "bits: $2, $3 threads: the $1 build fails on $(name_of "$4")"
  return 1
}

run() { # WHICH LEVEL THREADS: the results of all models, in the file WHICH.LEVEL.THREADS
  local model status=0 results=$work/$1.$2.$3
  : >"$results"
  for model in "${models[@]}"; do
    run_model "$work/program.$1" "$2" "$3" "$model" >>"$results" || status=$?
    [ $status != 77 ] || return 77
    [ $status = 0 ] || failed "$1" "$2" "$3" "$model" || return 1
  done
}

check_level() { # LEVEL: 0 equal, 1 different, 77 no such level
  local threads which status bad=0
  for threads in 1 2; do
    for which in old new; do
      status=0
      run "$which" "$1" "$threads" || status=$?
      [ $status = 0 ] || return $status
    done
    compare "$work"/{old,new}."$1.$threads" "$1, threads $threads, old and new: " || bad=1
  done
  for which in old new; do
    compare "$work/$which.$1.1" "$work/$which.$1.2" "$1, $which, threads 1 and 2: " || bad=1
  done
  return $bad
}

check_all() { # LEVEL...
  local level status n n_levels=0 bad=0
  for level in "$@"; do
    status=0
    check_level "$level" || status=$?
    case $status in
      77) echo "bits: SKIPPED: this processor has no $level" ;;
      *) n_levels=$((n_levels + 1)) bad=$((bad | status)) ;;
    esac
  done
  local verdict="all equal" plural=s
  [ $bad = 0 ] || verdict="DIFFERENT"
  [ $n_levels != 1 ] || plural=
  n=$(wc -l <"$work/new.$1.2")
  echo "bits: $n results at $n_levels level$plural, 1 and 2 threads: $verdict"
  return $bad
}

default_models() {
  local stories=${SMFT_SHARED:-$here/../../shared/data}/models/stories260K
  models=("$here/golden/network_replace" "$here/golden/network_beside")
  [ -z "$short" ] || return 0
  if [ -d "$stories" ]; then models+=("$stories")
  else echo "bits: SKIPPED: models/stories260K is not there (real data is not in a clone)"; fi
  models+=("$here/../examples/atlas/model")
}

short='' keep=''
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --short) short=yes; shift ;;
    --keep) [ $# -gt 1 ] || usage "--keep needs a directory"; keep=$2; shift 2 ;;
    --compare)
      [ $# = 3 ] && [ -r "$2" ] && [ -r "$3" ] || usage "--compare takes two files of results"
      compare "$2" "$3" && exit 0 || exit 1 ;;
    -*) usage "no such option: $1" ;;
    *) break ;;
  esac
done
[ $# -ge 2 ] || usage "expected OLD_BUILD NEW_BUILD"
for build in "$1" "$2"; do
  [ -f "$build/libsmft.a" ] || usage "$build has no libsmft.a"
done
models=("${@:3}")
for model in "${models[@]}"; do
  [ -f "$model/config.json" ] || usage "$model has no config.json"
done
[ ${#models[@]} -gt 0 ] || default_models

work=$(mktemp -d "${TMPDIR:-/tmp}/smft-bits-XXXXXX")
trap 'rm -rf "$work"' EXIT
compile "$1" "$work/program.old"
compile "$2" "$work/program.new"
levels=(portable avx2 avx512 tiles)
[ -z "$short" ] || levels=(portable)
status=0
check_all "${levels[@]}" || status=$?
if [ -n "$keep" ]; then
  mkdir -p "$keep"
  cp "$work"/old.* "$work"/new.* "$keep"
fi
exit $status
