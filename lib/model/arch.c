/* arch: the list of families, a line each. */
#include "model/arch.h"

extern const smft__arch smft__arch_llama;

const smft__arch *const smft__archs[] = {&smft__arch_llama, NULL};
