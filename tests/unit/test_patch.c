/* patch: rows set, reset, listed, copied, saved and loaded; what it does to logits and what its
 * removal leaves; hostile files; one writer or many readers. */
#include "failing.h"
#include "tiny.h"

#include "base/rng.h"
#include "data/safetensors.h"
#include "model/patch.h"

#define DIM 20
#define N_IDS 9

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
} world;

static world open_world(tiny shape, int32_t kind) {
  world w = {0};
  ck_ok(smft_ctx_create(&w.ctx, NULL));
  w.model = tiny_model(w.ctx, "m", shape, 3);
  ck_ok(smft_patch_create(&w.patch, w.model, kind));
  return w;
}

static void close_world(world *w) { /* parents first */
  smft_ctx_free(w->ctx);
  smft_model_free(w->model);
  smft_patch_free(w->patch);
}

static void set_rows(smft_patch *patch, int32_t pool, uint64_t seed, int n) {
  smft__rng rng;
  float row[DIM];
  smft__rng_seed(&rng, seed);
  for (int k = 0; k < n; k++) {
    for (int i = 0; i < DIM; i++)
      row[i] = (float)smft__rng_normal(&rng);
    ck_ok(smft_patch_set_row(patch, pool, smft__rng_below(&rng, 256), row, DIM));
  }
}

static float *logits_of(const smft_model *model, smft_patch *patch) {
  static const int32_t ids[N_IDS] = {0, 5, 9, 40, 41, 7, 66, 3, 12};
  smft_session *session = NULL;
  float *logits = malloc(N_IDS * TINY_VOCAB * sizeof *logits);
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, N_IDS, SMFT_LOGITS_ALL, logits, N_IDS * TINY_VOCAB));
  smft_session_free(session);
  return logits;
}

static int same_logits(const smft_model *model, smft_patch *a, smft_patch *b) {
  float *left = logits_of(model, a), *right = logits_of(model, b);
  int same = memcmp(left, right, N_IDS * TINY_VOCAB * sizeof *left) == 0;
  free(left);
  free(right);
  return same;
}

/* ---- rows ---------------------------------------------------------------- */

START_TEST(rows) {
  world w = open_world((tiny){.shared = 2}, SMFT_PATCH_SLOTS);
  float row[DIM] = {1, 2, 3}, got[DIM], base[DIM];
  int64_t slots[8], n = 0;
  ck_assert_int_eq(smft_patch_kind(w.patch), SMFT_PATCH_SLOTS);
  ck_ok(smft_patch_row(w.patch, 1, 77, base, DIM));
  ck_ok(smft_patch_set_row(w.patch, 1, 77, row, DIM));
  ck_ok(smft_patch_set_row(w.patch, 1, 3, row, DIM));
  ck_ok(smft_patch_set_row(w.patch, 1, 255, row, DIM));
  row[0] = 9;
  ck_ok(smft_patch_set_row(w.patch, 1, 77, row, DIM)); /* again */
  ck_ok(smft_patch_row(w.patch, 1, 77, got, DIM));
  ck_assert_mem_eq(got, row, sizeof row);
  ck_ok(smft_patch_row(w.patch, 0, 77, got, DIM)); /* the other pool */
  ck_assert_mem_ne(got, row, sizeof row);
  ck_ok(smft_patch_slots(w.patch, 1, NULL, 0, &n));
  ck_assert_int_eq(n, 3);
  n = 0;
  ck_status(smft_patch_slots(w.patch, 1, slots, 2, &n), SMFT_E_BUFFER);
  ck_assert_int_eq(n, 3);
  ck_ok(smft_patch_slots(w.patch, 1, slots, 8, &n));
  ck_assert_int_eq(n, 3);
  ck_assert(slots[0] == 3 && slots[1] == 77 && slots[2] == 255);
  ck_ok(smft_patch_reset_row(w.patch, 1, 77));
  ck_ok(smft_patch_reset_row(w.patch, 1, 78)); /* was never changed */
  ck_ok(smft_patch_row(w.patch, 1, 77, got, DIM));
  ck_assert_mem_eq(got, base, sizeof base);
  ck_ok(smft_patch_slots(w.patch, 1, slots, 8, &n));
  ck_assert_int_eq(n, 2);
  ck_ok(smft_patch_clear(w.patch));
  ck_ok(smft_patch_slots(w.patch, 1, slots, 8, &n));
  ck_assert_int_eq(n, 0);
  close_world(&w);
}
END_TEST

