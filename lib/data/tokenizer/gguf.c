/* gguf: the tokenizer inside a GGUF file: byte-level merges (model "gpt2", cut as "pre" says) or
 * SentencePiece tokens with scores (model "llama").  Ids are those that llama.cpp gives for the
 * same file; where it and the model's own tokenizer differ (Qwen's is normalized to NFC first) the
 * file has no word about it, and llama.cpp's it is.  Everything is copied: the file may go. Does
 * not own: the file's keys (data/gguf.h), patterns (pre.c), merging (bpe.c, spm.c). */
#include "data/gguf.h"
#include "base/alloc.h"
#include "data/tokenizer/parts.h"
#include "data/tokenizer/pre.h"
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define MOST_MERGES (4LL * SMFT__VOCAB_MOST)

enum {
  UNKNOWN = 2,
  CONTROL = 3,
  USER_DEFINED = 4,
  N_TYPES = 7
}; /* of tokens, the file's numbers */

typedef struct reading { /* a tokenizer being read */
  smft_tokenizer *tokenizer;
  const smft__gguf *gguf;
  const smft__gguf_value *tokens, *types; /* types NULL: all are normal */
  int is_spm;
  int add_bos; /* unless the file says otherwise */
} reading;

/* ---- arrays -------------------------------------------------------------- */

/* *out NULL: there is none.  n < 0: any number of items. */
static smft_status find_array(const smft__gguf *gguf, const char *key, int32_t item_type, int64_t n,
                              const smft__gguf_value **out) {
  const smft__gguf_value *value = *out = smft__gguf_find(gguf, key);
  if (!value)
    return SMFT_OK;
  if (value->type != SMFT__GGUF_ARRAY || value->item_type != item_type)
    return smft__fail(SMFT_E_FORMAT, "%s: expected an array of items of type %d", key,
                      (int)item_type);
  if (n >= 0 && value->n != n)
    return smft__fail(SMFT_E_FORMAT, "%s: %lld items, expected one for each of %lld tokens", key,
                      (long long)value->n, (long long)n);
  return SMFT_OK;
}

static smft_status need_strings(const smft__gguf *gguf, const char *key, int64_t most,
                                const smft__gguf_value **out) {
  SMFT__TRY(find_array(gguf, key, SMFT__GGUF_STRING, -1, out));
  if (!*out)
    return smft__fail(SMFT_E_FORMAT, "%s is missing", key);
  if ((*out)->n > most)
    return smft__fail(SMFT_E_FORMAT, "%s: %lld items, expected at most %lld", key,
                      (long long)(*out)->n, (long long)most);
  return SMFT_OK;
}

/* ---- tokens -------------------------------------------------------------- */

static int64_t type_of(const reading *in, int64_t id) {
  return in->types ? smft__gguf_item_i64(in->types, id) : 1;
}

static smft_status add_token(reading *in, const char *text, int64_t length, int64_t id) {
  char name[40]; /* of an empty token, as llama.cpp calls it */
  int64_t type = type_of(in, id);
  uint32_t special = type == UNKNOWN || type == CONTROL ? SMFT__TOKEN_SPECIAL : 0;
  if (type < 0 || type >= N_TYPES)
    return smft__fail(SMFT_E_FORMAT, KEY("token_type") ": token %lld has type %lld", (long long)id,
                      (long long)type);
  if (length == 0) {
    length = snprintf(name, sizeof name, "[EMPTY_%lld]", (long long)id);
    text = name;
  }
  return smft__vocab_add(&in->tokenizer->vocab, text, length, id, SMFT__TOKEN_MODEL | special);
}

static smft_status read_tokens(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  const unsigned char *at;
  const char *text;
  int64_t length, id = 0;
  SMFT__TRY(need_strings(in->gguf, KEY("tokens"), SMFT__VOCAB_MOST, &in->tokens));
  if (in->tokens->n == 0)
    return smft__fail(SMFT_E_FORMAT, KEY("tokens") " is empty");
  SMFT__TRY(find_array(in->gguf, KEY("token_type"), SMFT__GGUF_I32, in->tokens->n, &in->types));
  SMFT__TRY(smft__vocab_start(&t->vocab, t->ctx, in->tokens->n, in->tokens->n));
  SMFT__TRY(smft__vocab_reserve(&t->vocab, in->tokens->end - in->tokens->data));
  for (at = in->tokens->data; smft__gguf_next_string(in->tokens, &at, &text, &length); id++)
    SMFT__TRY(add_token(in, text, length, id));
  return SMFT_OK;
}

