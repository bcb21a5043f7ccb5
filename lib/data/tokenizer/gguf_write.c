/* gguf_write: the tokenizer of a tokenizer.json as keys of a GGUF file: byte-level merges become
 * model "gpt2", SentencePiece's become model "llama", whose scores stand for the merges' order.
 * What llama.cpp would read otherwise is refused by name. Does not own: how the file is written
 * (data/gguf_write.c), what a GGUF's own tokenizer says (its keys are copied). */
#include "data/gguf_write.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/tokenizer/parts.h"

#define KEY(name) "tokenizer.ggml." name
#define SPACE "\xE2\x96\x81" /* SentencePiece's sign for one */

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

typedef struct writing {
  smft__gguf_keys *keys;
  const smft_tokenizer *tokenizer;
  const json_t *root, *model;
  int64_t n;       /* tokens that are written: rows of the embedding */
  int32_t *types;  /* (n) */
  const char *pre; /* NULL: SentencePiece */
  int prefix;      /* SentencePiece: a space comes before a text */
} writing;

static smft_status refuse(const char *what, const char *why) {
  return smft__fail(SMFT_E_UNSUPPORTED, "tokenizer.json: %s: %s", what, why);
}

static const char *type_of(const json_t *object) {
  const char *type = json_string_value(json_object_get(object, "type"));
  return type ? type : "";
}

static int is_true(const json_t *object, const char *key, int fallback) {
  const json_t *value = json_object_get(object, key);
  return json_is_boolean(value) ? json_is_true(value) : fallback;
}

/* ---- which kind ---------------------------------------------------------- */

#define SHORTENED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LLAMA3(digits)                                                                             \
  SHORTENED "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits                                         \
            "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+;bytes;"
#define QWEN35                                                                                     \
  SHORTENED "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"                                        \
            "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+;bytes;"

/* Ways of cutting text, as describe() spells them, by the names that llama.cpp has for them.  NFC:
 * llama.cpp leaves it out for every text, which is the same for text that is NFC already. */
static const struct {
  const char *pre, *cuts;
  int32_t ignore_merges, nfc;
} cuttings[] = {
    {"llama-bpe", LLAMA3("{1,3}"), 1, 0}, {"smaug-bpe", LLAMA3("{1,3}"), 0, 0},
    {"qwen2", LLAMA3(""), 0, 1},          {"qwen35", QWEN35, 0, 1},
    {"gpt-2", "words;bytes;", 0, 0},      {"smollm", "digits;words;bytes;", 0, 0},
};
#define N_CUTTINGS (sizeof cuttings / sizeof *cuttings)

/* Appends what a pre_tokenizer does; "?" for what no GGUF can say. */
static smft_status describe(smft__buffer *out, const json_t *json) {
  const char *type = type_of(json);
  const json_t *list = json_object_get(json, "pretokenizers");
  if (strcmp(type, "Sequence") == 0) {
    for (size_t i = 0; i < json_array_size(list); i++)
      SMFT__TRY(describe(out, json_array_get(list, i)));
    return SMFT_OK;
  }
  if (strcmp(type, "ByteLevel") == 0 && !is_true(json, "add_prefix_space", 1))
    return smft__buffer_printf(out, is_true(json, "use_regex", 1) ? "words;bytes;" : "bytes;");
  if (strcmp(type, "Digits") == 0 && is_true(json, "individual_digits", 0))
    return smft__buffer_printf(out, "digits;");
  const char *regex = json_string_value(json_object_get(json_object_get(json, "pattern"), "Regex"));
  const char *behavior = json_string_value(json_object_get(json, "behavior"));
  int isolated = behavior && strcmp(behavior, "Isolated") == 0 && !is_true(json, "invert", 0);
  int removed = behavior && strcmp(behavior, "Removed") == 0 && is_true(json, "invert", 0);
  if (strcmp(type, "Split") == 0 && regex && (isolated || removed))
    return smft__buffer_printf(out, "%s;", regex);
  return smft__buffer_printf(out, "?%s;", type);
}

