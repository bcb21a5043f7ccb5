/* alloc_failures: every call that allocates, with each of its allocations failing in turn, through
 * the context's allocator and smft.h (and base/loan.h: nothing is lent beforehand).  It must say
 * SMFT_E_NOMEM, give nothing out, lose nothing (patch, optimizer, counts, queue, probe and session
 * are as they were), leak nothing, and then, with memory, do what it would have done.  (A step's
 * own exactness, recipe by recipe, is in test_learn_exact.c.) */
#include "test.h"
#include "failing.h"
#include "model_gguf.h"
#include "grafted.h"

#include "base/loan.h"

/* ---- a world of one allocator -------------------------------------------- */

#define SLOTS 256
#define DIM 20

typedef struct world {
  failing state;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch, *lora; /* lora: half learnt, with an optimizer and a learner of its own */
  smft_optimizer *lora_optimizer;
  smft_learner *lora_learner;
  smft_session *session;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  smft_probe *probe;
  smft_model *plain;
  long long first_spared, spared; /* allocations that failed and were not missed: which, how many */
} world;

enum { SPARE = 1, CHANGES = 2, LORA = 4, PLAIN = 8 }; /* see call */
static const char *const answers[] = {"x", "yy"};

static smft_ctx *plain_ctx(void) {
  smft_ctx *ctx = NULL;
  ck_ok(smft_ctx_create(&ctx, NULL));
  return ctx;
}

/* A GGUF model with a tokenizer, in one file and in two. */
static void make_gguf_files(void) {
  static gguf_bytes made;
  vocab_text vocab = vocab_bpe();
  make_model_gguf(&made, "llama", &vocab);
  test_write("g.gguf", made.bytes, made.size);
  make_model_part(&made, "llama", &vocab, 1, 2);
  test_write("g-00001-of-00002.gguf", made.bytes, made.size);
  make_model_part(&made, "llama", &vocab, 2, 2);
  test_write("g-00002-of-00002.gguf", made.bytes, made.size);
}

/* The model on disk, and a facts file, a probe file and a text: made once. */
static void make_files(void) {
  static const char facts[] = "{\"id\":\"f\",\"wordings\":[{\"prompt\":\"p\",\"answer\":\"q\"},"
                              "{\"statement\":\"ab cd\",\"answer\":\"cd\"}]}\n"
                              "{\"id\":\"g\",\"wordings\":[{\"prompt\":\"r\",\"answer\":\"s\"}]}\n";
  static const char items[] =
      "{\"id\":\"q\",\"question\":\"Who?\",\"answers\":[\"x\"]}\n{\"id\":\"t\",\"text\":\"some "
      "text\"}\n"
      "{\"id\":\"c\",\"prompt\":\"Is it\",\"endings\":[\" a\",\" b\"],\"correct\":0}\n";
  smft_ctx *ctx = plain_ctx();
  smft_model *model = tiny_model(ctx, "m", (tiny){0}, 3);
  static const char config[] = "{\"bos_token\": \"<s>\", \"chat_template\": \"{{ 1 }}\"}";
  test_write("m/tokenizer_config.json", config, sizeof config - 1);
  test_write("m/chat_template.jinja", "{{ 2 }}", 7);
  smft_selector *selector = tiny_selector(model, 0, 8);
  ck_ok(smft_model_export(model, NULL, test_file("m"), NULL));
  ck_ok(smft_selector_save(selector, test_file("m/background.safetensors")));
  smft_selector_free(selector);
  smft_patch *taught = tiny_taught(ctx, model);
  ck_ok(smft_patch_save(taught, test_file("taught.patch"), 0));
  smft_patch_free(taught);
  smft_model_free(model);
  smft_model_free(tiny_plain(ctx, "plain", 3, 3));
  smft_ctx_free(ctx);
  ctx = plain_ctx();
  grafted_write(ctx, "grafted", test_source("tests/golden/network_llama3"), 0, "");
  smft_ctx_free(ctx);
  make_gguf_files();
  mkdir(test_file("into"), 0700);
  test_write("facts.jsonl", facts, sizeof facts - 1);
  test_write("items.jsonl", items, sizeof items - 1);
  test_write("text.txt", "one line\nand another line of text\n\nthe last", 43);
}

static void add_items(smft_probe *probe) {
  ck_ok(smft_probe_add_question(probe, "q", "Who?", answers, 2));
  ck_ok(smft_probe_add_text(probe, "t", "some text"));
  ck_ok(smft_probe_add_choice(probe, "c", "Is it", answers, 2, 1));
}

static void open_parts(world *w) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_probe_options probing = SMFT_PROBE_OPTIONS_INIT;
  smft_selector_options selecting = SMFT_SELECTOR_OPTIONS_INIT;
  selecting.rank_by = SMFT_RANK_WEIGHTS; /* which has an allocation more */
  probing.max_tokens = 4;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.flags = SMFT_OPTIMIZER_KEEP_STATE;
  learning.loss_below = -1;
  learning.max_steps = 3; /* the second is not the last: after that one failures are put off */
  ck_ok(smft_patch_load(&w->patch, w->model, test_file("taught.patch")));
  ck_ok(smft_session_create(&w->session, w->model, w->patch, NULL));
  ck_ok(smft_selector_create(&w->selector, w->model, &selecting));
  ck_ok(smft_optimizer_create(&w->optimizer, w->ctx, &options));
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, w->selector, w->optimizer, &learning));
  ck_ok(smft_probe_create(&w->probe, w->ctx, &probing));
}

