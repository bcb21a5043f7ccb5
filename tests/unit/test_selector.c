/* selector: scores of every rule against their formulas, the order with ties, what background
 * counts count, and their file. */
#include "test.h"
#include "tiny.h"
#include "data/safetensors.h"
#include "learn/selector.h"
#include "model/network.h"

static smft_ctx *ctx;
static smft_model *model; /* two memory layers on two pools of 256 slots */

static void open_model(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 2}, 3);
}

static void close_model(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* ---- ranking ------------------------------------------------------------- */

typedef struct fake { /* reads and df that a test makes up: slot i of each pool */
  smft__counts counts[2];
  uint32_t *df[2]; /* the selector's own */
} fake;

static int64_t reads_of(int p, int64_t slot) {
  return slot % 3 == 0 ? 0 : 1 + (slot * 7 + p * 3) % 5;
}

static smft_selector *make_fake(fake *f, int32_t rule, int64_t t, int64_t n_batches) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector;
  options.rule = rule;
  options.t = t;
  ck_ok(smft_selector_create(&selector, model, &options));
  smft__stats stats;
  ck_ok(smft__stats_create(&stats, ctx, model));
  stats.n_batches = n_batches;
  for (int p = 0; p < 2; p++) {
    smft__counts_init(&f->counts[p], ctx);
    f->df[p] = stats.df + 256 * p;
    for (int64_t slot = 0; slot < 256; slot++) {
      /* some are in every batch: score 0 */
      f->df[p][slot] = (uint32_t)((slot * 13 + p) % (n_batches + 1));
      for (int64_t r = 0; r < reads_of(p, slot); r++)
        ck_ok(smft__counts_add(&f->counts[p], &slot, 1));
    }
    ck_ok(smft__counts_finish(&f->counts[p]));
  }
  smft__selector_set(selector, &stats);
  return selector;
}

/* A weight for each read of a slot, in other proportions than the reads. */
static float weight_of(int p, int64_t slot) { return 0.1f + (float)((slot * 11 + p) % 7); }

static double naive_score(const fake *f, int32_t rule, int64_t n_batches, int p, int64_t slot) {
  double reads = 0, total = 0;
  for (int q = 0; q < 2; q++)
    for (int64_t s = 0; s < 256; s++) {
      reads += (double)reads_of(q, s);
      total += (double)f->df[q][s] + 1;
    }
  double share = (double)reads_of(p, slot) / reads, df = (double)f->df[p][slot];
  if (rule == SMFT_RULE_TFIDF)
    return share * log(((double)n_batches + 1) / (df + 1));
  if (rule == SMFT_RULE_KL)
    return reads_of(p, slot) ? share * log(share / ((df + 1) / total)) : 0;
  return share;
}

/* Everything, sorted the slow way. */
static int64_t naive_order(const fake *f, int32_t rule, int64_t n_batches, smft_selected *out) {
  int64_t n = 0;
  for (int p = 0; p < 2; p++)
    for (int64_t slot = 0; slot < 256; slot++) {
      double score = naive_score(f, rule, n_batches, p, slot);
      if (reads_of(p, slot) == 0 || !(score > 0))
        continue;
      int64_t i = n++;
      for (; i > 0 && out[i - 1].score < score;
           i--) /* an equal one that came before (lower pool, lower slot) stays before */
        out[i] = out[i - 1];
      out[i] = (smft_selected){slot, score, p, 0};
    }
  return n;
}

