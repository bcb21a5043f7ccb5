/* grafted: a memory in a model that stands elsewhere: the base to the last bit until a row is
 * learnt, rows of a pool that is nowhere as rows of a table that is, what is exported and merged,
 * and every way in which such a directory is wrong. */
#include "grafted.h"

static smft_ctx *ctx;
static int64_t room; /* that the context keeps for kernels once it had a model */

static void set_up(void) {
  smft_model *model = NULL;
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft_model_load(&model, ctx, test_source("tests/golden/network_llama3"), NULL));
  smft_model_free(model);
  ck_ok(smft_ctx_memory(ctx, &room, NULL));
}

static void tear_down(void) {
  int64_t now = 0;
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  ck_assert_int_eq(now, room); /* nothing was left behind */
  smft_ctx_free(ctx);
}

enum { TOKENS = 20, MOST = 20 * 128 };

/* ---- what a model says --------------------------------------------------- */

typedef struct answers {
  float logits[MOST]; /* of all tokens at once */
  float each[MOST];   /* one after another */
  float nll[TOKENS];
  int32_t vocab;
} answers;

static void ask(const smft_model *model, smft_patch *patch, answers *a) {
  smft_session *session = NULL;
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  int32_t ids[TOKENS];
  memset(a, 0, sizeof *a);
  ck_ok(smft_model_get_info(model, &info));
  a->vocab = info.vocab_size;
  ck_assert_int_le(TOKENS * info.vocab_size, MOST);
  for (int i = 0; i < TOKENS; i++)
    ids[i] = (i * 7 + 3) % info.vocab_size;
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, TOKENS, SMFT_LOGITS_ALL, a->logits, MOST));
  ck_ok(smft_session_rewind(session, 0));
  for (int i = 0; i < TOKENS; i++)
    ck_ok(smft_session_feed(session, ids + i, 1, SMFT_LOGITS_LAST, a->each + i * a->vocab, MOST));
  ck_ok(smft_session_nll(session, ids, TOKENS, a->nll, NULL));
  smft_session_free(session);
}

static int same(const answers *a, const answers *b) { return memcmp(a, b, sizeof *a) == 0; }

static double apart(const answers *a, const answers *b) {
  double most = 0;
  for (int i = 0; i < TOKENS * a->vocab; i++)
    most = fmax(most, fabs((double)a->logits[i] - (double)b->logits[i]));
  return most;
}

static smft_patch *slots_patch(const smft_model *model) {
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  return patch;
}

/* Every `step`-th row of both pools: numbers of this size. */
static void set_rows(const smft_model *model, smft_patch *patch, int64_t step, double size) {
  smft__rng rng;
  float row[256];
  smft__rng_seed(&rng, 3);
  for (int32_t pool = 0; pool < 2; pool++) {
    int64_t slots = 0, dim = 0;
    ck_ok(smft_model_pool(model, pool, &slots, &dim));
    for (int64_t slot = 0; slot < slots; slot += step) {
      for (int64_t i = 0; i < dim; i++)
        row[i] = (float)(size * smft__rng_normal(&rng));
      ck_ok(smft_patch_set_row(patch, pool, slot, row, dim));
    }
  }
}

/* ---- the base to the last bit -------------------------------------------- */

static const char *const bases[] = {
    "tests/golden/network_llama3",   "tests/golden/network_qwen3",
    "tests/golden/network_gemma3",   "tests/golden/network_mistral",
    "tests/golden/network_smollm3",  "tests/golden/gguf_llama3.gguf",
    "tests/golden/gguf_qwen3.gguf",  "tests/golden/gguf_gemma3.gguf",
    "tests/golden/gguf_mistral.gguf"};
enum { N_BASES = sizeof bases / sizeof *bases };

