#!/usr/bin/env bash
# examples/models/talk: turns through a pipe, a full context, Ctrl-C; and, where examples/models/get.sh has installed it, real answers
# of SmolLM2 from its GGUF file.  (That model is not in a clone.)
set -euo pipefail
talk=$SMFT_BUILD/examples/talk
[ -x "$talk" ] || { echo "SKIPPED: examples are not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; tail -n 20 "$work"/out "$work"/err; exit 1; }
atlas="$SMFT_SOURCE/examples/atlas/model"

run() { "$talk" --temperature 0 "$@" >"$work/out" 2>"$work/err" || fail "talk $*"; }

# Turns, and /new: the same first question, then the same two answers again.
printf 'Who wrote Emma?\nAnd when?\n' | run --template chatml --max-tokens 12 "$atlas"
cp "$work/out" "$work/two"
printf 'Who wrote Emma?\n/new\nWho wrote Emma?\nAnd when?\n' | run --template chatml --max-tokens 12 "$atlas"
n=$(($(wc -c <"$work/out") - $(wc -c <"$work/two")))
tail -c "+$((n + 1))" "$work/out" | cmp - "$work/two" || fail "/new does not start over"
head -c "$n" "$work/out" | cmp - <(head -c "$n" "$work/two") || fail "the first answer differs"

printf 'Who wrote Emma?\nAnd when?\nAnd why?\nAnd who?\n' | run --template zephyr --context 80 --max-tokens 8 "$atlas"
grep -q "oldest turns are left out" "$work/err" || fail "a full context is not said"
printf 'no template\n' | run --max-tokens 4 "$atlas"
grep -q "^no template" "$work/out" || fail "a model without a template does not go on"
if "$talk" "$work" </dev/null 2>"$work/err"; then fail "an empty directory is a model"; fi

# Ctrl-C stops the answer and not the program.
mkfifo "$work/in"
"$talk" --temperature 1 --template chatml --max-tokens 100000 "$atlas" <"$work/in" >"$work/out" 2>"$work/err" &
pid=$!
exec 3>"$work/in"
echo "Tell me everything." >&3
for _ in $(seq 100); do [ -s "$work/out" ] && break; sleep 0.1; done
kill -INT "$pid"
for _ in $(seq 100); do grep -q stopped "$work/err" && break; sleep 0.1; done
kill -0 "$pid" || fail "Ctrl-C ended the program"
exec 3>&-
wait "$pid" || fail "after Ctrl-C: exit status $?"
grep -qE 'stopped|context is full' "$work/err" || fail "the answer was not stopped"

model=${SMFT_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/smft/models}/SmolLM2-135M-Instruct.Q4_1.gguf
[ -f "$model" ] || { echo "SKIPPED the part on SmolLM2, which examples/models/get.sh installs: the rest passed"; exit 77; }
printf 'What is the capital of France?\nAnd of Italy?\n' | run --max-tokens 40 "$model"
grep -q Paris "$work/out" && grep -q Rome "$work/out" || fail "SmolLM2 does not know Paris and Rome"
