/* folder: where a path really is, and directories that are made beside their place and put there
 * whole. */
#ifndef SMFT__FOLDER_H
#define SMFT__FOLDER_H
#include "base/ctx.h"
/* *out: the path, absolute and without symbolic links, to be freed; its last part need not exist.
 */
smft_status smft__path_resolve(char **out, smft_ctx *ctx, const char *path);
/* Makes a directory with a name that nobody else uses beside `path`; *out: its path, to be freed.
 */
smft_status smft__folder_make_beside(char **out, smft_ctx *ctx, const char *path);
/* 1 for a directory in which nothing is. */
int smft__folder_is_empty(const char *path);
/* A file, or a directory to where nothing or an empty one is. */
smft_status smft__move(const char *from, const char *to);
/* Files `names` (n) of one directory into another, in this order, under the marker. */
smft_status smft__folder_move(const char *from, const char *to, const char *const *names, int n);
/* While n files of a directory take their places one after another, by `place`, a marker stands in
 * it: what is left of that where it stopped half-way is refused. */
typedef smft_status (*smft__place_fn)(void *user, int i);
smft_status smft__folder_place(const char *path, int n, smft__place_fn place, void *user);
/* SMFT_E_MISMATCH where the marker stands in the directory. */
smft_status smft__folder_check(const char *path);
/* Removes `names` (n) in it, those that are there, and the directory if nothing else is. */
void smft__folder_remove(const char *path, const char *const *names, int n);
#endif
