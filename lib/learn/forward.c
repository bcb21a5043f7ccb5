/* forward: see forward.h.  Owns whose lower layers are kept; how they are made and used is
 * model/network.c's, what the counts are for choice.c's. */
#include "learn/forward.h"
#include "base/parallel.h"
#include "learn/stats.h"

static smft__sequences all_wordings(const smft__fact *fact) {
  return (smft__sequences){fact->ids.data, fact->offsets, fact->n_wordings, fact->n_tokens,
                           fact->weights};
}

/* ---- the kept layers ----------------------------------------------------- */

/* A fact's wordings do not change, nor does a model; what the patch holds does not matter
 * (smft__network_keep): another fact is all that makes kept layers wrong.  Full and LoRA patches
 * change the blocks below as well, and never come here. */
smft_status smft__keep_layers(smft__kept_layers *kept, smft__tape *tape, const smft__fact *fact,
                              const atomic_int *cancel) {
  smft__sequences all = all_wordings(fact);
  if (kept->serial == fact->serial)
    return SMFT_OK;
  kept->serial = kept->read_serial = 0;
  SMFT__TRY(smft__network_keep(tape, &all, &kept->layers, cancel));
  kept->serial = fact->serial;
  return SMFT_OK;
}

/* ---- a pass over all wordings -------------------------------------------- */

static int is_whole(const smft__kept_layers *kept, const smft__sequences *batch,
                    const int64_t *begins) {
  if (batch->n_tokens != kept->layers.n_tokens)
    return 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    if (begins[s] != batch->offsets[s])
      return 0;
  return 1;
}

void smft__forward_note(smft__kept_layers *kept, const smft__tape *tape,
                        const smft__version *version, const smft__sequences *batch,
                        const int64_t *begins) {
  if (!is_whole(kept, batch, begins))
    return;
  kept->read_serial = kept->serial;
  kept->read_pass = tape->n_passes;
  kept->read_version = atomic_load(&version->number);
}

/* Whether nothing came since: no pass, and no other version of the patch. */
static int reads_stand(const smft__kept_layers *kept, const smft__tape *tape,
                       const smft__version *version, const smft__fact *fact) {
  return tape->ready && !tape->spent && kept->read_serial == fact->serial &&
         kept->read_pass == tape->n_passes && kept->read_version == atomic_load(&version->number);
}

static smft_status pass_over_all(smft__kept_layers *kept, smft__tape *tape,
                                 const smft__version *version, const smft__fact *fact, double *loss,
                                 const atomic_int *cancel) {
  smft__sequences all = all_wordings(fact);
  smft__kept_batch from = {&kept->layers, fact->offsets, NULL, {NULL, NULL}};
  int slots = version->kind == SMFT_PATCH_SLOTS;
  if (slots && !loss && reads_stand(kept, tape, version, fact))
    return SMFT_OK;
  SMFT__TRY(smft__network_forward_kept(tape, version, &all, slots ? &from : NULL,
                                       SMFT__KEEP_NOTHING, loss, cancel));
  if (slots)
    smft__forward_note(kept, tape, version, &all, fact->offsets);
  return SMFT_OK;
}

smft_status smft__forward_all_wordings(smft__kept_layers *kept, smft__tape *tape, smft_patch *patch,
                                       const smft__fact *fact, double *loss,
                                       const atomic_int *cancel) {
  const smft__version *version;
  if (patch->kind == SMFT_PATCH_SLOTS)
    SMFT__TRY(smft__keep_layers(kept, tape, fact, cancel));
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft_status status = pass_over_all(kept, tape, version, fact, loss, cancel);
  smft__patch_end_read(patch, version);
  return status;
}

/* ---- reads --------------------------------------------------------------- */

smft_status smft__reserve_counts(smft__counts *counts, const smft_model *model, int64_t n_tokens) {
  const smft__config *c = &model->config;
  int64_t reads = n_tokens * c->memory.heads * c->memory.top_k; /* of one memory layer */
  for (int32_t p = 0; p < c->n_pools; p++) {
    int64_t layers = 0;
    for (int32_t m = 0; m < c->n_memories; m++)
      layers += model->config.memories[m].pool == p;
    SMFT__TRY(
        smft__counts_reserve(&counts[p], reads, smft__least(layers * reads, smft__n_slots(model))));
  }
  return SMFT_OK;
}

smft_status smft__add_reads(smft__counts *counts, const smft_model *model, const smft__tape *tape) {
  for (int32_t m = 0; m < model->config.n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(tape, m, &n);
    SMFT__TRY(smft__counts_add(&counts[model->config.memories[m].pool], slots, n));
  }
  return SMFT_OK;
}

smft_status smft__count_reads(smft__counts *counts, const smft_model *model,
                              const smft__tape *tape) {
  int32_t n_pools = model->config.n_pools;
  for (int32_t p = 0; p < n_pools; p++)
    smft__counts_clear(&counts[p]);
  SMFT__TRY(smft__add_reads(counts, model, tape));
  for (int32_t p = 0; p < n_pools; p++)
    SMFT__TRY(smft__counts_finish(&counts[p]));
  return SMFT_OK;
}

smft_status smft__weigh_reads(smft__counts *counts, const smft_model *model,
                              const smft__tape *tape) {
  for (int32_t p = 0; p < model->config.n_pools; p++)
    SMFT__TRY(smft__counts_weigh(&counts[p]));
  for (int32_t m = 0; m < model->config.n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(tape, m, &n);
    const float *weights = smft__tape_weights(tape, m, &n);
    smft__counts_add_weights(&counts[model->config.memories[m].pool], slots, weights, n);
  }
  return SMFT_OK;
}
