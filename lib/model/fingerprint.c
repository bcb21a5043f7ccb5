/* fingerprint: the SHA-256 by which patches and background counts know their model.  Large tensors
 * are sampled, so that opening a model with a pool of gigabytes touches a few pages of it. */
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "model/arch.h"
#include "model/weights.h"

#define PIECES 16 /* of a tensor that is larger than that many */
#define PIECE_BYTES 4096
#define BLOCK_PIECE_BYTES 512

/* Of a block that is otherwise than Llama's. */
static smft_status block_text(const smft__config *c, int32_t i, smft__buffer *text) {
  const smft__block_plan *b = &c->blocks[i];
  char scale[40];
  int scaled =
      b->attention_scale < smft__usual_scale(c) || b->attention_scale > smft__usual_scale(c);
  if (b->rope)
    SMFT__TRY(smft__buffer_printf(text, "block %d rope %d\n", i, b->rope));
  if (b->window)
    SMFT__TRY(smft__buffer_printf(text, "block %d window %d\n", i, b->window));
  if (scaled)
    SMFT__TRY(smft__buffer_printf(text, "block %d scale %s\n", i,
                                  smft__format_double((double)b->attention_scale, scale)));
  if (b->norm == SMFT__NORM_BY_WEIGHT && b->norms == SMFT__NORMS_BEFORE &&
      b->qk_norm == SMFT__QK_NORM_NONE && b->activation == SMFT__SILU)
    return SMFT_OK;
  return smft__buffer_printf(text, "block %d norm %d %d %d activation %d\n", i, b->norm, b->norms,
                             b->qk_norm, b->activation);
}

/* Of rotary tables that are otherwise than Llama's. */
static smft_status ropes_text(const smft__config *c, smft__buffer *text) {
  for (int32_t i = 0; i < c->stack.n_ropes; i++)
    if (c->stack.ropes[i].pairs != SMFT__PAIRS_HALVES)
      SMFT__TRY(smft__buffer_printf(text, "rope %d pairs %d\n", i, c->stack.ropes[i].pairs));
  return c->rope_text ? smft__buffer_printf(text, "%s", c->rope_text) : SMFT_OK;
}

static smft_status plan_text(const smft__config *c, smft__buffer *text) {
  char scale[40];
  for (int32_t i = 0; i < c->n_layers; i++)
    SMFT__TRY(block_text(c, i, text));
  if (c->stack.embedding_scale < 1 || c->stack.embedding_scale > 1)
    SMFT__TRY(smft__buffer_printf(text, "embedding scale %s\n",
                                  smft__format_double((double)c->stack.embedding_scale, scale)));
  return ropes_text(c, text);
}

static smft_status memory_text(const smft__config *c, smft__buffer *text) {
  char memory_eps[40], temperature[40];
  const smft__memory_config *m = &c->memory;
  if (m->identity || c->zero_values) /* as they came later */
    SMFT__TRY(smft__buffer_printf(text, "out %d values %d\n", m->identity, c->zero_values));
  return smft__buffer_printf(text, "%d %d %d %d %d %d %d %d %d %d %s %s\n", c->placement, m->n_keys,
                             m->heads, m->top_k, m->key_dim, m->value_dim, m->query_norm,
                             m->key_norm, m->gate, m->bias,
                             smft__format_double((double)m->norm_eps, memory_eps),
                             smft__format_double((double)m->temperature, temperature));
}

/* Only what changes results; not the file's spelling, token names or training notes. */
static smft_status config_text(const smft__config *c, smft__buffer *text) {
  char eps[40], theta[40];
  SMFT__TRY(smft__buffer_printf(text, "%s %d %d %d %d %d %d %d %d %s %s\n", c->arch->model_type,
                                c->n_layers, c->hidden, c->n_heads, c->n_kv_heads, c->head_dim,
                                c->ffn, c->vocab, c->tied,
                                smft__format_double((double)c->norm_eps, eps),
                                smft__format_double(c->rope_theta, theta)));
  for (int32_t i = 0; i < c->n_memories; i++)
    SMFT__TRY(
        smft__buffer_printf(text, "memory %d %d\n", c->memories[i].layer, c->memories[i].pool));
  SMFT__TRY(plan_text(c, text));
  return c->n_memories ? memory_text(c, text) : SMFT_OK;
}

static void add_u64(smft__sha256 *hash, uint64_t value) {
  unsigned char bytes[8];
  smft__write_u64le(bytes, value);
  smft__sha256_add(hash, bytes, sizeof bytes);
}

/* Of tensors in blocks, whose bytes are of more numbers, smaller pieces do. */
static int64_t piece_bytes(int32_t dtype) {
  return smft__is_block(dtype) ? BLOCK_PIECE_BYTES : PIECE_BYTES;
}

static int64_t piece_at(int64_t size, int64_t bytes, int64_t i) {
  return (size - bytes) * i / (PIECES - 1);
}

static void add_content(smft__sha256 *hash, const smft__tensor *tensor) {
  const unsigned char *data = tensor->data;
  int64_t size = smft__tensor_bytes(tensor), bytes = piece_bytes(tensor->dtype);
  if (size <= PIECES * bytes) {
    smft__sha256_add(hash, data, (size_t)size);
    return;
  }
  for (int64_t i = 0; i < PIECES; i++)
    smft__sha256_add(hash, data + piece_at(size, bytes, i), (size_t)bytes);
}

static int same_content(const smft__tensor *x, const smft__tensor *y) {
  const unsigned char *a = x->data, *b = y->data;
  int64_t size = smft__tensor_bytes(x), bytes = piece_bytes(x->dtype);
  if (size <= PIECES * bytes)
    return memcmp(a, b, (size_t)size) == 0;
  for (int64_t i = 0; i < PIECES; i++)
    if (memcmp(a + piece_at(size, bytes, i), b + piece_at(size, bytes, i), (size_t)bytes) != 0)
      return 0;
  return 1;
}

int smft__weights_same(const smft__tensor *a, const smft__tensor *b) {
  return a->dtype == b->dtype && a->n_dims == b->n_dims &&
         memcmp(a->shape, b->shape, (size_t)a->n_dims * sizeof *a->shape) == 0 &&
         same_content(a, b);
}

static void add_tensor(smft__sha256 *hash, const char *name, const smft__tensor *tensor) {
  const char *dtype = smft__dtype_name(tensor->dtype);
  smft__sha256_add(hash, name, strlen(name) + 1);
  smft__sha256_add(hash, dtype, strlen(dtype) + 1);
  add_u64(hash, (uint64_t)tensor->n_dims);
  for (int32_t i = 0; i < tensor->n_dims; i++)
    add_u64(hash, (uint64_t)tensor->shape[i]);
  if (tensor->data) /* of zeros that stand nowhere the config says all */
    add_content(hash, tensor);
}

smft_status smft__weights_fingerprint(smft_model *model) {
  smft__buffer text = {model->ctx, NULL, 0, 0};
  smft__sha256 hash;
  smft_status status = config_text(&model->config, &text);
  if (status == SMFT_OK) {
    smft__sha256_start(&hash);
    smft__sha256_add(&hash, text.data, (size_t)text.length);
    for (int32_t i = 0; i < model->n_tensors; i++)
      add_tensor(&hash, model->names[i], &model->tensors[i]);
    smft__sha256_hex(&hash, model->hash);
  }
  smft__buffer_free(&text);
  return status;
}
