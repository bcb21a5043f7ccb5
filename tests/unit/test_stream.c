/* stream: the text that a session generates is what smft_tokenizer_decode makes of its ids, where
 * tokens are pieces of characters, bytes that make none, or special. */
#include "test.h"
#include "tiny.h"

enum { MOST = 40 };

typedef struct heard {
  int32_t ids[MOST];
  int64_t n;
} heard;

static int32_t hear(void *user, int32_t id, const char *text, size_t length) {
  heard *h = user;
  (void)text;
  (void)length;
  if (id < TINY_VOCAB - 1) /* the last is a row of the embedding without a token */
    h->ids[h->n++] = id;
  return 0;
}

/* How a byte-level vocabulary spells a byte, as UTF-8. */
static int spell(char *to, int byte) {
  int code = byte < 0x21 ? 256 + byte : byte >= 0x7F && byte <= 0xA0 ? 289 + byte - 0x7F : byte;
  if (code < 0x80)
    return sprintf(to, "%c", code);
  return sprintf(to, "%c%c", 0xC0 | code >> 6, 0x80 | (code & 0x3F));
}

/* Sixteen bytes, of which characters of two to four can be made and broken, and pairs of them. */
static int byte_vocab(char *to) {
  static const uint8_t bytes[16] = {0xE2, 0xAC, 0xC3, 0xA9, 0xF0, 0xED, 0xE0, 0xF4,
                                    'a',  'b',  0x82, 0x9F, 0x98, 0x80, 0xA0, ' '};
  int n = sprintf(to, "{\"<s>\": 0");
  for (int i = 0; i < TINY_VOCAB - 2; i++) {
    n += sprintf(to + n, ", \"");
    n += spell(to + n, bytes[i % 16]);
    if (i >= 16)
      n += spell(to + n, bytes[(i % 16 * 5 + i / 16 * 3) % 16]);
    n += sprintf(to + n, "\": %d", i + 1);
  }
  return n + sprintf(to + n, "}");
}

/* Words with the mark of a space before them. */
static int word_vocab(char *to) {
  int n = sprintf(to, "{\"<s>\": 0");
  for (int i = 0; i < TINY_VOCAB - 2; i++)
    n += sprintf(to + n, ", \"%sw%d\": %d", i % 3 ? "\xE2\x96\x81" : "", i, i + 1);
  return n + sprintf(to + n, "}");
}

/* n_special: the first of the ids are special tokens. */
static void write_tokenizer(int (*vocab)(char *), const char *decoder, int n_special) {
  static char text[1 << 16];
  int n = sprintf(text, "{\"added_tokens\": [");
  for (int i = 0; i < n_special; i++)
    n += sprintf(text + n, "%s{\"id\": %d, \"content\": \"%sw%d\", \"special\": true}",
                 i ? ", " : "", i + 1, i % 3 ? "\xE2\x96\x81" : "", i);
  n += sprintf(text + n,
               "], \"decoder\": %s, \"model\": {\"type\": \"BPE\", \"merges\": [], "
               "\"vocab\": ",
               decoder);
  n += vocab(text + n);
  n += sprintf(text + n, "}}");
  test_write("m/tokenizer.json", text, (size_t)n);
}

/* What the bytes of a character that was cut at the end will be, nobody knows yet. */
static void check_text(const smft_model *model, const heard *h, const char *text, size_t length) {
  char decoded[4096];
  size_t n = 0;
  ck_ok(smft_tokenizer_decode(smft_model_tokenizer(model), h->ids, h->n, SMFT_DECODE_SKIP_SPECIAL,
                              decoded, sizeof decoded, &n));
  ck_assert_uint_le(length, n);
  ck_assert_mem_eq(text, decoded, length);
  ck_assert(n == length || strcmp(decoded + length, "\xEF\xBF\xBD") == 0);
}

static void check(int (*vocab)(char *), const char *decoder, int n_special) {
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  smft_session *session = NULL;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  ck_ok(smft_ctx_create(&ctx, NULL));
  mkdir(test_file("m"), 0700);
  tiny_config("m", (tiny){0});
  write_tokenizer(vocab, decoder, n_special);
  ck_ok(smft_model_init(&model, ctx, test_file("m"), 3));
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  options.temperature = 20; /* any token may come */
  options.max_tokens = MOST;
  options.on_token = hear;
  for (options.seed = 0; options.seed < 50; options.seed++) {
    heard h = {.n = 0};
    const char *text = NULL;
    size_t length = 0;
    options.user = &h;
    ck_ok(smft_session_generate(session, NULL, 0, &options, &text, &length));
    check_text(model, &h, text, length);
  }
  smft_session_free(session);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

START_TEST(bytes_that_make_no_character) { check(byte_vocab, "{\"type\": \"ByteLevel\"}", 0); }
END_TEST

/* The space before the first word goes, also where a special token that is left out came first. */
START_TEST(special_tokens_first) {
  check(word_vocab,
        "{\"type\": \"Metaspace\", \"replacement\": \"\xE2\x96\x81\", \"prepend_scheme\": "
        "\"always\"}",
        50);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("stream");
  TCase *tests = tcase_create("stream");
  test_directory_make();
  tcase_add_test(tests, bytes_that_make_no_character);
  tcase_add_test(tests, special_tokens_first);
  suite_add_tcase(suite, tests);
  return suite;
}
