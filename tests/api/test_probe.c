/* probe: what it measures is what the session says, changes are against the baseline, and nothing
 * half-measured is ever kept. The model is made here: random weights, a byte-level tokenizer of 256
 * bytes and two special tokens. */
#include "test.h"
#include <sys/stat.h>

#define VOCAB 258
#define CONTEXT 48
#define BOS 256

static char directory[256], scratch[512];
static smft_ctx *ctx;
static smft_model *model;
static smft_patch *patch;
static smft_session *session;
static smft_probe *probe;

/* ---- a tiny model -------------------------------------------------------- */

static const char *in_directory(const char *name) {
  static char path[4][512];
  static int next = 0;
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
  return path[next];
}

static const char *write_file(const char *name, const char *text) {
  const char *path = in_directory(name);
  FILE *file = fopen(path, "wb");
  ck_assert(file && fwrite(text, 1, strlen(text), file) == strlen(text) && fclose(file) == 0);
  return path;
}

/* GPT-2's printable stand-ins: what is not printable ASCII or Latin-1 moves up to 256 and on. */
static int stand_in(int byte) {
  int moved = 0;
  for (int i = 0; i <= byte; i++) {
    int printable = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || (i >= 174 && i <= 255);
    if (i == byte)
      return printable ? i : 256 + moved;
    moved += !printable;
  }
  return 0;
}

static void write_tokenizer(void) {
  static char text[16384];
  char *at = text;
  at += sprintf(at, "{\"version\":\"1.0\",\"added_tokens\":[");
  for (int i = 0; i < 2; i++)
    at += sprintf(at,
                  "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                  "\"rstrip\":false,\"normalized\":false,"
                  "\"special\":true}",
                  i ? "," : "", BOS + i, i ? "<eos>" : "<bos>");
  at += sprintf(
      at, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
          "false,\"trim_offsets\":true,"
          "\"use_regex\":true},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{"
          "\"SpecialToken\":"
          "{\"id\":\"<bos>\",\"type_id\":0}},"
          "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\","
          "\"type_id\":0}}],"
          "\"special_tokens\":{\"<bos>\":{\"id\":\"<bos>\",\"ids\":[256],\"tokens\":[\"<bos>\"]}}},"
          "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
          "\"use_regex\":true},"
          "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_"
          "prefix\":null,"
          "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"merges\":[],\"vocab\":{");
  for (int i = 0; i < 256; i++)
    at += sprintf(at, "\"\\u%04x\":%d,", stand_in(i), i);
  sprintf(at, "\"<bos>\":256,\"<eos>\":257}}}");
  write_file("tokenizer.json", text);
}

static void make_model(void) {
  snprintf(directory, sizeof directory, "%s/smft-probe-XXXXXX",
           getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
  ck_assert(mkdtemp(directory) != NULL);
  write_tokenizer();
  write_file("config.json", "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":2,"
                            "\"num_attention_heads\":2,\"num_key_value_heads\":1,"
                            "\"intermediate_size\":32,\"vocab_size\":258,\"rms_norm_eps\":1e-5,"
                            "\"rope_theta\":10000.0,\"hidden_act\":\"silu\","
                            "\"max_position_embeddings\":48,\"tie_word_embeddings\":false,\"bos_"
                            "token_id\":256,\"eos_token_id\":257,"
                            "\"memory\":{\"layers\":[1],\"pools\":[0],\"placement\":\"replace\","
                            "\"n_keys\":8,\"heads\":2,\"top_k\":4,\"key_dim\":8,"
                            "\"value_dim\":16,\"query_norm\":\"layernorm\",\"key_norm\":\"none\","
                            "\"temperature\":1.0,\"gate\":true,\"bias\":false,"
                            "\"norm_eps\":1e-5}}");
}

static void setup(void) {
  make_model();
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft_model_init(&model, ctx, directory, 7));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_probe_create(&probe, ctx, NULL));
}

