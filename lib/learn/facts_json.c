/* facts_json: a fact from a line of JSON, {"id", "wordings": [wording, ...]} or {"id", ...wording},
 * a wording being {"prompt" | "question" | "statement", "answer", "end", "exact"}; beside them may
 * stand what others ask and accept.  Any other key is an error.  Does not own: what a fact is
 * (facts.c), what is made of one wording (wordings.c). */
#include "learn/facts_json.h"
#include "base/alloc.h"
#include "learn/wordings.h"

/* ---- keys ---------------------------------------------------------------- */

static const char *const of_fact[] = {"id",      "wordings", "subject", "question",
                                      "answers", "aliases",  "ask",     NULL};
static const char *const of_wording[] = {"prompt", "question", "statement", "answer",
                                         "end",    "exact",    NULL};

static int listed(const char *const *list, const char *key) {
  for (; list && *list; list++)
    if (strcmp(*list, key) == 0)
      return 1;
  return 0;
}

/* A misspelt key would be a part that nobody learns.  more: NULL, or a second list. */
static smft_status check_keys(const json_t *object, const char *const *known,
                              const char *const *more) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    if (key[0] != '_' && !listed(known, key) && !listed(more, key))
      return smft__fail(SMFT_E_FORMAT,
                        "\"%s\" is not known here (keys that begin with \"_\" are ignored)", key);
  }
  return SMFT_OK;
}

/* What is not learnt, but asked and accepted by others: lists of texts. */
static smft_status check_lists(const json_t *object) {
  static const char *const lists[] = {"answers", "aliases", "ask"};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    const json_t *list = json_object_get(object, lists[i]);
    int good = !list || json_is_null(list) || json_is_array(list);
    for (size_t j = 0; good && j < json_array_size(list); j++)
      good = json_is_string(json_array_get(list, j));
    if (!good)
      return smft__fail(SMFT_E_FORMAT, "\"%s\": expected a list of strings", lists[i]);
  }
  return SMFT_OK;
}

/* ---- one wording --------------------------------------------------------- */

/* alone: the object is the fact, whose question may be how it is asked beside a statement. */
static smft_status wording_from_json(smft_wording *wording, const json_t *object, int alone) {
  const char *question = NULL;
  int exact = 0;
  if (!json_is_object(object))
    return smft__fail(SMFT_E_FORMAT, "\"wordings\": expected objects with \"prompt\", \"question\" "
                                     "or \"statement\" and \"answer\"");
  if (!alone)
    SMFT__TRY(check_keys(object, of_wording, NULL));
  SMFT__TRY(smft__json_string(object, "prompt", NULL, &wording->prompt, "wording"));
  SMFT__TRY(smft__json_string(object, "question", NULL, &question, "wording"));
  SMFT__TRY(smft__json_string(object, "statement", NULL, &wording->statement, "wording"));
  SMFT__TRY(smft__json_string(object, "answer", NULL, &wording->answer, "wording"));
  SMFT__TRY(smft__json_bool(object, "exact", 0, &exact, "wording"));
  if (wording->prompt && question)
    return smft__fail(SMFT_E_FORMAT, "\"prompt\" and \"question\" are the same: give one");
  if (question && !(alone && wording->statement))
    wording->prompt = question;
  wording->flags = exact ? SMFT_WORDING_EXACT : 0;
  return smft__json_string(object, "end", NULL, &wording->end, "wording");
}

static smft_status from_list(smft__fact **out, const smft_model *model, const char *id,
                             const json_t *list, uint32_t how) {
  int64_t n = (int64_t)json_array_size(list);
  smft_wording *wordings = smft__calloc_array(model->ctx, n + 1, sizeof *wordings);
  if (!wordings)
    return SMFT_E_NOMEM;
  smft_status status = SMFT_OK;
  for (int64_t i = 0; i < n && status == SMFT_OK; i++) {
    wordings[i].struct_size = sizeof *wordings;
    status = wording_from_json(&wordings[i], json_array_get(list, (size_t)i), 0);
    if (status != SMFT_OK)
      smft__fail_within(status, "fact \"%s\", wording %lld", id, (long long)i);
  }
  if (status == SMFT_OK)
    status = smft__fact_from_wordings(out, model, id, wordings, n, NULL, how);
  smft__free(model->ctx, wordings);
  return status;
}

static smft_status from_one(smft__fact **out, const smft_model *model, const char *id,
                            const json_t *object, const char *subject, uint32_t how) {
  smft_wording wording = SMFT_WORDING_INIT;
  smft_status status = wording_from_json(&wording, object, 1);
  if (status != SMFT_OK)
    return smft__fail_within(status, "fact \"%s\"", id);
  return smft__fact_from_wordings(out, model, id, &wording, 1, subject, how);
}

/* ---- a fact -------------------------------------------------------------- */

/* one: whether it is of the second form. */
static smft_status check_object(const json_t *object, const char *id, int one,
                                const char **subject) {
  const json_t *list = json_object_get(object, "wordings");
  const char *question = NULL;
  SMFT__TRY(check_keys(object, of_fact, list ? NULL : of_wording));
  SMFT__TRY(check_lists(object));
  SMFT__TRY(smft__json_string(object, "subject", NULL, subject, "fact"));
  SMFT__TRY(smft__json_string(object, "question", NULL, &question, "fact"));
  if (id && (one || json_is_array(list)))
    return SMFT_OK;
  return smft__fail(
      SMFT_E_FORMAT,
      "expected an object with \"id\" (a string) and \"wordings\" (an array), or with "
      "\"id\", \"question\" and \"answer\"");
}

smft_status smft__fact_from_json(smft__fact **out, const smft_model *model, const json_t *object,
                                 uint32_t how) {
  const char *id = NULL, *subject = NULL;
  *out = NULL;
  SMFT__TRY(smft__json_string(object, "id", NULL, &id, "fact"));
  const json_t *list = json_object_get(object, "wordings");
  int one = !list && json_object_get(object, "answer") != NULL;
  smft_status status = check_object(object, id, one, &subject);
  if (status != SMFT_OK)
    return id ? smft__fail_within(status, "fact \"%s\"", id) : smft__fail_within(status, "fact");
  return one ? from_one(out, model, id, object, subject, how)
             : from_list(out, model, id, list, how);
}
