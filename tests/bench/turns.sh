#!/usr/bin/env bash
# Measures two builds of libsmft against each other in turns: is the new one as fast as the old?
#   tests/bench/turns.sh [OPTION]... OLD_BUILD NEW_BUILD
# A build is a directory that holds libsmft.a; the two may be the same.  This checkout's bench_model
# and bench_learn, which use smft.h alone, are compiled against each, so that nothing but the
# library differs.  The models have random weights and are made anew (1 GB under TMPDIR).
#   --rounds N    rounds (11), programs started anew in each: old new new old, then new old old new
#   --threads N   of the library (as many as this process may use processors)
#   --seconds S   a timing takes at least so long, after half as long of warming up
#                 (SMFT_BENCH_SECONDS, or 0.3)
#   --rows A,B    these rows alone; decode is all that begins with it, decode.B both of B
#   --list        the rows
# A row is WHAT.SHAPE: forward, train, lora (256 tokens, AdamW), decode.SHAPE.f32 or .bf16, step
# (first smft_step of a fact), again (a further one).  Shapes are bench_make's; beside the listed
# rows --rows takes any shape, also S and T, which are tiny.
# The table: medians of old and new; the median of the rounds' ratios new / old (more than 1: the
# new build is faster) and its 95 % interval; the median of the cores that other processes had,
# which should be near 0.  A row is met where the ratio is 0.99 or more, or the interval reaches
# 0.99: one of many percent says nothing, measure again on a quieter machine or with more rounds.
# Exit: 0 measured, whatever the speeds; 1 a program failed; 2 used wrongly.

# Owns: the command line, the rows, both builds' programs.  turns.py asks and computes.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
all_rows=(forward.A forward.B train.A train.B lora.A lora.B
  decode.A.f32 decode.A.bf16 decode.B.f32 decode.B.bf16 step.M again.M)
possible='(forward|train|lora)\.[ABMST]|decode\.([ABMST]\.f32|[ABS]\.bf16)|(step|again)\.[MT]'

usage() { # WHY
  printf 'turns: %s; see %s --help\n' "$1" "$0" >&2
  exit 2
}

add_rows() { # NAME...: whole rows, or what listed ones have before a dot
  local name row known
  for name in "$@"; do
    known=
    for row in "${all_rows[@]}"; do
      [[ $row != "$name".* ]] || { rows+=("$row"); known=yes; }
    done
    [ -z "$known" ] || continue
    [[ $name =~ ^($possible)$ ]] || usage "there is no row $name"
    rows+=("$name")
  done
}

compile() { # BUILD FOLDER: both programs and the one that makes models
  local program dependencies
  dependencies=$(pkg-config --cflags --libs jansson libpcre2-8 libutf8proc)
  mkdir "$2"
  for program in bench_model bench_learn bench_make; do
    # shellcheck disable=SC2086 # several words
    ${CC:-cc} -std=gnu11 -O2 -D_GNU_SOURCE -I"$bench/../../include" "$bench/$program.c" \
      -o "$2/$program" "$1/libsmft.a" $dependencies -lpthread -lm ||
      usage "$program.c does not compile against $1"
  done
}

type_of() { # BUILD
  sed -n 's/^CMAKE_BUILD_TYPE:[A-Z]*=//p' "$1/CMakeCache.txt" 2>/dev/null || true
}

rounds=11 threads=$(nproc) seconds=${SMFT_BENCH_SECONDS:-0.3} names=() builds=()
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --list) printf '%s\n' "${all_rows[@]}"; exit 0 ;;
    --rounds|--threads|--seconds|--rows)
      [ $# -gt 1 ] || usage "$1 needs a value"
      case $1 in
        --rounds) rounds=$2 ;;
        --threads) threads=$2 ;;
        --seconds) seconds=$2 ;;
        --rows) IFS=, read -r -a names <<<"$2"; [ ${#names[@]} -gt 0 ] || usage "no row" ;;
      esac
      shift 2 ;;
    -*) usage "no such option: $1" ;;
    *) builds+=("$1"); shift ;;
  esac
done
for number in "$rounds" "$threads"; do
  [[ $number =~ ^[1-9][0-9]{0,3}$ ]] || usage "expected a number from 1 to 9999, not $number"
done
[[ $seconds =~ ^[0-9]*\.?[0-9]+$ && $seconds =~ [1-9] ]] ||
  usage "expected a number of seconds, not $seconds"
rows=()
[ ${#names[@]} -gt 0 ] || names=("${all_rows[@]}")
add_rows "${names[@]}"
[ ${#builds[@]} = 2 ] || usage "expected OLD_BUILD NEW_BUILD"
for build in "${builds[@]}"; do
  [ -f "$build/libsmft.a" ] || usage "$build has no libsmft.a"
done
types=("$(type_of "${builds[0]}")" "$(type_of "${builds[1]}")")
[ "${types[0]}" = "${types[1]}" ] ||
  echo "turns: beware: the build types differ, ${types[0]:-unknown} and ${types[1]:-unknown}" >&2

work=$(mktemp -d "${TMPDIR:-/tmp}/smft-turns-XXXXXX")
trap 'rm -rf "$work"' EXIT
compile "${builds[0]}" "$work/old"
compile "${builds[1]}" "$work/new"
python3 -B "$bench/turns.py" "$work" "$rounds" "$threads" "$seconds" "${rows[@]}"