static void teardown(void) {
  smft_probe_free(probe);
  smft_session_free(session);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
  for (int i = 0; i < 4; i++)
    remove(in_directory(
        (const char *[]){"tokenizer.json", "config.json", "items.jsonl", "report.json"}[i]));
  rmdir(directory);
}

/* Changes every row: the model says something else from here on. */
static void disturb(float size) {
  float row[16];
  for (int64_t slot = 0; slot < 64; slot++) {
    for (int i = 0; i < 16; i++)
      row[i] = size * (float)((slot * 31 + i * 17) % 13 - 6);
    ck_ok(smft_patch_set_row(patch, 0, slot, row, 16));
  }
}

/* What the probe should generate. */
static const char *generated(const char *prompt) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  options.max_tokens = 32;
  options.stop = "\n";
  ck_ok(smft_session_generate(session, prompt, strlen(prompt), &options, &text, NULL));
  snprintf(scratch, sizeof scratch, "%s", text);
  return scratch;
}

static smft_probe_report measure(void) {
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  ck_ok(smft_probe_measure(probe, session, NULL, NULL, &report));
  ck_assert_int_eq(smft_session_length(session), 0);
  return report;
}

static smft_probe_item item(int64_t index) {
  smft_probe_item one = SMFT_PROBE_ITEM_INIT;
  ck_ok(smft_probe_get_item(probe, index, &one));
  return one;
}

static int64_t encode(const char *text, uint32_t flags, int32_t *ids) {
  int64_t n = 0;
  ck_ok(
      smft_tokenizer_encode(smft_model_tokenizer(model), text, strlen(text), flags, ids, 1024, &n));
  return n;
}

/* ---- questions ----------------------------------------------------------- */

START_TEST(questions_are_lost_and_gained) {
  const char *answer = strcpy((char[512]){0}, generated("Who?")), *never[] = {"zzz zzz zzz"};
  disturb(3);
  const char *later = strcpy((char[512]){0}, generated("What?"));
  double f1 = 0;
  ck_ok(smft_score_answer(generated("Who?"), &answer, 1, NULL, &f1));
  ck_assert(f1 < 0.5); /* the seed is such that the disturbed model answers otherwise */
  ck_ok(smft_patch_clear(patch));
  ck_ok(smft_score_answer(generated("What?"), &later, 1, NULL, &f1));
  ck_assert(f1 < 0.5);

  ck_ok(smft_probe_add_question(probe, "who", "Who?", (const char *[]){"no", answer}, 2));
  ck_ok(smft_probe_add_question(probe, "what", "What?", &later, 1));
  ck_ok(smft_probe_add_question(probe, "never", "When?", never, 1));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_assert_str_eq(item(0).text, answer);
  ck_assert(item(0).before == 1 && item(0).after == 1 && !item(0).lost && !item(0).gained);

  disturb(3);
  smft_probe_report report = measure();
  ck_assert_int_eq(report.n_questions, 3);
  ck_assert_int_eq(report.lost, 1);
  ck_assert_int_eq(report.gained, 1);
  ck_assert(item(0).lost && !item(0).gained && item(1).gained && !item(1).lost && !item(2).lost &&
            !item(2).gained);
  ck_assert_str_eq(item(0).id, "who");
  ck_assert_int_eq(item(0).kind, SMFT_PROBE_QUESTION);
  ck_assert(fabs(report.f1 - (item(0).after + item(1).after + item(2).after) / 3) < 1e-12);
  ck_assert(fabs(report.f1_before - (item(0).before + item(1).before + item(2).before) / 3) <
            1e-12);
  ck_assert(fabs(report.f1_change - 100 * (report.f1 - report.f1_before) / report.f1_before) <
            1e-9);
  ck_assert(report.exact_match <= report.f1 && report.exact_match_before <= report.f1_before);
  ck_assert(report.exact_match == 1.0 / 3 && report.exact_match_before == 1.0 / 3 &&
            report.seconds > 0);

  ck_ok(smft_patch_clear(patch)); /* the patch away: everything as it was */
  report = measure();
  ck_assert(report.f1 == report.f1_before && report.f1_change == 0 && report.lost == 0 &&
            report.gained == 0);
}
END_TEST

