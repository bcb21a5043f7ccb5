/* taught: lists share their records and never change; the file gives the same list back, whatever
 * is in it is held against the pools, and no allocation that fails loses anything. */
#include "base/alloc.h"
#include "failing.h"
#include "files.h"
#include "model/taught.h"

enum { POOLS = 2, SLOTS = 256 };
/* their slots take 2, 4 and 8 bytes */
static const int64_t widths[] = {SLOTS, (int64_t)1 << 20, (int64_t)1 << 33};

static failing state;
static smft_ctx *ctx;

static void setup(void) {
  memset(&state, 0, sizeof state);
  ctx = failing_ctx(&state, 1);
}

static void teardown(void) {
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}

/* Slots that differ from fact to fact, in the upper half of a pool. */
static int64_t slot_of(int64_t n_slots, int32_t seed, int64_t i) {
  return n_slots / 2 + seed + 3 * i;
}

static smft_status make_fact(smft__taught_fact **out, const char *id, int32_t what, int32_t seed,
                             int64_t n_slots) {
  const int64_t n_rows[POOLS] = {2, 1 + seed % 2}, n_reads[POOLS] = {3, seed % 3};
  smft__taught_form form = {.id = id,
                            .id_length = (int64_t)strlen(id),
                            .n_wordings = 3 + seed,
                            .state = what,
                            .n_pools = POOLS,
                            .n_slots = n_slots,
                            .n_rows = n_rows,
                            .n_reads = n_reads};
  SMFT__TRY(smft__taught_make(out, ctx, &form));
  for (int32_t p = 0; p < POOLS; p++) {
    for (int64_t i = 0; i < n_rows[p]; i++)
      smft__taught_put_slot(*out, (*out)->rows, (*out)->row_begin[p] + i,
                            slot_of(n_slots, seed, i));
    for (int64_t i = 0; i < n_reads[p]; i++) {
      int64_t at = (*out)->read_begin[p] + i;
      smft__taught_put_slot(*out, (*out)->reads, at, slot_of(n_slots, seed + 1, i));
      (*out)->squares[at] = 0.25f * (float)(seed + i);
    }
  }
  return SMFT_OK;
}

static smft_status add_fact(smft__taught **list, const char *id, int32_t what, int32_t seed,
                            int64_t n_slots) {
  smft__taught_fact *fact = NULL;
  smft__taught *longer = NULL;
  SMFT__TRY(make_fact(&fact, id, what, seed, n_slots));
  smft_status status = smft__taught_append(&longer, *list, fact);
  smft__taught_fact_release(fact);
  SMFT__TRY(status);
  smft__taught_release(*list);
  *list = longer;
  return SMFT_OK;
}

static smft__taught *make_list(int64_t n_slots) {
  smft__taught *list = NULL;
  ck_ok(add_fact(&list, "first", SMFT_FACT_DONE, 0, n_slots));
  ck_ok(add_fact(&list, "", SMFT_FACT_GAVE_UP, 1, n_slots));
  ck_ok(add_fact(&list, "dr\xC3\xA9i", SMFT_FACT_DONE, 2, n_slots));
  return list;
}

static void same_slots(const smft__taught_fact *a, const void *left, const smft__taught_fact *b,
                       const void *right, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    ck_assert_int_eq(smft__taught_slot(a, left, i), smft__taught_slot(b, right, i));
}

static void same_fact(const smft__taught_fact *a, const smft__taught_fact *b) {
  ck_assert_str_eq(a->id, b->id);
  ck_assert_int_eq(a->id_length, b->id_length);
  ck_assert_int_eq(a->state, b->state);
  ck_assert_int_eq(a->n_wordings, b->n_wordings);
  ck_assert_int_eq(a->slot_bytes, b->slot_bytes);
  ck_assert_mem_eq(a->row_begin, b->row_begin, (POOLS + 1) * sizeof *a->row_begin);
  ck_assert_mem_eq(a->read_begin, b->read_begin, (POOLS + 1) * sizeof *a->read_begin);
  same_slots(a, a->rows, b, b->rows, smft__taught_n_rows(a));
  same_slots(a, a->reads, b, b->reads, smft__taught_n_reads(a));
  ck_assert_mem_eq(a->squares, b->squares, (size_t)smft__taught_n_reads(a) * sizeof(float));
}

/* ---- lists --------------------------------------------------------------- */

