#!/usr/bin/env bash
# Installs into DESTDIR and into a prefix that is then moved; builds quickstart.c and learn.cpp against it with pkg-config only, with
# find_package, and against the static archive; runs what was built.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$SMFT_BUILD" --prefix "$work/first" >/dev/null
DESTDIR=$work/dest cmake --install "$SMFT_BUILD" >/dev/null
[ -n "$(find "$work/dest" -name 'libsmft.so.0')" ] || { echo "DESTDIR was not heeded"; exit 1; }
mv "$work/first" "$work/moved" # relocatable
libdir=$(dirname "$(find "$work/moved" -name libsmft.a)")
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
flags=$(pkg-config --cflags --libs smft)
case "$flags" in *"$work/moved"*) ;; *) echo "smft.pc does not follow the prefix: $flags"; exit 1 ;; esac
${CC:-cc} -std=c11 -Wall -Wextra -Werror "$SMFT_SOURCE/examples/quickstart.c" -o "$work/quickstart" $flags
${CXX:-c++} -std=c++17 -Wall -Wextra -Werror "$SMFT_SOURCE/examples/learn.cpp" -o "$work/learn" $flags
${CC:-cc} -std=c11 "$SMFT_SOURCE/examples/quickstart.c" -o "$work/static" $(pkg-config --cflags smft) "$libdir/libsmft.a" \
  $(pkg-config --static --libs smft | sed 's/-lsmft//')
mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.22)
project(consumer C)
find_package(smft 0.1 REQUIRED)
add_executable(consumer main.c)
target_link_libraries(consumer smft::smft)
EOF
cp "$SMFT_SOURCE/examples/quickstart.c" "$work/project/main.c"
cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$work/moved" >/dev/null
cmake --build "$work/project/build" >/dev/null
cd "$work"
model=$SMFT_SOURCE/examples/atlas/model
for program in quickstart static project/build/consumer; do
  rm -f graceling.safetensors
  "$work/$program" "$model" >answer.txt
  grep -q 'Kristin Cashore' answer.txt || { echo "$program answered: $(cat answer.txt)"; exit 1; }
  [ -s graceling.safetensors ] || { echo "$program saved no patch"; exit 1; }
done
cat >facts.jsonl <<'EOF'
{"id": "graceling", "wordings": [{"prompt": "Who wrote Graceling?", "answer": " Kristin Cashore"}, {"prompt": "The author of Graceling is", "answer": " Kristin Cashore", "end": ".\n"}, {"prompt": "Graceling was written by", "answer": " Kristin Cashore", "end": ".\n"}, {"prompt": "By whom was Graceling written?", "answer": " Kristin Cashore"}]}
EOF
echo '{"id": "iron", "question": "What is the chemical symbol of iron?", "answers": ["Fe"]}' >probe.jsonl
echo 'Who is the author of Graceling?' | "$work/learn" "$model" facts.jsonl probe.jsonl patch.safetensors | tee answer.txt
grep -q 'Kristin Cashore' answer.txt
if "$work/learn" "$model" missing.jsonl probe.jsonl patch.safetensors </dev/null 2>error.txt; then echo "a missing file was no error"; exit 1; fi
grep -q 'missing.jsonl' error.txt