/* ---- merges and scores --------------------------------------------------- */

/* "left right": neither is empty, and a left of one space may be. */
static smft_status add_merge(smft_tokenizer *t, const char *text, int64_t length) {
  const char *space = length > 2 ? memchr(text + 1, ' ', (size_t)length - 2) : NULL;
  if (!space)
    return smft__fail(SMFT_E_FORMAT, KEY("merges") ": item %lld: expected \"left right\"",
                      (long long)t->bpe.n_merges);
  return smft__bpe_add(&t->bpe, &t->vocab, text, space - text, space + 1,
                       length - (space + 1 - text));
}

static smft_status read_merges(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  const smft__gguf_value *merges;
  const unsigned char *at;
  const char *text;
  int64_t length;
  SMFT__TRY(need_strings(in->gguf, KEY("merges"), MOST_MERGES, &merges));
  SMFT__TRY(smft__bpe_start(&t->bpe, t->ctx, merges->n));
  t->bpe.unk = -1;
  t->bpe.first_counts = t->bpe.holes = 1;
  for (at = merges->data; smft__gguf_next_string(merges, &at, &text, &length);)
    SMFT__TRY(add_merge(t, text, length));
  smft__bpe_finish(&t->bpe, &t->vocab);
  return SMFT_OK;
}

static smft_status read_pre(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  const smft__pre *pre;
  const char *name;
  int64_t length;
  SMFT__TRY(smft__gguf_string(in->gguf, KEY("pre"), &name, &length));
  if (!name) {
    smft__log(t->ctx, 2, KEY("pre") " is missing: words may be cut wrongly");
    name = "default";
    length = (int64_t)strlen(name);
  }
  SMFT__TRY(smft__pre_find(&pre, name, length));
  t->bpe.ignore_merges = pre->ignore_merges;
  in->add_bos = pre->add_bos;
  return smft__splitter_patterns(&t->splitter, t->ctx, pre->patterns);
}

static smft_status read_scores(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  const smft__gguf_value *scores;
  SMFT__TRY(find_array(in->gguf, KEY("scores"), SMFT__GGUF_F32, in->tokens->n, &scores));
  if (!scores)
    return smft__fail(SMFT_E_FORMAT, KEY("scores") " is missing");
  SMFT__TRY(smft__spm_start(&t->spm, t->ctx, &t->vocab));
  for (int64_t id = 0; id < scores->n; id++)
    SMFT__TRY(smft__spm_set_score(&t->spm, id, (float)smft__gguf_item_double(scores, id)));
  return SMFT_OK;
}

/* Space becomes U+2581, with one more before a text where the file wants that. */
static smft_status read_space(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  int prefix = 1;
  SMFT__TRY(smft__gguf_bool(in->gguf, KEY("add_space_prefix"), 1, &prefix));
  SMFT__TRY(smft__normalizer_sentencepiece(&t->normalizer, t->ctx, prefix));
  return smft__decoder_sentencepiece(&t->decoder, t->ctx, prefix);
}

/* ---- special tokens ------------------------------------------------------ */

/* llama.cpp goes by spelling, too: these end an answer, */
static const char *const stop_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    ("<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"),
    "[e~[",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
};
/* and these, like those, are control tokens whatever their type says. */
static const char *const control_texts[] = {
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "<|code_prefix|>", "<|prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "<|code_suffix|>", "<|suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "<|code_middle|>", "<|middle|>",
};
#define N_STOPS (sizeof stop_texts / sizeof *stop_texts)
#define N_CONTROLS (sizeof control_texts / sizeof *control_texts)

static int32_t find_text(const smft_tokenizer *t, const char *text) {
  return smft__vocab_find(&t->vocab, text, (int64_t)strlen(text));
}

