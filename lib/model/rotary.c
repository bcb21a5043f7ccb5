/* rotary: see rotary.h.  The rules are those of transformers' modeling_rope_utils; a rule that
 * changes with the length of the text ("dynamic", "longrope") is no table, and refused by name. */
#include "model/rotary.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "model/arch.h"

#define WHAT "config.json"
#define PI 3.14159265358979323846
#define MOST_KEYS 9

typedef struct rope_rule {
  const smft__config *config;
  json_t *object;  /* NULL: none */
  const char *key; /* of the object */
  const char *type;
  double theta;
  smft__rope_table *table;
  smft__buffer text; /* every number that counted, for the fingerprint */
} rope_rule;

typedef struct rope_type {
  const char *name;
  smft_status (*scale)(rope_rule *rule); /* NULL: as theta made it */
  const char *keys[MOST_KEYS]; /* that the object may have beside those of all; NULL ends */
} rope_type;

/* ---- numbers ------------------------------------------------------------- */

static int is_null(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return !value || json_is_null(value);
}

static smft_status note(rope_rule *rule, double value) {
  char number[40];
  return smft__buffer_printf(&rule->text, " %s", smft__format_double(value, number));
}

static smft_status fail_number(const rope_rule *rule, const char *name, const char *expected) {
  return smft__fail(SMFT_E_FORMAT, WHAT ": \"%s\" of type \"%s\": \"%s\" must be %s", rule->key,
                    rule->type, name, expected);
}

/* A positive number; missing, null or 0: `fallback`, and where that is 0 it must be there. */
static smft_status take(rope_rule *rule, const char *name, double fallback, double *out) {
  SMFT__TRY(smft__json_double(rule->object, name, fallback, out, WHAT));
  if (*out >= 0 && *out <= 0)
    *out = fallback;
  if (!(*out > 0) || *out > 1e30)
    return fail_number(rule, name, "a positive number");
  return note(rule, *out);
}

/* ---- the rules ----------------------------------------------------------- */

static smft_status scale_linear(rope_rule *rule) {
  double factor = 0;
  SMFT__TRY(take(rule, "factor", 0, &factor));
  for (int32_t i = 0; i < rule->table->dims / 2; i++)
    rule->table->frequency[i] /= factor;
  return SMFT_OK;
}

/* Waves longer than the first context over `low` are slowed down, those shorter than it over `high`
 * stay, between them it is between. */
static smft_status scale_llama3(rope_rule *rule) {
  double factor = 0, low = 0, high = 0, context = 0;
  SMFT__TRY(take(rule, "factor", 0, &factor));
  SMFT__TRY(take(rule, "low_freq_factor", 0, &low));
  SMFT__TRY(take(rule, "high_freq_factor", 0, &high));
  SMFT__TRY(
      take(rule, "original_max_position_embeddings", (double)rule->config->context, &context));
  if (high <= low)
    return fail_number(rule, "high_freq_factor", "more than \"low_freq_factor\"");
  for (int32_t i = 0; i < rule->table->dims / 2; i++) {
    double frequency = rule->table->frequency[i], turns = context * frequency / (2 * PI);
    double stays = (turns - low) / (high - low);
    stays = stays < 0 ? 0 : stays > 1 ? 1 : stays;
    rule->table->frequency[i] = (1 - stays) * frequency / factor + stays * frequency;
  }
  return SMFT_OK;
}

/* Which pair turns so many times over the first context, as a real number. */
static double pair_of(const rope_rule *rule, double turns, double context, double theta) {
  return rule->table->dims * log(context / (turns * 2 * PI)) / (2 * log(theta));
}

static double yarn_magnitude(double factor, double mscale) {
  return factor > 1 ? 0.1 * mscale * log(factor) + 1 : 1;
}

static smft_status read_magnitude(rope_rule *rule, double factor) {
  double mscale = 0, all = 0, magnitude = yarn_magnitude(factor, 1);
  SMFT__TRY(smft__json_double(rule->object, "mscale", 0, &mscale, WHAT));
  SMFT__TRY(smft__json_double(rule->object, "mscale_all_dim", 0, &all, WHAT));
  if (fabs(mscale) > 0 && fabs(all) > 0)
    magnitude = yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all);
  if (!is_null(rule->object, "attention_factor"))
    magnitude = 0; /* then it counts, and nothing else */
  SMFT__TRY(take(rule, "attention_factor", magnitude, &magnitude));
  rule->table->magnitude = (float)magnitude;
  return SMFT_OK;
}

