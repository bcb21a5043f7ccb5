/* file: reading what is there and naming what is not, replacing a file whole or not at all (full
 * disk included), links and permissions. */
#include "base/file.h"
#include "base/alloc.h"
#include "failing.h"
#include "files.h"
#include "fixture.h"
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

START_TEST(whole_files_are_read) {
  char data[10000];
  smft__file file = {0};
  smft__file_close(&file);
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (char)(i * 31);
  const char *path = test_write("whole", data, sizeof data);
  ck_ok(smft__file_open(&file, ctx, path, _i));
  ck_assert_int_eq(file.size, sizeof data);
  ck_assert_mem_eq(file.data, data, sizeof data);
  ck_assert_int_eq(file.mapped, !_i);
  smft__file_close(&file);
  smft__file_close(&file);
  path = test_write("empty", "", 0);
  ck_ok(smft__file_open(&file, ctx, path, _i));
  ck_assert_int_eq(file.size, 0);
  smft__file_close(&file);
}
END_TEST

/* A hint about how it will be read changes no byte, and is none of what is not in the file. */
START_TEST(hints_change_nothing) {
  static char data[40000];
  smft__file file = {0};
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (char)(i * 31);
  ck_ok(smft__file_open(&file, ctx, test_write("hinted", data, sizeof data), _i));
  for (int how = SMFT__READ_IN_ORDER; how <= SMFT__READ_ROWS; how++) {
    smft__file_expect(&file, file.data, file.size, how);
    smft__file_expect(&file, file.data + 100, 200, how); /* no whole page */
    smft__file_expect(&file, file.data, file.size + 1, how);
    smft__file_expect(&file, data, sizeof data, how);
    ck_assert_mem_eq(file.data, data, sizeof data);
  }
  smft__file_close(&file);
}
END_TEST

START_TEST(what_is_no_file_is_named) {
  smft__file file;
  ck_status(smft__file_open(&file, ctx, test_file("missing"), 0), SMFT_E_NOT_FOUND);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "missing"));
  ck_status(smft__file_open(&file, ctx, test_file("whole.txt/x"), 0), SMFT_E_NOT_FOUND);
  ck_status(smft__file_open(&file, ctx, test_directory_path, 0), SMFT_E_IO);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "directory"));
  ck_status(smft__file_open(&file, ctx, "/dev/zero", 1), SMFT_E_IO);
  const char *fifo = test_file("fifo");
  ck_assert_int_eq(mkfifo(fifo, 0600), 0);
  ck_status(smft__file_open(&file, ctx, fifo, 0), SMFT_E_IO); /* and does not hang */
  ck_assert(!smft__file_exists(test_file("missing")));
  ck_assert(smft__file_exists(fifo));
  unlink(fifo);
}
END_TEST

START_TEST(paths_and_directories) {
  char *path = smft__path_join(ctx, "a/b", "c");
  ck_assert_str_eq(path, "a/b/c");
  smft__free(ctx, path);
  path = smft__path_join(ctx, "a/", "c");
  ck_assert_str_eq(path, "a/c");
  smft__free(ctx, path);
  path = smft__path_join(ctx, "", "c");
  ck_assert_str_eq(path, "c");
  smft__free(ctx, path);
  ck_ok(smft__make_directory(test_file("new")));
  ck_ok(smft__make_directory(test_file("new")));
  test_write("plain", "x", 1);
  ck_status(smft__make_directory(test_file("plain")), SMFT_E_IO);
  ck_status(smft__make_directory(test_file("no/such")), SMFT_E_NOT_FOUND);
}
END_TEST

static smft_status replace(const char *path, const char *text) {
  smft__writer writer;
  SMFT__TRY(smft__writer_open(&writer, ctx, path));
  smft_status status = smft__writer_write(&writer, text, (int64_t)strlen(text));
  if (status == SMFT_OK)
    status = smft__writer_commit(&writer);
  smft__writer_abandon(&writer);
  return status;
}

static void expect_text(const char *path, const char *text) {
  char *found = test_read(path, NULL);
  ck_assert_str_eq(found, text);
  free(found);
}

