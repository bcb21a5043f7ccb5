/* writes: everything that the library writes, with each of its calls to the system failing once,
 * from there on, or from half a write on: a file is the old one or the new one, a directory the old
 * one, the new one, or refused when it is loaded, nothing else stays, and the error names the
 * place.  This program's own write, fsync, rename, ... stand in front of the C library's. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "test.h"
#include "tiny.h"

/* ---- calls that fail ----------------------------------------------------- */

static long calls, fail_at, fail_for; /* fail_at 0: none; so many from there on */
static int error, halves;             /* what a failure says; writes take half of what they get */
static int half_first;    /* a write that is to fail takes half, and the next one fails */
static char written[256]; /* descriptors of files that are being written */

static int fails(void) {
  long call = fail_at ? ++calls : 0;
  if (call == 0 || call < fail_at || call >= fail_at + fail_for)
    return 0;
  errno = error;
  return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
  int failed = fd > 2 && fails();
  if (failed && !(half_first && calls == fail_at && size > 1))
    return -1;
  return syscall(SYS_write, fd, data, failed || (fd > 2 && halves && size > 1) ? size / 2 : size);
}

/* Nothing here outlives the machine: there is no disk to wait for. */
int fsync(int fd) {
  (void)fd;
  return fails() ? -1 : 0;
}

int rename(const char *from, const char *to) {
  return fails() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int mkdir(const char *path, mode_t mode) {
  return fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

/* Temporary files go; the marker may not. */
int unlink(const char *path) {
  return strstr(path, "smft-incomplete") && fails() ? -1
                                                    : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (flags & O_CREAT && fails())
    return -1;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (fd >= 0 && fd < (int)sizeof written)
    written[fd] = (flags & O_CREAT) != 0;
  return fd;
}

/* Closed it is in any case, as Linux has it. */
int close(int fd) {
  int counts = fd >= 0 && fd < (int)sizeof written && written[fd];
  if (counts)
    written[fd] = 0;
  int closed = (int)syscall(SYS_close, fd);
  return counts && fails() ? -1 : closed;
}

int fchmod(int fd, mode_t mode) { return fails() ? -1 : (int)syscall(SYS_fchmod, fd, mode); }

/* ---- what is written ----------------------------------------------------- */

typedef struct world {
  smft_ctx *ctx;
  smft_model *models[2], *plain;
  smft_patch *slots[2], *lora[2], *full[2], *taught;
  smft_selector *selectors[2];
  smft_optimizer *optimizers[2];
  smft_session *session;
  smft_probe *probes[2];
} world;

static smft_patch *make_lora(const smft_model *model, double alpha, uint64_t seed) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_patch *patch = NULL;
  options.rank = 4;
  options.alpha = alpha;
  options.seed = seed;
  ck_ok(smft_patch_create_lora(&patch, model, &options));
  return patch;
}

static smft_patch *make_slots(const smft_model *model, int64_t slot) {
  float row[20] = {1, 2, 3};
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_patch_set_row(patch, 0, slot, row, 20));
  return patch;
}

static void count_more(smft_selector *selector) {
  smft_background more = SMFT_BACKGROUND_INIT;
  const int32_t ids[] = {0, 5, 9};
  const int64_t length = 3;
  more.ids = ids;
  more.lengths = &length;
  more.n_sequences = 1;
  ck_ok(smft_selector_count_background(selector, &more));
}

static smft_patch *make_full(const smft_model *model) {
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  return patch;
}

/* With the moments of so many steps on a full patch. */
static smft_optimizer *make_optimizer(world *w, smft_patch *patch, int steps) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer *optimizer = NULL;
  smft_learner *learner = NULL;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  learning.loss_below = -1;
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &options));
  ck_ok(smft_learner_create(&learner, w->models[0], patch, NULL, optimizer, &learning));
  tiny_push(learner, "some", "thing");
  for (int i = 0; i < steps; i++)
    ck_ok(smft_step(learner, NULL));
  smft_learner_free(learner);
  return optimizer;
}

