/* bad calls: every function of smft.h with NULL in place of each handle and each pointer that it
 * needs, and every struct with sizes that no version of it ever had.  The list of functions is
 * checked against tests/abi/symbols.txt, so that a new one cannot be forgotten. */
#include <stddef.h>
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

static void setup(void) {
  const char *answers[] = {"x"};
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "m", (tiny){0}, 3);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_session_create(&session, model, patch, NULL));
  selector = tiny_selector(model, 0, 8);
  ck_ok(smft_optimizer_create(&optimizer, ctx, NULL));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, NULL));
  tiny_push(learner, "first", "one");
  ck_ok(smft_probe_create(&probe, ctx, NULL));
  ck_ok(smft_probe_add_question(probe, "q", "Who?", answers, 1));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
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

/* ---- NULL ---------------------------------------------------------------- */

static const char *covered[400];
static int n_covered;

#define INVALID(name, ...)                                                                         \
  (covered[n_covered++] = #name, refuse(name(__VA_ARGS__), #name "(" #__VA_ARGS__ ")"))
#define HARMLESS(name, ...) (covered[n_covered++] = #name, name(__VA_ARGS__))

/* The error is of this call: a message that was there before has been replaced. */
static void refuse(smft_status status, const char *call) {
  ck_assert_msg(status == SMFT_E_INVALID, "%s: %s (%s)", call, smft_status_name(status),
                smft_error_message());
  ck_assert_msg(strstr(smft_error_message(), "NULL") != NULL,
                "%s: the message does not say what is NULL: %s", call, smft_error_message());
  (void)smft_status_meaning(status);
  smft_patch *none;
  (void)smft_patch_create(&none, model, 99); /* another message */
}

static void null_contexts_and_tokenizers(void) {
  const smft_tokenizer *tokenizer = smft_model_tokenizer(model);
  smft_tokenizer *out = NULL;
  int32_t id = 0;
  int64_t n;
  size_t length;
  char text[8];
  INVALID(smft_ctx_create, NULL, NULL);
  INVALID(smft_ctx_memory, NULL, &n, &n);
  INVALID(smft_ctx_memory_reset_peak, NULL);
  INVALID(smft_tokenizer_load, NULL, ctx, "x");
  INVALID(smft_tokenizer_load, &out, NULL, "x");
  INVALID(smft_tokenizer_load, &out, ctx, NULL);
  INVALID(smft_tokenizer_encode, NULL, "a", 1, 0, &id, 1, &n);
  INVALID(smft_tokenizer_encode, tokenizer, NULL, 1, 0, &id, 1, &n);
  INVALID(smft_tokenizer_encode, tokenizer, "a", 1, 0, NULL, 1, &n);
  INVALID(smft_tokenizer_encode, tokenizer, "a", 1, 0, &id, 1, NULL);
  INVALID(smft_tokenizer_decode, NULL, &id, 1, 0, text, 8, &length);
  INVALID(smft_tokenizer_decode, tokenizer, NULL, 1, 0, text, 8, &length);
  INVALID(smft_tokenizer_decode, tokenizer, &id, 1, 0, NULL, 8, &length);
  INVALID(smft_tokenizer_decode, tokenizer, &id, 1, 0, text, 8, NULL);
  INVALID(smft_tokenizer_token_id, NULL, "a", &id);
  INVALID(smft_tokenizer_token_id, tokenizer, NULL, &id);
  INVALID(smft_tokenizer_token_id, tokenizer, "a", NULL);
}

static void null_chats(void) {
  const smft_tokenizer *tokenizer = smft_model_tokenizer(model);
  smft_message message = {"user", "a"}, silent = {"user", NULL}, nobody = {NULL, "a"};
  smft_chat_options options = SMFT_CHAT_OPTIONS_INIT;
  smft_chat_info info = SMFT_CHAT_INFO_INIT;
  int32_t id = 0;
  int64_t n;
  options.renderer = "chatml";
  INVALID(smft_tokenizer_chat, NULL, &message, 1, &options, &id, 0, &n);
  INVALID(smft_tokenizer_chat, tokenizer, NULL, 1, &options, &id, 0, &n);
  INVALID(smft_tokenizer_chat, tokenizer, &silent, 1, &options, &id, 0, &n);
  INVALID(smft_tokenizer_chat, tokenizer, &nobody, 1, &options, &id, 0, &n);
  INVALID(smft_tokenizer_chat, tokenizer, &message, 1, &options, NULL, 1, &n);
  INVALID(smft_tokenizer_chat, tokenizer, &message, 1, &options, &id, -1, &n);
  INVALID(smft_tokenizer_chat, tokenizer, &message, 1, &options, &id, 0, NULL);
  INVALID(smft_tokenizer_chat_info, NULL, &info);
  INVALID(smft_tokenizer_chat_info, tokenizer, NULL);
}

static void null_models(void) {
  int64_t n_ids;
  smft_model *out = NULL;
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  smft_memory_info memory = SMFT_MEMORY_INFO_INIT;
  float value;
  INVALID(smft_model_load, NULL, ctx, "x", NULL);
  INVALID(smft_model_load, &out, NULL, "x", NULL);
  INVALID(smft_model_load, &out, ctx, NULL, NULL);
  INVALID(smft_model_load_buffer, NULL, ctx, "x", 1, NULL);
  INVALID(smft_model_load_buffer, &out, NULL, "x", 1, NULL);
  INVALID(smft_model_load_buffer, &out, ctx, NULL, 1, NULL);
  INVALID(smft_model_load_buffer, &out, ctx, "x", -1, NULL);
  smft_model_inspection inspection = SMFT_MODEL_INSPECTION_INIT;
  INVALID(smft_model_inspect, NULL, "x", &inspection);
  INVALID(smft_model_inspect, ctx, NULL, &inspection);
  INVALID(smft_model_inspect, ctx, "x", NULL);
  INVALID(smft_model_init, NULL, ctx, "x", 0);
  INVALID(smft_model_init, &out, NULL, "x", 0);
  INVALID(smft_model_init, &out, ctx, NULL, 0);
  INVALID(smft_model_export, NULL, patch, "x", NULL);
  INVALID(smft_model_export, model, patch, NULL, NULL);
  INVALID(smft_model_get_info, NULL, &info);
  INVALID(smft_model_get_info, model, NULL);
  INVALID(smft_memory_get_info, NULL, &memory);
  INVALID(smft_memory_get_info, smft_model_memory(model, 0), NULL);
  smft_learn_defaults defaults = SMFT_LEARN_DEFAULTS_INIT;
  INVALID(smft_model_learn_defaults, NULL, &defaults);
  INVALID(smft_model_learn_defaults, model, NULL);
  INVALID(smft_model_pool, NULL, 0, NULL, NULL);
  INVALID(smft_model_stop_ids, NULL, NULL, 0, &n_ids);
  INVALID(smft_model_stop_ids, model, NULL, 0, NULL);
  INVALID(smft_model_stop_ids, model, NULL, 1, &n_ids);
  INVALID(smft_model_tensor, NULL, 0, NULL, NULL, NULL);
  INVALID(smft_model_tensor_values, NULL, NULL, 0, &value, 1);
  INVALID(smft_model_tensor_values, model, NULL, 0, NULL, 1);
}

static void null_patches(void) {
  smft_patch *out = NULL;
  smft_lora_options lora = SMFT_LORA_OPTIONS_INIT;
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  float row[20];
  int64_t n;
  size_t length;
  INVALID(smft_patch_create, NULL, model, SMFT_PATCH_SLOTS);
  INVALID(smft_patch_create, &out, NULL, SMFT_PATCH_SLOTS);
  INVALID(smft_patch_create_lora, NULL, model, NULL);
  INVALID(smft_patch_create_lora, &out, NULL, NULL);
  INVALID(smft_patch_get_lora, NULL, &lora);
  INVALID(smft_patch_get_lora, patch, NULL);
  INVALID(smft_patch_merge, NULL, patch);
  INVALID(smft_patch_merge, &out, NULL);
  INVALID(smft_patch_copy, NULL, patch);
  INVALID(smft_patch_copy, &out, NULL);
  INVALID(smft_patch_load, NULL, model, "x");
  INVALID(smft_patch_load, &out, NULL, "x");
  INVALID(smft_patch_load, &out, model, NULL);
  INVALID(smft_patch_load_buffer, NULL, model, "x", 1);
  INVALID(smft_patch_load_buffer, &out, NULL, "x", 1);
  INVALID(smft_patch_load_buffer, &out, model, NULL, 1);
  INVALID(smft_patch_load_buffer, &out, model, "x", -1);
  INVALID(smft_patch_save, NULL, "x", 0);
  INVALID(smft_patch_save, patch, NULL, 0);
  INVALID(smft_patch_save_buffer, NULL, 0, NULL, 0, &n);
  INVALID(smft_patch_save_buffer, patch, 0, NULL, 0, NULL);
  INVALID(smft_patch_save_buffer, patch, 0, NULL, 1, &n);
  INVALID(smft_patch_save_buffer, patch, 0, row, -1, &n);
  INVALID(smft_patch_clear, NULL);
  INVALID(smft_patch_assign, NULL, patch);
  INVALID(smft_patch_assign, patch, NULL);
  INVALID(smft_patch_slots, NULL, 0, NULL, 0, &n);
  INVALID(smft_patch_slots, patch, 0, NULL, 3, &n);
  INVALID(smft_patch_slots, patch, 0, NULL, 0, NULL);
  INVALID(smft_patch_row, NULL, 0, 0, row, 20);
  INVALID(smft_patch_row, patch, 0, 0, NULL, 20);
  INVALID(smft_patch_set_row, NULL, 0, 0, row, 20);
  INVALID(smft_patch_set_row, patch, 0, 0, NULL, 20);
  INVALID(smft_patch_reset_row, NULL, 0, 0);
  ck_assert_int_eq(HARMLESS(smft_patch_fact_count, NULL), 0);
  INVALID(smft_patch_fact_get, NULL, 0, &info);
  INVALID(smft_patch_fact_get, patch, 0, NULL);
  INVALID(smft_patch_fact_id, NULL, 0, NULL, 0, &length);
  INVALID(smft_patch_fact_id, patch, 0, NULL, 1, &length);
  INVALID(smft_patch_fact_id, patch, 0, NULL, 0, NULL);
  INVALID(smft_patch_fact_rows, NULL, 0, NULL, 0, &n);
  INVALID(smft_patch_fact_rows, patch, 0, NULL, 1, &n);
  INVALID(smft_patch_fact_rows, patch, 0, NULL, 0, NULL);
  INVALID(smft_patch_fact_remove, NULL, 0);
}

static void null_sessions(void) {
  smft_session *out = NULL;
  int32_t ids[] = {1, 2};
  int64_t n;
  float logits[TINY_VOCAB];
  double mean;
  const char *text;
  size_t length;
  INVALID(smft_session_create, NULL, model, patch, NULL);
  INVALID(smft_session_create, &out, NULL, patch, NULL);
  INVALID(smft_session_set_patch, NULL, patch);
  INVALID(smft_session_feed, NULL, ids, 2, SMFT_LOGITS_NONE, NULL, 0);
  INVALID(smft_session_feed, session, NULL, 2, SMFT_LOGITS_NONE, NULL, 0);
  INVALID(smft_session_feed, session, ids, 2, SMFT_LOGITS_LAST, NULL, TINY_VOCAB);
  INVALID(smft_session_rewind, NULL, 0);
  INVALID(smft_session_nll, NULL, ids, 2, NULL, &mean);
  INVALID(smft_session_nll, session, NULL, 2, NULL, &mean);
  INVALID(smft_session_generate, NULL, "a", 1, NULL, &text, &length);
  INVALID(smft_session_generate, session, NULL, 1, NULL, &text, &length);
  INVALID(smft_session_generate_ids, NULL, ids, 2, NULL, ids, 2, &n);
  INVALID(smft_session_generate_ids, session, NULL, 2, NULL, ids, 2, &n);
  INVALID(smft_session_generate_ids, session, ids, 2, NULL, NULL, 2, &n);
  ck_ok(smft_session_nll(session, ids, 2, logits, NULL)); /* one of the two is enough */
}

static void null_selectors_and_optimizers(void) {
  smft_selector *out = NULL;
  smft_optimizer *made = NULL;
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_graft_options graft = SMFT_GRAFT_OPTIONS_INIT;
  int64_t n;
  INVALID(smft_selector_create, NULL, model, NULL);
  INVALID(smft_selector_create, &out, NULL, NULL);
  INVALID(smft_selector_count_background, NULL, &background);
  INVALID(smft_selector_count_background, selector, NULL);
  INVALID(smft_graft, NULL, "x", &graft, NULL);
  INVALID(smft_graft, model, NULL, &graft, NULL);
  INVALID(smft_graft, model, "x", NULL, NULL);
  INVALID(smft_selector_save, NULL, "x");
  INVALID(smft_selector_save, selector, NULL);
  INVALID(smft_selector_load, NULL, "x");
  INVALID(smft_selector_load, selector, NULL);
  INVALID(smft_selector_df, NULL, 0, NULL, 0, &n);
  INVALID(smft_optimizer_create, NULL, ctx, NULL);
  INVALID(smft_optimizer_create, &made, NULL, NULL);
  INVALID(smft_optimizer_set_lr, NULL, 1, 0);
  INVALID(smft_optimizer_set_group, NULL, "x", 1);
  INVALID(smft_optimizer_set_group, optimizer, NULL, 1);
  INVALID(smft_optimizer_reset, NULL);
  INVALID(smft_optimizer_save, NULL, "x");
  INVALID(smft_optimizer_save, optimizer, NULL);
  INVALID(smft_optimizer_load, NULL, model, "x");
  INVALID(smft_optimizer_load, optimizer, NULL, "x");
  INVALID(smft_optimizer_load, optimizer, model, NULL);
}

static void null_wordings(void) {
  smft_wordings *out = NULL, *list = NULL;
  smft_wording_info info = SMFT_WORDING_INFO_INIT;
  ck_ok(smft_wordings_from_qa(&list, model, "Who?", "Me", NULL));
  INVALID(smft_wordings_from_qa, NULL, model, "Who?", "Me", NULL);
  INVALID(smft_wordings_from_qa, &out, NULL, "Who?", "Me", NULL);
  INVALID(smft_wordings_from_qa, &out, model, NULL, "Me", NULL);
  INVALID(smft_wordings_from_qa, &out, model, "Who?", NULL, NULL);
  INVALID(smft_wordings_from_statement, NULL, model, "I am me.", "me", NULL);
  INVALID(smft_wordings_from_statement, &out, NULL, "I am me.", "me", NULL);
  INVALID(smft_wordings_from_statement, &out, model, NULL, "me", NULL);
  INVALID(smft_wordings_from_statement, &out, model, "I am me.", NULL, NULL);
  ck_assert_ptr_null(out);
  INVALID(smft_wordings_get, NULL, 0, &info);
  INVALID(smft_wordings_get, list, 0, NULL);
  ck_status(smft_wordings_get(list, -1, &info), SMFT_E_NOT_FOUND);
  ck_status(smft_wordings_get(list, smft_wordings_count(list), &info), SMFT_E_NOT_FOUND);
  INVALID(smft_learner_push_wordings, NULL, "x", list);
  INVALID(smft_learner_push_wordings, learner, NULL, list);
  INVALID(smft_learner_push_wordings, learner, "x", NULL);
  ck_assert_int_eq(HARMLESS(smft_wordings_count, NULL), 0);
  smft_wordings_free(list);
}

static void null_learners(void) {
  smft_learner *out = NULL;
  smft_wording wording = {sizeof wording, 0, "a", "b", NULL, NULL};
  int32_t ids[] = {1, 2};
  smft_ids_wording of_ids = {sizeof of_ids, 0, ids, 1, ids + 1, 1};
  smft_batch batch = SMFT_BATCH_INIT;
  int64_t n;
  INVALID(smft_learner_create, NULL, model, patch, selector, optimizer, NULL);
  INVALID(smft_learner_create, &out, NULL, patch, selector, optimizer, NULL);
  INVALID(smft_learner_create, &out, model, NULL, selector, optimizer, NULL);
  INVALID(smft_learner_push, NULL, "x", &wording, 1);
  INVALID(smft_learner_push, learner, NULL, &wording, 1);
  INVALID(smft_learner_push, learner, "x", NULL, 1);
  INVALID(smft_learner_push_ids, NULL, "x", &of_ids, 1);
  INVALID(smft_learner_push_ids, learner, NULL, &of_ids, 1);
  INVALID(smft_learner_push_ids, learner, "x", NULL, 1);
  of_ids.prompt = NULL;
  INVALID(smft_learner_push_ids, learner, "x", &of_ids, 1);
  INVALID(smft_learner_push_file, NULL, "x", &n);
  INVALID(smft_learner_push_file, learner, NULL, &n);
  null_wordings();
  INVALID(smft_step, NULL, NULL);
  INVALID(smft_learner_skip, NULL);
  INVALID(smft_learner_set_patch, NULL, patch);
  INVALID(smft_learner_set_patch, learner, NULL);
  INVALID(smft_learner_selected, NULL, NULL, 0, &n);
  INVALID(smft_learner_selected, learner, NULL, 1, &n);
  INVALID(smft_learner_selected, learner, NULL, 0, NULL);
  INVALID(smft_learner_run, NULL, NULL, NULL, NULL);
  INVALID(smft_learner_step_batch, NULL, &batch, NULL);
  INVALID(smft_learner_step_batch, learner, NULL, NULL);
  batch.n_sequences = 1;
  INVALID(smft_learner_step_batch, learner, &batch, NULL);
  ck_assert_int_eq(smft_learner_pending(learner), 1);
}

static void null_probes(void) {
  smft_probe *out = NULL;
  smft_probe_item item = SMFT_PROBE_ITEM_INIT;
  const char *two[] = {"a", "b"}, *hole[] = {"a", NULL};
  double match, f1;
  int64_t n;
  INVALID(smft_probe_create, NULL, ctx, NULL);
  INVALID(smft_probe_create, &out, NULL, NULL);
  INVALID(smft_probe_add_question, NULL, "x", "a", two, 2);
  INVALID(smft_probe_add_question, probe, NULL, "a", two, 2);
  INVALID(smft_probe_add_question, probe, "x", NULL, two, 2);
  INVALID(smft_probe_add_question, probe, "x", "a", NULL, 2);
  INVALID(smft_probe_add_question, probe, "x", "a", hole, 2);
  INVALID(smft_probe_add_text, NULL, "x", "a");
  INVALID(smft_probe_add_text, probe, NULL, "a");
  INVALID(smft_probe_add_text, probe, "x", NULL);
  INVALID(smft_probe_add_choice, NULL, "x", "a", two, 2, 0);
  INVALID(smft_probe_add_choice, probe, NULL, "a", two, 2, 0);
  INVALID(smft_probe_add_choice, probe, "x", NULL, two, 2, 0);
  INVALID(smft_probe_add_choice, probe, "x", "a", NULL, 2, 0);
  INVALID(smft_probe_add_choice, probe, "x", "a", hole, 2, 0);
  INVALID(smft_probe_add_file, NULL, "x", &n);
  INVALID(smft_probe_add_file, probe, NULL, &n);
  INVALID(smft_probe_baseline, NULL, session, NULL, NULL);
  INVALID(smft_probe_baseline, probe, NULL, NULL, NULL);
  INVALID(smft_probe_measure, NULL, session, NULL, NULL, NULL);
  INVALID(smft_probe_measure, probe, NULL, NULL, NULL, NULL);
  INVALID(smft_probe_get_item, NULL, 0, &item);
  INVALID(smft_probe_get_item, probe, 0, NULL);
  INVALID(smft_probe_save_report, NULL, "x");
  INVALID(smft_probe_save_report, probe, NULL);
  INVALID(smft_score_answer, NULL, two, 2, &match, &f1);
  INVALID(smft_score_answer, "a", NULL, 2, &match, &f1);
  INVALID(smft_score_answer, "a", hole, 2, &match, &f1);
}

/* Those that return no status take NULL as "nothing". */
static void harmless(void) {
  HARMLESS(smft_ctx_free, NULL);
  HARMLESS(smft_tokenizer_free, NULL);
  HARMLESS(smft_model_free, NULL);
  HARMLESS(smft_patch_free, NULL);
  HARMLESS(smft_session_free, NULL);
  HARMLESS(smft_session_cancel, NULL);
  HARMLESS(smft_selector_free, NULL);
  HARMLESS(smft_optimizer_free, NULL);
  HARMLESS(smft_wordings_free, NULL);
  HARMLESS(smft_learner_free, NULL);
  HARMLESS(smft_learner_cancel, NULL);
  HARMLESS(smft_probe_free, NULL);
  ck_assert_int_eq(HARMLESS(smft_ctx_n_threads, NULL), 0);
  ck_assert_int_eq(HARMLESS(smft_tokenizer_vocab_size, NULL), 0);
  ck_assert_str_eq(HARMLESS(smft_model_hash, NULL), "");
  ck_assert_ptr_null(HARMLESS(smft_model_base, NULL));
  ck_assert_ptr_null(HARMLESS(smft_model_tokenizer, NULL));
  ck_assert_ptr_null(HARMLESS(smft_model_memory, NULL, 0));
  ck_assert_int_eq(HARMLESS(smft_patch_kind, NULL), 0);
  ck_assert_int_eq(HARMLESS(smft_session_length, NULL), 0);
  ck_assert_int_eq(HARMLESS(smft_session_finish, NULL), SMFT_FINISH_NONE);
  ck_assert_uint_eq(HARMLESS(smft_patch_version, NULL), 0);
  ck_assert_uint_eq(HARMLESS(smft_session_version, NULL), 0);
  ck_assert_int_eq(HARMLESS(smft_learner_pending, NULL), 0);
  ck_assert_str_eq(HARMLESS(smft_status_name, 12345), "E_UNKNOWN");
  ck_assert_ptr_nonnull(HARMLESS(smft_status_meaning, 12345));
  ck_assert_ptr_nonnull(HARMLESS(smft_error_message));
  ck_assert_ptr_nonnull(HARMLESS(smft_version_string));
  ck_assert_uint_eq(HARMLESS(smft_version_number),
                    SMFT_VERSION_MAJOR * 10000 + SMFT_VERSION_MINOR * 100 + SMFT_VERSION_PATCH);
}

static int is_covered(const char *name) {
  for (int i = 0; i < n_covered; i++)
    if (strcmp(covered[i], name) == 0)
      return 1;
  return 0;
}

START_TEST(null_in_every_function) {
  size_t length;
  n_covered = 0;
  null_contexts_and_tokenizers();
  null_chats();
  null_models();
  null_patches();
  null_sessions();
  null_selectors_and_optimizers();
  null_learners();
  null_probes();
  harmless();
  ck_assert_int_lt(n_covered, (int)(sizeof covered / sizeof *covered));
  char *symbols = test_read(test_source("tests/abi/symbols.txt"), &length), *rest = symbols;
  int n = 0;
  for (char *name = strsep(&rest, "\n"); name; name = strsep(&rest, "\n"))
    if (name[0] && name[0] != '#') {
      ck_assert_msg(is_covered(name), "no call of %s with NULL is tested", name);
      n++;
    }
  ck_assert_int_gt(n, 80);
  free(symbols);
}
END_TEST

/* ---- struct_size --------------------------------------------------------- */

static smft_status use_ctx(void *block) {
  smft_ctx *out = (smft_ctx *)block;
  smft_status status = smft_ctx_create(&out, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_ctx_free(out);
  return status;
}
static smft_status use_load(void *block) {
  smft_model *out = (smft_model *)block;
  smft_status status = smft_model_load(&out, ctx, test_file("exported"), block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_model_free(out);
  return status;
}
static smft_status use_export(void *block) {
  return smft_model_export(model, NULL, test_file("exported"), block);
}
static smft_status use_model_info(void *block) { return smft_model_get_info(model, block); }
static smft_status use_memory_info(void *block) {
  return smft_memory_get_info(smft_model_memory(model, 0), block);
}
static smft_status use_learn_defaults(void *block) {
  return smft_model_learn_defaults(model, block);
}
static smft_status use_chat(void *block) {
  smft_message message = {"user", "Who?"};
  int64_t n = 0;
  return smft_tokenizer_chat(smft_model_tokenizer(model), &message, 1, block, NULL, 0, &n);
}
static smft_status use_session(void *block) {
  smft_session *out = (smft_session *)block;
  smft_status status = smft_session_create(&out, model, patch, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_session_free(out);
  return status;
}
static smft_status use_generate(void *block) {
  return smft_session_generate(session, "a", 1, block, NULL, NULL);
}
static smft_status use_generate_ids(void *block) {
  int32_t id = 5, out;
  int64_t n;
  return smft_session_generate_ids(session, &id, 1, block, &out, 1, &n);
}
static smft_status use_selector(void *block) {
  smft_selector *out = (smft_selector *)block;
  smft_status status = smft_selector_create(&out, model, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_selector_free(out);
  return status;
}
static const int32_t some_ids[] = {5, 6, 7};
static const int64_t some_length = 3;
static smft_status use_background(void *block) {
  smft_background *b = block;
  b->ids = some_ids;
  b->lengths = &some_length;
  b->n_sequences = 1;
  return smft_selector_count_background(selector, b);
}
static smft_status use_graft(smft_graft_options *options, smft_graft_report *report) {
  smft_background source = SMFT_BACKGROUND_INIT;
  const smft_background *sources[] = {&source};
  int32_t ids[40];
  const int64_t length = 40;
  for (int32_t i = 0; i < 40; i++)
    ids[i] = i;
  source.ids = ids;
  source.lengths = &length;
  source.n_sequences = 1;
  options->sources = sources;
  options->n_sources = 1;
  options->n_keys = 4;
  options->rank = options->key_dim = 4;
  smft_model *plain = tiny_plain(ctx, "plain", 3, 3);
  smft_status status = smft_graft(plain, test_file("graft"), options, report);
  smft_model_free(plain);
  return status;
}
static smft_status use_graft_options(void *block) { return use_graft(block, NULL); }
static smft_status use_graft_report(void *block) {
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  return use_graft(&options, block);
}
static smft_status use_optimizer(void *block) {
  smft_optimizer *out = (smft_optimizer *)block;
  smft_status status = smft_optimizer_create(&out, ctx, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_optimizer_free(out);
  return status;
}
static smft_status use_lora(void *block) {
  smft_patch *out = (smft_patch *)block;
  smft_status status = smft_patch_create_lora(&out, model, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_patch_free(out);
  return status;
}
static smft_status use_lora_report(void *block) {
  smft_patch *lora = NULL;
  ck_ok(smft_patch_create(&lora, model, SMFT_PATCH_LORA));
  smft_status status = smft_patch_get_lora(lora, block);
  smft_patch_free(lora);
  return status;
}
static smft_status use_fact_info(void *block) {
  smft_patch *taught = tiny_taught(ctx, model);
  smft_status status = smft_patch_fact_get(taught, 0, block);
  smft_patch_free(taught);
  return status;
}
static smft_status use_learner(void *block) {
  smft_learner *out = (smft_learner *)block;
  smft_status status = smft_learner_create(&out, model, patch, selector, optimizer, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_learner_free(out);
  return status;
}
static smft_status use_wording(void *block) {
  smft_wording *w = block;
  w->prompt = "a";
  w->answer = "b";
  return smft_learner_push(learner, "x", w, 1);
}
static smft_status use_ids_wording(void *block) {
  smft_ids_wording *w = block;
  w->prompt = some_ids;
  w->n_prompt = 2;
  w->answer = some_ids + 2;
  w->n_answer = 1;
  return smft_learner_push_ids(learner, "x", w, 1);
}
static smft_status use_wordings(void *block) {
  smft_wordings *out = (smft_wordings *)block;
  smft_status status = smft_wordings_from_qa(&out, model, "Who?", "Me", block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_wordings_free(out);
  return status;
}
static smft_status use_wording_info(void *block) {
  smft_wordings *list = NULL;
  ck_ok(smft_wordings_from_qa(&list, model, "Who?", "Me", NULL));
  smft_status status = smft_wordings_get(list, 0, block);
  smft_wordings_free(list);
  return status;
}
static smft_status use_report(void *block) { return smft_step(learner, block); }
static smft_status use_run_report(void *block) {
  return smft_learner_run(learner, NULL, NULL, block);
}
static smft_status use_batch(void *block) {
  smft_batch *b = block;
  b->ids = some_ids;
  b->lengths = &some_length;
  b->n_sequences = 1;
  return smft_learner_step_batch(learner, b, NULL);
}
static smft_status use_batch_report(void *block) {
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = some_ids;
  batch.lengths = &some_length;
  batch.n_sequences = 1;
  return smft_learner_step_batch(learner, &batch, block);
}
static smft_status use_probe(void *block) {
  smft_probe *out = (smft_probe *)block;
  smft_status status = smft_probe_create(&out, ctx, block);
  ck_assert((status == SMFT_OK) == (out != NULL));
  smft_probe_free(out);
  return status;
}
static smft_status use_probe_report(void *block) {
  return smft_probe_measure(probe, session, NULL, NULL, block);
}
static smft_status use_probe_item(void *block) { return smft_probe_get_item(probe, 0, block); }

static const struct sized {
  const char *name;
  size_t size;
  int report; /* written, not read */
  smft_status (*use)(void *block);
  size_t first; /* size in the version that first had it; 0: as now */
} structs[] = {
    {"smft_ctx_options", sizeof(smft_ctx_options), 0, use_ctx, 0},
    {"smft_load_options", sizeof(smft_load_options), 0, use_load, 0},
    {"smft_export_options", sizeof(smft_export_options), 0, use_export,
     offsetof(smft_export_options, format)},
    {"smft_model_info", sizeof(smft_model_info), 1, use_model_info, 0},
    {"smft_memory_info", sizeof(smft_memory_info), 1, use_memory_info, 0},
    {"smft_learn_defaults", sizeof(smft_learn_defaults), 1, use_learn_defaults, 0},
    {"smft_session_options", sizeof(smft_session_options), 0, use_session,
     offsetof(smft_session_options, flags)},
    {"smft_generate_options", sizeof(smft_generate_options), 0, use_generate,
     offsetof(smft_generate_options, max_seconds)},
    {"smft_generate_options", sizeof(smft_generate_options), 0, use_generate_ids,
     offsetof(smft_generate_options, max_seconds)},
    {"smft_selector_options", sizeof(smft_selector_options), 0, use_selector,
     offsetof(smft_selector_options, damping)},
    {"smft_background", sizeof(smft_background), 0, use_background,
     offsetof(smft_background, texts)},
    {"smft_graft_options", sizeof(smft_graft_options), 0, use_graft_options, 0},
    {"smft_graft_report", sizeof(smft_graft_report), 1, use_graft_report, 0},
    {"smft_optimizer_options", sizeof(smft_optimizer_options), 0, use_optimizer,
     offsetof(smft_optimizer_options, warmup_steps)},
    {"smft_lora_options", sizeof(smft_lora_options), 0, use_lora, 0},
    {"smft_lora_options", sizeof(smft_lora_options), 1, use_lora_report, 0},
    {"smft_fact_info", sizeof(smft_fact_info), 1, use_fact_info, 0},
    {"smft_learner_options", sizeof(smft_learner_options), 0, use_learner,
     offsetof(smft_learner_options, max_seconds)},
    {"smft_wording", sizeof(smft_wording), 0, use_wording, 0},
    {"smft_ids_wording", sizeof(smft_ids_wording), 0, use_ids_wording, 0},
    {"smft_wordings_options", sizeof(smft_wordings_options), 0, use_wordings, 0},
    {"smft_wording_info", sizeof(smft_wording_info), 1, use_wording_info, 0},
    {"smft_report", sizeof(smft_report), 1, use_report, offsetof(smft_report, reason)},
    {"smft_run_report", sizeof(smft_run_report), 1, use_run_report,
     offsetof(smft_run_report, facts_rolled_back)},
    {"smft_batch", sizeof(smft_batch), 0, use_batch, 0},
    {"smft_report", sizeof(smft_report), 1, use_batch_report, offsetof(smft_report, reason)},
    {"smft_probe_options", sizeof(smft_probe_options), 0, use_probe,
     offsetof(smft_probe_options, flags)},
    {"smft_probe_report", sizeof(smft_probe_report), 1, use_probe_report, 0},
    {"smft_probe_item", sizeof(smft_probe_item), 1, use_probe_item, 0},
};

static int64_t changed_rows(void) {
  int64_t n = -1;
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  return n;
}

/* A struct of `size` bytes whose bytes past the known ones are `tail`, at the very end of a heap
 * block: a sanitizer sees reads beyond. */
static smft_status use_sized(const struct sized *s, uint32_t size, size_t room,
                             unsigned char tail) {
  unsigned char *block = calloc(1, room), *wanted;
  ck_assert_ptr_nonnull(block);
  if (room > s->size)
    memset(block + s->size, tail, room - s->size);
  memcpy(block, &size, sizeof size);
  smft_status status = s->use(block);
  wanted = malloc(room);
  ck_assert_ptr_nonnull(wanted);
  memset(wanted, tail, room);
  ck_assert_msg(room <= s->size || memcmp(block + s->size, wanted, room - s->size) == 0,
                "%s: written past its known end", s->name);
  ck_assert_mem_eq(block, &size, sizeof size);
  free(wanted);
  free(block);
  return status;
}

START_TEST(sizes_that_no_version_had) {
  const struct sized *s = &structs[_i];
  const uint32_t first = (uint32_t)(s->first ? s->first : s->size);
  const uint32_t wrong[] = {0, 1, 3, 4, 8, first - 1, first - 4, 4097, INT32_MAX, UINT32_MAX};
  mkdir(test_file("exported"), 0700);
  ck_ok(smft_model_export(model, NULL, test_file("exported"), NULL));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    if (wrong[i] == s->size || wrong[i] == first)
      continue;
    smft_status status = use_sized(s, wrong[i], s->size, 0);
    ck_assert_msg(status == SMFT_E_STRUCT_SIZE, "%s of %u bytes: %s (%s)", s->name, wrong[i],
                  smft_status_name(status), smft_error_message());
    ck_assert_msg(strstr(smft_error_message(), s->name) != NULL, "not named: %s",
                  smft_error_message());
    ck_assert_int_eq(changed_rows(), 0); /* before anything is done */
    ck_assert_int_eq(smft_learner_pending(learner), 1);
  }
}
END_TEST

/* A host compiled against the header that first had the struct. */
START_TEST(sizes_of_the_first_version) {
  const struct sized *s = &structs[_i];
  uint32_t first = (uint32_t)(s->first ? s->first : s->size);
  ck_ok(smft_model_export(model, NULL, test_file("exported"), NULL));
  ck_ok(use_sized(s, first, first < s->size ? first : s->size, 0));
}
END_TEST

/* A host compiled against a later header: what is zero in the new fields is fine, what is set is
 * refused; reports leave the rest alone. */
START_TEST(sizes_of_a_later_version) {
  const struct sized *s = &structs[_i];
  const uint32_t later = (uint32_t)s->size + 16;
  ck_ok(smft_model_export(model, NULL, test_file("exported"), NULL));
  if (!s->report) {
    smft_status status = use_sized(s, later, later, 0x11);
    ck_assert_msg(status == SMFT_E_UNSUPPORTED, "%s: %s (%s)", s->name, smft_status_name(status),
                  smft_error_message());
    ck_assert_int_eq(changed_rows(), 0);
  }
  ck_ok(use_sized(s, later, later, s->report ? 0x11 : 0));
}
END_TEST

static const struct kept_free {
  const char *name;
  size_t size, reserved; /* where the field is */
  smft_status (*use)(void *block);
} kept_free[] = {
    {"smft_ctx_options", sizeof(smft_ctx_options), offsetof(smft_ctx_options, reserved), use_ctx},
    {"smft_chat_options", sizeof(smft_chat_options), offsetof(smft_chat_options, reserved),
     use_chat},
    {"smft_export_options", sizeof(smft_export_options), offsetof(smft_export_options, reserved),
     use_export},
    {"smft_session_options", sizeof(smft_session_options), offsetof(smft_session_options, reserved),
     use_session},
    {"smft_selector_options", sizeof(smft_selector_options),
     offsetof(smft_selector_options, reserved), use_selector},
    {"smft_optimizer_options", sizeof(smft_optimizer_options),
     offsetof(smft_optimizer_options, reserved), use_optimizer},
    {"smft_ids_wording", sizeof(smft_ids_wording), offsetof(smft_ids_wording, reserved),
     use_ids_wording},
    {"smft_batch", sizeof(smft_batch), offsetof(smft_batch, reserved), use_batch},
    {"smft_probe_options", sizeof(smft_probe_options), offsetof(smft_probe_options, reserved),
     use_probe},
};

/* What a later version may give a meaning is refused by this one. */
START_TEST(reserved_fields_are_zero) {
  const struct kept_free *s = &kept_free[_i];
  uint32_t size = (uint32_t)s->size, one = 1;
  unsigned char *block = calloc(1, s->size);
  ck_assert_ptr_nonnull(block);
  memcpy(block, &size, sizeof size);
  memcpy(block + s->reserved, &one, sizeof one);
  ck_status(s->use(block), SMFT_E_INVALID);
  ck_assert_msg(strstr(smft_error_message(), s->name) && strstr(smft_error_message(), "reserved"),
                "not named: %s", smft_error_message());
  ck_assert_int_eq(changed_rows(), 0);
  free(block);
}
END_TEST

/* ---- values outside their range ------------------------------------------ */

static void wordings_out_of_range(void) {
  smft_wordings_options options = SMFT_WORDINGS_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_chat_options chat = SMFT_CHAT_OPTIONS_INIT;
  smft_wordings *list = NULL;
  smft_learner *out = learner;
  options.flags = 8;
  ck_status(smft_wordings_from_qa(&list, model, "Who?", "Me", &options), SMFT_E_INVALID);
  options.flags = 0;
  options.limit = -1;
  ck_status(smft_wordings_from_qa(&list, model, "Who?", "Me", &options), SMFT_E_INVALID);
  options.limit = 0;
  options.subject = "\xff";
  ck_status(smft_wordings_from_qa(&list, model, "Who?", "Me", &options), SMFT_E_ENCODING);
  options.subject = NULL;
  options.chat = &chat;
  chat.renderer = "latin";
  ck_status(smft_wordings_from_qa(&list, model, "Who?", "Me", &options), SMFT_E_NOT_FOUND);
  ck_assert_ptr_null(list);
  learning.flags = SMFT_LEARNER_FRAMES | SMFT_LEARNER_NO_FRAMES;
  ck_status(smft_learner_create(&out, model, patch, selector, optimizer, &learning),
            SMFT_E_INVALID);
  ck_assert_ptr_null(out);
}

START_TEST(numbers_out_of_range) {
  smft_patch *out = patch;
  float row[20] = {0};
  int64_t slots[4], n = 0;
  int32_t ids[] = {5, 6, 7};
  float logits[TINY_VOCAB];
  const char *two[] = {"a", "b"};
  ck_status(smft_patch_create(&out, model, 0), SMFT_E_INVALID);
  ck_assert_ptr_null(out);
  ck_status(smft_patch_create(&out, model, SMFT_PATCH_LORA + 1), SMFT_E_INVALID);
  ck_status(smft_patch_save(patch, test_file("x"), 77), SMFT_E_INVALID);
  ck_assert(smft_patch_row(patch, -1, 0, row, 20) < 0 && smft_patch_row(patch, 1, 0, row, 20) < 0);
  ck_assert(smft_patch_row(patch, 0, -1, row, 20) < 0 &&
            smft_patch_row(patch, 0, 256, row, 20) < 0);
  ck_assert(smft_patch_row(patch, 0, 0, row, 19) < 0 &&
            smft_patch_set_row(patch, 0, 0, row, 21) < 0);
  ck_assert(smft_patch_set_row(patch, 0, INT64_MAX, row, 20) < 0 &&
            smft_patch_reset_row(patch, 0, INT64_MIN) < 0);
  ck_assert(smft_patch_slots(patch, 7, slots, 4, &n) < 0 &&
            smft_patch_slots(patch, 0, slots, -1, &n) < 0);
  ck_assert(smft_session_feed(session, ids, -1, 0, NULL, 0) < 0 &&
            smft_session_feed(session, ids, 3, 9, logits, TINY_VOCAB) < 0);
  ck_status(smft_session_feed(session, ids, 3, SMFT_LOGITS_ALL, logits, TINY_VOCAB), SMFT_E_BUFFER);
  ck_assert(smft_session_feed(session, ids, INT64_MAX, 0, NULL, 0) < 0 &&
            smft_session_nll(session, ids, INT64_MIN, NULL, NULL) < 0);
  ck_assert(smft_session_rewind(session, -1) < 0 && smft_session_rewind(session, 1) < 0);
  ck_assert(smft_tokenizer_encode(smft_model_tokenizer(model), "a", 1, 1u << 30, ids, 3, &n) < 0);
  ck_assert(smft_tokenizer_encode(smft_model_tokenizer(model), "a", 1, 0, ids, -1, &n) < 0);
  ck_assert(smft_learner_push_ids(learner, "x", NULL, -1) < 0 &&
            smft_learner_push(learner, "x", NULL, -1) < 0);
  ck_assert(smft_probe_add_question(probe, "x", "y", two, -1) < 0 &&
            smft_probe_add_choice(probe, "x", "y", two, 2, -1) < 0);
  ck_assert(smft_selector_df(selector, 3, NULL, 0, &n) < 0);
  wordings_out_of_range();
  ck_assert_int_eq(changed_rows(), 0);
  ck_assert_int_eq(smft_session_length(session), 0);
  ck_assert_int_eq(smft_learner_pending(learner), 1);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("bad calls");
  TCase *tests = tcase_create("bad calls");
  const int n = (int)(sizeof structs / sizeof *structs);
  test_directory_make();
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, null_in_every_function);
  tcase_add_loop_test(tests, sizes_that_no_version_had, 0, n);
  tcase_add_loop_test(tests, sizes_of_the_first_version, 0, n);
  tcase_add_loop_test(tests, sizes_of_a_later_version, 0, n);
  tcase_add_loop_test(tests, reserved_fields_are_zero, 0, sizeof kept_free / sizeof *kept_free);
  tcase_add_test(tests, numbers_out_of_range);
  suite_add_tcase(suite, tests);
  return suite;
}
