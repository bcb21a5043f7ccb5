#!/usr/bin/env bash
# The paper's claim, measured: what full finetuning and LoRA (both with and without replay of what is to be kept), the pool's values alone and sparse
# memory finetuning learn and forget, each at its best setting, on two tasks.
# Works from any directory; goes on where it was stopped; shows progress with the time left.
#   run.sh [OPTIONS]  the whole sweep: some 2 hours on 2 cores that do nothing else (reckoned), and 1 for the models that are not shipped; results in examples/forgetting/results;
#                     OPTIONS of sweep.py: --settings N, --seeds N, --parts sweep,final,others,documents,stream,ablations
#   run.sh --quick    one seed at the best settings, 40 facts and 8 documents, some 5 minutes; results in build/forgetting/quick
#   run.sh --smoke    a few facts, a minute: does everything work?  results in build/forgetting/smoke
#   run.sh --list     which runs the sweep is made of
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case "${1:-}" in
  -h|--help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
  --list) exec python3 "$here/sweep.py" --list ;;
  ""|--quick|--smoke|--settings|--seeds|--parts) ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
. "$here/../../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev python3 python3-matplotlib
build_target forgetting-run
work=$root/build/forgetting

if [ "${1:-}" != --quick ] && [ "${1:-}" != --smoke ]; then
  results=$here/results
  for model in one-layer small-pool big-pool late; do
    [ $# = 0 ] || break # with options what needs them is left out where they are not there
    [ -f "$work/models/$model/model/model.safetensors" ] && continue
    say "making the model \"$model\" from atlas' recipe (some 10 minutes)"
    "$here/../atlas/build.sh" --variant "$model" "$work/models/$model"
  done
  python3 "$here/sweep.py" --work "$work" --results "$results" "$@"
else
  results=$work/${1#--}
  rm -rf "$work/now" # a short run starts afresh: what it takes is a part of what it shows
  python3 "$here/sweep.py" "$1" --work "$work/now" --results "$results"
fi
/usr/bin/python3 "$here/report.py" --results "$results"
say "the report: $results/report.html"
