/* taught_file: the facts that a patch was taught, in its file (docs/formats.md): arrays of all
 * facts, one after another, and where each fact's end.  Owns that layout and every check of it. */
#include <math.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/taught.h"

#define MOST_WORDINGS INT32_MAX /* of a fact: their sum over all facts does not overflow */

enum { IDS, ID_ENDS, STATES, WORDINGS, ROW_ENDS, ROWS, READ_ENDS, READS, SQUARES };
enum { ALL, FACTS, POOLS }; /* shapes: of all facts' elements, (facts), (facts, pools) */
static const struct part {
  const char *name;
  int32_t dtype; /* 0: of slots */
  int32_t shape;
} parts[SMFT__TAUGHT_TENSORS] = {
    {"facts.ids", SMFT__U8, ALL},          {"facts.id_ends", SMFT__I64, FACTS},
    {"facts.states", SMFT__U8, FACTS},     {"facts.wordings", SMFT__I64, FACTS},
    {"facts.row_ends", SMFT__I64, POOLS},  {"facts.rows", 0, ALL},
    {"facts.read_ends", SMFT__I64, POOLS}, {"facts.reads", 0, ALL},
    {"facts.squares", SMFT__F32, ALL},
};

static int32_t slot_dtype(int32_t bytes) {
  return bytes == 2 ? SMFT__U16 : bytes == 4 ? SMFT__U32 : SMFT__I64;
}

/* ---- write --------------------------------------------------------------- */

typedef struct totals { /* of all facts */
  int64_t facts, id_bytes, rows, reads;
  int32_t pools, slot_bytes;
} totals;

/* Each record is in memory, so their sums do not overflow. */
static totals add_up(const smft__taught *list) {
  totals sum = {.facts = list->n, .pools = list->facts[0]->n_pools};
  sum.slot_bytes = list->facts[0]->slot_bytes;
  for (int64_t i = 0; i < list->n; i++) {
    sum.id_bytes += list->facts[i]->id_length;
    sum.rows += smft__taught_n_rows(list->facts[i]);
    sum.reads += smft__taught_n_reads(list->facts[i]);
  }
  return sum;
}

static int64_t elements_of(const totals *sum, int part) {
  switch (part) {
  case IDS:
    return sum->id_bytes;
  case ROWS:
    return sum->rows;
  case READS:
  case SQUARES:
    return sum->reads;
  default:
    return parts[part].shape == POOLS ? sum->facts * sum->pools : sum->facts;
  }
}

static void place(void *at[SMFT__TAUGHT_TENSORS], smft__arena *arena, const totals *sum) {
  for (int part = 0; part < SMFT__TAUGHT_TENSORS; part++) {
    int32_t dtype = parts[part].dtype ? parts[part].dtype : slot_dtype(sum->slot_bytes);
    at[part] =
        smft__arena_take(arena, elements_of(sum, part), (size_t)smft__dtype_traits(dtype)->bytes);
  }
}

static void *append(void *to, const void *from, int64_t n, int32_t size) {
  if (n > 0)
    memcpy(to, from, (size_t)n * (size_t)size);
  return (char *)to + n * size;
}

/* at: where each array is; those of all elements grow fact by fact. */
static void fill(void *const at[SMFT__TAUGHT_TENSORS], const smft__taught *list) {
  char *ids = at[IDS], *rows = at[ROWS], *reads = at[READS], *squares = at[SQUARES];
  int64_t id_end = 0, row_end = 0, read_end = 0, pools = list->facts[0]->n_pools;
  for (int64_t i = 0; i < list->n; i++) {
    const smft__taught_fact *fact = list->facts[i];
    int64_t n_reads = smft__taught_n_reads(fact);
    ids = append(ids, fact->id, fact->id_length, 1);
    rows = append(rows, fact->rows, smft__taught_n_rows(fact), fact->slot_bytes);
    reads = append(reads, fact->reads, n_reads, fact->slot_bytes);
    squares = append(squares, fact->squares, n_reads, sizeof(float));
    ((int64_t *)at[ID_ENDS])[i] = id_end += fact->id_length;
    ((uint8_t *)at[STATES])[i] = (uint8_t)fact->state;
    ((int64_t *)at[WORDINGS])[i] = fact->n_wordings;
    for (int64_t p = 0; p < pools; p++) {
      ((int64_t *)at[ROW_ENDS])[i * pools + p] = row_end + fact->row_begin[p + 1];
      ((int64_t *)at[READ_ENDS])[i * pools + p] = read_end + fact->read_begin[p + 1];
    }
    row_end += smft__taught_n_rows(fact);
    read_end += n_reads;
  }
}

