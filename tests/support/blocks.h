/* blocks: random rows of GGUF's block types for tests, with scales that make the numbers as large
 * as is asked for. */
#ifndef SMFT_TEST_BLOCKS_H
#define SMFT_TEST_BLOCKS_H
#include "base/rng.h"
#include "data/quant.h"
#include "data/tensor.h"
#include "test.h"

static const int32_t block_types[] = {SMFT__Q4_0, SMFT__Q4_1, SMFT__Q5_0, SMFT__Q5_1,
                                      SMFT__Q8_0, SMFT__Q4_K, SMFT__Q5_K, SMFT__Q6_K};
enum { N_BLOCK_TYPES = sizeof block_types / sizeof *block_types };

static inline void put_half(unsigned char *at, double value) {
  uint16_t half = smft__f32_to_f16((float)value);
  memcpy(at, &half, sizeof half);
}

/* The f16 numbers of a block: q times d is up to about 2, the minima (of types that have them)
 * bring the middle to about 0. */
static inline void put_scales(unsigned char *block, int32_t dtype, double size) {
  switch (dtype) {
  case SMFT__Q4_0:
  case SMFT__Q5_0:
    put_half(block, size / 16);
    break;
  case SMFT__Q4_1:
  case SMFT__Q5_1:
    put_half(block, size / (dtype == SMFT__Q4_1 ? 8 : 16));
    put_half(block + SMFT__QUANT_M, -size);
    break;
  case SMFT__Q8_0:
    put_half(block, size / 64);
    break;
  case SMFT__Q6_K:
    put_half(block + SMFT__Q6_K_D, size / 32 / 64);
    break;
  default:
    put_half(block, size / (dtype == SMFT__Q4_K ? 8 : 16) / 32);
    put_half(block + SMFT__QUANT_M, size / 32);
  }
}

/* n numbers (whole blocks) of up to about twice `most`, which begin at bytes + offset; freed by the
 * caller. */
static inline char *random_blocks(smft__rng *rng, int32_t dtype, int64_t n, double most,
                                  int64_t offset) {
  const smft__dtype *traits = smft__dtype_traits(dtype);
  int64_t size = smft__row_bytes(dtype, n);
  unsigned char *bytes = malloc((size_t)(size + offset));
  ck_assert_ptr_nonnull(bytes);
  for (int64_t i = 0; i < size; i++)
    bytes[offset + i] = (unsigned char)(smft__rng_uniform(rng) * 256);
  for (int64_t i = 0; i < size; i += traits->bytes)
    put_scales(bytes + offset + i, dtype, most * (smft__rng_uniform(rng) - 0.3));
  return (char *)bytes;
}
#endif