START_TEST(rules_rank_as_their_formulas) {
  int32_t rule = 1 + _i % 4;
  int64_t t = (int64_t[]){1, 5, 37, 100000}[_i / 4];
  static smft_selected wanted[512];
  fake f;
  open_model();
  smft_selector *selector = make_fake(&f, rule, t, 6);
  smft__selection selection = {ctx, NULL, 0, 0};
  ck_ok(smft__select(selector, f.counts, NULL, &selection));
  int64_t n = naive_order(&f, rule, 6, wanted);
  if (rule != SMFT_RULE_ALL && n > t)
    n = t;
  ck_assert_int_eq(selection.n, n);
  for (int64_t i = 0; i < n; i++) {
    ck_assert_int_eq(selection.list[i].pool, wanted[i].pool);
    ck_assert_int_eq(selection.list[i].slot, wanted[i].slot);
    ck_assert(fabs(selection.list[i].score - wanted[i].score) <= 1e-12);
  }
  smft__free(ctx, selection.list);
  smft__counts_free(&f.counts[0]);
  smft__counts_free(&f.counts[1]);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* What others read comes behind all else, in the order that it had: every rule. */
START_TEST(what_others_read_comes_last) {
  fake f;
  open_model();
  smft_selector *selector = make_fake(&f, 1 + _i, 100000, 6);
  smft__selection plain = {ctx, NULL, 0, 0}, selection = {ctx, NULL, 0, 0};
  smft__counts others[2];
  for (int p = 0; p < 2; p++) {
    smft__counts_init(&others[p], ctx);
    for (int64_t slot = p; slot < 256; slot += 3)
      ck_ok(smft__counts_add(&others[p], &slot, 1));
    ck_ok(smft__counts_finish(&others[p]));
  }
  ck_ok(smft__select(selector, f.counts, NULL, &plain));
  ck_ok(smft__select(selector, f.counts, &(smft__restraint){1, others}, &selection));
  ck_assert(plain.n > 50 && selection.n == plain.n);
  int64_t at = 0;
  for (int read = 0; read < 2; read++)
    for (int64_t i = 0; i < plain.n; i++) {
      const smft_selected *row = &plain.list[i];
      if ((row->slot % 3 == row->pool) != read)
        continue;
      ck_assert_int_eq(selection.list[at].pool, row->pool);
      ck_assert_int_eq(selection.list[at++].slot, row->slot);
    }
  ck_assert_int_eq(at, plain.n);
  smft__free(ctx, plain.list);
  smft__free(ctx, selection.list);
  for (int p = 0; p < 2; p++) {
    smft__counts_free(&f.counts[p]);
    smft__counts_free(&others[p]);
  }
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* By weights instead of counts, and without what is common: every rule. */
START_TEST(weights_and_common_rows) {
  int32_t rule = 1 + _i % 4;
  double max_df = _i / 4 ? 0.5 : -1;
  fake f;
  open_model();
  smft_selector *selector = make_fake(&f, rule, 100000, 6);
  selector->rank_by = SMFT_RANK_WEIGHTS;
  selector->max_df = max_df;
  smft__selection selection = {ctx, NULL, 0, 0};
  double all = 0;
  for (int p = 0; p < 2; p++) {
    ck_ok(smft__counts_weigh(&f.counts[p]));
    for (int64_t slot = 0; slot < 256; slot++)
      for (int64_t r = 0; r < reads_of(p, slot); r++) {
        float weight = weight_of(p, slot);
        smft__counts_add_weights(&f.counts[p], &slot, &weight, 1);
        all += (double)weight;
      }
  }
  ck_ok(smft__select(selector, f.counts, NULL, &selection));
  int64_t n = 0, common = 0;
  for (int p = 0; p < 2; p++)
    for (int64_t slot = 0; slot < 256; slot++) {
      double share = (double)weight_of(p, slot) * (double)reads_of(p, slot) / all, total = 0;
      double df = (double)f.df[p][slot];
      for (int q = 0; q < 2; q++)
        for (int64_t s = 0; s < 256; s++)
          total += (double)f.df[q][s] + 1;
      double wanted = rule == SMFT_RULE_TFIDF ? share * log(7 / (df + 1))
                      : rule == SMFT_RULE_KL
                          ? (share > 0 ? share * log(share / ((df + 1) / total)) : 0)
                          : share;
      int64_t i = 0;
      while (i < selection.n && (selection.list[i].pool != p || selection.list[i].slot != slot))
        i++;
      int is_common = max_df > 0 && df > 3;
      ck_assert_int_eq(i<selection.n, wanted> 0 && !is_common);
      ck_assert(i == selection.n || fabs(selection.list[i].score - wanted) <= 1e-9);
      n += i < selection.n;
      common += wanted > 0 && is_common;
    }
  ck_assert(n == selection.n && n > 10 && (max_df < 0 || common > 10));
  for (int64_t i = 1; i < n; i++)
    ck_assert(selection.list[i - 1].score >= selection.list[i].score);
  smft__free(ctx, selection.list);
  smft__counts_free(&f.counts[0]);
  smft__counts_free(&f.counts[1]);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* The control: t different slots that were read, the same for the same reads, others for other
 * reads, every slot's turn at some time. */
START_TEST(random_draws_among_the_slots_read) {
  int64_t drawn[256] = {0}, first[20];
  int same = 0;
  open_model();
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.rule = SMFT_RULE_RANDOM;
  options.t = 20;
  smft_selector *selector;
  ck_ok(smft_selector_create(&selector, model, &options));
  smft__selection selection = {ctx, NULL, 0, 0};
  for (int round = 0; round < 200; round++) {
    smft__counts counts[2];
    for (int p = 0; p < 2; p++)
      smft__counts_init(&counts[p], ctx);
    for (int64_t slot = 0; slot < 100; slot++)
      for (int64_t r = 0; r < 1 + (slot == round / 2); r++) /* two rounds each read the same */
        ck_ok(smft__counts_add(&counts[0], &slot, 1));
    for (int p = 0; p < 2; p++)
      ck_ok(smft__counts_finish(&counts[p]));
    ck_ok(smft__select(selector, counts, NULL, &selection));
    ck_assert_int_eq(selection.n, 20);
    for (int64_t i = 0; i < 20; i++) {
      ck_assert(selection.list[i].pool == 0 && selection.list[i].slot < 100);
      ck_assert(i == 0 || selection.list[i - 1].score > selection.list[i].score);
      drawn[selection.list[i].slot]++;
      same += round % 2 == 1 && selection.list[i].slot == first[i];
      first[i] = selection.list[i].slot;
    }
    for (int p = 0; p < 2; p++)
      smft__counts_free(&counts[p]);
  }
  ck_assert_int_eq(same, 100 * 20);
  for (int64_t slot = 0; slot < 100; slot++)
    ck_assert(drawn[slot] > 8 && drawn[slot] < 100); /* 40 expected */
  smft__free(ctx, selection.list);
  smft_selector_free(selector);
  close_model();
}
END_TEST

START_TEST(without_counts_tfidf_selects_nothing) {
  open_model();
  smft_selector *selector;
  smft__counts counts[2];
  smft__selection selection = {ctx, NULL, 0, 0};
  int64_t slots[] = {4, 4, 9}, n_batches = -1;
  uint32_t df[256];
  ck_ok(smft_selector_create(&selector, model, NULL));
  for (int p = 0; p < 2; p++) {
    smft__counts_init(&counts[p], ctx);
    ck_ok(smft__counts_add(&counts[p], slots, p ? 3 : 0));
    ck_ok(smft__counts_finish(&counts[p]));
  }
  ck_ok(smft__select(selector, counts, NULL, &selection));
  ck_assert_int_eq(selection.n, 0);
  ck_ok(smft_selector_df(selector, 1, df, 256, &n_batches));
  ck_assert(n_batches == 0 && df[4] == 0);
  smft__counts_free(&counts[0]);
  smft__counts_free(&counts[1]);
  smft__free(ctx, selection.list);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* ---- background ---------------------------------------------------------- */

static const char text[] = "the cat sat on the mat\nand another line of text follows\n\nx\nfive "
                           "crazy fish in a tank of water\r\nend";
/* of 10 tokens, <s> included: what the five lines give */
static const int text_pieces = 3 + 4 + 1 + 4 + 1;

static smft_selector *count_text(const smft_background *background) {
  smft_selector *selector;
  ck_ok(smft_selector_create(&selector, model, NULL));
  ck_ok(smft_selector_count_background(selector, background));
  return selector;
}

static double naive_square[2][256]; /* of the last: */

/* df by one forward pass a batch and a table of what was read. */
static void naive_df(const int32_t *ids, const int64_t *lengths, int64_t n, int64_t per_batch,
                     uint32_t df[2][256]) {
  smft__tape *tape;
  memset(df, 0, 2 * 256 * sizeof(uint32_t));
  memset(naive_square, 0, sizeof naive_square);
  ck_ok(smft__tape_create(&tape, model));
  for (int64_t s = 0; s < n; s += per_batch) {
    static char read[2][256];
    memset(read, 0, sizeof read);
    for (int64_t i = s; i < s + per_batch && i < n; i++) {
      int64_t offsets[2] = {0, lengths[i]}, n_reads;
      smft__sequences batch = {ids, offsets, 1, lengths[i], NULL};
      ck_ok(smft__network_forward(tape, NULL, &batch, 0, NULL, NULL));
      for (int32_t m = 0; m < 2; m++) {
        const int64_t *slots = smft__tape_slots(tape, m, &n_reads);
        const float *weights = smft__tape_weights(tape, m, &n_reads);
        for (int64_t r = 0; r < n_reads; r++) {
          read[model->config.memories[m].pool][slots[r]] = 1;
          naive_square[model->config.memories[m].pool][slots[r]] +=
              (double)weights[r] * (double)weights[r];
        }
      }
      ids += lengths[i];
    }
    for (int p = 0; p < 2; p++)
      for (int slot = 0; slot < 256; slot++)
        df[p][slot] += read[p][slot] ? 1u : 0u;
  }
  smft__tape_free(tape);
}

static int64_t text_ids(int32_t *ids, int64_t *lengths) { /* the pieces of 10 of `text` */
  int64_t n = 0, at = 0;
  for (const char *line = text; *line;) {
    size_t length = strcspn(line, "\r\n");
    int64_t in_piece = 0;
    for (size_t i = 0; length && i <= length; i++) {
      ids[at++] = i == 0 ? 0 : tiny_id(line[i - 1]);
      if (++in_piece == 10 || i == length) {
        lengths[n++] = in_piece;
        in_piece = 0;
      }
    }
    line += length;
    while (*line == '\r' || *line == '\n')
      line++;
  }
  return n;
}

static void check_df(const smft_selector *selector, uint32_t df[2][256], int64_t n_batches) {
  for (int32_t p = 0; p < 2; p++) {
    uint32_t got[256];
    int64_t n;
    ck_ok(smft_selector_df(selector, p, got, 256, &n));
    ck_assert_int_eq(n, n_batches);
    ck_assert(memcmp(got, df[p], sizeof got) == 0);
  }
}

/* The squared weights of as many passes over what naive_df saw last; no slot's mean differs from
 * the mean over the reads. */
static void check_squares(const smft_selector *selector, double passes, int64_t n_tokens) {
  double sum = 0;
  for (int p = 0; p < 2; p++)
    for (int slot = 0; slot < 256; slot++) {
      double wanted = passes * naive_square[p][slot];
      ck_assert_double_eq_tol((double)selector->stats.square[256 * p + slot], wanted,
                              1e-6 * (1 + wanted));
      sum += wanted;
    }
  int64_t reads = n_tokens * 2 * model->config.memory.heads * model->config.memory.top_k;
  ck_assert_int_eq(selector->stats.n_reads, (int64_t)passes * reads);
  ck_assert_double_eq_tol(selector->mean_square, sum / (passes * (double)reads), 1e-6);
}

START_TEST(text_and_ids_count_alike) {
  int64_t per_batch = 1 + _i, lengths[64];
  int32_t ids[1024];
  uint32_t df[2][256];
  open_model();
  smft_background background = SMFT_BACKGROUND_INIT;
  background.text_path = test_write("text.txt", text, sizeof text - 1);
  background.tokens_per_sequence = 10;
  background.sequences_per_batch = per_batch;
  smft_selector *from_text = count_text(&background);
  int64_t n = text_ids(ids, lengths), n_batches = (n + per_batch - 1) / per_batch;
  ck_assert_int_eq(n, text_pieces);
  naive_df(ids, lengths, n, per_batch, df);
  check_df(from_text, df, n_batches);
  int64_t n_tokens = 0;
  for (int64_t i = 0; i < n; i++)
    n_tokens += lengths[i];
  check_squares(from_text, 1, n_tokens);
  background.text_path = NULL;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = n;
  smft_selector *from_ids = count_text(&background);
  check_df(from_ids, df, n_batches);
  ck_ok(smft_selector_count_background(from_ids, &background)); /* adds */
  for (int p = 0; p < 2; p++)
    for (int i = 0; i < 256; i++)
      df[p][i] *= 2;
  check_df(from_ids, df, 2 * n_batches);
  check_squares(from_ids, 2, n_tokens);
  background.max_batches = 2;
  smft_selector *few = count_text(&background);
  naive_df(ids, lengths, 2 * per_batch, per_batch, df);
  check_df(few, df, 2);
  smft_selector_free(few);
  smft_selector_free(from_ids);
  smft_selector_free(from_text);
  close_model();
}
END_TEST

/* The file's lines as texts; a text is one sequence whatever newlines it has. */
static const char *const lines[] = {"the cat sat on the mat",
                                    "and another line of text follows",
                                    "",
                                    "x",
                                    "five crazy fish in a tank of water",
                                    "end"};

START_TEST(texts_count_as_lines_do) {
  static const char *const two[] = {"one\ntwo\n", "\nx"};
  int32_t ids[] = {0,
                   tiny_id('o'),
                   tiny_id('n'),
                   tiny_id('e'),
                   2,
                   tiny_id('t'),
                   tiny_id('w'),
                   tiny_id('o'),
                   2,
                   0,
                   2,
                   tiny_id('x')};
  int64_t lengths[] = {9, 3};
  int32_t line_ids[1024];
  int64_t line_lengths[64];
  uint32_t df[2][256];
  open_model();
  smft_background background = SMFT_BACKGROUND_INIT;
  background.texts = lines;
  background.n_texts = sizeof lines / sizeof *lines;
  background.tokens_per_sequence = 10;
  smft_selector *selector = count_text(&background);
  int64_t n = text_ids(line_ids, line_lengths);
  naive_df(line_ids, line_lengths, n, 1, df);
  check_df(selector, df, n);
  smft_selector_free(selector);
  background.texts = two;
  background.n_texts = 2;
  selector = count_text(&background);
  naive_df(ids, lengths, 2, 1, df);
  check_df(selector, df, 2);
  ck_assert_str_eq(selector->stats.corpus, "texts");
  smft_selector_free(selector);
  close_model();
}
END_TEST

typedef struct seen { /* of a progress callback */
  int64_t calls, done, total;
} seen;

static int32_t see(void *user, const char *stage, int64_t done, int64_t total) {
  seen *s = user;
  ck_assert_str_eq(stage, "background");
  ck_assert(done > s->done && total == s->total);
  s->calls++;
  s->done = done;
  return 0;
}

START_TEST(texts_have_progress) {
  static const char *texts[201];
  seen s = {0, 0, 201};
  for (int i = 0; i < 201; i++)
    texts[i] = i == 200 ? "" : "thirty characters are in here."; /* groups of 1024 tokens */
  open_model();
  smft_background background = SMFT_BACKGROUND_INIT;
  background.texts = texts;
  background.n_texts = 201;
  background.progress = see;
  background.progress_user = &s;
  smft_selector *selector = count_text(&background);
  ck_assert_int_eq(selector->stats.n_batches, 200);
  ck_assert(s.calls > 3 && s.done > 190);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* Which of file, ids and texts: exactly one. */
START_TEST(one_source_alone) {
  static const char *const texts[] = {"one"},
                           *const bad[] = {"good", "b\xff"
                                                   "ad"},
                           *const none[] = {"good", NULL};
  int32_t id = 1;
  int64_t length = 1;
  open_model();
  smft_selector *selector = tiny_selector(model, 0, 0);
  for (int sources = 0; sources < 8; sources++) {
    smft_background b = SMFT_BACKGROUND_INIT;
    b.text_path = sources & 1 ? "nowhere.txt" : NULL;
    b.ids = sources & 2 ? &id : NULL;
    b.lengths = sources & 2 ? &length : NULL;
    b.n_sequences = sources & 2 ? 1 : 0;
    b.texts = sources & 4 ? texts : NULL;
    b.n_texts = sources & 4 ? 1 : 0;
    smft_status wanted = sources == 1                   ? SMFT_E_NOT_FOUND
                         : sources == 2 || sources == 4 ? SMFT_OK
                                                        : SMFT_E_INVALID;
    ck_status(smft_selector_count_background(selector, &b), wanted);
    if (wanted == SMFT_E_INVALID)
      ck_assert_msg(strstr(smft_error_message(), sources ? "two of" : "neither"), "%s",
                    smft_error_message());
  }
  ck_assert_int_eq(selector->stats.n_batches, 26);
  smft_background b = SMFT_BACKGROUND_INIT;
  b.texts = texts;
  b.n_texts = -1;
  ck_status(smft_selector_count_background(selector, &b), SMFT_E_INVALID);
  b.n_texts = 0; /* nothing to count is no mistake */
  ck_ok(smft_selector_count_background(selector, &b));
  b.n_texts = 2;
  b.texts = none;
  ck_status(smft_selector_count_background(selector, &b), SMFT_E_INVALID);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "texts[1]"));
  b.texts = bad;
  ck_status(smft_selector_count_background(selector, &b), SMFT_E_ENCODING);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "texts[1]"));
  ck_assert_int_eq(selector->stats.n_batches, 26); /* of the first text neither */
  smft_selector_free(selector);
  close_model();
}
END_TEST

START_TEST(text_needs_a_tokenizer) {
  static const char *const texts[] = {"one"};
  open_model();
  ck_assert_int_eq(unlink(test_file("model/tokenizer.json")), 0);
  smft_model *bare;
  ck_ok(smft_model_init(&bare, ctx, test_file("model"), 3));
  smft_selector *selector = tiny_selector(bare, 0, 0);
  smft_background background = SMFT_BACKGROUND_INIT;
  background.texts = texts;
  background.n_texts = 1;
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_UNSUPPORTED);
  background.texts = NULL;
  background.n_texts = 0;
  background.text_path = "text.txt";
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_UNSUPPORTED);
  smft_selector_free(selector);
  smft_model_free(bare);
  close_model();
}
END_TEST

