/* bad input: every way into the library given files, text, ids and facts that are not what they
 * should be, through smft.h alone. Each is refused with the right status and a message that names
 * it, and nothing that was there before is lost. (What single readers do with each byte is in
 * tests/unit; handles and structs are in test_bad_calls.c.) */
#include <signal.h>
#include <sys/resource.h>
#include "test.h"
#include "tiny.h"

static smft_ctx *ctx;
static smft_model *model;
static smft_patch *patch;
static smft_session *session;
static smft_selector *selector;
static smft_optimizer *optimizer;
static smft_learner *learner;
static smft_probe *probe;

/* ---- a world, on disk and in memory -------------------------------------- */

static void make_optimizer(void) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.flags = SMFT_OPTIMIZER_KEEP_STATE;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
}

/* One step is taken, so that patch, optimizer and counts have something to lose; m/ and the three
 * files hold it too. */
static void setup(void) {
  const char *answers[] = {"x"};
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model_free(tiny_model(ctx, "m", (tiny){0}, 3));
  ck_ok(smft_model_init(&model, ctx, test_file("m"), 3));
  ck_ok(smft_model_export(model, NULL, test_file("m"), NULL));
  patch = tiny_taught(ctx, model);
  ck_ok(smft_session_create(&session, model, patch, NULL));
  selector = tiny_selector(model, 0, 8);
  make_optimizer();
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, NULL));
  tiny_push(learner, "first", "one");
  ck_ok(smft_step(learner, NULL));
  ck_ok(smft_probe_create(&probe, ctx, NULL));
  ck_ok(smft_probe_add_text(probe, "t", "some text"));
  ck_ok(smft_probe_add_question(probe, "q", "Who?", answers, 1));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_ok(smft_patch_save(patch, test_file("saved.patch"), 0));
  ck_ok(smft_selector_save(selector, test_file("saved.counts")));
  ck_ok(smft_optimizer_save(optimizer, test_file("saved.optimizer")));
}

static void teardown(void) {
  smft_probe_free(probe);
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  smft_session_free(session);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

static void said(const char *needle) {
  ck_assert_msg(strstr(smft_error_message(), needle) != NULL, "message lacks \"%s\": %s", needle,
                smft_error_message());
}

/* Two files are the same to the byte. */
static void same_files(const char *left, const char *right) {
  size_t n, m;
  char *a = test_read(left, &n), *b = test_read(right, &m);
  ck_assert_msg(n == m && memcmp(a, b, n) == 0, "%s and %s differ", left, right);
  free(a);
  free(b);
}

/* Patch, optimizer and counts are what setup saved, the queue has its one fact. */
static void nothing_lost(void) {
  ck_ok(smft_patch_save(patch, test_file("now"), 0));
  same_files(test_file("now"), test_file("saved.patch"));
  ck_ok(smft_optimizer_save(optimizer, test_file("now")));
  same_files(test_file("now"), test_file("saved.optimizer"));
  ck_ok(smft_selector_save(selector, test_file("now")));
  same_files(test_file("now"), test_file("saved.counts"));
  ck_assert_int_eq(smft_learner_pending(learner), 1);
}

/* ---- every reader of weights, over the same bytes ------------------------ */

enum { READ_MODEL, READ_MODEL_COPY, READ_PATCH, READ_COUNTS, READ_OPTIMIZER, N_READERS };
static const char *const good_files[] = {"m/model.safetensors", "m/model.safetensors",
                                         "saved.patch", "saved.counts", "saved.optimizer"};

static void copy_file(const char *from, const char *to) {
  size_t n;
  char *bytes = test_read(test_file(from), &n);
  test_write(to, bytes, n);
  free(bytes);
}

static smft_status load_bad_model(uint32_t flags) {
  smft_load_options options = SMFT_LOAD_OPTIONS_INIT;
  smft_model *out = (smft_model *)&options;
  options.flags = flags;
  smft_status status = smft_model_load(&out, ctx, test_file("bad"), &options);
  ck_assert((out == NULL) == (status != SMFT_OK));
  smft_model_free(out);
  return status;
}

/* Reads a file (NULL bytes: one that is not there); what fails says which file, and gives nothing
 * out. */
static smft_status read_as(int reader, const char *bytes, size_t n) {
  const char *name = reader <= READ_MODEL_COPY ? "bad/model.safetensors" : "bad.file";
  smft_patch *out = (smft_patch *)&n;
  smft_status status;
  remove(test_file(name));
  if (bytes)
    test_write(name, bytes, n);
  if (reader <= READ_MODEL_COPY)
    return load_bad_model(reader == READ_MODEL_COPY ? SMFT_LOAD_COPY : 0);
  if (reader == READ_COUNTS)
    return smft_selector_load(selector, test_file(name));
  if (reader == READ_OPTIMIZER)
    return smft_optimizer_load(optimizer, model, test_file(name));
  status = smft_patch_load(&out, model, test_file(name));
  ck_assert((out == NULL) == (status != SMFT_OK));
  smft_patch_free(out);
  return status;
}

static void make_bad_directory(void) {
  mkdir(test_file("bad"), 0700);
  copy_file("m/config.json", "bad/config.json");
  copy_file("m/tokenizer.json", "bad/tokenizer.json");
}

static void refused(int reader, const char *bytes, size_t n, smft_status wanted, const char *says) {
  smft_status status = read_as(reader, bytes, n);
  ck_assert_msg(status == wanted, "reader %d, %s: got %s (%s)", reader, says,
                smft_status_name(status), smft_error_message());
  said(reader <= READ_MODEL_COPY ? "bad/model.safetensors" : "bad.file");
  said(says);
}

START_TEST(readers_read_what_is_good) {
  make_bad_directory();
  for (int reader = 0; reader < N_READERS; reader++) {
    size_t n;
    char *bytes = test_read(test_file(good_files[reader]), &n);
    ck_ok(read_as(reader, bytes, n));
    free(bytes);
  }
  nothing_lost();
}
END_TEST

START_TEST(other_files_under_this_name) {
  static const struct {
    const char *bytes;
    size_t n;
    const char *says;
  } wrong[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 7\n", 66,
       "Git LFS pointer"},
      {"<!DOCTYPE html>\n<html><body>404</body></html>", 44, "HTML page"},
      {"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00\x00\x00", 14, "zip archive"},
      {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 16, "pickle"},
      {"", 0, "empty"},
      {"1234567", 7, "shorter than the 8 bytes"},
      {"\x01\xe1\xf5\x05\0\0\0\0{}", 10, "over 100 MB"},
  };
  make_bad_directory();
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    refused(_i, wrong[i].bytes, wrong[i].n, SMFT_E_FORMAT, wrong[i].says);
  read_as(_i, NULL, 0);
  ck_status(read_as(_i, NULL, 0), SMFT_E_NOT_FOUND);
  said(_i <= READ_MODEL_COPY ? "bad" : "bad.file");
  nothing_lost();
}
END_TEST

