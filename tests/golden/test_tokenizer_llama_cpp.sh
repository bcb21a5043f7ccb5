#!/usr/bin/env bash
# Tokenizers from GGUF files give llama.cpp's ids on 1,000 texts: real vocabularies turned into GGUF (Llama 3, Qwen 3, GPT-2 with
# every way of cutting words), and the real files of SMFT_MODELS (or where examples/models/get.sh puts them), where they are.
set -euo pipefail
skip() { echo "SKIPPED: $*"; exit 77; }
[ -z "${SMFT_SANITIZE:-}" ] || skip "a sanitized library cannot be loaded into a plain python3"
command -v python3 >/dev/null || skip "no python3"
shared=${SMFT_SHARED:-$SMFT_SOURCE/../shared/data}
[ -e "$shared/tok/vectors/hf_llama3.json" ] || skip "tok/vectors is not there (real data is not in a clone)"
models=${SMFT_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/smft/models}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$SMFT_SOURCE/bindings/python" PYTHONDONTWRITEBYTECODE=1 SMFT_LIBRARY="$SMFT_BUILD/libsmft.so"
cd "$SMFT_SOURCE/tests/golden"
python3 make_tokenizer_texts.py "$shared" >"$work/texts.json"
python3 make_vocab_gguf.py shared "$shared" "$work"
for name in SmolLM2-135M-Instruct.Q4_1.gguf gemma-3-270m-q4_k_m.gguf; do
  found=$(find "$models" -name "$name" 2>/dev/null | head -1 || true)
  if [ -n "$found" ]; then ln -s "$found" "$work/$name"; else echo "SKIPPED IN PART: $name is not in $models"; fi
done
python3 tokenizer_llama_cpp.py check "$work/texts.json" "$work"/*.gguf
