/* probe: the items that must not be forgotten.  Owns creation, adding, freeing and reading items
 * one by one. Does not own: measuring (probe_measure.c), files (probe_file.c). */
#include "measure/probe.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include <string.h>

/* of the first version */
#define SMALLEST_OPTIONS offsetof(smft_probe_options, flags)

/* ---- creation ------------------------------------------------------------ */

static smft_status resolve_options(smft_probe_options *own, const smft_probe_options *given) {
  if (given)
    SMFT__TRY(smft__options_read(own, given, sizeof *own, SMALLEST_OPTIONS, "smft_probe_options"));
  SMFT__REQUIRE((own->flags & ~SMFT_PROBE_EXACT) == 0,
                "smft_probe_options.flags: unknown bits in 0x%x", (unsigned)own->flags);
  SMFT__TRY(smft__reserved_check(own->reserved, "smft_probe_options"));
  SMFT__REQUIRE(own->max_tokens >= 0, "smft_probe_options.max_tokens must not be negative, got %d",
                own->max_tokens);
  if (own->max_tokens == 0)
    own->max_tokens = 32;
  if (own->stop == NULL)
    own->stop = "\n";
  if (!smft__utf8_valid(own->stop, strlen(own->stop), NULL))
    return smft__fail(SMFT_E_ENCODING, "smft_probe_options.stop is not valid UTF-8");
  if (own->gained_above == 0)
    own->gained_above = 0.5;
  if (own->lost_below == 0)
    own->lost_below = own->gained_above < 0.5 ? own->gained_above : 0.5;
  SMFT__REQUIRE(own->gained_above > 0 && own->gained_above <= 1,
                "smft_probe_options.gained_above must lie in (0, 1]");
  SMFT__REQUIRE(own->lost_below > 0 && own->lost_below <= own->gained_above,
                "smft_probe_options.lost_below must lie in (0, gained_above]: above it an item "
                "could be lost and gained at once");
  return SMFT_OK;
}

