/* method: see method.h. */
#include "method.h"
#include "background.h"
#include "classroom.h"
#include "program.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- settings ------------------------------------------------------------ */

static int index_of(const char *name, const char *const *names, int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(name, names[i]) == 0)
      return i;
  return -1;
}

static int rule_of(const char *name) {
  static const char *const names[] = {"tfidf", "kl", "tf", "all", "random"};
  return index_of(name, names, 5) + 1; /* SMFT_RULE_* */
}

static int is_sparse(const settings *s) { return strcmp(s->method, "sparse") == 0; }

int settings_check(const settings *s) {
  static const char *const methods[] = {"full", "lora", "values", "sparse"};
  static const char *const optimizers[] = {"sgd", "adamw"}, *const rows[] = {"fact", "step"};
  if (index_of(s->method, methods, 4) < 0)
    fprintf(stderr, "--method: full, lora, values or sparse, not \"%s\"\n", s->method);
  else if (rule_of(s->rule) == 0)
    fprintf(stderr, "--rule: tfidf, kl, tf, all or random, not \"%s\"\n", s->rule);
  else if (index_of(s->optimizer, optimizers, 2) < 0)
    fprintf(stderr, "--optimizer: sgd or adamw, not \"%s\"\n", s->optimizer);
  else if (index_of(s->rows, rows, 2) < 0)
    fprintf(stderr, "--rows: fact or step, not \"%s\"\n", s->rows);
  else if (s->replay < 0 || (s->replay > 0 && (is_sparse(s) || s->loss_all)))
    fputs("--replay: for full, lora and values, without --loss-all\n", stderr);
  else if (s->replay > 0 && s->background && !background_is_kind(s->background))
    fprintf(stderr, "--background: with --replay all, half or prose, not \"%s\"\n", s->background);
  else
    return 0;
  return -1;
}

const char *settings_name(const settings *s) {
  static char name[32];
  snprintf(name, sizeof name, "%s%s", s->method, s->replay > 0 ? "-replay" : "");
  return name;
}

/* "half" of "some/where/half.safetensors" */
static const char *stem(const char *path) {
  static char name[64];
  const char *slash = strrchr(path, '/');
  snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
  char *dot = strchr(name, '.');
  if (dot)
    *dot = 0;
  return name;
}

const char *settings_knows(const settings *s) {
  if (is_sparse(s))
    return s->background ? stem(s->background) : "shipped";
  return s->replay == 0 ? "" : s->background ? s->background : "all";
}

/* ---- making -------------------------------------------------------------- */

static smft_patch *make_patch(const smft_model *model, const settings *s) {
  smft_patch *patch = NULL;
  smft_lora_options lora = SMFT_LORA_OPTIONS_INIT;
  lora.rank = s->rank;
  lora.alpha = s->alpha;
  lora.flags = s->rank_stabilized ? SMFT_LORA_RANK_STABILIZED : 0;
  lora.seed = s->seed;
  if (strcmp(s->method, "lora") == 0)
    check(smft_patch_create_lora(&patch, model, &lora), "LoRA patch");
  else
    check(smft_patch_create(&patch, model, is_sparse(s) ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL),
          "patch");
  return patch;
}

static int ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

static void count_sequences(smft_selector *selector, const smft_model *model, const settings *s) {
  smft_background background = SMFT_BACKGROUND_INIT;
  sequences texts;
  background_make(&texts, smft_model_tokenizer(model), s->data, s->background);
  background.ids = texts.ids;
  background.lengths = texts.lengths;
  background.n_sequences = texts.n;
  background.tokens_per_sequence = 256; /* as the counts beside the model */
  check(smft_selector_count_background(selector, &background), "counting background");
  sequences_free(&texts);
}

static void count_background(smft_selector *selector, const smft_model *model, const settings *s) {
  smft_background background = SMFT_BACKGROUND_INIT;
  background.text_path = s->background;
  if (background_is_kind(s->background))
    count_sequences(selector, model, s);
  else if (ends_with(s->background, ".safetensors"))
    check(smft_selector_load(selector, s->background), "background counts");
  else if (strcmp(s->background, "none") != 0)
    check(smft_selector_count_background(selector, &background), "counting background");
}

static smft_selector *make_selector(const smft_model *model, const settings *s) {
  smft_selector *selector = NULL;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.rule = rule_of(s->rule);
  options.t = s->t;
  options.damping = s->damping;
  options.flags = s->background ? SMFT_SELECTOR_EMPTY : 0;
  check(smft_selector_create(&selector, model, &options), "selector");
  if (s->background)
    count_background(selector, model, s);
  return selector;
}

