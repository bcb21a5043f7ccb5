/* hash: SHA-256 against published vectors and any cut of the input; the table hash spreads.  rng:
 * the same numbers everywhere. */
#include "base/hash.h"
#include "base/rng.h"
#include "test.h"

static void hex_of(const char *data, size_t size, size_t piece, char hex[65]) {
  smft__sha256 hash;
  smft__sha256_start(&hash);
  for (size_t at = 0; at < size; at += piece)
    smft__sha256_add(&hash, data + at, size - at < piece ? size - at : piece);
  smft__sha256_hex(&hash, hex);
}

START_TEST(sha256_vectors) {
  static const struct {
    const char *text, *hex;
  } vectors[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmn"
       "opqrsmnopqrstnopqrstu",
       "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
  };
  char hex[65];
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    hex_of(vectors[i].text, strlen(vectors[i].text), 1000, hex);
    ck_assert_str_eq(hex, vectors[i].hex);
  }
  char *million = malloc(1000000);
  memset(million, 'a', 1000000);
  hex_of(million, 1000000, 999, hex);
  ck_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  free(million);
}
END_TEST

START_TEST(sha256_any_cut_any_length) {
  char data[300], whole[65], cut[65];
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (char)(i * 7);
  for (size_t size = 0; size < sizeof data; size++) {
    hex_of(data, size, 1000, whole);
    for (size_t piece = 1; piece < 130; piece += 9) {
      hex_of(data, size, piece, cut);
      ck_assert_str_eq(whole, cut);
    }
  }
}
END_TEST

/* The vectors above go through what the processor has; the plain C must say the same. */
START_TEST(sha256_plain_c) {
  unsigned char blocks[64 * 9];
  uint32_t plain[8], x86[8];
  smft__rng rng;
  smft__rng_seed(&rng, 5);
  for (size_t n = 0; n <= 9; n++) {
    for (size_t i = 0; i < sizeof blocks; i++)
      blocks[i] = (unsigned char)smft__rng_next(&rng);
    for (int i = 0; i < 8; i++)
      plain[i] = x86[i] = (uint32_t)smft__rng_next(&rng);
    smft__sha256_blocks_plain(plain, blocks, n);
    if (smft__sha256_has_x86())
      smft__sha256_blocks_x86(x86, blocks, n);
    else
      printf("SKIPPED IN PART: this processor has no instructions for SHA-256\n");
    ck_assert(!smft__sha256_has_x86() || memcmp(plain, x86, sizeof plain) == 0);
  }
}
END_TEST

START_TEST(table_hash_spreads) {
  int counts[64] = {0};
  for (int i = 0; i < 64000; i++) {
    char key[32];
    int length = snprintf(key, sizeof key, "key%d", i);
    counts[smft__hash_bytes(key, (size_t)length) % 64]++;
  }
  for (int i = 0; i < 64; i++)
    ck_assert(counts[i] > 850 && counts[i] < 1150);
  ck_assert_uint_ne(smft__hash_bytes("a\0", 2), smft__hash_bytes("a", 1));
  ck_assert_uint_ne(smft__hash_bytes("", 0), smft__hash_bytes("\0", 1));
}
END_TEST

/* Numbers of xoshiro256** seeded by splitmix64(1) from an independent implementation (Python). */
START_TEST(rng_is_the_published_one) {
  static const uint64_t expected[4] = {0xb3f2af6d0fc710c5ull, 0x853b559647364ceaull,
                                       0x92f89756082a4514ull, 0x642e1c7bc266a3a7ull};
  smft__rng rng;
  smft__rng_seed(&rng, 1);
  for (int i = 0; i < 4; i++)
    ck_assert_uint_eq(smft__rng_next(&rng), expected[i]);
}
END_TEST

START_TEST(rng_distributions) {
  smft__rng rng;
  smft__rng_seed(&rng, 7);
  double sum = 0, squares = 0, fourth = 0, low = 1, high = 0, uniform = 0;
  int n = 200000, counts[7] = {0};
  for (int i = 0; i < n; i++) {
    double x = smft__rng_normal(&rng), u = smft__rng_uniform(&rng);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    uniform += u;
    low = u < low ? u : low;
    high = u > high ? u : high;
    counts[smft__rng_below(&rng, 7)]++;
  }
  ck_assert_double_lt(fabs(sum / n), 0.01);
  ck_assert_double_lt(fabs(squares / n - 1), 0.015);
  ck_assert_double_lt(fabs(fourth / n - 3), 0.1);
  ck_assert_double_lt(fabs(uniform / n - 0.5), 0.004);
  ck_assert(low >= 0 && low < 1e-4 && high < 1 && high > 0.9999);
  for (int i = 0; i < 7; i++)
    ck_assert(abs(counts[i] - n / 7) < n / 100);
  ck_assert_int_eq(smft__rng_below(&rng, 1), 0);
  ck_assert_int_eq(smft__rng_below(&rng, 0), 0);
  for (int i = 0; i < 1000; i++) {
    int64_t x = smft__rng_below(&rng, INT64_MAX);
    ck_assert(x >= 0 && x < INT64_MAX);
  }
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("hash");
  TCase *tests = tcase_create("hash");
  tcase_add_test(tests, sha256_vectors);
  tcase_add_test(tests, sha256_any_cut_any_length);
  tcase_add_test(tests, sha256_plain_c);
  tcase_add_test(tests, table_hash_spreads);
  tcase_add_test(tests, rng_is_the_published_one);
  tcase_add_test(tests, rng_distributions);
  suite_add_tcase(suite, tests);
  return suite;
}
