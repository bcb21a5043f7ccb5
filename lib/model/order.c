/* order: see order.h.  llama.cpp's converter puts the two halves of each head of Llama-type queries
 * and keys into turns (0, d/2, 1, d/2 + 1, ...), so that what turns together lies side by side. */
#include "model/order.h"

#include <string.h>

#include "model/arch.h"

static int is_query_or_key(int32_t line) {
  return line == SMFT__LINE_Q || line == SMFT__LINE_K || line == SMFT__LINE_Q_BIAS ||
         line == SMFT__LINE_K_BIAS;
}

static int is_turned(const smft_model *model, int32_t tensor) {
  return is_query_or_key(model->origin[tensor].line) &&
         (model->config.arch->gguf & SMFT__GGUF_TURNS_ROWS);
}

static int has_one_more(const smft_model *model, int32_t tensor) {
  const char *name = model->names[tensor], *end = name + strlen(name) - strlen("norm.weight");
  return end > name && strcmp(end, "norm.weight") == 0 &&
         (model->config.arch->gguf & SMFT__GGUF_ADDS_ONE);
}

int smft__order_is_other(const smft_model *model, int32_t tensor) {
  return model->config.gguf && is_turned(model, tensor);
}

int smft__order_turns_for_gguf(const smft_model *model, int32_t tensor) {
  return !model->config.gguf && is_turned(model, tensor);
}

/* Where row i of a head of d goes. */
static int64_t to_hf(int64_t i, int64_t d) { return i % 2 * (d / 2) + i / 2; }
static int64_t from_hf(int64_t i, int64_t d) { return i % (d / 2) * 2 + i / (d / 2); }

static void swap_rows(char *a, char *b, int64_t bytes) {
  char piece[256];
  while (bytes > 0) {
    size_t n = bytes < (int64_t)sizeof piece ? (size_t)bytes : sizeof piece;
    memcpy(piece, a, n);
    memcpy(a, b, n);
    memcpy(b, piece, n);
    a += n;
    b += n;
    bytes -= (int64_t)n;
  }
}

/* A cycle is done once, from its least row on: its rows are swapped through that one. */
static void permute_head(char *rows, int64_t d, int64_t bytes, int64_t (*place)(int64_t, int64_t)) {
  for (int64_t start = 0; start < d; start++) {
    int64_t i = place(start, d);
    while (i > start)
      i = place(i, d);
    if (i < start)
      continue;
    for (i = place(start, d); i != start; i = place(i, d))
      swap_rows(rows + start * bytes, rows + i * bytes, bytes);
  }
}

static void permute(const smft_model *model, int32_t tensor, void *rows, int64_t bytes,
                    int64_t (*place)(int64_t, int64_t)) {
  int64_t d = model->config.head_dim, n = model->tensors[tensor].shape[0];
  if (!smft__order_is_other(model, tensor))
    return;
  for (int64_t head = 0; head < n / d; head++)
    permute_head((char *)rows + head * d * bytes, d, bytes, place);
}

void smft__order_to_hf(const smft_model *model, int32_t tensor, void *rows, int64_t row_bytes) {
  permute(model, tensor, rows, row_bytes, to_hf);
}

void smft__order_from_hf(const smft_model *model, int32_t tensor, void *rows, int64_t row_bytes) {
  permute(model, tensor, rows, row_bytes, from_hf);
}

int64_t smft__order_hf_row(int64_t row, int64_t head_dim) {
  return row / head_dim * head_dim + to_hf(row % head_dim, head_dim);
}

float smft__order_offset(const smft_model *model, int32_t tensor) {
  return model->config.gguf && has_one_more(model, tensor) ? -1.0f : 0;
}

float smft__order_gguf_offset(const smft_model *model, int32_t tensor) {
  return !model->config.gguf && has_one_more(model, tensor) ? 1.0f : 0;
}

void smft__order_values(const smft_model *model, int32_t tensor, float *values) {
  const smft__tensor *shape = &model->tensors[tensor];
  int64_t n = smft__tensor_count(shape);
  float offset = smft__order_offset(model, tensor);
  if (shape->n_dims > 0 && shape->shape[0] > 0)
    smft__order_to_hf(model, tensor, values, n / shape->shape[0] * (int64_t)sizeof *values);
  for (int64_t i = 0; i < n && offset != 0; i++)
    values[i] += offset;
}
