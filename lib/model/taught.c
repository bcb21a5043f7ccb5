/* taught: see taught.h.  Owns records and lists; what records are for is learn/protect.c's, their
 * file taught_file.c's, and what hosts see of them patch_facts.c's. */
#include "model/taught.h"
#include "base/alloc.h"
#include <string.h>

/* ---- a record ------------------------------------------------------------ */

/* Of counts; -1: it overflows, or one of them is negative. */
static int64_t total_of(const int64_t *counts, int32_t n) {
  int64_t total = 0;
  for (int32_t i = 0; i < n; i++)
    if (!smft__add_i64(total, counts[i], &total))
      return -1;
  return total;
}

static void fill_begins(int64_t *begins, const int64_t *counts, int32_t n) {
  begins[0] = 0;
  for (int32_t i = 0; i < n; i++)
    begins[i + 1] = begins[i] + counts[i];
}

/* All of it in one block, the record first. */
static smft__taught_fact *lay_out(smft__arena *arena, const smft__taught_form *form) {
  smft__taught_fact made = {.state = form->state, .n_pools = form->n_pools};
  smft__taught_fact *fact = smft__arena_take(arena, 1, sizeof *fact);
  int64_t n_begins = (int64_t)form->n_pools + 1, n_rows = total_of(form->n_rows, form->n_pools);
  int64_t n_reads = total_of(form->n_reads, form->n_pools);
  made.slot_bytes = smft__slot_bytes(form->n_slots);
  made.n_wordings = form->n_wordings;
  made.id_length = form->id_length;
  made.row_begin = smft__arena_take(arena, n_begins, sizeof *made.row_begin);
  made.read_begin = smft__arena_take(arena, n_begins, sizeof *made.read_begin);
  made.rows = smft__arena_take(arena, n_rows, (size_t)made.slot_bytes);
  made.reads = smft__arena_take(arena, n_reads, (size_t)made.slot_bytes);
  made.squares = smft__arena_take(arena, n_reads, sizeof *made.squares);
  made.id = smft__arena_take(arena, form->id_length < INT64_MAX ? form->id_length + 1 : -1, 1);
  if (fact)
    memcpy(fact, &made, sizeof made);
  return fact;
}

smft_status smft__taught_make(smft__taught_fact **out, smft_ctx *ctx,
                              const smft__taught_form *form) {
  smft__arena arena = {0};
  lay_out(&arena, form);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "the size of a fact's record overflows");
  char *block = smft__alloc_array(ctx, arena.used, 1);
  if (!block)
    return SMFT_E_NOMEM;
  arena = (smft__arena){block, 0, arena.used};
  smft__taught_fact *fact = lay_out(&arena, form);
  fact->ctx = ctx;
  atomic_init(&fact->references, 1);
  fill_begins(fact->row_begin, form->n_rows, form->n_pools);
  fill_begins(fact->read_begin, form->n_reads, form->n_pools);
  memcpy(fact->id, form->id, (size_t)form->id_length);
  fact->id[form->id_length] = '\0';
  *out = fact;
  return SMFT_OK;
}

void smft__taught_fact_release(smft__taught_fact *fact) {
  if (fact && atomic_fetch_sub(&fact->references, 1) == 1)
    smft__free(fact->ctx, fact);
}

int64_t smft__taught_slot(const smft__taught_fact *fact, const void *slots, int64_t i) {
  return fact->slot_bytes == 2   ? (int64_t)((const uint16_t *)slots)[i]
         : fact->slot_bytes == 4 ? (int64_t)((const uint32_t *)slots)[i]
                                 : ((const int64_t *)slots)[i];
}

void smft__taught_put_slot(smft__taught_fact *fact, void *slots, int64_t i, int64_t slot) {
  if (fact->slot_bytes == 2)
    ((uint16_t *)slots)[i] = (uint16_t)slot;
  else if (fact->slot_bytes == 4)
    ((uint32_t *)slots)[i] = (uint32_t)slot;
  else
    ((int64_t *)slots)[i] = slot;
}

/* ---- a list -------------------------------------------------------------- */

smft__taught *smft__taught_retain(smft__taught *list) {
  if (list)
    atomic_fetch_add(&list->references, 1);
  return list;
}

void smft__taught_release(smft__taught *list) {
  if (!list || atomic_fetch_sub(&list->references, 1) != 1)
    return;
  for (int64_t i = 0; i < list->n; i++)
    smft__taught_fact_release(list->facts[i]);
  smft__free(list->ctx, list);
}

smft_status smft__taught_empty(smft__taught **out, smft_ctx *ctx, int64_t n) {
  int64_t bytes = 0;
  if (!smft__mul_i64(n, (int64_t)sizeof(smft__taught_fact *), &bytes) ||
      !smft__add_i64(bytes, (int64_t)sizeof(smft__taught), &bytes))
    return smft__fail(SMFT_E_NOMEM, "the size of a list of %lld facts overflows", (long long)n);
  smft__taught *list = smft__calloc_array(ctx, bytes, 1);
  if (!list)
    return SMFT_E_NOMEM;
  list->ctx = ctx;
  list->n = n;
  atomic_init(&list->references, 1);
  *out = list;
  return SMFT_OK;
}

static smft__taught_fact *retain_fact(smft__taught_fact *fact) {
  atomic_fetch_add(&fact->references, 1);
  return fact;
}

smft_status smft__taught_append(smft__taught **out, const smft__taught *list,
                                smft__taught_fact *fact) {
  smft__taught *longer = NULL;
  int64_t n = smft__taught_count(list);
  SMFT__TRY(smft__taught_empty(&longer, fact->ctx, n + 1));
  for (int64_t i = 0; i < n; i++)
    longer->facts[i] = retain_fact(list->facts[i]);
  longer->facts[n] = retain_fact(fact);
  *out = longer;
  return SMFT_OK;
}

smft_status smft__taught_remove(smft__taught **out, const smft__taught *list, int64_t index) {
  smft__taught *shorter = NULL;
  if (list->n > 1)
    SMFT__TRY(smft__taught_empty(&shorter, list->ctx, list->n - 1));
  for (int64_t i = 0; shorter && i < shorter->n; i++)
    shorter->facts[i] = retain_fact(list->facts[i + (i >= index)]);
  *out = shorter;
  return SMFT_OK;
}
