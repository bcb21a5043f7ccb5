#!/usr/bin/env bash
# The methods of the field on a real model, as far as they go without that model: see test_peers.py.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: a sanitized library cannot be loaded into a plain python3"; exit 77; }
# SMFT_TORCH_PYTHON: one that has PyTorch and transformers, without which half of the tests are skipped
for python in "${SMFT_TORCH_PYTHON:-/usr/bin/python3}" python3; do
  command -v "$python" >/dev/null && "$python" -c 'import numpy' 2>/dev/null && break
done
command -v "$python" >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
exec "$python" "$SMFT_SOURCE/tests/examples/test_peers.py"
