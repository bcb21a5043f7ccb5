#!/usr/bin/env bash
# Pretraining stopped and gone on with gives the same model, bit for bit, as pretraining in one go; so does another number of threads.
# The dense twin, which has no memory, pretrains by the same program, and counts no background.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
atlas=$SMFT_SOURCE/examples/atlas
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
train() { # NAME THREADS [options]
  local name=$1 threads=$2
  shift 2
  mkdir -p "$work/$name"
  cp "$atlas/data/tokenizer.json" "$work/$name/"
  cp "$atlas/${config:-config.json}" "$work/$name/config.json"
  "$SMFT_BUILD/examples/atlas-pretrain" --data "$atlas/data" --work "$work/$name" --out "$work/$name/model" --steps 4 --facts 6 --texts 1 \
    --background 5 --report-every 1 --threads "$threads" "$@" >>"$work/log" || { tail "$work/log"; exit 1; }
}
train whole 1
train parted 2 --stop-after 2
[ ! -e "$work/parted/model" ] || { echo "--stop-after did not stop"; exit 1; }
train parted 3
grep -q 'resuming at step 2' "$work/log" || { echo "did not resume"; exit 1; }
for file in model.safetensors background.safetensors; do
  cmp "$work/whole/model/$file" "$work/parted/model/$file"
done

config=config.dense.json train dense 2
[ -e "$work/dense/model/model.safetensors" ] || { echo "the dense twin was not exported"; exit 1; }
[ ! -e "$work/dense/model/background.safetensors" ] || { echo "background counts of a model without memory"; exit 1; }
