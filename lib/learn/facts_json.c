/* facts_json: a fact from a line of JSON, {"id", "wordings": [wording, ...]} or {"id", ...wording},
 * a wording being {"prompt" | "question" | "statement", "answer", "end", "exact"}.  Does not own:
 * what a fact is (facts.c), what is made of one wording (wordings.c). */
#include "learn/facts_json.h"
#include "base/alloc.h"
#include "learn/wordings.h"

static smft_status wording_from_json(smft_wording *wording, const json_t *object) {
  const char *question = NULL;
  int exact = 0;
  if (!json_is_object(object))
    return smft__fail(SMFT_E_FORMAT, "\"wordings\": expected objects with \"prompt\", \"question\" "
                                     "or \"statement\" and \"answer\"");
  SMFT__TRY(smft__json_string(object, "prompt", NULL, &wording->prompt, "wording"));
  SMFT__TRY(smft__json_string(object, "question", NULL, &question, "wording"));
  SMFT__TRY(smft__json_string(object, "statement", NULL, &wording->statement, "wording"));
  SMFT__TRY(smft__json_string(object, "answer", NULL, &wording->answer, "wording"));
  SMFT__TRY(smft__json_bool(object, "exact", 0, &exact, "wording"));
  if (!wording->prompt && !wording->statement)
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
    status = wording_from_json(&wordings[i], json_array_get(list, (size_t)i));
  }
  if (status == SMFT_OK)
    status = smft__fact_from_wordings(out, model, id, wordings, n, NULL, how);
  else
    smft__fail_within(status, "fact \"%s\"", id);
  smft__free(model->ctx, wordings);
  return status;
}

static smft_status from_one(smft__fact **out, const smft_model *model, const char *id,
                            const json_t *object, uint32_t how) {
  smft_wording wording = SMFT_WORDING_INIT;
  const char *subject = NULL;
  smft_status status = wording_from_json(&wording, object);
  if (status == SMFT_OK)
    status = smft__json_string(object, "subject", NULL, &subject, "fact");
  if (status != SMFT_OK)
    return smft__fail_within(status, "fact \"%s\"", id);
  return smft__fact_from_wordings(out, model, id, &wording, 1, subject, how);
}

smft_status smft__fact_from_json(smft__fact **out, const smft_model *model, const json_t *object,
                                 uint32_t how) {
  const char *id = NULL;
  *out = NULL;
  SMFT__TRY(smft__json_string(object, "id", NULL, &id, "fact"));
  const json_t *list = json_object_get(object, "wordings");
  int one = !list && json_object_get(object, "answer") != NULL;
  if (!id || !(one || json_is_array(list)))
    return smft__fail(
        SMFT_E_FORMAT,
        "fact: expected an object with \"id\" (a string) and \"wordings\" (an array), or with "
        "\"id\", \"question\" and \"answer\"");
  return one ? from_one(out, model, id, object, how) : from_list(out, model, id, list, how);
}
