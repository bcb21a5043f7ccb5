/* fuzz_text: what a tokenizer owes to any text: ids that exist, the same number when asked for
 * only that, text that is UTF-8, and a stream that says what the whole says. */
#ifndef SMFT_FUZZ_TEXT_H
#define SMFT_FUZZ_TEXT_H
#include "fuzz.h"

#include "base/bytes.h"
#include "data/tokenizer.h"

enum { FUZZ_IDS = 8192, FUZZ_TEXT = 1 << 16 };

/* The pieces that a session hands out, one token at a time.  whole: what they must come to, where
 * they are UTF-8; NULL: the decoder is one that a stream need not follow (it takes from the end of
 * a text, or replaces across tokens). */
static inline void fuzz_stream(const smft_tokenizer *tokenizer, const int32_t *ids, int64_t n,
                               uint32_t flags, const char *whole, size_t length) {
  smft_ctx *ctx = fuzz_ctx();
  smft__buffer bytes = {ctx, NULL, 0, 0};
  smft__decode_work work;
  int first = 1;
  smft__decode_work_init(&work, ctx);
  for (int64_t i = 0; i < n; i++)
    MUST(smft__tokenizer_decode_bytes(tokenizer, &work, ids[i], flags, &first, &bytes));
  if (whole && smft__utf8_valid(bytes.data, (size_t)bytes.length, NULL) &&
      ((size_t)bytes.length != length || (length && memcmp(bytes.data, whole, length) != 0)))
    give_up("a stream is not what the whole is");
  smft__decode_work_free(&work);
  smft__buffer_free(&bytes);
}

static inline const char *fuzz_decode(const smft_tokenizer *tokenizer, const int32_t *ids,
                                      int64_t n, uint32_t flags, size_t *length) {
  static char text[FUZZ_TEXT];
  size_t asked = 0;
  MUST(smft_tokenizer_decode(tokenizer, ids, n, flags, NULL, 0, &asked));
  *length = 0;
  if (asked >= sizeof text)
    return NULL;
  char *exact = malloc(asked + 1); /* of exactly its size, for the sanitizer */
  if (!exact)
    give_up("no memory");
  MUST(smft_tokenizer_decode(tokenizer, ids, n, flags, exact, asked + 1, length));
  if (*length != asked || exact[asked] != '\0')
    give_up("a text is not as long as it says");
  memcpy(text, exact, asked + 1);
  free(exact);
  if (!smft__utf8_valid(text, asked, NULL))
    give_up("a text that is not UTF-8");
  return text;
}

/* Encodes and decodes, and compares what is streamed (`streams`); returns the text that came back
 * (as fuzz_decode), NULL where there is none: it was refused, or is longer than the arrays here. */
static inline const char *fuzz_there_and_back(const smft_tokenizer *tokenizer, const char *text,
                                              size_t length, uint32_t flags, int streams,
                                              size_t *back_length) {
  static int32_t ids[FUZZ_IDS];
  int64_t n = 0, asked = 0;
  smft_status status = smft_tokenizer_encode(tokenizer, text, length, flags, NULL, 0, &asked);
  CHECK(status, SMFT_E_ENCODING, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED);
  if ((status == SMFT_E_ENCODING) != !smft__utf8_valid(text, length, NULL))
    give_up("what is UTF-8 is refused, or what is not is taken");
  if (status != SMFT_OK || asked > FUZZ_IDS)
    return NULL;
  MUST(smft_tokenizer_encode(tokenizer, text, length, flags, ids, FUZZ_IDS, &n));
  if (n != asked)
    give_up("the number of ids differs");
  for (int64_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= smft_tokenizer_vocab_size(tokenizer))
      give_up("an id that no token has");
  const char *skipped = fuzz_decode(tokenizer, ids, n, SMFT_DECODE_SKIP_SPECIAL, back_length);
  if (skipped)
    fuzz_stream(tokenizer, ids, n, SMFT_DECODE_SKIP_SPECIAL, streams ? skipped : NULL,
                *back_length);
  const char *back = fuzz_decode(tokenizer, ids, n, 0, back_length);
  if (back)
    fuzz_stream(tokenizer, ids, n, 0, streams ? back : NULL, *back_length);
  return back;
}
#endif