static smft_status find_pre(writing *w, const char *cuts) {
  const char *normalizer = type_of(json_object_get(w->root, "normalizer"));
  int nfc = strcmp(normalizer, "NFC") == 0;
  int ignore = is_true(w->model, "ignore_merges", 0);
  for (size_t i = 0; i < N_CUTTINGS && !w->pre; i++)
    if (strcmp(cuttings[i].cuts, cuts) == 0 && cuttings[i].ignore_merges == ignore) {
      w->pre = cuttings[i].pre;
      if (*normalizer && !(nfc && cuttings[i].nfc))
        return refuse("its normalizer", "no tokenizer.ggml.pre has it");
    }
  return w->pre ? SMFT_OK
                : smft__fail(SMFT_E_UNSUPPORTED,
                             "tokenizer.json: its pre_tokenizer is none that tokenizer.ggml.pre "
                             "has a name for (ignore_merges %d, cuts %.200s)",
                             ignore, cuts);
}

static smft_status read_cuts(writing *w) {
  smft__buffer cuts = {w->tokenizer->ctx, NULL, 0, 0};
  smft_status status = describe(&cuts, json_object_get(w->root, "pre_tokenizer"));
  if (status == SMFT_OK)
    status = find_pre(w, cuts.data ? cuts.data : "");
  smft__buffer_free(&cuts);
  return status;
}

/* ---- SentencePiece ------------------------------------------------------- */

/* "Prepend" of the sign, 0 or 1 times, and spaces that become it. */
static int read_normalizer(writing *w, const json_t *json) {
  const json_t *list = json_object_get(json, "normalizers"), *pattern;
  const char *type = type_of(json), *put, *old;
  if (strcmp(type, "Sequence") == 0) {
    int fine = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list); i++)
      fine = fine && read_normalizer(w, json_array_get(list, i));
    return fine;
  }
  put = json_string_value(json_object_get(json, "prepend"));
  if (strcmp(type, "Prepend") == 0 && put && strcmp(put, SPACE) == 0 && !w->prefix)
    return w->prefix = 1;
  pattern = json_object_get(json, "pattern");
  old = json_string_value(json_object_get(pattern, "String"));
  put = json_string_value(json_object_get(json, "content"));
  return strcmp(type, "Replace") == 0 && old && strcmp(old, " ") == 0 && put &&
         strcmp(put, SPACE) == 0;
}

/* A split at spaces finds none behind that; Metaspace puts its sign before some texts only, which
 * no GGUF says. */
static smft_status read_sentencepiece(writing *w) {
  const json_t *pre = json_object_get(w->root, "pre_tokenizer"), *pattern;
  pattern = json_object_get(json_object_get(pre, "pattern"), "String");
  const char *text = json_string_value(pattern);
  int nothing = !pre || json_is_null(pre) ||
                (strcmp(type_of(pre), "Split") == 0 && text && strcmp(text, " ") == 0);
  if (!nothing)
    return refuse("its pre_tokenizer", "with byte_fallback only none becomes a GGUF's");
  if (!read_normalizer(w, json_object_get(w->root, "normalizer")))
    return refuse("its normalizer", "with byte_fallback only spaces that become U+2581, and one "
                                    "before the text, become a GGUF's");
  return SMFT_OK;
}

static smft_status read_kind(writing *w) {
  int bytes = is_true(w->model, "byte_fallback", 0);
  return bytes ? read_sentencepiece(w) : read_cuts(w);
}

/* ---- tokens -------------------------------------------------------------- */

static int is_byte(const char *text, int64_t length) {
  return length == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>';
}