/* Pairs up to `begin` stay, pairs from `end` on are slowed down, between them it is between. */
static smft_status scale_yarn(rope_rule *rule) {
  double context = 0, factor = 0, fast = 0, slow = 0;
  double dims = (double)rule->table->dims, theta = rule->theta;
  int truncate = 0;
  SMFT__TRY(
      take(rule, "original_max_position_embeddings", (double)rule->config->context, &context));
  if (json_object_get(rule->object, "factor")) /* null: what the lengths say */
    factor = (double)rule->config->context / context;
  SMFT__TRY(take(rule, "factor", factor, &factor));
  SMFT__TRY(take(rule, "beta_fast", 32, &fast));
  SMFT__TRY(take(rule, "beta_slow", 1, &slow));
  SMFT__TRY(smft__json_bool(rule->object, "truncate", 1, &truncate, WHAT));
  SMFT__TRY(note(rule, truncate));
  SMFT__TRY(read_magnitude(rule, factor));
  double begin = pair_of(rule, fast, context, theta), end = pair_of(rule, slow, context, theta);
  begin = fmax(truncate ? floor(begin) : begin, 0);
  end = fmin(truncate ? ceil(end) : end, dims - 1);
  double width = fabs(end - begin) > 0 ? end - begin : 0.001;
  for (int32_t i = 0; i < rule->table->dims / 2; i++) {
    double slowed = fmin(fmax((i - begin) / width, 0), 1);
    rule->table->frequency[i] *= slowed / factor + (1 - slowed);
  }
  return SMFT_OK;
}

/* Of GGUF files: a divisor for each pair. */
static smft_status scale_factors(rope_rule *rule) {
  const json_t *factors = json_object_get(rule->object, "factors");
  int32_t n = rule->table->dims / 2;
  if (!json_is_array(factors) || json_array_size(factors) != (size_t)n)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"%s\": \"factors\" must be a list of %d numbers",
                      rule->key, n);
  for (int32_t i = 0; i < n; i++) {
    double factor = json_number_value(json_array_get(factors, (size_t)i));
    if (!(factor > 0) || factor > 1e30)
      return fail_number(rule, "factors", "positive numbers");
    SMFT__TRY(note(rule, factor));
    rule->table->frequency[i] /= factor;
  }
  return SMFT_OK;
}

/* The first is what a file without an object has.  Each with the keys that transformers reads, and
 * those that files have though nobody reads them.
 */
static const rope_type types[] = {
    {"default", NULL, {"original_max_position_embeddings", NULL}},
    {"linear", scale_linear, {"factor", "original_max_position_embeddings", NULL}},
    {"llama3",
     scale_llama3,
     {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", NULL}},
    {"yarn",
     scale_yarn,
     {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
      "mscale", "mscale_all_dim", "truncate", "finetuned"}},
    {"factors", scale_factors, {"factors", NULL}},
};

/* ---- the object ---------------------------------------------------------- */

static const rope_type *find_type(const rope_rule *rule) {
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, rule->type) == 0 &&
        (types[i].scale != scale_factors || rule->config->gguf))
      return &types[i];
  return NULL;
}

static int is_known(const rope_type *type, const char *key) {
  static const char *const all[] = {"type", "rope_type", "rope_theta", "partial_rotary_factor"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(all[i], key) == 0)
      return 1;
  for (int i = 0; i < MOST_KEYS && type->keys[i]; i++)
    if (strcmp(type->keys[i], key) == 0)
      return 1;
  return 0;
}

static smft_status check_keys(const rope_rule *rule, const rope_type *type) {
  double part = 1;
  const char *key;
  json_t *value;
  json_object_foreach(rule->object, key, value) {
    if (!json_is_null(value) && !is_known(type, key))
      return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"%s\" of type \"%s\": \"%s\" is not supported",
                        rule->key, rule->type, key);
  }
  SMFT__TRY(smft__json_double(rule->object, "partial_rotary_factor", 1, &part, WHAT));
  return part < 1 || part > 1 ? smft__fail(SMFT_E_UNSUPPORTED,
                                           WHAT ": \"%s\": \"partial_rotary_factor\" other than 1 "
                                                "is not supported",
                                           rule->key)
                              : SMFT_OK;
}

static smft_status read_theta(const json_t *object, double fallback, double *theta) {
  SMFT__TRY(smft__json_double(object, "rope_theta", fallback, theta, WHAT));
  if (!(*theta > 0) || *theta > 1e30)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"rope_theta\" must be a positive number");
  return SMFT_OK;
}

static smft_status check_table(const rope_rule *rule) {
  for (int32_t i = 0; i < rule->table->dims / 2; i++)
    if (!isfinite(rule->table->frequency[i]))
      return smft__fail(SMFT_E_FORMAT,
                        WHAT ": \"%s\" of type \"%s\" gives a frequency that is not finite",
                        rule->key, rule->type);
  return SMFT_OK;
}