static void open_lora(world *w) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_optimizer_options adamw = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  adamw.kind = SMFT_OPTIMIZER_ADAMW;
  learning.loss_below = -1;
  learning.max_steps = 3;
  options.rank = 2;
  ck_ok(smft_patch_create_lora(&w->lora, w->model, &options));
  ck_ok(smft_optimizer_create(&w->lora_optimizer, w->ctx, &adamw));
  ck_ok(
      smft_learner_create(&w->lora_learner, w->model, w->lora, NULL, w->lora_optimizer, &learning));
  tiny_push(w->lora_learner, "first", "one");
  ck_ok(smft_step(w->lora_learner, NULL));
}

/* Something is learnt already, one fact is half learnt and another waits. */
static void open_world(world *w, int32_t n_threads, int flags) {
  memset(w, 0, sizeof *w);
  w->ctx = failing_ctx(&w->state, n_threads);
  ck_ok(smft_model_load(&w->model, w->ctx, test_file("m"), NULL));
  open_parts(w);
  tiny_push(w->learner, "first", "one");
  tiny_push(w->learner, "second", "two");
  ck_ok(smft_step(w->learner, NULL));
  if (flags & LORA)
    open_lora(w);
  if (flags & PLAIN)
    ck_ok(smft_model_load(&w->plain, w->ctx, test_file("plain"), NULL));
  add_items(w->probe);
  ck_ok(smft_probe_baseline(w->probe, w->session, NULL, NULL));
}

static void close_world(world *w) {
  smft_model_free(w->plain);
  smft_model_free(w->model); /* parents first: they live as long as their children */
  smft_patch_free(w->patch);
  smft_selector_free(w->selector);
  smft_optimizer_free(w->optimizer);
  smft_patch_free(w->lora);
  smft_optimizer_free(w->lora_optimizer);
  smft_learner_free(w->lora_learner);
  smft_learner_free(w->learner);
  smft_session_free(w->session);
  smft_probe_free(w->probe);
  smft_ctx_free(w->ctx);
  ck_assert_msg(w->state.live == 0, "%lld blocks leak", (long long)w->state.live);
}

/* ---- what a call could lose ---------------------------------------------- */

typedef struct picture {
  uint64_t patch, counts, optimizer, lora;
  int64_t n_rows, n_facts, n_batches, pending, length, items;
  double measured[3];
} picture;

static uint64_t mix(uint64_t hash, const void *data, size_t n) { /* FNV-1a */
  for (size_t i = 0; i < n; i++)
    hash = (hash ^ ((const unsigned char *)data)[i]) * 1099511628211u;
  return hash;
}

/* its state shows only in a file, and what that is called does not matter */
static uint64_t optimizer_hash(smft_optimizer *optimizer) {
  size_t n;
  ck_ok(smft_optimizer_save(optimizer, test_file("picture")));
  char *bytes = test_read(test_file("picture"), &n);
  uint64_t hash = mix(7, bytes, n);
  free(bytes);
  return hash;
}

/* What LoRA's patch makes of the weights, and its optimizer's state. */
static uint64_t lora_hash(world *w) {
  static float values[TINY_VOCAB * 32 + SLOTS * DIM];
  uint64_t hash = 5;
  int64_t n;
  for (int64_t i = 0; smft_model_tensor(w->model, i, NULL, NULL, &n) == SMFT_OK; i++) {
    ck_ok(smft_model_tensor_values(w->model, w->lora, i, values, n));
    hash = mix(hash, values, (size_t)n * sizeof *values);
  }
  return hash ^
         (optimizer_hash(w->lora_optimizer) + (uint64_t)smft_learner_pending(w->lora_learner));
}

static picture take_picture(world *w) {
  picture p;
  static int64_t slots[SLOTS];
  static uint32_t df[SLOTS];
  float row[DIM];
  memset(&p, 0, sizeof p);
  ck_ok(smft_patch_slots(w->patch, 0, slots, SLOTS, &p.n_rows));
  for (int64_t i = 0; i < p.n_rows; i++) {
    ck_ok(smft_patch_row(w->patch, 0, slots[i], row, DIM));
    p.patch = mix(mix(p.patch, &slots[i], sizeof slots[i]), row, sizeof row);
  }
  p.n_facts = smft_patch_fact_count(w->patch);
  ck_ok(smft_selector_df(w->selector, 0, df, SLOTS, &p.n_batches));
  p.counts = mix(3, df, sizeof df);
  p.optimizer = optimizer_hash(w->optimizer);
  p.lora = w->lora ? lora_hash(w) : 0;
  p.pending = smft_learner_pending(w->learner);
  p.length = smft_session_length(w->session);
  smft_probe_item item = SMFT_PROBE_ITEM_INIT;
  for (; smft_probe_get_item(w->probe, p.items, &item) == SMFT_OK; p.items++)
    p.measured[p.items % 3] += item.before + 3 * item.after;
  return p;
}

/* ---- the calls ----------------------------------------------------------- */

