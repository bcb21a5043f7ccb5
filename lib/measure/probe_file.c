/* probe_file: items from JSONL, the last measurement as JSON.  Owns smft_probe_add_file and
 * smft_probe_save_report. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/file.h"
#include "measure/probe.h"
#include <stdlib.h>
#include <string.h>

/* ---- JSONL in ------------------------------------------------------------ */

/* The strings of an array, borrowed; *n their number.  To be freed with smft__free. */
static smft_status read_strings(smft_ctx *ctx, const json_t *object, const char *key,
                                const char ***out, int64_t *n) {
  const json_t *array = json_object_get(object, key);
  if (!json_is_array(array))
    return smft__fail(SMFT_E_FORMAT, "\"%s\" must be an array of strings", key);
  *n = (int64_t)json_array_size(array);
  const char **strings = smft__calloc_array(ctx, *n, sizeof *strings);
  if (!strings)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < *n; i++) {
    strings[i] = json_string_value(json_array_get(array, (size_t)i));
    if (!strings[i]) {
      smft__free(ctx, strings);
      return smft__fail(SMFT_E_FORMAT, "\"%s\"[%lld] must be a string", key, (long long)i);
    }
  }
  *out = strings;
  return SMFT_OK;
}

static smft_status required_string(const json_t *object, const char *key, const char **out) {
  SMFT__TRY(smft__json_string(object, key, NULL, out, "probe item"));
  return *out ? SMFT_OK
              : smft__fail(SMFT_E_FORMAT, "probe item: \"%s\" is missing; expected a string", key);
}

static smft_status add_question_line(smft_probe *probe, const json_t *object, const char *id) {
  const char *question = NULL, **answers = NULL;
  int64_t n = 0;
  SMFT__TRY(required_string(object, "question", &question));
  SMFT__TRY(read_strings(probe->ctx, object, "answers", &answers, &n));
  smft_status status = smft__probe_add_question(probe, id, question, answers, n);
  smft__free(probe->ctx, answers);
  return status;
}

static smft_status add_text_line(smft_probe *probe, const json_t *object, const char *id) {
  const char *text = NULL;
  SMFT__TRY(required_string(object, "text", &text));
  return smft__probe_add_text(probe, id, text);
}

static smft_status add_choice_line(smft_probe *probe, const json_t *object, const char *id) {
  const char *prompt = NULL, **endings = NULL;
  int64_t n = 0, correct = 0;
  SMFT__TRY(required_string(object, "prompt", &prompt));
  SMFT__TRY(smft__json_i64_required(object, "correct", &correct, "probe item"));
  SMFT__TRY(read_strings(probe->ctx, object, "endings", &endings, &n));
  smft_status status = smft__probe_add_choice(probe, id, prompt, endings, n, correct);
  smft__free(probe->ctx, endings);
  return status;
}

static smft_status add_line(void *user, const json_t *object, int64_t line) {
  smft_probe *probe = user;
  const char *id = NULL;
  (void)line; /* smft__jsonl_read names it */
  int question = json_object_get(object, "question") != NULL;
  int text = json_object_get(object, "text") != NULL;
  int choice = json_object_get(object, "endings") != NULL;
  if (question + text + choice != 1)
    return smft__fail(
        SMFT_E_FORMAT,
        "a probe item has exactly one of \"question\", \"text\" and \"endings\"; found %d of them",
        question + text + choice);
  SMFT__TRY(required_string(object, "id", &id));
  smft_status status = question ? add_question_line(probe, object, id)
                       : text   ? add_text_line(probe, object, id)
                                : add_choice_line(probe, object, id);
  /* here it is the file that is wrong, not the call */
  return status == SMFT_E_INVALID ? SMFT_E_FORMAT : status;
}

static smft_status add_file(smft_probe *probe, const char *path, int64_t *n) {
  SMFT__REQUIRE(path != NULL, "smft_probe_add_file: path is NULL");
  const int64_t before = probe->n;
  smft_status status = smft__jsonl_read(probe->ctx, path, add_line, probe);
  if (status != SMFT_OK) {
    smft__probe_truncate(probe, before);
    return status;
  }
  if (n)
    *n = probe->n - before;
  return SMFT_OK;
}

SMFT_API smft_status smft_probe_add_file(smft_probe *probe, const char *path, int64_t *n) {
  SMFT__TRY(smft__probe_claim(probe, "smft_probe_add_file"));
  return smft__probe_release(probe, add_file(probe, path, n));
}

/* ---- JSON out ------------------------------------------------------------ */

static smft_status put_number(smft__buffer *out, const char *key, double value, const char *after) {
  char digits[40];
  return smft__buffer_printf(out, "\"%s\": %s%s", key, smft__format_double(value, digits), after);
}

/* A metric as three members: now, before, change in percent. */
static smft_status put_metric(smft__buffer *out, const char *key, double now, double before,
                              double change) {
  char a[40], b[40], c[40];
  return smft__buffer_printf(out, "  \"%s\": %s, \"%s_before\": %s, \"%s_change\": %s,\n", key,
                             smft__format_double(now, a), key, smft__format_double(before, b), key,
                             smft__format_double(change, c));
}

