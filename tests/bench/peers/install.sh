# install.sh: sourced by run.sh after tests/support/install.sh: gets the peers from packages, without changing what the system uses.
# Owns: peer_torch, peer_llama, peer_models.  What cannot be had is said and left out; nothing here ends the run.
# Sets: peer_python, peer_node, peer_node_modules (empty: not there).  Files go to $peers_folder.

torch_version=2.15.0 transformers_version=5.24.0 peft_version=0.21.2
llama_version=3.22.1 # of node-llama-cpp: peer_llama.mjs calls its binding
node_version=20      # the oldest that it runs on

without() { say "going on without $1"; }

has_torch() { # PYTHON: whether it has what the peers are written with
  "$1" -c 'import peft, torch, transformers' 2>/dev/null
}

# A virtual environment of the benchmark's own; SMFT_BENCH_PYTHON names another Python that has the packages.  pip takes the build for CPUs
# where its settings (PIP_INDEX_URL) name an index that has it; another works as well, and its parts for GPUs lie idle.
peer_torch() {
  local venv=$peers_folder/venv
  peer_python=${SMFT_BENCH_PYTHON:-$venv/bin/python}
  has_torch "$peer_python" && return 0
  peer_python=""
  [ -z "${SMFT_BENCH_PYTHON:-}" ] || { without "PyTorch: $SMFT_BENCH_PYTHON lacks torch, transformers or peft"; return 0; }
  (install_missing python3-venv g++) || { without PyTorch; return 0; } # torch.compile calls g++
  say "installing PyTorch $torch_version, transformers and PEFT in $venv: some minutes"
  if (python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "torch==$torch_version" \
      "transformers==$transformers_version" "peft==$peft_version") >>"$log" 2>&1 && has_torch "$venv/bin/python"; then
    peer_python=$venv/bin/python
  else
    without PyTorch
  fi
}

# SmolLM2 goes into the user's cache, once; without it the rows of real models are left out.
peer_models() {
  [ -n "${SMFT_BENCH_SMOLLM2:-}" ] || "$root/examples/models/get.sh" smollm2 >>"$log" 2>&1 || without "SmolLM2: examples/models/get.sh failed"
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
  if [ -n "${SMFT_BENCH_NODE_MODULES:-}" ]; then
    modules=$SMFT_BENCH_NODE_MODULES
    [ -d "$modules/node-llama-cpp" ] || { without "llama.cpp: it is not in $modules"; return 0; }
    peer_node=$(command -v node) peer_node_modules=$modules
    return 0
  fi
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
