/* snapshot: see snapshot.h.  Owns rows, pages and groups of pages, counted by reference: a page is
 * a small hash table of a part of the slots.  A change copies the one page it is in, as pointers to
 * rows that stay where they are, and that page's group; what has a single reference, down from the
 * snapshot being changed, belongs to it.  Knows nothing of patches and their versions. */
#include "memory/snapshot.h"
#include "base/hash.h"
#include "base/parallel.h"
#include <stdlib.h>
#include <string.h>

enum { ROWS_A_PAGE = 16, FEWEST_PLACES = 16, PAGES_A_GROUP = 64 };
#define EMPTY (-1) /* no slot is negative */

typedef struct page {
  atomic_int references;
  int32_t n, places; /* slots in it; places for them: a power of two, at most half of them taken */
  int64_t *slots;    /* (places) open addressing */
  float **rows;      /* (places) */
} page;

typedef struct group {
  atomic_int references;
  page *pages[PAGES_A_GROUP]; /* NULL: no slot of it is changed */
} group;

struct smft__snapshot {
  smft_ctx *ctx;
  atomic_int references;
  int64_t dim, n, n_pages; /* pages: a power of two */
  group *groups[];         /* (groups_for(n_pages)) NULL: no page of it is there */
};

/* ---- rows ---------------------------------------------------------------- */

/* The count stands behind the row's numbers, so that these are aligned. */
static atomic_int *references_of(float *row, int64_t dim) {
  return (atomic_int *)(void *)(row + dim);
}

static float *make_row(smft_ctx *ctx, int64_t dim) {
  float *row = smft__alloc_array(ctx, dim + 1, sizeof *row);
  if (row)
    atomic_init(references_of(row, dim), 1);
  return row;
}

static void retain_row(float *row, int64_t dim) {
  atomic_fetch_add_explicit(references_of(row, dim), 1, memory_order_relaxed);
}

static void release_row(smft_ctx *ctx, float *row, int64_t dim) {
  if (atomic_fetch_sub_explicit(references_of(row, dim), 1, memory_order_acq_rel) == 1)
    smft__free(ctx, row);
}

/* ---- pages --------------------------------------------------------------- */

static int64_t place_of(const page *p, int64_t slot) {
  int64_t mask = p->places - 1;
  int64_t place = (int64_t)(smft__mix64((uint64_t)slot) >> 40) & mask;
  while (p->slots[place] != EMPTY && p->slots[place] != slot)
    place = (place + 1) & mask;
  return place;
}

static page *make_page(smft_ctx *ctx, int64_t places) {
  page *p = smft__alloc(ctx, sizeof *p + (size_t)places * (sizeof *p->slots + sizeof *p->rows));
  if (!p)
    return NULL;
  atomic_init(&p->references, 1);
  p->n = 0;
  p->places = (int32_t)places;
  p->slots = (int64_t *)(void *)(p + 1);
  p->rows = (float **)(void *)(p->slots + places);
  memset(p->slots, 0xff, (size_t)places * sizeof *p->slots);
  return p;
}

static void add_to_page(page *p, int64_t slot, float *row) {
  int64_t place = place_of(p, slot);
  p->slots[place] = slot;
  p->rows[place] = row;
  p->n++;
}

static void release_page(smft_ctx *ctx, page *p, int64_t dim) {
  if (!p || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
    return;
  for (int32_t i = 0; i < p->places; i++)
    if (p->slots[i] != EMPTY)
      release_row(ctx, p->rows[i], dim);
  smft__free(ctx, p);
}

/* Another page with the same rows and room for `more`. */
static page *copy_page(smft_ctx *ctx, const page *from, int64_t more, int64_t dim) {
  int64_t places = FEWEST_PLACES;
  while (places < 2 * (from->n + more))
    places *= 2;
  page *p = places <= INT32_MAX / 2 ? make_page(ctx, places) : NULL;
  for (int32_t i = 0; p && i < from->places; i++)
    if (from->slots[i] != EMPTY) {
      retain_row(from->rows[i], dim);
      add_to_page(p, from->slots[i], from->rows[i]);
    }
  return p;
}

/* Empties a place and moves later ones of the same chain up, so that no chain has a hole. */
static void close_gap(page *p, int64_t hole) {
  int64_t mask = p->places - 1;
  for (int64_t at = (hole + 1) & mask; p->slots[at] != EMPTY; at = (at + 1) & mask) {
    int64_t wanted = (int64_t)(smft__mix64((uint64_t)p->slots[at]) >> 40) & mask;
    if (((at - wanted) & mask) >= ((at - hole) & mask)) {
      p->slots[hole] = p->slots[at];
      p->rows[hole] = p->rows[at];
      hole = at;
    }
  }
  p->slots[hole] = EMPTY;
  p->n--;
}

/* ---- groups of pages ----------------------------------------------------- */

static void release_group(smft_ctx *ctx, group *g, int64_t dim) {
  if (!g || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) != 1)
    return;
  for (int i = 0; i < PAGES_A_GROUP; i++)
    release_page(ctx, g->pages[i], dim);
  smft__free(ctx, g);
}