static smft_probe *make_probe(world *w, const char *text) {
  const char *answers[] = {"a"};
  smft_probe *probe = NULL;
  ck_ok(smft_probe_create(&probe, w->ctx, NULL));
  ck_ok(smft_probe_add_question(probe, "q", "what", answers, 1));
  ck_ok(smft_probe_add_text(probe, "t", text));
  ck_ok(smft_probe_baseline(probe, w->session, NULL, NULL));
  ck_ok(smft_probe_measure(probe, w->session, NULL, NULL, NULL));
  return probe;
}

static void open_world(world *w) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = 1;
  ck_ok(smft_ctx_create(&w->ctx, &options));
  w->plain = tiny_plain(w->ctx, "plain", 2, 5);
  for (int i = 0; i < 2; i++) {
    w->models[i] = tiny_model(w->ctx, i ? "second" : "first", (tiny){.beside = i}, 3 + (uint64_t)i);
    w->slots[i] = make_slots(w->models[0], 7 + i);
    w->lora[i] = make_lora(w->models[0], 8 + i, 1 + (uint64_t)i);
    w->selectors[i] = tiny_selector(w->models[0], 0, 8);
    w->full[i] = make_full(w->models[i]);
    w->optimizers[i] = make_optimizer(w, w->full[0], 1 + i);
  }
  count_more(w->selectors[1]);
  ck_ok(smft_selector_save(w->selectors[0], test_file("first/background.safetensors")));
  w->taught = tiny_taught(w->ctx, w->models[0]);
  ck_ok(smft_session_create(&w->session, w->models[0], NULL, NULL));
  for (int i = 0; i < 2; i++)
    w->probes[i] = make_probe(w, i ? "some text" : "and another one");
}

static void close_world(world *w) {
  smft_session_free(w->session);
  smft_patch_free(w->taught);
  for (int i = 0; i < 2; i++) {
    smft_probe_free(w->probes[i]);
    smft_optimizer_free(w->optimizers[i]);
    smft_patch_free(w->full[i]);
    smft_selector_free(w->selectors[i]);
    smft_patch_free(w->lora[i]);
    smft_patch_free(w->slots[i]);
    smft_model_free(w->models[i]);
  }
  smft_model_free(w->plain);
  smft_ctx_free(w->ctx);
}

static smft_status export(world *w, int which, const char *path) {
  return smft_model_export(w->models[which], NULL, path, NULL);
}

/* With what was learnt, and the counts that lie beside the model. */
static smft_status export_taught(world *w, int which, const char *path) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.dtype = SMFT_DTYPE_BF16;
  return smft_model_export(w->models[0], which ? w->taught : w->slots[0], path, &options);
}

static smft_status export_gguf(world *w, int which, const char *path) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.format = SMFT_FORMAT_GGUF;
  options.dtype = which ? SMFT_DTYPE_BF16 : SMFT_DTYPE_F32;
  return smft_model_export(w->plain, NULL, path, &options);
}

/* The same file twice is no test: the old one is in another type. */
static smft_status export_q8(world *w, int which, const char *path) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.format = SMFT_FORMAT_GGUF;
  options.dtype = which ? SMFT_DTYPE_Q8_0 : SMFT_DTYPE_F16;
  return smft_model_export(w->plain, NULL, path, &options);
}

static smft_status graft(world *w, int which, const char *path) {
  static const char *const texts[] = {"the cat sat on the mat and looked at the dog",
                                      "five crazy fish swim in a tank of water"};
  smft_background background = SMFT_BACKGROUND_INIT;
  const smft_background *sources[] = {&background};
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  static const int32_t layers[] = {1};
  background.texts = texts;
  background.n_texts = 2;
  options.sources = sources;
  options.n_sources = 1;
  options.layers = layers;
  options.n_layers = 1;
  options.n_keys = 12;
  options.heads = 2;
  options.top_k = 2 + which;
  options.rank = 20;
  options.key_dim = 8;
  options.seed = 7 + (uint64_t)which;
  return smft_graft(w->plain, path, &options, NULL);
}

