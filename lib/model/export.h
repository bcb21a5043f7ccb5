/* export: the parts of smft_model_export that stand in files of their own. */
#ifndef SMFT__EXPORT_H
#define SMFT__EXPORT_H
#include "base/staged.h"
#include "model/patch.h"

/* One GGUF file for llama.cpp. */
smft_status smft__export_gguf(const smft_model *model, const smft__version *version,
                              const char *path, const smft_export_options *options);
/* The counts that lie beside the model, for what was staged as config.json and as weights (the
 * paths that the two have now). */
smft_status smft__export_counts(const smft_model *model, smft__staged *to, const char *config,
                                const char *weights);
#endif
