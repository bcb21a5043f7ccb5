/* export: what the two formats that a model is written in share. */
#ifndef SMFT__EXPORT_H
#define SMFT__EXPORT_H
#include "model/patch.h"

/* One GGUF file for llama.cpp. */
smft_status smft__export_gguf(const smft_model *model, const smft__version *version,
                              const char *path, const smft_export_options *options);
#endif