/* Another group with the same pages; from NULL: with none. */
static group *copy_group(smft_ctx *ctx, const group *from) {
  group *g = smft__alloc(ctx, sizeof *g);
  if (!g)
    return NULL;
  atomic_init(&g->references, 1);
  for (int i = 0; i < PAGES_A_GROUP; i++)
    if ((g->pages[i] = from ? from->pages[i] : NULL))
      atomic_fetch_add_explicit(&g->pages[i]->references, 1, memory_order_relaxed);
  return g;
}

static int64_t groups_for(int64_t n_pages) { return smft__blocks(n_pages, PAGES_A_GROUP); }

/* ---- snapshots ----------------------------------------------------------- */

static int64_t page_of(const smft__snapshot *s, int64_t slot) {
  return (int64_t)(smft__mix64((uint64_t)slot) & (uint64_t)(s->n_pages - 1));
}

/* NULL: it is not there. */
static const page *page_at(const smft__snapshot *s, int64_t i) {
  const group *g = s->groups[i / PAGES_A_GROUP];
  return g ? g->pages[i % PAGES_A_GROUP] : NULL;
}

smft__snapshot *smft__snapshot_retain(smft__snapshot *s) {
  if (s)
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
  return s;
}

void smft__snapshot_release(smft__snapshot *s) {
  if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1)
    return;
  for (int64_t i = 0; i < groups_for(s->n_pages); i++)
    release_group(s->ctx, s->groups[i], s->dim);
  smft__free(s->ctx, s);
}

int64_t smft__snapshot_count(const smft__snapshot *s) { return s ? s->n : 0; }

const float *smft__snapshot_find(const smft__snapshot *s, int64_t slot) {
  const page *p = s ? page_at(s, page_of(s, slot)) : NULL;
  if (!p)
    return NULL;
  int64_t place = place_of(p, slot);
  return p->slots[place] == slot ? p->rows[place] : NULL;
}

static int compare(const void *a, const void *b) {
  const int64_t *left = a, *right = b;
  return (*left > *right) - (*left < *right);
}

void smft__snapshot_slots(const smft__snapshot *s, int64_t *slots) {
  int64_t n = 0;
  for (int64_t i = 0; s && i < s->n_pages; i++) {
    const page *p = page_at(s, i);
    for (int32_t j = 0; p && j < p->places; j++)
      if (p->slots[j] != EMPTY)
        slots[n++] = p->slots[j];
  }
  if (n > 0)
    qsort(slots, (size_t)n, sizeof *slots, compare);
}

/* ---- changing ------------------------------------------------------------ */

static int64_t pages_for(int64_t n) {
  int64_t pages = 1;
  while (pages * ROWS_A_PAGE < n)
    pages *= 2;
  return pages;
}

static smft__snapshot *make(smft_ctx *ctx, int64_t dim, int64_t n_pages) {
  size_t size = (size_t)groups_for(n_pages) * sizeof(group *);
  smft__snapshot *s = smft__alloc(ctx, sizeof *s + size);
  if (!s)
    return NULL;
  s->ctx = ctx;
  atomic_init(&s->references, 1);
  s->dim = dim;
  s->n = 0;
  s->n_pages = n_pages;
  memset(s->groups, 0, size);
  return s;
}