START_TEST(is_its_base) {
  smft_model *base = NULL;
  static answers plain, own, run;
  const char *path = test_source(bases[_i]);
  ck_ok(smft_model_load(&base, ctx, path, NULL));
  smft_model *model = grafted_model(ctx, "graft", path, 0, "");
  smft_patch *patch = slots_patch(model);
  ask(base, NULL, &plain);
  ask(model, NULL, &own);
  ck_assert_msg(same(&plain, &own), "%s", bases[_i]);
  ask(model, patch, &own);
  ck_assert_msg(same(&plain, &own), "%s, with a patch", bases[_i]);
  set_rows(model, patch, 1, 0); /* so that the memories run */
  ask(model, patch, &run);
  ck_assert_msg(same(&plain, &run), "%s, with rows of zeros", bases[_i]);
  set_rows(model, patch, 5, 1);
  ask(model, patch, &run);
  ck_assert_msg(apart(&plain, &run) > 1e-3, "%s: rows change nothing", bases[_i]);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_model_free(base);
}
END_TEST

/* What is not the memory's is the base's. */
START_TEST(describes_itself) {
  const char *path = grafted_base(ctx, "base", 1);
  char text[64] = "a b";
  smft_model *base = NULL;
  int32_t ids[2][8];
  int64_t n[2] = {0, 0};
  smft_model_info info[2] = {SMFT_MODEL_INFO_INIT, SMFT_MODEL_INFO_INIT};
  smft_memory_info memory = SMFT_MEMORY_INFO_INIT;
  test_write("base/generation_config.json", "{\"eos_token_id\": 7}", 19);
  ck_ok(smft_model_load(&base, ctx, path, NULL));
  smft_model *model = grafted_model(ctx, "graft", path, 0, ", \"learn\": {}");
  ck_assert_str_eq(smft_model_base(model), path);
  ck_assert_ptr_null(smft_model_base(base));
  ck_assert_str_ne(smft_model_hash(model), smft_model_hash(base));
  ck_ok(smft_tokenizer_encode(smft_model_tokenizer(model), text, 3, SMFT_ENCODE_SPECIAL, ids[0], 8,
                              &n[0]));
  ck_ok(smft_tokenizer_encode(smft_model_tokenizer(base), text, 3, SMFT_ENCODE_SPECIAL, ids[1], 8,
                              &n[1]));
  ck_assert_int_eq(n[0], n[1]);
  ck_assert_mem_eq(ids[0], ids[1], (size_t)n[0] * sizeof(int32_t));
  ck_ok(smft_model_stop_ids(model, ids[0], 8, &n[0]));
  ck_assert(n[0] == 1 && ids[0][0] == 7);
  ck_ok(smft_model_get_info(model, &info[0]));
  ck_ok(smft_model_get_info(base, &info[1]));
  ck_assert(info[0].n_memories == 2 && info[0].n_pools == 2 && info[1].n_memories == 0);
  ck_assert_int_gt(info[0].n_parameters, info[1].n_parameters);
  ck_ok(smft_memory_get_info(smft_model_memory(model, 1), &memory));
  ck_assert(memory.layer == 2 && memory.pool == 1 && memory.placement == SMFT_PLACEMENT_BESIDE &&
            memory.n_slots == 256 && memory.value_dim == 32);
  smft_model_free(model);
  smft_model_free(base);
}
END_TEST

/* A base beside the directory, whatever the process's own. */
START_TEST(relative_path) {
  smft_model *model = NULL;
  const char *path = grafted_base(ctx, "base", 1);
  grafted_write(ctx, "graft", path, 0, "");
  char *text = test_read(test_file("graft/config.json"), NULL), *at = strstr(text, path);
  ck_assert_ptr_nonnull(at);
  static const char beside[] = "../base";
  memmove(at + sizeof beside - 1, at + strlen(path), strlen(at + strlen(path)) + 1);
  memcpy(at, beside, sizeof beside - 1);
  test_write("graft/config.json", text, strlen(text));
  free(text);
  ck_ok(smft_model_load(&model, ctx, test_file("graft"), NULL));
  smft_model_free(model);
  smft_load_options copy = SMFT_LOAD_OPTIONS_INIT;
  copy.flags = SMFT_LOAD_COPY;
  ck_ok(smft_model_load(&model, ctx, test_file("graft"), &copy));
  smft_model_free(model);
}
END_TEST

