/* json: positions in messages, strictness, typed getters, JSONL with line numbers, numbers in any
 * locale, writing. */
#include "data/json.h"
#include "base/bytes.h"
#include "files.h"

static smft_ctx *ctx;
static void set_up(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void tear_down(void) { smft_ctx_free(ctx); }

static json_t *parsed(const char *text) {
  json_t *value = NULL;
  ck_ok(smft__json_parse(&value, text, (int64_t)strlen(text), "text"));
  return value;
}

START_TEST(bad_text_is_refused_with_its_place) {
  static const struct {
    const char *text, *says;
    smft_status status;
  } bad[] = {
      {"", "line 1", SMFT_E_FORMAT},
      {"{\n \"a\": 1,\n \"b\": }", "line 3, column", SMFT_E_FORMAT},
      {"{\"a\": 1} x", "end of file expected", SMFT_E_FORMAT},
      {"{\"a\": 1, \"a\": 2}", "duplicate", SMFT_E_FORMAT},
      {"{\"a\": \"\xFF\"}", "0xff", SMFT_E_ENCODING},
      {"{\"a\": NaN}", "line 1", SMFT_E_FORMAT},
      {"{\"a\": 1e999}", "overflow", SMFT_E_FORMAT},
      {"{\"a\": 99999999999999999999}", "big", SMFT_E_FORMAT},
      {"{\"a\": \"x\\u0000y\"}", "NUL", SMFT_E_FORMAT},
      {"\"text\"", "expected", SMFT_E_FORMAT},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *value = (json_t *)&value;
    ck_status(smft__json_parse(&value, bad[i].text, (int64_t)strlen(bad[i].text), "source"),
              bad[i].status);
    ck_assert_ptr_null(value);
    ck_assert_msg(strstr(smft_error_message(), bad[i].says) &&
                      strstr(smft_error_message(), "source"),
                  "%s", smft_error_message());
  }
}
END_TEST

START_TEST(depth_is_bounded) {
  size_t depth = 1000000;
  char *text = malloc(depth);
  json_t *value = NULL;
  memset(text, '[', depth);
  ck_status(smft__json_parse(&value, text, (int64_t)depth, "deep"), SMFT_E_FORMAT);
  free(text);
}
END_TEST

START_TEST(getters_say_what_they_expected) {
  json_t *object = parsed("\xEF\xBB\xBF{\"i\": -7, \"d\": 2.5, \"b\": true, \"s\": \"text\", "
                          "\"n\": null, \"big\": 9223372036854775807}");
  int64_t i = 0;
  double d = 0;
  int b = 0;
  const char *s = NULL;
  ck_ok(smft__json_i64(object, "i", 1, &i, "config"));
  ck_assert_int_eq(i, -7);
  ck_ok(smft__json_i64(object, "big", 1, &i, "config"));
  ck_assert_int_eq(i, INT64_MAX);
  ck_ok(smft__json_i64(object, "none", 3, &i, "config"));
  ck_assert_int_eq(i, 3);
  ck_ok(smft__json_i64(object, "n", 4, &i, "config"));
  ck_assert_int_eq(i, 4);
  ck_status(smft__json_i64(object, "d", 4, &i, "config"), SMFT_E_FORMAT);
  ck_status(smft__json_i64(object, "s", 4, &i, "config"), SMFT_E_FORMAT);
  ck_assert_str_eq(smft_error_message(), "config: \"s\": expected an integer, got a string");
  ck_ok(smft__json_i64_required(object, "i", &i, "config"));
  ck_status(smft__json_i64_required(object, "none", &i, "config"), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "\"none\" is missing"));
  ck_status(smft__json_i64_required(object, "n", &i, "config"), SMFT_E_FORMAT);
  ck_ok(smft__json_double(object, "d", 0, &d, "config"));
  ck_assert(d == 2.5);
  ck_ok(smft__json_double(object, "i", 0, &d, "config"));
  ck_assert(d == -7);
  ck_ok(smft__json_double(object, "none", 0.25, &d, "config"));
  ck_assert(d == 0.25);
  ck_status(smft__json_double(object, "b", 0, &d, "config"), SMFT_E_FORMAT);
  ck_ok(smft__json_bool(object, "b", 0, &b, "config"));
  ck_assert_int_eq(b, 1);
  ck_status(smft__json_bool(object, "i", 0, &b, "config"), SMFT_E_FORMAT);
  ck_ok(smft__json_string(object, "s", NULL, &s, "config"));
  ck_assert_str_eq(s, "text");
  ck_ok(smft__json_string(object, "none", NULL, &s, "config"));
  ck_assert_ptr_null(s);
  ck_status(smft__json_string(object, "i", NULL, &s, "config"), SMFT_E_FORMAT);
  ck_status(smft__json_i64(NULL, "i", 0, &i, "config"), SMFT_E_FORMAT);
  ck_status(smft__json_i64(json_object_get(object, "i"), "i", 0, &i, "config"), SMFT_E_FORMAT);
  json_decref(object);
}
END_TEST

