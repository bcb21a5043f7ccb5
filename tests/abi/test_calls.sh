#!/usr/bin/env bash
# Calls that a library must not make: print, exit, abort, locale, environment, locale-dependent numbers, other libraries' threads, fast-math.
set -euo pipefail
cd "$SMFT_SOURCE"
bad=0
if grep -nE '\b(printf|puts|putchar|fputs|fprintf|perror|exit|_exit|abort|assert|setlocale|setenv|putenv|getenv|strtod|strtof|atof|signal|sigaction|fesetround|feenableexcept|openblas_set_num_threads|omp_set_num_threads)\(' $(find lib -name '*.[ch]') \
    | grep -vE 'static_assert|^[^:]+:[0-9]+: *(\*|//|/\*)'; then
  bad=1
fi
if grep -nE 'fast-math|Ofast|_MM_SET_' CMakeLists.txt $(find lib -name '*.[ch]'); then bad=1; fi
library=$SMFT_BUILD/libsmft.so
if [ -z "${SMFT_SANITIZE:-}" ] && nm -D --undefined-only "$library" | grep -wE 'abort|exit|_exit|printf|puts|setlocale|setenv|getenv|__assert_fail|__printf_chk|strtod|strtof'; then
  echo "libsmft.so calls these"; bad=1
fi
exit $bad
