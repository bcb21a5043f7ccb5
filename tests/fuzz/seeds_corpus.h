/* seeds_corpus: what replay.c begins with and puts in: the files of FUZZ_CORPUS (a directory), and
 * pieces of them, of numbers and of JSON.  A file with a safetensors header in it, behind a text
 * that begins with '{' and the 0 that ends that, or at its beginning, keeps a header of the right
 * length. */
#include <dirent.h>

#define MOST_SEEDS 64
static input corpus[MOST_SEEDS];
static size_t
    corpus_headers[MOST_SEEDS];        /* where the length stands; 0 and no data: there is none */
static size_t corpus_data[MOST_SEEDS]; /* bytes behind the header */
static size_t corpus_used;

static uint64_t length_at(const input *one, size_t at) {
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--)
    length = length << 8 | one->bytes[at + (size_t)i];
  return length;
}

/* Where the safetensors file begins in a seed, if there is one. */
static int find_header(const input *one, size_t *at, size_t *data) {
  const uint8_t *zero = memchr(one->bytes, 0, one->size);
  *at =
      one->size && one->bytes[0] == '{' ? (zero ? (size_t)(zero - one->bytes) + 1 : one->size) : 0;
  if (one->size < *at + 9 || one->bytes[*at + 8] != '{' ||
      length_at(one, *at) > one->size - *at - 8)
    return 0;
  *data = one->size - *at - 8 - (size_t)length_at(one, *at);
  return 1;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name); /* whatever the locale */
}

static void read_seed(const char *directory, const char *name) {
  char path[1024];
  input *one = &corpus[corpus_used];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = name[0] == '.' ? NULL : fopen(path, "rb");
  if (!file)
    return;
  one->size = fread(one->bytes, 1, MOST, file);
  fclose(file);
  if (!find_header(one, &corpus_headers[corpus_used], &corpus_data[corpus_used]))
    corpus_headers[corpus_used] = SIZE_MAX;
  corpus_used++;
}

static void read_corpus(void) {
  const char *directory = getenv("FUZZ_CORPUS");
  struct dirent **entries = NULL;
  int n = directory ? scandir(directory, &entries, NULL, by_name) : -1;
  for (int i = 0; i < n; i++) {
    if (corpus_used < MOST_SEEDS)
      read_seed(directory, entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  if (corpus_used == 0) {
    fprintf(stderr, "replay: FUZZ_CORPUS names no directory with files\n");
    exit(1);
  }
}

static size_t n_seeds(void) {
  if (corpus_used == 0)
    read_corpus();
  return corpus_used;
}
#define N_SEEDS n_seeds()

static input make_seed(size_t which) { return corpus[which]; }

#define TEXT(bytes)                                                                                \
  { sizeof(bytes) - 1, bytes }
static const struct {
  size_t size;
  const char *bytes;
} texts[] = {TEXT("9223372036854775807"),
             TEXT("-9223372036854775808"),
             TEXT("-1"),
             TEXT("0"),
             TEXT("1e999"),
             TEXT("1e-300"),
             TEXT("2147483648"),
             TEXT("null"),
             TEXT("[]"),
             TEXT("{}"),
             TEXT("\""),
             TEXT("\\u0000"),
             TEXT("\\ud83d\\ude00"),
             TEXT("\xFF"),
             TEXT("\xC3\xA9"),
             TEXT("\xE2\x80\xA8"),
             TEXT("\0"),
             TEXT("\n"),
             TEXT("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"),
             TEXT("\0\0\0\0\0\0\0\x80"),
             TEXT("\1\0\0\0\0\0\0\0"),
             TEXT("\0\0\xC0\x7F"), /* NaN */
             TEXT("\0\0\x80\x7F"), /* infinity */
             TEXT("\xFF\xFF\x7F\x7F")};
enum { N_TEXTS = sizeof texts / sizeof *texts };
#define N_PIECES (4 * (size_t)N_TEXTS)

/* One of these, or some bytes of a seed: the number says which. */
static size_t below(size_t n);
static const char *piece(size_t which, size_t *size) {
  if (which < N_TEXTS) {
    *size = texts[which].size;
    return texts[which].bytes;
  }
  const input *one = &corpus[below(N_SEEDS)];
  size_t at = below(one->size), left = one->size - at;
  *size = 1 + below(left < 32 ? left : 32);
  *size = *size < left ? *size : left;
  return (const char *)one->bytes + at;
}

static void settle(input *one, size_t which) {
  size_t at = corpus_headers[which];
  if (at == SIZE_MAX || one->size < at + 8 + corpus_data[which])
    return;
  uint64_t length = one->size - at - 8 - corpus_data[which];
  for (size_t i = 0; i < 8; i++)
    one->bytes[at + i] = (uint8_t)(length >> (8 * i));
}
