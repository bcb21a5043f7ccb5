/* taught: the list of facts that a patch was taught, in their order.  Lists and records never
 * change once they are made and are counted by reference, so that versions of a patch, patches and
 * threads share them: what differs is another list of the same records. */
#ifndef SMFT__TAUGHT_H
#define SMFT__TAUGHT_H
#include "data/safetensors.h"

typedef struct smft__taught_fact {
  smft_ctx *ctx;
  atomic_int references;
  int32_t state; /* SMFT_FACT_DONE, or SMFT_FACT_GAVE_UP: given up and kept */
  int32_t n_pools;
  int32_t slot_bytes; /* of the slots below: 2, 4 or 8, as they fit */
  int64_t n_wordings;
  int64_t id_length;
  char *id; /* (id_length) UTF-8 without NUL, and a NUL */
  /* (n_pools + 1) where each pool's begin in the arrays below */
  int64_t *row_begin, *read_begin;
  void *rows;  /* slots that it changed, a pool's ascending */
  void *reads; /* slots that its wordings read, likewise; none: it protects nothing */
  /* of each read slot: the sum of the squared weights with which the wordings read it */
  float *squares;
} smft__taught_fact;

typedef struct smft__taught_form { /* what a record is made of */
  const char *id;
  int64_t id_length, n_wordings;
  int32_t state, n_pools;
  int64_t n_slots;                 /* of a pool */
  const int64_t *n_rows, *n_reads; /* (n_pools) */
} smft__taught_form;
/* A record whose slots and squares are for the caller to fill, before anybody else sees it. */
smft_status smft__taught_make(smft__taught_fact **out, smft_ctx *ctx,
                              const smft__taught_form *form);
/* Of a slot in a record and in the file, where a pool has so many. */
static inline int32_t smft__slot_bytes(int64_t n_slots) {
  return n_slots - 1 <= UINT16_MAX ? 2 : n_slots - 1 <= (int64_t)UINT32_MAX ? 4 : 8;
}
void smft__taught_fact_release(smft__taught_fact *fact); /* NULL is fine */
int64_t smft__taught_slot(const smft__taught_fact *fact, const void *slots, int64_t i);
void smft__taught_put_slot(smft__taught_fact *fact, void *slots, int64_t i, int64_t slot);
static inline int64_t smft__taught_n_rows(const smft__taught_fact *fact) {
  return fact->row_begin[fact->n_pools];
}
static inline int64_t smft__taught_n_reads(const smft__taught_fact *fact) {
  return fact->read_begin[fact->n_pools];
}
/* Whether it counts as background for the facts that follow. */
static inline int smft__taught_protects(const smft__taught_fact *fact) {
  return fact->state == SMFT_FACT_DONE && smft__taught_n_reads(fact) > 0;
}

typedef struct smft__taught { /* NULL: no facts */
  smft_ctx *ctx;
  atomic_int references;
  int64_t n;
  smft__taught_fact *facts[]; /* (n) */
} smft__taught;
smft__taught *smft__taught_retain(smft__taught *list); /* NULL is fine, here and below */
void smft__taught_release(smft__taught *list);
static inline int64_t smft__taught_count(const smft__taught *list) { return list ? list->n : 0; }
/* *out: a list of n records without content, for whoever fills all of them in; releasing it before
 * that is fine. */
smft_status smft__taught_empty(smft__taught **out, smft_ctx *ctx, int64_t n);
/* *out: another list, which shares the records; list stays as it is.  The record is retained. */
smft_status smft__taught_append(smft__taught **out, const smft__taught *list,
                                smft__taught_fact *fact);
/* index: 0 <= index < count.  *out: NULL when the last one went. */
smft_status smft__taught_remove(smft__taught **out, const smft__taught *list, int64_t index);

/* The list in a patch's file (taught_file.c): a few tensors for all of it. */
enum { SMFT__TAUGHT_TENSORS = 9 };
/* tensors get the list as it is written; *block is what they are views of, to be freed with
 * smft__free.  The list is not empty. */
smft_status smft__taught_collect(smft__save_tensor tensors[SMFT__TAUGHT_TENSORS], void **block,
                                 const smft__taught *list);
/* *out: what the file has, NULL where it has none.  n_slots: of each of the n_pools pools. */
smft_status smft__taught_read(smft__taught **out, const smft__source *file, int32_t n_pools,
                              int64_t n_slots);
#endif
