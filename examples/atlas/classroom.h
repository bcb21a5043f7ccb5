/* classroom: what the atlas programs do as hosts of the library: teach a fact's wordings, ask, fill
 * a probe, empty the memory.  A failed call ends the program with the library's message. */
#ifndef ATLAS_CLASSROOM_H
#define ATLAS_CLASSROOM_H
#include "facts.h"
#include "smft/smft.h"

void atlas_push(smft_learner *learner, const char *id, const atlas_text *texts, int64_t n);
/* The greedy answer, at most one line; borrowed until the session's next call. */
const char *atlas_ask(smft_session *session, const char *prompt);
/* The relation's question for n facts in an order (NULL: as they stand). */
void atlas_probe_facts(smft_probe *probe, const atlas_facts *facts, const atlas_wordings *wordings,
                       const int64_t *order, int64_t n);
/* The first n lines of a text file; none if it cannot be read. */
void atlas_probe_texts(smft_probe *probe, const char *path, int64_t n);
/* Every value of the pools set to 0; the model has a memory. */
smft_patch *atlas_zeroed_pools(const smft_model *model);
#endif
