#!/usr/bin/env bash
# The main job on a fresh machine: installs what is missing, builds, and teaches the shipped model (examples/atlas/model) 20 real facts
# that it does not know.  Works from any directory.  Arguments go to the demo program; the most useful:
#   demo.sh --seed 7             other 20 of the 1,240 new facts
#   demo.sh --facts FILE         your own facts, one JSON object a line
#   demo.sh --program-help       all options of the program
set -euo pipefail
case "${1:-}" in
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
. "$(dirname "${BASH_SOURCE[0]}")/../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
build_target atlas-demo
[ "${1:-}" = --program-help ] && set -- --help
exec "$root/build/examples/atlas-demo" "$@"
