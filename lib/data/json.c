/* json: JSON text and files to jansson values and back, with messages that say where and what.
 * Does not own: what the keys mean (each caller does), how a value is laid out in a file
 * (json_write.c). */
#include "data/json.h"
#include "base/bytes.h"
#include "base/file.h"
#include "base/staged.h"
#include <locale.h>
#include <string.h>

/* Bytes of a byte-order mark that the text begins with. */
static int64_t mark_of(const char *text, int64_t length) {
  return length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

/* ---- the locale ----
 * jansson 2.14 reads and writes reals with strtod and snprintf and repairs the decimal separator
 * itself, but only one of a single byte (others end in its assert).  So this thread, and only it,
 * has the C numeric locale while jansson works.  If there is no memory for that, jansson's own
 * repair stays. */
typedef struct plain_numbers {
  locale_t plain, before;
} plain_numbers;

static plain_numbers begin_plain_numbers(void) {
  plain_numbers state = {newlocale(LC_NUMERIC_MASK, "C", (locale_t)0), (locale_t)0};
  if (state.plain)
    state.before = uselocale(state.plain);
  return state;
}

static void end_plain_numbers(plain_numbers state) {
  if (!state.plain)
    return;
  uselocale(state.before);
  freelocale(state.plain);
}

/* ---- parsing ------------------------------------------------------------- */

static smft_status status_of(const json_error_t *error) {
  switch (json_error_code(error)) {
  case json_error_out_of_memory:
    return SMFT_E_NOMEM;
  case json_error_invalid_utf8:
    return SMFT_E_ENCODING;
  default:
    return SMFT_E_FORMAT;
  }
}

static smft_status parse(json_t **out, const char *text, int64_t length, size_t flags,
                         json_error_t *error) {
  int64_t mark = mark_of(text, length);
  text += mark;
  length -= mark;
  plain_numbers numbers = begin_plain_numbers();
  *out = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES | flags, error);
  end_plain_numbers(numbers);
  return *out ? SMFT_OK : status_of(error);
}

static smft_status parse_named(json_t **out, const char *text, int64_t length, size_t flags,
                               const char *what) {
  json_error_t error;
  smft_status status = parse(out, text, length, flags, &error);
  if (status == SMFT_OK)
    return SMFT_OK;
  return smft__fail(status, "%s: line %d, column %d: not valid JSON: %s", what, error.line,
                    error.column, error.text);
}

smft_status smft__json_parse(json_t **out, const char *text, int64_t length, const char *what) {
  return parse_named(out, text, length, 0, what);
}

static smft_status open_file(json_t **out, smft_ctx *ctx, const char *path, size_t flags) {
  smft__file file;
  *out = NULL;
  SMFT__TRY(smft__file_open(&file, ctx, path, 1));
  smft_status status = parse_named(out, (const char *)file.data, file.size, flags, path);
  smft__file_close(&file);
  return status;
}

smft_status smft__json_open(json_t **out, smft_ctx *ctx, const char *path) {
  return open_file(out, ctx, path, 0);
}

smft_status smft__json_open_loose(json_t **out, smft_ctx *ctx, const char *path) {
  return open_file(out, ctx, path, JSON_DECODE_INT_AS_REAL);
}

/* ---- getters ------------------------------------------------------------- */

static const char *type_name(const json_t *value) {
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return "an object";
  case JSON_ARRAY:
    return "an array";
  case JSON_STRING:
    return "a string";
  case JSON_INTEGER:
    return "an integer";
  case JSON_REAL:
    return "a number with a fraction or exponent";
  case JSON_NULL:
    return "null";
  default:
    return "true or false";
  }
}

static smft_status fail_type(const json_t *value, const char *key, const char *expected,
                             const char *what) {
  return smft__fail(SMFT_E_FORMAT, "%s: \"%s\": expected %s, got %s", what, key, expected,
                    type_name(value));
}

/* *value is NULL for a missing key and for null. */
static smft_status lookup(const json_t *object, const char *key, const json_t **value,
                          const char *what) {
  if (!json_is_object(object))
    return smft__fail(SMFT_E_FORMAT, "%s: expected an object with \"%s\", got %s", what, key,
                      object ? type_name(object) : "nothing");
  *value = json_object_get(object, key);
  if (json_is_null(*value))
    *value = NULL;
  return SMFT_OK;
}

smft_status smft__json_i64(const json_t *object, const char *key, int64_t fallback, int64_t *out,
                           const char *what) {
  const json_t *value = NULL;
  SMFT__TRY(lookup(object, key, &value, what));
  if (value && !json_is_integer(value))
    return fail_type(value, key, "an integer", what);
  *out = value ? (int64_t)json_integer_value(value) : fallback;
  return SMFT_OK;
}

smft_status smft__json_i64_required(const json_t *object, const char *key, int64_t *out,
                                    const char *what) {
  const json_t *value = NULL;
  SMFT__TRY(lookup(object, key, &value, what));
  if (!value)
    return smft__fail(SMFT_E_FORMAT, "%s: \"%s\" is missing (expected an integer)", what, key);
  return smft__json_i64(object, key, 0, out, what);
}

smft_status smft__json_double(const json_t *object, const char *key, double fallback, double *out,
                              const char *what) {
  const json_t *value = NULL;
  SMFT__TRY(lookup(object, key, &value, what));
  if (value && !json_is_number(value))
    return fail_type(value, key, "a number", what);
  *out = value ? json_number_value(value) : fallback;
  return SMFT_OK;
}

