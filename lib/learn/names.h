/* names: which facts wait under which id.  A fact is in one such set at a time, through its field
 * `same`. */
#ifndef SMFT__NAMES_H
#define SMFT__NAMES_H
#include "learn/facts.h"

typedef struct smft__names { /* zero: empty */
  smft__fact **chains;       /* (n_chains, a power of two): by the hash of the id */
  int64_t n_chains, n;
} smft__names;
void smft__names_free(smft__names *names, smft_ctx *ctx); /* the facts stay */
/* Room for `more` facts, so that putting them in cannot fail. */
smft_status smft__names_reserve(smft__names *names, smft_ctx *ctx, int64_t more);
smft__fact *smft__names_find(const smft__names *names, const char *id); /* NULL: none */
void smft__names_put(smft__names *names, smft__fact *fact);
void smft__names_take(smft__names *names, const smft__fact *fact);
#endif
