#!/usr/bin/env bash
# The main job on a fresh machine: installs what is missing, builds, and teaches the shipped model (examples/atlas/model) 20 real facts
# that it does not know.  Works from any directory.  Arguments go to the demo program: --help lists them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
build_release -DSMFT_BUILD_TESTS=OFF
exec "$root/build/examples/atlas-demo" "$@"
