/* normalize: the steps that change text before it is split: normal forms, replacements,
 * stripping, a prefix. Does not own: Unicode (unicode.c), patterns (regex.c),
 * the order of things (encode.c). */
#include "data/tokenizer/normalize.h"
#include "base/alloc.h"
#include "data/tokenizer/unicode.h"
#include <string.h>

/* ---- reading ------------------------------------------------------------- */

smft_status smft__pattern_read(smft__pattern *pattern, smft_ctx *ctx, const json_t *json,
                               const char *what) {
  const json_t *value = json_object_get(json, "pattern");
  const json_t *string = json_object_get(value, "String"), *regex = json_object_get(value, "Regex");
  const json_t *given = string ? string : regex;
  if (!json_is_string(given))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: expected \"pattern\": {\"String\": \"...\"} or {\"Regex\": \"...\"}",
                      what);
  const char *text = json_string_value(given);
  int64_t length = (int64_t)json_string_length(given);
  smft_status status = string ? smft__pattern_literal(pattern, ctx, text, length)
                              : smft__pattern_regex(pattern, ctx, text, length);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", what);
}

static smft_status read_content(smft__normalizer_step *step, smft_ctx *ctx, const json_t *json,
                                const char *key, const char *what) {
  const char *content = NULL;
  SMFT__TRY(smft__json_string(json, key, NULL, &content, what));
  if (!content)
    return smft__fail(SMFT_E_FORMAT, "%s: \"%s\" is missing", what, key);
  step->content = smft__strdup(ctx, content);
  return step->content ? SMFT_OK : SMFT_E_NOMEM;
}

static int32_t form_of(const char *type) {
  static const char *const names[] = {"", "NFC", "NFD", "NFKC", "NFKD"};
  for (int32_t i = 1; i < 5; i++)
    if (strcmp(type, names[i]) == 0)
      return i;
  return 0;
}

static smft_status read_strip(smft__normalizer_step *step, const json_t *json) {
  int left = 1, right = 1;
  SMFT__TRY(smft__json_bool(json, "strip_left", 1, &left, "normalizer Strip"));
  SMFT__TRY(smft__json_bool(json, "strip_right", 1, &right, "normalizer Strip"));
  step->kind = SMFT__NORMALIZE_STRIP;
  step->left = left;
  step->right = right;
  return SMFT_OK;
}

static smft_status read_step(smft__normalizer_step *step, smft_ctx *ctx, const json_t *json,
                             const char *type) {
  if ((step->form = form_of(type)) != 0) {
    step->kind = SMFT__NORMALIZE_FORM;
    return SMFT_OK;
  }
  if (strcmp(type, "Prepend") == 0) {
    step->kind = SMFT__NORMALIZE_PREPEND;
    return read_content(step, ctx, json, "prepend", "normalizer Prepend");
  }
  if (strcmp(type, "Replace") == 0) {
    step->kind = SMFT__NORMALIZE_REPLACE;
    SMFT__TRY(smft__pattern_read(&step->pattern, ctx, json, "normalizer Replace"));
    return read_content(step, ctx, json, "content", "normalizer Replace");
  }
  if (strcmp(type, "Strip") == 0)
    return read_strip(step, json);
  if (strcmp(type, "Lowercase") == 0) {
    step->kind = SMFT__NORMALIZE_LOWER;
    return SMFT_OK;
  }
  return smft__fail(SMFT_E_UNSUPPORTED, "normalizer \"%s\" is not supported", type);
}

static smft_status read_sequence(smft__normalizer *normalizer, const json_t *json) {
  const json_t *list = json_object_get(json, "normalizers");
  if (!json_is_array(list))
    return smft__fail(SMFT_E_FORMAT, "normalizer Sequence: expected an array \"normalizers\"");
  for (size_t i = 0; i < json_array_size(list); i++)
    SMFT__TRY(smft__normalizer_read(normalizer, normalizer->ctx, json_array_get(list, i)));
  return SMFT_OK;
}

static smft_status add_step(smft__normalizer *normalizer, smft__normalizer_step **step) {
  SMFT__TRY(smft__grow(normalizer->ctx, &normalizer->steps, &normalizer->capacity,
                       normalizer->n + 1, sizeof *normalizer->steps));
  *step = &normalizer->steps[normalizer->n++];
  memset(*step, 0, sizeof **step);
  return SMFT_OK;
}

smft_status smft__normalizer_read(smft__normalizer *normalizer, smft_ctx *ctx, const json_t *json) {
  const char *type = NULL;
  normalizer->ctx = ctx;
  if (!json || json_is_null(json))
    return SMFT_OK;
  if (!json_is_object(json))
    return smft__fail(SMFT_E_FORMAT, "normalizer: expected an object or null");
  SMFT__TRY(smft__json_string(json, "type", "", &type, "normalizer"));
  if (strcmp(type, "Sequence") == 0)
    return read_sequence(normalizer, json);
  smft__normalizer_step *step;
  SMFT__TRY(add_step(normalizer, &step));
  return read_step(step, ctx, json, type);
}