/* Each makes (and frees again) or changes something; what it makes is NULL where it fails. */
#define MAKES(type, call, release)                                                                 \
  type *out = (type *)w;                                                                           \
  smft_status status = call;                                                                       \
  ck_assert_msg((out == NULL) == (status != SMFT_OK), "a failed constructor leaves NULL");         \
  release(out);                                                                                    \
  return status

static smft_status make_model(world *w) {
  MAKES(smft_model, smft_model_load(&out, w->ctx, test_file("m"), NULL), smft_model_free);
}
static smft_status make_copied_model(world *w) {
  smft_load_options options = SMFT_LOAD_OPTIONS_INIT;
  options.flags = SMFT_LOAD_COPY;
  MAKES(smft_model, smft_model_load(&out, w->ctx, test_file("m"), &options), smft_model_free);
}
static smft_status make_new_model(world *w) {
  MAKES(smft_model, smft_model_init(&out, w->ctx, test_file("m"), 1), smft_model_free);
}
static smft_status make_gguf_model(world *w) {
  MAKES(smft_model, smft_model_load(&out, w->ctx, test_file("g.gguf"), NULL), smft_model_free);
}
static smft_status make_grafted_model(world *w) {
  MAKES(smft_model, smft_model_load(&out, w->ctx, test_file("grafted"), NULL), smft_model_free);
}
static smft_status make_model_of_parts(world *w) {
  MAKES(smft_model, smft_model_load(&out, w->ctx, test_file("g-00002-of-00002.gguf"), NULL),
        smft_model_free);
}
static smft_status load_bytes(smft_model **out, smft_ctx *ctx, uint32_t flags) {
  static gguf_bytes made;
  vocab_text vocab = vocab_spm();
  smft_load_options options = SMFT_LOAD_OPTIONS_INIT;
  options.flags = flags;
  make_model_gguf(&made, "gemma3", &vocab);
  return smft_model_load_buffer(out, ctx, made.bytes, (int64_t)made.size, &options);
}
static smft_status make_model_of_bytes(world *w) {
  MAKES(smft_model, load_bytes(&out, w->ctx, 0), smft_model_free);
}
static smft_status make_copy_of_bytes(world *w) {
  MAKES(smft_model, load_bytes(&out, w->ctx, SMFT_LOAD_COPY), smft_model_free);
}
static smft_status make_tokenizer(world *w) {
  MAKES(smft_tokenizer, smft_tokenizer_load(&out, w->ctx, test_file("m")), smft_tokenizer_free);
}
static smft_status make_patch(world *w) {
  MAKES(smft_patch, smft_patch_create(&out, w->model, SMFT_PATCH_SLOTS), smft_patch_free);
}
static smft_status make_full_patch(world *w) {
  MAKES(smft_patch, smft_patch_create(&out, w->model, SMFT_PATCH_FULL), smft_patch_free);
}
static smft_status make_lora_patch(world *w) {
  MAKES(smft_patch, smft_patch_create(&out, w->model, SMFT_PATCH_LORA), smft_patch_free);
}
static char in_memory[1 << 20];
static smft_status through_memory(smft_patch **out, smft_patch *patch, const smft_model *model) {
  int64_t size = 0;
  *out = NULL;
  smft_status status = smft_patch_save_buffer(patch, 0, in_memory, sizeof in_memory, &size);
  return status == SMFT_OK ? smft_patch_load_buffer(out, model, in_memory, size) : status;
}
static smft_status make_copied_lora(world *w) {
  MAKES(smft_patch, smft_patch_copy(&out, w->lora), smft_patch_free);
}
static smft_status make_merged_lora(world *w) {
  MAKES(smft_patch, smft_patch_merge(&out, w->lora), smft_patch_free);
}
static smft_status make_loaded_lora(world *w) {
  MAKES(smft_patch, smft_patch_load(&out, w->model, test_file("world.lora")), smft_patch_free);
}
static smft_status make_lora_learner(world *w) {
  MAKES(smft_learner, smft_learner_create(&out, w->model, w->lora, NULL, NULL, NULL),
        smft_learner_free);
}
static smft_status make_lora_session(world *w) {
  MAKES(smft_session, smft_session_create(&out, w->model, w->lora, NULL), smft_session_free);
}
static smft_status make_patch_in_memory(world *w) {
  MAKES(smft_patch, through_memory(&out, w->patch, w->model), smft_patch_free);
}
static smft_status make_lora_in_memory(world *w) {
  MAKES(smft_patch, through_memory(&out, w->lora, w->model), smft_patch_free);
}
static smft_status make_copied_patch(world *w) {
  MAKES(smft_patch, smft_patch_copy(&out, w->patch), smft_patch_free);
}
static smft_status make_loaded_patch(world *w) {
  MAKES(smft_patch, smft_patch_load(&out, w->model, test_file("world.patch")), smft_patch_free);
}
static smft_status make_session(world *w) {
  MAKES(smft_session, smft_session_create(&out, w->model, w->patch, NULL), smft_session_free);
}
static smft_status make_selector(world *w) {
  MAKES(smft_selector, smft_selector_create(&out, w->model, NULL), smft_selector_free);
}
static smft_status make_optimizer(world *w) {
  MAKES(smft_optimizer, smft_optimizer_create(&out, w->ctx, NULL), smft_optimizer_free);
}
/* with defaults of its own for selector and optimizer */
static smft_status make_learner(world *w) {
  MAKES(smft_learner, smft_learner_create(&out, w->model, w->patch, NULL, NULL, NULL),
        smft_learner_free);
}
static smft_status make_probe(world *w) {
  smft_probe_options options = SMFT_PROBE_OPTIONS_INIT;
  options.stop = "END";
  MAKES(smft_probe, smft_probe_create(&out, w->ctx, &options), smft_probe_free);
}

