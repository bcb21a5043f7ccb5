/* program: what the programs share: ending with a message, memory that is there, paths, progress.
 */
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
/* In bytes; -1: there is none. */
int64_t file_size(const char *path);
/* An smft_progress_fn: a line on the terminal that is gone when all is done; elsewhere nothing. */
int32_t show_progress(void *user, const char *stage, int64_t done, int64_t total);
#endif
