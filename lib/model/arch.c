/* arch: the list of families, a line each. */
#include "model/arch.h"

extern const smft__arch smft__arch_llama, smft__arch_mistral, smft__arch_qwen2, smft__arch_qwen3,
    smft__arch_smollm3, smft__arch_gemma3;

const smft__arch *const smft__archs[] = {&smft__arch_llama,
                                         &smft__arch_mistral,
                                         &smft__arch_qwen2,
                                         &smft__arch_qwen3,
                                         &smft__arch_smollm3,
                                         &smft__arch_gemma3,
                                         NULL};