START_TEST(files_are_replaced_whole) {
  smft__writer writer = {0};
  smft__writer_abandon(&writer);
  ck_ok(smft__make_directory(test_file("replace")));
  const char *path = test_file("replace/file");
  ck_ok(replace(path, "first"));
  expect_text(path, "first");
  ck_ok(smft__writer_open(&writer, ctx, path));
  ck_ok(smft__writer_write(&writer, "second", 6));
  expect_text(path, "first");
  ck_assert_int_eq(test_count_files(test_file("replace")), 2);
  smft__writer_abandon(&writer);
  smft__writer_abandon(&writer);
  ck_assert_int_eq(test_count_files(test_file("replace")), 1);
  ck_ok(replace(path, "third"));
  expect_text(path, "third");
  ck_assert_int_eq(test_count_files(test_file("replace")), 1);
}
END_TEST

START_TEST(permissions_and_links_stay) {
  struct stat facts;
  mode_t mask = umask(027);
  const char *path = test_file("mode"), *link = test_file("link");
  ck_ok(replace(path, "new"));
  ck_assert_int_eq(stat(path, &facts), 0);
  ck_assert_int_eq(facts.st_mode & 0777, 0640);
  ck_assert_int_eq(chmod(path, 0604), 0);
  ck_assert_int_eq(symlink(path, link), 0);
  ck_ok(replace(link, "through the link"));
  expect_text(path, "through the link");
  ck_assert_int_eq(lstat(link, &facts), 0);
  ck_assert(S_ISLNK(facts.st_mode));
  ck_assert_int_eq(stat(path, &facts), 0);
  ck_assert_int_eq(facts.st_mode & 0777, 0604);
  umask(mask);
}
END_TEST

START_TEST(targets_that_are_no_files_are_refused) {
  ck_status(replace(test_directory_path, "x"), SMFT_E_IO);
  ck_status(replace("/dev/null", "x"), SMFT_E_IO);
  ck_status(replace(test_file("no/such/directory"), "x"), SMFT_E_NOT_FOUND);
  char longest[5000];
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  ck_status(replace(longest, "x"), SMFT_E_IO);
}
END_TEST

/* A limit on file size stands for a full disk: write() fails half-way, with another errno. */
START_TEST(full_disk_leaves_the_old_file) {
  ck_ok(smft__make_directory(test_file("full")));
  const char *path = test_file("full/file");
  ck_ok(replace(path, "precious"));
  char *large = malloc(100001);
  memset(large, 'x', 100000);
  large[100000] = '\0';
  struct rlimit limit, before;
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &before);
  limit = before;
  limit.rlim_cur = 40000;
  setrlimit(RLIMIT_FSIZE, &limit);
  smft_status status = replace(path, large);
  setrlimit(RLIMIT_FSIZE, &before);
  ck_assert_int_eq(status, SMFT_E_IO);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "full/file"));
  expect_text(path, "precious");
  ck_assert_int_eq(test_count_files(test_file("full")), 1);
  free(large);
}
END_TEST

START_TEST(each_failing_allocation_is_survived) {
  smft_ctx *plain = ctx;
  const char *path = test_file("allocations");
  for (long long k = 1;; k++) {
    failing host = {0};
    ctx = failing_ctx(&host, 1);
    host.fail_at = host.calls + k;
    smft_status status = replace(path, "x");
    smft__file file;
    if (status == SMFT_OK)
      status = smft__file_open(&file, ctx, path, 1);
    if (status == SMFT_OK)
      smft__file_close(&file);
    smft_ctx_free(ctx);
    ck_assert_int_eq(host.live, 0);
    if (status == SMFT_OK)
      break;
    ck_assert_int_eq(status, SMFT_E_NOMEM);
    ck_assert_int_lt(k, 20);
  }
  ctx = plain;
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("file");
  TCase *tests = tcase_create("file");
  test_directory_make();
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, whole_files_are_read, 0, 2);
  tcase_add_loop_test(tests, hints_change_nothing, 0, 2);
  tcase_add_test(tests, what_is_no_file_is_named);
  tcase_add_test(tests, paths_and_directories);
  tcase_add_test(tests, files_are_replaced_whole);
  tcase_add_test(tests, permissions_and_links_stay);
  tcase_add_test(tests, targets_that_are_no_files_are_refused);
  tcase_add_test(tests, full_disk_leaves_the_old_file);
  tcase_add_test(tests, each_failing_allocation_is_survived);
  suite_add_tcase(suite, tests);
  return suite;
}