START_TEST(refusals) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  float row[DIM] = {0};
  int64_t n = 0, slot = 0;
  smft_patch *other = (smft_patch *)1;
  ck_status(smft_patch_set_row(w.patch, 1, 0, row, DIM), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_set_row(w.patch, -1, 0, row, DIM), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_set_row(w.patch, 0, 256, row, DIM), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_set_row(w.patch, 0, -1, row, DIM), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_set_row(w.patch, 0, 0, row, DIM - 1), SMFT_E_INVALID);
  ck_status(smft_patch_set_row(w.patch, 0, 0, NULL, DIM), SMFT_E_INVALID);
  ck_status(smft_patch_set_row(NULL, 0, 0, row, DIM), SMFT_E_INVALID);
  ck_status(smft_patch_row(NULL, 0, 0, row, DIM), SMFT_E_INVALID);
  ck_status(smft_patch_row(w.patch, 0, 0, NULL, DIM), SMFT_E_INVALID);
  ck_status(smft_patch_row(w.patch, 0, 256, row, DIM), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_slots(w.patch, 0, NULL, 0, NULL), SMFT_E_INVALID);
  ck_status(smft_patch_slots(w.patch, 0, NULL, 5, &n), SMFT_E_INVALID);
  ck_status(smft_patch_slots(NULL, 0, &slot, 1, &n), SMFT_E_INVALID);
  ck_status(smft_patch_clear(NULL), SMFT_E_INVALID);
  ck_status(smft_patch_create(NULL, w.model, SMFT_PATCH_SLOTS), SMFT_E_INVALID);
  ck_status(smft_patch_create(&other, NULL, SMFT_PATCH_SLOTS), SMFT_E_INVALID);
  ck_assert_ptr_null(other);
  ck_status(smft_patch_create(&other, w.model, 7), SMFT_E_INVALID);
  ck_status(smft_patch_copy(&other, NULL), SMFT_E_INVALID);
  ck_status(smft_patch_save(NULL, "x", 0), SMFT_E_INVALID);
  ck_status(smft_patch_save(w.patch, NULL, 0), SMFT_E_INVALID);
  ck_status(smft_patch_save(w.patch, "x", SMFT_DTYPE_F16), SMFT_E_INVALID);
  ck_status(smft_patch_load(&other, NULL, "x"), SMFT_E_INVALID);
  ck_status(smft_patch_load(&other, w.model, test_file("not there")), SMFT_E_NOT_FOUND);
  for (int i = 0; i < 3; i++) {
    row[5] = (float[]){NAN, INFINITY, -INFINITY}[i];
    ck_status(smft_patch_set_row(w.patch, 0, 0, row, DIM), SMFT_E_NONFINITE);
  }
  ck_ok(smft_patch_slots(w.patch, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  ck_assert_int_eq(smft_patch_kind(NULL), 0);
  smft_patch_free(NULL);
  close_world(&w);
}
END_TEST

START_TEST(full_patches_have_no_rows) {
  world w = open_world((tiny){0}, SMFT_PATCH_FULL);
  float row[DIM] = {0};
  int64_t n = 0;
  ck_status(smft_patch_set_row(w.patch, 0, 0, row, DIM), SMFT_E_UNSUPPORTED);
  ck_status(smft_patch_reset_row(w.patch, 0, 0), SMFT_E_UNSUPPORTED);
  ck_status(smft_patch_slots(w.patch, 0, NULL, 0, &n), SMFT_E_UNSUPPORTED);
  w.patch->full[smft__pool_tensor(&w.model->config, 0)][3 * DIM] = 42;
  ck_ok(smft_patch_row(w.patch, 0, 3, row, DIM)); /* as model + patch have it */
  ck_assert_float_eq(row[0], 42);
  ck_ok(smft_patch_clear(w.patch));
  ck_ok(smft_patch_row(w.patch, 0, 3, row, DIM));
  ck_assert_float_ne(row[0], 42);
  close_world(&w);
}
END_TEST

START_TEST(no_memory_no_slots) {
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  smft_patch *patch = NULL;
  static const char text[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 8, \"num_hidden_layers\": 1, "
      "\"num_attention_heads\": 2, "
      "\"intermediate_size\": 4, \"vocab_size\": 9, \"max_position_embeddings\": 16}";
  ck_ok(smft_ctx_create(&ctx, NULL));
  mkdir(test_file("dense"), 0700);
  test_write("dense/config.json", text, sizeof text - 1);
  ck_ok(smft_model_init(&model, ctx, test_file("dense"), 1));
  ck_status(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS), SMFT_E_UNSUPPORTED);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- what it does -------------------------------------------------------- */

START_TEST(removal_leaves_no_trace) {
  world w = open_world((tiny){.shared = _i, .beside = _i == 1}, SMFT_PATCH_SLOTS);
  ck_assert(same_logits(w.model, w.patch, NULL)); /* empty */
  set_rows(w.patch, 0, 1, 150);
  ck_assert(!same_logits(w.model, w.patch, NULL));
  ck_ok(smft_patch_clear(w.patch));
  ck_assert(same_logits(w.model, w.patch, NULL));
  close_world(&w);
}
END_TEST

/* A row that is set to the base's own values changes nothing, not by a bit. */
START_TEST(rows_as_they_were) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  float row[DIM];
  for (int64_t slot = 0; slot < 256; slot++) {
    ck_ok(smft_patch_row(w.patch, 0, slot, row, DIM));
    ck_ok(smft_patch_set_row(w.patch, 0, slot, row, DIM));
  }
  ck_assert(same_logits(w.model, w.patch, NULL));
  close_world(&w);
}
END_TEST

START_TEST(slots_as_a_full_patch) {
  world w = open_world((tiny){.shared = 2}, SMFT_PATCH_SLOTS);
  smft_patch *full = NULL;
  ck_ok(smft_patch_create(&full, w.model, SMFT_PATCH_FULL));
  set_rows(w.patch, 0, 1, 100);
  set_rows(w.patch, 1, 2, 100);
  for (int32_t pool = 0; pool < 2; pool++) {
    int32_t index = smft__pool_tensor(&w.model->config, pool);
    ck_ok(smft_model_tensor_values(w.model, w.patch, index, full->full[index],
                                   smft__tensor_count(&w.model->tensors[index])));
  }
  ck_assert(same_logits(w.model, w.patch, full));
  smft_patch_free(full);
  close_world(&w);
}
END_TEST

START_TEST(copies_are_snapshots) {
  for (int32_t kind = SMFT_PATCH_SLOTS; kind <= SMFT_PATCH_FULL; kind++) {
    world w = open_world((tiny){0}, kind);
    smft_patch *copy = NULL;
    if (kind == SMFT_PATCH_SLOTS)
      set_rows(w.patch, 0, 1, 100);
    else
      w.patch->full[w.model->config.stack.at[SMFT__EMBED].tensor][40] = 3;
    ck_ok(smft_patch_copy(&copy, w.patch));
    ck_assert(same_logits(w.model, w.patch, copy));
    ck_ok(smft_patch_clear(w.patch));
    ck_assert(!same_logits(w.model, w.patch, copy));
    smft_patch_free(copy);
    close_world(&w);
  }
}
END_TEST

/* ---- files --------------------------------------------------------------- */

START_TEST(save_and_load) {
  for (int32_t kind = SMFT_PATCH_SLOTS; kind <= SMFT_PATCH_FULL; kind++) {
    world w = open_world((tiny){.shared = 2}, kind);
    smft_patch *back = NULL;
    const char *path = test_file("p.safetensors");
    if (kind == SMFT_PATCH_SLOTS)
      set_rows(w.patch, 1, 1, 100); /* pool 0 has none */
    else
      for (int i = 0; i < 32; i++)
        w.patch->full[w.model->config.stack.at[SMFT__FINAL_NORM].tensor][i] = (float)i / 7;
    ck_ok(smft_patch_save(w.patch, path, 0));
    ck_ok(smft_patch_load(&back, w.model, path));
    ck_assert_int_eq(smft_patch_kind(back), kind);
    ck_assert(same_logits(w.model, w.patch, back));
    smft_patch_free(back);
    ck_ok(smft_patch_save(w.patch, path, SMFT_DTYPE_BF16));
    ck_ok(smft_patch_load(&back, w.model, path));
    float *exact = logits_of(w.model, w.patch), *rounded = logits_of(w.model, back);
    double distance = test_distance(rounded, exact, N_IDS * TINY_VOCAB);
    ck_assert_msg(distance > 0 && distance < 0.05, "%g", distance);
    free(exact);
    free(rounded);
    smft_patch_free(back);
    close_world(&w);
  }
}
END_TEST

/* The bytes of the file, whatever they are aligned to, and nothing behind the buffer's end. */
static void check_bytes(world *w, int32_t dtype) {
  static char buffer[1 << 18];
  size_t length = 0;
  int64_t size = 0, again = 0;
  smft_patch *back = NULL;
  ck_ok(smft_patch_save(w->patch, test_file("p.safetensors"), dtype));
  char *file = test_read(test_file("p.safetensors"), &length);
  ck_ok(smft_patch_save_buffer(w->patch, dtype, NULL, 0, &size));
  ck_assert_int_eq(size, (int64_t)length);
  memset(buffer, 7, sizeof buffer);
  for (int64_t short_of = 1; short_of < size; short_of += size / 7 + 1) {
    ck_status(smft_patch_save_buffer(w->patch, dtype, buffer + 1, size - short_of, &again),
              SMFT_E_BUFFER);
    ck_assert_int_eq(again, size);
    ck_assert_int_eq(buffer[1 + size - short_of], 7);
    memset(buffer, 7, sizeof buffer);
  }
  ck_ok(smft_patch_save_buffer(w->patch, dtype, buffer + 1, size, &again));
  ck_assert_mem_eq(buffer + 1, file, length);
  ck_assert_int_eq(buffer[1 + size], 7);
  ck_ok(smft_patch_load_buffer(&back, w->model, buffer + 1, size));
  memset(buffer, 7, sizeof buffer); /* it was copied */
  ck_ok(smft_patch_save(back, test_file("p.safetensors"), dtype));
  char *copy = test_read(test_file("p.safetensors"), &length);
  ck_assert_mem_eq(copy, file, length);
  free(copy);
  free(file);
  smft_patch_free(back);
}

START_TEST(in_memory) {
  for (int32_t kind = SMFT_PATCH_SLOTS; kind <= SMFT_PATCH_FULL; kind++) {
    world w = open_world((tiny){.shared = 2}, kind);
    if (kind == SMFT_PATCH_SLOTS)
      set_rows(w.patch, 1, 1, 100);
    check_bytes(&w, 0);
    check_bytes(&w, SMFT_DTYPE_BF16);
    close_world(&w);
  }
}
END_TEST

START_TEST(not_a_patch_in_memory) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  static char buffer[1 << 16];
  int64_t size = 0;
  smft_patch *back = (smft_patch *)1;
  set_rows(w.patch, 0, 1, 100);
  ck_ok(smft_patch_save_buffer(w.patch, 0, buffer, sizeof buffer, &size));
  for (int64_t n = 0; n < size; n += n < 16 ? 1 : 97) {
    ck_status(smft_patch_load_buffer(&back, w.model, buffer, n), SMFT_E_FORMAT);
    ck_assert_ptr_null(back);
    ck_assert_ptr_nonnull(strstr(smft_error_message(), "a patch in memory"));
  }
  ck_status(smft_patch_load_buffer(&back, w.model, "{\"a\": 1}", 8), SMFT_E_FORMAT);
  ck_status(smft_patch_save_buffer(w.patch, SMFT_DTYPE_F16, NULL, 0, &size), SMFT_E_INVALID);
  close_world(&w);
}
END_TEST

