/* stops: the ids at which generation ends. */
#ifndef SMFT__STOPS_H
#define SMFT__STOPS_H
#include "model/config.h"

/* One more; an id that is there already is no other.  `where` names the file in messages. */
smft_status smft__stops_add(smft__config *config, int64_t id, const char *where);
/* "eos_token_id" of a file: a number, a list or nothing. */
smft_status smft__stops_add_json(smft__config *config, const json_t *value, const char *where);
/* generation_config.json of a directory, where it is there. */
smft_status smft__stops_read(smft__config *config, smft_ctx *ctx, const char *directory);
/* What a GGUF file's tokenizer says; NULL is fine. */
smft_status smft__stops_of(smft__config *config, const smft_tokenizer *tokenizer);
int smft__stops_at(const smft__config *config, int32_t id);
#endif