smft_status smft__json_bool(const json_t *object, const char *key, int fallback, int *out,
                            const char *what) {
  const json_t *value = NULL;
  SMFT__TRY(lookup(object, key, &value, what));
  if (value && !json_is_boolean(value))
    return fail_type(value, key, "true or false", what);
  *out = value ? json_is_true(value) : fallback;
  return SMFT_OK;
}

smft_status smft__json_string(const json_t *object, const char *key, const char *fallback,
                              const char **out, const char *what) {
  const json_t *value = NULL;
  SMFT__TRY(lookup(object, key, &value, what));
  if (value && !json_is_string(value))
    return fail_type(value, key, "a string", what);
  *out = value ? json_string_value(value) : fallback;
  return SMFT_OK;
}

/* ---- JSONL --------------------------------------------------------------- */

static int is_blank(const char *text, int64_t length) {
  for (int64_t i = 0; i < length; i++)
    if (!strchr(" \t\r", text[i]) || text[i] == '\0')
      return 0;
  return 1;
}

static smft_status read_line(const char *text, int64_t length, int64_t number, smft__jsonl_fn line,
                             void *user) {
  json_t *object = NULL;
  json_error_t error;
  smft_status status = parse(&object, text, length, 0, &error);
  if (status != SMFT_OK)
    return smft__fail(status, "column %d: not valid JSON: %s", error.column, error.text);
  if (json_is_object(object))
    status = line(user, object, number);
  else
    status = smft__fail(SMFT_E_FORMAT, "expected an object, got %s", type_name(object));
  json_decref(object);
  return status;
}

smft_status smft__jsonl_read(smft_ctx *ctx, const char *path, smft__jsonl_fn line, void *user) {
  smft__file file;
  smft_status status = SMFT_OK;
  SMFT__TRY(smft__file_open(&file, ctx, path, 1));
  const char *at = (const char *)file.data, *end = at + file.size;
  at += mark_of(at, file.size); /* here: its line may be blank */
  for (int64_t number = 1; at < end && status == SMFT_OK; number++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    int64_t length = (newline ? newline : end) - at;
    if (!is_blank(at, length))
      status = read_line(at, length, number, line, user);
    if (status != SMFT_OK)
      smft__fail_within(status, "%s:%lld", path, (long long)number);
    at += length + 1;
  }
  smft__file_close(&file);
  return status;
}

/* ---- writing ------------------------------------------------------------- */

static smft_status put_escaped(smft__buffer *buffer, char character) {
  if (character == '"' || character == '\\')
    return smft__buffer_printf(buffer, "\\%c", character);
  return smft__buffer_printf(buffer, "\\u%04x", (unsigned)(unsigned char)character);
}

static int needs_escape(char character) {
  return character == '"' || character == '\\' || (unsigned char)character < 0x20;
}

smft_status smft__json_put_string(smft__buffer *buffer, const char *text) {
  size_t length = strlen(text), bad_at = 0;
  if (!smft__utf8_valid(text, length, &bad_at))
    return smft__fail(SMFT_E_ENCODING, "\"%s\": byte %llu is not valid UTF-8", text,
                      (unsigned long long)bad_at);
  SMFT__TRY(smft__buffer_put(buffer, "\"", 1));
  for (size_t at = 0; at < length;) {
    size_t plain = at;
    while (plain < length && !needs_escape(text[plain]))
      plain++;
    SMFT__TRY(smft__buffer_put(buffer, text + at, (int64_t)(plain - at)));
    if (plain < length)
      SMFT__TRY(put_escaped(buffer, text[plain++]));
    at = plain;
  }
  return smft__buffer_put(buffer, "\"", 1);
}

/* jansson 2.14 does not look at what its callback says while it writes a key, so the first failure
 * is kept here. */
typedef struct pieces {
  smft__buffer *buffer;
  smft_status status;
} pieces;

static int put_piece(const char *text, size_t size, void *user) {
  pieces *to = user;
  if (to->status == SMFT_OK)
    to->status = smft__buffer_put(to->buffer, text, (int64_t)size);
  return to->status == SMFT_OK ? 0 : -1;
}

smft_status smft__json_put(smft__buffer *buffer, const json_t *value, size_t jansson_flags) {
  pieces to = {buffer, SMFT_OK};
  plain_numbers numbers = begin_plain_numbers();
  int failed = json_dump_callback(value, put_piece, &to, jansson_flags);
  end_plain_numbers(numbers);
  if (to.status != SMFT_OK)
    return to.status;
  return failed ? smft__fail(SMFT_E_NOMEM, "out of memory while JSON was written") : SMFT_OK;
}

static smft_status text_of(smft__buffer *text, const json_t *value) {
  SMFT__TRY(smft__json_text(text, value));
  return smft__buffer_put(text, "\n", 1);
}

smft_status smft__json_save(smft_ctx *ctx, const char *path, const json_t *value) {
  smft__buffer text = {ctx, NULL, 0, 0};
  smft__writer writer = {0};
  smft_status status = text_of(&text, value);
  SMFT__TRY_GOTO(done, status);
  SMFT__TRY_GOTO(done, smft__writer_open(&writer, ctx, path));
  SMFT__TRY_GOTO(done, smft__writer_write(&writer, text.data, text.length));
  status = smft__writer_commit(&writer);
done:
  smft__writer_abandon(&writer);
  smft__buffer_free(&text);
  return status;
}

smft_status smft__json_stage(smft__staged *to, const char *name, const json_t *value) {
  smft__buffer text = {to->ctx, NULL, 0, 0};
  smft_status status = text_of(&text, value);
  if (status == SMFT_OK)
    status = smft__staged_put(to, name, text.data, text.length);
  smft__buffer_free(&text);
  return status;
}
