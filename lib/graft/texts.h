/* texts: all sources of a graft as token ids, in the groups in which they go through the network.
 */
#ifndef SMFT__TEXTS_H
#define SMFT__TEXTS_H
#include "graft/settings.h"
#include "learn/background_text.h"

typedef struct smft__texts_group {
  int64_t token, offset; /* its first, among all; of `offsets` */
  int64_t n_tokens, n_sequences;
  int64_t first; /* number of its first sequence in its source */
} smft__texts_group;

typedef struct smft__texts {
  smft_ctx *ctx;
  smft_background *sources; /* (n_sources) with their defaults */
  int64_t *begins;          /* (n_sources + 1) of their groups */
  int64_t n_sources, n_sequences;
  smft__ids ids;
  int64_t *offsets; /* of each group, one more than it has sequences, from 0 */
  int64_t n_offsets, offsets_capacity;
  smft__texts_group *groups; /* (n_groups) */
  int64_t n_groups, groups_capacity;
  int64_t largest; /* tokens of a group, at most */
} smft__texts;
/* Nothing is left allocated on failure. */
smft_status smft__texts_read(smft__texts *texts, const smft_model *model,
                             const smft__settings *settings);
void smft__texts_free(smft__texts *texts); /* a zeroed struct is fine */
smft__sequences smft__texts_sequences(const smft__texts *texts, int64_t group);
int64_t smft__texts_batches(const smft__texts *texts, int64_t source);
int64_t smft__texts_tokens(const smft__texts *texts, int64_t source);
#endif