static smft_status save_lora(world *w, int which, const char *path) {
  return smft_patch_save(w->lora[which], path, 0);
}

static smft_status save_slots(world *w, int which, const char *path) {
  return smft_patch_save(w->slots[which], path, 0);
}

static smft_status save_taught(world *w, int which, const char *path) {
  return smft_patch_save(which ? w->taught : w->slots[0], path, SMFT_DTYPE_BF16);
}

/* Of one model with two types: a full patch of another would not load. */
static smft_status save_full(world *w, int which, const char *path) {
  return smft_patch_save(w->full[0], path, which ? SMFT_DTYPE_BF16 : SMFT_DTYPE_F32);
}

static smft_status save_optimizer(world *w, int which, const char *path) {
  return smft_optimizer_save(w->optimizers[which], path);
}

static smft_status save_report(world *w, int which, const char *path) {
  return smft_probe_save_report(w->probes[which], path);
}

static smft_status save_counts(world *w, int which, const char *path) {
  return smft_selector_save(w->selectors[which], path);
}

static smft_status load_model(world *w, const char *path) {
  smft_model *model = NULL;
  smft_status status = smft_model_load(&model, w->ctx, path, NULL);
  smft_model_free(model);
  return status;
}

static smft_status load_patch(world *w, const char *path) {
  smft_patch *patch = NULL;
  smft_status status = smft_patch_load(&patch, w->models[0], path);
  smft_patch_free(patch);
  return status;
}

static smft_status load_counts(world *w, const char *path) {
  smft_selector_options empty = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector = NULL;
  empty.flags = SMFT_SELECTOR_EMPTY;
  ck_ok(smft_selector_create(&selector, w->models[0], &empty));
  smft_status status = smft_selector_load(selector, path);
  smft_selector_free(selector);
  return status;
}

static smft_status load_optimizer(world *w, const char *path) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer = NULL;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &options));
  smft_status status = smft_optimizer_load(optimizer, w->models[0], path);
  smft_optimizer_free(optimizer);
  return status;
}

/* The library only writes it; its bytes are compared. */
static smft_status load_report(world *w, const char *path) {
  (void)w;
  return access(path, R_OK) == 0 ? SMFT_OK : SMFT_E_IO;
}

typedef struct kind {
  const char *name;
  smft_status (*write)(world *w, int which, const char *path);
  smft_status (*load)(world *w, const char *path);
  int directory;
} kind;