static const char question[] = "Who is the author of Emma?";
static smft_status make_wordings(world *w) {
  smft_chat_options chat = SMFT_CHAT_OPTIONS_INIT;
  smft_wordings_options options = SMFT_WORDINGS_OPTIONS_INIT;
  chat.renderer = "gemma3";
  options.chat = &chat;
  MAKES(smft_wordings, smft_wordings_from_qa(&out, w->model, question, "Jane", &options),
        smft_wordings_free);
}
static smft_status make_wordings_of_statement(world *w) {
  MAKES(smft_wordings,
        smft_wordings_from_statement(&out, w->model, "Emma is by Jane.", "Jane", NULL),
        smft_wordings_free);
}

/* What was there stays where it fails. */
static smft_status inspect(world *w, const char *path) {
  smft_model_inspection seen = SMFT_MODEL_INSPECTION_INIT;
  smft_status status = smft_model_inspect(w->ctx, path, &seen);
  ck_assert_msg(seen.can_run == (status == SMFT_OK), "%s: %s", path, seen.why);
  return status;
}
static smft_status do_inspect(world *w) { return inspect(w, test_file("m")); }
static smft_status do_inspect_gguf(world *w) { return inspect(w, test_file("g.gguf")); }
static smft_status do_inspect_grafted(world *w) { return inspect(w, test_file("grafted")); }
static smft_status do_inspect_parts(world *w) {
  return inspect(w, test_file("g-00001-of-00002.gguf"));
}

