/* program: what the atlas programs share: ending with a message, memory that is there, paths. */
#ifndef ATLAS_PROGRAM_H
#define ATLAS_PROGRAM_H
#include "smft/smft.h"
#include <stddef.h>
#include <stdint.h>

/* Ends the program with the library's message unless status is SMFT_OK.  `what` was being done. */
void check(smft_status status, const char *what);
/* The pointer; ends the program if it is NULL. */
void *need(void *pointer);
/* "directory/name", until the fourth call from now. */
const char *path_in(const char *directory, const char *name);
#endif
