#!/usr/bin/env bash
# Installs the peers from packages, builds the benchmarks, measures ours and theirs in turn in one run, and prints the table.
#   tests/bench/run.sh                       rows and curves, as many as 25 minutes allow (all: about 50)
#   tests/bench/run.sh --quick               less of everything; at most 3 minutes
#   tests/bench/run.sh --only prefill --only memory.d1024    these alone; --list says what there is
#   tests/bench/run.sh --wait 600            waits for a quiet machine, ten minutes in all at most
#   tests/bench/run.sh --help                all options (those of bench.py)
# Writes build/bench/results.csv (and details.csv, run.json).  SMFT_BUILD: another build folder.  SMFT_BENCH_PYTHON: a Python that has torch,
# transformers and peft; SMFT_BENCH_NODE_MODULES: a folder that holds node-llama-cpp; SMFT_BENCH_SMOLLM2, SMFT_BENCH_GEMMA: GGUF files.
# Fails (1) where a row passes its limit: then the limit is none.
set -euo pipefail
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=torch,llama previous=""
for argument in "$@"; do
  case "$argument" in
    -h|--help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exec python3 "$bench/bench.py" --help ;;
    --list) exec python3 "$bench/bench.py" "$@" ;;
    --peers=*) peers=${argument#*=} ;;
  esac
  [ "$previous" != --peers ] || peers=$argument
  previous=$argument
done
. "$bench/../support/install.sh"
build=${SMFT_BUILD:-$root/build}
peers_folder=$build/bench/peers
. "$bench/peers/install.sh"

install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev check python3 binutils
say "building the benchmarks in $build"
quietly cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DSMFT_BUILD_TESTS=ON
quietly cmake --build "$build" -j "$(nproc)" --target smft bench_make bench_model bench_learn bench_patch bench_memory bench_limits bench_products
mkdir -p "$peers_folder"
peer_python="" peer_node=node peer_node_modules=""
case ",$peers," in *,torch,*) peer_torch ;; esac
case ",$peers," in *,llama,*) peer_llama ;; esac
peer_models
python3 "$bench/bench.py" --build "$build" --python "${peer_python:-python3}" --node-modules "$peer_node_modules" --node "$peer_node" "$@"