/* ---- texts --------------------------------------------------------------- */

/* KL(base || patched) summed over the positions of ids, in double. */
static double kl_of(const int32_t *ids, int64_t n) {
  static float p[CONTEXT * VOCAB], q[CONTEXT * VOCAB];
  double kl = 0;
  smft_session *base = NULL;
  ck_ok(smft_session_create(&base, model, NULL, NULL));
  ck_ok(smft_session_feed(base, ids, n, SMFT_LOGITS_ALL, p, CONTEXT * VOCAB));
  ck_ok(smft_session_rewind(session, 0));
  ck_ok(smft_session_feed(session, ids, n, SMFT_LOGITS_ALL, q, CONTEXT * VOCAB));
  ck_ok(smft_session_rewind(session, 0));
  for (int64_t i = 0; i < n; i++) {
    double zp = 0, zq = 0;
    for (int64_t v = 0; v < VOCAB; v++) {
      zp += exp((double)p[i * VOCAB + v]);
      zq += exp((double)q[i * VOCAB + v]);
    }
    for (int64_t v = 0; v < VOCAB; v++) {
      double lp = (double)p[i * VOCAB + v] - log(zp), lq = (double)q[i * VOCAB + v] - log(zq);
      kl += exp(lp) * (lp - lq);
    }
  }
  smft_session_free(base);
  return kl;
}

START_TEST(texts_are_the_sessions_nll_and_kl) {
  int32_t a[1024], b[1024];
  int64_t n_a = encode("Emma, by Jane Austen", SMFT_ENCODE_SPECIAL, a);
  int64_t n_b = encode("One <eos>.", SMFT_ENCODE_SPECIAL | SMFT_ENCODE_NO_PARSE, b);
  double nll_a = 0, nll_b = 0;
  ck_ok(smft_probe_add_text(probe, "a", "Emma, by Jane Austen"));
  ck_ok(smft_probe_add_text(probe, "b", "One <eos>."));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_ok(smft_session_nll(session, a, n_a, NULL, &nll_a));
  ck_ok(smft_session_nll(session, b, n_b, NULL, &nll_b));
  ck_assert(fabs(item(0).before - nll_a) < 1e-5 && fabs(item(1).before - nll_b) < 1e-5);
  smft_probe_report report = measure();
  /* an empty patch is the base, bit for bit */
  ck_assert(report.kl == 0 && report.nll == report.nll_before && report.nll_change == 0);

  disturb(1);
  report = measure();
  double kl = (kl_of(a, n_a - 1) + kl_of(b, n_b - 1)) / (double)(n_a + n_b - 2);
  ck_assert_msg(fabs(report.kl - kl) < 1e-5 * kl && kl > 1e-3, "kl %g, wanted %g", report.kl, kl);
  ck_ok(smft_session_nll(session, a, n_a, NULL, &nll_a));
  ck_ok(smft_session_nll(session, b, n_b, NULL, &nll_b));
  /* by token, not by text */
  double nll = (nll_a * (double)(n_a - 1) + nll_b * (double)(n_b - 1)) / (double)(n_a + n_b - 2);
  ck_assert(fabs(report.nll - nll) < 1e-5 && report.lost == 0 && report.gained == 0);
  ck_assert(fabs(report.nll_change - 100 * (report.nll - report.nll_before) / report.nll_before) <
            1e-9);
  ck_assert(strcmp(item(0).text, "") == 0 && item(0).kind == SMFT_PROBE_TEXT);
}
END_TEST

