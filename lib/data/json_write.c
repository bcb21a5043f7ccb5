/* json_write: a value as JSON text for files, laid out with an indent of 2; a real has the fewest
 * digits that read back as the same number.  Does not own: reading (json.c). */
#include "base/bytes.h"
#include "data/json.h"

#include <string.h>

static smft_status put_value(smft__buffer *to, const json_t *value, int depth);

static smft_status put_text(smft__buffer *to, const char *text) {
  return smft__buffer_put(to, text, (int64_t)strlen(text));
}

static smft_status put_line(smft__buffer *to, int depth) {
  SMFT__TRY(put_text(to, "\n"));
  for (int i = 0; i < depth; i++)
    SMFT__TRY(put_text(to, "  "));
  return SMFT_OK;
}

/* Recognisable as a real: 1 is 1.0. */
static smft_status put_real(smft__buffer *to, double value) {
  char digits[40];
  SMFT__TRY(put_text(to, smft__format_double(value, digits)));
  return strpbrk(digits, ".e") ? SMFT_OK : put_text(to, ".0");
}

static smft_status put_object(smft__buffer *to, const json_t *object, int depth) {
  const char *key, *before = "{";
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    SMFT__TRY(put_text(to, before));
    SMFT__TRY(put_line(to, depth + 1));
    SMFT__TRY(smft__json_put_string(to, key));
    SMFT__TRY(put_text(to, ": "));
    SMFT__TRY(put_value(to, value, depth + 1));
    before = ",";
  }
  if (json_object_size(object) == 0)
    return put_text(to, "{}");
  SMFT__TRY(put_line(to, depth));
  return put_text(to, "}");
}

static smft_status put_array(smft__buffer *to, const json_t *array, int depth) {
  for (size_t i = 0; i < json_array_size(array); i++) {
    SMFT__TRY(put_text(to, i ? "," : "["));
    SMFT__TRY(put_line(to, depth + 1));
    SMFT__TRY(put_value(to, json_array_get(array, i), depth + 1));
  }
  if (json_array_size(array) == 0)
    return put_text(to, "[]");
  SMFT__TRY(put_line(to, depth));
  return put_text(to, "]");
}

/* As deep as jansson reads (2,048) or as our own are. */
static smft_status put_value(smft__buffer *to, const json_t *value, int depth) {
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return put_object(to, value, depth);
  case JSON_ARRAY:
    return put_array(to, value, depth);
  case JSON_STRING:
    return smft__json_put_string(to, json_string_value(value));
  case JSON_INTEGER:
    return smft__buffer_printf(to, "%lld", (long long)json_integer_value(value));
  case JSON_REAL:
    return put_real(to, json_real_value(value));
  case JSON_NULL:
    return put_text(to, "null");
  default:
    return put_text(to, json_is_true(value) ? "true" : "false");
  }
}

smft_status smft__json_text(smft__buffer *to, const json_t *value) {
  return put_value(to, value, 0);
}