START_TEST(a_record_holds_what_it_was_given) {
  int64_t n_slots = widths[_i];
  smft__taught_fact *fact = NULL;
  ck_ok(make_fact(&fact, "an id", SMFT_FACT_DONE, 2, n_slots));
  ck_assert_int_eq(fact->slot_bytes, 2 << _i);
  ck_assert_str_eq(fact->id, "an id");
  ck_assert_int_eq(smft__taught_n_rows(fact), 3);
  ck_assert_int_eq(smft__taught_n_reads(fact), 5);
  ck_assert_int_eq(smft__taught_slot(fact, fact->rows, 1), slot_of(n_slots, 2, 1));
  ck_assert_int_eq(smft__taught_slot(fact, fact->rows, 2), slot_of(n_slots, 2, 0));
  ck_assert_int_eq(smft__taught_slot(fact, fact->reads, 4), slot_of(n_slots, 3, 1));
  ck_assert_float_eq(fact->squares[4], 0.75f);
  ck_assert(smft__taught_protects(fact));
  fact->state = SMFT_FACT_GAVE_UP;
  ck_assert(!smft__taught_protects(fact));
  smft__taught_fact_release(fact);
}
END_TEST

START_TEST(slots_take_as_many_bytes_as_they_need) {
  ck_assert_int_eq(smft__slot_bytes(1), 2);
  ck_assert_int_eq(smft__slot_bytes(65536), 2);
  ck_assert_int_eq(smft__slot_bytes(65537), 4);
  ck_assert_int_eq(smft__slot_bytes((int64_t)1 << 32), 4);
  ck_assert_int_eq(smft__slot_bytes(((int64_t)1 << 32) + 1), 8);
}
END_TEST

START_TEST(lists_share_records_and_stay) {
  smft__taught *list = make_list(SLOTS), *fewer = NULL, *none = NULL;
  ck_assert_int_eq(smft__taught_count(NULL), 0);
  ck_assert_int_eq(smft__taught_count(list), 3);
  ck_ok(smft__taught_remove(&fewer, list, _i));
  ck_assert_int_eq(list->n, 3);
  ck_assert_int_eq(fewer->n, 2);
  ck_assert_ptr_eq(fewer->facts[0], list->facts[_i == 0]);
  ck_assert_ptr_eq(fewer->facts[1], list->facts[_i == 2 ? 1 : 2]);
  smft__taught_release(list); /* what is shared lives on */
  ck_assert_int_eq(fewer->facts[1]->n_wordings, _i == 2 ? 4 : 5);
  smft__taught *one = NULL;
  ck_ok(smft__taught_remove(&one, fewer, 0));
  ck_ok(smft__taught_remove(&none, one, 0));
  ck_assert_ptr_null(none);
  ck_assert_ptr_eq(smft__taught_retain(one), one);
  smft__taught_release(one);
  smft__taught_release(one);
  smft__taught_release(fewer);
  ck_assert_ptr_null(smft__taught_retain(NULL));
  smft__taught_release(NULL);
  smft__taught_fact_release(NULL);
}
END_TEST

START_TEST(sizes_that_overflow_are_refused) {
  const int64_t much[POOLS] = {INT64_MAX / 2, INT64_MAX / 2 + 2}, some[POOLS] = {1, 1};
  const int64_t many[POOLS] = {INT64_MAX / 8, 0};
  smft__taught_form form = {.id = "x",
                            .id_length = 1,
                            .n_wordings = 1,
                            .state = SMFT_FACT_DONE,
                            .n_pools = POOLS,
                            .n_slots = SLOTS,
                            .n_rows = _i == 0 ? much : some,
                            .n_reads = _i == 1 ? many : some};
  smft__taught_fact *fact = NULL;
  smft__taught *list = NULL;
  form.id_length = _i == 2 ? INT64_MAX : 1;
  ck_status(smft__taught_make(&fact, ctx, &form), SMFT_E_NOMEM);
  ck_assert_ptr_null(fact);
  ck_status(smft__taught_empty(&list, ctx, INT64_MAX / 8 + 1), SMFT_E_NOMEM);
}
END_TEST

/* ---- the file ------------------------------------------------------------ */

static smft_status write_list(const smft__taught *list, const char *name) {
  smft__save_tensor tensors[SMFT__TAUGHT_TENSORS];
  void *block = NULL;
  SMFT__TRY(smft__taught_collect(tensors, &block, list));
  smft_status status = smft__safetensors_write(ctx, test_file(name), tensors, SMFT__TAUGHT_TENSORS,
                                               NULL, NULL, 0, NULL, NULL);
  smft__free(ctx, block);
  return status;
}

