/* Tokenizers from GGUF files: what is read, every complaint about a file, overlapping added tokens,
 * and each allocation failing.  (That ids are llama.cpp's: golden/test_tokenizer_gguf.c.) */
#include "test.h"
#include "failing.h"
#include "files.h"
#include "vocab_gguf.h"
#include "data/gguf.h"
#include "data/tokenizer.h"

static smft_status load_with(smft_ctx *ctx, const vocab_text *vocab, smft_tokenizer **out) {
  static gguf_bytes file;
  smft__gguf gguf = {0};
  make_vocab(&file, vocab);
  *out = NULL;
  smft_status status = smft__gguf_read(&gguf, ctx, file.bytes, (int64_t)file.size, "file.gguf");
  if (status == SMFT_OK)
    status = smft__tokenizer_load_gguf(out, ctx, &gguf);
  smft__gguf_free(&gguf);
  memset(&file, 0xDD, sizeof file); /* nothing was borrowed */
  return status;
}

static smft_ctx *ctx;
static void set_up(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void tear_down(void) { smft_ctx_free(ctx); }

static void check_ids(const smft_tokenizer *t, const char *text, uint32_t flags,
                      const int32_t *expected) {
  int32_t ids[64];
  int64_t n = 0, i = 0;
  ck_ok(smft_tokenizer_encode(t, text, strlen(text), flags, ids, 64, &n));
  for (; expected[i] >= 0; i++)
    ck_assert_msg(i < n && ids[i] == expected[i], "\"%s\": id %d is %d of %d, expected %d", text,
                  (int)i, i < n ? ids[i] : -1, (int)n, expected[i]);
  ck_assert_int_eq(n, i);
}
#define IDS(...) ((const int32_t[]){__VA_ARGS__, -1})

static void check_text(const smft_tokenizer *t, const int32_t *ids, const char *expected) {
  char text[64];
  size_t length;
  int64_t n = 0;
  while (ids[n] >= 0)
    n++;
  ck_ok(smft_tokenizer_decode(t, ids, n, SMFT_DECODE_SKIP_SPECIAL, text, sizeof text, &length));
  ck_assert_str_eq(text, expected);
}

START_TEST(byte_level) {
  vocab_text vocab = vocab_bpe();
  smft_tokenizer *t;
  ck_ok(load_with(ctx, &vocab, &t));
  check_ids(t, "abc ab", SMFT_ENCODE_SPECIAL, IDS(7, 8, 6));
  check_ids(t, "a<x>b</s>", 0, IDS(3, 2, 4, 1));
  check_ids(t, "<x>c", SMFT_ENCODE_NO_PARSE, IDS(2, 5));
  check_ids(t, "a~b", 0, IDS(3, 4)); /* no token has ~, and a and b do not meet */
  check_text(t, IDS(0, 7, 8, 6), "abc ab");
  smft_tokenizer_free(t);
}
END_TEST

START_TEST(sentence_piece) {
  vocab_text vocab = vocab_spm();
  smft_tokenizer *t;
  const int32_t *stops;
  int64_t n;
  ck_ok(load_with(ctx, &vocab, &t));
  check_ids(t, "ab a", SMFT_ENCODE_SPECIAL, IDS(1, 8, 7, 9));
  check_ids(t, "ab", SMFT_ENCODE_CONTINUE, IDS(7));
  check_ids(t, "A\nb", 0, IDS(8, 3, 4, 8, 6));
  check_ids(t, "~", SMFT_ENCODE_CONTINUE, IDS(0)); /* neither a token nor a byte */
  check_text(t, IDS(1, 8, 7, 9, 3), "ab aA");
  smft__tokenizer_stops(t, &stops, &n);
  ck_assert(n == 1 && stops[0] == 2);
  smft_tokenizer_free(t);
}
END_TEST

/* The longest of all first, though another begins further left. */
START_TEST(overlaps) {
  static const char *const tokens[] = {"<unk>", "<s>", "</s>", "ab", "bcd", "de", "d", "xx",
                                       "xxx",   "a",   "b",    "c",  "e",   "x",  NULL};
  static const int32_t types[] = {2, 3, 3, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, -1};
  static const float scores[14] = {0};
  vocab_text vocab = {"llama", NULL,   tokens, NULL,
                      types,   scores, 14,     "tokenizer.ggml.add_space_prefix",
                      7,       0};
  smft_tokenizer *t;
  ck_ok(load_with(ctx, &vocab, &t));
  check_ids(t, "abcde", 0, IDS(9, 4, 12));
  check_ids(t, "abde", 0, IDS(3, 5));
  check_ids(t, "abcd", 0, IDS(9, 4));
  check_ids(t, "xxxxxxxx", 0, IDS(8, 8, 7));
  check_ids(t, "xxxx", 0, IDS(8, 13));
  check_ids(t, "cd", 0, IDS(11, 6));
  smft_tokenizer_free(t);
}
END_TEST

START_TEST(without_a_tokenizer) {
  vocab_text none = {"none", NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 0}, missing = {0};
  smft_tokenizer *t;
  gguf_bytes *file = calloc(1, sizeof *file);
  ck_ok(load_with(ctx, &none, &t));
  ck_assert_ptr_null(t);
  ck_ok(load_with(ctx, &missing, &t));
  ck_assert_ptr_null(t);
  make_vocab(file, &none);
  const char *path = test_write("none.gguf", file->bytes, file->size);
  ck_status(smft_tokenizer_load(&t, ctx, path), SMFT_E_NOT_FOUND);
  free(file);
}
END_TEST

/* ---- complaints ---------------------------------------------------------- */

static const char *const twice[] = {"a", "b", "a", NULL}, *const no_tokens[] = {NULL};
static const char *const no_space[] = {"ab", NULL}, *const one_side[] = {"a ", NULL};
static const char *const unknown[] = {"a z", NULL}, *const no_whole[] = {"c a", NULL};
static const int32_t few[] = {1, 1, -1}, strange[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 7, -1};
static const float not_a_number[10] = {0, 0, NAN};

static void refuse(const vocab_text *vocab, smft_status expected, const char *words) {
  smft_tokenizer *t;
  ck_status(load_with(ctx, vocab, &t), expected);
  ck_assert_ptr_null(t);
  ck_assert_msg(strstr(smft_error_message(), words) && strstr(smft_error_message(), "file.gguf"),
                "\"%s\" is not in: %s", words, smft_error_message());
}

#define REFUSE(base, change, status, words)                                                        \
  do {                                                                                             \
    vocab_text v = base();                                                                         \
    change;                                                                                        \
    refuse(&v, status, words);                                                                     \
  } while (0)

START_TEST(complaints) {
  REFUSE(vocab_bpe, v.model = "bert", SMFT_E_UNSUPPORTED, "bert");
  REFUSE(vocab_bpe, v.model = "t5", SMFT_E_UNSUPPORTED, "t5");
  REFUSE(vocab_bpe, v.pre = "smollm9", SMFT_E_UNSUPPORTED, "smollm9");
  REFUSE(vocab_bpe, v.pre = "gpt-2 phi-2", SMFT_E_UNSUPPORTED, "gpt-2 phi-2");
  REFUSE(vocab_bpe, v.pre = "", SMFT_E_UNSUPPORTED, "pre");
  REFUSE(vocab_bpe, v.tokens = NULL, SMFT_E_FORMAT, "tokens is missing");
  REFUSE(vocab_bpe, v.tokens = no_tokens, SMFT_E_FORMAT, "empty");
  REFUSE(vocab_bpe, (v.tokens = twice, v.types = NULL), SMFT_E_FORMAT, "twice");
  REFUSE(vocab_bpe, v.merges = NULL, SMFT_E_FORMAT, "merges is missing");
  REFUSE(vocab_bpe, v.merges = no_space, SMFT_E_FORMAT, "left right");
  REFUSE(vocab_bpe, v.merges = one_side, SMFT_E_FORMAT, "left right");
  REFUSE(vocab_bpe, v.merges = unknown, SMFT_E_FORMAT, "\"z\"");
  REFUSE(vocab_bpe, v.merges = no_whole, SMFT_E_FORMAT, "\"ca\"");
  REFUSE(vocab_bpe, v.types = few, SMFT_E_FORMAT, "token_type");
  REFUSE(vocab_bpe, v.types = strange, SMFT_E_FORMAT, "type 7");
  REFUSE(vocab_bpe, (v.key = "tokenizer.ggml.add_bos_token", v.key_type = 7, v.value = 1),
         SMFT_E_FORMAT, "add_bos_token");
  REFUSE(vocab_bpe, (v.key = "tokenizer.ggml.bos_token_id", v.key_type = 6), SMFT_E_FORMAT,
         "bos_token_id");
  REFUSE(vocab_spm, v.scores = NULL, SMFT_E_FORMAT, "scores is missing");
  REFUSE(vocab_spm, v.n_scores = 9, SMFT_E_FORMAT, "scores");
  REFUSE(vocab_spm, v.scores = not_a_number, SMFT_E_FORMAT, "token 2");
  REFUSE(vocab_spm, (v.key = "tokenizer.ggml.add_space_prefix", v.key_type = 4), SMFT_E_FORMAT,
         "add_space_prefix");
}
END_TEST

/* An id that no token has is as if none was said: begin-of-text is what it is without the key. */
START_TEST(an_id_too_large) {
  vocab_text vocab = vocab_spm();
  smft_tokenizer *t;
  vocab.key = "tokenizer.ggml.bos_token_id";
  vocab.key_type = 4;
  vocab.value = 4000000000u;
  ck_ok(load_with(ctx, &vocab, &t));
  check_ids(t, "", SMFT_ENCODE_SPECIAL, IDS(1));
  smft_tokenizer_free(t);
}
END_TEST

/* ---- memory -------------------------------------------------------------- */

static smft_status load_and_use(smft_ctx *own, const vocab_text *vocab) {
  smft_tokenizer *t = NULL;
  char text[64];
  int32_t ids[64];
  int64_t n = 0;
  size_t length;
  smft_status status = load_with(own, vocab, &t);
  if (status == SMFT_OK)
    status = smft_tokenizer_encode(t, "ab<x>\n a abc", 12, 0, ids, 64, &n);
  if (status == SMFT_OK)
    status = smft_tokenizer_decode(t, ids, n, 0, text, sizeof text, &length);
  smft_tokenizer_free(t);
  return status;
}

START_TEST(each_allocation_fails) {
  vocab_text vocab = _i ? vocab_spm() : vocab_bpe();
  failing state = {0};
  smft_ctx *own = failing_ctx(&state, 1);
  long long at = 0, before = state.live;
  smft_status status;
  do {
    at++;
    state.calls = 0;
    state.fail_at = at;
    status = load_and_use(own, &vocab);
    ck_assert_int_eq(state.live, before);
    ck_assert(status == SMFT_OK || status == SMFT_E_NOMEM);
  } while (status == SMFT_E_NOMEM && at < 1000);
  ck_assert_int_ge(at, 10);
  ck_ok(status);
  smft_ctx_free(own);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("tokenizer_gguf");
  TCase *tests = tcase_create("tokenizer_gguf");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, byte_level);
  tcase_add_test(tests, sentence_piece);
  tcase_add_test(tests, overlaps);
  tcase_add_test(tests, without_a_tokenizer);
  tcase_add_test(tests, complaints);
  tcase_add_test(tests, an_id_too_large);
  tcase_add_loop_test(tests, each_allocation_fails, 0, 2);
  suite_add_tcase(suite, tests);
  return suite;
}
