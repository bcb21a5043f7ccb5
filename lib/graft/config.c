/* config: see config.h; docs/formats.md says what the keys mean. */
#include "graft/config.h"

static json_t *list_of(const smft__settings *s, int pools) {
  json_t *list = json_array();
  for (int32_t i = 0; list && i < s->o.n_layers; i++) {
    int32_t pool = s->o.flags & SMFT_GRAFT_SHARED_POOL ? 0 : i;
    if (json_array_append_new(list, json_integer(pools ? pool : s->layers[i])) != 0) {
      json_decref(list);
      return NULL;
    }
  }
  return list;
}

/* What steps of a length have; none is said without one. */
static int put_steps(json_t *learn, const smft_graft_options *o, double step_length) {
  if (step_length <= 0)
    return 0;
  return json_object_set_new(learn, "step_length", json_real(step_length)) != 0 ||
         (o->momentum > 0 && json_object_set_new(learn, "momentum", json_real(o->momentum)) != 0) ||
         ((o->flags & SMFT_GRAFT_LENGTH_BY_LOSS) &&
          json_object_set_new(learn, "length_by_loss", json_true()) != 0);
}

/* Keys that are 0 are left out: the library's own default. */
static json_t *learning(const smft__settings *s, double step_length) {
  const smft_graft_options *o = &s->o;
  json_t *learn =
      json_pack("{s:I, s:f, s:f, s:s, s:s, s:f, s:I, s:b}", "t", (json_int_t)o->t, "max_df",
                o->max_df < 0 ? -1.0 : o->max_df, "damping", o->damping, "damping_by",
                smft__damping_names[o->damping_by - 1], "rank_by", smft__rank_names[o->rank_by - 1],
                "loss_below", o->loss_below, "wordings_per_step", (json_int_t)o->wordings_per_step,
                "frames", !(o->flags & SMFT_GRAFT_NO_FRAMES));
  int bad = !learn || put_steps(learn, o, step_length);
  if (!bad && o->max_steps > 0)
    bad |= json_object_set_new(learn, "max_steps", json_integer(o->max_steps)) != 0;
  if (!bad)
    return learn;
  json_decref(learn);
  return NULL;
}

/* Takes over what it is given, also where it fails. */
static json_t *memory_of(const smft_model *base, const smft__settings *s, double step_length) {
  const smft_graft_options *o = &s->o;
  return json_pack("{s:o*, s:o*, s:s, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:f, s:b, s:b, s:s, s:s, "
                   "s:o*}",
                   "layers", list_of(s, 0), "pools", list_of(s, 1), "placement", "beside", "n_keys",
                   o->n_keys, "heads", o->heads, "top_k", o->top_k, "key_dim", o->key_dim,
                   "value_dim", base->config.hidden, "query_norm", "none", "key_norm", "none",
                   "temperature", o->temperature, "gate", 0, "bias", 1, "out", "identity", "values",
                   "zero", "learn", learning(s, step_length));
}

static int is_whole(const json_t *memory) {
  return json_object_get(memory, "layers") && json_object_get(memory, "pools") &&
         json_object_get(memory, "learn");
}

smft_status smft__graft_config(json_t **out, const smft_model *base, const char *base_path,
                               const smft__settings *s, double step_length) {
  json_t *memory = memory_of(base, s, step_length);
  *out = is_whole(memory) ? json_pack("{s:{s:s, s:s}, s:O}", "base", "path", base_path, "hash",
                                      base->hash, "memory", memory)
                          : NULL;
  json_decref(memory);
  if (*out)
    return SMFT_OK;
  /* the path is the one text that may not be UTF-8 */
  json_t *text = json_string(base_path);
  int is_text = text != NULL;
  json_decref(text);
  return is_text ? smft__fail(SMFT_E_NOMEM, "config.json: no memory for its keys")
                 : smft__fail(SMFT_E_ENCODING,
                              "%s: a path that is not UTF-8 cannot be written "
                              "into config.json",
                              base->path);
}
