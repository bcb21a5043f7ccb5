/* rotate: see rotate.h.  Gram and Schmidt, each vector twice: that is as good as reflections. */
#include "graft/rotate.h"

#include <math.h>

static double dot(const double *a, const double *b, int64_t d) {
  double sum = 0;
  for (int64_t i = 0; i < d; i++)
    sum += a[i] * b[i];
  return sum;
}

/* What row n has of those before it is taken off. */
static void take_off_others(double *rows, int64_t n, int64_t d) {
  double *row = rows + n * d;
  for (int64_t j = 0; j < n; j++) {
    double share = dot(row, rows + j * d, d);
    for (int64_t i = 0; i < d; i++)
      row[i] -= share * rows[j * d + i];
  }
}

void smft__rotation(smft__rng *rng, double *rows, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) {
    double *row = rows + i * d;
    for (int64_t j = 0; j < d; j++)
      row[j] = smft__rng_normal(rng);
    take_off_others(rows, i, d);
    take_off_others(rows, i, d);
    double length = sqrt(dot(row, row, d));
    for (int64_t j = 0; j < d; j++)
      row[j] /= length;
  }
}

void smft__random_units(smft__rng *rng, float *rows, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) {
    double square = 0;
    for (int64_t j = 0; j < d; j++) {
      rows[i * d + j] = (float)smft__rng_normal(rng);
      square += (double)rows[i * d + j] * (double)rows[i * d + j];
    }
    for (int64_t j = 0; j < d && square > 0; j++)
      rows[i * d + j] = (float)((double)rows[i * d + j] / sqrt(square));
  }
}
