/* gguf_config: the keys of a GGUF file as the config.json of the same model. */
#ifndef SMFT__GGUF_CONFIG_H
#define SMFT__GGUF_CONFIG_H
#include "data/gguf.h"
#include "data/gguf_names.h"

/* parts (n): the headers of one model's files; the first has the keys.  *text: to be freed with
 * smft__free.  SMFT_E_UNSUPPORTED names an architecture, or a key that means something which is not
 * done here. */
smft_status smft__gguf_config(const smft__gguf *parts, int32_t n, const smft__gguf_arch **arch,
                              char **text);
#endif
