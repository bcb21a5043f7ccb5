/* quant: the plain decoding of blocks, a number at a time, and their encoding; see quant.h. */
#include "data/quant.h"

#include <math.h>

#include "data/dtype.h"

static float half_at(const uint8_t *block, int at) {
  uint16_t half;
  memcpy(&half, block + at, sizeof half);
  return smft__f16_to_f32(half);
}

/* ---- blocks of 32 -------------------------------------------------------- */

/* Added, it changes no number: not even -0 becomes 0. */
#define NOTHING (-0.0f)

/* out (32) = d (q - zero) + m, q from 16 bytes of halves, and from 32 bits above them (NULL: none).
 */
static void decode_32(const uint8_t *qs, const uint8_t *qh, float d, int zero, float m,
                      float *out) {
  for (int i = 0; i < 32; i++) {
    int q = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
    if (qh)
      q |= (qh[i / 8] >> i % 8 & 1) << 4;
    out[i] = d * (float)(q - zero) + m;
  }
}

void smft__q4_0_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 32, block += SMFT__Q4_0_BYTES, out += 32)
    decode_32(block + SMFT__Q4_0_QS, NULL, half_at(block, 0), 8, NOTHING, out);
}

void smft__q4_1_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 32, block += SMFT__Q4_1_BYTES, out += 32)
    decode_32(block + SMFT__Q4_1_QS, NULL, half_at(block, 0), 0, half_at(block, SMFT__QUANT_M),
              out);
}

void smft__q5_0_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 32, block += SMFT__Q5_0_BYTES, out += 32)
    decode_32(block + SMFT__Q5_0_QS, block + SMFT__Q5_0_QH, half_at(block, 0), 16, NOTHING, out);
}

void smft__q5_1_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 32, block += SMFT__Q5_1_BYTES, out += 32)
    decode_32(block + SMFT__Q5_1_QS, block + SMFT__Q5_1_QH, half_at(block, 0), 0,
              half_at(block, SMFT__QUANT_M), out);
}

void smft__q8_0_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 32, block += SMFT__Q8_0_BYTES, out += 32)
    for (int i = 0; i < 32; i++)
      out[i] = half_at(block, 0) * (float)(int8_t)block[SMFT__Q8_0_QS + i];
}

/* ---- blocks of 256 ------------------------------------------------------- */

/* Scale g of 0 to 7, or minimum g - 8 of 8 to 15: the first four of each kind are the lower six
 * bits of their bytes, whose upper two are the upper two of the others. */
static float six_bits(const uint8_t scales[12], int g) {
  int kind = g / 8, i = g % 8;
  if (i < 4)
    return (float)(scales[4 * kind + i] & 63);
  return (float)((scales[4 + i] >> 4 * kind & 15) | scales[4 * kind + i - 4] >> 6 << 4);
}

/* qh NULL: four bits only. */
static void decode_k(const uint8_t *block, const uint8_t *qs, const uint8_t *qh, float *out) {
  for (int i = 0; i < 256; i++) {
    int g = i / 32, q = qs[i / 64 * 32 + i % 32] >> 4 * (g % 2) & 15;
    float d = half_at(block, 0) * six_bits(block + SMFT__QK_SCALES, g);
    float m = half_at(block, SMFT__QUANT_M) * six_bits(block + SMFT__QK_SCALES, g + 8);
    if (qh)
      q |= (qh[i % 32] >> g & 1) << 4;
    out[i] = d * (float)q - m;
  }
}

void smft__q4_k_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 256, block += SMFT__Q4_K_BYTES, out += 256)
    decode_k(block, block + SMFT__Q4_K_QS, NULL, out);
}

void smft__q5_k_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 256, block += SMFT__Q5_K_BYTES, out += 256)
    decode_k(block, block + SMFT__Q5_K_QS, block + SMFT__Q5_K_QH, out);
}

/* Of each 128 numbers the lower four bits lie in 64 bytes, the upper two in 32. */
void smft__q6_k_to_f32(const void *blocks, int64_t n, float *out) {
  const uint8_t *block = blocks;
  for (; n > 0; n -= 256, block += SMFT__Q6_K_BYTES, out += 256)
    for (int i = 0; i < 256; i++) {
      int half = i / 128, g = i % 128 / 32, l = i % 32;
      int low = block[64 * half + 32 * (g % 2) + l] >> 4 * (g / 2) & 15;
      int high = block[SMFT__Q6_K_QH + 32 * half + l] >> 2 * g & 3;
      float scale = (float)(int8_t)block[SMFT__Q6_K_SCALES + i / 16];
      out[i] = half_at(block, SMFT__Q6_K_D) * scale * (float)((low | high << 4) - 32);
    }
}

/* ---- to blocks ----------------------------------------------------------- */

/* d is rounded to f16 only where it is written: the q are those of the unrounded. */
static int encode_q8_0(const float *values, uint8_t *block) {
  float most = 0;
  for (int i = 0; i < 32; i++) {
    if (!isfinite(values[i]))
      return 0;
    most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
  }
  float d = most / 127, inverse = d > 0 ? 1 / d : 0;
  uint16_t half = smft__f32_to_f16(d);
  memcpy(block, &half, sizeof half);
  for (int i = 0; i < 32; i++) {
    float q = roundf(values[i] * inverse);
    block[SMFT__Q8_0_QS + i] = (uint8_t)(int8_t)(fabsf(q) <= 127 ? q : 0);
  }
  return isfinite(smft__f16_to_f32(half));
}

int smft__q8_0_from_f32(const float *values, int64_t n, void *blocks) {
  uint8_t *block = blocks;
  for (; n > 0; n -= 32, block += SMFT__Q8_0_BYTES, values += 32)
    if (!encode_q8_0(values, block))
      return 0;
  return 1;
}
