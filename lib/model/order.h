/* order: where the numbers of a model from GGUF lie otherwise than Hugging Face has them, and the
 * way there and back.  The model computes with them as they lie; whoever shows or writes Hugging
 * Face's order asks here. */
#ifndef SMFT__ORDER_H
#define SMFT__ORDER_H
#include "model/model.h"

/* 1: its rows have another order: those of a tensor, and of B of its adapter. */
int smft__order_is_other(const smft_model *model, int32_t tensor);
/* rows (those of the tensor) of `row_bytes` each are put into Hugging Face's order, or back. */
void smft__order_to_hf(const smft_model *model, int32_t tensor, void *rows, int64_t row_bytes);
void smft__order_from_hf(const smft_model *model, int32_t tensor, void *rows, int64_t row_bytes);
/* What Hugging Face's numbers are more than the model's; 0 for nearly all tensors. */
float smft__order_offset(const smft_model *model, int32_t tensor);
/* And for a model whose numbers lie as Hugging Face has them, what a GGUF has: 1: rows in its
 * order, whose row i of a tensor is row smft__order_hf_row(i) of the model's; what its numbers are
 * more. */
int smft__order_turns_for_gguf(const smft_model *model, int32_t tensor);
int64_t smft__order_hf_row(int64_t row, int64_t head_dim);
float smft__order_gguf_offset(const smft_model *model, int32_t tensor);
/* All values (f32) of a tensor, put into Hugging Face's order and offset. */
void smft__order_values(const smft_model *model, int32_t tensor, float *values);
#endif
