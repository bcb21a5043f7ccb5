/* rotary: what config.json says of rotary positions becomes tables of the plan.  A scaling rule
 * changes numbers of a table, once, here, and nothing else anywhere.  Does not own: which block has
 * which table (arch/), how pairs turn (nn/rope.h). */
#ifndef SMFT__ROTARY_H
#define SMFT__ROTARY_H
#include "model/config.h"

/* For arch/, after smft__config_decoder: the one table of most families, from "rope_theta"
 * (missing: theta) and "rope_scaling" or, in newer files, "rope_parameters"; config->rope_theta is
 * its own. */
smft_status smft__rotary_plan(smft__config *config, smft_ctx *ctx, const json_t *root,
                              double theta);
/* One more table, after those that are there, of one such object, or NULL; `key` names it in
 * messages.  theta: where the object says none. */
smft_status smft__rotary_add(smft__config *config, smft_ctx *ctx, json_t *object, const char *key,
                             double theta);
#endif
