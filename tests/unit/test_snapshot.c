/* snapshot: a long random life of puts, removals and takes over many versions against plain tables;
 * versions stay what they were; slots that all fall into one page; running out of memory. */
#include "base/hash.h"
#include "base/rng.h"
#include "failing.h"
#include "memory/snapshot.h"
#include "test.h"

enum { DIM = 3, SLOTS = 700, VERSIONS = 60 };

typedef struct table { /* what a snapshot should hold: 0 where a slot is not changed */
  float mark[SLOTS];
} table;

static void fill(float *row, float mark) {
  for (int i = 0; i < DIM; i++)
    row[i] = mark + (float)i;
}

static void check(const smft__snapshot *s, const table *t) {
  int64_t slots[SLOTS], n = 0;
  smft__snapshot_slots(s, slots);
  for (int64_t slot = 0; slot < SLOTS; slot++) {
    const float *row = smft__snapshot_find(s, slot);
    ck_assert_msg((row != NULL) == (t->mark[slot] != 0), "slot %d", (int)slot);
    if (!row)
      continue;
    ck_assert_float_eq(row[0], t->mark[slot]);
    ck_assert_float_eq(row[DIM - 1], t->mark[slot] + DIM - 1);
    ck_assert_int_eq(slots[n++], slot);
  }
  ck_assert_int_eq(smft__snapshot_count(s), n);
}

static smft__snapshot *change(smft_ctx *ctx, const smft__snapshot *from, const smft__snapshot *old,
                              const table *old_table, table *t, smft__rng *rng, int n) {
  smft__snapshot *s = smft__snapshot_edit(ctx, DIM, from, n);
  ck_assert_ptr_nonnull(s);
  for (int i = 0; i < n; i++) {
    int64_t slot = smft__rng_below(rng, SLOTS), what = smft__rng_below(rng, 10);
    if (what < 6 || !old) {
      t->mark[slot] = 1 + (float)smft__rng_below(rng, 1000);
      fill(smft__snapshot_put(s, slot), t->mark[slot]);
    } else if (what < 8) {
      t->mark[slot] = 0;
      ck_ok(smft__snapshot_remove(s, slot));
    } else {
      t->mark[slot] = old_table->mark[slot];
      ck_ok(smft__snapshot_take(s, old, slot));
      ck_assert_ptr_eq(smft__snapshot_find(s, slot), smft__snapshot_find(old, slot));
    }
  }
  return s;
}

START_TEST(a_long_life) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  static table tables[VERSIONS + 1];
  smft__snapshot *versions[VERSIONS + 1] = {NULL};
  smft__rng rng;
  memset(tables, 0, sizeof tables);
  smft__rng_seed(&rng, 1);
  check(NULL, &tables[0]);
  for (int v = 1; v <= VERSIONS; v++) {
    tables[v] = tables[v - 1];
    int old = (int)smft__rng_below(&rng, v);
    versions[v] = change(ctx, versions[v - 1], versions[old], &tables[old], &tables[v], &rng,
                         v % 7 == 0 ? 300 : 20);
    check(versions[v], &tables[v]);
  }
  for (int v = 1; v <= VERSIONS; v++)
    check(versions[v], &tables[v]);
  for (int v = 1; v <= VERSIONS; v++) { /* in an order of no kind, and the others stay */
    int i = 1 + (v * 37) % VERSIONS, last = 1 + (VERSIONS * 37) % VERSIONS;
    smft__snapshot_release(versions[i]);
    if (v < VERSIONS)
      check(versions[last], &tables[last]);
  }
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

/* A row that did not change is the same memory in both, and only what changed takes more. */
START_TEST(rows_are_shared) {
  smft_ctx *ctx;
  int64_t all, more;
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft__snapshot *one = smft__snapshot_edit(ctx, 256, NULL, 5000);
  for (int64_t slot = 0; slot < 5000; slot++)
    memset(smft__snapshot_put(one, slot * 3), 0, 256 * sizeof(float));
  ck_ok(smft_ctx_memory(ctx, &all, NULL));
  smft__snapshot *two = smft__snapshot_edit(ctx, 256, one, 0);
  for (int64_t slot = 0; slot < 20; slot++)
    smft__snapshot_put(two, slot * 30);
  ck_ok(smft_ctx_memory(ctx, &more, NULL));
  for (int64_t slot = 0; slot < 5000; slot++)
    ck_assert((smft__snapshot_find(one, slot * 3) == smft__snapshot_find(two, slot * 3)) ==
              (slot % 10 != 0 || slot >= 200));
  ck_assert_int_lt(all, 5000 * (1024 + 256)); /* a row, its block, its part of the index */
  ck_assert_int_lt(more - all, all / 50);
  smft__snapshot_release(one);
  smft__snapshot_release(two);
  ck_ok(smft_ctx_memory(ctx, &more, NULL));
  smft_ctx_free(ctx);
}
END_TEST

/* Chosen so that their hashes agree in the bits that pick a page, as a hostile file might. */
START_TEST(slots_of_one_page) {
  smft_ctx *ctx;
  int64_t slots[400], n = 0;
  ck_ok(smft_ctx_create(&ctx, NULL));
  for (int64_t slot = 0; n < 400; slot++)
    if ((smft__mix64((uint64_t)slot) & 1023) == 77)
      slots[n++] = slot;
  smft__snapshot *s = smft__snapshot_edit(ctx, DIM, NULL, 16 * 1024);
  for (int64_t i = 0; i < n; i++)
    fill(smft__snapshot_put(s, slots[i]), (float)(i + 1));
  for (int64_t i = 0; i < n; i += 2)
    ck_ok(smft__snapshot_remove(s, slots[i]));
  for (int64_t i = 0; i < n; i++) {
    const float *row = smft__snapshot_find(s, slots[i]);
    ck_assert_int_eq(row != NULL, i % 2);
    ck_assert(!row || (row[0] >= (float)(i + 1) && row[0] <= (float)(i + 1)));
  }
  smft__snapshot_release(s);
  smft_ctx_free(ctx);
}
END_TEST

/* Each allocation of an edit fails once: what there was stays, and nothing is left behind. */
START_TEST(out_of_memory) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft__rng rng;
  table t = {{0}};
  smft__rng_seed(&rng, 4);
  smft__snapshot *from = change(ctx, NULL, NULL, &t, &t, &rng, 100);
  long long live = state.live, failures = 0;
  for (long long k = 1;; k++) {
    state.calls = 0;
    state.fail_at = k;
    smft__snapshot *s = smft__snapshot_edit(ctx, DIM, from, 400); /* into more pages */
    int failed = s == NULL;
    for (int64_t slot = 0; s && slot < 30 && !failed; slot++)
      failed = slot % 3 == 2 ? smft__snapshot_remove(s, slot) != SMFT_OK
                             : smft__snapshot_put(s, slot) == NULL;
    state.fail_at = 0;
    smft__snapshot_release(s);
    check(from, &t);
    ck_assert_int_eq(state.live, live);
    failures += failed;
    if (!failed)
      break;
  }
  ck_assert_int_gt(failures, 30);
  smft__snapshot_release(from);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("snapshot");
  TCase *cases = tcase_create("snapshot");
  tcase_add_test(cases, a_long_life);
  tcase_add_test(cases, rows_are_shared);
  tcase_add_test(cases, slots_of_one_page);
  tcase_add_test(cases, out_of_memory);
  suite_add_tcase(suite, cases);
  return suite;
}