smft_status smft__taught_collect(smft__save_tensor tensors[SMFT__TAUGHT_TENSORS], void **block,
                                 const smft__taught *list) {
  totals sum = add_up(list);
  void *at[SMFT__TAUGHT_TENSORS];
  smft__arena arena = {0};
  place(at, &arena, &sum);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "the size of %lld facts overflows", (long long)sum.facts);
  *block = smft__alloc_array(list->ctx, arena.used, 1);
  if (!*block)
    return SMFT_E_NOMEM;
  arena = (smft__arena){*block, 0, arena.used};
  place(at, &arena, &sum);
  fill(at, list);
  for (int i = 0; i < SMFT__TAUGHT_TENSORS; i++) {
    int pools = parts[i].shape == POOLS;
    int32_t dtype = parts[i].dtype ? parts[i].dtype : slot_dtype(sum.slot_bytes);
    smft__tensor tensor = {at[i], {elements_of(&sum, i)}, 1 + pools, dtype};
    if (pools) {
      tensor.shape[0] = sum.facts;
      tensor.shape[1] = sum.pools;
    }
    tensors[i] = (smft__save_tensor){parts[i].name, tensor, 0};
  }
  return SMFT_OK;
}

/* ---- read ---------------------------------------------------------------- */

typedef struct reading {
  const smft__tensor *tensors[SMFT__TAUGHT_TENSORS];
  smft_ctx *ctx;
  int32_t n_pools, slot_bytes;
  int64_t n_slots, n;
  int64_t fact;              /* in hand */
  int64_t id, row, read;     /* elements that facts before it took */
  int64_t *n_rows, *n_reads; /* (n_pools) of it */
} reading;

/* Mapped data may be unaligned. */
static int64_t i64_at(const reading *from, int part, int64_t i) {
  int64_t value;
  memcpy(&value, (const char *)from->tensors[part]->data + i * 8, sizeof value);
  return value;
}

static int64_t slot_at(const reading *from, int part, int64_t i) {
  uint16_t two;
  uint32_t four;
  const char *slots = from->tensors[part]->data;
  if (from->slot_bytes == 8)
    return i64_at(from, part, i);
  memcpy(&two, slots + i * from->slot_bytes, sizeof two);
  if (from->slot_bytes == 2)
    return two;
  memcpy(&four, slots + i * 4, sizeof four);
  return (int64_t)four;
}

static smft_status check_shape(const reading *from, int part) {
  const smft__tensor *tensor = from->tensors[part];
  int32_t dtype = parts[part].dtype ? parts[part].dtype : slot_dtype(from->slot_bytes);
  int pools = parts[part].shape == POOLS;
  if (tensor->dtype != dtype || tensor->n_dims != 1 + pools)
    return smft__fail(SMFT_E_FORMAT, "%s: expected %s of %d dimensions, got %s of %d",
                      parts[part].name, smft__dtype_name(dtype), 1 + pools,
                      smft__dtype_name(tensor->dtype), (int)tensor->n_dims);
  if (parts[part].shape != ALL && tensor->shape[0] != from->n)
    return smft__fail(SMFT_E_FORMAT, "%s: expected %lld facts, as facts.id_ends has, got %lld",
                      parts[part].name, (long long)from->n, (long long)tensor->shape[0]);
  if (pools && tensor->shape[1] != from->n_pools)
    return smft__fail(SMFT_E_FORMAT, "%s: expected %d pools, got %lld", parts[part].name,
                      (int)from->n_pools, (long long)tensor->shape[1]);
  return SMFT_OK;
}

