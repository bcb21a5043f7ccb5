#!/usr/bin/env bash
# Makes the atlas model from its data with this library alone: about 10 minutes on 2 idle cores.  Shows progress, and goes on from its last
# checkpoint when it was stopped.  Works from any directory.
#   build.sh [--dense | --variant NAME] [--threads N] [WORK_DIR]
# WORK_DIR (examples/atlas/work) holds the checkpoint and the finished model in WORK_DIR/model; to ship it:
# cp WORK_DIR/model/* examples/atlas/model/
#   --dense          the dense twin: the same data, steps, seed and batches, an FFN in every block in place of memory (work/dense)
#   --variant NAME   one thing about the memory changed (work/NAME):
#                      one-layer    memory in block 1 only; block 2 gets the FFN of the other blocks
#                      late         memory in blocks 2 and 3 rather than 1 and 2
#                      small-pool   16,384 slots rather than 65,536
#                      big-pool     262,144 slots
#   --threads N      threads of the training (0: as many as there are processors)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; }
wrong() { printf 'build.sh: %s\n' "$1" >&2; usage >&2; exit 2; }

kind=atlas threads=0 work=
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --dense) kind=dense ;;
    --variant|--threads) [ $# -gt 1 ] || wrong "$1 needs a value"
      if [ "$1" = --variant ]; then kind=$2; else threads=$2; fi
      shift ;;
    -*) wrong "unknown option $1" ;;
    *) [ -z "$work" ] || wrong "one WORK_DIR only"; work=$1 ;;
  esac
  shift
done

config=config.json change=
# The trunk learns the forms of the sentences in the first 700 steps; then its rate falls and the facts go into the memory.
rates=(--lr 2e-3,4e-5 --pool-lr 1.5e-2,3e-3 --trunk 0.15,400,700)
case $kind in
  atlas) ;;
  # The trunk is all there is, so it keeps its rate, and takes a higher one: known F1 .999, held-out text 4.94 nats a token.
  dense) config=config.dense.json; rates=(--lr 3e-3,4e-5 --trunk 1,0,1) ;;
  one-layer) change='s/"layers": \[1, 2\]/"layers": [1]/; s/"pools": \[0, 0\]/"pools": [0]/' ;;
  late) change='s/"layers": \[1, 2\]/"layers": [2, 3]/' ;;
  small-pool) change='s/"n_keys": 256/"n_keys": 128/' ;;
  big-pool) change='s/"n_keys": 256/"n_keys": 512/' ;;
  *) wrong "unknown variant $kind" ;;
esac

. "$here/../../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
build_target atlas-pretrain atlas-describe
if [ -z "$work" ]; then
  work=$here/work
  [ "$kind" = atlas ] || work=$work/$kind
fi
mkdir -p "$work"
cp "$here/data/tokenizer.json" "$work/"
sed "$change" "$here/$config" >"$work/config.json"
if [ -n "$change" ] && cmp -s "$here/$config" "$work/config.json"; then
  printf 'build.sh: %s changes nothing in %s\n' "$kind" "$config" >&2
  exit 1
fi

say "pretraining $kind (checkpoints in $work)"
"$root/build/examples/atlas-pretrain" --data "$here/data" --work "$work" --out "$work/model" \
  --steps 4000 --facts 56 --texts 8 "${rates[@]}" --background 60000 --threads "$threads"

say "measuring"
"$root/build/examples/atlas-describe" "$work/model" "$here/data" | tee "$work/measured.md"
if [ "$kind" = atlas ]; then # the card is about the shipped model
  awk -v table="$work/measured.md" '/^@MEASURED@$/ {while ((getline line < table) > 0) print line; next} {print}' "$here/card.md" \
    >"$work/model/README.md"
fi
say "the model is in $work/model"
