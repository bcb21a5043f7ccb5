/* probe: what a probe holds: items, the baseline's values, the last measurement's values. */
#ifndef SMFT__PROBE_H
#define SMFT__PROBE_H
#include "base/claim.h"
#include "base/ctx.h"
#include "data/json.h"

/* What one measurement says of one item.  All of it is plain numbers but `text`. */
typedef struct smft__probe_value {
  double score;   /* questions: F1; texts: NLL per token; choices: 1 or 0 */
  double exact;   /* questions: exact match, 0 or 1 */
  double nll_sum; /* texts: nats over `tokens` */
  double kl_sum;  /* texts: nats over `tokens`, base against patched */
  int64_t tokens; /* texts: tokens predicted */
  char *text;     /* questions: what was generated; else NULL */
} smft__probe_value;

typedef struct smft__probe_entry {
  int32_t kind; /* SMFT_PROBE_* */
  char *id;
  char *prompt;   /* questions and choices: the prompt; texts: the text */
  char **options; /* (n_options) accepted answers, or endings */
  int64_t n_options;
  int64_t correct; /* choices */
} smft__probe_entry;

struct smft_probe {
  smft_ctx *ctx;
  smft_probe_options options; /* resolved; stop is owned and never "" (NULL: none) */
  smft__probe_entry *entries; /* (n) */
  int64_t n, capacity;
  smft__probe_value *before; /* (n_before) the baseline; NULL: none yet */
  smft__probe_value *after;  /* (n_before) the last measurement, or the baseline itself */
  int64_t n_before;
  smft_probe_report report; /* of `after` */
  smft__claim claim;        /* one call at a time: callbacks must not change the items */
};

/* Drops the entries from the n-th on. */
void smft__probe_truncate(smft_probe *probe, int64_t n);
/* Between these two the probe is a call's alone (NULL: E_INVALID; in use: E_STATE).  Release gives
 * the status that the call returns, and destroys what was freed meanwhile. */
smft_status smft__probe_claim(smft_probe *probe, const char *function);
smft_status smft__probe_release(smft_probe *probe, smft_status status);
/* As the public calls, for who has a claim. */
smft_status smft__probe_add_question(smft_probe *probe, const char *id, const char *prompt,
                                     const char *const *answers, int64_t n_answers);
smft_status smft__probe_add_text(smft_probe *probe, const char *id, const char *text);
smft_status smft__probe_add_choice(smft_probe *probe, const char *id, const char *prompt,
                                   const char *const *endings, int64_t n_endings, int64_t correct);
void smft__probe_values_free(smft_ctx *ctx, smft__probe_value *values, int64_t n);
int smft__probe_is_lost(const smft_probe *probe, int64_t i);
int smft__probe_is_gained(const smft_probe *probe, int64_t i);
#endif