static smft_status do_encode(world *w) {
  int32_t ids[64];
  int64_t n;
  return smft_tokenizer_encode(smft_model_tokenizer(w->model), "some <s> text", 13,
                               SMFT_ENCODE_SPECIAL, ids, 64, &n);
}
static smft_status do_chat(world *w) {
  static const smft_message messages[] = {{"system", "be /no_think brief"}, {"user", "a <s> b"}};
  smft_chat_options options = SMFT_CHAT_OPTIONS_INIT;
  int64_t n;
  options.renderer = "smollm3";
  return smft_tokenizer_chat(smft_model_tokenizer(w->model), messages, 2, &options, NULL, 0, &n);
}
static smft_status do_decode(world *w) {
  int32_t ids[] = {5, 6, 7, 0, 8};
  char text[64];
  size_t n;
  return smft_tokenizer_decode(smft_model_tokenizer(w->model), ids, 5, 0, text, sizeof text, &n);
}
static smft_status do_export(world *w) {
  return smft_model_export(w->model, w->patch, test_file("exported"), NULL);
}
static smft_status do_tensor_values(world *w) {
  static float values[TINY_VOCAB * 32 + SLOTS * DIM];
  int64_t n;
  for (int64_t i = 0; smft_model_tensor(w->model, i, NULL, NULL, &n) == SMFT_OK; i++) {
    smft_status status = smft_model_tensor_values(w->model, w->patch, i, values, n);
    if (status != SMFT_OK)
      return status;
  }
  return SMFT_OK;
}
static smft_status do_patch_save(world *w) {
  return smft_patch_save(w->patch, test_file("other.patch"), SMFT_DTYPE_BF16);
}
static smft_status do_lora_save(world *w) {
  return smft_patch_save(w->lora, test_file("other.lora"), 0);
}
static smft_status do_lora_export(world *w) {
  return smft_model_export(w->model, w->lora, test_file("exported"), NULL);
}
static smft_status do_lora_step(world *w) { return smft_step(w->lora_learner, NULL); }
static smft_status do_lora_optimizer_save(world *w) {
  return smft_optimizer_save(w->lora_optimizer, test_file("other.optimizer"));
}
static smft_status do_lora_optimizer_load(world *w) {
  return smft_optimizer_load(w->lora_optimizer, w->model, test_file("world.lora.optimizer"));
}
/* the session is as it was when the patch cannot be taken */
static smft_status do_session_lora(world *w) {
  smft_status status = smft_session_set_patch(w->session, w->lora);
  if (status == SMFT_OK)
    ck_ok(smft_session_set_patch(w->session, w->patch));
  return status;
}
static smft_status do_patch_rows(world *w) { /* one row that is new: all or nothing */
  float row[DIM] = {1, 2, 3};
  for (int64_t slot = 0; slot < SLOTS; slot++) {
    float now[DIM];
    ck_ok(smft_patch_row(w->patch, 0, slot, now, DIM));
    if (memcmp(now, row, sizeof row) != 0)
      return smft_patch_set_row(w->patch, 0, slot, row, DIM);
  }
  return SMFT_OK;
}
static smft_status do_fact_remove(world *w) {
  int64_t n = smft_patch_fact_count(w->patch);
  smft_status status = n ? smft_patch_fact_remove(w->patch, 0) : SMFT_OK;
  ck_assert_int_eq(smft_patch_fact_count(w->patch), n - (status == SMFT_OK && n));
  return status;
}
static smft_status do_assign(world *w) {
  smft_patch *empty = NULL;
  smft_status status = smft_patch_create(&empty, w->model, SMFT_PATCH_SLOTS);
  if (status == SMFT_OK)
    status = smft_patch_assign(w->patch, empty);
  smft_patch_free(empty);
  return status;
}
static smft_status do_fact_list(world *w) {
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  smft_fact_row rows[SLOTS];
  int64_t n;
  size_t length;
  char id[32];
  ck_ok(smft_patch_fact_get(w->patch, 0, &info));
  ck_ok(smft_patch_fact_id(w->patch, 0, id, sizeof id, &length));
  return smft_patch_fact_rows(w->patch, 0, rows, SLOTS, &n);
}
static smft_status do_feed(world *w) {
  static float logits[8 * TINY_VOCAB];
  int32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12};
  smft_status status =
      smft_session_feed(w->session, ids, 8, SMFT_LOGITS_ALL, logits, 8 * TINY_VOCAB);
  ck_assert_int_eq(smft_session_length(w->session), status == SMFT_OK ? 8 : 0);
  if (status == SMFT_OK)
    ck_ok(smft_session_rewind(w->session, 0));
  return status;
}
static smft_status do_nll(world *w) {
  int32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12};
  double mean;
  return smft_session_nll(w->session, ids, 8, NULL, &mean);
}
static smft_status do_generate(world *w) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = "";
  options.temperature = 1;
  options.top_p = 0.9f;
  options.stop = "@@";
  options.max_tokens = 12;
  smft_status status = smft_session_generate(w->session, "some text", 9, &options, &text, NULL);
  ck_assert(status == SMFT_OK || text == NULL);
  return status == SMFT_OK ? smft_session_rewind(w->session, 0) : status;
}
static smft_status do_generate_ids(world *w) {
  int32_t ids[] = {5, 6, 7}, out[8];
  int64_t n;
  smft_status status = smft_session_generate_ids(w->session, ids, 3, NULL, out, 8, &n);
  return status == SMFT_OK ? smft_session_rewind(w->session, 0) : status;
}
static smft_status do_count_text(world *w) {
  smft_background background = SMFT_BACKGROUND_INIT;
  background.text_path = test_file("text.txt");
  return smft_selector_count_background(w->selector, &background);
}
static smft_status do_count_texts(world *w) {
  static const char *const texts[] = {"one text", "", "another\none"};
  smft_background background = SMFT_BACKGROUND_INIT;
  background.texts = texts;
  background.n_texts = 3;
  return smft_selector_count_background(w->selector, &background);
}
static smft_status do_count_ids(world *w) {
  int32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12};
  int64_t lengths[] = {3, 5};
  smft_background background = SMFT_BACKGROUND_INIT;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = 2;
  return smft_selector_count_background(w->selector, &background);
}
static smft_status do_graft(world *w) {
  static const char *const texts[] = {"one text", "another\none", "and a longer one to look up"};
  smft_background text = SMFT_BACKGROUND_INIT;
  const smft_background *sources[] = {&text};
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  text.texts = texts;
  text.n_texts = 3;
  options.sources = sources;
  options.n_sources = 1;
  options.n_keys = 5;
  options.rank = options.key_dim = 8;
  options.rounds = 2;
  smft_status status = smft_graft(w->plain, test_file("into/graft"), &options, NULL);
  ck_assert_int_eq(test_count_files(test_file("into")), access(test_file("into/graft"), F_OK) == 0);
  return status;
}
static smft_status do_selector_save(world *w) {
  return smft_selector_save(w->selector, test_file("other.counts"));
}
static smft_status do_selector_load(world *w) {
  return smft_selector_load(w->selector, test_file("m/background.safetensors"));
}
static smft_status do_optimizer_save(world *w) {
  return smft_optimizer_save(w->optimizer, test_file("other.optimizer"));
}
static smft_status do_optimizer_load(world *w) {
  return smft_optimizer_load(w->optimizer, w->model, test_file("world.optimizer"));
}
static smft_status do_push(world *w) {
  smft_wording wordings[] = {{sizeof *wordings, 0, "p", "q", NULL, NULL},
                             {sizeof *wordings, 0, NULL, "cd", NULL, "ab cd"}};
  return smft_learner_push(w->learner, "third", wordings, 2);
}
static smft_status do_push_ids(world *w) {
  int32_t ids[] = {5, 6, 7};
  smft_ids_wording wording = {sizeof wording, 0, ids, 2, ids + 2, 1};
  return smft_learner_push_ids(w->learner, "third", &wording, 1);
}
static smft_status do_push_file(world *w) {
  int64_t n = -1;
  smft_status status = smft_learner_push_file(w->learner, test_file("facts.jsonl"), &n);
  ck_assert_int_eq(n, status == SMFT_OK ? 2 : 0);
  return status;
}
static smft_status do_push_wordings(world *w) {
  smft_wordings *list = NULL;
  smft_status status = smft_wordings_from_qa(&list, w->model, question, "Jane", NULL);
  if (status == SMFT_OK)
    status = smft_learner_push_wordings(w->learner, "third", list);
  smft_wordings_free(list);
  return status;
}
/* A learner of its own, since the world's has no frames; what it queues goes with it.  Of two
 * words: questions about others are made by word. */
