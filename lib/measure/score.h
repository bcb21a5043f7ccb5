/* score: one generated answer against the accepted ones: exact match and token F1, as SQuAD scores
 * them. */
#ifndef SMFT__SCORE_H
#define SMFT__SCORE_H
#include "base/ctx.h"

/* Normalises all of them and gives the best exact match (0 or 1) and the best F1 over `accepted`.
 * ctx may be NULL: the C library's allocator.  exact_match <= f1 always.  Texts that are not UTF-8
 * are SMFT_E_ENCODING. */
smft_status smft__score(smft_ctx *ctx, const char *answer, const char *const *accepted,
                        int64_t n_accepted, double *exact_match, double *f1);

/* A text as it is compared: its words in order, each a run of code points. */
typedef struct smft__word {
  const int32_t *code; /* into the text's code points */
  int64_t length;
} smft__word;
typedef struct smft__words {
  smft_ctx *ctx;
  int32_t *codes;    /* normalised code points, no white space */
  smft__word *words; /* (n) */
  int64_t n;
} smft__words;
smft_status smft__words_read(smft__words *words, smft_ctx *ctx, const char *text);
void smft__words_free(smft__words *words);
#endif