START_TEST(an_empty_patch_on_disk) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  smft_patch *back = NULL;
  int64_t n = 1;
  ck_ok(smft_patch_save(w.patch, test_file("p.safetensors"), 0));
  ck_ok(smft_patch_load(&back, w.model, test_file("p.safetensors")));
  ck_ok(smft_patch_slots(back, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  smft_patch_free(back);
  close_world(&w);
}
END_TEST

/* The same rows in another order of changes: the same file. */
START_TEST(files_do_not_tell_the_order) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  float row[DIM] = {1};
  size_t size[2];
  char *file[2];
  for (int k = 0; k < 2; k++) {
    ck_ok(smft_patch_clear(w.patch));
    for (int i = 0; i < 50; i++) {
      int64_t slot = (k ? 49 - i : i) * 5;
      row[1] = (float)slot;
      ck_ok(smft_patch_set_row(w.patch, 0, slot, row, DIM));
    }
    ck_ok(smft_patch_save(w.patch, test_file("p.safetensors"), 0));
    file[k] = test_read(test_file("p.safetensors"), &size[k]);
  }
  ck_assert_uint_eq(size[0], size[1]);
  ck_assert_mem_eq(file[0], file[1], size[0]);
  free(file[0]);
  free(file[1]);
  close_world(&w);
}
END_TEST