static smft_status find_types(writing *w) {
  const smft_tokenizer *t = w->tokenizer;
  const json_t *added = json_object_get(w->root, "added_tokens");
  w->types = smft__alloc_array(t->ctx, w->n, sizeof *w->types);
  if (!w->types)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < w->n; i++) {
    int64_t length = 0;
    const char *text = smft__vocab_text(&t->vocab, i, &length);
    w->types[i] = !text ? UNUSED : !w->pre && is_byte(text, length) ? BYTE : NORMAL;
  }
  for (size_t i = 0; i < json_array_size(added); i++) {
    const json_t *one = json_array_get(added, i);
    int64_t id = json_integer_value(json_object_get(one, "id"));
    if (id >= 0 && id < w->n)
      w->types[id] = is_true(one, "special", 0) ? CONTROL : USER_DEFINED;
  }
  if (!w->pre && t->bpe.has_unk && t->bpe.unk >= 0)
    w->types[t->bpe.unk] = UNKNOWN;
  return SMFT_OK;
}

/* Looked for in text as it comes: spaces are spaces there. */
static smft_status put_user_defined(writing *w, const char *text, int64_t length) {
  smft__buffer plain = {w->tokenizer->ctx, NULL, 0, 0};
  smft_status status = SMFT_OK;
  for (int64_t i = 0; i < length && status == SMFT_OK;) {
    int space = length - i >= 3 && memcmp(text + i, SPACE, 3) == 0;
    status = smft__buffer_put(&plain, space ? " " : text + i, 1);
    i += space ? 3 : 1;
  }
  if (status == SMFT_OK)
    status = smft__gguf_put_item(w->keys, plain.data, plain.length);
  smft__buffer_free(&plain);
  return status;
}

static smft_status put_token(writing *w, int64_t id) {
  char unused[32];
  int64_t length = 0;
  const char *text = smft__vocab_text(&w->tokenizer->vocab, id, &length);
  if (w->types[id] == USER_DEFINED)
    return put_user_defined(w, text, length);
  if (text)
    return smft__gguf_put_item(w->keys, text, length);
  snprintf(unused, sizeof unused, "[PAD%lld]", (long long)id);
  return smft__gguf_put_item(w->keys, unused, (int64_t)strlen(unused));
}

static smft_status put_tokens(writing *w) {
  SMFT__TRY(smft__gguf_put_array(w->keys, KEY("tokens"), SMFT__GGUF_STRING, w->n));
  for (int64_t i = 0; i < w->n; i++)
    SMFT__TRY(put_token(w, i));
  SMFT__TRY(smft__gguf_put_array(w->keys, KEY("token_type"), SMFT__GGUF_I32, w->n));
  return smft__gguf_put_items(w->keys, w->types, w->n * (int64_t)sizeof *w->types);
}

/* ---- merges -------------------------------------------------------------- */

/* "left right", or ["left", "right"]. */
static smft_status put_merge(writing *w, const json_t *merge) {
  const char *left = json_string_value(json_array_get(merge, 0));
  const char *right = json_string_value(json_array_get(merge, 1));
  const char *whole = json_string_value(merge);
  smft__buffer text = {w->tokenizer->ctx, NULL, 0, 0};
  if (whole)
    return smft__gguf_put_item(w->keys, whole, (int64_t)strlen(whole));
  smft_status status = smft__buffer_printf(&text, "%s %s", left ? left : "", right ? right : "");
  if (status == SMFT_OK)
    status = smft__gguf_put_item(w->keys, text.data, text.length);
  smft__buffer_free(&text);
  return status;
}

static smft_status put_merges(writing *w) {
  const json_t *merges = json_object_get(w->model, "merges");
  int64_t n = (int64_t)json_array_size(merges);
  SMFT__TRY(smft__gguf_put_array(w->keys, KEY("merges"), SMFT__GGUF_STRING, n));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY(put_merge(w, json_array_get(merges, (size_t)i)));
  return SMFT_OK;
}

/* ---- scores -------------------------------------------------------------- */

typedef struct ranking { /* of SentencePiece's tokens */
  int32_t *first;        /* (n) the first merge that makes a token; -1: none does */
  int32_t *merges;       /* (n) how many do */
  int32_t last;          /* token of the merge before */
} ranking;

