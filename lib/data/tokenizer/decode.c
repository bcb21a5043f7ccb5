/* decode: decoders, as steps over a list of strings.
 * Does not own: which tokens are decoded (tokenizer.c), characters that stand for bytes
 * (split.c). */
#include "data/tokenizer/decode.h"
#include "base/alloc.h"
#include "data/tokenizer/normalize.h"
#include "data/tokenizer/split.h"
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* ---- reading ------------------------------------------------------------- */

static smft_status add_step(smft__decoder *decoder, int32_t kind, smft__decoder_step **step) {
  SMFT__TRY(smft__grow(decoder->ctx, &decoder->steps, &decoder->capacity, decoder->n + 1,
                       sizeof *decoder->steps));
  *step = &decoder->steps[decoder->n++];
  memset(*step, 0, sizeof **step);
  (*step)->kind = kind;
  return SMFT_OK;
}

smft_status smft__decoder_byte_level(smft__decoder *decoder, smft_ctx *ctx) {
  smft__decoder_step *step;
  decoder->ctx = ctx;
  return add_step(decoder, SMFT__DECODE_LEVEL, &step);
}

smft_status smft__decoder_sentencepiece(smft__decoder *decoder, smft_ctx *ctx, int strip) {
  smft__decoder_step *step;
  decoder->ctx = ctx;
  SMFT__TRY(add_step(decoder, SMFT__DECODE_META, &step));
  step->content = smft__strdup(ctx, "\xE2\x96\x81");
  if (!step->content)
    return SMFT_E_NOMEM;
  SMFT__TRY(add_step(decoder, SMFT__DECODE_BYTES, &step));
  SMFT__TRY(add_step(decoder, SMFT__DECODE_FUSE, &step));
  if (!strip)
    return SMFT_OK;
  SMFT__TRY(add_step(decoder, SMFT__DECODE_STRIP, &step));
  step->start = 1;
  step->content = smft__strdup(ctx, " ");
  return step->content ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status read_content(smft__decoder *decoder, smft__decoder_step *step,
                                const json_t *json, const char *key, const char *fallback,
                                const char *what) {
  const char *content = NULL;
  SMFT__TRY(smft__json_string(json, key, fallback, &content, what));
  if (!content)
    return smft__fail(SMFT_E_FORMAT, "%s: \"%s\" is missing", what, key);
  step->content = smft__strdup(decoder->ctx, content);
  return step->content ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status check_character(const smft__decoder_step *step, const char *what) {
  size_t length = strlen(step->content);
  if (length == 0 || smft__utf8_next(step->content, length, NULL) != (int32_t)length)
    return smft__fail(SMFT_E_FORMAT, "%s: expected one character, got \"%.40s\"", what,
                      step->content);
  return SMFT_OK;
}

static smft_status read_replace(smft__decoder *decoder, const json_t *json) {
  smft__decoder_step *step;
  SMFT__TRY(add_step(decoder, SMFT__DECODE_REPLACE, &step));
  SMFT__TRY(smft__pattern_read(&step->pattern, decoder->ctx, json, "decoder Replace"));
  return read_content(decoder, step, json, "content", NULL, "decoder Replace");
}

static smft_status read_strip(smft__decoder *decoder, const json_t *json) {
  smft__decoder_step *step;
  const char *what = "decoder Strip";
  SMFT__TRY(add_step(decoder, SMFT__DECODE_STRIP, &step));
  SMFT__TRY(read_content(decoder, step, json, "content", NULL, what));
  SMFT__TRY(smft__json_i64_required(json, "start", &step->start, what));
  SMFT__TRY(smft__json_i64_required(json, "stop", &step->stop, what));
  if (step->start < 0 || step->stop < 0)
    return smft__fail(SMFT_E_FORMAT, "%s: \"start\" and \"stop\" must not be negative", what);
  return check_character(step, what);
}

static smft_status read_metaspace(smft__decoder *decoder, const json_t *json) {
  smft__decoder_step *step;
  const char *what = "decoder Metaspace", *scheme = NULL;
  int add_prefix_space = 1;
  SMFT__TRY(add_step(decoder, SMFT__DECODE_META, &step));
  SMFT__TRY(read_content(decoder, step, json, "replacement", "\xE2\x96\x81", what));
  SMFT__TRY(smft__json_bool(json, "add_prefix_space", 1, &add_prefix_space, what));
  SMFT__TRY(smft__json_string(json, "prepend_scheme", add_prefix_space ? "always" : "never",
                              &scheme, what));
  step->start = strcmp(scheme, "never") != 0;
  if (step->start && strcmp(scheme, "always") != 0 && strcmp(scheme, "first") != 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: prepend_scheme \"%s\" is not supported", what,
                      scheme);
  return check_character(step, what);
}

static smft_status read_list(smft__decoder *decoder, const json_t *json);

static smft_status read_typed(smft__decoder *decoder, const json_t *json) {
  const char *type = NULL;
  smft__decoder_step *step;
  if (!json_is_object(json))
    return smft__fail(SMFT_E_FORMAT, "decoder: expected an object or null");
  SMFT__TRY(smft__json_string(json, "type", "", &type, "decoder"));
  if (strcmp(type, "Sequence") == 0)
    return read_list(decoder, json);
  if (strcmp(type, "ByteLevel") == 0)
    return add_step(decoder, SMFT__DECODE_LEVEL, &step);
  if (strcmp(type, "ByteFallback") == 0)
    return add_step(decoder, SMFT__DECODE_BYTES, &step);
  if (strcmp(type, "Fuse") == 0)
    return add_step(decoder, SMFT__DECODE_FUSE, &step);
  if (strcmp(type, "Replace") == 0)
    return read_replace(decoder, json);
  if (strcmp(type, "Strip") == 0)
    return read_strip(decoder, json);
  if (strcmp(type, "Metaspace") == 0)
    return read_metaspace(decoder, json);
  return smft__fail(SMFT_E_UNSUPPORTED, "decoder \"%s\" is not supported", type);
}

static smft_status read_list(smft__decoder *decoder, const json_t *json) {
  const json_t *list = json_object_get(json, "decoders");
  if (!json_is_array(list))
    return smft__fail(SMFT_E_FORMAT, "decoder Sequence: expected an array \"decoders\"");
  for (size_t i = 0; i < json_array_size(list); i++)
    SMFT__TRY(read_typed(decoder, json_array_get(list, i)));
  return SMFT_OK;
}

smft_status smft__decoder_read(smft__decoder *decoder, smft_ctx *ctx, const json_t *json) {
  decoder->ctx = ctx;
  decoder->none = !json || json_is_null(json);
  return decoder->none ? SMFT_OK : read_typed(decoder, json);
}

void smft__decoder_free(smft__decoder *decoder) {
  if (!decoder->ctx)
    return;
  for (int64_t i = 0; i < decoder->n; i++) {
    smft__pattern_free(&decoder->steps[i].pattern);
    smft__free(decoder->ctx, decoder->steps[i].content);
  }
  smft__free(decoder->ctx, decoder->steps);
  memset(decoder, 0, sizeof *decoder);
}

/* ---- lists of strings ---------------------------------------------------- */

static smft_status end_string(smft__strings *strings) {
  SMFT__TRY(smft__grow(strings->text.ctx, &strings->ends, &strings->capacity, strings->n + 1,
                       sizeof *strings->ends));
  strings->ends[strings->n++] = strings->text.length;
  return SMFT_OK;
}

smft_status smft__strings_add(smft__strings *strings, const char *text, int64_t length) {
  SMFT__TRY(smft__buffer_put(&strings->text, text, length));
  return end_string(strings);
}

static void clear_strings(smft__strings *strings) { strings->n = strings->text.length = 0; }

static void free_strings(smft__strings *strings) {
  if (!strings->text.ctx)
    return;
  smft__free(strings->text.ctx, strings->ends);
  smft__buffer_free(&strings->text);
  strings->ends = NULL;
  strings->n = strings->capacity = 0;
}

static smft_status reserve_buffer(smft__buffer *buffer, int64_t bytes) {
  return smft__grow(buffer->ctx, &buffer->data, &buffer->capacity, bytes + 1, 1);
}

static smft_status reserve_strings(smft__strings *strings, int64_t bytes) {
  SMFT__TRY(
      smft__grow(strings->text.ctx, &strings->ends, &strings->capacity, 1, sizeof *strings->ends));
  return reserve_buffer(&strings->text, bytes);
}

void smft__decode_work_init(smft__decode_work *work, smft_ctx *ctx) {
  memset(work, 0, sizeof *work);
  work->strings.text.ctx = work->spare.text.ctx = work->bytes.ctx = work->scan.ctx = ctx;
}

void smft__decode_work_clear(smft__decode_work *work) { clear_strings(&work->strings); }

void smft__decode_work_free(smft__decode_work *work) {
  free_strings(&work->strings);
  free_strings(&work->spare);
  smft__buffer_free(&work->bytes);
  smft__scan_free(&work->scan);
}

smft_status smft__decode_work_reserve(smft__decode_work *work, int64_t bytes) {
  SMFT__TRY(reserve_strings(&work->strings, bytes));
  SMFT__TRY(reserve_strings(&work->spare, bytes));
  return reserve_buffer(&work->bytes, bytes);
}

/* ---- steps: each reads string i of `in` and appends to `out` ------------- */

typedef struct decoding {
  const smft__decoder_step *step;
  smft__scan *scan;
  smft__strings *in, *out;
  smft__buffer *bytes; /* a step's own */
  int raw, first;
  /* the strings are one already: what is stripped is stripped from the text as a whole */
  int fused;
} decoding;

static const char *string_at(const smft__strings *strings, int64_t i, int64_t *length) {
  int64_t start = i > 0 ? strings->ends[i - 1] : 0;
  *length = strings->ends[i] - start;
  return strings->text.data ? strings->text.data + start : "";
}

static smft_status run_replace(decoding *run) {
  for (int64_t i = 0, length; i < run->in->n; i++) {
    const char *text = string_at(run->in, i, &length);
    SMFT__TRY(smft__pattern_replace(&run->step->pattern, run->scan, text, length,
                                    run->step->content, &run->out->text));
    SMFT__TRY(end_string(run->out));
  }
  return SMFT_OK;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that a token like <0xE2> stands for, or -1. */
static int byte_of(const char *text, int64_t length) {
  if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || hex_value(text[3]) < 0 ||
      hex_value(text[4]) < 0)
    return -1;
  return hex_value(text[3]) * 16 + hex_value(text[4]);
}

/* Byte tokens in a row are one string if they are UTF-8, else each of them becomes U+FFFD. */
static smft_status put_byte_run(decoding *run, const smft__buffer *bytes) {
  if (bytes->length == 0)
    return SMFT_OK;
  if (run->raw || smft__utf8_valid(bytes->data, (size_t)bytes->length, NULL))
    return smft__strings_add(run->out, bytes->data, bytes->length);
  for (int64_t i = 0; i < bytes->length; i++)
    SMFT__TRY(smft__strings_add(run->out, REPLACEMENT, 3));
  return SMFT_OK;
}

static smft_status run_bytes(decoding *run) {
  smft__buffer *bytes = run->bytes;
  bytes->length = 0;
  for (int64_t i = 0, length; i < run->in->n; i++) {
    const char *text = string_at(run->in, i, &length);
    int byte = byte_of(text, length);
    char character = (char)byte;
    if (byte >= 0) {
      SMFT__TRY(smft__buffer_put(bytes, &character, 1));
      continue;
    }
    SMFT__TRY(put_byte_run(run, bytes));
    bytes->length = 0;
    SMFT__TRY(smft__strings_add(run->out, text, length));
  }
  return put_byte_run(run, bytes);
}

static smft_status run_fuse(decoding *run) {
  run->fused = 1;
  return smft__strings_add(run->out, run->in->text.data, run->in->text.length);
}

/* In a stream the end of the fused text is not known, so nothing is stripped there; the start is
 * known to be elsewhere if not first. */
static smft_status run_strip(decoding *run) {
  const smft__decoder_step *step = run->step;
  int64_t n = (int64_t)strlen(step->content);
  int64_t start = run->raw && run->fused && !run->first ? 0 : step->start;
  int64_t stop = run->raw && run->fused ? 0 : step->stop;
  for (int64_t i = 0, length; i < run->in->n; i++) {
    const char *text = string_at(run->in, i, &length);
    for (int64_t cut = 0; cut < start && length >= n && memcmp(text, step->content, (size_t)n) == 0;
         cut++) {
      text += n;
      length -= n;
    }
    for (int64_t cut = 0;
         cut < stop && length >= n && memcmp(text + length - n, step->content, (size_t)n) == 0;
         cut++)
      length -= n;
    SMFT__TRY(smft__strings_add(run->out, text, length));
  }
  return SMFT_OK;
}

static smft_status run_meta(decoding *run) {
  smft__pattern mark = {run->in->text.ctx, run->step->content, (int64_t)strlen(run->step->content),
                        NULL, NULL};
  for (int64_t i = 0, length; i < run->in->n; i++) {
    const char *text = string_at(run->in, i, &length);
    int at_start = i == 0 && run->step->start && (!run->raw || run->first);
    SMFT__TRY(smft__pattern_replace(&mark, run->scan, text, length, at_start ? "" : " ",
                                    &run->out->text));
    SMFT__TRY(end_string(run->out));
  }
  return SMFT_OK;
}

/* Appends the bytes of one token; a token with a character that stands for no byte (an added one)
 * is its own text. */
static smft_status put_level(smft__buffer *out, const char *text, int64_t length) {
  int64_t before = out->length;
  for (int64_t at = 0; at < length;) {
    uint32_t code = 0;
    int32_t step = smft__utf8_next(text + at, (size_t)(length - at), &code);
    int32_t byte = smft__code_to_byte(code);
    char character = (char)byte;
    if (step == 0 || byte < 0) {
      out->length = before;
      return smft__buffer_put(out, text, length);
    }
    SMFT__TRY(smft__buffer_put(out, &character, 1));
    at += step;
  }
  return SMFT_OK;
}

static smft_status put_lossy(smft__buffer *out, const char *text, int64_t length) {
  int64_t done = 0;
  for (int64_t at = 0; at < length;) {
    int64_t step = smft__utf8_next(text + at, (size_t)(length - at), NULL);
    if (step == 0) {
      step = smft__utf8_broken(text + at, (size_t)(length - at), NULL);
      SMFT__TRY(smft__buffer_put(out, text + done, at - done));
      SMFT__TRY(smft__buffer_put(out, REPLACEMENT, 3));
      done = at + step;
    }
    at += step;
  }
  return smft__buffer_put(out, text + done, length - done);
}

static smft_status run_level(decoding *run) {
  smft__buffer *bytes = run->bytes;
  bytes->length = 0;
  run->fused = 1;
  for (int64_t i = 0, length; i < run->in->n; i++) {
    const char *text = string_at(run->in, i, &length);
    SMFT__TRY(put_level(bytes, text, length));
  }
  if (run->raw)
    return smft__strings_add(run->out, bytes->data, bytes->length);
  SMFT__TRY(put_lossy(&run->out->text, bytes->data ? bytes->data : "", bytes->length));
  return end_string(run->out);
}

static smft_status run_step(decoding *run) {
  switch (run->step->kind) {
  case SMFT__DECODE_REPLACE:
    return run_replace(run);
  case SMFT__DECODE_BYTES:
    return run_bytes(run);
  case SMFT__DECODE_FUSE:
    return run_fuse(run);
  case SMFT__DECODE_STRIP:
    return run_strip(run);
  case SMFT__DECODE_META:
    return run_meta(run);
  default:
    return run_level(run);
  }
}

static smft_status join_with_spaces(decoding *run) {
  for (int64_t i = 0, length; i < run->in->n; i++) {
    const char *text = string_at(run->in, i, &length);
    if (i > 0 || (run->raw && !run->first))
      SMFT__TRY(smft__buffer_put(&run->out->text, " ", 1));
    SMFT__TRY(smft__buffer_put(&run->out->text, text, length));
  }
  return end_string(run->out);
}

static void swap_strings(smft__strings *a, smft__strings *b) {
  smft__strings c = *a;
  *a = *b;
  *b = c;
}

smft_status smft__decoder_run(const smft__decoder *decoder, smft__decode_work *work, int raw,
                              int first) {
  decoding run = {NULL, &work->scan, &work->strings, &work->spare, &work->bytes, raw, first, 0};
  smft_status status = SMFT_OK;
  clear_strings(&work->spare);
  if (decoder->none) {
    status = join_with_spaces(&run);
    swap_strings(&work->strings, &work->spare);
  }
  for (int64_t i = 0; i < decoder->n && status == SMFT_OK; i++) {
    clear_strings(&work->spare);
    run.step = &decoder->steps[i];
    status = run_step(&run);
    swap_strings(&work->strings, &work->spare);
  }
  return status;
}