START_TEST(a_patch_of_another_model) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  smft_model *other = tiny_model(w.ctx, "o", (tiny){0}, 4);
  smft_patch *back = (smft_patch *)1;
  smft_session *session = NULL;
  set_rows(w.patch, 0, 1, 10);
  ck_ok(smft_patch_save(w.patch, test_file("p.safetensors"), 0));
  ck_status(smft_patch_load(&back, other, test_file("p.safetensors")), SMFT_E_MISMATCH);
  ck_assert_ptr_null(back);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "another model"));
  ck_status(smft_session_create(&session, other, w.patch, NULL), SMFT_E_MISMATCH);
  ck_status(smft_model_export(other, w.patch, test_file("x"), NULL), SMFT_E_INVALID);
  smft_model_free(other);
  close_world(&w);
}
END_TEST

typedef struct hostile {
  int64_t slots[2];
  int64_t n_slots, n_rows, dim;
  int32_t slots_type, rows_type;
  float value;
  const char *hash, *kind, *format; /* NULL: as it should be */
  smft_status status;
} hostile;

static const hostile files[] = {
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_OK},
    {{3, 256}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{-1, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{9, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{3, 9}, 1, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{3, 9}, 2, 2, DIM - 1, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{3, 9}, 2, 2, DIM, SMFT__U64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__I32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, NAN, NULL, NULL, NULL, SMFT_E_NONFINITE},
    /* n_rows 0: left out */
    {{3, 9}, 2, 0, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, NULL, SMFT_E_FORMAT},
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, "00", NULL, NULL, SMFT_E_MISMATCH},
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, "lora", NULL, SMFT_E_UNSUPPORTED},
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, "full", NULL, SMFT_E_FORMAT},
    {{3, 9}, 2, 2, DIM, SMFT__I64, SMFT__F32, 1, NULL, NULL, "pt", SMFT_E_FORMAT},
};

