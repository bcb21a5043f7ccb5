/* stories: a really trained model (stories260K): likelihood, logits and greedy text against what is
 * known of it; one token at a time and all at once. */
#include "test.h"
#include <jansson.h>

#define MODEL "models/stories260K"

typedef struct world {
  json_t *reference;
  smft_ctx *ctx;
  smft_model *model;
  smft_session *session;
  int32_t ids[512];
  int64_t n, vocab;
} world;

static world open_world(uint32_t load_flags) {
  world w = {0};
  json_error_t error;
  smft_load_options options = SMFT_LOAD_OPTIONS_INIT;
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  options.flags = load_flags;
  w.reference = json_load_file(test_shared(MODEL "/torch_reference.json"), 0, &error);
  ck_assert_ptr_nonnull(w.reference);
  const json_t *ids = json_object_get(w.reference, "ids");
  w.n = (int64_t)json_array_size(ids);
  for (int64_t i = 0; i < w.n; i++)
    w.ids[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
  ck_ok(smft_ctx_create(&w.ctx, NULL));
  ck_ok(smft_model_load(&w.model, w.ctx, test_shared(MODEL), &options));
  ck_ok(smft_model_get_info(w.model, &info));
  w.vocab = info.vocab_size;
  ck_ok(smft_session_create(&w.session, w.model, NULL, NULL));
  return w;
}

static void close_world(world *w) {
  json_decref(w->reference);
  smft_ctx_free(w->ctx); /* any order of frees */
  smft_model_free(w->model);
  smft_session_free(w->session);
}

START_TEST(likelihood) {
  world w = open_world(_i ? SMFT_LOAD_COPY : 0);
  double mean = 0, sum = 0;
  float nll[512];
  ck_ok(smft_session_nll(w.session, w.ids, w.n, nll, &mean));
  ck_assert_double_eq_tol(mean, json_number_value(json_object_get(w.reference, "mean_nll")), 1e-5);
  for (int64_t i = 0; i < w.n - 1; i++)
    sum += (double)nll[i];
  ck_assert_double_eq_tol(sum / (double)(w.n - 1), mean, 1e-9);
  ck_assert_int_eq(smft_session_length(w.session), 0);
  close_world(&w);
}
END_TEST

START_TEST(last_logits) {
  world w = open_world(0);
  float *logits = malloc((size_t)w.vocab * sizeof *logits);
  const json_t *wanted = json_object_get(w.reference, "logits_last_first8");
  ck_ok(smft_session_feed(w.session, w.ids, w.n, SMFT_LOGITS_LAST, logits, w.vocab));
  for (int i = 0; i < 8; i++)
    ck_assert_double_eq_tol((double)logits[i], json_number_value(json_array_get(wanted, (size_t)i)),
                            2e-4);
  free(logits);
  close_world(&w);
}
END_TEST

START_TEST(one_by_one_and_all_at_once) {
  world w = open_world(0);
  size_t size = (size_t)(w.n * w.vocab);
  float *all = malloc(size * sizeof *all), *single = malloc(size * sizeof *single);
  float *pieces = malloc(size * sizeof *pieces);
  ck_ok(smft_session_feed(w.session, w.ids, w.n, SMFT_LOGITS_ALL, all, (int64_t)size));
  ck_ok(smft_session_rewind(w.session, 0));
  for (int64_t i = 0; i < w.n; i++)
    ck_ok(smft_session_feed(w.session, w.ids + i, 1, SMFT_LOGITS_LAST, single + i * w.vocab,
                            w.vocab));
  ck_ok(smft_session_rewind(w.session, 0));
  for (int64_t i = 0; i < w.n; i += 37)
    ck_ok(smft_session_feed(w.session, w.ids + i, i + 37 < w.n ? 37 : w.n - i, SMFT_LOGITS_ALL,
                            pieces + i * w.vocab, 37 * w.vocab));
  for (size_t i = 0; i < size; i++) {
    ck_assert_double_eq_tol((double)single[i], (double)all[i], 1e-4);
    ck_assert_double_eq_tol((double)pieces[i], (double)all[i], 1e-4);
  }
  free(all);
  free(single);
  free(pieces);
  close_world(&w);
}
END_TEST

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  char *text = calloc(1, 65536);
  ck_assert_ptr_nonnull(file);
  ck_assert(fread(text, 1, 65535, file) > 0);
  fclose(file);
  return text;
}

static char seen[65536];

static int32_t collect(void *user, int32_t id, const char *text, size_t length) {
  (void)id;
  size_t *used = user;
  memcpy(seen + *used, text, length);
  *used += length;
  return 0;
}

START_TEST(greedy_text) {
  world w = open_world(0);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  size_t length = 0, used = 0;
  char *wanted = read_text(test_shared(MODEL "/greedy_t0_expected.txt"));
  size_t n = strlen(wanted);
  while (n > 0 && wanted[n - 1] == '\n')
    wanted[--n] = '\0'; /* the file's own newline */
  options.max_tokens = 300;
  options.on_token = collect;
  options.user = &used;
  ck_ok(smft_session_generate(w.session, "", 0, &options, &text, &length));
  ck_assert_uint_eq(length, strlen(text));
  ck_assert_msg(length >= n && strncmp(text, wanted, n) == 0, "got: %s", text);
  ck_assert_uint_eq(used, length);
  ck_assert_mem_eq(seen, text, length);
  free(wanted);
  close_world(&w);
}
END_TEST

START_TEST(text_goes_on) {
  world w = open_world(0);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  size_t length = 0;
  char whole[2048];
  options.max_tokens = 40;
  ck_ok(smft_session_generate(w.session, "Once upon a time", 16, &options, &text, &length));
  ck_assert_int_eq(text[0], ','); /* no space of a new text */
  snprintf(whole, sizeof whole, "%s", text);
  options.max_tokens = 15;
  ck_ok(smft_session_generate(w.session, "Once upon a time", 16, &options, &text, &length));
  char first[1024];
  snprintf(first, sizeof first, "%s", text);
  options.max_tokens = 25;
  options.flags = SMFT_GENERATE_CONTINUE;
  ck_ok(smft_session_generate(w.session, NULL, 0, &options, &text, &length));
  ck_assert_int_eq(strncmp(whole, first, strlen(first)), 0);
  ck_assert_str_eq(whole + strlen(first), text);
  close_world(&w);
}
END_TEST

START_TEST(stop_string) {
  world w = open_world(0);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  size_t length = 0, used = 0;
  options.max_tokens = 100;
  options.stop = "named Li"; /* ends inside a word, over several tokens */
  options.on_token = collect;
  options.user = &used;
  ck_ok(smft_session_generate(w.session, "", 0, &options, &text, &length));
  ck_assert_str_eq(text, "Once upon a time, there was a little girl ");
  ck_assert_uint_eq(used, length);
  ck_assert_mem_eq(seen, text, length);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  test_need_shared(MODEL "/model.safetensors");
  Suite *suite = suite_create("golden stories");
  TCase *tests = tcase_create("stories");
  tcase_add_loop_test(tests, likelihood, 0, 2);
  tcase_add_test(tests, last_logits);
  tcase_add_test(tests, one_by_one_and_all_at_once);
  tcase_add_test(tests, greedy_text);
  tcase_add_test(tests, text_goes_on);
  tcase_add_test(tests, stop_string);
  suite_add_tcase(suite, tests);
  return suite;
}
