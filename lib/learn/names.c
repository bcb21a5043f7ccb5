/* names: see names.h.  A table of chains that doubles.  Does not own: the facts, their order
 * (queue.c). */
#include "learn/names.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

#define FEWEST 16

static smft__fact **chain_of(const smft__names *names, const char *id) {
  uint64_t hash = smft__hash_bytes(id, strlen(id));
  return &names->chains[hash & (uint64_t)(names->n_chains - 1)];
}

void smft__names_free(smft__names *names, smft_ctx *ctx) {
  smft__names none = {0};
  smft__free(ctx, names->chains);
  *names = none;
}

smft_status smft__names_reserve(smft__names *names, smft_ctx *ctx, int64_t more) {
  int64_t wanted = names->n_chains ? names->n_chains : FEWEST;
  while (wanted < names->n + more)
    wanted *= 2;
  if (wanted == names->n_chains)
    return SMFT_OK;
  smft__names old = *names,
              grown = {smft__calloc_array(ctx, wanted, sizeof *grown.chains), wanted, 0};
  if (!grown.chains)
    return SMFT_E_NOMEM;
  *names = grown;
  for (int64_t i = 0; i < old.n_chains; i++)
    for (smft__fact *fact = old.chains[i], *next; fact; fact = next) {
      next = fact->same;
      smft__names_put(names, fact);
    }
  smft__free(ctx, old.chains);
  return SMFT_OK;
}

smft__fact *smft__names_find(const smft__names *names, const char *id) {
  smft__fact *fact = names->n_chains ? *chain_of(names, id) : NULL;
  while (fact && strcmp(fact->id, id) != 0)
    fact = fact->same;
  return fact;
}

void smft__names_put(smft__names *names, smft__fact *fact) {
  smft__fact **chain = chain_of(names, fact->id);
  fact->same = *chain;
  *chain = fact;
  names->n++;
}

void smft__names_take(smft__names *names, const smft__fact *fact) {
  smft__fact **link = chain_of(names, fact->id);
  while (*link != fact)
    link = &(*link)->same;
  *link = fact->same;
  names->n--;
}