START_TEST(hostile_files) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  hostile h = files[_i];
  float values[2 * DIM] = {0};
  smft_patch *back = (smft_patch *)1;
  values[DIM] = h.value;
  smft__tensor slots = {h.slots, {h.n_slots}, 1, h.slots_type};
  smft__tensor rows_view = smft__tensor_f32(values, h.n_rows, h.dim);
  rows_view.dtype = h.rows_type;
  smft__save_tensor tensors[] = {{"pools.0.slots", slots, 0}, {"pools.0.rows", rows_view, 0}};
  const char *keys[] = {"format", "kind", "model_hash"};
  const char *texts[] = {h.format ? h.format : "smft.patch.1", h.kind ? h.kind : "slots",
                         h.hash ? h.hash : smft_model_hash(w.model)};
  ck_ok(smft__safetensors_write(w.ctx, test_file("h.safetensors"), tensors, h.n_rows ? 2 : 1, keys,
                                texts, 3, NULL, NULL));
  ck_status(smft_patch_load(&back, w.model, test_file("h.safetensors")), h.status);
  if (h.status != SMFT_OK) {
    ck_assert_ptr_null(back);
    ck_assert_msg(strstr(smft_error_message(), "h.safetensors") != NULL, "%s",
                  smft_error_message());
  }
  smft_patch_free(back);
  close_world(&w);
}
END_TEST