static smft_status read_list(smft__taught **list, const char *name, int64_t n_slots) {
  smft__source file = {0};
  SMFT__TRY(smft__safetensors_open(&file, ctx, test_file(name), 1));
  smft_status status = smft__taught_read(list, &file, POOLS, n_slots);
  smft__source_close(&file);
  return status;
}

START_TEST(a_file_gives_the_list_back) {
  int64_t n_slots = widths[_i];
  smft__taught *list = make_list(n_slots), *back = NULL;
  ck_ok(write_list(list, "f"));
  ck_ok(read_list(&back, "f", n_slots));
  ck_assert_int_eq(back->n, list->n);
  for (int64_t i = 0; i < list->n; i++)
    same_fact(back->facts[i], list->facts[i]);
  smft__taught_release(back);
  smft__taught_release(list);
}
END_TEST

/* One number, element type or shape of a good file is another; the message names the tensor. */
static const struct wrong {
  const char *name;
  int64_t at, value;     /* element that is changed; -1: none */
  int32_t dtype;         /* 0: as it is */
  int64_t rows, columns; /* of the shape; 0: as it is */
  const char *says;
} wrongs[] = {
    {"facts.ids", 2, 0xFF, 0, 0, 0, "UTF-8 at byte 2"},
    {"facts.ids", 2, 0, 0, 0, 0, "NUL"},
    {"facts.ids", -1, 0, SMFT__I8, 0, 0, "facts.ids: expected U8"},
    {"facts.id_ends", 0, -1, 0, 0, 0, "facts.id_ends: fact 0 ends at -1"},
    {"facts.id_ends", 1, 4, 0, 0, 0, "facts.id_ends: fact 1 ends at 4: expected 5 to 10"},
    {"facts.id_ends", 2, 11, 0, 0, 0, "facts.id_ends: fact 2 ends at 11"},
    {"facts.id_ends", 2, INT64_MAX, 0, 0, 0, "facts.id_ends"},
    {"facts.id_ends", 2, 5, 0, 0, 0, "behind the last fact"},
    {"facts.id_ends", -1, 0, SMFT__U64, 0, 0, "facts.id_ends: expected I64"},
    {"facts.id_ends", -1, 0, 0, 1, 3, "facts.id_ends: expected I64 of 1"},
    {"facts.id_ends", -1, 0, 0, 2, 0, "expected 2 facts"},
    {"facts.states", 0, 0, 0, 0, 0, "facts.states: fact 0's is 0"},
    {"facts.states", 1, 3, 0, 0, 0, "facts.states: fact 1's is 3"},
    {"facts.states", -1, 0, 0, 2, 0, "facts.states: expected 3 facts"},
    {"facts.wordings", 1, 0, 0, 0, 0, "facts.wordings: fact 1 has 0"},
    {"facts.wordings", 1, -1, 0, 0, 0, "facts.wordings"},
    {"facts.wordings", 2, (int64_t)1 << 31, 0, 0, 0, "facts.wordings: fact 2"},
    {"facts.row_ends", 1, 1, 0, 0, 0, "facts.row_ends: fact 0 ends at 1"},
    {"facts.row_ends", 5, 11, 0, 0, 0, "facts.row_ends: fact 2 ends at 11"},
    {"facts.row_ends", 5, 9, 0, 0, 0, "behind the last fact"},
    {"facts.row_ends", -1, 0, 0, 6, 1, "facts.row_ends: expected 3 facts"},
    {"facts.row_ends", -1, 0, 0, 3, 1, "facts.row_ends: expected 2 pools"},
    {"facts.rows", 1, 127, 0, 0, 0, "facts.rows: fact 0 has slot 127"},
    {"facts.rows", 1, 128, 0, 0, 0, "facts.rows: fact 0 has slot 128"},
    {"facts.rows", 1, 256, 0, 0, 0, "facts.rows: fact 0 has slot 256"},
    {"facts.rows", -1, 0, SMFT__I16, 0, 0, "facts.rows: expected U16"},
    {"facts.read_ends", 0, -1, 0, 0, 0, "facts.read_ends: fact 0"},
    {"facts.read_ends", 5, 11, 0, 0, 0, "behind the last fact"},
    {"facts.reads", 1, 129, 0, 0, 0, "facts.reads: fact 0 has slot 129"},
    {"facts.reads", 11, 65535, 0, 0, 0, "facts.reads: fact 2 has slot 65535"},
    {"facts.reads", -1, 0, 0, 11, 0, "facts.squares: expected 11"},
    {"facts.squares", 1, 0x7FC00000, 0, 0, 0, "facts.squares: number 1 of fact 0"},
    {"facts.squares", 1, 0x7F800000, 0, 0, 0, "facts.squares: number 1 of fact 0"},
    {"facts.squares", 1, 0xBE800000, 0, 0, 0, "facts.squares: number 1 of fact 0"},
    {"facts.squares", -1, 0, SMFT__I32, 0, 0, "facts.squares: expected F32"},
};
enum { WRONGS = sizeof wrongs / sizeof *wrongs };