static smft_status do_push_framed(world *w) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_wording wording = {sizeof wording, 0, "Who is Emma Woodhouse?", "Jane", NULL, NULL};
  smft_learner *learner = NULL;
  options.flags = SMFT_LEARNER_FRAMES;
  smft_status status =
      smft_learner_create(&learner, w->model, w->patch, w->selector, w->optimizer, &options);
  if (status == SMFT_OK)
    status = smft_learner_push(learner, "third", &wording, 1);
  ck_assert_int_eq(smft_learner_pending(learner), status == SMFT_OK);
  smft_learner_free(learner);
  return status;
}
/* Where rows have a max_df, a question is asked about others, too (of one word: by token); with a
 * patch of its own. */
static smft_status do_step_contrast(world *w) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector_options select = SMFT_SELECTOR_OPTIONS_INIT;
  smft_wording wording = {sizeof wording, 0, question, "Jane", NULL, NULL};
  smft_selector *selector = NULL;
  smft_learner *learner = NULL;
  smft_patch *patch = NULL;
  options.flags = SMFT_LEARNER_FRAMES;
  select.rule = SMFT_RULE_TF;
  select.t = 8;
  select.max_df = 1;
  select.flags = SMFT_SELECTOR_EMPTY;
  smft_status status = smft_selector_create(&selector, w->model, &select);
  if (status == SMFT_OK)
    status = smft_patch_create(&patch, w->model, SMFT_PATCH_SLOTS);
  if (status == SMFT_OK)
    status = smft_learner_create(&learner, w->model, patch, selector, NULL, &options);
  if (status == SMFT_OK)
    status = smft_learner_push(learner, "third", &wording, 1);
  if (status == SMFT_OK)
    status = smft_step(learner, NULL);
  smft_learner_free(learner);
  smft_patch_free(patch);
  smft_selector_free(selector);
  return status;
}
static smft_status do_step(world *w) { return smft_step(w->learner, NULL); }
static smft_status do_skip(world *w) { return smft_learner_skip(w->learner); } /* takes back */
static smft_status do_step_batch(world *w) {
  int32_t ids[] = {5, 6, 7, 8, 9, 10, 11, 12};
  int64_t lengths[] = {3, 5};
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 2;
  return smft_learner_step_batch(w->learner, &batch, NULL);
}
static smft_status do_add_file(world *w) {
  return smft_probe_add_file(w->probe, test_file("items.jsonl"), NULL);
}
static smft_status do_add_question(world *w) {
  return smft_probe_add_question(w->probe, "n", "Who?", answers, 2);
}
static smft_status do_add_choice(world *w) {
  return smft_probe_add_choice(w->probe, "n", "Is it", answers, 2, 1);
}
static smft_status do_baseline(world *w) {
  return smft_probe_baseline(w->probe, w->session, NULL, NULL);
}
static smft_status do_measure(world *w) {
  return smft_probe_measure(w->probe, w->session, NULL, NULL, NULL);
}
static smft_status do_report(world *w) {
  return smft_probe_save_report(w->probe, test_file("report.json"));
}
static smft_status do_score(world *w) {
  double match, f1;
  (void)w;
  return smft_score_answer("The answer is x", answers, 2, &match, &f1);
}

/* SPARE: does without some of its allocations (PCRE2's compiler to machine code; the interpreter
 * gives the same matches). CHANGES: the world is another one afterwards.  LORA: there is a LoRA
 * patch in it, too; PLAIN: a model without memory. */