/* each starts with begin-of-text, each token is predicted once */
START_TEST(long_texts_go_in_windows) {
  char text[131];
  int32_t ids[1024], window[CONTEXT + 1];
  for (int i = 0; i < 130; i++)
    text[i] = (char)('a' + i * i % 23);
  text[130] = 0;
  int64_t n = encode(text, SMFT_ENCODE_SPECIAL, ids), tokens = 0;
  double sum = 0;
  static float logits[CONTEXT * VOCAB];
  ck_assert_int_eq(n, 131);
  for (int64_t begin = 0; begin + 1 < n; begin += CONTEXT) {
    int64_t m = n - 1 - begin < CONTEXT ? n - 1 - begin : CONTEXT;
    memcpy(window, ids + begin, (size_t)(m + 1) * sizeof *ids);
    window[0] = BOS;
    ck_ok(smft_session_rewind(session, 0));
    ck_ok(smft_session_feed(session, window, m, SMFT_LOGITS_ALL, logits, CONTEXT * VOCAB));
    for (int64_t i = 0; i < m; i++, tokens++) {
      double z = 0;
      for (int64_t v = 0; v < VOCAB; v++)
        z += exp((double)logits[i * VOCAB + v]);
      sum += log(z) - (double)logits[i * VOCAB + window[i + 1]];
    }
  }
  ck_assert_int_eq(tokens, 130);
  ck_ok(smft_probe_add_text(probe, "long", text));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_assert_msg(fabs(item(0).before - sum / 130) < 1e-5, "%g, wanted %g", item(0).before,
                sum / 130);
}
END_TEST

/* ---- choices ------------------------------------------------------------- */

static double ending_nll(const char *prompt, const char *ending) {
  int32_t ids[2048];
  float nll[1024];
  double sum = 0;
  int64_t n = encode(prompt, SMFT_ENCODE_SPECIAL, ids);
  int64_t m = encode(ending, SMFT_ENCODE_CONTINUE, ids + n);
  ck_ok(smft_session_nll(session, ids, n + m, nll, NULL));
  for (int64_t i = n - 1; i < n + m - 1; i++)
    sum += (double)nll[i];
  return sum / (double)m;
}

static const char *const words[] = {"a",
                                    "is",
                                    "sings",
                                    "was born",
                                    "in a town",
                                    "of old",
                                    "x",
                                    "zoo",
                                    "quick brown foxes",
                                    "1",
                                    "22",
                                    "1914",
                                    "the",
                                    "q",
                                    "by",
                                    "under the sea",
                                    "e",
                                    "o",
                                    "no",
                                    "yes"};

/* Two endings of which another is the likelier when they begin with a space after "Paris", or stand
 * without one after `prompt`. */
static int find_pair_that_the_space_decides(const char *prompt, const char *pair[2]) {
  const int64_t n = sizeof words / sizeof *words;
  double moved[32], left[32];
  char spaced[64];
  for (int64_t i = 0; i < n; i++) {
    snprintf(spaced, sizeof spaced, " %s", words[i]);
    moved[i] = ending_nll("Paris", spaced);
    left[i] = ending_nll(prompt, words[i]);
  }
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      if (moved[i] < moved[j] - 1e-3 && left[i] > left[j] + 1e-3) {
        pair[0] = words[i];
        pair[1] = words[j];
        return 1;
      }
  return 0;
}

START_TEST(a_space_at_the_prompts_end_belongs_to_the_endings) {
  const char *pair[2] = {NULL, NULL};
  ck_assert(find_pair_that_the_space_decides("Paris ", pair));
  ck_ok(smft_probe_add_choice(probe, "space", "Paris ", pair, 2, 0));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_assert(item(0).before == 1);
}
END_TEST

/* As a wording's prompt and answer; an ending with its own space, and all in an exact probe, as
 * they stand. */