static smft_status check_shapes(reading *from) {
  from->n = from->tensors[ID_ENDS]->n_dims == 1 ? from->tensors[ID_ENDS]->shape[0] : 0;
  for (int part = 0; part < SMFT__TAUGHT_TENSORS; part++)
    SMFT__TRY(check_shape(from, part));
  int64_t reads = from->tensors[READS]->shape[0], squares = from->tensors[SQUARES]->shape[0];
  if (reads != squares)
    return smft__fail(SMFT_E_FORMAT,
                      "facts.squares: expected %lld, one for each of facts.reads, "
                      "got %lld",
                      (long long)reads, (long long)squares);
  return SMFT_OK;
}

/* *n: how many elements of `of` the end at `i` gives to what begins at *begin, which moves on. */
static smft_status take_end(const reading *from, int ends, int64_t i, int of, int64_t *begin,
                            int64_t *n) {
  int64_t end = i64_at(from, ends, i), all = from->tensors[of]->shape[0];
  if (end < *begin || end > all)
    return smft__fail(SMFT_E_FORMAT, "%s: fact %lld ends at %lld: expected %lld to %lld",
                      parts[ends].name, (long long)from->fact, (long long)end, (long long)*begin,
                      (long long)all);
  *n = end - *begin;
  *begin = end;
  return SMFT_OK;
}

static smft_status check_id(const reading *from, const char *id, int64_t length) {
  size_t bad = 0;
  if (length > 0 && memchr(id, '\0', (size_t)length))
    return smft__fail(SMFT_E_FORMAT, "facts.ids: fact %lld's has a NUL", (long long)from->fact);
  if (!smft__utf8_valid(id, (size_t)length, &bad))
    return smft__fail(SMFT_E_FORMAT, "facts.ids: fact %lld's is not valid UTF-8 at byte %zu",
                      (long long)from->fact, bad);
  return SMFT_OK;
}

static smft_status read_form(reading *from, smft__taught_form *form) {
  int64_t begin = from->id, fact = from->fact;
  SMFT__TRY(take_end(from, ID_ENDS, fact, IDS, &from->id, &form->id_length));
  form->id = (const char *)from->tensors[IDS]->data + begin;
  SMFT__TRY(check_id(from, form->id, form->id_length));
  form->state = ((const uint8_t *)from->tensors[STATES]->data)[fact];
  if (form->state != SMFT_FACT_DONE && form->state != SMFT_FACT_GAVE_UP)
    return smft__fail(SMFT_E_FORMAT, "facts.states: fact %lld's is %d: expected %d or %d",
                      (long long)fact, (int)form->state, SMFT_FACT_DONE, SMFT_FACT_GAVE_UP);
  form->n_wordings = i64_at(from, WORDINGS, fact);
  if (form->n_wordings < 1 || form->n_wordings > MOST_WORDINGS)
    return smft__fail(SMFT_E_FORMAT, "facts.wordings: fact %lld has %lld: expected 1 to %d",
                      (long long)fact, (long long)form->n_wordings, MOST_WORDINGS);
  return SMFT_OK;
}

/* to (n) = a fact's slots of one pool, from `begin` on. */
static smft_status read_slots(const reading *from, int part, int64_t begin, int64_t n,
                              smft__taught_fact *fact, void *to, int64_t at) {
  int64_t before = -1;
  for (int64_t i = 0; i < n; i++) {
    int64_t slot = slot_at(from, part, begin + i);
    if (slot <= before || slot >= from->n_slots)
      return smft__fail(SMFT_E_FORMAT,
                        "%s: fact %lld has slot %lld: expected one above %lld and below %lld",
                        parts[part].name, (long long)from->fact, (long long)slot, (long long)before,
                        (long long)from->n_slots);
    smft__taught_put_slot(fact, to, at + i, slot);
    before = slot;
  }
  return SMFT_OK;
}

