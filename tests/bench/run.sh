#!/usr/bin/env bash
# Builds the benchmarks and asks bench_model (ours) and peer_model.py (PyTorch) for one timing after the other, in turn; prints medians,
# ratios and targets.  Works from any directory.
#   tests/bench/run.sh [options] [A|B|M]...      models; default: all three
#   --threads "1 2"   how many threads        --turns 5      timings of each side
#   --wait SECONDS    in all, for a quiet machine: a timing in which others had more than 0.15 cores is taken again (default 0: never)
#   --all             bench_gemm and bench_memory afterwards
#   --from FILE       no measurement: the table of lines kept before
# SMFT_BUILD: build folder (default build/).  SMFT_BENCH_KEEP: file that gets the single lines.  SMFT_PEER_BLAS: folder of another
# libblas.so.3 for PyTorch: OpenBLAS's OpenMP build, say, since its pthread build and PyTorch's OpenMP threads hinder each other.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${SMFT_BUILD:-$root/build}
threads="1 2" turns=5 patience=0 all=0 from="" models=()
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --threads) threads=$2; shift ;;
    --turns) turns=$2; shift ;;
    --wait) patience=$2; shift ;;
    --all) all=1 ;;
    --from) from=$2; shift ;;
    A|B|M) models+=("$1") ;;
    *) printf 'unknown argument: %s (see --help)\n' "$1" >&2; exit 2 ;;
  esac
  shift