START_TEST(endings_are_joined_as_running_text) {
  const char *pair[2] = {NULL, NULL};
  char spaced[64];
  ck_assert(find_pair_that_the_space_decides("Paris", pair));
  snprintf(spaced, sizeof spaced, " %s", pair[0]);
  smft_probe_options options = SMFT_PROBE_OPTIONS_INIT;
  options.flags = _i ? SMFT_PROBE_EXACT : 0;
  smft_probe_free(probe);
  ck_ok(smft_probe_create(&probe, ctx, &options));
  ck_ok(smft_probe_add_choice(probe, "joined", "Paris", pair, 2, 0));
  ck_ok(smft_probe_add_choice(probe, "same", "Paris", (const char *[]){spaced, pair[0]}, 2, 0));
  ck_ok(smft_probe_add_choice(probe, "same", "Paris", (const char *[]){pair[0], spaced}, 2, 0));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_assert(item(0).before == (_i ? 0 : 1));
  ck_assert(item(1).before + item(2).before == (_i ? 1 : 2)); /* equals: the first wins */
}
END_TEST

START_TEST(choices_take_the_likeliest_ending) {
  static const char *const endings[] = {" is a city", " sings", " was born in a small town"};
  double best = INFINITY;
  int64_t likeliest = 0;
  for (int64_t i = 0; i < 3; i++) {
    double nll = ending_nll("Paris", endings[i]);
    likeliest = nll < best ? i : likeliest;
    best = nll < best ? nll : best;
  }
  for (int64_t i = 0; i < 3; i++)
    ck_ok(smft_probe_add_choice(probe, "paris", "Paris", endings, 3, i));
  ck_ok(smft_probe_add_choice(probe, "equal", "Paris", (const char *[]){" same", " same"}, 2, 0));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  for (int64_t i = 0; i < 3; i++)
    ck_assert(item(i).before == (i == likeliest));
  ck_assert(item(3).before == 1 && item(0).kind == SMFT_PROBE_CHOICE);
  smft_probe_report report = measure();
  ck_assert(report.n_choices == 4 && fabs(report.accuracy - 2.0 / 4) < 1e-12 &&
            report.accuracy_change == 0);
}
END_TEST

/* ---- states and failures ------------------------------------------------- */

START_TEST(baseline_comes_first) {
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  ck_status(smft_probe_baseline(probe, session, NULL, NULL), SMFT_E_STATE); /* no items */
  ck_ok(smft_probe_add_text(probe, "a", "some text"));
  ck_status(smft_probe_measure(probe, session, NULL, NULL, &report), SMFT_E_STATE);
  ck_status(smft_probe_save_report(probe, in_directory("report.json")), SMFT_E_STATE);
  ck_assert(item(0).before == 0 && item(0).after == 0);
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_ok(smft_probe_measure(probe, session, NULL, NULL, NULL));
  ck_ok(smft_probe_add_text(probe, "b", "another text"));
  ck_status(smft_probe_measure(probe, session, NULL, NULL, &report), SMFT_E_STATE);
  ck_assert(strstr(smft_error_message(), "1 of 2") != NULL);
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_assert_int_eq(measure().n_texts, 2);
}
END_TEST

typedef struct watch {
  int64_t calls, cancel_at;
  char stages[256];
} watch;

static int32_t on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  watch *seen = user;
  ck_assert(done == seen->calls && total == 3);
  const char *one[] = {"x"};
  /* not while measuring */
  ck_status(smft_probe_add_question(probe, "x", "x", one, 1), SMFT_E_STATE);
  strcat(strcat(seen->stages, stage), " ");
  return seen->calls++ == seen->cancel_at;
}

START_TEST(cancelled_and_failed_measurements_keep_the_old_values) {
  static const char *const endings[] = {" a", " b"}, *answers[] = {"x"};
  ck_ok(smft_probe_add_question(probe, "q", "Who?", answers, 1));
  ck_ok(smft_probe_add_text(probe, "t", "some text"));
  ck_ok(smft_probe_add_choice(probe, "c", "Is it", endings, 2, 0));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  double before = item(1).before;
  disturb(1);
  for (int64_t at = 0; at <= 3; at++) {
    watch seen = {0, at, ""};
    smft_probe_report report = SMFT_PROBE_REPORT_INIT;
    report.nll = 5;
    ck_status(smft_probe_measure(probe, session, on_progress, &seen, &report), SMFT_E_CANCELLED);
    ck_assert(item(1).after == before && smft_session_length(session) == 0);
    ck_status(smft_probe_baseline(probe, session, on_progress, (seen.calls = 0, &seen)),
              SMFT_E_CANCELLED);
    ck_assert(item(1).before == before);
  }
  watch seen = {0, -1, ""};
  ck_ok(smft_probe_measure(probe, session, on_progress, &seen, NULL));
  ck_assert_str_eq(seen.stages, "questions texts choices done ");
  ck_assert(item(1).after != before && item(1).before == before);
}
END_TEST

