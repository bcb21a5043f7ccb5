/* parts: what a tokenizer is made of.  Immutable once loaded, so any number of threads
 * may use it. */
#ifndef SMFT__TOKENIZER_PARTS_H
#define SMFT__TOKENIZER_PARTS_H
#include "data/tokenizer.h"
#include "data/tokenizer/added.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/chat.h"
#include "data/tokenizer/decode.h"
#include "data/tokenizer/longest.h"
#include "data/tokenizer/normalize.h"
#include "data/tokenizer/split.h"
#include "data/tokenizer/spm.h"
#include "data/tokenizer/vocab.h"
#include <stdatomic.h>

/* Text goes through: added -> normalizer -> added (normalized) -> splitter -> bpe or spm; ids come
 * back through vocab -> decoder. */
struct smft_tokenizer {
  atomic_int references;
  smft_ctx *ctx;
  smft__vocab vocab;
  smft__added added;
  smft__normalizer normalizer;
  smft__splitter splitter;
  smft__bpe bpe;
  smft__decoder decoder;
  smft__ids before, after; /* what the post-processor puts around a text */
  smft__chat chat;
  /* of a GGUF file: */
  smft__spm spm;         /* with ranks: in bpe's place */
  int32_t longest_first; /* how added tokens are looked for (longest.h) */
  smft__ids stops;       /* what ends an answer */
};

/* One without parts; NULL on no memory. */
smft_tokenizer *smft__tokenizer_new(smft_ctx *ctx);
/* Fill a tokenizer whose ctx is set and whose other fields are zero. */
smft_status smft__tokenizer_read_json(smft_tokenizer *tokenizer, const char *path);
smft_status smft__tokenizer_read_gpt2(smft_tokenizer *tokenizer, const char *encoder_path,
                                      const char *merges_path);
/* Parts of these, shared by both. */
smft_status smft__tokenizer_read_vocab(smft_tokenizer *tokenizer, const json_t *vocab,
                                       const json_t *added);
/* after normalizer and vocabulary */
smft_status smft__tokenizer_read_added(smft_tokenizer *tokenizer, const json_t *added);
smft_status smft__tokenizer_add_token(smft_tokenizer *tokenizer, const char *content,
                                      const smft__added_token *token);
smft_status smft__tokenizer_read_post_processor(smft_tokenizer *tokenizer, const json_t *json);
#endif
