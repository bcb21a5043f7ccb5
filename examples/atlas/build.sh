#!/usr/bin/env bash
# Makes the atlas model from its data with this library alone: about 10 minutes on 2 idle cores.  Shows progress, and goes on from its last
# checkpoint when it was stopped.  Works from any directory.
#   build.sh [WORK_DIR]      WORK_DIR (examples/atlas/work) holds the checkpoint and the finished model in WORK_DIR/model;
#                            to ship it: cp WORK_DIR/model/* examples/atlas/model/
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
build_target atlas-pretrain atlas-describe
work=${1:-$here/work}
mkdir -p "$work"
cp "$here/config.json" "$here/data/tokenizer.json" "$work/"

say "pretraining (checkpoints in $work)"
# The trunk learns the forms of the sentences in the first 700 steps; then its rate falls and the facts go into the memory.
"$root/build/examples/atlas-pretrain" --data "$here/data" --work "$work" --out "$work/model" \
  --steps 4000 --facts 56 --texts 8 --lr 2e-3,4e-5 --pool-lr 1.5e-2,3e-3 --trunk 0.15,400,700 --background 7000

say "measuring"
"$root/build/examples/atlas-describe" "$work/model" "$here/data" | tee "$work/measured.md"
awk -v table="$work/measured.md" '/^@MEASURED@$/ {while ((getline line < table) > 0) print line; next} {print}' "$here/card.md" >"$work/model/README.md"
say "the model is in $work/model"
