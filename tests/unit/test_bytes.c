/* bytes: little-endian, every UTF-8 rule, numbers that read back the same in any locale, the
 * growing buffer. */
#include "base/bytes.h"
#include "failing.h"
#include "files.h"

START_TEST(little_endian) {
  unsigned char bytes[9] = {0xFF, 1, 2, 3, 4, 5, 6, 7, 8};
  ck_assert_uint_eq(smft__read_u64le(bytes + 1), 0x0807060504030201ull);
  smft__write_u64le(bytes + 1, 0xF1F2F3F4F5F6F7F8ull);
  ck_assert_uint_eq(smft__read_u64le(bytes + 1), 0xF1F2F3F4F5F6F7F8ull);
  ck_assert_uint_eq(bytes[0], 0xFF);
  ck_assert_uint_eq(bytes[1], 0xF8);
}
END_TEST

START_TEST(every_code_point_there_and_back) {
  for (uint32_t code = 0; code < 0x110400; code++) {
    char text[4];
    uint32_t back = 0;
    int32_t n = smft__utf8_put(code, text);
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      ck_assert_int_eq(n, 0);
      continue;
    }
    if (smft__utf8_next(text, (size_t)n, &back) != n || back != code ||
        smft__utf8_next(text, (size_t)n - 1, &back) != 0)
      ck_abort_msg("U+%X", code);
  }
}
END_TEST

START_TEST(bad_utf8_is_refused_where_it_is) {
  static const struct {
    const char *text;
    size_t bad_at;
  } bad[] = {{"ab\x80", 2},
             {"\xC0\x80", 0},
             {"\xC1\xBF", 0},
             {"\xE0\x9F\xBF", 0},
             {"x\xED\xA0\x80", 1},
             {"\xF0\x8F\xBF\xBF", 0},
             {"\xF4\x90\x80\x80", 0},
             {"\xF5\x80\x80\x80", 0},
             {"\xC3\xA9\xE2\x82", 2},
             {"\xE2\x28\xA1", 0},
             {"\xFF", 0},
             {"ok\xFE", 2}};
  size_t at = 99;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    ck_assert(!smft__utf8_valid(bad[i].text, strlen(bad[i].text), &at));
    ck_assert_uint_eq(at, bad[i].bad_at);
  }
  ck_assert(smft__utf8_valid("", 0, &at));
  ck_assert(smft__utf8_valid("a\0\xC3\xA9", 4, &at));
  ck_assert_int_eq(smft__utf8_next("", 0, NULL), 0);
}
END_TEST

static void check_numbers(void) {
  static const struct {
    double value;
    const char *text;
  } numbers[] = {{0.1, "0.1"},
                 {0, "0"},
                 {-1.5, "-1.5"},
                 {1e300, "1e+300"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {123456789, "123456789"},
                 {1e-5, "1e-05"},
                 {0.95, "0.95"},
                 {5e-324, "4.94066e-324"},
                 {-1.7976931348623157e308, "-1.7976931348623157e+308"},
                 {NAN, "nan"},
                 {INFINITY, "inf"},
                 {-INFINITY, "-inf"}};
  char buffer[40];
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    ck_assert_str_eq(smft__format_double(numbers[i].value, buffer), numbers[i].text);
}

START_TEST(numbers_as_text) { check_numbers(); }
END_TEST

START_TEST(numbers_under_a_comma_locale) {
  char probe[40];
  if (!test_locale(_i ? "ps_AF" : "de_DE"))
    return;
  snprintf(probe, sizeof probe, "%g", 0.5);
  ck_assert_str_ne(probe, "0.5"); /* the locale is really on; ps_AF's separator has two bytes */
  check_numbers();
}
END_TEST

START_TEST(buffer_grows_and_fails_cleanly) {
  failing host = {0};
  smft_ctx *ctx = failing_ctx(&host, 1);
  smft__buffer buffer = {ctx, NULL, 0, 0};
  ck_ok(smft__buffer_put(&buffer, "", 0));
  ck_assert_str_eq(buffer.data, "");
  for (int i = 0; i < 1000; i++)
    ck_ok(smft__buffer_printf(&buffer, "%d,", i));
  ck_assert_int_eq(buffer.length, 10 * 2 + 90 * 3 + 900 * 4);
  ck_assert_uint_eq(strlen(buffer.data), (size_t)buffer.length);
  int64_t length = buffer.length;
  host.fail_at = host.calls + 1;
  char *large = calloc(1, 100000);
  ck_status(smft__buffer_put(&buffer, large, 100000), SMFT_E_NOMEM);
  ck_assert_int_eq(buffer.length, length);
  ck_ok(smft__buffer_put(&buffer, "end", 3));
  ck_assert_str_eq(buffer.data + length, "end");
  free(large);
  smft__buffer_free(&buffer);
  smft__buffer_free(&buffer);
  smft_ctx_free(ctx);
  ck_assert_int_eq(host.live, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("bytes");
  TCase *tests = tcase_create("bytes");
  test_directory_make();
  tcase_add_test(tests, little_endian);
  tcase_add_test(tests, every_code_point_there_and_back);
  tcase_add_test(tests, bad_utf8_is_refused_where_it_is);
  tcase_add_test(tests, numbers_as_text);
  tcase_add_loop_test(tests, numbers_under_a_comma_locale, 0, 2);
  tcase_add_test(tests, buffer_grows_and_fails_cleanly);
  suite_add_tcase(suite, tests);
  return suite;
}