done
[ ${#models[@]} -gt 0 ] || models=(A B M)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/bench-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
lines=${SMFT_BENCH_KEEP:-$scratch/lines}

# ---- build ----
build_target() {
  cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release >"$scratch/log" 2>&1 &&
    cmake --build "$build" -j "$(nproc)" --target "$@" >>"$scratch/log" 2>&1 || { tail -n 40 "$scratch/log" >&2; exit 1; }
}

# ---- a quiet machine ----
busy() { # hundredths of a second that all processors have worked for anybody
  local name user nice system idle wait irq soft rest
  read -r name user nice system idle wait irq soft rest </proc/stat
  echo $((user + nice + system + irq + soft))
}
hundredths() { local number=$1; echo $((10#${number%.*} * 100 + 10#${number#*.})); }
wait_until_quiet() { # less than 12% of one core in one second
  local before
  while [ $SECONDS -lt "$patience" ]; do
    before=$(busy)
    sleep 1
    [ $(($(busy) - before)) -ge 12 ] || return 0
  done
}

# ---- one program that answers, over two pipes ----
start() { # SIDE command...: file descriptors in ask_SIDE and hear_SIDE
  local side=$1 to from
  shift
  mkfifo "$scratch/$side.to" "$scratch/$side.from"
  "$@" <"$scratch/$side.to" >"$scratch/$side.from" &
  exec {to}>"$scratch/$side.to" {from}<"$scratch/$side.from"
  eval "ask_$side=$to hear_$side=$from pid_$side=$!"
  rm "$scratch/$side.to" "$scratch/$side.from"
}
stop() { # SIDE.  The peer first: it was started later and holds copies of our pipes
  local to=ask_$1 from=hear_$1 pid=pid_$1
  eval "exec ${!to}>&- ${!from}<&-"
  wait "${!pid}"
}
ask() { # SIDE TASK: one line into $lines
  local to=ask_$1 from=hear_$1 line
  while :; do
    wait_until_quiet
    printf '%s\n' "$2" >&"${!to}"
    read -r line <&"${!from}" || { printf 'FAILED: %s, task %s\n' "$1" "$2" >&2; exit 1; }
    [ $SECONDS -lt "$patience" ] && [ "$(hundredths "${line##* }")" -gt 15 ] || break
  done
  printf '%s\n' "$line" >>"$lines"
  sleep 0.1 # OpenMP's and OpenBLAS's threads look for work for a while after a call
}

# ---- what is asked ----
start_peer() { # MODEL THREADS
  start peer env LD_LIBRARY_PATH="${SMFT_PEER_BLAS:-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" OMP_NUM_THREADS="$2" OPENBLAS_NUM_THREADS="$2" \
    /usr/bin/python3 "$root/tests/bench/peer_model.py" "$1" "$2" -
}
measure() { # MODEL THREADS
  local task turn both="forward train decode decode_bf16" own="limit_decode" theirs="limit_forward"
  [ "$1" = M ] && both="" own="train train_lazy step step_answer step_again again_answer" theirs=""
  start ours "$build/tests/bench/bench_model" "$1" "$2" -
  [ -z "$both" ] || start_peer "$1" "$2"
  for task in $both $own $theirs; do
    printf '\r%-60s' "model $1, $2 threads: $task" >&2
    for ((turn = 0; turn < turns; turn++)); do
      case " $theirs " in *" $task "*) ;; *) ask ours "$task" ;; esac
      case " $own " in *" $task "*) ;; *) ask peer "$task" ;; esac
    done
  done
  [ -z "$both" ] || stop peer
  stop ours
  printf '\r%-60s\r' "" >&2
}

# ---- the table ----
table() { # lines sorted by rate within side, model, threads and task
  sort -k1,4 -k5,5g "$1" | awk '
    { key = $1 " " $2 " " $3 " " $4; value[key, ++n[key]] = $5; if ($6 > worst[key]) worst[key] = $6 }
    function median(key) { return (value[key, int((n[key] + 1) / 2)] + value[key, int(n[key] / 2) + 1]) / 2 }
    # a and b: keys of medians; times: a factor of b; inverse: the ratio is of times, not of speeds
    function row(what, a, b, times, inverse, target,   x, y) {
      if (!n[a] || !n[b]) return
      x = median(a); y = times * median(b)
      printf("| %s | %.0f | %.0f | %.2f | %s | %.2f |\n", what, x, y, inverse ? y / x : x / y, target,
        worst[a] > worst[b] ? worst[a] : worst[b])
    }
    function inference_and_training(m, t,   us, them, at) {
      us = "ours " m " " t " "; them = "peer " m " " t " "; at = m ", " t " thr, "
      row(at "forward / PyTorch", us "forward", them "forward", 1, 0, ">= 1.15")
      row(at "forward / sgemm limit", us "forward", them "limit_forward", 1, 0, m == "B" ? ">= 0.80" : "-")
      row(at "AdamW step / PyTorch", us "train", them "train", 1, 0, ">= 1.4")
      row(at "decode f32 / PyTorch", us "decode", them "decode", 1, 0, "-")
      row(at "decode f32 / bandwidth limit", us "decode", us "limit_decode", 1, 0, ">= 0.85")
      row(at "decode bf16 / PyTorch", us "decode_bf16", them "decode_bf16", 1, 0, "-")
      row(at "decode bf16 / bandwidth limit", us "decode_bf16", us "limit_decode", 2, 0, ">= 0.85")
    }
    function steps(t, base, name,   us, at) {
      us = "ours M " t " "; at = "M, " t " thr, time of "
      row(at "smft_step / " name, us "step", base, 1, 1, "<= 0.55")
      row(at "smft_step, loss on 16 tokens / " name, us "step_answer", base, 1, 1, "<= 0.55")
      row(at "further smft_step / " name, us "step_again", base, 1, 1, "<= 0.40")
      row(at "further smft_step, loss on 16 tokens / " name, us "again_answer", base, 1, 1, "<= 0.40")
    }
    function scaling(m, task) { row(m ", " task ", 2 thr / 1 thr", "ours " m " 2 " task, "ours " m " 1 " task, 1, 0, ">= 1.8") }
    END {
      print "| what | ours, tokens/s | the other, tokens/s | ratio | target (2 thr) | others, cores |\n|---|---|---|---|---|---|"
      for (t = 1; t <= 2; t++) inference_and_training("A", t)
      for (t = 1; t <= 2; t++) inference_and_training("B", t)
      for (t = 1; t <= 2; t++) steps(t, "ours B " t " train", "AdamW step of B")
      for (t = 1; t <= 2; t++) steps(t, "ours M " t " train", "AdamW step of M")
      for (t = 1; t <= 2; t++)
        row("M, " t " thr, time of AdamW step, lazy pools / all pool rows", "ours M " t " train_lazy", "ours M " t " train", 1, 1, "-")
      scaling("A", "forward"); scaling("A", "train"); scaling("B", "forward"); scaling("B", "train"); scaling("M", "step")
    }'
}

if [ -n "$from" ]; then
  table "$from"
  exit 0
fi
build_target bench_model
: >"$lines"
for model in "${models[@]}"; do
  for t in $threads; do
    measure "$model" "$t"
  done
done
printf '%s, %s processors, %s; load averages at the end: %s; medians of %s timings\n\n' "$(date -u '+%Y-%m-%d %H:%M UTC')" "$(nproc)" \
  "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(cut -d' ' -f1-3 /proc/loadavg)" "$turns"
table "$lines"
if [ "$all" = 1 ]; then
  build_target bench_gemm bench_memory
  "$build/tests/bench/bench_gemm"
  "$build/tests/bench/bench_memory"
fi