/* One token's merges must stand together: a score is the token's, not the merge's. */
static smft_status rank_merge(writing *w, ranking *r, int32_t i) {
  const smft__vocab *vocab = &w->tokenizer->vocab;
  const json_t *merge = json_array_get(json_object_get(w->model, "merges"), (size_t)i);
  smft__buffer text = {w->tokenizer->ctx, NULL, 0, 0};
  const char *whole = json_string_value(merge), *space = whole ? strchr(whole, ' ') : NULL;
  const char *left = json_string_value(json_array_get(merge, 0));
  const char *right = json_string_value(json_array_get(merge, 1));
  smft_status status =
      space ? smft__buffer_printf(&text, "%.*s%s", (int)(space - whole), whole, space + 1)
            : smft__buffer_printf(&text, "%s%s", left ? left : "", right ? right : "");
  int32_t id = status == SMFT_OK ? smft__vocab_find_model(vocab, text.data, text.length) : -1;
  smft__buffer_free(&text);
  SMFT__TRY(status);
  if (id < 0 || id >= w->n || (r->merges[id] > 0 && r->last != id))
    return refuse("its merges", "their order is none of scores of tokens, which a GGUF has");
  if (r->merges[id]++ == 0)
    r->first[id] = i;
  r->last = id;
  return SMFT_OK;
}

/* 1: the merge model, or the text itself, may have such a piece. */
static int is_piece(const smft__vocab *vocab, const char *text, int64_t length) {
  return smft__utf8_next(text, (size_t)length, NULL) == (int32_t)length ||
         smft__vocab_find_model(vocab, text, length) >= 0;
}

/* llama.cpp puts any two pieces together whose text is a token. */
static int64_t count_splits(const smft__vocab *vocab, const char *text, int64_t length) {
  int64_t n = 0;
  for (int64_t at = 0; at < length;) {
    int32_t step = smft__utf8_next(text + at, (size_t)(length - at), NULL);
    at += step > 0 ? step : 1;
    n += at < length && is_piece(vocab, text, at) && is_piece(vocab, text + at, length - at);
  }
  return n;
}

static smft_status check_splits(const writing *w, const ranking *r) {
  const smft__vocab *vocab = &w->tokenizer->vocab;
  for (int64_t i = 0; i < w->n; i++) {
    int64_t length = 0;
    const char *text = smft__vocab_text(vocab, i, &length);
    if (w->types[i] != NORMAL || count_splits(vocab, text, length) == r->merges[i])
      continue;
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "tokenizer.json: token \"%.*s\": other pieces make it than its merges say, "
                      "which a GGUF cannot have",
                      (int)(length < 60 ? length : 60), text);
  }
  return SMFT_OK;
}

static smft_status rank(writing *w, ranking *r, int64_t n_merges) {
  for (int64_t i = 0; i < w->n; i++)
    r->first[i] = -1;
  for (int32_t i = 0; i < n_merges; i++)
    SMFT__TRY(rank_merge(w, r, i));
  return check_splits(w, r);
}

/* The earlier a token's merges the higher; what no merge makes comes last, special tokens have 0.
 */
static smft_status put_scores(writing *w) {
  smft_ctx *ctx = w->tokenizer->ctx;
  int64_t n = (int64_t)json_array_size(json_object_get(w->model, "merges"));
  ranking r = {smft__calloc_array(ctx, w->n, sizeof(int32_t)),
               smft__calloc_array(ctx, w->n, sizeof(int32_t)), -1};
  float *scores = smft__calloc_array(ctx, w->n, sizeof *scores);
  smft_status status = r.first && r.merges && scores ? rank(w, &r, n) : SMFT_E_NOMEM;
  for (int64_t i = 0; i < w->n && status == SMFT_OK; i++)
    if (w->types[i] == NORMAL)
      scores[i] = -(float)(r.first[i] >= 0 ? r.first[i] : n);
  if (status == SMFT_OK)
    status = smft__gguf_put_array(w->keys, KEY("scores"), SMFT__GGUF_F32, w->n);
  if (status == SMFT_OK)
    status = smft__gguf_put_items(w->keys, scores, w->n * (int64_t)sizeof *scores);
  smft__free(ctx, r.first);
  smft__free(ctx, r.merges);
  smft__free(ctx, scores);
  return status;
}