static smft_status add_own_step(smft__normalizer *normalizer, int32_t kind,
                                smft__normalizer_step **step) {
  SMFT__TRY(add_step(normalizer, step));
  (*step)->kind = kind;
  (*step)->content = smft__strdup(normalizer->ctx, "\xE2\x96\x81");
  return (*step)->content ? SMFT_OK : SMFT_E_NOMEM;
}

smft_status smft__normalizer_sentencepiece(smft__normalizer *normalizer, smft_ctx *ctx,
                                           int prefix) {
  smft__normalizer_step *step;
  normalizer->ctx = ctx;
  if (prefix)
    SMFT__TRY(add_own_step(normalizer, SMFT__NORMALIZE_PREPEND, &step));
  SMFT__TRY(add_own_step(normalizer, SMFT__NORMALIZE_REPLACE, &step));
  return smft__pattern_literal(&step->pattern, ctx, " ", 1);
}

void smft__normalizer_free(smft__normalizer *normalizer) {
  if (!normalizer->ctx)
    return;
  for (int64_t i = 0; i < normalizer->n; i++) {
    smft__pattern_free(&normalizer->steps[i].pattern);
    smft__free(normalizer->ctx, normalizer->steps[i].content);
  }
  smft__free(normalizer->ctx, normalizer->steps);
  memset(normalizer, 0, sizeof *normalizer);
}

/* ---- running ------------------------------------------------------------- */

smft_status smft__pattern_replace(const smft__pattern *pattern, smft__scan *scan, const char *text,
                                  int64_t length, const char *content, smft__buffer *out) {
  smft__matches matches = {pattern, scan, text, length, 0, -1};
  int64_t done = 0, start, end, content_length = (int64_t)strlen(content);
  for (;;) {
    SMFT__TRY(smft__matches_next(&matches, &start, &end));
    if (start < 0)
      return smft__buffer_put(out, text + done, length - done);
    SMFT__TRY(smft__buffer_put(out, text + done, start - done));
    SMFT__TRY(smft__buffer_put(out, content, content_length));
    done = end;
  }
}

/* Where the character before `at` starts. */
static int64_t step_back(const char *text, int64_t at) {
  do
    at--;
  while (at > 0 && ((unsigned char)text[at] & 0xC0u) == 0x80u);
  return at;
}

static smft_status strip(const smft__normalizer_step *step, const char *text, int64_t length,
                         smft__buffer *out) {
  int64_t start = 0, end = length;
  uint32_t code = 0;
  while (step->left && start < end) {
    int32_t n = smft__utf8_next(text + start, (size_t)(end - start), &code);
    if (n == 0 || !smft__is_space(code))
      break;
    start += n;
  }
  while (step->right && end > start) {
    int64_t before = step_back(text, end);
    if (smft__utf8_next(text + before, (size_t)(end - before), &code) == 0 || !smft__is_space(code))
      break;
    end = before;
  }
  return smft__buffer_put(out, text + start, end - start);
}

static smft_status prepend(const smft__normalizer_step *step, const char *text, int64_t length,
                           smft__buffer *out) {
  if (length > 0)
    SMFT__TRY(smft__buffer_put(out, step->content, (int64_t)strlen(step->content)));
  return smft__buffer_put(out, text, length);
}

static smft_status run_step(const smft__normalizer_step *step, smft__scan *scan, const char *text,
                            int64_t length, smft__buffer *out) {
  switch (step->kind) {
  case SMFT__NORMALIZE_FORM:
    return smft__unicode_normalize(out, text, length, step->form);
  case SMFT__NORMALIZE_PREPEND:
    return prepend(step, text, length, out);
  case SMFT__NORMALIZE_REPLACE:
    return smft__pattern_replace(&step->pattern, scan, text, length, step->content, out);
  case SMFT__NORMALIZE_STRIP:
    return strip(step, text, length, out);
  default:
    return smft__unicode_lower(out, text, length);
  }
}

smft_status smft__normalizer_run(const smft__normalizer *normalizer, smft__scan *scan,
                                 const char *text, int64_t length, int no_prefix,
                                 smft__buffer *out) {
  smft__buffer spare = {out->ctx, NULL, 0, 0}, swap;
  smft_status status = smft__buffer_put(out, text, length);
  for (int64_t i = 0; i < normalizer->n && status == SMFT_OK; i++) {
    const smft__normalizer_step *step = &normalizer->steps[i];
    if (no_prefix && step->kind == SMFT__NORMALIZE_PREPEND)
      continue;
    spare.length = 0;
    status = run_step(step, scan, out->data, out->length, &spare);
    swap = *out;
    *out = spare;
    spare = swap;
  }
  smft__buffer_free(&spare);
  return status;
}
