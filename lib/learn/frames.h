/* frames: the wordings of a fact that are made by rule, as text: from a question, or from a
 * sentence with its answer marked. */
#ifndef SMFT__FRAMES_H
#define SMFT__FRAMES_H
#include "base/bytes.h"

#define SMFT__FRAMES_BYTES 65536 /* of a question, an answer or a subject, at most */

typedef struct smft__frame {
  int32_t kind;    /* SMFT_FRAME_* */
  char *prompt;    /* what stands before the answer; of a chat the user's message */
  const char *end; /* what follows the answer, and is learnt; NULL: a newline (chats: the turn's) */
  char *rest;      /* what follows the answer and is not learnt, or NULL */
} smft__frame;

typedef struct smft__frames { /* zero but for ctx: empty */
  smft_ctx *ctx;
  smft__frame *list;
  int64_t n, capacity;
} smft__frames;
void smft__frames_free(smft__frames *frames);
/* The last of them goes again. */
void smft__frames_drop(smft__frames *frames);

/* Appends a prompt, which it takes over, also where it fails. */
smft_status smft__frames_add(smft__frames *frames, int32_t kind, char *prompt);

/* Appends, the plainest first.  subject: NULL: found by rule; "": none.  flags:
 * SMFT_WORDINGS_NO_*. */
smft_status smft__frames_of_question(smft__frames *out, const char *question, const char *answer,
                                     const char *subject, uint32_t flags);
/* statement[at, at + n) is the answer. */
smft_status smft__frames_of_statement(smft__frames *out, const char *statement, size_t at, size_t n,
                                      uint32_t flags);
/* A prompt that its answer goes on with: raw and as a chat, as it is. */
smft_status smft__frames_of_prompt(smft__frames *out, const char *prompt, uint32_t flags);
/* It ends with a question mark, or begins as an English question or order. */
int smft__is_question(const char *text);
#endif