START_TEST(is_inspected) {
  smft_model_inspection seen = SMFT_MODEL_INSPECTION_INIT, base = SMFT_MODEL_INSPECTION_INIT;
  for (int i = 0; i < N_BASES; i++) {
    grafted_write(ctx, "graft", test_source(bases[i]), 0, "");
    ck_ok(smft_model_inspect(ctx, test_source(bases[i]), &base));
    ck_ok(smft_model_inspect(ctx, test_file("graft"), &seen));
    ck_assert_msg(seen.can_run, "%s", seen.why);
    ck_assert_int_eq(seen.format, base.format);
    ck_assert_str_eq(seen.family, base.family);
    ck_assert_str_eq(seen.quantization, base.quantization);
    ck_assert_int_gt(seen.n_parameters, base.n_parameters);
    ck_assert_int_gt(seen.weight_bytes, base.weight_bytes);
    ck_assert_int_eq(seen.cache_bytes, base.cache_bytes);
  }
  remove(test_file("graft/memory.safetensors"));
  ck_ok(smft_model_inspect(ctx, test_file("graft"), &seen));
  ck_assert(!seen.can_run && strstr(seen.why, "memory.safetensors"));
  ck_assert_int_eq(seen.n_layers, base.n_layers);
}
END_TEST

/* ---- rows that stand nowhere --------------------------------------------- */

START_TEST(zeros_are_read) {
  float row[64], *whole = malloc(256 * 32 * sizeof *whole);
  int64_t n = 0;
  const char *name = NULL;
  smft_model *model = grafted_model(ctx, "graft", grafted_base(ctx, "base", 1), 0, "");
  smft_patch *patch = slots_patch(model);
  int64_t at = 0;
  while (smft_model_tensor(model, at, &name, NULL, &n) == SMFT_OK &&
         strcmp(name, "model.memory_pools.1.values") != 0)
    at++;
  ck_assert_int_eq(n, 256 * 32);
  memset(whole, 1, (size_t)n * sizeof *whole);
  ck_ok(smft_model_tensor_values(model, NULL, at, whole, n));
  for (int64_t i = 0; i < n; i++)
    ck_assert(whole[i] >= 0 && whole[i] <= 0);
  for (int i = 0; i < 32; i++)
    row[i] = (float)i;
  ck_ok(smft_patch_set_row(patch, 1, 200, row, 32));
  ck_ok(smft_model_tensor_values(model, patch, at, whole, n));
  for (int64_t i = 0; i < n; i++)
    ck_assert_float_eq(whole[i], i / 32 == 200 ? (float)(i % 32) : 0.0f);
  ck_ok(smft_patch_row(patch, 1, 199, row, 32));
  for (int i = 0; i < 32; i++)
    ck_assert_float_eq(row[i], 0.0f);
  ck_ok(smft_patch_reset_row(patch, 1, 200));
  ck_ok(smft_patch_row(patch, 1, 200, row, 32));
  ck_assert_float_eq(row[31], 0.0f);
  free(whole);
  smft_patch_free(patch);
  smft_model_free(model);
}
END_TEST

/* A gigabyte of zeros takes nothing. */
START_TEST(zeros_take_no_memory) {
  int64_t before = 0, after = 0, slots = 0, dim = 0;
  const char *path = grafted_base(ctx, "base", 1);
  ck_ok(smft_ctx_memory(ctx, &before, NULL));
  smft_model *model = grafted_model(ctx, "graft", path, 4096, "");
  ck_ok(smft_model_pool(model, 1, &slots, &dim));
  ck_assert_int_eq(slots * dim * 4, (int64_t)2 << 30);
  ck_ok(smft_ctx_memory(ctx, &after, NULL));
  ck_assert_int_lt(after - before, 1 << 20);
  smft_model_free(model);
}
END_TEST

/* Teaches a fact; returns the last loss. */
static double teach(const smft_model *model, smft_patch *patch) {
  smft_selector *selector =
      smft_patch_kind(patch) == SMFT_PATCH_SLOTS ? tiny_selector(model, SMFT_RULE_TFIDF, 16) : NULL;
  smft_optimizer *optimizer = NULL;
  smft_learner *learner = NULL;
  smft_report report = SMFT_REPORT_INIT;
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.lr = smft_patch_kind(patch) == SMFT_PATCH_SLOTS ? 0.5 : 0.02;
  learning.max_steps = 12;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &learning));
  tiny_push(learner, "emma", "austen");
  double first = 0;
  for (int i = 0; smft_learner_pending(learner) > 0; i++) {
    ck_ok(smft_step(learner, &report));
    first = i ? first : report.loss;
  }
  ck_assert_msg(report.loss < first - 0.05, "from %g to %g", first, report.loss);
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  return report.loss;
}

