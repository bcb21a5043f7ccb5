/* session: what stands behind smft_session: tokens so far, their keys and values, and, while a call
 * runs, room for one chunk of new tokens. */
#ifndef SMFT__SESSION_H
#define SMFT__SESSION_H
#include "base/bytes.h"
#include "base/claim.h"
#include "model/cache.h"
#include "model/stack.h"

struct smft_session {
  smft_model *model;
  smft_patch *patch;      /* or NULL */
  int32_t context, chunk; /* tokens in all; new tokens that are run at a time */
  /* tokens the session holds; this, number and finish are read by any thread at any time */
  _Atomic int64_t length;
  /* of them, how many have their keys and values in the cache, for version `number` of the patch */
  int64_t cached;
  _Atomic uint64_t number;
  const smft__version *version; /* what the call that runs reads; NULL: the base, or no call runs */
  const smft__version *held;    /* what calls read until it is let go; NULL: the newest */
  int32_t pins;                 /* SMFT_SESSION_PIN: it is let go when no token is left, */
  int32_t holds;                /* but not between hold and let_go */
  smft__claim claim;            /* one call at a time */
  smft__cache cache;            /* grows with the tokens, as do */
  int32_t *ids;                 /* (length) */
  int64_t ids_capacity;
  int64_t block_size;      /* bytes of everything below, which a call borrows (base/loan.h) */
  void *block;             /* NULL: no call is running */
  int32_t *positions;      /* (chunk) */
  float *x;                /* (chunk, d) */
  float *hidden;           /* (chunk, d) after the last norm */
  float *scratch;          /* attention's */
  float *logits;           /* (V) of the last token, for generation */
  float *adapted;          /* (chunk, rank) the patch's adapters' */
  smft__block_tape *tapes; /* (n_layers): one set of arrays, shared, but k and v in the cache */
  smft__memory_tape memory;
  smft__buffer text; /* what generate gave out last */
  atomic_int finish; /* SMFT_FINISH_*: why it ended */
};

/* Between these two the session is a call's alone.  Release gives the status that the call returns,
 * and destroys what was freed meanwhile. */
smft_status smft__session_claim(smft_session *session, const char *function);
smft_status smft__session_release(smft_session *session, smft_status status);
/* Between these two a call reads `version` and has room to compute.  These, and what follows, are
 * for who has a claim. */
smft_status smft__session_begin(smft_session *session);
void smft__session_end(smft_session *session);
/* All calls between these two read the version that is the newest at the first (slots patches): for
 * calls that are made of many. */
void smft__session_hold(smft_session *session);
void smft__session_let_go(smft_session *session);
/* As the public calls. */
smft_status smft__session_feed(smft_session *session, const int32_t *ids, int64_t n_ids,
                               int32_t which, float *logits, int64_t capacity);
smft_status smft__session_rewind(smft_session *session, int64_t length);
smft_status smft__session_generate(smft_session *session, const char *prompt, size_t prompt_length,
                                   const smft_generate_options *options, const char **text,
                                   size_t *length);
/* Appends checked ids without running them; a failure changes nothing. */
smft_status smft__session_append(smft_session *session, const int32_t *ids, int64_t n_ids);
void smft__session_cut(smft_session *session, int64_t length); /* forgets what stands behind */
/* Runs the next chunk of what is not in the cache, if it is more than one; 0: it is not. */
smft_status smft__session_run_chunk(smft_session *session, int *ran);
/* Runs what is not in the cache yet, and logits (n, V) of the last n tokens (n 0: none) into
 * `logits`. */
smft_status smft__session_run(smft_session *session, int64_t n, float *logits);
#endif
