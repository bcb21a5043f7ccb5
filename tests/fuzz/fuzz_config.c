/* fuzz_config: any bytes as config.json, and behind a 0 as generation_config.json: refused with a
 * message, or a plan; a small one becomes a model that answers; "base" and "memory" are those of a
 * graft. */
#include "fuzz.h"
#include "model/config.h"
#include "model/grafted.h"

static volatile double sum;

static void touch(const smft__config *c) {
  if (!c->json || !c->arch || c->n_stops < 0 || c->n_stops > 64 || c->vocab < 1)
    give_up("a config that is not whole");
  for (int32_t i = 0; i < c->n_layers; i++) {
    const smft__block_plan *block = &c->blocks[i];
    if (block->rope >= c->stack.n_ropes || block->memory >= c->n_memories || block->window < 0)
      give_up("a block refers to what is not there");
    sum = sum + (double)block->attention_scale;
  }
  for (int32_t i = 0; i < c->stack.n_ropes; i++)
    for (int32_t k = 0; k < c->stack.ropes[i].dims / 2; k++)
      sum = sum + (double)c->stack.ropes[i].frequency[k];
  for (int32_t i = 0; i < c->n_memories; i++)
    if (c->memories[i].layer >= c->n_layers || c->memories[i].pool >= c->n_pools)
      give_up("a memory refers to what is not there");
}

static int is_small(const smft__config *c) {
  double memory = c->n_memories ? (double)c->memory.n_keys * c->memory.n_keys : 0;
  return c->n_layers < 5 && c->hidden < 33 && c->vocab < 65 && c->ffn < 65 &&
         smft__q_width(c) < 129 && c->n_memories < 5 && memory < 65 && c->memory.value_dim < 33 &&
         c->memory.heads * c->memory.key_dim < 65;
}

static void answer(smft_ctx *ctx) {
  static float logits[64];
  static const int32_t ids[] = {0, 0, 0};
  smft_model *model = NULL;
  smft_session *session = NULL;
  smft_status status = smft_model_init(&model, ctx, fuzz_path(""), 7);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_MISMATCH, SMFT_E_NONFINITE);
  if ((status == SMFT_OK) != (model != NULL))
    give_up("a model and an error, or neither");
  if (status == SMFT_OK) {
    MUST(smft_session_create(&session, model, NULL, NULL));
    status = smft_session_feed(session, ids, 3, SMFT_LOGITS_LAST, logits, 64);
    CHECK(status, SMFT_E_NONFINITE, SMFT_E_CONTEXT);
    smft_session_free(session);
  }
  smft_model_free(model);
}

static void graft(smft_ctx *ctx, const smft__grafted *grafted) {
  static const char base[] = "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":4,"
                             "\"num_attention_heads\":2,\"intermediate_size\":8,\"vocab_size\":9}";
  smft__config config;
  if (!grafted->path || strlen(grafted->hash) != 64)
    give_up("a graft without a base");
  MUST(smft__config_translated(&config, ctx, base, "base"));
  smft_status status = smft__config_graft(&config, ctx, grafted->memory);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED);
  if (status == SMFT_OK)
    touch(&config);
  smft__config_free(&config, ctx);
}

static void load(smft_ctx *ctx) {
  smft__config config;
  smft_status status = smft__config_load(&config, ctx, fuzz_path(""));
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_ENCODING);
  int small = status == SMFT_OK && is_small(&config);
  if (status == SMFT_OK)
    touch(&config);
  smft__config_free(&config, ctx);
  if (small)
    answer(ctx);
}

static void run(const uint8_t *data, size_t size) {
  smft_ctx *ctx = fuzz_ctx();
  smft__grafted grafted;
  size_t length = 0;
  const char *part = fuzz_part(&data, &size, &length);
  fuzz_write("config.json", part ? part : "", length);
  part = fuzz_part(&data, &size, &length);
  fuzz_write("generation_config.json", part, length);
  smft_status status = smft__grafted_read(&grafted, ctx, fuzz_path(""));
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_ENCODING);
  if (grafted.root)
    graft(ctx, &grafted);
  smft__grafted_free(&grafted, ctx);
  load(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_run(run, data, size);
  return 0;
}