/* The same fact in a model that has the zeros in a file: the same bits at every step. */
START_TEST(learns_as_with_zeros_that_are_there) {
  smft_model *model = grafted_model(ctx, "graft", grafted_base(ctx, "base", 1), 0, "");
  smft_model *whole = NULL;
  smft_patch *first = slots_patch(model), *patch = slots_patch(model), *again = NULL;
  static answers before, with, without, loaded;
  ask(model, NULL, &before);
  set_rows(model, first, 256, 0); /* one row, of zeros: the pools are written */
  ck_ok(smft_model_export(model, first, test_file("whole"), NULL));
  ck_ok(smft_model_load(&whole, ctx, test_file("whole"), NULL));
  smft_patch *other = slots_patch(whole);
  double loss = teach(model, patch), wanted = teach(whole, other);
  ck_assert(loss >= wanted && loss <= wanted);
  set_rows(model, patch, 7, 1); /* which the questions here read, too */
  set_rows(whole, other, 7, 1);
  ask(model, patch, &with);
  ask(whole, other, &without);
  ck_assert(same(&with, &without));
  ck_assert_double_gt(apart(&with, &before), 1e-3);
  ck_ok(smft_patch_save(patch, test_file("patch"), 0));
  ck_ok(smft_patch_load(&again, model, test_file("patch")));
  ask(model, again, &loaded);
  ck_assert(same(&with, &loaded));
  ck_ok(smft_patch_clear(again));
  ask(model, again, &loaded);
  ck_assert(same(&before, &loaded));
  smft_patch_free(first);
  smft_patch_free(patch);
  smft_patch_free(other);
  smft_patch_free(again);
  smft_model_free(model);
  smft_model_free(whole);
}
END_TEST

/* ---- exported and merged ------------------------------------------------- */

static int has_text(const char *file, const char *text) {
  char *whole = test_read(test_file(file), NULL);
  int found = strstr(whole, text) != NULL;
  free(whole);
  return found;
}

START_TEST(is_exported) {
  static answers plain, own, with, exported;
  for (int i = 0; i < 2; i++) { /* a directory, and a GGUF, whose rows turn */
    smft_model *model = grafted_model(ctx, "graft", test_source(bases[i ? N_BASES - 1 : 0]), 0, "");
    smft_model *copy = NULL;
    smft_patch *patch = slots_patch(model);
    ask(model, NULL, &plain);
    ck_ok(smft_model_export(model, patch, test_file("out"), NULL));
    ck_ok(smft_model_load(&copy, ctx, test_file("out"), NULL));
    ck_assert(has_text("out/config.json", "\"values\": \"zero\"") &&
              has_text("out/config.json", "\"out\": \"identity\""));
    ck_assert(!has_text("out/model.safetensors", "memory_pools") &&
              !has_text("out/config.json", "\"base\""));
    ck_assert_ptr_null(smft_model_base(copy));
    ask(copy, NULL, &own);
    ck_assert(i ? apart(&plain, &own) < 1e-4 : same(&plain, &own));
    smft_model_free(copy);
    set_rows(model, patch, 3, 1);
    ask(model, patch, &with);
    ck_ok(smft_model_export(model, patch, test_file("out"), NULL));
    ck_assert(!has_text("out/config.json", "\"values\""));
    ck_ok(smft_model_load(&copy, ctx, test_file("out"), NULL));
    ask(copy, NULL, &exported);
    ck_assert(i ? apart(&with, &exported) < 1e-4 : same(&with, &exported));
    ck_assert_double_gt(apart(&plain, &exported), 1e-3);
    smft_model_free(copy);
    smft_patch_free(patch);
    smft_model_free(model);
  }
}
END_TEST

