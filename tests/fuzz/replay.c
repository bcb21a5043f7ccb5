/* replay: a fuzz target without a fuzzer: seeds, every truncation of them, and so many seeded
 * mutations; or the files named. replay [N]: N mutations.  replay --seeds DIR: writes the seeds
 * there, for libFuzzer.  replay FILE...: these (a crash that was found). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 4096
typedef struct input {
  uint8_t bytes[MOST];
  size_t size;
} input;

static const struct {
  const char *header;
  size_t data;
} seeds[] = {
    {"{}", 0},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", 16},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_"
     "offsets\":[0,6]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[6,7]}}  ",
     7},
    {"{\"x\":{\"dtype\":\"I64\",\"shape\":[0,9223372036854775807],\"data_offsets\":[0,0]},"
     "\"y\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1,1,2],\"data_offsets\":[0,4]}}",
     4},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[4,0]}}",
     4},
};
#define N_SEEDS (sizeof seeds / sizeof *seeds)

static const char *const pieces[] = {"9223372036854775807",
                                     "-1",
                                     "4294967296",
                                     "0",
                                     "1e999",
                                     "\"F32\"",
                                     "\"BOOL\"",
                                     "\"__metadata__\"",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "\"",
                                     "\\u0000",
                                     "\xFF",
                                     "null",
                                     "\"data_offsets\":[0,4]",
                                     "\"shape\":[4611686018427387904,2]"};
#define N_PIECES (sizeof pieces / sizeof *pieces)

static uint64_t state = 88172645463325252ull;
static size_t below(size_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return n ? (size_t)(state % n) : 0;
}

static void set_length(input *one, uint64_t length) {
  for (int i = 0; i < 8; i++)
    one->bytes[i] = (uint8_t)(length >> (8 * i));
}

static input make_seed(size_t which) {
  input one = {.size = 8};
  size_t length = strlen(seeds[which].header);
  set_length(&one, length);
  memcpy(one.bytes + 8, seeds[which].header, length);
  one.size += length + seeds[which].data;
  return one;
}

/* Replaces `gone` bytes at `at` by a piece. */
static void splice(input *one, size_t at, size_t gone, const char *piece) {
  size_t add = strlen(piece), tail = one->size - at - gone;
  if (one->size - gone + add > MOST)
    return;
  memmove(one->bytes + at + add, one->bytes + at + gone, tail);
  memcpy(one->bytes + at, piece, add);
  one->size += add;
  one->size -= gone;
}

static void mutate(input *one, size_t data) {
  for (size_t n = 1 + below(4); n > 0; n--) {
    size_t at = one->size > 8 ? 8 + below(one->size - 8) : below(one->size);
    switch (below(5)) {
    case 0:
      one->bytes[below(one->size)] ^= (uint8_t)(1u << below(8));
      break;
    case 1:
      splice(one, at, below(one->size - at < 8 ? one->size - at : 8), "");
      break;
    case 2:
      one->size = 1 + below(one->size);
      break;
    default:
      splice(one, at, below(one->size - at < 6 ? one->size - at : 6), pieces[below(N_PIECES)]);
    }
  }
  if (below(4) &&
      one->size >=
          8 + data) /* mostly a header of the right length, else nothing behind it is ever read */
    set_length(one, one->size - 8 - data);
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
    for (input one = make_seed(i);; one.size--) {
      run(&one);
      if (one.size == 0)
        break;
    }
  for (long i = 0; i < mutations; i++) {
    size_t which = below(N_SEEDS);
    input one = make_seed(which);
    mutate(&one, seeds[which].data);
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
