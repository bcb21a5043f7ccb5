/* counts: what the texts read of a grafted model, for its background.safetensors. */
#ifndef SMFT__GRAFT_COUNTS_H
#define SMFT__GRAFT_COUNTS_H
#include "graft/states.h"
/* Writes the file; *unread: the share of slots that nothing reads. */
smft_status smft__graft_count(const smft_model *grafted, const smft__settings *settings,
                              const smft__texts *texts, const smft__states *states,
                              const char *path, double *unread);
#endif
