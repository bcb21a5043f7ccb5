# install.sh: sourced by run.sh after tests/support/install.sh: gets the peers from packages, without changing what the system uses.
# Owns: peer_torch, peer_blas, peer_llama.  What cannot be had is said and left out; nothing here ends the run.
# Sets: peer_blas_folder, peer_node, peer_node_modules (empty: not there).  Files go to $peers_folder.

llama_version=3.22.1 # of node-llama-cpp: peer_llama.mjs calls its binding
node_version=20      # the oldest that it runs on

without() { say "going on without $1"; }

peer_torch() { # Debian's PyTorch belongs to /usr/bin/python3
  /usr/bin/python3 -c 'import torch' 2>/dev/null || (install_missing python3-torch) || without PyTorch
}

# OpenBLAS's OpenMP build.  Unpacked, not installed: the alternatives for libblas.so.3 stay as they are, and PyTorch finds it through
# LD_LIBRARY_PATH.  The pthread build would get in the way of PyTorch's OpenMP threads.
peer_blas() {
  local installed
  peer_blas_folder=${SMFT_PEER_BLAS:-}
  [ -z "$peer_blas_folder" ] || return 0
  for installed in "$peers_folder/openblas"/usr/lib/*/openblas-openmp /usr/lib/*/openblas-openmp; do
    [ -e "$installed/libblas.so.3" ] && [ -e "$installed/libopenblas.so.0" ] && { peer_blas_folder=$installed; return 0; }
  done
  say "unpacking libopenblas0-openmp in $peers_folder"
  mkdir -p "$peers_folder/openblas"
  if (cd "$peers_folder" && rm -f libopenblas0-openmp_*.deb &&
      { apt-get download -q libopenblas0-openmp || { as_root apt-get update -q && apt-get download -q libopenblas0-openmp; }; } &&
      dpkg-deb -x libopenblas0-openmp_*.deb openblas) >>"$log" 2>&1; then
    peer_blas_folder=$(echo "$peers_folder/openblas"/usr/lib/*/openblas-openmp)
  else
    without "OpenBLAS, and so without PyTorch and the sgemm limit"
  fi
}

new_enough() { # NODE
  "$1" -e "process.exit(Number(process.versions.node.split('.')[0]) >= $node_version ? 0 : 1)" 2>/dev/null
}

# node-llama-cpp with the binaries for this processor alone (its other optional packages are hundreds of megabytes for GPUs), and a newer
# Node.js from the same registry where the system's is too old.
peer_llama() {
  local machine modules=$peers_folder/node/node_modules
  case "$(uname -m)" in
    x86_64) machine=linux-x64 ;;
    aarch64) machine=linux-arm64 ;;
    *) without "llama.cpp: no binaries for $(uname -m)"; return 0 ;;
  esac
  command -v npm >/dev/null || (install_missing nodejs npm) || { without llama.cpp; return 0; }
  if [ "$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$modules/node-llama-cpp/package.json" 2>/dev/null)" != "$llama_version" ]; then
    say "installing node-llama-cpp $llama_version in $peers_folder/node"
    mkdir -p "$peers_folder/node"
    (quietly npm install --prefix "$peers_folder/node" --omit=optional --ignore-scripts --no-audit --no-fund \
      "node-llama-cpp@$llama_version" "@node-llama-cpp/$machine@$llama_version") || { without llama.cpp; return 0; }
  fi
  peer_node=$(command -v node)
  if ! new_enough "$peer_node"; then
    peer_node=$modules/node-$machine/bin/node
    new_enough "$peer_node" || (quietly npm install --prefix "$peers_folder/node" --omit=optional --ignore-scripts --no-audit --no-fund \
      "node-$machine@$node_version") || { without "llama.cpp: Node.js is too old"; return 0; }
  fi
  peer_node_modules=$modules
}