typedef struct call {
  const char *name;
  smft_status (*run)(world *w);
  int fewest; /* allocations that it is known to make at least */
  int flags;
} call;
static const call calls[] = {
    {"load", make_model, 20, SPARE},
    {"load, copied", make_copied_model, 20, SPARE},
    {"init", make_new_model, 20, SPARE},
    {"load gguf", make_gguf_model, 20, SPARE},
    {"load grafted", make_grafted_model, 40, SPARE},
    {"load gguf in parts", make_model_of_parts, 20, SPARE},
    {"load bytes", make_model_of_bytes, 20, SPARE},
    {"load bytes, copied", make_copy_of_bytes, 20, SPARE},
    {"inspect", do_inspect, 10, 0},
    {"inspect gguf", do_inspect_gguf, 20, 0},
    {"inspect grafted", do_inspect_grafted, 20, SPARE},
    {"inspect gguf in parts", do_inspect_parts, 20, 0},
    {"tokenizer", make_tokenizer, 10, SPARE},
    {"patch", make_patch, 1, 0},
    {"full patch", make_full_patch, 2, 0},
    {"lora patch", make_lora_patch, 3, 0},
    {"lora copy", make_copied_lora, 3, LORA},
    {"lora in memory", make_lora_in_memory, 8, LORA},
    {"lora merge", make_merged_lora, 2, LORA},
    {"lora load", make_loaded_lora, 6, LORA},
    {"lora learner", make_lora_learner, 8, LORA},
    {"lora session", make_lora_session, 3, LORA},
    {"patch copy", make_copied_patch, 2, 0},
    {"patch in memory", make_patch_in_memory, 8, 0},
    {"patch load", make_loaded_patch, 3, 0},
    {"session", make_session, 2, 0},
    {"selector", make_selector, 3, 0},
    {"optimizer", make_optimizer, 1, 0},
    {"learner", make_learner, 3, 0},
    {"wordings", make_wordings, 20, 0},
    {"wordings of a statement", make_wordings_of_statement, 8, 0},
    {"probe", make_probe, 2, 0},
    {"encode", do_encode, 0, 0},
    {"chat", do_chat, 3, 0},
    {"decode", do_decode, 0, 0},
    {"export", do_export, 3, 0},
    {"tensor values", do_tensor_values, 0, 0},
    {"patch save", do_patch_save, 2, 0},
    {"lora save", do_lora_save, 5, LORA},
    {"lora export", do_lora_export, 3, LORA},
    {"lora step", do_lora_step, 0, CHANGES | LORA},
    {"lora optimizer save", do_lora_optimizer_save, 2, LORA},
    {"lora optimizer load", do_lora_optimizer_load, 6, CHANGES | LORA},
    {"lora for a session", do_session_lora, 0, CHANGES | LORA},
    {"patch row", do_patch_rows, 0, CHANGES},
    {"fact remove", do_fact_remove, 0, CHANGES},
    {"patch assign", do_assign, 1, CHANGES},
    {"fact list", do_fact_list, 0, 0},
    {"feed", do_feed, 0, CHANGES},
    {"nll", do_nll, 0, CHANGES},
    {"generate", do_generate, 1, CHANGES},
    {"generate ids", do_generate_ids, 0, CHANGES},
    {"count text", do_count_text, 3, CHANGES},
    {"count texts", do_count_texts, 3, CHANGES},
    {"count ids", do_count_ids, 3, CHANGES},
    {"graft", do_graft, 60, PLAIN | SPARE},
    {"selector save", do_selector_save, 2, 0},
    {"selector load", do_selector_load, 3, CHANGES},
    {"optimizer save", do_optimizer_save, 2, 0},
    {"optimizer load", do_optimizer_load, 3, CHANGES},
    {"push", do_push, 2, CHANGES},
    {"push ids", do_push_ids, 2, CHANGES},
    {"push file", do_push_file, 5, CHANGES},
    {"push wordings", do_push_wordings, 20, CHANGES},
    {"push framed", do_push_framed, 20, 0},
    {"step contrast", do_step_contrast, 40, 0},
    {"step", do_step, 0, CHANGES},
    {"skip", do_skip, 1, CHANGES},
    {"step batch", do_step_batch, 1, CHANGES},
    {"add file", do_add_file, 5, CHANGES},
    {"add question", do_add_question, 2, CHANGES},
    {"add choice", do_add_choice, 2, CHANGES},
    {"baseline", do_baseline, 1, CHANGES},
    {"measure", do_measure, 1, CHANGES},
    {"report", do_report, 1, 0},
    {"score", do_score, 0, 0},
};
#define N_CALLS (int)(sizeof calls / sizeof *calls)

static void same_picture(const picture *wanted, const picture *got, const char *name,
                         const char *when, long long k) {
  ck_assert_msg(memcmp(wanted, got, sizeof *wanted) == 0,
                "%s, allocation %lld, %s: rows %lld/%lld (%s), counts %s, optimizer %s, lora %s, "
                "pending %lld/%lld, length %lld/%lld, "
                "items %lld/%lld, measured %g %g %g/%g %g %g",
                name, k, when, (long long)wanted->n_rows, (long long)got->n_rows,
                wanted->patch == got->patch ? "same" : "other",
                wanted->counts == got->counts ? "same" : "other",
                wanted->optimizer == got->optimizer ? "same" : "other",
                wanted->lora == got->lora ? "same" : "other", (long long)wanted->pending,
                (long long)got->pending, (long long)wanted->length, (long long)got->length,
                (long long)wanted->items, (long long)got->items, wanted->measured[0],
                wanted->measured[1], wanted->measured[2], got->measured[0], got->measured[1],
                got->measured[2]);
}

/* Runs it with its k-th allocation failing; 0: it asked for fewer. */
static int run_failing(const call *c, world *w, long long k) {
  smft__loans_free(w->ctx); /* so that borrowing allocates, and may fail */
  long long live = w->state.live;
  w->state.fail_at = w->state.calls + k;
  smft_status status = c->run(w);
  int reached = w->state.calls >= w->state.fail_at;
  w->state.fail_at = 0;
  ck_assert_msg(status == SMFT_E_NOMEM || (status == SMFT_OK && (!reached || (c->flags & SPARE))),
                "%s, allocation %lld: %s (%s)", c->name, k, smft_status_name(status),
                smft_error_message());
  if (reached && status == SMFT_OK && w->spared++ == 0)
    w->first_spared = k;
  ck_assert_msg(w->spared <= 16 && (!w->spared || status != SMFT_OK || !reached ||
                                    k == w->first_spared + w->spared - 1),
                "%s, allocation %lld: a failure went unnoticed that is not the compiler's", c->name,
                k);
  smft__loans_free(w->ctx);
  if (!(c->flags & CHANGES)) /* what grows and stays is the parents' */
    ck_assert_msg(w->state.live == live, "%s, allocation %lld: %lld blocks leak", c->name, k,
                  (long long)w->state.live - live);
  return reached;
}

/* Calls that change nothing: one world sees them fail everywhere. */
static long long unchanged(const call *c, int32_t n_threads) {
  world w;
  long long k = 1;
  open_world(&w, n_threads, c->flags);
  picture before = take_picture(&w);
  while (run_failing(c, &w, k))
    k++;
  picture after = take_picture(&w);
  same_picture(&before, &after, c->name, "failed everywhere", k);
  close_world(&w);
  return k;
}

