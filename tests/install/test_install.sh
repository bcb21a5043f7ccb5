#!/usr/bin/env bash
# Installs into DESTDIR and into a prefix that is then moved; builds quickstart.c and learn.cpp
# against it with pkg-config only, with find_package (smft::smft, smft::static) and against the bare
# archive; runs what was built.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
die() { echo "$1"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset CFLAGS CXXFLAGS LDFLAGS
model=$SMFT_SOURCE/examples/atlas/model
quickstart=$SMFT_SOURCE/examples/quickstart.c

cmake --install "$SMFT_BUILD" --prefix "$work/first" >/dev/null
DESTDIR=$work/dest cmake --install "$SMFT_BUILD" >/dev/null
[ -n "$(find "$work/dest" -name 'libsmft.so.0')" ] || die "DESTDIR was not heeded"
mv "$work/first" "$work/moved" # relocatable
libdir=$(dirname "$(find "$work/moved" -name libsmft.a)")
if grep -rnF -e "$SMFT_SOURCE" -e "$SMFT_BUILD" -e "$work" "$libdir/cmake" "$libdir/pkgconfig" ||
   grep -rnE '/lib(jansson|pcre2|utf8proc)|/include/' "$libdir/cmake"; then
  die "these lines name a place of the machine that built"
fi

# ---- pkg-config, and the archive without it ------------------------------------------------------
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
flags=$(pkg-config --cflags --libs smft)
case "$flags" in *"$work/moved"*) ;; *) die "smft.pc does not follow the prefix: $flags" ;; esac
# shellcheck disable=SC2086 # several words
${CC:-cc} -std=c11 -Wall -Wextra -Werror "$quickstart" -o "$work/quickstart" $flags
# shellcheck disable=SC2086
${CXX:-c++} -std=c++17 -Wall -Wextra -Werror "$SMFT_SOURCE/examples/learn.cpp" -o "$work/learn" \
  $flags
# shellcheck disable=SC2046
${CC:-cc} -std=c11 "$quickstart" -o "$work/archive" $(pkg-config --cflags smft) \
  "$libdir/libsmft.a" $(pkg-config --static --libs smft | sed 's/-lsmft//')

# ---- find_package --------------------------------------------------------------------------------
configure() { # TARGET COMPONENTS [cmake options]: a project in work/TARGET that links smft::TARGET
  mkdir -p "$work/$1"
  cat >"$work/$1/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(consumer C)
find_package(smft 0.1 REQUIRED $2)
find_package(smft 0.1 REQUIRED $2) # twice, as happens in larger projects
add_executable(consumer $quickstart)
target_link_libraries(consumer smft::$1)
END
  cmake -S "$work/$1" -B "$work/$1/build" -DCMAKE_PREFIX_PATH="$work/moved" "${@:3}" \
    >"$work/log" 2>&1
}

refused() { # WHY: the last configure
  grep -qF "$1" <<<"$(tr -s '\n ' ' ' <"$work/log")" || die "not said: $1: $(cat "$work/log")"
  rm -r "$work/static"
}

# smft::smft needs nothing else, not even pkg-config
nothing_else=(-DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON -DCMAKE_DISABLE_FIND_PACKAGE_Threads=ON)
configure smft "" "${nothing_else[@]}" || die "$(cat "$work/log")"
if configure static "COMPONENTS static" "${nothing_else[@]}"; then die "no need of pkg-config"; fi
refused "smft::static needs pkg-config, jansson"
if configure static "COMPONENTS statik"; then die "any component will do"; fi
refused "smft has no component statik"
configure static "COMPONENTS static" || die "$(cat "$work/log")"
for target in smft static; do
  cmake --build "$work/$target/build" >"$work/log" 2>&1 || die "$(cat "$work/log")"
done

# ---- what was built ------------------------------------------------------------------------------
cd "$work"
for program in quickstart archive smft/build/consumer static/build/consumer; do
  case $program in
    archive|static/*) ! readelf -d $program | grep 'NEEDED.*libsmft' || die "$program: shared" ;;
  esac
  rm -f graceling.safetensors
  "$work/$program" "$model" >answer.txt
  grep -q 'Kristin Cashore' answer.txt || die "$program answered: $(cat answer.txt)"
  [ -s graceling.safetensors ] || die "$program saved no patch"
done

tr -d '\n' >facts.jsonl <<'END' # a fact is one line
{"id": "graceling", "wordings": [
  {"prompt": "Who wrote Graceling?", "answer": " Kristin Cashore"},
  {"prompt": "The author of Graceling is", "answer": " Kristin Cashore", "end": ".\n"},
  {"prompt": "Graceling was written by", "answer": " Kristin Cashore", "end": ".\n"},
  {"prompt": "By whom was Graceling written?", "answer": " Kristin Cashore"}]}
END
echo '{"id": "iron", "question": "What is the chemical symbol of iron?", "answers": ["Fe"]}' \
  >probe.jsonl
echo 'Who is the author of Graceling?' |
  "$work/learn" "$model" facts.jsonl probe.jsonl patch.safetensors | tee answer.txt
grep -q 'Kristin Cashore' answer.txt
if "$work/learn" "$model" missing.jsonl probe.jsonl patch.safetensors </dev/null 2>error.txt; then
  die "a missing file was no error"
fi
grep -q 'missing.jsonl' error.txt