/* ---- the warning that nothing is counted --------------------------------- */

static int warnings;
static char warning[512];

static void take_log(void *user, int32_t level, const char *message) {
  (void)user;
  warnings += level == 2;
  snprintf(warning, sizeof warning, "%s", message);
}

/* Makes a selector, then two learners of it; with_counts: after it has counted. */
static void warn_with(int32_t rule, uint32_t flags, int with_counts) {
  static const char *const texts[] = {"one"};
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_selector *selector;
  smft_patch *patch;
  options.rule = rule;
  options.flags = flags;
  background.texts = texts;
  background.n_texts = 1;
  ck_ok(smft_selector_create(&selector, model, &options));
  if (with_counts)
    ck_ok(smft_selector_count_background(selector, &background));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  for (int i = 0; i < 2; i++) {
    smft_learner *learner;
    ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, NULL));
    smft_learner_free(learner);
  }
  smft_patch_free(patch);
  smft_selector_free(selector);
}

START_TEST(no_counts_are_warned_of_once) {
  static const struct {
    int32_t rule;
    uint32_t flags;
    int with_counts;
    const char *by; /* NULL: nobody */
  } cases[] = {{0, 0, 0, "smft_selector_create"},
               {0, 0, 1, "smft_selector_create"}, /* it cannot know what comes */
               {0, SMFT_SELECTOR_EMPTY, 0, "smft_learner_create"},
               {0, SMFT_SELECTOR_EMPTY, 1, NULL},
               {SMFT_RULE_KL, 0, 0, NULL},
               {SMFT_RULE_TF, SMFT_SELECTOR_EMPTY, 0, NULL}};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.log = take_log;
  ck_ok(smft_ctx_create(&ctx, &options));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 2}, 3);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    warnings = 0;
    warn_with(cases[i].rule, cases[i].flags, cases[i].with_counts);
    ck_assert_int_eq(warnings, cases[i].by ? 1 : 0);
    ck_assert(!cases[i].by || strstr(warning, cases[i].by) == warning);
  }
  smft_patch *patch;
  smft_learner *learner;
  warnings = 0;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, NULL, NULL)); /* its own selector */
  ck_assert_int_eq(warnings, 1);
  smft_learner_free(learner);
  smft_patch_free(patch);
  close_model();
}
END_TEST