/* ---- readers and a writer ------------------------------------------------ */

/* Readers of a slots patch go on with the version that they have; another writer is refused. */
START_TEST(readers_and_a_writer_of_slots) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  const smft__version *first, *second;
  float row[DIM] = {0}, read[DIM];
  ck_assert_uint_eq(smft_patch_version(w.patch), 1);
  ck_ok(smft__patch_begin_read(w.patch, &first));
  row[0] = 1;
  ck_ok(smft_patch_set_row(w.patch, 0, 7, row, DIM));
  ck_ok(smft__patch_begin_read(w.patch, &second));
  row[0] = 2;
  ck_ok(smft_patch_set_row(w.patch, 0, 7, row, DIM));
  ck_ok(smft_patch_set_row(w.patch, 0, 8, row, DIM));
  ck_assert_uint_eq(smft_patch_version(w.patch), 4);
  ck_assert_ptr_null(smft__snapshot_find(first->pools[0], 7));
  ck_assert_float_eq(*smft__snapshot_find(second->pools[0], 7), 1);
  ck_assert_ptr_null(smft__snapshot_find(second->pools[0], 8));
  ck_ok(smft_patch_clear(w.patch));
  ck_assert_float_eq(*smft__snapshot_find(second->pools[0], 7), 1);
  smft__patch_end_read(w.patch, first);
  smft__patch_end_read(w.patch, second);
  ck_ok(smft__patch_begin_write(w.patch));
  ck_status(smft_patch_set_row(w.patch, 0, 0, row, DIM), SMFT_E_STATE);
  ck_status(smft_patch_reset_row(w.patch, 0, 0), SMFT_E_STATE);
  ck_status(smft_patch_clear(w.patch), SMFT_E_STATE);
  ck_ok(smft_patch_row(w.patch, 0, 0, read, DIM));
  ck_ok(smft_patch_save(w.patch, test_file("p"), 0));
  smft__patch_end_write(w.patch, NULL);
  ck_assert_uint_eq(smft_patch_version(w.patch), 5);
  close_world(&w);
}
END_TEST