SMFT_API smft_status smft_probe_create(smft_probe **out, smft_ctx *ctx,
                                       const smft_probe_options *options) {
  smft_probe_options own = SMFT_PROBE_OPTIONS_INIT;
  SMFT__REQUIRE(out != NULL, "smft_probe_create: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(ctx != NULL, "smft_probe_create: ctx is NULL");
  SMFT__TRY(resolve_options(&own, options));
  smft_probe *probe = smft__calloc_array(ctx, 1, sizeof *probe);
  if (!probe)
    return SMFT_E_NOMEM;
  probe->options = own;
  probe->options.stop = NULL;
  if (own.stop[0]) {
    char *stop = smft__strdup(ctx, own.stop);
    if (!stop) {
      smft__free(ctx, probe);
      return SMFT_E_NOMEM;
    }
    probe->options.stop = stop;
  }
  probe->ctx = smft__ctx_retain(ctx);
  *out = probe;
  return SMFT_OK;
}

void smft__probe_values_free(smft_ctx *ctx, smft__probe_value *values, int64_t n) {
  for (int64_t i = 0; values && i < n; i++)
    smft__free(ctx, values[i].text);
  smft__free(ctx, values);
}

static void free_entry(smft_ctx *ctx, smft__probe_entry *entry) {
  for (int64_t i = 0; entry->options && i < entry->n_options; i++)
    smft__free(ctx, entry->options[i]);
  smft__free(ctx, entry->options);
  smft__free(ctx, entry->prompt);
  smft__free(ctx, entry->id);
}

void smft__probe_truncate(smft_probe *probe, int64_t n) {
  while (probe->n > n)
    free_entry(probe->ctx, &probe->entries[--probe->n]);
}

#define NOUN "probe" /* in messages */

static void destroy(smft_probe *probe) {
  smft_ctx *ctx = probe->ctx;
  smft__probe_truncate(probe, 0);
  smft__free(ctx, probe->entries);
  smft__probe_values_free(ctx, probe->before, probe->n_before);
  smft__probe_values_free(ctx, probe->after, probe->n_before);
  smft__free(ctx, (void *)(uintptr_t)probe->options.stop);
  smft__free(ctx, probe);
  smft__ctx_release(ctx);
}

SMFT_API void smft_probe_free(smft_probe *probe) {
  if (probe && smft__claim_free(&probe->claim))
    destroy(probe);
}

/* ---- adding -------------------------------------------------------------- */

smft_status smft__probe_claim(smft_probe *probe, const char *function) {
  SMFT__REQUIRE(probe != NULL, "%s: probe is NULL", function);
  return smft__claim_alone(&probe->claim, NOUN, function);
}

smft_status smft__probe_release(smft_probe *probe, smft_status status) {
  if (!smft__claim_end(&probe->claim))
    return status;
  destroy(probe);
  return smft__claim_freed(status, NOUN);
}

static smft_status check_text(const char *text, const char *id, const char *what, int64_t index) {
  size_t bad_at = 0;
  SMFT__REQUIRE(text != NULL, "probe item \"%s\": %s %lld is NULL", id, what, (long long)index);
  if (!smft__utf8_valid(text, strlen(text), &bad_at))
    return smft__fail(SMFT_E_ENCODING, "probe item \"%s\": %s %lld is not valid UTF-8 at byte %zu",
                      id, what, (long long)index, bad_at);
  return SMFT_OK;
}

static smft_status check_texts(const char *id, const char *prompt, const char *const *options,
                               int64_t n, const char *what) {
  size_t bad_at = 0;
  SMFT__REQUIRE(id != NULL, "a probe item's id is NULL");
  if (!smft__utf8_valid(id, strlen(id), &bad_at))
    return smft__fail(SMFT_E_ENCODING, "a probe item's id is not valid UTF-8 at byte %zu", bad_at);
  SMFT__TRY(check_text(prompt, id, "text", 0));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY(check_text(options[i], id, what, i));
  return SMFT_OK;
}

static smft_status copy_options(smft_ctx *ctx, smft__probe_entry *entry, const char *const *options,
                                int64_t n) {
  if (n == 0)
    return SMFT_OK;
  entry->options = smft__calloc_array(ctx, n, sizeof *entry->options);
  if (!entry->options)
    return SMFT_E_NOMEM;
  entry->n_options = n;
  for (int64_t i = 0; i < n; i++)
    if (!(entry->options[i] = smft__strdup(ctx, options[i])))
      return SMFT_E_NOMEM;
  return SMFT_OK;
}

/* Everything is checked; nothing is added on failure. */
static smft_status add_entry(smft_probe *probe, int32_t kind, const char *id, const char *prompt,
                             const char *const *options, int64_t n, int64_t correct) {
  smft_ctx *ctx = probe->ctx;
  smft__probe_entry entry = {kind, NULL, NULL, NULL, 0, correct};
  smft_status status =
      smft__grow(ctx, &probe->entries, &probe->capacity, probe->n + 1, sizeof *probe->entries);
  if (status == SMFT_OK &&
      (!(entry.id = smft__strdup(ctx, id)) || !(entry.prompt = smft__strdup(ctx, prompt))))
    status = SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = copy_options(ctx, &entry, options, n);
  if (status != SMFT_OK) {
    free_entry(ctx, &entry);
    return status;
  }
  probe->entries[probe->n++] = entry;
  return SMFT_OK;
}

smft_status smft__probe_add_question(smft_probe *probe, const char *id, const char *prompt,
                                     const char *const *answers, int64_t n_answers) {
  SMFT__REQUIRE(answers != NULL, "probe question \"%s\": answers is NULL", id ? id : "");
  SMFT__REQUIRE(n_answers > 0, "probe question \"%s\" has no accepted answer", id ? id : "");
  SMFT__TRY(check_texts(id, prompt, answers, n_answers, "answer"));
  return add_entry(probe, SMFT_PROBE_QUESTION, id, prompt, answers, n_answers, 0);
}

smft_status smft__probe_add_text(smft_probe *probe, const char *id, const char *text) {
  SMFT__TRY(check_texts(id, text, NULL, 0, ""));
  SMFT__REQUIRE(text[0] != 0, "probe text \"%s\" is empty: nothing to predict", id);
  return add_entry(probe, SMFT_PROBE_TEXT, id, text, NULL, 0, 0);
}

smft_status smft__probe_add_choice(smft_probe *probe, const char *id, const char *prompt,
                                   const char *const *endings, int64_t n_endings, int64_t correct) {
  SMFT__REQUIRE(endings != NULL, "probe choice \"%s\": endings is NULL", id ? id : "");
  SMFT__REQUIRE(n_endings > 1, "probe choice \"%s\" needs two endings or more, got %lld",
                id ? id : "", (long long)n_endings);
  SMFT__REQUIRE(correct >= 0 && correct < n_endings,
                "probe choice \"%s\": correct must lie in [0, %lld), got %lld", id ? id : "",
                (long long)n_endings, (long long)correct);
  SMFT__TRY(check_texts(id, prompt, endings, n_endings, "ending"));
  for (int64_t i = 0; i < n_endings; i++)
    SMFT__REQUIRE(endings[i][0] != 0, "probe choice \"%s\": ending %lld is empty", id,
                  (long long)i);
  return add_entry(probe, SMFT_PROBE_CHOICE, id, prompt, endings, n_endings, correct);
}

SMFT_API smft_status smft_probe_add_question(smft_probe *probe, const char *id, const char *prompt,
                                             const char *const *answers, int64_t n_answers) {
  SMFT__TRY(smft__probe_claim(probe, "smft_probe_add_question"));
  return smft__probe_release(probe,
                             smft__probe_add_question(probe, id, prompt, answers, n_answers));
}

SMFT_API smft_status smft_probe_add_text(smft_probe *probe, const char *id, const char *text) {
  SMFT__TRY(smft__probe_claim(probe, "smft_probe_add_text"));
  return smft__probe_release(probe, smft__probe_add_text(probe, id, text));
}

SMFT_API smft_status smft_probe_add_choice(smft_probe *probe, const char *id, const char *prompt,
                                           const char *const *endings, int64_t n_endings,
                                           int64_t correct) {
  SMFT__TRY(smft__probe_claim(probe, "smft_probe_add_choice"));
  return smft__probe_release(probe, smft__probe_add_choice(probe, id, prompt, endings, n_endings,
                                                           correct));
}

/* ---- items --------------------------------------------------------------- */

/* Texts are neither lost nor gained: their NLL has no line between right and wrong. */
int smft__probe_is_lost(const smft_probe *probe, int64_t i) {
  double before = probe->before[i].score, after = probe->after[i].score;
  return probe->entries[i].kind != SMFT_PROBE_TEXT && before >= probe->options.gained_above &&
         after < probe->options.lost_below;
}

int smft__probe_is_gained(const smft_probe *probe, int64_t i) {
  double before = probe->before[i].score, after = probe->after[i].score;
  return probe->entries[i].kind != SMFT_PROBE_TEXT && before < probe->options.lost_below &&
         after >= probe->options.gained_above;
}

SMFT_API smft_status smft_probe_get_item(const smft_probe *probe, int64_t index,
                                         smft_probe_item *item) {
  SMFT__REQUIRE(probe != NULL && item != NULL, "smft_probe_get_item: %s is NULL",
                probe ? "item" : "probe");
  if (index < 0 || index >= probe->n)
    return smft__fail(SMFT_E_NOT_FOUND, "probe item %lld does not exist: there are %lld",
                      (long long)index, (long long)probe->n);
  smft_probe_item own = SMFT_PROBE_ITEM_INIT;
  own.kind = probe->entries[index].kind;
  own.id = probe->entries[index].id;
  own.text = "";
  if (index < probe->n_before) {
    own.before = probe->before[index].score;
    own.after = probe->after[index].score;
    own.lost = smft__probe_is_lost(probe, index);
    own.gained = smft__probe_is_gained(probe, index);
    if (probe->after[index].text)
      own.text = probe->after[index].text;
  }
  return smft__report_write(item, &own, sizeof own, sizeof own, "smft_probe_item");
}
