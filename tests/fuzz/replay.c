/* replay: a fuzz target without a fuzzer: seeds, truncations of them (every one, of seeds of up to
 * 1 KiB), and so many seeded mutations; or the files named.  REPLAY_SEEDS: the header with a
 * format's seeds; MOST: bytes of an input.
 * replay [N]: N mutations.  replay --seeds DIR: writes the seeds
 * there, for libFuzzer.  replay FILE...: these (a crash that was found). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef MOST
#define MOST 4096
#endif
typedef struct input {
  uint8_t bytes[MOST];
  size_t size;
} input;
#include REPLAY_SEEDS /* N_SEEDS, N_PIECES, piece, make_seed, settle */

static uint64_t state = 88172645463325252ull;
static size_t below(size_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return n ? (size_t)(state % n) : 0;
}

/* Replaces `gone` bytes at `at` by a piece. */
static void splice(input *one, size_t at, size_t gone, const char *with, size_t add) {
  size_t tail = one->size - at - gone;
  if (one->size - gone + add > MOST)
    return;
  memmove(one->bytes + at + add, one->bytes + at + gone, tail);
  memcpy(one->bytes + at, with, add);
  one->size += add;
  one->size -= gone;
}

static void put_in(input *one, size_t at) {
  size_t size = 0;
  const char *with = piece(below(N_PIECES), &size);
  splice(one, at, below(one->size - at < 6 ? one->size - at : 6), with, size);
}

static void mutate(input *one, size_t which) {
  for (size_t n = 1 + below(4); n > 0; n--) {
    size_t at = one->size > 8 ? 8 + below(one->size - 8) : below(one->size);
    switch (below(5)) {
    case 0:
      one->bytes[below(one->size)] ^= (uint8_t)(1u << below(8));
      break;
    case 1:
      splice(one, at, below(one->size - at < 8 ? one->size - at : 8), "", 0);
      break;
    case 2:
      one->size = 1 + below(one->size);
      break;
    default:
      put_in(one, at);
    }
  }
  if (below(4))
    settle(one, which);
}

static void run(const input *one) { /* in a block of exactly its size, for the sanitizer */
  uint8_t *copy = malloc(one->size ? one->size : 1);
  if (!copy)
    exit(1);
  memcpy(copy, one->bytes, one->size);
  LLVMFuzzerTestOneInput(copy, one->size);
  free(copy);
}

static int write_seeds(const char *directory) {
  for (size_t i = 0; i < N_SEEDS; i++) {
    char path[1024];
    input one = make_seed(i);
    snprintf(path, sizeof path, "%s/seed-%d", directory, (int)i);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(one.bytes, 1, one.size, file) != one.size || fclose(file) != 0)
      return 1;
  }
  return 0;
}

static int run_file(const char *path) {
  input one = {.size = 0};
  FILE *file = fopen(path, "rb");
  if (!file)
    return 1;
  one.size = fread(one.bytes, 1, MOST, file);
  fclose(file);
  run(&one);
  return 0;
}

static void run_all(long mutations) {
  for (size_t i = 0; i < N_SEEDS; i++)
    for (input one = make_seed(i);; one.size -= 1 + one.size / 1024) {
      run(&one);
      if (one.size == 0)
        break;
    }
  for (long i = 0; i < mutations; i++) {
    size_t which = below(N_SEEDS);
    input one = make_seed(which);
    mutate(&one, which);
    run(&one);
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
    return write_seeds(argv[2]);
  char *end = argv[argc > 1 ? 1 : 0];
  long mutations = argc > 1 ? strtol(argv[1], &end, 10) : 20000;
  if (argc == 1 || *end == '\0') {
    run_all(mutations);
    return 0;
  }
  for (int i = 1; i < argc; i++)
    if (run_file(argv[i]))
      return 1;
  return 0;
}
