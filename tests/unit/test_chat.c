/* Chat templates: where they are found, which one counts, and what is refused. */
#include "base/clock.h"
#include "data/tokenizer/parts.h"
#include "support/test.h"
#include <sys/stat.h>

static smft_ctx *ctx;
static smft_tokenizer *tokenizer;
static int64_t at_first;
static char directory[64];

static const char *path_of(const char *name) {
  static char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void write_file(const char *name, const char *text) {
  FILE *file = fopen(path_of(name), "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(text, 1, strlen(text), file), strlen(text));
  fclose(file);
}

/* Single letters, the signs of ChatML, and a special token that is looked for in normalized text */
static const char tokenizer_json[] =
    "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"s\":3,"
    "\"<\":4,\"|\":5,\"\\n\":6,\"S\":7,\"!\":8},\"merges\":[]},\"added_tokens\":["
    "{\"id\":9,\"content\":\"<|im_start|>\",\"special\":true,\"normalized\":false},"
    "{\"id\":10,\"content\":\"<|im_end|>\",\"special\":true,\"normalized\":false},"
    "{\"id\":11,\"content\":\"SS\",\"special\":true,\"normalized\":true}]%s}";

static void write_tokenizer(const char *more) {
  char text[2048];
  snprintf(text, sizeof text, tokenizer_json, more);
  write_file("tokenizer.json", text);
}

static void setup(void) {
  strcpy(directory, "/tmp/smft_chat_XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(directory));
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft_ctx_memory(ctx, &at_first, NULL));
  write_tokenizer("");
}

static void teardown(void) {
  int64_t now = -1;
  smft_tokenizer_free(tokenizer);
  tokenizer = NULL;
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  ck_assert_int_eq(now, at_first);
  smft_ctx_free(ctx);
  remove(path_of("tokenizer.json"));
  remove(path_of("tokenizer_config.json"));
  remove(path_of("chat_template.jinja"));
  rmdir(directory);
}

#define CHATML                                                                                     \
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "  \
  "+ "                                                                                             \
  "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' " \
  "}}{% endif %}"
#define CONFIG(more)                                                                               \
  "{\"model_max_length\":1000000000000000019884624838656,\"bos_token\":\"<s>\",\"eos_token\":{"    \
  "\"content\":\"</s>\"}" more "}"

static smft_chat_info load(const char *name) {
  smft_chat_info info = SMFT_CHAT_INFO_INIT;
  smft_tokenizer_free(tokenizer);
  tokenizer = NULL;
  ck_ok(smft_tokenizer_load(&tokenizer, ctx, name ? path_of(name) : directory));
  ck_ok(smft_tokenizer_chat_info(tokenizer, &info));
  return info;
}

START_TEST(no_template) {
  smft_chat_info info = load("tokenizer.json");
  ck_assert_ptr_null(info.template_text);
  ck_assert_ptr_null(info.renderer);
  ck_assert_str_eq(info.hash, "");
  write_file("tokenizer_config.json", CONFIG(""));
  info = load(NULL);
  ck_assert_ptr_null(info.template_text);
  ck_assert_str_eq(info.bos, "<s>");
  ck_assert_str_eq(info.eos, "</s>");
}
END_TEST

/* The file beside tokenizer.json counts more than the config, as in transformers; its last newline
 * is Jinja's to drop. */
START_TEST(which_counts) {
  write_file("tokenizer_config.json", CONFIG(",\"chat_template\":\"{{ 1 }}\""));
  smft_chat_info info = load("tokenizer.json");
  ck_assert_str_eq(info.template_text, "{{ 1 }}");
  ck_assert_ptr_null(info.renderer);
  ck_assert_uint_eq(strlen(info.hash), 64);
  write_file("chat_template.jinja", CHATML "\n");
  info = load("tokenizer.json");
  ck_assert_str_eq(info.template_text, CHATML "\n");
  ck_assert_str_eq(info.renderer, "chatml");
  ck_assert_int_eq(info.thinks, 0);
  write_file("chat_template.jinja", CHATML "\n\n"); /* two: another text */
  ck_assert_ptr_null(load(NULL).renderer);
}
END_TEST

START_TEST(named_templates) {
  write_file("tokenizer_config.json",
             CONFIG(",\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
                    "{\"name\":\"default\",\"template\":\"y\"}]"));
  ck_assert_str_eq(load(NULL).template_text, "y");
  write_file("tokenizer_config.json",
             CONFIG(",\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]"));
  ck_assert_ptr_null(load(NULL).template_text);
  write_file("tokenizer_config.json", "[]");
  smft_tokenizer_free(tokenizer);
  ck_status(smft_tokenizer_load(&tokenizer, ctx, directory), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "tokenizer_config.json"));
  write_file("tokenizer_config.json", "{}");
  write_file("chat_template.jinja", "\xff");
  ck_status(smft_tokenizer_load(&tokenizer, ctx, directory), SMFT_E_ENCODING);
  write_file("chat_template.jinja", "");
  ck_assert_str_eq(load(NULL).template_text, "");
}
END_TEST

/* ---- refusals ------------------------------------------------------------------ */

static smft_status chat(const char *renderer, const smft_message *messages, int64_t n) {
  smft_chat_options options = SMFT_CHAT_OPTIONS_INIT;
  int64_t n_ids = 0;
  options.renderer = renderer;
  return smft_tokenizer_chat(tokenizer, messages, n, &options, NULL, 0, &n_ids);
}

static void expect(smft_status got, smft_status wanted, const char *words) {
  ck_assert_int_eq(got, wanted);
  ck_assert_msg(strstr(smft_error_message(), words), "%s", smft_error_message());
}

START_TEST(without_renderer) {
  smft_message message = {"user", "a"};
  load("tokenizer.json");
  expect(chat(NULL, &message, 1), SMFT_E_NOT_FOUND, "no chat template");
  expect(chat("latin", &message, 1), SMFT_E_NOT_FOUND, "smollm2, ");
  ck_ok(chat("chatml", &message, 1));
  write_file("chat_template.jinja", "{{ 1 }}");
  smft_chat_info info = load(NULL);
  expect(chat(NULL, &message, 1), SMFT_E_UNSUPPORTED, info.hash);
  ck_ok(chat("llama3.2", &message, 1)); /* with today's date */
}
END_TEST

START_TEST(roles) {
  smft_message tool[] = {{"user", "a"}, {"tool", "b"}};
  load("tokenizer.json");
  ck_ok(chat("chatml", tool, 2)); /* any role is a turn there */
  expect(chat("qwen2.5", tool, 2), SMFT_E_UNSUPPORTED, "no role \"tool\"");
  expect(chat("llama3.1", tool, 2), SMFT_E_UNSUPPORTED, "no role \"tool\"");
  expect(chat("mistral-nemo", tool, 2), SMFT_E_INVALID, "Only user and assistant roles");
  expect(chat("gemma2", (smft_message[]){{"system", "a"}}, 1), SMFT_E_INVALID,
         "message 0: System role not supported");
}
END_TEST

START_TEST(bad_text) {
  smft_message message = {"user", "\xff"};
  load("tokenizer.json");
  ck_status(chat("chatml", &message, 1), SMFT_E_ENCODING);
}
END_TEST

START_TEST(buffers) {
  smft_message message = {"user", "ab"};
  smft_chat_options options = SMFT_CHAT_OPTIONS_INIT;
  int32_t ids[16];
  int64_t n = 0;
  load("tokenizer.json");
  options.renderer = "chatml";
  ck_ok(smft_tokenizer_chat(tokenizer, &message, 1, &options, NULL, 0, &n));
  ck_assert_int_gt(n, 4);
  ck_status(smft_tokenizer_chat(tokenizer, &message, 1, &options, ids, 1, &n), SMFT_E_BUFFER);
  ck_ok(smft_tokenizer_chat(tokenizer, &message, 1, &options, ids, 16, &n));
  ck_assert_int_eq(ids[0], 9);
  ck_status(smft_tokenizer_chat(tokenizer, &message, 0, &options, ids, 16, &n), SMFT_E_INVALID);
  options.flags = 64;
  ck_status(smft_tokenizer_chat(tokenizer, &message, 1, &options, ids, 16, &n), SMFT_E_INVALID);
  options.flags = 0;
  options.date = 20261301;
  ck_status(smft_tokenizer_chat(tokenizer, &message, 1, &options, ids, 16, &n), SMFT_E_INVALID);
}
END_TEST

/* ---- what users wrote stays text ------------------------------------------------- */

static int64_t count(const char *content, uint32_t flags, int32_t id) {
  smft_message message = {"S", content};
  smft_chat_options options = SMFT_CHAT_OPTIONS_INIT;
  int32_t ids[64];
  int64_t n = 0, times = 0;
  options.renderer = "chatml";
  options.flags = flags;
  ck_ok(smft_tokenizer_chat(tokenizer, &message, 1, &options, ids, 64, &n));
  for (int64_t i = 0; i < n; i++)
    times += ids[i] == id;
  return times;
}

START_TEST(spelled_out) {
  load("tokenizer.json");
  ck_assert_int_eq(count("<|im_end|>", 0, 10), 1);
  ck_assert_int_eq(count("<|im_end|>", SMFT_CHAT_PARSE, 10), 2);
  ck_assert_int_eq(count("aSSb", 0, 11), 0);
  ck_assert_int_eq(count("aSSb", SMFT_CHAT_PARSE, 11), 1);
}
END_TEST

/* Behind a normalizer a place in the text is not known any more, so the text is refused. */
START_TEST(spelled_out_behind_a_normalizer) {
  smft_message message = {"S", "aSSb"};
  write_tokenizer(",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"!\"},"
                  "\"content\":\"\"}");
  load("tokenizer.json");
  ck_assert_int_eq(count("<|im_end|>", 0, 10), 1);
  expect(chat("chatml", &message, 1), SMFT_E_UNSUPPORTED, "special token 11");
  message.content = "aS!Sb";
  expect(chat("chatml", &message, 1), SMFT_E_UNSUPPORTED, "special token 11");
  ck_assert_int_eq(count("aS!Sb", SMFT_CHAT_PARSE, 11), 1);
  message.content = "aSab";
  ck_ok(chat("chatml", &message, 1));
}
END_TEST

START_TEST(today) {
  int32_t day = smft__today();
  ck_assert_int_gt(day, 20200101);
  ck_assert(day / 100 % 100 >= 1 && day / 100 % 100 <= 12 && day % 100 >= 1 && day % 100 <= 31);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("chat");
  TCase *cases = tcase_create("chat");
  tcase_add_checked_fixture(cases, setup, teardown);
  tcase_add_test(cases, no_template);
  tcase_add_test(cases, which_counts);
  tcase_add_test(cases, named_templates);
  tcase_add_test(cases, without_renderer);
  tcase_add_test(cases, roles);
  tcase_add_test(cases, bad_text);
  tcase_add_test(cases, buffers);
  tcase_add_test(cases, spelled_out);
  tcase_add_test(cases, spelled_out_behind_a_normalizer);
  tcase_add_test(cases, today);
  suite_add_tcase(suite, cases);
  return suite;
}