/* ---- special tokens ------------------------------------------------------ */

static smft_status put_id(writing *w, const char *key, int64_t id) {
  return id < 0 ? SMFT_OK : smft__gguf_put_i64(w->keys, key, SMFT__GGUF_U32, id);
}

/* One before the text, begin-of-text; one behind it, end-of-text: more a GGUF cannot say. */
static smft_status put_around(writing *w, int64_t bos, const int32_t *eos, int32_t n_eos) {
  const smft__ids *before = &w->tokenizer->before, *after = &w->tokenizer->after;
  static const char *const keys[] = {KEY("eos_token_id"), KEY("eot_token_id"), KEY("eom_token_id")};
  if (before->n > 1 || after->n > 1 || (after->n == 1 && n_eos > 0 && after->data[0] != eos[0]))
    return refuse("its post_processor", "other than begin-of-text before a text and end-of-text "
                                        "behind it");
  SMFT__TRY(put_id(w, KEY("bos_token_id"), before->n ? before->data[0] : bos));
  for (int32_t i = 0; i < n_eos && i < 3; i++)
    SMFT__TRY(put_id(w, keys[i], eos[i]));
  if (n_eos == 0 && after->n)
    SMFT__TRY(put_id(w, keys[0], after->data[0]));
  if (!w->pre)
    SMFT__TRY(put_id(w, KEY("unknown_token_id"), w->tokenizer->bpe.unk));
  SMFT__TRY(smft__gguf_put_i64(w->keys, KEY("add_bos_token"), SMFT__GGUF_BOOL, before->n > 0));
  return smft__gguf_put_i64(w->keys, KEY("add_eos_token"), SMFT__GGUF_BOOL, after->n > 0);
}

/* ---- whole --------------------------------------------------------------- */

static smft_status put_all(writing *w, int64_t bos, const int32_t *eos, int32_t n_eos) {
  const smft__chat *chat = &w->tokenizer->chat;
  const char *model = NULL;
  SMFT__TRY(read_kind(w));
  model = w->pre ? "gpt2" : "llama";
  SMFT__TRY(smft__gguf_put_string(w->keys, KEY("model"), model, (int64_t)strlen(model)));
  if (w->pre)
    SMFT__TRY(smft__gguf_put_string(w->keys, KEY("pre"), w->pre, (int64_t)strlen(w->pre)));
  else
    SMFT__TRY(smft__gguf_put_i64(w->keys, KEY("add_space_prefix"), SMFT__GGUF_BOOL, w->prefix));
  if (chat->template_text)
    SMFT__TRY(smft__gguf_put_string(w->keys, "tokenizer.chat_template", chat->template_text,
                                    (int64_t)chat->length));
  SMFT__TRY(find_types(w));
  SMFT__TRY(put_tokens(w));
  SMFT__TRY(w->pre ? put_merges(w) : put_scores(w));
  return put_around(w, bos, eos, n_eos);
}

smft_status smft__tokenizer_put_gguf(smft__gguf_keys *keys, const smft_tokenizer *tokenizer,
                                     const char *path, int64_t n, int32_t bos, const int32_t *eos,
                                     int32_t n_eos) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_open(&root, tokenizer->ctx, path));
  writing w = {.keys = keys,
               .tokenizer = tokenizer,
               .root = root,
               .model = json_object_get(root, "model"),
               .n = n};
  smft_status status = put_all(&w, bos, eos, n_eos);
  smft__free(tokenizer->ctx, w.types);
  json_decref(root);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", path);
}
