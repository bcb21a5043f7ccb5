/* tensor_write: the numbers of tensors into a file that replaces another whole or not at all:
 * converted in small pieces, with progress.  Does not own: what stands around them
 * (safetensors_write.c, gguf_write.c). */
#ifndef SMFT__TENSOR_WRITE_H
#define SMFT__TENSOR_WRITE_H
#include "base/file.h"
#include "data/tensor.h"

typedef struct smft__save_tensor {
  const char *name;
  smft__tensor tensor; /* data as it is in memory */
  /* to be written as; 0: as it is.  Any weights to F32, F16, BF16, and (rows of whole blocks) Q8_0
   */
  int32_t dtype;
} smft__save_tensor;
static inline int32_t smft__written_dtype(const smft__save_tensor *one) {
  return one->dtype ? one->dtype : one->tensor.dtype;
}

typedef struct smft__tensor_writer {
  smft_ctx *ctx;
  smft_progress_fn progress;
  void *progress_user;
  int64_t total; /* bytes of data */
  int64_t done;
  smft__writer *file;
  float *piece;  /* numbers on their way, made when first needed */
  uint16_t *raw; /* behind them: the same as they are written */
} smft__tensor_writer;
/* Checks names, shapes and types, and adds up the bytes (total). */
smft_status smft__tensor_writer_check(smft__tensor_writer *out, const smft__save_tensor *tensors,
                                      int64_t n);
/* file is open, and what comes before the numbers is in it.  SMFT_E_NONFINITE, with the tensor's
 * name, for a number that is not finite in the type it becomes.  order (rows): which row is
 * written in each place; NULL: as they are. */
smft_status smft__tensor_writer_put(smft__tensor_writer *out, const smft__save_tensor *one,
                                    const int64_t *order);
/* Of its memory; the file is the caller's. */
void smft__tensor_writer_close(smft__tensor_writer *out);
#endif
