#!/usr/bin/env bash
# The source tree as a part of another CMake project, in C alone and without a build type: both
# libraries answer, and the parent gets nothing else from it: no variable, test, program, installed
# file, language or flag.
# The same targets cannot be there twice, so there are two parents, both built and run:
# FetchContent as it comes, and add_subdirectory with -O0, which compiles in half the time and shows
# that a level of optimisation which the parent asks for holds.
set -euo pipefail
[ -z "${SMFT_SANITIZE:-}" ] || { echo "SKIPPED: sanitizer build"; exit 77; }
die() { echo "$1"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset CFLAGS LDFLAGS CMAKE_BUILD_TYPE CMAKE_GENERATOR DESTDIR
model=$SMFT_SOURCE/examples/atlas/model

quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log"; die "failed: $*"; }; }

configure() { # NAME HOW [cmake options]: a parent in work/NAME that gets libsmft by the lines HOW
  mkdir "$work/$1"
  cat >"$work/$1/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(parent C)
enable_testing()
function(variables out) # project() and find_package write the others themselves
  get_cmake_property(names VARIABLES)
  set(all "")
  foreach(name IN LISTS names)
    if(name MATCHES "^(CMAKE|BUILD|CTEST)_" AND NOT name MATCHES "^CMAKE_(HAVE|PROJECT)_")
      string(APPEND all "\${name}=\${\${name}}\n")
    endif()
  endforeach()
  set(\${out} "\${all}" PARENT_SCOPE)
endfunction()
variables(before)
$2
variables(after)
file(WRITE "\${CMAKE_BINARY_DIR}/before" "\${before}")
file(WRITE "\${CMAKE_BINARY_DIR}/after" "\${after}")
add_executable(shared "$SMFT_SOURCE/examples/quickstart.c")
target_link_libraries(shared smft::smft)
add_executable(static "$SMFT_SOURCE/examples/quickstart.c")
target_link_libraries(static smft::static)
install(TARGETS static)
END
  quietly cmake -S "$work/$1" -B "$work/$1/build" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "${@:3}"
}

flags() { # NAME SOURCE: the commands that compile it
  grep "\"command\".*$2" "$work/$1/build/compile_commands.json"
}

check() { # NAME: nothing but two libraries came in
  local build=$work/$1/build ours parents
  diff "$build/before" "$build/after" || die "$1: variables of the parent changed"
  grep -q '^CMAKE_BUILD_TYPE:[A-Z]*=$' "$build/CMakeCache.txt" || die "$1: a build type was set"
  if grep '^CMAKE_CXX_COMPILER' "$build/CMakeCache.txt"; then die "$1: asks for C++"; fi
  (cd "$build" && ctest -N) >"$work/log" 2>&1
  grep -q '^Total Tests: 0$' "$work/log" || die "$1: has tests of ours"
  cmake --build "$build" --target help >"$work/log"
  if grep -v '\.[cios]$' "$work/log" | grep -E 'quickstart|learn|atlas|forgetting|bench|unit_'; then
    die "$1: has programs of ours"
  fi
  if grep -- -Werror "$build/compile_commands.json"; then die "$1: -Werror"; fi
  ours=$(flags "$1" lib/base/version.c) parents=$(flags "$1" quickstart.c)
  case "$ours" in *-ffp-contract=off*-std=c11*) ;; *) die "$1: compiles with $ours" ;; esac
  case "$parents" in
    *-ffp*|*-std=*|*-O2*|*-Wall*|*-D*) die "$1: makes the parent compile with $parents" ;;
  esac
}

build() { # NAME: builds, runs, installs
  local program
  quietly cmake --build "$work/$1/build" -j "$(nproc)"
  cd "$work/$1/build"
  for program in shared static; do
    ./$program "$model" >"$work/answer"
    grep -q 'Kristin Cashore' "$work/answer" || die "$1: $program answered: $(cat "$work/answer")"
  done
  quietly cmake --install . --prefix "$work/$1/prefix"
  [ "$(cd "$work/$1/prefix" && find . -type f)" = ./bin/static ] ||
    die "$1: installs $(find "$work/$1/prefix" -type f)"
}

configure fetched "include(FetchContent)
FetchContent_Declare(smft SOURCE_DIR \"$SMFT_SOURCE\")
FetchContent_MakeAvailable(smft)"
configure added "add_subdirectory(\"$SMFT_SOURCE\" smft)" -DCMAKE_C_FLAGS=-O0
check fetched
check added
case "$(flags fetched lib/base/version.c)" in *-O2*) ;; *) die "kernels are not optimised" ;; esac
case "$(flags added lib/base/version.c)" in *-O2*) die "the parent's -O0 does not hold" ;; esac
build fetched
build added