static smft_status read_squares(const reading *from, int64_t begin, smft__taught_fact *fact) {
  int64_t n = smft__taught_n_reads(fact);
  if (n > 0)
    memcpy(fact->squares, (const char *)from->tensors[SQUARES]->data + begin * 4, (size_t)n * 4);
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(fact->squares[i]) || fact->squares[i] < 0)
      return smft__fail(SMFT_E_FORMAT,
                        "facts.squares: number %lld of fact %lld is negative or not finite",
                        (long long)i, (long long)from->fact);
  return SMFT_OK;
}

static smft_status read_content(const reading *from, int64_t row, int64_t read,
                                smft__taught_fact *fact) {
  for (int32_t p = 0; p < from->n_pools; p++) {
    SMFT__TRY(read_slots(from, ROWS, row + fact->row_begin[p], from->n_rows[p], fact, fact->rows,
                         fact->row_begin[p]));
    SMFT__TRY(read_slots(from, READS, read + fact->read_begin[p], from->n_reads[p], fact,
                         fact->reads, fact->read_begin[p]));
  }
  return read_squares(from, read, fact);
}

static smft_status read_fact(reading *from, smft__taught_fact **out) {
  smft__taught_form form = {.n_pools = from->n_pools,
                            .n_slots = from->n_slots,
                            .n_rows = from->n_rows,
                            .n_reads = from->n_reads};
  int64_t row = from->row, read = from->read, first = from->fact * from->n_pools;
  SMFT__TRY(read_form(from, &form));
  for (int32_t p = 0; p < from->n_pools; p++) {
    SMFT__TRY(take_end(from, ROW_ENDS, first + p, ROWS, &from->row, &from->n_rows[p]));
    SMFT__TRY(take_end(from, READ_ENDS, first + p, READS, &from->read, &from->n_reads[p]));
  }
  SMFT__TRY(smft__taught_make(out, from->ctx, &form));
  return read_content(from, row, read, *out);
}

static smft_status read_facts(reading *from, smft__taught *list) {
  for (from->fact = 0; from->fact < from->n; from->fact++)
    SMFT__TRY(read_fact(from, &list->facts[from->fact]));
  if (from->id != from->tensors[IDS]->shape[0] || from->row != from->tensors[ROWS]->shape[0] ||
      from->read != from->tensors[READS]->shape[0])
    return smft__fail(SMFT_E_FORMAT, "facts.ids, facts.rows or facts.reads goes on behind the "
                                     "last fact");
  return SMFT_OK;
}

static smft_status read_list(smft__taught **out, reading *from) {
  smft__taught *list = NULL;
  SMFT__TRY(check_shapes(from));
  if (from->n == 0)
    return read_facts(from, NULL);
  from->n_rows = smft__alloc_array(from->ctx, 2 * (int64_t)from->n_pools, sizeof *from->n_rows);
  if (!from->n_rows)
    return SMFT_E_NOMEM;
  from->n_reads = from->n_rows + from->n_pools;
  smft_status status = smft__taught_empty(&list, from->ctx, from->n);
  if (status == SMFT_OK)
    status = read_facts(from, list);
  smft__free(from->ctx, from->n_rows);
  if (status == SMFT_OK)
    *out = list;
  else
    smft__taught_release(list);
  return status;
}

smft_status smft__taught_read(smft__taught **out, const smft__source *file, int32_t n_pools,
                              int64_t n_slots) {
  reading from = {.ctx = file->ctx, .n_pools = n_pools, .n_slots = n_slots};
  const char *missing = NULL;
  int there = 0;
  *out = NULL;
  from.slot_bytes = smft__slot_bytes(n_slots);
  for (int part = 0; part < SMFT__TAUGHT_TENSORS; part++) {
    int64_t at = smft__source_find(file, parts[part].name);
    if (at >= 0)
      from.tensors[part] = &file->tensors[at];
    else
      missing = parts[part].name;
    there += at >= 0;
  }
  if (there == 0)
    return SMFT_OK;
  if (missing)
    return smft__fail(SMFT_E_FORMAT, "%s is missing: the file has other tensors of facts", missing);
  return read_list(out, &from);
}