START_TEST(padding_never_counts) {
  int32_t padded[] = {97, 97, 5, 6, 7, 97, 8, 97, 0, 5, 97}, clean[] = {5, 6, 7, 8, 0, 5};
  int64_t padded_lengths[] = {7, 1, 3}, clean_lengths[] = {4, 2};
  uint32_t df[2][256];
  open_model();
  smft_background background = SMFT_BACKGROUND_INIT;
  background.ids = padded;
  background.lengths = padded_lengths;
  background.n_sequences = 3; /* the second one is nothing but padding */
  background.pad_id = 97;
  smft_selector *selector = count_text(&background);
  naive_df(clean, clean_lengths, 2, 1, df);
  check_df(selector, df, 2);
  smft_selector_free(selector);
  close_model();
}
END_TEST

static int32_t cancel_at_once(void *user, const char *stage, int64_t done, int64_t total) {
  ck_assert_str_eq(stage, "background");
  ck_assert(done > 0 && done <= total);
  ++*(int *)user;
  return 1;
}

START_TEST(failures_leave_the_counts) {
  int calls = 0;
  int32_t ids[] = {1, 2, 3, 98, 5, 6};
  int64_t lengths[] = {3, 3};
  uint32_t before[2][256];
  open_model();
  smft_selector *selector = tiny_selector(model, 0, 0);
  for (int32_t p = 0; p < 2; p++)
    ck_ok(smft_selector_df(selector, p, before[p], 256, NULL));
  smft_background background = SMFT_BACKGROUND_INIT;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = 2;
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_TOKEN);
  background.n_sequences = 1;
  background.progress = cancel_at_once;
  background.progress_user = &calls;
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_CANCELLED);
  ck_assert_int_eq(calls, 1);
  background.progress = NULL;
  background.tokens_per_sequence = 65;
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_CONTEXT);
  background.tokens_per_sequence = 0;
  background.text_path = "nowhere.txt";
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_INVALID);
  background.ids = NULL;
  background.lengths = NULL;
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_NOT_FOUND);
  background.text_path = test_write("bad.txt",
                                    "good\nb\xff"
                                    "ad\n",
                                    8);
  ck_status(smft_selector_count_background(selector, &background), SMFT_E_ENCODING);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "bad.txt:2"));
  check_df(selector, before, 24);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* ---- file ---------------------------------------------------------------- */