START_TEST(truncated_and_over_long) {
  size_t n;
  char *bytes = test_read(test_file(good_files[_i]), &n), *longer = calloc(n + 1, 1);
  make_bad_directory();
  ck_assert_ptr_nonnull(longer);
  for (size_t cut = 0; cut < n; cut += cut < 40 ? 1 : n / 60 + 1)
    ck_status(read_as(_i, bytes, cut), SMFT_E_FORMAT);
  refused(_i, bytes, n - 1, SMFT_E_FORMAT, "truncated");
  memcpy(longer, bytes, n);
  refused(_i, longer, n + 1, SMFT_E_FORMAT, "too many");
  free(bytes);
  free(longer);
  nothing_lost();
}
END_TEST

#define A(dtype, shape, offsets)                                                                   \
  "\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
START_TEST(headers_that_lie) {
  static const struct {
    const char *header;
    size_t data;
    smft_status status;
    const char *says;
  } lies[] = {
      {"{" A("F32", "[2]", "[0,4]") "}", 4, SMFT_E_FORMAT, "needs 8 bytes"},
      {"{" A("F32", "[1]", "[4,0]") "}", 4, SMFT_E_FORMAT, "backwards"},
      {"{" A("F32", "[1]", "[-4,0]") "}", 4, SMFT_E_FORMAT, "negative"},
      {"{" A("F32", "[1]", "[4,8]") "}", 8, SMFT_E_FORMAT, "hole"},
      {"{" A("F32", "[-1]", "[0,4]") "}", 4, SMFT_E_FORMAT, "dimension"},
      {"{" A("F32", "[9223372036854775807,2]", "[0,4]") "}", 4, SMFT_E_FORMAT, "overflow"},
      {"{" A("F32", "[4294967296,4294967296]", "[0,4]") "}", 4, SMFT_E_FORMAT, "overflow"},
      {"{" A("F32", "[2305843009213693951]", "[0,9223372036854775804]") "}", 4, SMFT_E_FORMAT,
       "truncated"},
      {"{" A("F32", "[1]", "[0,4]") "," A("F32", "[1]", "[4,8]") "}", 8, SMFT_E_FORMAT,
       "duplicate"},
      {"{" A("F33", "[1]", "[0,4]") "}", 4, SMFT_E_FORMAT, "F33"},
      {"{" A("F8_E4M3", "[4]", "[0,4]") "}", 4, SMFT_E_UNSUPPORTED, "F8_E4M3"},
      {"{\"a\":{}}", 0, SMFT_E_FORMAT, "dtype is missing"},
      {"{\"\xff\":1}", 0, SMFT_E_FORMAT, "JSON"},
      {"[]", 0, SMFT_E_FORMAT, "does not begin with {"},
  };
  make_bad_directory();
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    char file[512] = {0};
    uint64_t n = strlen(lies[i].header);
    memcpy(file, &n, 8);
    memcpy(file + 8, lies[i].header, n);
    refused(_i, file, 8 + n + lies[i].data, lies[i].status, lies[i].says);
  }
  nothing_lost();
}
END_TEST

