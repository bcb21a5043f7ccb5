/* patch_facts: the facts that a slots patch was taught, as hosts and the learner see them.  The
 * list itself is taught.h's. */
#include "model/patch.h"

#include <string.h>

/* The list as it is now, retained; NULL: none. */
static smft__taught *take_list(smft_patch *patch) {
  const smft__version *version = NULL;
  if (patch->kind != SMFT_PATCH_SLOTS || smft__patch_begin_read(patch, &version) != SMFT_OK)
    return NULL;
  smft__taught *list = smft__taught_retain(version->taught);
  smft__patch_end_read(patch, version);
  return list;
}

static smft_status find(smft_patch *patch, int64_t index, const char *call, smft__taught **list) {
  *list = NULL;
  SMFT__REQUIRE(patch, "%s: patch is NULL", call);
  *list = take_list(patch);
  if (index >= 0 && index < smft__taught_count(*list))
    return SMFT_OK;
  int64_t n = smft__taught_count(*list);
  smft__taught_release(*list);
  *list = NULL;
  return smft__fail(SMFT_E_NOT_FOUND, "%s: fact %lld of %lld", call, (long long)index,
                    (long long)n);
}

int64_t smft_patch_fact_count(smft_patch *patch) {
  smft__taught *list = patch ? take_list(patch) : NULL;
  int64_t n = smft__taught_count(list);
  smft__taught_release(list);
  return n;
}

smft_status smft_patch_fact_get(smft_patch *patch, int64_t index, smft_fact_info *info) {
  smft_fact_info own = SMFT_FACT_INFO_INIT;
  smft__taught *list;
  SMFT__REQUIRE(info, "smft_patch_fact_get: info is NULL");
  SMFT__TRY(smft__report_check(info, sizeof own, "smft_fact_info"));
  SMFT__TRY(find(patch, index, "smft_patch_fact_get", &list));
  const smft__taught_fact *fact = list->facts[index];
  own.state = fact->state;
  own.n_wordings = fact->n_wordings;
  own.n_rows = smft__taught_n_rows(fact);
  own.n_reads = smft__taught_n_reads(fact);
  smft__taught_release(list);
  return smft__report_write(info, &own, sizeof own, sizeof own, "smft_fact_info");
}

smft_status smft_patch_fact_id(smft_patch *patch, int64_t index, char *id, size_t capacity,
                               size_t *length) {
  smft_status status = SMFT_OK;
  smft__taught *list;
  SMFT__REQUIRE(length && (id || capacity == 0), "smft_patch_fact_id: id or length is NULL");
  SMFT__TRY(find(patch, index, "smft_patch_fact_id", &list));
  const smft__taught_fact *fact = list->facts[index];
  *length = (size_t)fact->id_length;
  if (capacity > 0 && capacity <= *length)
    status = smft__fail(SMFT_E_BUFFER, "smft_patch_fact_id: %zu bytes and a NUL, room for %zu",
                        *length, capacity);
  else if (capacity > 0)
    memcpy(id, fact->id, *length + 1);
  smft__taught_release(list);
  return status;
}

static void put_rows(const smft__taught_fact *fact, smft_fact_row *rows) {
  for (int32_t p = 0; p < fact->n_pools; p++)
    for (int64_t i = fact->row_begin[p]; i < fact->row_begin[p + 1]; i++)
      rows[i] = (smft_fact_row){smft__taught_slot(fact, fact->rows, i), p, 0};
}

smft_status smft_patch_fact_rows(smft_patch *patch, int64_t index, smft_fact_row *rows,
                                 int64_t capacity, int64_t *n) {
  smft_status status = SMFT_OK;
  smft__taught *list;
  SMFT__REQUIRE(n && capacity >= 0 && (rows || capacity == 0),
                "smft_patch_fact_rows: n or rows is NULL, or capacity is negative");
  SMFT__TRY(find(patch, index, "smft_patch_fact_rows", &list));
  *n = smft__taught_n_rows(list->facts[index]);
  if (capacity > 0 && capacity < *n)
    status = smft__fail(SMFT_E_BUFFER, "smft_patch_fact_rows: %lld rows, room for %lld",
                        (long long)*n, (long long)capacity);
  else if (capacity > 0)
    put_rows(list->facts[index], rows);
  smft__taught_release(list);
  return status;
}

/* ---- changes ------------------------------------------------------------- */

/* The list that comes after `now`. */
typedef smft_status (*next_list)(smft__taught **out, const smft__taught *now, void *what);

/* Publishes a version with the same rows and another list. */
static smft_status change_list(smft_patch *patch, next_list make, void *what) {
  smft__taught *list = NULL;
  SMFT__TRY(smft__patch_begin_write(patch));
  smft__version *now = smft__patch_current(patch), *next = NULL;
  smft_status status = make(&list, now->taught, what);
  if (status == SMFT_OK) {
    next = smft__version_edit(now);
    status = next ? SMFT_OK : SMFT_E_NOMEM;
  }
  if (next) {
    smft__taught_release(next->taught);
    next->taught = list;
  } else {
    smft__taught_release(list);
  }
  smft__patch_end_write(patch, next);
  return status;
}

static smft_status without(smft__taught **out, const smft__taught *now, void *what) {
  int64_t index = *(const int64_t *)what, n = smft__taught_count(now);
  if (index < 0 || index >= n)
    return smft__fail(SMFT_E_NOT_FOUND, "smft_patch_fact_remove: fact %lld of %lld",
                      (long long)index, (long long)n);
  return smft__taught_remove(out, now, index);
}

smft_status smft_patch_fact_remove(smft_patch *patch, int64_t index) {
  SMFT__REQUIRE(patch, "smft_patch_fact_remove: patch is NULL");
  return change_list(patch, without, &index);
}

static smft_status with(smft__taught **out, const smft__taught *now, void *what) {
  return smft__taught_append(out, now, what);
}

smft_status smft__patch_add_fact(smft_patch *patch, smft__taught_fact *fact) {
  return change_list(patch, with, fact);
}
