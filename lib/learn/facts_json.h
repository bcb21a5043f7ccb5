/* facts_json: a fact from a line of JSON. */
#ifndef SMFT__FACTS_JSON_H
#define SMFT__FACTS_JSON_H
#include "data/json.h"
#include "learn/facts.h"
/* how: SMFT__FACT_* */
smft_status smft__fact_from_json(smft__fact **out, const smft_model *model, const json_t *object,
                                 uint32_t how);
#endif