/* jansson escapes the string. */
static smft_status put_string(smft__buffer *out, const char *key, const char *value) {
  json_t *string = json_string(value);
  char *text = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
  smft_status status = text ? smft__buffer_printf(out, "\"%s\": %s, ", key, text)
                            : smft__fail(SMFT_E_NOMEM, "no memory to write \"%s\" as JSON", key);
  free(text); /* jansson's, from malloc: the library never sets its allocators */
  json_decref(string);
  return status;
}

static smft_status put_item(smft__buffer *out, const smft_probe *probe, int64_t i) {
  static const char *const kinds[] = {"", "question", "text", "choice"};
  const smft__probe_value *before = &probe->before[i], *after = &probe->after[i];
  const char *id = probe->entries[i].id;
  const int32_t kind = probe->entries[i].kind;
  SMFT__TRY(smft__buffer_printf(out, "%s    {", i ? ",\n" : ""));
  SMFT__TRY(put_string(out, "id", id));
  SMFT__TRY(put_string(out, "kind", kinds[kind]));
  SMFT__TRY(put_number(out, "before", before->score, ", "));
  SMFT__TRY(put_number(out, "after", after->score, ", "));
  if (kind == SMFT_PROBE_QUESTION) {
    SMFT__TRY(put_number(out, "exact_match", after->exact, ", "));
    SMFT__TRY(put_string(out, "text_before", before->text));
    SMFT__TRY(put_string(out, "text", after->text));
  }
  if (kind == SMFT_PROBE_TEXT) {
    SMFT__TRY(smft__buffer_printf(out, "\"tokens\": %lld, ", (long long)after->tokens));
    SMFT__TRY(put_number(out, "kl", after->kl_sum / (double)after->tokens, ", "));
  }
  return smft__buffer_printf(out, "\"lost\": %s, \"gained\": %s}",
                             smft__probe_is_lost(probe, i) ? "true" : "false",
                             smft__probe_is_gained(probe, i) ? "true" : "false");
}

static smft_status put_report(smft__buffer *out, const smft_probe *probe) {
  const smft_probe_report *r = &probe->report;
  SMFT__TRY(smft__buffer_printf(out, "{\n  \"format\": \"smft probe report 1\",\n"));
  SMFT__TRY(smft__buffer_printf(out, "  \"questions\": %lld, \"texts\": %lld, \"choices\": %lld,\n",
                                (long long)r->n_questions, (long long)r->n_texts,
                                (long long)r->n_choices));
  SMFT__TRY(
      put_metric(out, "exact_match", r->exact_match, r->exact_match_before, r->exact_match_change));
  SMFT__TRY(put_metric(out, "f1", r->f1, r->f1_before, r->f1_change));
  SMFT__TRY(put_metric(out, "nll", r->nll, r->nll_before, r->nll_change));
  SMFT__TRY(put_metric(out, "accuracy", r->accuracy, r->accuracy_before, r->accuracy_change));
  SMFT__TRY(smft__buffer_printf(out, "  \"lost\": %lld, \"gained\": %lld, ", (long long)r->lost,
                                (long long)r->gained));
  SMFT__TRY(put_number(out, "kl", r->kl, ", "));
  SMFT__TRY(put_number(out, "seconds", r->seconds, ",\n  \"items\": [\n"));
  for (int64_t i = 0; i < probe->n_before; i++)
    SMFT__TRY(put_item(out, probe, i));
  return smft__buffer_printf(out, "\n  ]\n}\n");
}

static smft_status write_whole(smft_ctx *ctx, const char *path, const smft__buffer *text) {
  smft__writer writer = {0};
  SMFT__TRY(smft__writer_open(&writer, ctx, path));
  smft_status status = smft__writer_write(&writer, text->data, text->length);
  if (status != SMFT_OK) {
    smft__writer_abandon(&writer);
    return status;
  }
  return smft__writer_commit(&writer);
}

static smft_status save_report(const smft_probe *probe, const char *path) {
  SMFT__REQUIRE(path != NULL, "smft_probe_save_report: path is NULL");
  if (!probe->before)
    return smft__fail(SMFT_E_STATE, "smft_probe_save_report: nothing was measured yet");
  smft__buffer text = {probe->ctx, NULL, 0, 0};
  smft_status status = put_report(&text, probe);
  if (status == SMFT_OK)
    status = write_whole(probe->ctx, path, &text);
  smft__buffer_free(&text);
  return status;
}

SMFT_API smft_status smft_probe_save_report(const smft_probe *probe, const char *path) {
  smft_probe *own = (smft_probe *)(uintptr_t)probe; /* its claim changes, nothing else */
  SMFT__TRY(smft__probe_claim(own, "smft_probe_save_report"));
  return smft__probe_release(own, save_report(probe, path));
}