/* The group that a page is in, of this snapshot alone; NULL on no memory. */
static group *own_group(smft__snapshot *s, int64_t i) {
  group **at = &s->groups[i / PAGES_A_GROUP], *g = *at;
  if (g && atomic_load_explicit(&g->references, memory_order_acquire) == 1)
    return g;
  group *own = copy_group(s->ctx, g);
  if (!own)
    return NULL;
  release_group(s->ctx, g, s->dim);
  return *at = own;
}

/* The page that a slot is in, with room for one more, of this snapshot alone; NULL on no memory. */
static page *own_page(smft__snapshot *s, int64_t slot) {
  int64_t i = page_of(s, slot);
  group *g = own_group(s, i);
  if (!g)
    return NULL;
  page **at = &g->pages[i % PAGES_A_GROUP], *p = *at;
  if (p && atomic_load_explicit(&p->references, memory_order_acquire) == 1 &&
      2 * (p->n + 1) <= p->places)
    return p;
  page *own = p ? copy_page(s->ctx, p, 1, s->dim) : make_page(s->ctx, FEWEST_PLACES);
  if (!own)
    return NULL;
  release_page(s->ctx, p, s->dim);
  return *at = own;
}

/* The slot's row is `row` from now on, whose reference the snapshot takes over. */
static void set_row(smft__snapshot *s, page *own, int64_t slot, float *row) {
  int64_t place = place_of(own, slot);
  if (own->slots[place] == slot) {
    release_row(s->ctx, own->rows[place], s->dim);
    own->rows[place] = row;
  } else {
    add_to_page(own, slot, row);
    s->n++;
  }
}

/* All rows of another one, into more pages. */
static smft_status spread(smft__snapshot *s, const smft__snapshot *from) {
  for (int64_t i = 0; i < from->n_pages; i++) {
    const page *p = page_at(from, i);
    for (int32_t j = 0; p && j < p->places; j++) {
      if (p->slots[j] == EMPTY)
        continue;
      page *own = own_page(s, p->slots[j]);
      if (!own)
        return SMFT_E_NOMEM;
      retain_row(p->rows[j], s->dim);
      set_row(s, own, p->slots[j], p->rows[j]);
    }
  }
  return SMFT_OK;
}

smft__snapshot *smft__snapshot_edit(smft_ctx *ctx, int64_t dim, const smft__snapshot *from,
                                    int64_t more) {
  int64_t n = smft__snapshot_count(from), n_pages = pages_for(n + more);
  if (from && from->n_pages > n_pages)
    n_pages = from->n_pages;
  smft__snapshot *s = make(ctx, dim, n_pages);
  if (!s || !from)
    return s;
  if (n_pages != from->n_pages) {
    if (spread(s, from) == SMFT_OK)
      return s;
    smft__snapshot_release(s);
    return NULL;
  }
  for (int64_t i = 0; i < groups_for(n_pages); i++)
    if ((s->groups[i] = from->groups[i]))
      atomic_fetch_add_explicit(&s->groups[i]->references, 1, memory_order_relaxed);
  s->n = n;
  return s;
}

float *smft__snapshot_put(smft__snapshot *s, int64_t slot) {
  page *own = own_page(s, slot);
  float *row = own ? make_row(s->ctx, s->dim) : NULL;
  if (row)
    set_row(s, own, slot, row);
  return row;
}

smft_status smft__snapshot_remove(smft__snapshot *s, int64_t slot) {
  if (!smft__snapshot_find(s, slot))
    return SMFT_OK;
  page *own = own_page(s, slot);
  if (!own)
    return SMFT_E_NOMEM;
  int64_t place = place_of(own, slot);
  release_row(s->ctx, own->rows[place], s->dim);
  close_gap(own, place);
  s->n--;
  return SMFT_OK;
}

smft_status smft__snapshot_take(smft__snapshot *s, const smft__snapshot *from, int64_t slot) {
  float *row = (float *)(uintptr_t)smft__snapshot_find(from, slot);
  if (!row)
    return smft__snapshot_remove(s, slot);
  page *own = own_page(s, slot);
  if (!own)
    return SMFT_E_NOMEM;
  retain_row(row, s->dim);
  set_row(s, own, slot, row);
  return SMFT_OK;
}
