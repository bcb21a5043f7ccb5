/* learn_defaults: see learn_defaults.h.  Owns the keys of "learn" and their ranges, which are those
 * of the options that they stand for. */
#include "model/learn_defaults.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define WHAT "config.json: \"memory\": \"learn\""

const char *const smft__damping_names[2] = {"squares", "df"};
const char *const smft__rank_names[2] = {"counts", "weights"};

typedef struct number { /* from least to most */
  const char *key;
  size_t at;
  double least, most;
} number;

#define AT(field) #field, offsetof(smft__learn_defaults, field)
static const number reals[] = {{AT(max_df), -1, 1}, /* negative: as in the options */
                               {AT(damping), -1e30, 1e30},
                               {AT(step_length), 0, 1e30},
                               {AT(momentum), 0, 1},
                               {AT(loss_below), -1e30, 1e30}};
static const number counts[] = {{AT(max_steps), 0, INT_MAX}, {AT(wordings_per_step), -1, INT_MAX}};
#undef AT
enum { N_REALS = sizeof reals / sizeof *reals, N_COUNTS = sizeof counts / sizeof *counts };
#define MOST_ROWS (INT64_C(1) << 40)

static int is_known(const char *key) {
  static const char *const others[] = {"t", "damping_by", "rank_by", "length_by_loss", "frames"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strcmp(key, others[i]) == 0)
      return 1;
  for (int i = 0; i < N_REALS; i++)
    if (strcmp(key, reals[i].key) == 0)
      return 1;
  for (int i = 0; i < N_COUNTS; i++)
    if (strcmp(key, counts[i].key) == 0)
      return 1;
  return 0;
}

static smft_status check_keys(json_t *learn) {
  const char *key;
  json_t *value;
  json_object_foreach(learn, key, value) {
    if (!is_known(key))
      return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"%s\" is not known", key);
  }
  return SMFT_OK;
}

static smft_status check_range(const number *n, double value) {
  return value >= n->least && value <= n->most
             ? SMFT_OK
             : smft__fail(SMFT_E_FORMAT, WHAT ": \"%s\" must be from %g to %g, got %g", n->key,
                          n->least, n->most, value);
}

static smft_status read_real(const json_t *learn, const number *n, smft__learn_defaults *out) {
  double value = 0;
  SMFT__TRY(smft__json_double(learn, n->key, 0, &value, WHAT));
  SMFT__TRY(check_range(n, value));
  memcpy((char *)out + n->at, &value, sizeof value);
  return SMFT_OK;
}

static smft_status read_count(const json_t *learn, const number *n, smft__learn_defaults *out) {
  int64_t value = 0;
  SMFT__TRY(smft__json_i64(learn, n->key, 0, &value, WHAT));
  SMFT__TRY(check_range(n, (double)value));
  int32_t narrow = (int32_t)value;
  memcpy((char *)out + n->at, &narrow, sizeof narrow);
  return SMFT_OK;
}

static smft_status read_rows(const json_t *learn, int64_t *out) {
  SMFT__TRY(smft__json_i64(learn, "t", 0, out, WHAT));
  return *out >= 0 && *out <= MOST_ROWS
             ? SMFT_OK
             : smft__fail(SMFT_E_FORMAT, WHAT ": \"t\" must be from 0 to %lld, got %lld",
                          (long long)MOST_ROWS, (long long)*out);
}

/* names: those of 1 and 2 */
static smft_status read_name(const json_t *learn, const char *key, const char *const names[2],
                             int32_t *out) {
  const char *name = NULL;
  SMFT__TRY(smft__json_string(learn, key, NULL, &name, WHAT));
  for (int32_t i = 0; name && i < 2; i++)
    if (strcmp(name, names[i]) == 0)
      *out = i + 1;
  return !name || *out ? SMFT_OK
                       : smft__fail(SMFT_E_UNSUPPORTED,
                                    WHAT ": \"%s\": expected \"%s\" or \"%s\", got \"%s\"", key,
                                    names[0], names[1], name);
}

static smft_status check_steps(const smft__learn_defaults *d) {
  if (d->momentum >= 1)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"momentum\" must be below 1");
  if (d->step_length == 0 && (d->momentum > 0 || d->length_by_loss))
    return smft__fail(SMFT_E_FORMAT,
                      WHAT ": \"momentum\" and \"length_by_loss\" are for steps of a "
                           "\"step_length\"");
  return SMFT_OK;
}

smft_status smft__learn_defaults_read(smft__learn_defaults *out, const json_t *memory) {
  smft__learn_defaults own = {0};
  json_t *learn = json_object_get(memory, "learn");
  *out = own;
  if (!learn || json_is_null(learn))
    return SMFT_OK;
  if (!json_is_object(learn))
    return smft__fail(SMFT_E_FORMAT, WHAT " must be an object");
  SMFT__TRY(check_keys(learn));
  for (int i = 0; i < N_REALS; i++)
    SMFT__TRY(read_real(learn, &reals[i], &own));
  for (int i = 0; i < N_COUNTS; i++)
    SMFT__TRY(read_count(learn, &counts[i], &own));
  SMFT__TRY(read_rows(learn, &own.t));
  SMFT__TRY(read_name(learn, "damping_by", smft__damping_names, &own.damping_by));
  SMFT__TRY(read_name(learn, "rank_by", smft__rank_names, &own.rank_by));
  SMFT__TRY(smft__json_bool(learn, "length_by_loss", 0, &own.length_by_loss, WHAT));
  SMFT__TRY(smft__json_bool(learn, "frames", 0, &own.frames, WHAT));
  SMFT__TRY(check_steps(&own));
  *out = own;
  return SMFT_OK;
}
