/* seeds_model_gguf: what replay.c begins with and puts in: whole models as GGUF files, keys and
 * numbers that lie. */
#include "../support/model_gguf.h"

#define N_SEEDS 4

static input make_seed(size_t which) {
  static const char *const archs[N_SEEDS] = {"llama", "gemma3", "smollm3", "llama"};
  static gguf_bytes made;
  vocab_text vocab = which == 1 ? vocab_spm() : vocab_bpe();
  input one = {.size = 0};
  if (which == 3) {
    vocab = (vocab_text){.key = "llama.rope.scaling.factor", .key_type = 6, .value = 0x40000000};
  }
  make_model_gguf(&made, archs[which], &vocab);
  one.size = made.size;
  memcpy(one.bytes, made.bytes, made.size);
  return one;
}

#define TEXT(bytes)                                                                                \
  { sizeof(bytes) - 1, bytes }
static const struct {
  size_t size;
  const char *bytes;
} texts[] = {TEXT("\xFF\xFF\xFF\xFF"),
             TEXT("\0\0\0\x80"),
             TEXT("\xFF\xFF\xFF\x7F"),
             TEXT("\0\0\0\0"),
             TEXT("\1\0\0\0"),
             TEXT("\2\0\0\0"),
             TEXT("\x03\0\0\0"),
             TEXT("\x40\0\0\0"),
             TEXT("\0\0\xC0\x7F"), /* NaN */
             TEXT("\0\0\x80\x7F"), /* infinity */
             TEXT("\0\0\x80\xFF"),
             TEXT("\1\0\0\0\0\0\0\0"),
             TEXT("\0\0\0\0\1\0\0\0"),
             TEXT("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"),
             TEXT("\x09\0\0\0\4\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0"), /* an array of one number */
             TEXT("block_count"),
             TEXT("vocab_size"),
             TEXT("attention.key_length"),
             TEXT("attention.sliding_window"),
             TEXT("rope.scaling.type"),
             TEXT("split.count"),
             TEXT("\x0C\0\0\0"),
             TEXT("\x08\0\0\0"),
             TEXT("\x05\0\0\0"),
             TEXT("\x06\0\0\0"),
             TEXT("blk.1."),
             TEXT("output.weight")};
#define N_PIECES (sizeof texts / sizeof *texts)

static const char *piece(size_t which, size_t *size) {
  *size = texts[which].size;
  return texts[which].bytes;
}

/* The first bytes are right, else nothing behind them is ever read. */
static void settle(input *one, size_t which) {
  input seed = make_seed(which);
  if (one->size >= 8)
    memcpy(one->bytes, seed.bytes, 8);
}