/* With these tokens beside them, two of the list mean something else. */
static int is_no_stop(const smft_tokenizer *t, const char *text) {
  if (strcmp(text, "</s>") == 0)
    return find_text(t, "<|tool_response>") >= 0;
  if (strcmp(text, "<|end|>") != 0)
    return 0;
  int call = find_text(t, "<|call|>") >= 0 || find_text(t, "<|calls|>") >= 0;
  return call && (find_text(t, "<|return|>") >= 0 || find_text(t, "<|flush|>") >= 0);
}

static smft_status put_stop(smft_tokenizer *t, int64_t id) {
  for (int64_t i = 0; i < t->stops.n; i++)
    if (t->stops.data[i] == id)
      return SMFT_OK;
  return id < 0 ? SMFT_OK : smft__ids_put(&t->stops, (int32_t)id);
}

/* -1: none.  An id that no token has counts as none said: such files are about. */
static smft_status read_id(const reading *in, const char *key, int64_t fallback, int64_t *id) {
  const int64_t n = in->tokenizer->vocab.n_ids;
  SMFT__TRY(smft__gguf_i64(in->gguf, key, fallback, id));
  if (*id < 0 || *id >= n)
    *id = fallback < n ? fallback : -1;
  return SMFT_OK;
}

static smft_status read_stops(const reading *in) {
  static const char *const keys[] = {KEY("eot_token_id"), KEY("eom_token_id"),
                                     KEY("fim_pad_token_id"), KEY("fim_rep_token_id"),
                                     KEY("fim_sep_token_id")};
  smft_tokenizer *t = in->tokenizer;
  int64_t id;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    SMFT__TRY(read_id(in, keys[i], -1, &id));
    SMFT__TRY(put_stop(t, id));
  }
  for (size_t i = 0; i < N_STOPS; i++) {
    id = is_no_stop(t, stop_texts[i]) ? -1 : find_text(t, stop_texts[i]);
    SMFT__TRY(put_stop(t, id));
    if (id >= 0)
      t->vocab.tokens[id].flags |= SMFT__TOKEN_SPECIAL;
  }
  for (size_t i = 0; i < N_CONTROLS; i++)
    if ((id = find_text(t, control_texts[i])) >= 0)
      t->vocab.tokens[id].flags |= SMFT__TOKEN_SPECIAL;
  return SMFT_OK;
}

static smft_status put_around(const reading *in, const char *key, int fallback, int64_t id,
                              smft__ids *ids) {
  int add = fallback;
  SMFT__TRY(smft__gguf_bool(in->gguf, key, fallback, &add));
  if (add && id < 0)
    return smft__fail(SMFT_E_FORMAT, "%s is set, but no token has the id to add", key);
  return add ? smft__ids_put(ids, (int32_t)id) : SMFT_OK;
}

/* The spelling of a token as a string of its own; NULL for no token. */
static smft_status copy_token(const reading *in, int64_t id, char **out) {
  smft_ctx *ctx = in->tokenizer->ctx;
  int64_t length = 0;
  const char *text = id < 0 ? NULL : smft__vocab_text(&in->tokenizer->vocab, id, &length);
  *out = NULL;
  if (!text)
    return SMFT_OK;
  *out = smft__calloc_array(ctx, length + 1, 1);
  if (!*out)
    return SMFT_E_NOMEM;
  memcpy(*out, text, (size_t)length);
  return SMFT_OK;
}

static smft_status read_chat_template(const reading *in) {
  smft_tokenizer *t = in->tokenizer;
  const char *text;
  int64_t length;
  SMFT__TRY(smft__gguf_string(in->gguf, "tokenizer.chat_template", &text, &length));
  if (!text)
    return SMFT_OK;
  if (!smft__utf8_valid(text, (size_t)length, NULL))
    return smft__fail(SMFT_E_ENCODING, "tokenizer.chat_template is not valid UTF-8");
  return smft__chat_set(&t->chat, t->ctx, text, length);
}

static smft_status read_chat(const reading *in, int64_t bos, int64_t eos) {
  smft_tokenizer *t = in->tokenizer;
  char *begin = NULL, *end = NULL;
  smft_status status = copy_token(in, bos, &begin);
  if (status == SMFT_OK)
    status = copy_token(in, eos, &end);
  if (status == SMFT_OK)
    status = smft__chat_set_tokens(&t->chat, t->ctx, begin, end);
  smft__free(t->ctx, begin);
  smft__free(t->ctx, end);
  return status == SMFT_OK ? read_chat_template(in) : status;
}

