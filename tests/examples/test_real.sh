#!/usr/bin/env bash
# The comparison on a real model, as far as it goes without that model: see test_real.py.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: a sanitized library cannot be loaded into a plain python3"; exit 77; }
for python in /usr/bin/python3 python3; do # the first on PATH may be one without numpy
  command -v "$python" >/dev/null && "$python" -c 'import numpy' 2>/dev/null && break
done
command -v "$python" >/dev/null || { echo "SKIPPED: no python3"; exit 77; }
exec "$python" -W error "$SMFT_SOURCE/tests/examples/test_real.py"