#define CK_SAYS(status, call, ...)                                                                 \
  do {                                                                                             \
    const char *parts[] = {__VA_ARGS__};                                                           \
    ck_status(call, status);                                                                       \
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)                             \
      ck_assert_msg(strstr(smft_error_message(), parts[part]) != NULL, "no \"%s\" in: %s",         \
                    parts[part], smft_error_message());                                            \
  } while (0)

/* Two gigabytes of zeros are not written, nor copied; what needs none of them is. */
START_TEST(large_pools_are_not_made_real) {
  smft_model *model = grafted_model(ctx, "graft", grafted_base(ctx, "base", 1), 4096, "");
  smft_patch *patch = slots_patch(model), *merged = NULL, *lora = NULL;
  float row[32] = {1};
  ck_ok(smft_model_export(model, patch, test_file("large"), NULL));
  ck_ok(smft_patch_set_row(patch, 1, 4096 * 4096 - 1, row, 32));
  CK_SAYS(SMFT_E_UNSUPPORTED, smft_model_export(model, patch, test_file("never"), NULL),
          test_file("never"), "pool 0", "2147483648 bytes", "in the patch");
  ck_assert_int_ne(access(test_file("never"), F_OK), 0);
  CK_SAYS(SMFT_E_UNSUPPORTED, smft_patch_merge(&merged, patch), "pool 0", "2147483648 bytes");
  ck_ok(smft_patch_create(&lora, model, SMFT_PATCH_LORA));
  ck_ok(smft_model_export(model, lora, test_file("large"), NULL));
  CK_SAYS(SMFT_E_UNSUPPORTED, smft_patch_merge(&merged, lora), "pool 0");
  smft_export_options gguf = SMFT_EXPORT_OPTIONS_INIT;
  gguf.format = SMFT_FORMAT_GGUF;
  CK_SAYS(SMFT_E_UNSUPPORTED, smft_model_export(model, NULL, test_file("no.gguf"), &gguf),
          "memory");
  smft_patch_free(lora);
  smft_patch_free(patch);
  smft_model_free(model);
}
END_TEST

START_TEST(lora_works) {
  smft_model *model = grafted_model(ctx, "graft", grafted_base(ctx, "base", 1), 0, ""), *copy;
  smft_patch *patch = NULL, *again = NULL, *merged = NULL;
  static answers plain, with, loaded, whole;
  ask(model, NULL, &plain);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_LORA));
  teach(model, patch);
  ask(model, patch, &with);
  ck_assert_double_gt(apart(&plain, &with), 1e-2);
  ck_ok(smft_patch_save(patch, test_file("lora"), 0));
  ck_assert(has_text("lora/adapter_config.json", smft_model_base(model)));
  ck_ok(smft_patch_load(&again, model, test_file("lora")));
  ask(model, again, &loaded);
  ck_assert(same(&with, &loaded));
  ck_ok(smft_model_export(model, patch, test_file("out"), NULL));
  ck_ok(smft_model_load(&copy, ctx, test_file("out"), NULL));
  ask(copy, NULL, &whole);
  ck_assert_double_lt(apart(&with, &whole), 1e-3);
  ck_ok(smft_patch_merge(&merged, patch));
  ask(model, merged, &whole);
  ck_assert_double_lt(apart(&with, &whole), 1e-3);
  ck_ok(smft_patch_save(merged, test_file("merged"), 0));
  smft_patch_free(again);
  ck_ok(smft_patch_load(&again, model, test_file("merged")));
  ask(model, again, &loaded);
  ck_assert(same(&whole, &loaded));
  smft_patch_free(merged);
  smft_patch_free(patch);
  smft_patch_free(again);
  smft_model_free(copy);
  smft_model_free(model);
}
END_TEST

START_TEST(full_patches_are_the_bases) {
  const char *path = grafted_base(ctx, "base", 1);
  smft_model *model = grafted_model(ctx, "graft", path, 0, "");
  smft_patch *patch = NULL;
  CK_SAYS(SMFT_E_UNSUPPORTED, smft_patch_create(&patch, model, SMFT_PATCH_FULL), path,
          "load its base");
  ck_assert_ptr_null(patch);
  smft_model_free(model);
}
END_TEST

/* ---- what is wrong ------------------------------------------------------- */

