/* quant: element types whose numbers come in blocks, as GGUF files hold them: 32 or 256 small whole
 * numbers q with a scale d in f16, and in some types a minimum m, so that a number is d q, or d q +
 * m.  In the types of 256 ("K") each 16 or 32 of them have a whole-number scale of their own, which
 * d multiplies (and dmin their minimum).
 *
 * Owns where things lie in a block, and the plain decoding of each type: the entries of dtype.c's
 * table, and what kernels (nn/kernels/quant_body.h) are measured against.  Every product here is
 * exact in f32 (24 bits at most), and only d q + m is rounded: whether a compiler fuses the two
 * makes no difference. */
#ifndef SMFT__QUANT_H
#define SMFT__QUANT_H
#include <stdint.h>

#define SMFT__QUANT_MOST 256 /* the longest block */
#define SMFT__QUANT_LEAST 32 /* the shortest; every block is so many times some whole number */

/* Every type, for the switches of kernels that are specialised by it. */
#define SMFT__QUANT_TYPES(X)                                                                       \
  X(SMFT__Q4_0)                                                                                    \
  X(SMFT__Q4_1)                                                                                    \
  X(SMFT__Q5_0) X(SMFT__Q5_1) X(SMFT__Q8_0) X(SMFT__Q4_K) X(SMFT__Q5_K) X(SMFT__Q6_K)
/* Bytes of a block: of the numbers' lower bits, of those above, of scales, of d and m. */
enum {
  SMFT__Q4_0_BYTES = 16 + 2,
  SMFT__Q4_1_BYTES = 16 + 4,
  SMFT__Q5_0_BYTES = 16 + 4 + 2,
  SMFT__Q5_1_BYTES = 16 + 4 + 4,
  SMFT__Q8_0_BYTES = 32 + 2,
  SMFT__Q4_K_BYTES = 128 + 12 + 4,
  SMFT__Q5_K_BYTES = 128 + 32 + 12 + 4,
  SMFT__Q6_K_BYTES = 128 + 64 + 16 + 2
};
/* Where in a block something begins.  QS: four bits (Q8_0: eight) of every q, two numbers a byte;
 * QH: the bits above; SCALES: Q4_K, Q5_K: eight scales and eight minima of six bits in twelve
 * bytes, Q6_K: sixteen of eight.  The scale d is at byte 0 (but in Q6_K), the minimum at byte 2. */
enum {
  SMFT__QUANT_M = 2,
  SMFT__Q4_0_QS = 2,
  SMFT__Q4_1_QS = 4,
  SMFT__Q5_0_QH = 2,
  SMFT__Q5_0_QS = 6,
  SMFT__Q5_1_QH = 4,
  SMFT__Q5_1_QS = 8,
  SMFT__Q8_0_QS = 2,
  SMFT__QK_SCALES = 4, /* of Q4_K and Q5_K */
  SMFT__Q4_K_QS = 16,
  SMFT__Q5_K_QH = 16,
  SMFT__Q5_K_QS = 48,
  SMFT__Q6_K_QH = 128,
  SMFT__Q6_K_SCALES = 192,
  SMFT__Q6_K_D = 208
};

/* n numbers, whole blocks at any address: smft__dtype's to_f32 */
void smft__q4_0_to_f32(const void *blocks, int64_t n, float *out);
void smft__q4_1_to_f32(const void *blocks, int64_t n, float *out);
void smft__q5_0_to_f32(const void *blocks, int64_t n, float *out);
void smft__q5_1_to_f32(const void *blocks, int64_t n, float *out);
void smft__q8_0_to_f32(const void *blocks, int64_t n, float *out);
void smft__q4_k_to_f32(const void *blocks, int64_t n, float *out);
void smft__q5_k_to_f32(const void *blocks, int64_t n, float *out);
void smft__q6_k_to_f32(const void *blocks, int64_t n, float *out);
/* The way back, with ggml's choice of d: the largest |value| over 127.  0: a value, or d as f16, is
 * not finite (blocks are then not all written). */
int smft__q8_0_from_f32(const float *values, int64_t n, void *blocks);
#endif