/* The state of an optimizer after a step of LoRA, taken on a copy. */
static void write_lora_state(world *w) {
  smft_patch *copy = NULL;
  smft_optimizer *optimizer = NULL;
  smft_learner *learner = NULL;
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  ck_ok(smft_patch_copy(&copy, w->lora));
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &options));
  ck_ok(smft_learner_create(&learner, w->model, copy, NULL, optimizer, NULL));
  tiny_push(learner, "first", "one");
  ck_ok(smft_step(learner, NULL));
  ck_ok(smft_optimizer_save(optimizer, test_file("world.lora.optimizer")));
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_patch_free(copy);
}

/* What the world is before and after the call when nothing fails. */
static void undisturbed(const call *c, int32_t n_threads, picture *before, picture *after) {
  world w;
  open_world(&w, n_threads, c->flags);
  ck_ok(smft_patch_save(w.patch, test_file("world.patch"), 0)); /* for those that load */
  ck_ok(smft_optimizer_save(w.optimizer, test_file("world.optimizer")));
  if (w.lora) {
    ck_ok(smft_patch_save(w.lora, test_file("world.lora"), 0));
    write_lora_state(&w);
  }
  *before = take_picture(&w);
  ck_ok(c->run(&w));
  *after = take_picture(&w);
  close_world(&w);
}

/* The k-th allocation fails in a world of its own: nothing is lost, and with memory the result is
 * what it should be. */
static int fails_at(const call *c, long long k, int32_t n_threads, const picture *before,
                    const picture *wanted) {
  world w;
  open_world(&w, n_threads, c->flags);
  int reached = run_failing(c, &w, k);
  if (reached) {
    picture after = take_picture(&w);
    same_picture(before, &after, c->name, "failed", k);
    ck_ok(c->run(&w));
  }
  picture end = take_picture(&w);
  same_picture(wanted, &end, c->name, "done at last", k);
  close_world(&w);
  return reached;
}

static void each_allocation(const call *c, int32_t n_threads) {
  picture before, wanted;
  long long k = 1;
  undisturbed(c, n_threads, &before, &wanted);
  if (!(c->flags & CHANGES))
    k = unchanged(c, n_threads);
  else
    while (fails_at(c, k, n_threads, &before, &wanted))
      k++;
  ck_assert_msg(k > c->fewest, "%s: only %lld allocations were seen", c->name, k - 1);
}

START_TEST(each_allocation_of_a_call) { each_allocation(&calls[_i], 1); }
END_TEST

/* With threads of its own, allocations come from wherever; steps and measurements still lose
 * nothing. */
START_TEST(each_allocation_with_threads) {
  static smft_status (*const some[])(world *) = {do_step, do_generate, do_measure, do_count_ids};
  for (int i = 0; i < N_CALLS; i++)
    if (calls[i].run == some[_i])
      each_allocation(&calls[i], 3);
}
END_TEST

/* A whole life, from the context on, with its k-th allocation failing: an error somewhere, and
 * nothing leaks. */
static smft_status live(failing *state) {
  world w = {.ctx = NULL};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = 2;
  options.alloc = failing_alloc;
  options.realloc = failing_realloc;
  options.free = failing_free;
  options.alloc_user = state;
  smft_status s = smft_ctx_create(&w.ctx, &options);
  s = s ? s : smft_model_load(&w.model, w.ctx, test_file("m"), NULL);
  s = s ? s : smft_patch_create(&w.patch, w.model, SMFT_PATCH_SLOTS);
  s = s ? s : smft_session_create(&w.session, w.model, w.patch, NULL);
  s = s ? s : smft_learner_create(&w.learner, w.model, w.patch, NULL, NULL, NULL);
  s = s ? s : do_push(&w);
  s = s ? s : smft_learner_run(w.learner, NULL, NULL, NULL);
  s = s ? s : do_generate(&w);
  s = s ? s : smft_patch_save(w.patch, test_file("lived.patch"), 0);
  smft_ctx_free(w.ctx);
  smft_model_free(w.model);
  smft_patch_free(w.patch);
  smft_learner_free(w.learner);
  smft_session_free(w.session);
  return s;
}

START_TEST(a_whole_life) {
  int reached = 1, spared = 0;
  for (long long k = 1; reached; k += k < 80 ? 1 : 3) {
    failing state = {0};
    state.fail_at = k;
    smft_status status = live(&state);
    reached = state.calls >= k;
    spared += reached && status == SMFT_OK;
    ck_assert_msg(status == SMFT_E_NOMEM || (status == SMFT_OK && spared < 16),
                  "allocation %lld: %s (%s)", k, smft_status_name(status), smft_error_message());
    ck_assert_msg(state.live == 0, "allocation %lld: %lld blocks leak", k, (long long)state.live);
  }
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("allocation failures");
  TCase *tests = tcase_create("each in turn");
  test_directory_in_memory();
  test_directory_make();
  tcase_add_unchecked_fixture(tests, make_files, NULL);
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, each_allocation_of_a_call, 0, N_CALLS);
  tcase_add_loop_test(tests, each_allocation_with_threads, 0, 4);
  tcase_add_test(tests, a_whole_life);
  suite_add_tcase(suite, tests);
  return suite;
}