static smft__save_tensor *named(smft__save_tensor *tensors, const char *name) {
  for (int i = 0; i < SMFT__TAUGHT_TENSORS; i++)
    if (strcmp(tensors[i].name, name) == 0)
      return &tensors[i];
  ck_abort_msg("no tensor %s", name);
  return NULL;
}

static void spoil(smft__save_tensor *one, void *block, const struct wrong *w) {
  smft__tensor *tensor = &one->tensor;
  int64_t bytes = smft__dtype_traits(tensor->dtype)->bytes;
  char *data = (char *)block + ((const char *)tensor->data - (const char *)block);
  if (w->at >= 0)
    memcpy(data + w->at * bytes, &w->value, (size_t)bytes); /* little-endian */
  tensor->dtype = w->dtype ? w->dtype : tensor->dtype;
  tensor->shape[0] = w->rows ? w->rows : tensor->shape[0];
  tensor->shape[1] = w->columns ? w->columns : tensor->shape[1];
  tensor->n_dims = w->columns ? 2 : w->rows ? 1 : tensor->n_dims;
}

START_TEST(what_is_wrong_in_a_file_is_refused) {
  const struct wrong *w = &wrongs[_i];
  smft__save_tensor tensors[SMFT__TAUGHT_TENSORS];
  smft__taught *list = make_list(SLOTS), *back = NULL;
  void *block = NULL;
  ck_ok(smft__taught_collect(tensors, &block, list));
  spoil(named(tensors, w->name), block, w);
  ck_ok(smft__safetensors_write(ctx, test_file("f"), tensors, SMFT__TAUGHT_TENSORS, NULL, NULL, 0,
                                NULL, NULL));
  smft__free(ctx, block);
  ck_status(read_list(&back, "f", SLOTS), SMFT_E_FORMAT);
  ck_assert_msg(strstr(smft_error_message(), w->says) != NULL, "%s: %s", w->says,
                smft_error_message());
  ck_assert_ptr_null(back);
  smft__taught_release(list);
}
END_TEST

/* All tensors of facts or none; a list without facts is none. */
START_TEST(a_file_without_all_of_it) {
  smft__save_tensor tensors[SMFT__TAUGHT_TENSORS];
  smft__taught *list = make_list(SLOTS), *back = NULL;
  void *block = NULL;
  ck_ok(smft__taught_collect(tensors, &block, list));
  tensors[_i] = tensors[SMFT__TAUGHT_TENSORS - 1];
  ck_ok(smft__safetensors_write(ctx, test_file("f"), tensors, SMFT__TAUGHT_TENSORS - 1, NULL, NULL,
                                0, NULL, NULL));
  ck_status(read_list(&back, "f", SLOTS), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "is missing"));
  ck_ok(smft__safetensors_write(ctx, test_file("f"), tensors, 0, NULL, NULL, 0, NULL, NULL));
  ck_ok(read_list(&back, "f", SLOTS));
  ck_assert_ptr_null(back);
  smft__free(ctx, block);
  smft__taught_release(list);
}
END_TEST