START_TEST(save_and_load) {
  uint32_t df[2][256];
  open_model();
  smft_selector *selector = tiny_selector(model, 0, 0), *loaded;
  for (int32_t p = 0; p < 2; p++)
    ck_ok(smft_selector_df(selector, p, df[p], 256, NULL));
  ck_ok(smft_selector_save(selector, test_file("counts.safetensors")));
  ck_ok(smft_selector_create(&loaded, model, NULL));
  ck_ok(smft_selector_load(loaded, test_file("counts.safetensors")));
  check_df(loaded, df, 24);
  ck_assert(loaded->total == selector->total);
  ck_assert(selector->mean_square > 0 && loaded->mean_square == selector->mean_square);
  ck_assert(memcmp(loaded->stats.square, selector->stats.square, 512 * sizeof(float)) == 0);
  smft_model *other = tiny_model(ctx, "other", (tiny){0, 0, 0, 2}, 4);
  smft_selector *others;
  ck_ok(smft_selector_create(&others, other, NULL));
  ck_status(smft_selector_load(others, test_file("counts.safetensors")), SMFT_E_MISMATCH);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), smft_model_hash(other)));
  ck_status(smft_selector_load(loaded, test_file("none.safetensors")), SMFT_E_NOT_FOUND);
  ck_status(smft_selector_load(loaded, test_write("no.safetensors", "hello", 5)), SMFT_E_FORMAT);
  check_df(loaded, df, 24);
  smft_selector_free(others);
  smft_model_free(other);
  smft_selector_free(loaded);
  smft_selector_free(selector);
  close_model();
}
END_TEST

