/* gguf_names: what GGUF files call families and tensors, and Hugging Face's names of the same. */
#ifndef SMFT__GGUF_NAMES_H
#define SMFT__GGUF_NAMES_H
#include <stdint.h>

#define SMFT__HF_NAME 96 /* bytes of a translated name, the end included */

enum {
  SMFT__GGUF_LLAMA,
  SMFT__GGUF_SMOLLM3,
  SMFT__GGUF_QWEN2,
  SMFT__GGUF_QWEN3,
  SMFT__GGUF_GEMMA3
};

typedef struct smft__gguf_arch {
  const char *name;       /* general.architecture */
  const char *model_type; /* config.json's */
  const char *class_name; /* its "architectures" */
  int32_t kind;           /* SMFT__GGUF_* */
} smft__gguf_arch;
/* Of a model_type; NULL: it has none. */
const smft__gguf_arch *smft__gguf_arch_of(const char *model_type);
/* NULL: not one that is read here; text is not NUL-terminated */
const smft__gguf_arch *smft__gguf_arch_find(const char *text, int64_t length);
/* The names of all of them, for a message. */
void smft__gguf_arch_list(char *text, int64_t size);
/* Hugging Face's name of a tensor; the file's own where there is none, so that it is refused by
 * that. */
void smft__gguf_hf_name(const smft__gguf_arch *arch, const char *name, char hf[SMFT__HF_NAME]);
/* The way back; 0: there is no such tensor in a GGUF. */
int smft__gguf_name(const smft__gguf_arch *arch, const char *hf, char *name, int64_t size);
#endif
