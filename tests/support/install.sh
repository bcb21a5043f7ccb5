# install.sh: sourced by tests/run.sh, tests/sanitized.sh and examples/demo.sh: installs what is missing (apt), configures and builds build/.
# Says what it does; does nothing where all is there; prints the log's tail on failure.
# Owns: install_missing PACKAGE..., install_for_tests, build_release [cmake options], build_target TARGET...

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
log=$(mktemp "${TMPDIR:-/tmp}/smft-XXXXXX.log")
trap 'rm -f "$log"' EXIT

say() { printf '%s\n' "-- $*"; }

quietly() { # runs a command with its output in the log; on failure shows the log's tail
  if ! "$@" >>"$log" 2>&1; then
    printf 'FAILED: %s\n' "$*" >&2
    tail -n 60 "$log" >&2
    exit 1
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n true 2>/dev/null || say "sudo asks for your password to install packages"; sudo "$@"; fi
}

install_missing() { # a package list that is old or empty is renewed once
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  if ! command -v apt-get >/dev/null; then
    printf 'FAILED: missing packages and no apt-get to install them: %s\n' "${missing[*]}" >&2
    exit 1
  fi
  say "installing with apt: ${missing[*]}"
  quietly as_root apt-get update -q
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

install_for_tests() {
  install_missing build-essential cmake pkg-config libjansson-dev libpcre2-dev libutf8proc-dev check python3 python3-numpy python3-matplotlib binutils locales
}

build_release() { # everything that the cmake options ask for
  say "configuring and building in $root/build"
  quietly cmake -S "$root" -B "$root/build" -DCMAKE_BUILD_TYPE=Release "$@"
  quietly cmake --build "$root/build" -j "$(nproc)"
}

build_target() { # TARGET...: these programs only; a build/ that is there keeps its options
  say "building $* in $root/build"
  if [ ! -f "$root/build/CMakeCache.txt" ]; then
    quietly cmake -S "$root" -B "$root/build" -DCMAKE_BUILD_TYPE=Release -DSMFT_BUILD_TESTS=OFF
  fi
  quietly cmake --build "$root/build" -j "$(nproc)" --target "$@"
}
