/* texts: see texts.h.  Reading and grouping are learn/background_text.c's, the same as for counts
 * that are made later: so a group's states, and what it reads, are the same bits. */
#include "graft/texts.h"

#include <string.h>

#include "base/alloc.h"

static smft_status make_room(smft__texts *texts, const smft__group *group) {
  int64_t tokens = texts->ids.n + group->batch.n_tokens;
  SMFT__TRY(smft__grow(texts->ctx, &texts->ids.data, &texts->ids.capacity, tokens,
                       sizeof *texts->ids.data));
  SMFT__TRY(smft__grow(texts->ctx, &texts->offsets, &texts->offsets_capacity,
                       texts->n_offsets + group->batch.n_sequences + 1, sizeof *texts->offsets));
  return smft__grow(texts->ctx, &texts->groups, &texts->groups_capacity, texts->n_groups + 1,
                    sizeof *texts->groups);
}

static smft_status add_group(void *user, const smft__group *group) {
  smft__texts *texts = user;
  const smft__sequences *batch = &group->batch;
  SMFT__TRY(make_room(texts, group));
  smft__texts_group added = {texts->ids.n, texts->n_offsets, batch->n_tokens, batch->n_sequences,
                             group->first};
  texts->groups[texts->n_groups++] = added;
  memcpy(texts->ids.data + texts->ids.n, batch->ids, (size_t)batch->n_tokens * sizeof *batch->ids);
  memcpy(texts->offsets + texts->n_offsets, batch->offsets,
         (size_t)(batch->n_sequences + 1) * sizeof *batch->offsets);
  texts->ids.n += batch->n_tokens;
  texts->n_offsets += batch->n_sequences + 1;
  texts->largest = batch->n_tokens > texts->largest ? batch->n_tokens : texts->largest;
  return SMFT_OK;
}

static smft_status read_source(smft__texts *texts, const smft_model *model,
                               const smft__settings *settings, int64_t i) {
  int64_t n = 0;
  SMFT__TRY(smft__background_options(&texts->sources[i], settings->o.sources[i], model,
                                     settings->o.tokens_per_sequence));
  SMFT__TRY(smft__background_read(&texts->sources[i], model, "smft_graft", add_group, texts, &n));
  texts->n_sequences += n;
  texts->begins[i + 1] = texts->n_groups;
  return smft__settings_tell(settings, "texts", i + 1, texts->n_sources);
}

static smft_status read_sources(smft__texts *texts, const smft_model *model,
                                const smft__settings *settings) {
  texts->sources = smft__calloc_array(texts->ctx, texts->n_sources, sizeof *texts->sources);
  texts->begins = smft__calloc_array(texts->ctx, texts->n_sources + 1, sizeof *texts->begins);
  if (!texts->sources || !texts->begins)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < texts->n_sources; i++) {
    smft_status status = read_source(texts, model, settings, i);
    if (status != SMFT_OK)
      return texts->n_sources == 1 || status == SMFT_E_CANCELLED
                 ? status
                 : smft__fail_within(status, "source %lld", (long long)i);
  }
  return SMFT_OK;
}

smft_status smft__texts_read(smft__texts *texts, const smft_model *model,
                             const smft__settings *settings) {
  smft__texts made = {.ctx = model->ctx, .n_sources = settings->o.n_sources};
  made.ids.ctx = model->ctx;
  *texts = made;
  smft_status status = read_sources(texts, model, settings);
  if (status != SMFT_OK)
    smft__texts_free(texts);
  return status;
}

void smft__texts_free(smft__texts *texts) {
  smft__texts none = {0};
  if (!texts->ctx)
    return;
  smft__ids_free(&texts->ids);
  smft__free(texts->ctx, texts->sources);
  smft__free(texts->ctx, texts->begins);
  smft__free(texts->ctx, texts->offsets);
  smft__free(texts->ctx, texts->groups);
  *texts = none;
}

smft__sequences smft__texts_sequences(const smft__texts *texts, int64_t i) {
  const smft__texts_group *group = &texts->groups[i];
  smft__sequences batch = {texts->ids.data + group->token, texts->offsets + group->offset,
                           group->n_sequences, group->n_tokens, NULL};
  return batch;
}

int64_t smft__texts_batches(const smft__texts *texts, int64_t source) {
  int64_t last = texts->begins[source + 1], per_batch = texts->sources[source].sequences_per_batch;
  if (last == texts->begins[source])
    return 0;
  const smft__texts_group *group = &texts->groups[last - 1];
  int64_t n = group->first + group->n_sequences;
  return n / per_batch + (n % per_batch != 0);
}

int64_t smft__texts_tokens(const smft__texts *texts, int64_t source) {
  int64_t n = 0;
  for (int64_t i = texts->begins[source]; i < texts->begins[source + 1]; i++)
    n += texts->groups[i].n_tokens;
  return n;
}
