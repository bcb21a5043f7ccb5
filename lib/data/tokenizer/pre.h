/* pre: the ways of cutting text into pieces that GGUF files call by name (tokenizer.ggml.pre). */
#ifndef SMFT__TOKENIZER_PRE_H
#define SMFT__TOKENIZER_PRE_H
#include "base/status.h"

typedef struct smft__pre {
  const char *names; /* one after another, a space before and after each */
  /* NULL ends: each cuts, at its matches, what those before it left */
  const char *patterns[6];
  int32_t ignore_merges; /* a piece that is a token is that token */
  int32_t add_bos;       /* unless the file says otherwise */
} smft__pre;

/* E_UNSUPPORTED for a name that is not known. */
smft_status smft__pre_find(const smft__pre **out, const char *name, int64_t length);
#endif
