/* gpt2: GPT-2's own files: encoder.json (the vocabulary) and vocab.bpe (a version line,
 * then a merge a line). Does not own: tokenizer.json (json.c). */
#include "base/file.h"
#include "data/tokenizer/parts.h"
#include <string.h>

static int64_t line_length(const char *text, int64_t length) {
  const char *end = memchr(text, '\n', (size_t)length);
  return end ? end - text : length;
}

/* What counts as a line of a merge: not the version, not the empty end. */
static int is_merge(const char *line, int64_t length) {
  return length > 0 && !(length >= 8 && memcmp(line, "#version", 8) == 0);
}

static int64_t count_merges(const char *text, int64_t length) {
  int64_t n = 0;
  for (int64_t at = 0, line; at < length; at += line + 1) {
    line = line_length(text + at, length - at);
    n += is_merge(text + at, line);
  }
  return n;
}

static smft_status add_merge(smft_tokenizer *tokenizer, const char *line, int64_t length) {
  const char *space = memchr(line, ' ', (size_t)length);
  if (!space || memchr(space + 1, ' ', (size_t)(line + length - space - 1)))
    return smft__fail(SMFT_E_FORMAT, "merge %lld: expected two tokens",
                      (long long)tokenizer->bpe.n_merges);
  return smft__bpe_add(&tokenizer->bpe, &tokenizer->vocab, line, space - line, space + 1,
                       line + length - space - 1);
}

static smft_status read_merges(smft_tokenizer *tokenizer, const char *text, int64_t length) {
  SMFT__TRY(smft__bpe_start(&tokenizer->bpe, tokenizer->ctx, count_merges(text, length)));
  for (int64_t at = 0, line; at < length; at += line + 1) {
    line = line_length(text + at, length - at);
    int64_t used = line > 0 && text[at + line - 1] == '\r' ? line - 1 : line;
    if (is_merge(text + at, used))
      SMFT__TRY(add_merge(tokenizer, text + at, used));
  }
  smft__bpe_finish(&tokenizer->bpe, &tokenizer->vocab);
  return SMFT_OK;
}

static smft_status read_merges_file(smft_tokenizer *tokenizer, const char *path) {
  smft__file file = {0};
  SMFT__TRY(smft__file_open(&file, tokenizer->ctx, path, 0));
  smft_status status = file.size > 0 ? read_merges(tokenizer, (const char *)file.data, file.size)
                                     : smft__fail(SMFT_E_FORMAT, "the file is empty");
  smft__file_close(&file);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", path);
}

static smft_status read_vocab_file(smft_tokenizer *tokenizer, const char *path) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_open(&root, tokenizer->ctx, path));
  smft_status status = smft__tokenizer_read_vocab(tokenizer, root, NULL);
  json_decref(root);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", path);
}

smft_status smft__tokenizer_read_gpt2(smft_tokenizer *tokenizer, const char *encoder_path,
                                      const char *merges_path) {
  static const char end_of_text[] = "<|endoftext|>";
  tokenizer->normalizer.ctx = tokenizer->ctx;
  tokenizer->bpe.unk = -1;
  SMFT__TRY(read_vocab_file(tokenizer, encoder_path));
  SMFT__TRY(read_merges_file(tokenizer, merges_path));
  SMFT__TRY(smft__splitter_byte_level(&tokenizer->splitter, tokenizer->ctx, 0, 1));
  SMFT__TRY(smft__decoder_byte_level(&tokenizer->decoder, tokenizer->ctx));
  smft__added_start(&tokenizer->added, tokenizer->ctx);
  smft__added_token token = {
      smft__vocab_find(&tokenizer->vocab, end_of_text, sizeof end_of_text - 1), 0, 0, 0, 0, 1};
  return token.id >= 0 ? smft__tokenizer_add_token(tokenizer, end_of_text, &token) : SMFT_OK;
}
