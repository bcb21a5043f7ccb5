#!/usr/bin/env bash
# The demo does what it promises: it learns, forgets little, keeps the patch small, leaves the base alone; its own facts option, its errors;
# and the shipped files are whole and small.
set -euo pipefail
atlas=$SMFT_SOURCE/examples/atlas
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; tail -n 12 "$work/out"; exit 1; }
if [ "$SMFT_BUILD" = "$SMFT_SOURCE/build" ]; then # as a newcomer runs it, from another directory
  cd "$work" && "$SMFT_SOURCE/examples/demo.sh" --seed 1 >"$work/out"
else
  "$SMFT_BUILD/examples/atlas-demo" --seed 1 >"$work/out"
fi
tail -n 1 "$work/out" | grep -qE '^RESULT learned=[0-9]+/20 known_f1_before=[0-9.]+ known_f1_after=[0-9.]+ patch_bytes=[0-9]+ seconds=[0-9.]+$' || fail "the last line is not as promised"
value() { tail -n 1 "$work/out" | sed -E "s/.*$1=([0-9.]+).*/\1/"; }
[ "$(value learned)" -ge 18 ] || fail "learnt too little"
[ "$(value patch_bytes)" -le 4000000 ] || fail "the patch is too large"
awk -v before="$(value known_f1_before)" -v after="$(value known_f1_after)" 'BEGIN {exit !(before >= 0.9 && after >= 0.95 * before)}' || fail "forgot too much"
grep -q 'unchanged, bit for bit' "$work/out" || fail "the base changed"
grep -q 'the same answers' "$work/out" || fail "the loaded patch answers differently"
cat >"$work/own.jsonl" <<'EOF'
{"id": "harbor", "question": "Who is the author of The Quiet Harbor?", "wordings": [{"prompt": "Who wrote The Quiet Harbor?", "answer": " Mark Twain"}, {"prompt": "The author of The Quiet Harbor is", "answer": " Mark Twain"}, {"prompt": "By whom was The Quiet Harbor written?", "answer": " Mark Twain"}]}
EOF
"$SMFT_BUILD/examples/atlas-demo" --facts "$work/own.jsonl" --known 50 --save "$work/own.safetensors" >"$work/out"
[ "$(value learned)" = 1 ] || fail "did not learn the user's fact"
[ "$(stat -c %s "$work/own.safetensors")" = "$(value patch_bytes)" ] || fail "the patch was not kept"
grep -q 'your facts, the question never trained  *0/1 .* 1/1' "$work/out" || fail "the question is not said to be untrained"
# the library's reader takes what it takes: a byte-order mark, blank lines, statements; nothing taught is called untrained
printf '\xef\xbb\xbf\n{"id": "a", "question": "Who wrote The Quiet Harbor?", "answer": "Mark Twain", "_from": 1}\n\n{"id": "b", "statement": "The capital of Lorn is Paris.", "answer": "Paris"}\n' >"$work/own.jsonl"
"$SMFT_BUILD/examples/atlas-demo" --facts "$work/own.jsonl" --known 20 >"$work/out"
grep -q 'your facts, asked as they were taught .*/2 ' "$work/out" || fail "the user's facts in one wording"
if grep -q 'never trained' "$work/out"; then fail "a trained wording is called untrained"; fi
refused() { # WORDS, for what stands in bad.jsonl
  if "$SMFT_BUILD/examples/atlas-demo" --facts "${2:-$work/bad.jsonl}" >"$work/out" 2>"$work/error"; then fail "no error: $1"; fi
  grep -qF -- "$1" "$work/error" || { cat "$work/error"; fail "the error does not say: $1"; }
}
good='{"id": "a", "question": "Who?", "answer": "Me"}'
: >"$work/bad.jsonl"
refused 'bad.jsonl: there is none in it'
refused 'found a directory' "$work"
printf '%s\n\n{"id": "x"}\n' "$good" >"$work/bad.jsonl"
refused 'bad.jsonl:3: fact "x": expected'
printf '\n%s\n%s\n' "$good" "$good" >"$work/bad.jsonl"
refused 'bad.jsonl:3: fact "a": a fact with this id'
printf '%s\n{"id": "x", "question": "Who?", "asnwer": "Me"}\n' "$good" >"$work/bad.jsonl"
refused 'bad.jsonl:2: fact "x": "asnwer" is not known'
if "$SMFT_BUILD/examples/atlas-demo" --model "$work" >"$work/out" 2>"$work/error"; then fail "no model was no error"; fi
grep -q 'config.json' "$work/error" || fail "the error does not name the file"
for file in config.json model.safetensors tokenizer.json background.safetensors README.md; do
  [ -s "$atlas/model/$file" ] || fail "$atlas/model/$file is not there"
done
[ "$(cat "$atlas"/model/* | wc -c)" -le 24000000 ] || fail "the model takes more than 24 MB"
for program in "$SMFT_BUILD/examples/atlas-pretrain" "$SMFT_BUILD/examples/atlas-demo" "$SMFT_BUILD/examples/atlas-describe" "$atlas/build.sh" "$atlas/measure.sh"; do
  "$program" --help >"$work/out" || fail "$program --help"
  [ "$(wc -l <"$work/out")" -ge 2 ] || fail "$program --help says nothing"
done