/* The file as saved, with one piece of its header replaced; the length is put right. */
static char *edited(const char *name, const char *from, const char *to, size_t *n) {
  size_t old;
  char *bytes = test_read(test_file(name), &old), *at = memmem(bytes, old, from, strlen(from));
  ck_assert_msg(at != NULL, "%s has no %s", name, from);
  char *out = malloc(old + strlen(to) + 1);
  ck_assert_ptr_nonnull(out);
  size_t head = (size_t)(at - bytes), tail = old - head - strlen(from);
  uint64_t length;
  memcpy(out, bytes, head);
  memcpy(out + head, to, strlen(to));
  memcpy(out + head + strlen(to), at + strlen(from), tail);
  *n = head + strlen(to) + tail;
  memcpy(&length, bytes, 8);
  length += strlen(to) - strlen(from);
  memcpy(out, &length, 8);
  free(bytes);
  return out;
}

/* Well-formed files of something else, or of another model. */
START_TEST(files_that_do_not_fit) {
  const char *hash = smft_model_hash(model);
  char other[80];
  snprintf(other, sizeof other, "%s", hash);
  other[5] = other[5] == '0' ? '1' : '0';
  make_bad_directory();
  for (int reader = READ_PATCH; reader < N_READERS; reader++) {
    size_t n;
    char *bytes = edited(good_files[reader], hash, other, &n);
    refused(reader, bytes, n, SMFT_E_MISMATCH, "model");
    free(bytes);
    bytes = test_read(test_file(good_files[reader == READ_PATCH ? READ_COUNTS : READ_PATCH]), &n);
    smft_status status = read_as(reader, bytes, n);
    ck_assert_msg(status == SMFT_E_FORMAT || status == SMFT_E_MISMATCH, "%s",
                  smft_status_name(status));
    said("bad.file");
    free(bytes);
    bytes = test_read(test_file("m/model.safetensors"), &n);
    ck_status(read_as(reader, bytes, n), SMFT_E_FORMAT);
    free(bytes);
  }
  for (int reader = READ_MODEL; reader <= READ_MODEL_COPY; reader++) {
    size_t n;
    char *bytes =
        edited("m/model.safetensors", "\"model.norm.weight\"", "\"model.norms.weight\"", &n);
    smft_status status = read_as(reader, bytes, n);
    ck_assert_msg(status == SMFT_E_MISMATCH || status == SMFT_E_NOT_FOUND, "%s",
                  smft_status_name(status));
    said("model.norm");
    free(bytes);
    bytes = test_read(test_file("saved.patch"), &n);
    status = read_as(reader, bytes, n);
    ck_assert_msg(status == SMFT_E_MISMATCH || status == SMFT_E_NOT_FOUND, "%s",
                  smft_status_name(status));
    free(bytes);
  }
  nothing_lost();
}
END_TEST

/* ---- config.json and tokenizer.json -------------------------------------- */

