#!/usr/bin/env bash
# examples/graft: what is refused; and, where examples/models/get.sh has installed SmolLM2, a graft of few texts that is taught a fact.
# (That model is not in a clone.)
set -euo pipefail
make=$SMFT_BUILD/examples/graft-make demo=$SMFT_BUILD/examples/graft-demo data=$SMFT_SOURCE/examples/graft/data
[ -x "$make" ] && [ -x "$demo" ] || { echo "SKIPPED: examples are not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; tail -n 20 "$work"/out "$work"/err; exit 1; }
refused() { # WORDS COMMAND...: fails, and says so
  local words=$1
  shift
  if "$@" >"$work/out" 2>"$work/err"; then fail "not refused: $*"; fi
  grep -q -- "$words" "$work/err" || fail "\"$words\" is not said by $*"
}

"$make" --help >"$work/out" && grep -q "usage" "$work/out" || fail "graft-make --help"
"$demo" --help >"$work/out" && grep -q "usage" "$work/out" || fail "graft-demo --help"
refused usage "$make" "$work" "$work/graft"
refused usage "$demo" "$work"
refused "memory" "$make" --prose "$data/prose.txt" "$SMFT_SOURCE/examples/atlas/model" "$work/graft"
echo '{"question": "Why?"}' >"$work/bad.jsonl"
refused "bad.jsonl:1: wants" "$demo" --facts "$data/facts.jsonl" --known "$work/bad.jsonl" "$work"
: >"$work/empty.jsonl"
refused "no facts" "$demo" --facts "$data/facts.jsonl" --known "$work/empty.jsonl" "$work"
refused "found a directory" "$demo" --facts "$data/facts.jsonl" --known "$work" "$work"

model=${SMFT_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/smft/models}/SmolLM2-135M-Instruct.Q4_1.gguf
[ -f "$model" ] || { echo "SKIPPED the part on SmolLM2, which examples/models/get.sh installs: the rest passed"; exit 77; }
refused "bad.jsonl:1: wants" "$make" --chats "$work/bad.jsonl" "$model" "$work/graft"
head -n 40 "$data/prose.txt" >"$work/prose"
head -n 120 "$data/chats.jsonl" >"$work/chats"
head -n 3 "$data/known.jsonl" >"$work/known"
"$make" --prose "$work/prose" --chats "$work/chats" "$model" "$work/graft" >"$work/out" 2>"$work/err" || fail "graft-make"
grep -q "2 memory layers" "$work/out" || fail "graft-make says nothing of its layers"
# the library reads the facts, and says what is wrong with them
refused "empty.jsonl: no facts" "$demo" --facts "$work/empty.jsonl" --known "$work/known" "$work/graft"
refused "bad.jsonl:1: fact" "$demo" --facts "$work/bad.jsonl" --known "$work/known" "$work/graft"
printf '\n\n{"id": "x", "question": "p", "asnwer": "c"}\n' >"$work/odd.jsonl"
refused 'odd.jsonl:3: fact "x": "asnwer" is not known' "$demo" --facts "$work/odd.jsonl" --known "$work/known" "$work/graft"
"$demo" --n 1 --integer --facts "$data/facts.jsonl" --known "$work/known" --save "$work/patch" "$work/graft" >"$work/out" 2>"$work/err" || fail "graft-demo"
grep -q "RESULT taught=1/1" "$work/out" || fail "the taught question is not answered"
[ -s "$work/patch" ] || fail "--save saved nothing"
