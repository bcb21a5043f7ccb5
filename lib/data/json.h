/* json: jansson with the context's message: parse with file, line and column in the error; typed
 * getters that say what they expected. json_t objects are allocated by jansson itself (it has
 * process-wide allocators only, which a library must not change). */
#ifndef SMFT__JSON_H
#define SMFT__JSON_H
#include "base/ctx.h"
#include <jansson.h>
/* Duplicate keys and text after the value are errors; depth is bounded by jansson.  `what` names
 * the source in messages. */
smft_status smft__json_parse(json_t **out, const char *text, int64_t length, const char *what);
smft_status smft__json_open(json_t **out, smft_ctx *ctx, const char *path);
/* Integers of any size, all read as reals: tokenizer_config.json has "model_max_length" of 31
 * digits. */
smft_status smft__json_open_loose(json_t **out, smft_ctx *ctx, const char *path);
/* Missing (or null) keys give `fallback`; a wrong type is E_FORMAT.  *_required: a missing key is
 * E_FORMAT. */
smft_status smft__json_i64(const json_t *object, const char *key, int64_t fallback, int64_t *out,
                           const char *what);
smft_status smft__json_i64_required(const json_t *object, const char *key, int64_t *out,
                                    const char *what);
smft_status smft__json_double(const json_t *object, const char *key, double fallback, double *out,
                              const char *what);
smft_status smft__json_bool(const json_t *object, const char *key, int fallback, int *out,
                            const char *what);
/* Borrowed from the object; NULL fallback is fine. */
smft_status smft__json_string(const json_t *object, const char *key, const char *fallback,
                              const char **out, const char *what);
/* Calls `line` for each non-empty line of a JSONL file with its parsed object; errors get
 * "path:line: " in front. */
typedef smft_status (*smft__jsonl_fn)(void *user, const json_t *object, int64_t line);
smft_status smft__jsonl_read(smft_ctx *ctx, const char *path, smft__jsonl_fn line, void *user);
/* Puts text (valid UTF-8, else E_ENCODING) with JSON's quotes and escapes; and a whole value, with
 * the locale kept out of its numbers. */
struct smft__buffer;
smft_status smft__json_put_string(struct smft__buffer *buffer, const char *text);
smft_status smft__json_put(struct smft__buffer *buffer, const json_t *value, size_t jansson_flags);
/* For files (json_write.c): an indent of 2, reals in the fewest digits that read back equal. */
smft_status smft__json_text(struct smft__buffer *to, const json_t *value);
/* Replaces the file whole: smft__json_text and a final newline. */
smft_status smft__json_save(smft_ctx *ctx, const char *path, const json_t *value);
/* The same as one of several files. */
struct smft__staged;
smft_status smft__json_stage(struct smft__staged *to, const char *name, const json_t *value);
#endif