static smft_status load(void) {
  smft_model *model = NULL;
  smft_status status = smft_model_load(&model, ctx, test_file("graft"), NULL);
  smft_model_free(model);
  return status;
}

/* config.json of a right directory with `from` in it once made `to`. */
static void with_config(const char *base, const char *from, const char *to) {
  char text[8192];
  grafted_write(ctx, "graft", base, 0, "");
  char *whole = test_read(test_file("graft/config.json"), NULL), *at = strstr(whole, from);
  ck_assert_msg(at != NULL, "no %s", from);
  int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
  test_write("graft/config.json", text, (size_t)n);
  free(whole);
}

START_TEST(wrong_configs) {
  static const struct {
    const char *from, *to;
    smft_status status;
    const char *says;
  } wrong[] = {
      {"{\"base\"", "{\"hidden_size\": 32, \"base\"", SMFT_E_UNSUPPORTED, "\"hidden_size\" is not"},
      {"{\"path\"", "{\"url\": 1, \"path\"", SMFT_E_UNSUPPORTED,
       "\"url\" is not known in \"base\""},
      {"{\"path\": \"", "{\"path\": \"\", \"was\": \"", SMFT_E_UNSUPPORTED, "\"was\""},
      {"\"hash\": \"", "\"hash\": \"x", SMFT_E_FORMAT, "\"hash\" must be 64 hexadecimal digits"},
      {"\"memory\": {", "\"memory\": 3, \"other\": {", SMFT_E_UNSUPPORTED, "\"other\""},
      {"\"beside\"", "\"replace\"", SMFT_E_UNSUPPORTED, "\"placement\""},
      {"\"identity\"", "\"twice\"", SMFT_E_UNSUPPORTED, "\"out\": \"twice\" is not known"},
      {"\"zero\"", "\"one\"", SMFT_E_UNSUPPORTED, "\"values\": \"one\" is not known"},
      {"\"zero\"", "\"stored\"", SMFT_E_MISMATCH, "model.memory_pools.0.values is missing"},
      {"\"identity\"", "\"linear\"", SMFT_E_MISMATCH, "memory.out.bias is missing"},
      {"\"value_dim\": 32", "\"value_dim\": 16", SMFT_E_FORMAT, "of the hidden size 32, got 16"},
      {"[0, 2]", "[0, 3]", SMFT_E_FORMAT, "\"layers\"[1] must be a block from 0 to 2"},
      {"[0, 2]", "[0, 1]", SMFT_E_MISMATCH, "model.layers.1.memory."},
      {"\"n_keys\": 16", "\"n_keys\": 17", SMFT_E_MISMATCH, "memory.keys"},
      {"\"bias\": true", "\"bias\": false", SMFT_E_UNSUPPORTED, "query.bias is not used"},
  };
  const char *base = grafted_base(ctx, "base", 1);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    with_config(base, wrong[i].from, wrong[i].to);
    CK_SAYS(wrong[i].status, load(), wrong[i].says, test_file("graft"));
  }
  static const char memory[] = "{\"base\": {\"path\": \"x\"}, \"memory\": {}}";
  test_write("graft/config.json", memory, sizeof memory - 1);
  CK_SAYS(SMFT_E_FORMAT, load(), "\"base\": \"hash\" is missing");
  static const char number[] = "{\"base\": 3}";
  test_write("graft/config.json", number, sizeof number - 1);
  CK_SAYS(SMFT_E_FORMAT, load(), "\"base\" must be an object");
}
END_TEST