static const kind kinds[] = {{"export", export, load_model, 1},
                             {"export with counts", export_taught, load_model, 1},
                             {"graft", graft, load_model, 1},
                             {"adapter", save_lora, load_patch, 1},
                             {"export to GGUF", export_gguf, load_model, 0},
                             {"export to Q8_0", export_q8, load_model, 0},
                             {"patch", save_slots, load_patch, 0},
                             {"patch with facts", save_taught, load_patch, 0},
                             {"full patch", save_full, load_patch, 0},
                             {"optimizer", save_optimizer, load_optimizer, 0},
                             {"report", save_report, load_report, 0},
                             {"counts", save_counts, load_counts, 0}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* ---- what stands there afterwards ---------------------------------------- */

typedef struct content { /* of a directory, or of one file */
  char names[16][64], *data[16];
  size_t sizes[16];
  int n;
} content;

static void read_one(content *all, const char *path, const char *name) {
  ck_assert_int_lt(all->n, 16);
  snprintf(all->names[all->n], sizeof all->names[0], "%s", name);
  all->data[all->n] = test_read(path, &all->sizes[all->n]);
  all->n++;
}

static content read_all(const char *path, int directory) {
  content all = {.n = 0};
  DIR *handle = directory ? opendir(path) : NULL;
  if (!directory && access(path, F_OK) == 0)
    read_one(&all, path, "file");
  for (struct dirent *one = handle ? readdir(handle) : NULL; one; one = readdir(handle)) {
    char file[2048];
    snprintf(file, sizeof file, "%s/%s", path, one->d_name);
    if (one->d_name[0] != '.' && strcmp(one->d_name, "smft-incomplete") != 0)
      read_one(&all, file, one->d_name);
  }
  if (handle)
    closedir(handle);
  return all;
}

static void free_content(content *all) {
  for (int i = 0; i < all->n; i++)
    free(all->data[i]);
  all->n = 0;
}

/* File i of a stands in b, byte for byte. */
static int has(const content *b, const content *a, int i) {
  for (int j = 0; j < b->n; j++)
    if (strcmp(a->names[i], b->names[j]) == 0)
      return a->sizes[i] == b->sizes[j] && memcmp(a->data[i], b->data[j], a->sizes[i]) == 0;
  return 0;
}

static int same(const content *a, const content *b) {
  int n = 0;
  for (int i = 0; i < a->n; i++)
    n += has(b, a, i);
  return n == a->n && n == b->n;
}

/* Each file is whole; together they are the old ones, the new ones, or refused. */
static void check_place(world *w, const kind *k, const content *old, const content *new,
                        const char *path, long at) {
  content now = read_all(path, k->directory);
  smft_status status = now.n ? k->load(w, path) : SMFT_OK;
  for (int i = 0; i < now.n; i++)
    ck_assert_msg(has(old, &now, i) || has(new, &now, i), "%s, call %ld: %s is neither old nor new",
                  k->name, at, now.names[i]);
  if (status == SMFT_OK)
    ck_assert_msg(same(&now, old) || same(&now, new), "%s, call %ld: a mix loads", k->name, at);
  else
    ck_assert_msg(status == SMFT_E_MISMATCH && k->directory &&
                      strstr(smft_error_message(), "smft-incomplete"),
                  "%s, call %ld: %s", k->name, at, smft_error_message());
  free_content(&now);
}

static int is_temporary(const char *name) { return strstr(name, ".tmp-") != NULL; }

/* Neither beside the directory or file nor in the directory. */
static void check_nothing_else(const kind *k, long at) {
  const char *places[] = {test_file("place"), test_file("place/it")};
  for (int i = 0; i <= k->directory; i++) {
    DIR *handle = opendir(places[i]);
    for (struct dirent *one = handle ? readdir(handle) : NULL; one; one = readdir(handle))
      ck_assert_msg(!is_temporary(one->d_name), "%s, call %ld: left behind: %s", k->name, at,
                    one->d_name);
    if (handle)
      closedir(handle);
  }
}

/* A file, or a directory of files. */
static void clear(const char *path) {
  DIR *handle = opendir(path);
  for (struct dirent *one = handle ? readdir(handle) : NULL; one; one = readdir(handle)) {
    char file[2048];
    snprintf(file, sizeof file, "%s/%s", path, one->d_name);
    if (one->d_type != DT_DIR)
      unlink(file);
  }
  if (handle)
    closedir(handle);
  remove(path);
}

static void begin_from(world *w, const kind *k, int from, const char *path) {
  clear(path);
  if (from)
    ck_ok(k->write(w, 0, path));
}

typedef struct failure {
  const char *name;
  long how_many; /* calls fail */
  int half;      /* the first of them, a write, does half of it */
} failure;

static const failure failures[] = {{"once", 1, 0}, {"from there on", 1000, 0}, {"half", 1000, 1}};
enum { N_FAILURES = sizeof failures / sizeof *failures };

/* One write with call `at` failing; 1: there was such a call. */
static int write_failing(world *w, const kind *k, const failure *f, long at, const char *path) {
  calls = 0, fail_at = at, fail_for = f->how_many, half_first = f->half;
  error = at % 2 ? EIO : ENOSPC;
  smft_status status = k->write(w, 1, path);
  fail_at = 0, half_first = 0;
  ck_assert_msg(status == SMFT_OK || status == SMFT_E_IO, "%s, call %ld: %s", k->name, at,
                smft_error_message());
  if (status != SMFT_OK)
    ck_assert_msg(strstr(smft_error_message(), "place/it") &&
                      strstr(smft_error_message(), strerror(error)),
                  "%s, call %ld: it does not say where and why: %s", k->name, at,
                  smft_error_message());
  return calls >= at; /* where best effort alone failed, the write did not */
}

/* from 0: nothing was there. */
static void try_each(world *w, const kind *k, int from, const failure *f) {
  const char *path = test_file("place/it");
  begin_from(w, k, from, path);
  content old = read_all(path, k->directory);
  ck_ok(k->write(w, 1, path));
  content new = read_all(path, k->directory);
  ck_assert_msg(!same(&old, &new), "%s: the old one and the new one are the same", k->name);
  int failed = 1;
  for (long at = 1; failed; at++) {
    ck_assert_int_lt(at, 400);
    begin_from(w, k, from, path);
    failed = write_failing(w, k, f, at, path);
    check_place(w, k, &old, &new, path, at);
    check_nothing_else(k, at);
    ck_ok(k->write(w, 1, path)); /* written again it is whole */
    ck_ok(k->load(w, path));
  }
  free_content(&old);
  free_content(&new);
}

START_TEST(a_call_fails) {
  world w;
  open_world(&w);
  clear(test_file("place/it"));
  mkdir(test_file("place"), 0700);
  for (int i = 0; i < N_FAILURES; i++)
    try_each(&w, &kinds[_i], 1, &failures[i]);
  try_each(&w, &kinds[_i], 0, &failures[0]);
  close_world(&w);
}
END_TEST

/* Half of what is asked for at a time. */
START_TEST(writes_are_short) {
  world w;
  open_world(&w);
  mkdir(test_file("place"), 0700);
  for (int k = 0; k < N_KINDS; k++) {
    const char *path = test_file("place/it");
    content all[2];
    for (halves = 0; halves < 2; halves++) {
      clear(path);
      ck_ok(kinds[k].write(&w, 0, path));
      all[halves] = read_all(path, kinds[k].directory);
    }
    halves = 0;
    ck_assert_msg(same(&all[0], &all[1]), "%s", kinds[k].name);
    free_content(&all[0]);
    free_content(&all[1]);
  }
  close_world(&w);
}
END_TEST

/* A directory that was made for nothing is gone; what is refused says why, however it is opened. */
START_TEST(a_marker_is_refused) {
  world w;
  smft_model *model = NULL;
  smft_tokenizer *tokenizer = NULL;
  open_world(&w);
  ck_ok(export(&w, 0, test_file("marked")));
  test_write("marked/smft-incomplete", "", 0);
  ck_status(smft_model_load(&model, w.ctx, test_file("marked"), NULL), SMFT_E_MISMATCH);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "marked"));
  ck_status(smft_model_init(&model, w.ctx, test_file("marked"), 1), SMFT_E_MISMATCH);
  ck_status(smft_tokenizer_load(&tokenizer, w.ctx, test_file("marked")), SMFT_E_MISMATCH);
  ck_ok(export(&w, 0, test_file("marked")));
  ck_ok(load_model(&w, test_file("marked")));
  calls = 0, fail_at = 5, fail_for = 1, error = ENOSPC;
  ck_status(export(&w, 0, test_file("never")), SMFT_E_IO);
  fail_at = 0;
  ck_assert(access(test_file("never"), F_OK) != 0);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("writes");
  TCase *tests = tcase_create("writes");
  test_directory_in_memory();
  test_directory_make();
  tcase_add_loop_test(tests, a_call_fails, 0, N_KINDS);
  tcase_add_test(tests, writes_are_short);
  tcase_add_test(tests, a_marker_is_refused);
  suite_add_tcase(suite, tests);
  return suite;
}