START_TEST(an_item_that_cannot_be_measured_is_named) {
  char prompt[100];
  const char *answers[] = {"x"};
  memset(prompt, 'x', sizeof prompt);
  prompt[99] = 0;
  ck_ok(smft_probe_add_text(probe, "fine", "some text"));
  ck_ok(smft_probe_add_question(probe, "too long", prompt, answers, 1));
  ck_status(smft_probe_baseline(probe, session, NULL, NULL), SMFT_E_CONTEXT);
  ck_assert_msg(strstr(smft_error_message(), "\"too long\"") != NULL, "%s", smft_error_message());
  ck_assert(item(0).before == 0);
}
END_TEST

START_TEST(bad_arguments) {
  const char *one[] = {"x"}, *hole[] = {"x", NULL}, *two[] = {"x", "y"}, *empty[] = {"x", ""};
  smft_probe *none = probe;
  smft_probe_options options = SMFT_PROBE_OPTIONS_INIT;
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  smft_probe_item got = SMFT_PROBE_ITEM_INIT;
  ck_status(smft_probe_create(NULL, ctx, NULL), SMFT_E_INVALID);
  ck_status(smft_probe_create(&none, NULL, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(none);
  options.struct_size = 3;
  ck_status(smft_probe_create(&none, ctx, &options), SMFT_E_STRUCT_SIZE);
  options.struct_size = sizeof options;
  options.max_tokens = -1;
  ck_status(smft_probe_create(&none, ctx, &options), SMFT_E_INVALID);
  options.max_tokens = 0;
  options.lost_below = 0.8;
  ck_status(smft_probe_create(&none, ctx, &options), SMFT_E_INVALID); /* above gained_above */
  options.lost_below = NAN;
  ck_status(smft_probe_create(&none, ctx, &options), SMFT_E_INVALID);
  options.lost_below = 0;
  options.flags = 2;
  ck_status(smft_probe_create(&none, ctx, &options), SMFT_E_INVALID);
  options.flags = 0;
  options.reserved = 1;
  ck_status(smft_probe_create(&none, ctx, &options), SMFT_E_INVALID);
  ck_status(smft_probe_add_question(NULL, "a", "b", one, 1), SMFT_E_INVALID);
  ck_status(smft_probe_add_question(probe, NULL, "b", one, 1), SMFT_E_INVALID);
  ck_status(smft_probe_add_question(probe, "a", NULL, one, 1), SMFT_E_INVALID);
  ck_status(smft_probe_add_question(probe, "a", "b", NULL, 0), SMFT_E_INVALID);
  ck_status(smft_probe_add_question(probe, "a", "b", hole, 2), SMFT_E_INVALID);
  ck_status(smft_probe_add_question(probe, "a", "\xff", one, 1), SMFT_E_ENCODING);
  ck_status(smft_probe_add_text(probe, "a", ""), SMFT_E_INVALID);
  ck_status(smft_probe_add_choice(probe, "a", "b", one, 1, 0), SMFT_E_INVALID);
  ck_status(smft_probe_add_choice(probe, "a", "b", two, 2, 2), SMFT_E_INVALID);
  ck_status(smft_probe_add_choice(probe, "a", "b", empty, 2, 0), SMFT_E_INVALID);
  ck_status(smft_probe_get_item(probe, 0, &got), SMFT_E_NOT_FOUND);
  ck_ok(smft_probe_add_text(probe, "a", "some text"));
  ck_status(smft_probe_get_item(probe, 0, NULL), SMFT_E_INVALID);
  got.struct_size = 1;
  ck_status(smft_probe_get_item(probe, 0, &got), SMFT_E_STRUCT_SIZE);
  ck_status(smft_probe_baseline(probe, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  report.struct_size = 1;
  ck_status(smft_probe_measure(probe, session, NULL, NULL, &report), SMFT_E_STRUCT_SIZE);
  ck_status(smft_probe_measure(probe, NULL, NULL, NULL, NULL), SMFT_E_INVALID);
  smft_probe_free(NULL);
}
END_TEST

/* ---- files --------------------------------------------------------------- */

START_TEST(items_come_from_jsonl_all_or_none) {
  int64_t n = -1;
  const char *good = "{\"id\":\"q\",\"question\":\"Who?\",\"answers\":[\"x\",\"y\"]}\n\n{\"id\":"
                     "\"t\",\"text\":\"some text\"}\n"
                     "{\"id\":\"c\",\"prompt\":\"Is it\",\"endings\":[\" a\",\" "
                     "b\"],\"correct\":1,\"more\":null}\n";
  static const struct {
    const char *line;
    smft_status status;
  } bad[] = {
      {"{\"id\":\"q\"", SMFT_E_FORMAT},
      {"{\"id\":\"q\"}", SMFT_E_FORMAT},
      {"[]", SMFT_E_FORMAT},
      {"{\"text\":\"no id\"}", SMFT_E_FORMAT},
      {"{\"id\":7,\"text\":\"x\"}", SMFT_E_FORMAT},
      {"{\"id\":\"q\",\"text\":\"x\",\"question\":\"y\",\"answers\":[\"z\"]}", SMFT_E_FORMAT},
      {"{\"id\":\"q\",\"question\":\"y\"}", SMFT_E_FORMAT},
      {"{\"id\":\"q\",\"question\":\"y\",\"answers\":[]}", SMFT_E_FORMAT},
      {"{\"id\":\"q\",\"question\":\"y\",\"answers\":[1]}", SMFT_E_FORMAT},
      {"{\"id\":\"q\",\"prompt\":\"y\",\"endings\":[\"a\",\"b\"]}", SMFT_E_FORMAT},
      {"{\"id\":\"q\",\"prompt\":\"y\",\"endings\":[\"a\",\"b\"],\"correct\":2}", SMFT_E_FORMAT},
  };
  ck_ok(smft_probe_add_file(probe, write_file("items.jsonl", good), &n));
  ck_assert_int_eq(n, 3);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s\n", good, bad[i].line);
    ck_status(smft_probe_add_file(probe, write_file("items.jsonl", text), &n), bad[i].status);
    ck_assert_msg(strstr(smft_error_message(), "items.jsonl:5:") != NULL, "%s",
                  smft_error_message());
    smft_probe_item got = SMFT_PROBE_ITEM_INIT;
    ck_status(smft_probe_get_item(probe, 3, &got), SMFT_E_NOT_FOUND);
  }
  ck_status(smft_probe_add_file(probe, in_directory("nothing.jsonl"), &n), SMFT_E_NOT_FOUND);
  ck_assert(item(0).kind == SMFT_PROBE_QUESTION && item(1).kind == SMFT_PROBE_TEXT &&
            item(2).kind == SMFT_PROBE_CHOICE);
}
END_TEST

START_TEST(the_report_is_json) {
  static char text[8192];
  const char *answers[] = {"x"};
  ck_ok(smft_probe_add_question(probe, "say \"q\"\n", "Who?", answers, 1));
  ck_ok(smft_probe_add_text(probe, "t", "some text"));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  /* the baseline counts as a measurement */
  ck_ok(smft_probe_save_report(probe, in_directory("report.json")));
  disturb(1);
  measure();
  ck_ok(smft_probe_save_report(probe, in_directory("report.json")));
  FILE *file = fopen(in_directory("report.json"), "rb");
  ck_assert_ptr_nonnull(file);
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  static const char *const wanted[] = {"\"say \\\"q\\\"\\n\"", "\"kind\": \"question\"",
                                       "\"kind\": \"text\"",   "\"nll_before\": ",
                                       "\"lost\": 0",          "\"kl\": 0."};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
    ck_assert_msg(strstr(text, wanted[i]) != NULL, "%s is not in %s", wanted[i], text);
  ck_status(smft_probe_save_report(probe, "/nowhere/at/all/report.json"), SMFT_E_NOT_FOUND);
}
END_TEST

/* ---- allocation failure -------------------------------------------------- */

static int64_t allocations_left;
static void *failing_alloc(void *user, size_t size) {
  (void)user;
  return allocations_left-- > 0 ? malloc(size) : NULL;
}
static void *failing_realloc(void *user, void *old, size_t size) {
  (void)user;
  return allocations_left-- > 0 ? realloc(old, size) : NULL;
}
static void plain_free(void *user, void *pointer) {
  (void)user;
  free(pointer);
}

static smft_status add_three(smft_probe *to) {
  static const char *const endings[] = {" a", " b"};
  smft_status status = smft_probe_add_question(to, "q", "Who?", endings, 2);
  if (status == SMFT_OK)
    status = smft_probe_add_text(to, "t", "some text");
  return status == SMFT_OK ? smft_probe_add_choice(to, "c", "Is it", endings, 2, 0) : status;
}

START_TEST(out_of_memory_anywhere_is_an_error_and_loses_nothing) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *poor = NULL;
  int64_t failures = 0;
  options.n_threads = 1;
  options.alloc = failing_alloc;
  options.realloc = failing_realloc;
  options.free = plain_free;
  allocations_left = INT64_MAX;
  ck_ok(smft_ctx_create(&poor, &options));
  int64_t held = 0, now = 0;
  ck_ok(smft_ctx_memory(poor, &held, NULL));
  for (int64_t allowed = 0;; allowed++) {
    smft_probe *small = NULL;
    allocations_left = allowed;
    smft_status status = smft_probe_create(&small, poor, NULL);
    if (status == SMFT_OK)
      status = add_three(small);
    if (status == SMFT_OK)
      status = smft_probe_baseline(small, session, NULL, NULL);
    if (status == SMFT_OK)
      status = smft_probe_measure(small, session, NULL, NULL, NULL);
    if (status == SMFT_OK)
      status = smft_probe_save_report(small, in_directory("report.json"));
    smft_probe_free(small);
    ck_ok(smft_ctx_memory(poor, &now, NULL));
    ck_assert_int_eq(now, held); /* nothing leaks */
    if (status == SMFT_OK)
      break;
    ck_assert_int_eq(status, SMFT_E_NOMEM);
    ck_assert(++failures < 1000);
  }
  ck_assert_int_gt(failures, 20);
  allocations_left = INT64_MAX;
  smft_ctx_free(poor);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("probe");
  TCase *tests = tcase_create("probe");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, questions_are_lost_and_gained);
  tcase_add_test(tests, texts_are_the_sessions_nll_and_kl);
  tcase_add_test(tests, long_texts_go_in_windows);
  tcase_add_test(tests, choices_take_the_likeliest_ending);
  tcase_add_test(tests, a_space_at_the_prompts_end_belongs_to_the_endings);
  tcase_add_loop_test(tests, endings_are_joined_as_running_text, 0, 2);
  tcase_add_test(tests, baseline_comes_first);
  tcase_add_test(tests, cancelled_and_failed_measurements_keep_the_old_values);
  tcase_add_test(tests, an_item_that_cannot_be_measured_is_named);
  tcase_add_test(tests, bad_arguments);
  tcase_add_test(tests, items_come_from_jsonl_all_or_none);
  tcase_add_test(tests, the_report_is_json);
  tcase_add_test(tests, out_of_memory_anywhere_is_an_error_and_loses_nothing);
  suite_add_tcase(suite, tests);
  return suite;
}