static smft_optimizer *make_optimizer(smft_ctx *ctx, const settings *s) {
  smft_optimizer *optimizer = NULL;
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  options.kind = strcmp(s->optimizer, "adamw") == 0 ? SMFT_OPTIMIZER_ADAMW : SMFT_OPTIMIZER_SGD;
  options.flags = s->lazy_pools ? SMFT_OPTIMIZER_LAZY_POOLS : 0;
  options.lr = s->lr;
  options.pool_lr = s->pool_lr;
  options.momentum = s->momentum;
  options.weight_decay = s->weight_decay;
  options.pool_weight_decay = s->pool_weight_decay;
  options.clip_norm = s->clip;
  options.warmup_steps = s->warmup;
  check(smft_optimizer_create(&optimizer, ctx, &options), "optimizer");
  if (strcmp(s->method, "values") == 0) { /* of several groups that fit the last one counts */
    check(smft_optimizer_set_group(optimizer, "model", 0), "freezing");
    check(smft_optimizer_set_group(optimizer, ".memory_pools.", 1), "the pool's values");
  }
  return optimizer;
}

static replay *make_replay(const method *m, const smft_model *model, const settings *s) {
  if (s->replay == 0)
    return NULL;
  replay *r = need(calloc(1, sizeof *r));
  background_make(&r->texts, smft_model_tokenizer(model), s->data, settings_knows(s));
  r->loss_below = s->loss_below;
  r->sequences = s->replay;
  r->wordings = s->wordings;
  r->max_steps = s->max_steps;
  r->state = s->seed * 104729 + 5;
  replay_make(r, model, m->patch, m->learner);
  return r;
}

void method_make(method *m, smft_ctx *ctx, const smft_model *model, const settings *s) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer *optimizer = make_optimizer(ctx, s);
  memset(m, 0, sizeof *m);
  m->patch = make_patch(model, s);
  m->selector = is_sparse(s) ? make_selector(model, s) : NULL;
  options.max_steps = s->max_steps;
  options.loss_below = s->loss_below;
  options.wordings_per_step = s->wordings;
  options.seed = s->seed;
  options.flags = (s->loss_all ? SMFT_LEARNER_LOSS_ALL : 0) |
                  (strcmp(s->rows, "step") == 0 ? SMFT_LEARNER_ROWS_PER_STEP : 0) |
                  (s->no_protect ? SMFT_LEARNER_NO_PROTECT : 0) |
                  (s->sample_decides ? SMFT_LEARNER_SAMPLE_DECIDES : 0) |
                  (s->keep_given_up ? SMFT_LEARNER_KEEP_GIVEN_UP : 0);
  check(smft_learner_create(&m->learner, model, m->patch, m->selector, optimizer, &options),
        "learner");
  smft_optimizer_free(optimizer);
  m->replay = make_replay(m, model, s);
}

/* ---- teaching ------------------------------------------------------------ */

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void method_teach(method *m, const lesson *l) {
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  double began = now();
  if (m->replay) {
    m->steps += replay_teach(m->replay, l);
    m->seconds += now() - began;
    return;
  }
  atlas_push(m->learner, l->id, l->train, l->n_train);
  check(smft_learner_run(m->learner, NULL, NULL, &report), "learning");
  m->steps += report.steps;
  m->seconds += report.seconds;
}

/* ---- what came of it ----------------------------------------------------- */

void method_save_counts(const method *m, const char *path) {
  check(smft_selector_save(m->selector, path), "saving the counts");
}

int64_t method_bytes(const method *m, const char *scratch) {
  int64_t bytes = 0;
  struct stat info;
  check(smft_patch_save(m->patch, scratch, 0), "saving the patch");
  DIR *directory = opendir(scratch);
  if (!directory) {
    bytes = stat(scratch, &info) == 0 ? (int64_t)info.st_size : 0;
    unlink(scratch);
    return bytes;
  }
  for (struct dirent *entry; (entry = readdir(directory));) {
    const char *path = path_in(scratch, entry->d_name);
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
      continue;
    bytes += (int64_t)info.st_size;
    unlink(path);
  }
  closedir(directory);
  rmdir(scratch);
  return bytes;
}

int64_t method_rows(const method *m, const smft_model *model) {
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  int64_t total = 0, n = 0;
  check(smft_model_get_info(model, &info), "model");
  for (int32_t p = 0; m->selector && p < info.n_pools; p++) {
    check(smft_patch_slots(m->patch, p, NULL, 0, &n), "patch");
    total += n;
  }
  return total;
}

void method_free(method *m) {
  if (m->replay)
    replay_free(m->replay);
  free(m->replay);
  smft_learner_free(m->learner);
  smft_selector_free(m->selector);
  smft_patch_free(m->patch);
}