static smft_status read_special(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  int64_t bos, eos, unk;
  SMFT__TRY(read_id(in, KEY("bos_token_id"), in->is_spm ? 1 : 11, &bos));
  SMFT__TRY(read_id(in, KEY("eos_token_id"), in->is_spm ? 2 : 11, &eos));
  SMFT__TRY(read_id(in, KEY("unknown_token_id"), in->is_spm ? 0 : -1, &unk));
  t->spm.unk = (int32_t)unk;
  SMFT__TRY(put_around(in, KEY("add_bos_token"), in->add_bos, bos, &t->before));
  SMFT__TRY(put_around(in, KEY("add_eos_token"), 0, eos, &t->after));
  SMFT__TRY(put_stop(t, eos));
  SMFT__TRY(read_chat(in, bos, eos));
  return read_stops(in);
}

/* What is looked for in the text itself. */
static smft_status add_added(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  smft__added_start(&t->added, t->ctx);
  t->longest_first = 1;
  for (int64_t id = 0; id < t->vocab.n_ids; id++) {
    const smft__token *token = &t->vocab.tokens[id];
    int special = (token->flags & SMFT__TOKEN_SPECIAL) != 0;
    smft__added_token added = {(int32_t)id, 0, 0, 0, 0, special};
    if (special || type_of(in, id) == USER_DEFINED)
      SMFT__TRY(smft__added_add(&t->added, &added, t->vocab.text + token->start, token->length));
  }
  return SMFT_OK;
}

/* ---- the whole ----------------------------------------------------------- */

static int is_text(const char *text, int64_t length, const char *word) {
  return text && length == (int64_t)strlen(word) && memcmp(text, word, (size_t)length) == 0;
}

/* Tokens of Phi-3 take the space after them, and the file does not say so. */
static smft_status refuse_phi3(const smft__gguf *gguf) {
  const char *name;
  int64_t length;
  SMFT__TRY(smft__gguf_string(gguf, "general.architecture", &name, &length));
  return is_text(name, length, "phi3")
             ? smft__fail(SMFT_E_UNSUPPORTED, "the tokenizer of \"phi3\" is not supported")
             : SMFT_OK;
}

static smft_status read_spm(reading *in) {
  in->is_spm = in->add_bos = 1;
  SMFT__TRY(refuse_phi3(in->gguf));
  SMFT__TRY(read_tokens(in));
  SMFT__TRY(read_scores(in));
  return read_space(in);
}

static smft_status read_bpe(reading *in) {
  smft_tokenizer *t = in->tokenizer;
  t->normalizer.ctx = t->ctx;
  SMFT__TRY(read_tokens(in));
  SMFT__TRY(read_merges(in));
  SMFT__TRY(read_pre(in));
  return smft__decoder_byte_level(&t->decoder, t->ctx);
}

/* *there 0: the file has no tokenizer. */
static smft_status read_model(reading *in, int *there) {
  const char *name;
  int64_t length;
  SMFT__TRY(smft__gguf_string(in->gguf, KEY("model"), &name, &length));
  *there = name && !is_text(name, length, "none") && !is_text(name, length, "no_vocab");
  if (!*there)
    return SMFT_OK;
  int is_spm = is_text(name, length, "llama");
  if (!is_spm && !is_text(name, length, "gpt2"))
    return smft__fail(SMFT_E_UNSUPPORTED,
                      KEY("model") " \"%.*s\" is not supported, only \"gpt2\" and \"llama\" are",
                      (int)(length < 60 ? length : 60), name);
  SMFT__TRY(is_spm ? read_spm(in) : read_bpe(in));
  SMFT__TRY(read_special(in));
  return add_added(in);
}

smft_status smft__tokenizer_load_gguf(smft_tokenizer **out, smft_ctx *ctx, const smft__gguf *gguf) {
  int there = 0;
  *out = NULL;
  reading in = {smft__tokenizer_new(ctx), gguf, NULL, NULL, 0, 0};
  if (!in.tokenizer)
    return SMFT_E_NOMEM;
  smft_status status = read_model(&in, &there);
  if (status == SMFT_OK && there) {
    *out = in.tokenizer;
    return SMFT_OK;
  }
  smft_tokenizer_free(in.tokenizer);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", gguf->path);
}
