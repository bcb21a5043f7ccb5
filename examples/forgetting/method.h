/* method: one of the ways to learn, with its settings: builds the patch, optimizer and
 * learner for them.  The only file that knows which settings belong to which method. */
#ifndef FORGETTING_METHOD_H
#define FORGETTING_METHOD_H
#include "lessons.h"
#include "replay.h"
#include "smft/smft.h"

typedef struct settings { /* numbers that are 0: the library's default */
  /* background, which sparse finetuning counts and replay draws from: NULL: the model's counts,
   * "all"; a kind of background.h; of counts also a text file, a file of counts or "none" */
  const char *method, *rule, *optimizer, *rows, *background, *data;
  double lr, pool_lr, loss_below, weight_decay, pool_weight_decay, clip, alpha, momentum, damping;
  int64_t t, warmup;
  int32_t max_steps, wordings, rank, rank_stabilized, loss_all, no_protect, sample_decides,
      keep_given_up, lazy_pools, replay;
  uint64_t seed;
} settings;

typedef struct method {
  smft_patch *patch;
  smft_selector *selector; /* sparse, else NULL */
  smft_learner *learner;
  replay *replay; /* NULL: the learner's own steps */
  int64_t steps;
  double seconds; /* in steps */
} method;

/* 0 if method, rule, optimizer and rows have names that there are; otherwise a message is on
 * stderr. */
int settings_check(const settings *s);
/* The method as results name it: full, full-replay, lora, lora-replay, values... */
const char *settings_name(const settings *s);
/* What the method knows of what is to be kept: "shipped", "half"...; "": nothing. */
const char *settings_knows(const settings *s);
void method_make(method *m, smft_ctx *ctx, const smft_model *model, const settings *s);
void method_teach(method *m, const lesson *l);
/* Writes the background's counts, for settings.background of further runs. */
void method_save_counts(const method *m, const char *path);
/* Size of the patch as it is saved. */
int64_t method_bytes(const method *m, const char *scratch);
int64_t method_rows(const method *m, const smft_model *model);
void method_free(method *m);
#endif
