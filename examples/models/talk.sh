#!/usr/bin/env bash
# Chats in the terminal with the model that get.sh installs: installs what is missing, gets the model, builds, talks.
# Arguments go to the program:
#   talk.sh --system "You speak like a pirate."     talk.sh --temperature 0     talk.sh --help
#   MODEL=path talk.sh                              another model: a Hugging Face directory or a GGUF file
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../tests/support/install.sh"
install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev
build_target talk
case " $* " in *" --help "*|*" -h "*) exec "$root/build/examples/talk" --help ;; esac
if [ -z "${MODEL:-}" ]; then
  python3 -m pip --version >/dev/null 2>&1 || install_missing python3 python3-pip
  MODEL=$("$here/get.sh")
fi
exec "$root/build/examples/talk" "$@" "$MODEL"
