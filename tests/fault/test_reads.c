/* reads: everything that is read from a path, with each of the calls to the system failing once:
 * the error names a file and says why, nothing is left open, and the next time it loads.  This
 * program's own open, fstat, read and mmap stand in front of the C library's. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "test.h"
#include "tiny.h"

/* The thread sanitizer's own beginning calls these, before it can count what they do. */
#define UNSEEN __attribute__((no_sanitize("thread")))

static long calls, fail_at; /* fail_at 0: none */
static int error;           /* what a failure says; 0: a read finds the end of the file */

UNSEEN static int fails(void) {
  if (fail_at == 0 || ++calls != fail_at)
    return 0;
  errno = error ? error : EIO;
  return 1;
}

UNSEEN int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

UNSEEN int fstat(int fd, struct stat *facts) {
  return fails() ? -1 : (int)syscall(SYS_newfstatat, fd, "", facts, 0x1000 /* AT_EMPTY_PATH */);
}

/* Not those of the C library itself: it does not come by here. */
UNSEEN ssize_t read(int fd, void *data, size_t size) {
  if (fails())
    return error ? -1 : 0;
  return syscall(SYS_read, fd, data, size > 1 ? size / 2 : size); /* short ones are no fault */
}

UNSEEN void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && fails())
    return MAP_FAILED;
  return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_learner *learner;
} world;

static smft_status load_model(world *w) {
  smft_model *model = NULL;
  smft_status status = smft_model_load(&model, w->ctx, test_file("f/model"), NULL);
  smft_model_free(model);
  return status;
}

static smft_status load_patch_of(world *w, const char *name) {
  smft_patch *patch = NULL;
  smft_status status = smft_patch_load(&patch, w->model, test_file(name));
  smft_patch_free(patch);
  return status;
}
static smft_status load_patch(world *w) { return load_patch_of(w, "f/patch"); }
static smft_status load_adapters(world *w) { return load_patch_of(w, "f/lora"); }

static smft_status load_tokenizer(world *w) {
  smft_tokenizer *tokenizer = NULL;
  smft_status status = smft_tokenizer_load(&tokenizer, w->ctx, test_file("f/model"));
  smft_tokenizer_free(tokenizer);
  return status;
}

static smft_status push_file(world *w) {
  int64_t n = 0;
  smft_status status = smft_learner_push_file(w->learner, test_file("f/facts.jsonl"), &n);
  if (status == SMFT_OK)
    ck_ok(smft_learner_skip(w->learner)); /* its id may be queued again */
  return status;
}

static smft_status add_items(world *w) {
  smft_probe *probe = NULL;
  int64_t n = 0;
  ck_ok(smft_probe_create(&probe, w->ctx, NULL));
  smft_status status = smft_probe_add_file(probe, test_file("f/items.jsonl"), &n);
  smft_probe_free(probe);
  return status;
}

static smft_status count_file(world *w) {
  smft_selector_options empty = SMFT_SELECTOR_OPTIONS_INIT;
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_selector *selector = NULL;
  empty.flags = SMFT_SELECTOR_EMPTY;
  background.text_path = test_file("f/text");
  ck_ok(smft_selector_create(&selector, w->model, &empty));
  smft_status status = smft_selector_count_background(selector, &background);
  smft_selector_free(selector);
  return status;
}

typedef struct kind {
  const char *name;
  smft_status (*load)(world *w);
} kind;

static const kind kinds[] = {{"model", load_model},          {"patch", load_patch},
                             {"adapters", load_adapters},    {"tokenizer", load_tokenizer},
                             {"facts", push_file},           {"items", add_items},
                             {"background text", count_file}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static void open_world(world *w) {
  static const char facts[] =
      "{\"id\": \"a\", \"wordings\": [{\"prompt\": \"who\", \"answer\": \"me\"}]}\n";
  static const char items[] = "{\"id\": \"t\", \"text\": \"some text\"}\n";
  smft_patch *lora = NULL;
  ck_ok(smft_ctx_create(&w->ctx, NULL));
  mkdir(test_file("f"), 0700);
  smft_model *made = tiny_model(w->ctx, "m", (tiny){.beside = 1}, 3);
  ck_ok(smft_model_export(made, NULL, test_file("f/model"), NULL));
  smft_model_free(made);
  ck_ok(smft_model_load(&w->model, w->ctx, test_file("f/model"), NULL));
  w->patch = tiny_taught(w->ctx, w->model);
  ck_ok(smft_patch_save(w->patch, test_file("f/patch"), 0));
  ck_ok(smft_patch_create(&lora, w->model, SMFT_PATCH_LORA));
  ck_ok(smft_patch_save(lora, test_file("f/lora"), 0));
  smft_patch_free(lora);
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, NULL, NULL, NULL));
  test_write("f/facts.jsonl", facts, sizeof facts - 1);
  test_write("f/items.jsonl", items, sizeof items - 1);
  test_write("f/text", "some text\nand more\n", 19);
}

static void close_world(world *w) {
  smft_learner_free(w->learner);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static int lowest_free(void) {
  int fd = dup(0);
  close(fd);
  return fd;
}

static void check_failure(const kind *k, smft_status status, long at) {
  const char *message = smft_error_message();
  int expected = error == ENOMEM ? SMFT_E_NOMEM : SMFT_E_IO;
  ck_assert_msg(status == SMFT_E_IO || status == (smft_status)expected, "%s, call %ld: %s (%s)",
                k->name, at, smft_status_name(status), message);
  ck_assert_msg(strstr(message, "f/") != NULL, "%s, call %ld: names no file: %s", k->name, at,
                message);
}

static void try_each(world *w, const kind *k) {
  int reached = 1, fd = lowest_free();
  for (long at = 1; reached; at++) {
    calls = 0, fail_at = at;
    smft_status status = k->load(w);
    fail_at = 0;
    reached = calls >= at;
    if (reached)
      check_failure(k, status, at);
    else
      ck_assert_msg(status == SMFT_OK, "%s: %s", k->name, smft_error_message());
    ck_assert_int_eq(lowest_free(), fd);
    ck_ok(k->load(w));
    ck_assert_msg(reached || at > 3, "%s: only %ld calls were seen", k->name, at - 1);
  }
}

/* Each says EIO, no memory, and, of reads, that the file ends sooner than it said. */
START_TEST(a_call_fails) {
  static const int errors[] = {EIO, ENOMEM, 0};
  world w = {NULL, NULL, NULL, NULL};
  open_world(&w);
  for (int i = 0; i < 3; i++) {
    error = errors[i];
    try_each(&w, &kinds[_i]);
  }
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("reads");
  TCase *tests = tcase_create("reads");
  test_directory_in_memory();
  test_directory_make();
  tcase_add_loop_test(tests, a_call_fails, 0, N_KINDS);
  suite_add_tcase(suite, tests);
  return suite;
}