static void check_numbers(void) {
  static const struct {
    const char *text;
    double value;
  } numbers[] = {{"0.1", 0.1},
                 {"1e-05", 1e-05},
                 {"10000.0", 10000.0},
                 {"-2.5E3", -2500},
                 {"3.14159265358979311600e0", 3.141592653589793}};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    char text[64];
    double value = 0;
    snprintf(text, sizeof text, "{\"x\": %s}", numbers[i].text);
    json_t *object = parsed(text);
    ck_ok(smft__json_double(object, "x", 0, &value, "text"));
    ck_assert(value == numbers[i].value);
    smft__buffer buffer = {ctx, NULL, 0, 0};
    ck_ok(smft__json_put(&buffer, object, JSON_COMPACT));
    ck_assert_ptr_null(strchr(buffer.data, ','));
    json_t *back = parsed(buffer.data);
    ck_assert(json_equal(object, back));
    smft__buffer_free(&buffer);
    json_decref(back);
    json_decref(object);
  }
}

START_TEST(numbers) { check_numbers(); }
END_TEST

/* As a file has it: a real has no more digits than it needs, and stays a real. */
static void check_layout(void) {
  static const char text[] = "{\n  \"a\": [\n    1,\n    0.005,\n    1e-05,\n    10000.0,\n    "
                             "-1.0,\n    0.1234567890123456,\n    30.864197530864196\n  ],\n  "
                             "\"b\": {},\n  \"c\": [],\n  \"d\": {\n    \"e\": null,\n    "
                             "\"f\": true,\n    \"g\": false\n  },\n  \"h\": \"x\\\"y Ã©\"\n}";
  smft__buffer buffer = {ctx, NULL, 0, 0};
  json_t *object = parsed(text);
  ck_ok(smft__json_text(&buffer, object));
  ck_assert_str_eq(buffer.data, text);
  smft__buffer_free(&buffer);
  json_decref(object);
}

START_TEST(layout) { check_layout(); }
END_TEST

/* "0.1" read as 0 under a comma locale is what users of other libraries reported.  In ps_AF the
 * separator has two bytes. */
START_TEST(numbers_under_a_comma_locale) {
  char before[64], after[64];
  if (!test_locale(_i ? "ps_AF" : "de_DE"))
    return;
  snprintf(before, sizeof before, "%s %g", setlocale(LC_ALL, NULL), 0.5);
  ck_assert_ptr_null(strstr(before, "0.5"));
  check_numbers();
  check_layout();
  snprintf(after, sizeof after, "%s %g", setlocale(LC_ALL, NULL), 0.5);
  ck_assert_str_eq(before, after);
}
END_TEST

/* ---- JSONL --------------------------------------------------------------- */

typedef struct seen {
  int64_t lines[10], n, fail_at;
} seen;

static smft_status see(void *user, const json_t *object, int64_t line) {
  seen *all = user;
  (void)object;
  if (line == all->fail_at)
    return smft__fail(SMFT_E_FACT, "no answer");
  all->lines[all->n++] = line;
  return SMFT_OK;
}

