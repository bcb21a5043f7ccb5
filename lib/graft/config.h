/* config: what a grafted model's config.json says. */
#ifndef SMFT__GRAFT_CONFIG_H
#define SMFT__GRAFT_CONFIG_H
#include "graft/settings.h"
/* *out is freed with json_decref; base_path: as it is to be written. */
smft_status smft__graft_config(json_t **out, const smft_model *base, const char *base_path,
                               const smft__settings *settings, double step_length);
#endif
