/* fuzz_model_gguf: any bytes as a whole GGUF model: refused with a message, or a model that answers
 * a few tokens. libFuzzer: see test_fuzz.sh; without it replay.c calls this. */
#include "base/utf8.h"
#include "smft/smft.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(const char *why) {
  if (write(2, why, strlen(why)) >= 0 && write(2, "\n", 1) >= 0)
    abort();
}

/* No memory is an answer, too, to sizes that only a header claims. */
static void check_message(smft_status status) {
  if (status != SMFT_E_FORMAT && status != SMFT_E_UNSUPPORTED && status != SMFT_E_MISMATCH &&
      status != SMFT_E_NOMEM)
    give_up(smft_error_message());
  if (!smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL))
    give_up("a message that is not UTF-8");
}

static void use(const smft_model *model) {
  static float logits[65536];
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  smft_session *session = NULL;
  int32_t ids[3] = {0, 1, 2};
  if (smft_model_get_info(model, &info) != SMFT_OK || info.vocab_size > 65536)
    return;
  for (int i = 0; i < 3; i++)
    ids[i] = ids[i] < info.vocab_size ? ids[i] : 0;
  if (smft_session_create(&session, model, NULL, NULL) == SMFT_OK)
    (void)smft_session_feed(session, ids, 3, SMFT_LOGITS_LAST, logits, 65536);
  smft_session_free(session);
}

static void load(smft_ctx *ctx, const void *data, size_t size) {
  smft_load_options copied = SMFT_LOAD_OPTIONS_INIT;
  smft_model *model = NULL;
  copied.flags = size % 2 ? SMFT_LOAD_COPY : 0;
  smft_status status = smft_model_load_buffer(&model, ctx, data, (int64_t)size, &copied);
  if (status != SMFT_OK)
    check_message(status);
  if ((status == SMFT_OK) != (model != NULL))
    give_up("a model and an error, or neither");
  if (model)
    use(model);
  smft_model_free(model);
}

/* Twice: what a context keeps for its kernels is there after the first time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static smft_ctx *ctx;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  int64_t once = 0, twice = 0;
  options.n_threads = 1;
  if (!ctx && smft_ctx_create(&ctx, &options) != SMFT_OK)
    return 0;
  load(ctx, data, size);
  smft_ctx_memory(ctx, &once, NULL);
  load(ctx, data, size);
  smft_ctx_memory(ctx, &twice, NULL);
  if (once != twice)
    give_up("memory was left behind");
  return 0;
}