/* Slots that are on no disk are counted all the same. */
START_TEST(too_many_zeros) {
  static const char text[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 4096, "
      "\"num_hidden_layers\": 1, \"num_attention_heads\": 1, "
      "\"intermediate_size\": 8, \"vocab_size\": 8, \"memory\": {\"layers\": "
      "[0], \"pools\": [0], \"n_keys\": 1048576, \"heads\": 1, \"top_k\": 1, "
      "\"key_dim\": 2, \"value_dim\": 16777216, \"values\": \"zero\"}}";
  smft_model *model = NULL;
  mkdir(test_file("vast"), 0700);
  test_write("vast/config.json", text, sizeof text - 1);
  CK_SAYS(SMFT_E_NOMEM, smft_model_init(&model, ctx, test_file("vast"), 1),
          "model.memory_pools.0.values: its size overflows");
}
END_TEST

START_TEST(wrong_bases) {
  smft_model *model = NULL;
  char path[1024];
  snprintf(path, sizeof path, "%s", grafted_base(ctx, "base", 1));
  grafted_write(ctx, "graft", path, 0, "");
  /* another model in its place */
  grafted_base(ctx, "base", 2);
  CK_SAYS(SMFT_E_MISMATCH, load(), test_file("graft"), "its base", path, "hash");
  smft_model_inspection seen = SMFT_MODEL_INSPECTION_INIT;
  ck_ok(smft_model_inspect(ctx, test_file("graft"), &seen));
  ck_assert(!seen.can_run && strstr(seen.why, "hash"));
  /* gone */
  with_config(path, path, "/nowhere/at/all");
  CK_SAYS(SMFT_E_NOT_FOUND, load(), test_file("graft"), "its base", "/nowhere/at/all");
  /* with a memory of its own */
  smft_model_free(tiny_model(ctx, "owner", (tiny){0}, 1));
  ck_ok(smft_model_init(&model, ctx, test_file("owner"), 1));
  ck_ok(smft_model_export(model, NULL, test_file("owner"), NULL));
  smft_model_free(model);
  with_config(path, path, test_file("owner"));
  CK_SAYS(SMFT_E_UNSUPPORTED, load(), test_file("owner"), "a memory of its own (1 layers)");
  /* grafted itself, be it onto itself */
  with_config(path, path, test_file("graft"));
  CK_SAYS(SMFT_E_UNSUPPORTED, load(), test_file("graft"), "grafted itself");
  CK_SAYS(SMFT_E_UNSUPPORTED, smft_model_init(&model, ctx, test_file("graft"), 1), "random");
}
END_TEST

/* memory.safetensors with one tensor more, or none. */
static void with_tensor(const char *name) {
  smft__source file = {0};
  smft__save_tensor tensors[GRAFTED_MOST + 1];
  float numbers[4] = {0};
  ck_ok(smft__safetensors_open(&file, ctx, test_file("graft/memory.safetensors"), 1));
  for (int64_t i = 0; i < file.n; i++)
    tensors[i] = (smft__save_tensor){file.names[i], file.tensors[i], 0};
  tensors[file.n] = (smft__save_tensor){name, smft__tensor_f32(numbers, 2, 2), 0};
  ck_ok(smft__safetensors_write(ctx, test_file("graft/memory.safetensors"), tensors, file.n + 1,
                                NULL, NULL, 0, NULL, NULL));
  smft__source_close(&file);
}

START_TEST(wrong_tensors) {
  static const char *const names[] = {"stray", "model.memory_pools.0.values", "lm_head.weight",
                                      "model.layers.0.memory.out.weight", "model.norm.weight"};
  const char *base = grafted_base(ctx, "base", 1);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    grafted_write(ctx, "graft", base, 0, "");
    with_tensor(names[i]);
    CK_SAYS(SMFT_E_UNSUPPORTED, load(), names[i], "is not used");
  }
  remove(test_file("graft/memory.safetensors"));
  CK_SAYS(SMFT_E_NOT_FOUND, load(), "memory.safetensors");
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("grafted models");
  TCase *tests = tcase_create("grafted");
  test_directory_make();
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, is_its_base, 0, N_BASES);
  tcase_add_test(tests, describes_itself);
  tcase_add_test(tests, relative_path);
  tcase_add_test(tests, is_inspected);
  tcase_add_test(tests, zeros_are_read);
  tcase_add_test(tests, zeros_take_no_memory);
  tcase_add_test(tests, learns_as_with_zeros_that_are_there);
  tcase_add_test(tests, is_exported);
  tcase_add_test(tests, large_pools_are_not_made_real);
  tcase_add_test(tests, lora_works);
  tcase_add_test(tests, full_patches_are_the_bases);
  tcase_add_test(tests, wrong_configs);
  tcase_add_test(tests, too_many_zeros);
  tcase_add_test(tests, wrong_bases);
  tcase_add_test(tests, wrong_tensors);
  suite_add_tcase(suite, tests);
  return suite;
}
