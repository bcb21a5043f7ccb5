/* seeds_gguf: what replay.c begins with and puts in: GGUF files, numbers of their headers. */
#include "../support/make_gguf.h"

#define N_SEEDS 3

static void make_all_types(gguf_bytes *to) {
  static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  put_header(to, 3, 0, 13);
  for (uint32_t type = 0; type < 13; type++) {
    char key[] = "key a";
    key[4] = (char)('a' + type);
    put_key(to, key, type);
    if (type == 8)
      put_text(to, "text");
    else if (type == 9) { /* an array of strings */
      put_u32(to, 8);
      put_u64(to, 2);
      put_text(to, "one");
      put_text(to, "");
    } else
      put_number(to, 1, sizes[type]);
  }
}

static void make_model(gguf_bytes *to) {
  put_header(to, 3, 3, 4);
  put_key_text(to, "general.architecture", "llama");
  put_key_u32(to, "llama.block_count", 1);
  put_key_u32(to, "general.alignment", 8);
  put_key(to, "tokenizer.ggml.scores", 9);
  put_u32(to, 6);
  put_u64(to, 2);
  put_data(to, 8);
  put_tensor(to, "token_embd.weight", 4, 2, 0, 0);
  put_tensor(to, "output_norm.weight", 4, 0, 1, 32);
  put_tensor(to, "blk.0.attn_q.weight", 32, 2, 8, 40);
  put_padding(to, 8);
  put_data(to, 40 + 2 * 34);
}

static void make_old(gguf_bytes *to) {
  put_header(to, 2, 1, 1);
  put_key_text(to, "general.architecture", "llama");
  put_tensor(to, "a", 3, 0, 30, 0);
  put_padding(to, 32);
  put_data(to, 6);
}

static input make_seed(size_t which) {
  static void (*const makers[N_SEEDS])(gguf_bytes *) = {make_all_types, make_model, make_old};
  gguf_bytes made;
  input one = {.size = 0};
  makers[which](&made);
  one.size = made.size;
  memcpy(one.bytes, made.bytes, made.size);
  return one;
}

static const struct {
  size_t size;
  const char *bytes;
} texts[] = {{8, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"},
             {8, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"},
             {8, "\0\0\0\0\1\0\0\0"},
             {8, "\1\0\0\0\0\0\0\0"},
             {8, "\0\0\0\0\0\0\0\x40"},
             {4, "\0\0\0\0"},
             {4, "\x09\0\0\0"},
             {4, "\x08\0\0\0"},
             {4, "\xFF\xFF\xFF\xFF"},
             {4, "\x0C\0\0\0"},
             {17, "general.alignment"},
             {1, "\xFF"}};
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