static const struct change {
  const char *from, *to;
  smft_status status;
  const char *says;
} changes[] = {
    {"\"llama\"", "\"mamba\"", SMFT_E_UNSUPPORTED, "mamba"},
    {"\"model_type\": \"llama\", ", "", SMFT_E_FORMAT, "model_type"},
    {"\"hidden_size\": 32", "\"hidden_size\": 40", SMFT_E_MISMATCH, "40"},
    {"\"hidden_size\": 32", "\"hidden_size\": 2147483648", SMFT_E_FORMAT, "hidden_size"},
    {"\"hidden_size\": 32", "\"hidden_size\": \"32\"", SMFT_E_FORMAT, "hidden_size"},
    {"\"hidden_size\": 32", "\"hidden_size\": 1e400", SMFT_E_FORMAT, "config.json"},
    {"\"vocab_size\": 98", "\"vocab_size\": 99", SMFT_E_MISMATCH, "99"},
    {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", SMFT_E_MISMATCH, "layers.2"},
    {"\"intermediate_size\": 48", "\"intermediate_size\": 64", SMFT_E_MISMATCH, "64"},
    {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", SMFT_E_MISMATCH, "k_proj"},
    {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", SMFT_E_MISMATCH, "lm_head"},
    {"\"n_keys\": 16", "\"n_keys\": 17", SMFT_E_MISMATCH, "memory"},
    {"\"n_keys\": 16", "\"n_keys\": 3000000000", SMFT_E_FORMAT, "n_keys"},
    {"\"value_dim\": 20", "\"value_dim\": 24", SMFT_E_MISMATCH, "24"},
    {"\"layers\": [1]", "\"layers\": [0]", SMFT_E_MISMATCH, "layers.0"},
    {"{\"model_type\"", "<html>{\"model_type\"", SMFT_E_FORMAT, "config.json"},
    {"\"gate\": true", "\"gate\": true, \"gate\": false", SMFT_E_FORMAT, "gate"},
};

START_TEST(configs_that_contradict) {
  struct change c = changes[_i];
  make_bad_directory();
  copy_file("m/model.safetensors", "bad/model.safetensors");
  tiny_config("bad", (tiny){0});
  char *text = test_read(test_file("bad/config.json"), NULL), *at = strstr(text, c.from);
  char changed[4096];
  ck_assert_msg(at != NULL, "no %s", c.from);
  int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, c.to,
                   at + strlen(c.from));
  test_write("bad/config.json", changed, (size_t)n);
  free(text);
  ck_status(load_bad_model(0), c.status);
  said(c.says);
}
END_TEST

START_TEST(json_files_cut_short) {
  static const char *const names[] = {"config.json", "tokenizer.json"};
  make_bad_directory();
  copy_file("m/model.safetensors", "bad/model.safetensors");
  for (int which = 0; which < 2; which++) {
    char name[32], path[32];
    size_t n;
    snprintf(name, sizeof name, "bad/%s", names[which]);
    snprintf(path, sizeof path, "m/%s", names[which]);
    char *bytes = test_read(test_file(path), &n);
    for (size_t cut = 0; cut + 1 < n; cut += cut < 20 ? 1 : n / 40) {
      test_write(name, bytes, cut);
      ck_status(load_bad_model(0), SMFT_E_FORMAT);
      said(names[which]);
    }
    bytes[n / 2] = '\xff';
    test_write(name, bytes, n);
    ck_status(load_bad_model(0), SMFT_E_ENCODING);
    said(names[which]);
    bytes[n / 2] = '\0';
    test_write(name, bytes, n);
    ck_status(load_bad_model(0), SMFT_E_FORMAT);
    copy_file(path, name);
    free(bytes);
  }
  ck_ok(load_bad_model(0));
  remove(test_file("bad/config.json"));
  ck_status(load_bad_model(0), SMFT_E_NOT_FOUND);
  said("config.json");
}
END_TEST

/* ---- tokens, text, context ----------------------------------------------- */

static const int32_t good_ids[] = {5, 6, 7, 8};

START_TEST(token_ids_out_of_range) {
  static const int32_t outside[] = {-1, TINY_VOCAB, INT32_MAX, INT32_MIN};
  float logits[TINY_VOCAB], again[TINY_VOCAB];
  ck_ok(smft_session_feed(session, good_ids, 4, SMFT_LOGITS_LAST, logits, TINY_VOCAB));
  for (int i = 0; i < 4; i++) {
    ck_ok(smft_session_rewind(session, 0));
    ck_ok(smft_session_feed(session, good_ids, 4, SMFT_LOGITS_NONE, NULL, 0));
    int32_t ids[] = {5, 6, outside[i], 8}, out[8];
    int64_t length = 4, n;
    size_t bytes;
    char text[64];
    double mean;
    smft_batch batch = SMFT_BATCH_INIT;
    smft_background background = SMFT_BACKGROUND_INIT;
    smft_ids_wording wording = {sizeof wording, 0, ids, 2, ids + 2, 2};
    batch.ids = background.ids = ids;
    batch.lengths = background.lengths = &length;
    batch.n_sequences = background.n_sequences = 1;
    ck_status(smft_session_feed(session, ids, 4, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_TOKEN);
    ck_assert_int_eq(smft_session_length(session), 4);
    ck_status(smft_session_nll(session, ids, 4, NULL, &mean), SMFT_E_TOKEN);
    ck_status(smft_session_generate_ids(session, ids, 4, NULL, out, 8, &n), SMFT_E_TOKEN);
    ck_status(smft_learner_push_ids(learner, "fact-9", &wording, 1), SMFT_E_TOKEN);
    said("fact-9");
    ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_TOKEN);
    ck_status(smft_selector_count_background(selector, &background), SMFT_E_TOKEN);
    ck_status(smft_tokenizer_decode(smft_model_tokenizer(model), ids, 4, 0, text, sizeof text,
                                    &bytes),
              SMFT_E_TOKEN);
  }
  nothing_lost();
  ck_ok(smft_session_rewind(session, 0));
  ck_ok(smft_session_feed(session, good_ids, 4, SMFT_LOGITS_LAST, again, TINY_VOCAB));
  ck_assert_mem_eq(logits, again, sizeof logits);
}
END_TEST

START_TEST(text_that_is_not_utf8) {
  static const char *const bad[] = {"a\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80",
                                    "\x80"};
  for (int i = 0; i < 6; i++) {
    const char *one[] = {bad[i]}, *two[] = {"x", bad[i]};
    smft_wording wordings[] = {{sizeof *wordings, 0, "a", bad[i], NULL, NULL},
                               {sizeof *wordings, 0, bad[i], "a", NULL, NULL},
                               {sizeof *wordings, 0, "a", "b", bad[i], NULL},
                               {sizeof *wordings, 0, NULL, "a", NULL, bad[i]}};
    smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
    smft_background background = SMFT_BACKGROUND_INIT;
    int32_t ids[16];
    int64_t n;
    char line[200];
    double match, f1;
    ck_status(smft_tokenizer_encode(smft_model_tokenizer(model), bad[i], strlen(bad[i]), 0, ids, 16,
                                    &n),
              SMFT_E_ENCODING);
    ck_status(smft_session_generate(session, bad[i], strlen(bad[i]), NULL, NULL, NULL),
              SMFT_E_ENCODING);
    options.stop = bad[i];
    ck_status(smft_session_generate(session, "a", 1, &options, NULL, NULL), SMFT_E_ENCODING);
    smft_probe_options probing = SMFT_PROBE_OPTIONS_INIT;
    smft_probe *none = probe;
    probing.stop = bad[i];
    ck_status(smft_probe_create(&none, ctx, &probing), SMFT_E_ENCODING);
    ck_assert_ptr_null(none);
    for (int w = 0; w < 3; w++) {
      ck_status(smft_learner_push(learner, "fact-7", &wordings[w], 1), SMFT_E_ENCODING);
      said("fact-7");
    }
    /* the answer may be looked for first */
    smft_status status = smft_learner_push(learner, "fact-7", &wordings[3], 1);
    ck_assert(status == SMFT_E_ENCODING || status == SMFT_E_FACT);
    ck_status(smft_learner_push(learner, bad[i], wordings, 1), SMFT_E_ENCODING);
    ck_status(smft_probe_add_text(probe, "x", bad[i]), SMFT_E_ENCODING);
    ck_status(smft_probe_add_question(probe, "x", bad[i], one, 1), SMFT_E_ENCODING);
    ck_status(smft_probe_add_question(probe, "x", "a", one, 1), SMFT_E_ENCODING);
    ck_status(smft_probe_add_choice(probe, "x", "a", two, 2, 0), SMFT_E_ENCODING);
    ck_status(smft_score_answer(bad[i], two, 1, &match, &f1), SMFT_E_ENCODING);
    ck_status(smft_score_answer("a", two, 2, &match, &f1), SMFT_E_ENCODING);
    background.text_path =
        test_write("bad.txt", line,
                   (size_t)snprintf(line, sizeof line, "good\nfine\n%s\n", bad[i]));
    ck_status(smft_selector_count_background(selector, &background), SMFT_E_ENCODING);
    said("bad.txt:3");
    snprintf(line, sizeof line,
             "{\"id\":\"a\",\"wordings\":[{\"prompt\":\"p\",\"answer\":\"q\"}]}\n{\"id\":\"%s\"}\n",
             bad[i]);
    test_write("bad.jsonl", line, strlen(line));
    ck_assert(smft_learner_push_file(learner, test_file("bad.jsonl"), NULL) != SMFT_OK);
    said("bad.jsonl:2");
  }
  nothing_lost();
}
END_TEST

START_TEST(longer_than_the_context) {
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  smft_session *out = (smft_session *)&options;
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_batch batch = SMFT_BATCH_INIT;
  int32_t ids[65] = {0}, room[8];
  int64_t length = 65, n;
  double mean;
  char text[66];
  memset(text, 'x', sizeof text);
  text[65] = '\0';
  options.context_length = 65;
  ck_status(smft_session_create(&out, model, patch, &options), SMFT_E_CONTEXT);
  ck_assert_ptr_null(out);
  ck_status(smft_session_feed(session, ids, 65, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_CONTEXT);
  said("64");
  ck_ok(smft_session_feed(session, ids, 64, SMFT_LOGITS_NONE, NULL, 0));
  ck_status(smft_session_feed(session, ids, 1, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_CONTEXT);
  ck_assert_int_eq(smft_session_length(session), 64);
  ck_status(smft_session_nll(session, ids, 65, NULL, &mean), SMFT_E_CONTEXT);
  ck_status(smft_session_generate(session, text, 65, NULL, NULL, NULL), SMFT_E_CONTEXT);
  ck_status(smft_session_generate_ids(session, ids, 65, NULL, room, 8, &n), SMFT_E_CONTEXT);
  smft_wording wording = {sizeof wording, 0, text, "x", NULL, NULL};
  ck_status(smft_learner_push(learner, "fact-77", &wording, 1), SMFT_E_CONTEXT);
  said("fact-77");
  smft_ids_wording longer = {sizeof longer, 0, ids, 64, ids, 1};
  ck_status(smft_learner_push_ids(learner, "fact-78", &longer, 1), SMFT_E_CONTEXT);
  said("fact-78");
  batch.ids = ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_CONTEXT);
  background.ids = ids;
  background.lengths = &length;
  background.n_sequences = 1;
  background.tokens_per_sequence = 65;
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_CONTEXT);
  nothing_lost();
}
END_TEST

/* ---- facts and JSONL ----------------------------------------------------- */

START_TEST(facts_that_are_none) {
  static const struct {
    smft_wording wording;
    smft_status status;
  } bad[] = {{{sizeof(smft_wording), 0, "Who?", "", NULL, NULL}, SMFT_E_FACT},
             {{sizeof(smft_wording), 0, "Who?", NULL, NULL, NULL}, SMFT_E_FACT},
             {{sizeof(smft_wording), 0, NULL, "you", NULL, "It was me"}, SMFT_E_FACT},
             {{sizeof(smft_wording), 0, NULL, "", NULL, "It was me"}, SMFT_E_FACT},
             {{sizeof(smft_wording), 0, NULL, "me", NULL, ""}, SMFT_E_FACT},
             {{sizeof(smft_wording), 0, NULL, "x", NULL, NULL}, SMFT_E_INVALID}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    smft_wording two[] = {{sizeof *two, 0, "good", "one", NULL, NULL}, bad[i].wording};
    ck_status(smft_learner_push(learner, "fact-3", two, 2), bad[i].status);
    said("fact-3");
  }
  ck_status(smft_learner_push(learner, "fact-4", &bad[0].wording, 0), SMFT_E_FACT);
  said("fact-4");
  smft_ids_wording none = {sizeof none, 0, good_ids, 2, NULL, 0};
  ck_status(smft_learner_push_ids(learner, "fact-5", &none, 1), SMFT_E_FACT);
  said("fact-5");
  nothing_lost();
}
END_TEST

static const struct line {
  const char *fact, *item; /* of a facts file, of a probe file */
} lines[] = {
    {"{\"id\": \"x\", ", "{\"id\": \"x\", "},
    {"[1]", "[1]"},
    {"{\"id\": \"x\"}", "{\"id\": \"x\"}"},
    {"{\"wordings\": []}", "{\"text\": \"no id\"}"},
    {"{\"id\": 7, \"wordings\": [{\"prompt\": \"p\", \"answer\": \"q\"}]}",
     "{\"id\": 7, \"text\": \"x\"}"},
    {"{\"id\": \"x\", \"wordings\": 5}", "{\"id\": \"x\", \"text\": 5}"},
    {"{\"id\": \"x\", \"wordings\": [{\"prompt\": 5, \"answer\": \"c\"}]}",
     "{\"id\": \"x\", \"question\": \"?\", \"answers\": 5}"},
    {"<html>", "<html>"},
    {"{\"id\": \"x\"} {}", "{\"id\": \"x\"} {}"},
    {"{\"id\": \"a\", \"id\": \"b\", \"wordings\": [{\"prompt\": \"p\", \"answer\": \"q\"}]}",
     "{\"id\": \"a\", \"id\": \"b\", \"text\": \"x\"}"}};

START_TEST(jsonl_errors_name_the_line) {
  char text[1024];
  int64_t n = -1;
  smft_probe_item item = SMFT_PROBE_ITEM_INIT;
  snprintf(text, sizeof text,
           "{\"id\":\"a\",\"wordings\":[{\"prompt\":\"p\",\"answer\":\"q\"}]}\n\n%s\n",
           lines[_i].fact);
  ck_status(smft_learner_push_file(learner, test_write("facts.jsonl", text, strlen(text)), &n),
            SMFT_E_FORMAT);
  said("facts.jsonl:3");
  ck_assert_int_eq(n, 0);
  snprintf(text, sizeof text, "{\"id\":\"a\",\"text\":\"b\"}\n\n%s\n", lines[_i].item);
  ck_status(smft_probe_add_file(probe, test_write("items.jsonl", text, strlen(text)), &n),
            SMFT_E_FORMAT);
  said("items.jsonl:3");
  ck_status(smft_probe_get_item(probe, 2, &item), SMFT_E_NOT_FOUND);
  nothing_lost();
}
END_TEST

START_TEST(text_files_that_are_not_there) {
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_tokenizer *out = (smft_tokenizer *)&background;
  smft_model *none = (smft_model *)&background;
  ck_status(smft_learner_push_file(learner, test_file("nowhere"), NULL), SMFT_E_NOT_FOUND);
  said("nowhere");
  ck_status(smft_probe_add_file(probe, test_file("nowhere"), NULL), SMFT_E_NOT_FOUND);
  background.text_path = test_file("nowhere");
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_NOT_FOUND);
  ck_status(smft_tokenizer_load(&out, ctx, test_file("nowhere")), SMFT_E_NOT_FOUND);
  ck_assert_ptr_null(out);
  ck_status(smft_model_load(&none, ctx, test_file("nowhere"), NULL), SMFT_E_NOT_FOUND);
  ck_assert_ptr_null(none);
  ck_status(smft_model_init(&none, ctx, test_file("nowhere"), 1), SMFT_E_NOT_FOUND);
  mkdir(test_file("folder"), 0700);
  ck_assert(smft_learner_push_file(learner, test_file("folder"), NULL) != SMFT_OK);
  ck_assert(smft_optimizer_load(optimizer, model, test_file("folder")) != SMFT_OK);
  ck_assert(smft_patch_save(patch, test_file("folder"), 0) != SMFT_OK);
  ck_status(smft_patch_save(patch, test_file("no/such/folder"), 0), SMFT_E_NOT_FOUND);
  /* no lines, no facts */
  ck_ok(smft_learner_push_file(learner, test_write("empty.jsonl", "", 0), NULL));
  nothing_lost();
}
END_TEST

/* ---- numbers that are none ----------------------------------------------- */

/* A NaN at an element of the exported file's data. */
static void poison(const char *name, size_t element, float value) {
  size_t n;
  uint64_t header;
  char *bytes = test_read(test_file(name), &n);
  memcpy(&header, bytes, 8);
  memcpy(bytes + 8 + header + 4 * element, &value, 4);
  test_write(name, bytes, n);
  free(bytes);
}

START_TEST(nan_in_weights) {
  smft_model *sick = NULL;
  smft_patch *own = NULL;
  smft_session *talk = NULL;
  smft_learner *learning = NULL;
  float logits[TINY_VOCAB];
  int64_t n = -1, n_ids = 0;
  int32_t ids[TINY_VOCAB], out[8];
  double mean;
  make_bad_directory();
  copy_file("m/model.safetensors", "bad/model.safetensors");
  for (int32_t i = 0; i < 60; i++)
    ids[i] = i + 1;
  /* an element of the first tensor: the embedding's row 5 */
  poison("bad/model.safetensors", 32 * 5, _i ? INFINITY : NAN);
  smft_status status = smft_model_load(&sick, ctx, test_file("bad"), NULL);
  if (status != SMFT_OK) { /* refusing at once would be as good */
    ck_assert_int_eq(status, SMFT_E_NONFINITE);
    return;
  }
  ck_ok(smft_patch_create(&own, sick, SMFT_PATCH_SLOTS));
  ck_ok(smft_session_create(&talk, sick, own, NULL));
  ck_status(smft_session_feed(talk, ids, 60, SMFT_LOGITS_LAST, logits, TINY_VOCAB),
            SMFT_E_NONFINITE);
  ck_assert_int_eq(smft_session_length(talk), 0);
  ck_status(smft_session_nll(talk, ids, 60, NULL, &mean), SMFT_E_NONFINITE);
  ck_status(smft_session_generate_ids(talk, ids, 60, NULL, out, 8, &n_ids), SMFT_E_NONFINITE);
  smft_selector *all = NULL;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.rule = SMFT_RULE_ALL;
  ck_ok(smft_selector_create(&all, sick, &options));
  ck_ok(smft_learner_create(&learning, sick, own, all, NULL, NULL));
  smft_ids_wording wording = {sizeof wording, 0, ids, 50, ids + 50, 2};
  ck_ok(smft_learner_push_ids(learning, "nan", &wording, 1));
  ck_status(smft_step(learning, NULL), SMFT_E_NONFINITE);
  ck_assert_int_eq(smft_learner_pending(learning), 0);
  ck_ok(smft_patch_slots(own, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  smft_learner_free(learning);
  smft_selector_free(all);
  smft_session_free(talk);
  smft_patch_free(own);
  smft_model_free(sick);
}
END_TEST

START_TEST(nan_from_the_host) {
  float row[20] = {0}, weights[4] = {1, 1, NAN, 1};
  int64_t length = 4;
  smft_batch batch = SMFT_BATCH_INIT;
  row[7] = NAN;
  ck_status(smft_patch_set_row(patch, 0, 1, row, 20), SMFT_E_NONFINITE);
  row[7] = -INFINITY;
  ck_status(smft_patch_set_row(patch, 0, 1, row, 20), SMFT_E_NONFINITE);
  batch.ids = good_ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  batch.token_weights = weights;
  smft_status status = smft_learner_step_batch(learner, &batch, NULL);
  ck_assert_msg(status == SMFT_E_NONFINITE || status == SMFT_E_INVALID, "%s",
                smft_status_name(status));
  ck_status(smft_optimizer_set_lr(optimizer, NAN, 0), SMFT_E_INVALID);
  ck_status(smft_optimizer_set_lr(optimizer, -1, 0), SMFT_E_INVALID);
  ck_status(smft_optimizer_set_group(optimizer, "norm", NAN), SMFT_E_INVALID);
  nothing_lost();
}
END_TEST

/* ---- a full disk --------------------------------------------------------- */

static smft_status save_as(int which, const char *path) {
  switch (which) {
  case 0:
    return smft_patch_save(patch, path, 0);
  case 1:
    return smft_selector_save(selector, path);
  case 2:
    return smft_optimizer_save(optimizer, path);
  case 3:
    return smft_probe_save_report(probe, path);
  default:
    return smft_model_export(model, patch, path, NULL);
  }
}

/* A limit on the size of files stands for a full disk: write() fails half-way.  What was there
 * stays, and nothing else is left behind. */
START_TEST(a_full_disk_keeps_the_old_file) {
  struct rlimit before, limit;
  const char *target = _i < 4 ? "disk/file" : "disk";
  const char *old = _i < 4 ? "disk/file" : "disk/model.safetensors";
  signal(SIGXFSZ, SIG_IGN);
  mkdir(test_file("disk"), 0700);
  ck_ok(save_as(_i, test_file(target)));
  copy_file(old, "kept");
  int files = test_count_files(test_file("disk"));
  if (_i < 3) /* something else to save, so that a change would show */
    ck_ok(smft_step(learner, NULL));
  getrlimit(RLIMIT_FSIZE, &before);
  for (rlim_t size = 0; size < 400; size += 90) {
    limit = before;
    limit.rlim_cur = size;
    setrlimit(RLIMIT_FSIZE, &limit);
    smft_status status = save_as(_i, test_file(target));
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_int_eq(status, SMFT_E_IO);
    said("disk");
    same_files(test_file(old), test_file("kept"));
    ck_assert_int_eq(test_count_files(test_file("disk")), files);
  }
  ck_ok(save_as(_i, test_file(target))); /* and with room it works */
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("bad input");
  TCase *tests = tcase_create("bad input");
  test_directory_make();
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, readers_read_what_is_good);
  tcase_add_loop_test(tests, other_files_under_this_name, 0, N_READERS);
  tcase_add_loop_test(tests, truncated_and_over_long, 0, N_READERS);
  tcase_add_loop_test(tests, headers_that_lie, 0, N_READERS);
  tcase_add_test(tests, files_that_do_not_fit);
  tcase_add_loop_test(tests, configs_that_contradict, 0, (int)(sizeof changes / sizeof *changes));
  tcase_add_test(tests, json_files_cut_short);
  tcase_add_test(tests, token_ids_out_of_range);
  tcase_add_test(tests, text_that_is_not_utf8);
  tcase_add_test(tests, longer_than_the_context);
  tcase_add_test(tests, facts_that_are_none);
  tcase_add_loop_test(tests, jsonl_errors_name_the_line, 0, (int)(sizeof lines / sizeof *lines));
  tcase_add_test(tests, text_files_that_are_not_there);
  tcase_add_loop_test(tests, nan_in_weights, 0, 2);
  tcase_add_test(tests, nan_from_the_host);
  tcase_add_loop_test(tests, a_full_disk_keeps_the_old_file, 0, 5);
  suite_add_tcase(suite, tests);
  return suite;
}