START_TEST(a_list_of_no_facts_is_none) {
  static const char *const names[SMFT__TAUGHT_TENSORS] = {"facts.ids",       "facts.id_ends",
                                                          "facts.states",    "facts.wordings",
                                                          "facts.row_ends",  "facts.rows",
                                                          "facts.read_ends", "facts.reads",
                                                          "facts.squares"};
  static const int32_t types[SMFT__TAUGHT_TENSORS] = {SMFT__U8,  SMFT__I64, SMFT__U8,
                                                      SMFT__I64, SMFT__I64, SMFT__U16,
                                                      SMFT__I64, SMFT__U16, SMFT__F32};
  smft__save_tensor tensors[SMFT__TAUGHT_TENSORS];
  smft__taught *back = NULL;
  for (int i = 0; i < SMFT__TAUGHT_TENSORS; i++)
    tensors[i] =
        (smft__save_tensor){names[i], {"", {0, POOLS}, 1 + (i == 4 || i == 6), types[i]}, 0};
  ck_ok(smft__safetensors_write(ctx, test_file("f"), tensors, SMFT__TAUGHT_TENSORS, NULL, NULL, 0,
                                NULL, NULL));
  ck_ok(read_list(&back, "f", SLOTS));
  ck_assert_ptr_null(back);
}
END_TEST

/* Bytes of the data part changed at random: a list, or SMFT_E_FORMAT; the sanitizers watch. */
START_TEST(any_bytes) {
  smft__taught *list = make_list(SLOTS);
  size_t size = 0, header = 0;
  uint32_t draw = 7;
  int refused = 0;
  ck_ok(write_list(list, "f"));
  char *bytes = test_read(test_file("f"), &size);
  memcpy(&header, bytes, 8);
  for (int i = 0; i < 1500; i++) {
    smft__taught *back = NULL;
    char *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (int k = 0; k <= i % 3; k++) {
      draw = draw * 1664525u + 1013904223u;
      copy[8 + header + (draw >> 8) % (size - header - 8)] = (char)(draw >> 24);
    }
    test_write("g", copy, size);
    free(copy);
    smft_status status = read_list(&back, "g", SLOTS);
    ck_assert_msg(status == SMFT_OK || status == SMFT_E_FORMAT, "%s", smft_error_message());
    ck_assert((back != NULL) == (status == SMFT_OK));
    refused += status != SMFT_OK;
    smft__taught_release(back);
  }
  ck_assert_int_gt(refused, 500);
  free(bytes);
  smft__taught_release(list);
}
END_TEST

/* ---- memory that is not there -------------------------------------------- */

static smft_status all_of_it(void) {
  smft__taught *list = NULL, *back = NULL, *fewer = NULL;
  smft_status status = add_fact(&list, "a", SMFT_FACT_DONE, 0, SLOTS);
  if (status == SMFT_OK)
    status = add_fact(&list, "b", SMFT_FACT_DONE, 1, SLOTS);
  if (status == SMFT_OK)
    status = write_list(list, "f");
  if (status == SMFT_OK)
    status = read_list(&back, "f", SLOTS);
  if (status == SMFT_OK)
    status = smft__taught_remove(&fewer, back, 0);
  smft__taught_release(list);
  smft__taught_release(back);
  smft__taught_release(fewer);
  return status;
}

START_TEST(allocations_fail_one_by_one) {
  long long before = state.live;
  smft_status status = SMFT_E_NOMEM;
  int failed = 0;
  for (; status != SMFT_OK; failed++) {
    ck_assert_int_lt(failed, 200);
    state.fail_at = state.calls + failed + 1;
    status = all_of_it();
    ck_assert_msg(status == SMFT_OK || status == SMFT_E_NOMEM, "%s", smft_error_message());
    ck_assert_int_eq(state.live, before);
  }
  ck_assert_int_gt(failed, 12);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("taught");
  test_directory_make();
  TCase *cases = tcase_create("taught");
  suite_add_tcase(suite, cases);
  tcase_add_checked_fixture(cases, setup, teardown);
  tcase_add_loop_test(cases, a_record_holds_what_it_was_given, 0, 3);
  tcase_add_test(cases, slots_take_as_many_bytes_as_they_need);
  tcase_add_loop_test(cases, lists_share_records_and_stay, 0, 3);
  tcase_add_loop_test(cases, sizes_that_overflow_are_refused, 0, 3);
  tcase_add_loop_test(cases, a_file_gives_the_list_back, 0, 3);
  tcase_add_loop_test(cases, what_is_wrong_in_a_file_is_refused, 0, WRONGS);
  tcase_add_loop_test(cases, a_file_without_all_of_it, 0, SMFT__TAUGHT_TENSORS - 1);
  tcase_add_test(cases, a_list_of_no_facts_is_none);
  tcase_add_test(cases, any_bytes);
  tcase_add_test(cases, allocations_fail_one_by_one);
  return suite;
}