START_TEST(readers_or_a_writer_of_full) {
  world w = open_world((tiny){0}, SMFT_PATCH_FULL);
  const smft__version *one, *two;
  float row[DIM];
  smft_session *session = NULL;
  int32_t id = 0;
  ck_ok(smft_session_create(&session, w.model, w.patch, NULL));
  ck_ok(smft__patch_begin_read(w.patch, &one));
  ck_ok(smft__patch_begin_read(w.patch, &two));
  ck_status(smft_patch_clear(w.patch), SMFT_E_STATE);
  ck_ok(smft_patch_row(w.patch, 0, 0, row, DIM));
  smft__patch_end_read(w.patch, one);
  ck_status(smft_patch_clear(w.patch), SMFT_E_STATE);
  smft__patch_end_read(w.patch, two);
  uint64_t number = smft_patch_version(w.patch);
  ck_ok(smft__patch_begin_write(w.patch));
  ck_status(smft_patch_row(w.patch, 0, 0, row, DIM), SMFT_E_STATE);
  ck_status(smft_patch_save(w.patch, test_file("p"), 0), SMFT_E_STATE);
  ck_status(smft_session_feed(session, &id, 1, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_STATE);
  ck_assert_int_eq(smft_session_length(session), 0);
  smft__patch_end_write(w.patch, NULL);
  ck_assert_uint_eq(smft_patch_version(w.patch), number);
  ck_ok(smft_patch_clear(w.patch));
  ck_assert_uint_gt(smft_patch_version(w.patch), number);
  smft_session_free(session);
  close_world(&w);
}
END_TEST

/* A copy shares the version until one of the two changes. */
START_TEST(copies_share) {
  world w = open_world((tiny){0}, SMFT_PATCH_SLOTS);
  smft_patch *copy;
  float row[DIM] = {0};
  set_rows(w.patch, 0, 5, 100);
  ck_ok(smft_patch_copy(&copy, w.patch));
  ck_assert_ptr_eq(smft__patch_current(copy), smft__patch_current(w.patch));
  row[0] = 3;
  int64_t slot = 0;
  while (smft__snapshot_find(smft__patch_current(copy)->pools[0], slot))
    slot++;
  ck_ok(smft_patch_set_row(copy, 0, slot, row, DIM));
  ck_assert_ptr_null(smft__snapshot_find(smft__patch_current(w.patch)->pools[0], slot));
  ck_assert_ptr_nonnull(smft__snapshot_find(smft__patch_current(copy)->pools[0], slot));
  smft_patch_free(w.patch);
  w.patch = copy; /* outlives what it is a copy of */
  ck_ok(smft_patch_row(copy, 0, slot, row, DIM));
  ck_assert_float_eq(row[0], 3);
  close_world(&w);
}
END_TEST

START_TEST(failing_allocations) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft_model *model = tiny_model(ctx, "m", (tiny){0}, 1);
  smft_patch *patch = NULL, *other = NULL;
  long long live = 0, failures = 0;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  set_rows(patch, 0, 1, 30);
  ck_ok(smft_patch_save(patch, test_file("p"), 0));
  live = state.live;
  for (int what = 0; what < 4; what++)
    for (long long k = 1;; k++) {
      state.calls = 0;
      state.fail_at = k;
      smft_status status = what == 0   ? smft_patch_copy(&other, patch)
                           : what == 1 ? smft_patch_load(&other, model, test_file("p"))
                           : what == 2 ? smft_patch_save(patch, test_file("q"), 0)
                                       : smft_patch_create(&other, model, SMFT_PATCH_FULL);
      state.fail_at = 0;
      if (status == SMFT_OK) {
        if (what != 2)
          smft_patch_free(other);
        other = NULL;
        break;
      }
      ck_assert_int_eq(status, SMFT_E_NOMEM);
      ck_assert_ptr_null(other);
      ck_assert_int_eq(state.live, live);
      failures++;
    }
  ck_assert_int_gt(failures, 10);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("unit patch");
  TCase *tests = tcase_create("patch");
  test_directory_make();
  tcase_add_test(tests, rows);
  tcase_add_test(tests, refusals);
  tcase_add_test(tests, full_patches_have_no_rows);
  tcase_add_test(tests, no_memory_no_slots);
  tcase_add_loop_test(tests, removal_leaves_no_trace, 0, 3);
  tcase_add_test(tests, rows_as_they_were);
  tcase_add_test(tests, slots_as_a_full_patch);
  tcase_add_test(tests, copies_are_snapshots);
  tcase_add_test(tests, save_and_load);
  tcase_add_test(tests, in_memory);
  tcase_add_test(tests, not_a_patch_in_memory);
  tcase_add_test(tests, an_empty_patch_on_disk);
  tcase_add_test(tests, files_do_not_tell_the_order);
  tcase_add_test(tests, a_patch_of_another_model);
  tcase_add_loop_test(tests, hostile_files, 0, (int)(sizeof files / sizeof *files));
  tcase_add_test(tests, readers_and_a_writer_of_slots);
  tcase_add_test(tests, readers_or_a_writer_of_full);
  tcase_add_test(tests, copies_share);
  tcase_add_test(tests, failing_allocations);
  suite_add_tcase(suite, tests);
  return suite;
}