/* ---- tables -------------------------------------------------------------- */

static smft_status add_table(smft__config *config, smft_ctx *ctx) {
  smft__stack_plan *stack = &config->stack;
  smft__rope_table *grown =
      smft__realloc_array(ctx, stack->ropes, stack->n_ropes + 1, sizeof *stack->ropes);
  if (!grown)
    return SMFT_E_NOMEM;
  stack->ropes = grown;
  stack->ropes[stack->n_ropes] = (smft__rope_table){config->head_dim, SMFT__PAIRS_HALVES, 1, NULL};
  double *frequency = smft__alloc_array(ctx, config->head_dim / 2, sizeof(double));
  stack->ropes[stack->n_ropes++].frequency = frequency;
  return frequency ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status read_type(rope_rule *rule, const rope_type **type) {
  SMFT__TRY(smft__json_string(rule->object, "type", "default", &rule->type, WHAT));
  SMFT__TRY(smft__json_string(rule->object, "rope_type", rule->type, &rule->type, WHAT));
  *type = find_type(rule);
  if (!*type)
    return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"%s\" of type \"%s\" is not supported",
                      rule->key, rule->type);
  SMFT__TRY(check_keys(rule, *type));
  return read_theta(rule->object, rule->theta, &rule->theta);
}

static smft_status fill_table(rope_rule *rule) {
  const rope_type *type = &types[0];
  if (rule->object)
    SMFT__TRY(read_type(rule, &type));
  smft__rope_frequencies(rule->table->frequency, rule->table->dims, rule->theta);
  SMFT__TRY(smft__buffer_printf(&rule->text, "rope %s", rule->type));
  SMFT__TRY(note(rule, rule->theta));
  if (type->scale)
    SMFT__TRY(type->scale(rule));
  SMFT__TRY(smft__buffer_printf(&rule->text, "\n"));
  return check_table(rule);
}

/* The text goes behind that of other tables; the first table's says nothing where it is "default",
 * for its theta is in the fingerprint anyway. */
static smft_status keep_text(smft__config *config, const rope_rule *rule) {
  smft__buffer all = {rule->text.ctx, NULL, 0, 0};
  if (config->stack.n_ropes == 1 && strcmp(rule->type, "default") == 0)
    return SMFT_OK;
  smft_status status = smft__buffer_printf(&all, "%s%s", config->rope_text ? config->rope_text : "",
                                           rule->text.data);
  if (status != SMFT_OK) {
    smft__buffer_free(&all);
    return status;
  }
  smft__free(all.ctx, config->rope_text);
  config->rope_text = all.data;
  return SMFT_OK;
}

smft_status smft__rotary_add(smft__config *config, smft_ctx *ctx, json_t *object, const char *key,
                             double theta) {
  SMFT__TRY(add_table(config, ctx));
  rope_rule rule = {.config = config,
                    .object = object,
                    .key = key,
                    .type = types[0].name,
                    .theta = theta,
                    .table = &config->stack.ropes[config->stack.n_ropes - 1],
                    .text = {ctx, NULL, 0, 0}};
  if (config->gguf && config->arch->gguf & SMFT__GGUF_TURNS_ROWS)
    rule.table->pairs = SMFT__PAIRS_NEIGHBOURS; /* rows that turn together stand side by side */
  smft_status status = fill_table(&rule);
  if (status == SMFT_OK)
    status = keep_text(config, &rule);
  smft__buffer_free(&rule.text);
  if (config->stack.n_ropes == 1)
    config->rope_theta = rule.theta;
  return status;
}

/* ---- of a config --------------------------------------------------------- */

/* NULL: nothing is said there. */
static smft_status read_object(const json_t *root, const char *key, json_t **out) {
  json_t *object = json_object_get(root, key);
  *out = NULL;
  if (!object || json_is_null(object) || json_is_false(object))
    return SMFT_OK;
  if (!json_is_object(object))
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"%s\" must be an object or null", key);
  *out = json_object_size(object) ? object : NULL;
  return SMFT_OK;
}

smft_status smft__rotary_plan(smft__config *config, smft_ctx *ctx, const json_t *root,
                              double theta) {
  json_t *older = NULL, *newer = NULL;
  SMFT__TRY(read_theta(root, theta, &theta));
  SMFT__TRY(read_object(root, "rope_scaling", &older));
  SMFT__TRY(read_object(root, "rope_parameters", &newer));
  if (older && newer && !json_equal(older, newer))
    return smft__fail(SMFT_E_UNSUPPORTED,
                      WHAT ": \"rope_scaling\" and \"rope_parameters\" are not the same");
  return smft__rotary_add(config, ctx, older ? older : newer,
                          older ? "rope_scaling" : "rope_parameters", theta);
}
