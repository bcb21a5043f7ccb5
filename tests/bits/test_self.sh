#!/usr/bin/env bash
# bits.sh finds a build equal to itself, and does not find equal what differs.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
bits=$SMFT_SOURCE/tests/bits.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$*"; exit 1; }
status_of() { # COMMAND...: its exit status, its output in the log
  local status=0
  "$@" >"$work/log" 2>&1 || status=$?
  echo "$status"
}

# ---- a build against itself ----
[ "$(status_of "$bits" --short --keep "$work/kept" "$SMFT_BUILD" "$SMFT_BUILD")" = 0 ] ||
  { cat "$work/log"; fail "the build differs from itself"; }
grep -q '^bits: [0-9]* results at 1 level, 1 and 2 threads: all equal$' "$work/log" ||
  fail "no closing line"
results=$work/kept/new.portable.2
for name in model.listing base.nll sgd.reports adamw.optimizer full.patch background.counts \
  lora.patch/adapter_model.safetensors base.export/config.json; do
  grep -q "^network_beside/$name " "$results" || fail "no result $name"
done

# ---- what differs shows: a changed hash, a result too many, one too few, none at all ----
sed '7s/ ...../ 00000/' "$results" >"$work/changed"
[ "$(status_of "$bits" --compare "$results" "$results")" = 0 ] || fail "a list differs from itself"
[ "$(status_of "$bits" --compare "$results" "$work/changed")" = 1 ] || fail "a hash may change"
grep -q "^bits: $(sed -n '7s/ .*//p' "$results") differs$" "$work/log" || fail "it is not named"
sed 7d "$results" >"$work/less"
[ "$(status_of "$bits" --compare "$results" "$work/less")" = 1 ] || fail "a result may be missing"
[ "$(status_of "$bits" --compare "$work/less" "$results")" = 1 ] || fail "a result may be new"
: >"$work/none"
[ "$(status_of "$bits" --compare "$work/none" "$work/none")" = 1 ] || fail "nothing equals nothing"

# ---- the command line ----
"$bits" --help | grep -q -- 'OLD_BUILD NEW_BUILD' || fail "--help does not name the builds"
[ "$(status_of "$bits" "$SMFT_BUILD")" = 2 ] || fail "one build is enough"
[ "$(status_of "$bits" "$SMFT_BUILD" "$work")" = 2 ] || fail "a build without a library will do"
[ "$(status_of "$bits" --compare "$results" "$work/nowhere")" = 2 ] || fail "no list will do"