START_TEST(jsonl_counts_lines) {
  static const char text[] = "\xEF\xBB\xBF{\"a\": 1}\r\n\n  \t\r\n{\"a\": 2}\n{\"a\": 3}";
  const char *path = test_write("lines.jsonl", text, sizeof text - 1);
  seen all = {0};
  ck_ok(smft__jsonl_read(ctx, path, see, &all));
  ck_assert(all.n == 3 && all.lines[0] == 1 && all.lines[1] == 4 && all.lines[2] == 5);
  seen stopped = {.fail_at = 4};
  ck_status(smft__jsonl_read(ctx, path, see, &stopped), SMFT_E_FACT);
  ck_assert_int_eq(stopped.n, 1);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "lines.jsonl:4: no answer"));
}
END_TEST

START_TEST(jsonl_errors_name_the_line) {
  static const struct {
    const char *text;
    size_t size;
    const char *says;
    smft_status status;
  } bad[] = {{"{}\n{\n{}", 7, ":2: ", SMFT_E_FORMAT},
             {"{}\n[1]", 6, ":2: expected an object", SMFT_E_FORMAT},
             {"{\"a\":\"\xC3\"}", 9, ":1: ", SMFT_E_ENCODING},
             {"{}\n\0\n", 5, ":2: ", SMFT_E_FORMAT},
             {"{}\n{} {}", 8, ":2: ", SMFT_E_FORMAT}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    seen all = {0};
    const char *path = test_write("bad.jsonl", bad[i].text, bad[i].size);
    ck_status(smft__jsonl_read(ctx, path, see, &all), bad[i].status);
    ck_assert_msg(strstr(smft_error_message(), "bad.jsonl") &&
                      strstr(smft_error_message(), bad[i].says),
                  "%s", smft_error_message());
  }
  seen all = {0};
  ck_ok(smft__jsonl_read(ctx, test_write("empty.jsonl", "", 0), see, &all));
  ck_status(smft__jsonl_read(ctx, test_file("missing.jsonl"), see, &all), SMFT_E_NOT_FOUND);
}
END_TEST

/* ---- writing ------------------------------------------------------------- */

START_TEST(strings_are_escaped) {
  char text[200] = "quote \" back \\ \xC3\xA9 \xF0\x9F\x98\x80 ";
  size_t length = strlen(text);
  for (char c = 1; c < 0x20; c++)
    text[length++] = c;
  smft__buffer buffer = {ctx, NULL, 0, 0};
  ck_ok(smft__buffer_put(&buffer, "[", 1));
  ck_ok(smft__json_put_string(&buffer, text));
  ck_ok(smft__buffer_put(&buffer, "]", 1));
  json_t *array = parsed(buffer.data);
  ck_assert_str_eq(json_string_value(json_array_get(array, 0)), text);
  json_decref(array);
  ck_status(smft__json_put_string(&buffer, "bad \xFF"), SMFT_E_ENCODING);
  smft__buffer_free(&buffer);
}
END_TEST

START_TEST(values_are_saved_and_opened) {
  json_t *value = parsed("{\"a\": [1, 2.5, \"x\"]}"), *back = NULL;
  const char *path = test_file("saved.json");
  ck_ok(smft__json_save(ctx, path, value));
  ck_ok(smft__json_open(&back, ctx, path));
  ck_assert(json_equal(value, back));
  json_decref(back);
  ck_status(smft__json_save(ctx, test_file("no/such.json"), value), SMFT_E_NOT_FOUND);
  json_decref(value);
  test_write("broken.json", "{", 1);
  ck_status(smft__json_open(&back, ctx, test_file("broken.json")), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "broken.json"));
  ck_assert_ptr_null(back);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("json");
  TCase *tests = tcase_create("json");
  test_directory_make();
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, bad_text_is_refused_with_its_place);
  tcase_add_test(tests, depth_is_bounded);
  tcase_add_test(tests, getters_say_what_they_expected);
  tcase_add_test(tests, numbers);
  tcase_add_test(tests, layout);
  tcase_add_loop_test(tests, numbers_under_a_comma_locale, 0, 2);
  tcase_add_test(tests, jsonl_counts_lines);
  tcase_add_test(tests, jsonl_errors_name_the_line);
  tcase_add_test(tests, strings_are_escaped);
  tcase_add_test(tests, values_are_saved_and_opened);
  suite_add_tcase(suite, tests);
  return suite;
}
