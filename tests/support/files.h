/* files: a temporary directory for a test program (gone when it ends), whole files written and
 * read, and locales made on the spot. */
#ifndef SMFT_TEST_FILES_H
#define SMFT_TEST_FILES_H
#include "test.h"
#include <dirent.h>
#include <locale.h>
#include <sys/stat.h>

static char test_directory_path[256];
static pid_t test_directory_owner;

static inline void test_directory_remove(void) {
  char command[512];
  if (getpid() != test_directory_owner) /* libcheck's children end with exit() too */
    return;
  snprintf(command, sizeof command, "rm -rf '%s'", test_directory_path);
  if (system(command) != 0)
    printf("left behind: %s\n", test_directory_path);
}
/* Before it is made, where many files are replaced: on a disk each waits for it. */
static inline void test_directory_in_memory(void) {
  if (access("/dev/shm", W_OK) == 0)
    setenv("TMPDIR", "/dev/shm", 0);
}
/* Call in make_suite, so that all tests of the program share it. */
static inline void test_directory_make(void) {
  const char *parent = getenv("TMPDIR");
  snprintf(test_directory_path, sizeof test_directory_path, "%s/smft-test-XXXXXX",
           parent ? parent : "/tmp");
  if (!mkdtemp(test_directory_path)) {
    printf("no temporary directory: %s\n", test_directory_path);
    exit(1);
  }
  test_directory_owner = getpid();
  atexit(test_directory_remove);
}
static inline const char *test_file(const char *name) {
  static char full[8][1024];
  static int next = 0;
  next = (next + 1) % 8;
  snprintf(full[next], sizeof full[next], "%s/%s", test_directory_path, name);
  return full[next];
}
static inline const char *test_write(const char *name, const void *data, size_t size) {
  const char *path = test_file(name);
  FILE *file = fopen(path, "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(data, 1, size, file), size);
  ck_assert_int_eq(fclose(file), 0);
  return path;
}
/* NUL-terminated; to be freed. */
static inline char *test_read(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  ck_assert_ptr_nonnull(file);
  char *data = NULL;
  size_t used = 0, got;
  do {
    data = realloc(data, used + 65536 + 1);
    ck_assert_ptr_nonnull(data);
    got = fread(data + used, 1, 65536, file);
    used += got;
  } while (got > 0);
  fclose(file);
  data[used] = '\0';
  if (size)
    *size = used;
  return data;
}
/* How many entries a directory has: temporaries left behind show. */
static inline int test_count_files(const char *directory) {
  DIR *handle = opendir(directory);
  int n = 0;
  ck_assert_ptr_nonnull(handle);
  for (struct dirent *one = readdir(handle); one; one = readdir(handle))
    n += strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0;
  closedir(handle);
  return n;
}
/* Switches this process to de_DE, ps_AF, ...; 0 (and a line that says so) where it cannot be made.
 */
static inline int test_locale(const char *name) {
  char command[1024];
  snprintf(command, sizeof command, "localedef -i %s -f UTF-8 '%s/%s.UTF-8' >/dev/null 2>&1", name,
           test_directory_path, name);
  int made = system(command); /* warnings give 1, with the locale made all the same */
  setenv("LOCPATH", test_directory_path, 1);
  snprintf(command, sizeof command, "%s.UTF-8", name);
  if (setlocale(LC_ALL, command))
    return 1;
  printf("SKIPPED IN PART: locale %s could not be made (localedef gave %d)\n", name, made);
  return 0;
}
#endif