static void write_counts(const char *format, const char *batches, const char *reads, uint32_t df,
                         float square) {
  static uint32_t dfs[256];
  static float squares[256];
  const char *keys[] = {"format", "batches", "model_hash", "reads"};
  const char *values[] = {format, batches, smft_model_hash(model), reads};
  smft__save_tensor tensors[] = {{.name = "df.0", .tensor = {dfs, {256}, 1, SMFT__U32}},
                                 {.name = "df.1", .tensor = {dfs, {256}, 1, SMFT__U32}},
                                 {.name = "square.0", .tensor = {squares, {256}, 1, SMFT__F32}},
                                 {.name = "square.1", .tensor = {squares, {256}, 1, SMFT__F32}}};
  dfs[7] = df;
  squares[7] = square;
  ck_ok(smft__safetensors_write(ctx, test_file("made.safetensors"), tensors, square < -1 ? 2 : 4,
                                keys, values, reads ? 4 : 3, NULL, NULL));
}

START_TEST(bad_counts_in_a_file) {
  static const struct {
    const char *format, *batches, *reads;
    uint32_t df;
    float square;
    smft_status status;
    const char *says;
  } cases[] = {
      {"smft.background.2", "9", "100", 9, 2.5f, SMFT_OK, ""},
      {"smft.background.4", "9", "100", 9, 2.5f, SMFT_E_FORMAT, "smft.background.4"},
      {"smft.background.2", "9", "100", 10, 2.5f, SMFT_E_FORMAT,
       "slot 7 of pool 0 was read in 10 batches of 9"},
      {"smft.background.2", "nine", "100", 9, 2.5f, SMFT_E_FORMAT, "batches"},
      {"smft.background.2", "9", NULL, 9, 2.5f, SMFT_E_FORMAT, "reads"},
      {"smft.background.2", "9", "100", 9, -1, SMFT_E_FORMAT, "slot 7 of pool 0"},
      {"smft.background.2", "9", "100", 9, NAN, SMFT_E_FORMAT, "slot 7 of pool 0"},
      {"smft.background.2", "9", "100", 9, INFINITY, SMFT_E_FORMAT, "slot 7 of pool 0"},
      {"smft.background.2", "9", "100", 9, -2, SMFT_E_MISMATCH, "square.0"}, /* left out */
  };
  uint32_t df[2][256];
  open_model();
  smft_selector *selector = tiny_selector(model, 0, 0);
  for (int32_t p = 0; p < 2; p++)
    ck_ok(smft_selector_df(selector, p, df[p], 256, NULL));
  write_counts(cases[_i].format, cases[_i].batches, cases[_i].reads, cases[_i].df,
               cases[_i].square);
  ck_status(smft_selector_load(selector, test_file("made.safetensors")), cases[_i].status);
  if (cases[_i].status != SMFT_OK) {
    ck_assert_msg(strstr(smft_error_message(), cases[_i].says) != NULL, "%s", smft_error_message());
    check_df(selector, df, 24);
  }
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* ---- file of the slots that were read ------------------------------------- */

/* tinymem-like counts: slot i of pool p has df `most` / (i + 1) and a square where i % 5 == p. */
static void sparse_counts(smft_selector *selector, uint32_t most) {
  smft__stats made = {0};
  ck_ok(smft__stats_create(&made, ctx, model));
  made.n_batches = most;
  for (int p = 0; p < 2; p++)
    for (uint32_t i = (uint32_t)p; i < 256; i += 5) {
      made.df[256 * p + (int)i] = most / (i + 1);
      made.square[256 * p + (int)i] = .25f * (float)i + .125f;
    }
  made.square[256 + 3] = .5f; /* df 0: read, says the square */
  smft__selector_set(selector, &made);
}

/* The narrowest type of df comes back, with every number as it was. */
START_TEST(few_slots_make_a_small_file) {
  static const uint32_t most[] = {200, 60000, 70000};
  static const int32_t types[] = {SMFT__U8, SMFT__U16, SMFT__U32};
  open_model();
  smft_selector *selector = tiny_selector(model, 0, 0), *loaded;
  sparse_counts(selector, most[_i]);
  ck_ok(smft_selector_save(selector, test_file("few.safetensors")));
  smft__source file = {0};
  ck_ok(smft__safetensors_open(&file, ctx, test_file("few.safetensors"), 0));
  ck_assert_str_eq(smft__source_metadata(&file, "format"), "smft.background.3");
  ck_assert_int_eq(file.n, 6);
  const smft__tensor *df = &file.tensors[smft__source_find(&file, "df.0")];
  ck_assert_int_eq(df->dtype, types[_i]);
  ck_assert_int_eq(df->shape[0], 52);
  smft__source_close(&file);
  ck_ok(smft_selector_create(&loaded, model, NULL));
  ck_ok(smft_selector_load(loaded, test_file("few.safetensors")));
  ck_assert_int_eq(loaded->stats.n_batches, most[_i]);
  ck_assert(memcmp(loaded->stats.df, selector->stats.df, 512 * sizeof(uint32_t)) == 0);
  ck_assert(memcmp(loaded->stats.square, selector->stats.square, 512 * sizeof(float)) == 0);
  smft_selector_free(loaded);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* df of pool 1 has n_df numbers of type `dtype`, its mask n_mask bytes. */
static void write_sparse(int32_t dtype, int64_t n_df, int64_t n_mask, uint8_t first, float square) {
  static uint8_t mask[32], df[64];
  static float squares[16];
  const char *keys[] = {"format", "batches", "model_hash", "reads"};
  const char *values[] = {"smft.background.3", "9", smft_model_hash(model), "100"};
  smft__save_tensor tensors[] = {{.name = "read.0", .tensor = {mask, {32}, 1, SMFT__U8}},
                                 {.name = "read.1", .tensor = {mask, {n_mask}, 1, SMFT__U8}},
                                 {.name = "df.0", .tensor = {df, {3}, 1, SMFT__U8}},
                                 {.name = "df.1", .tensor = {df, {n_df}, 1, dtype}},
                                 {.name = "square.0", .tensor = {squares, {3}, 1, SMFT__F32}},
                                 {.name = "square.1", .tensor = {squares, {3}, 1, SMFT__F32}}};
  mask[0] = 0x81, mask[31] = 0x10; /* slots 0, 7 and 252 */
  memset(df, first, sizeof df);
  squares[1] = square;
  ck_ok(smft__safetensors_write(ctx, test_file("made.safetensors"), tensors, 6, keys, values, 4,
                                NULL, NULL));
}

START_TEST(bad_lists_in_a_file) {
  static const struct {
    int32_t dtype;
    int64_t n_df, n_mask;
    uint8_t df;
    float square;
    smft_status status;
    const char *says;
  } cases[] = {
      {SMFT__U8, 3, 32, 9, .5f, SMFT_OK, ""},
      {SMFT__U8, 3, 32, 10, .5f, SMFT_E_FORMAT, "slot 0 of pool 0 was read in 10 batches of 9"},
      {SMFT__U16, 3, 32, 9, .5f, SMFT_E_FORMAT, "slot 0 of pool 1 was read in 2313 batches of 9"},
      {SMFT__U8, 2, 32, 9, .5f, SMFT_E_MISMATCH, "\"df.1\" of 3 numbers"},
      {SMFT__U8, 4, 32, 9, .5f, SMFT_E_MISMATCH, "\"df.1\" of 3 numbers"},
      {SMFT__F32, 3, 32, 9, .5f, SMFT_E_MISMATCH, "U8, U16 or U32"},
      {SMFT__U8, 3, 31, 9, .5f, SMFT_E_MISMATCH, "\"read.1\" of 32 numbers of type U8"},
      {SMFT__U8, 3, 32, 9, -1, SMFT_E_FORMAT, "slot 7 of pool 0"},
      {SMFT__U8, 3, 32, 9, NAN, SMFT_E_FORMAT, "slot 7 of pool 0"},
  };
  open_model();
  smft_selector *selector;
  ck_ok(smft_selector_create(&selector, model, NULL));
  write_sparse(cases[_i].dtype, cases[_i].n_df, cases[_i].n_mask, cases[_i].df, cases[_i].square);
  ck_status(smft_selector_load(selector, test_file("made.safetensors")), cases[_i].status);
  if (cases[_i].status != SMFT_OK)
    ck_assert_msg(strstr(smft_error_message(), cases[_i].says) != NULL, "%s", smft_error_message());
  else
    ck_assert(selector->stats.df[252] == 9 && selector->stats.df[256 + 7] == 9 &&
              selector->stats.square[7] == .5f && selector->stats.df[8] == 0);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* Written before squares were counted: as if each read had taken an even share of its head. */
START_TEST(a_file_without_squares) {
  open_model();
  smft_selector *selector = tiny_selector(model, 0, 0);
  double even = 1.0 / model->config.memory.top_k;
  write_counts("smft.background.1", "9", NULL, 9, -2);
  ck_ok(smft_selector_load(selector, test_file("made.safetensors")));
  ck_assert_int_eq(selector->stats.n_reads, 18);
  ck_assert_double_eq_tol(selector->mean_square, even * even, 1e-7);
  for (int slot = 0; slot < 256; slot++)
    ck_assert_double_eq_tol((double)selector->stats.square[slot], slot == 7 ? 9 * even * even : 0,
                            1e-6);
  smft_selector_free(selector);
  close_model();
}
END_TEST

/* background.safetensors beside the model is read, unless it is not wanted. */
START_TEST(shipped_counts) {
  int64_t n = -1;
  open_model();
  smft_model *shipped;
  ck_ok(smft_model_export(model, NULL, test_file("shipped"), NULL));
  ck_ok(smft_model_load(&shipped, ctx, test_file("shipped"), NULL));
  smft_selector *selector = tiny_selector(shipped, 0, 0);
  ck_ok(smft_selector_save(selector, test_file("shipped/background.safetensors")));
  smft_selector_free(selector);
  ck_ok(smft_selector_create(&selector, shipped, NULL));
  ck_ok(smft_selector_df(selector, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 24);
  smft_selector_free(selector);
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.flags = SMFT_SELECTOR_EMPTY;
  ck_ok(smft_selector_create(&selector, shipped, &options));
  ck_ok(smft_selector_df(selector, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  smft_selector_free(selector);
  test_write("shipped/background.safetensors", "<html>", 6);
  ck_status(smft_selector_create(&selector, shipped, NULL), SMFT_E_FORMAT);
  ck_assert_ptr_null(selector);
  smft_model_free(shipped);
  close_model();
}
END_TEST

START_TEST(bad_arguments) {
  open_model();
  smft_selector *selector = (smft_selector *)(uintptr_t)1;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  ck_status(smft_selector_create(NULL, model, NULL), SMFT_E_INVALID);
  ck_status(smft_selector_create(&selector, NULL, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(selector);
  options.rule = SMFT_RULE_RANDOM + 1;
  ck_status(smft_selector_create(&selector, model, &options), SMFT_E_INVALID);
  options.rule = 0;
#define REFUSED(field, value)                                                                      \
  {                                                                                                \
    smft_selector_options bad = options;                                                           \
    bad.field = value;                                                                             \
    ck_status(smft_selector_create(&selector, model, &bad), SMFT_E_INVALID);                       \
  }
  REFUSED(t, -1);
  REFUSED(damping, NAN);
  REFUSED(max_df, NAN);
  REFUSED(max_df, 1.01);
  REFUSED(damping_by, SMFT_DAMPING_DF + 1);
  REFUSED(damping_by, -1);
  REFUSED(rank_by, SMFT_RANK_WEIGHTS + 1);
  REFUSED(rank_by, -1);
  options.struct_size = 3;
  ck_status(smft_selector_create(&selector, model, &options), SMFT_E_STRUCT_SIZE);
  ck_ok(smft_selector_create(&selector, model, NULL));
  uint32_t df[10];
  ck_status(smft_selector_df(selector, 2, df, 10, NULL), SMFT_E_INVALID);
  ck_status(smft_selector_df(selector, 0, df, 10, NULL), SMFT_E_BUFFER);
  ck_status(smft_selector_count_background(selector, NULL), SMFT_E_INVALID);
  ck_status(smft_selector_save(NULL, "x"), SMFT_E_INVALID);
  ck_status(smft_selector_load(selector, NULL), SMFT_E_INVALID);
  smft_model_free(model); /* a child keeps its parents */
  smft_ctx_free(ctx);
  ck_ok(smft_selector_df(selector, 0, NULL, 0, NULL));
  smft_selector_free(selector);
  smft_selector_free(NULL);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("selector");
  TCase *cases = tcase_create("selector");
  tcase_add_loop_test(cases, rules_rank_as_their_formulas, 0, 16);
  tcase_add_loop_test(cases, what_others_read_comes_last, 0, 4);
  tcase_add_loop_test(cases, weights_and_common_rows, 0, 8);
  tcase_add_test(cases, without_counts_tfidf_selects_nothing);
  tcase_add_test(cases, random_draws_among_the_slots_read);
  tcase_add_loop_test(cases, text_and_ids_count_alike, 0, 3);
  tcase_add_test(cases, texts_count_as_lines_do);
  tcase_add_test(cases, texts_have_progress);
  tcase_add_test(cases, one_source_alone);
  tcase_add_test(cases, text_needs_a_tokenizer);
  tcase_add_test(cases, no_counts_are_warned_of_once);
  tcase_add_test(cases, padding_never_counts);
  tcase_add_test(cases, failures_leave_the_counts);
  tcase_add_test(cases, save_and_load);
  tcase_add_loop_test(cases, bad_counts_in_a_file, 0, 9);
  tcase_add_loop_test(cases, few_slots_make_a_small_file, 0, 3);
  tcase_add_loop_test(cases, bad_lists_in_a_file, 0, 9);
  tcase_add_test(cases, a_file_without_squares);
  tcase_add_test(cases, shipped_counts);
  tcase_add_test(cases, bad_arguments);
  suite_add_tcase(suite, cases);
  return suite;
}
