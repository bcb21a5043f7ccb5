/* encode: text to ids: the order in which the parts of a tokenizer see a text.
 * Does not own: any of the parts (parts.h names them). */
#include "base/bytes.h"
#include "data/tokenizer/parts.h"

/* bytes; positions within a piece are 32-bit numbers, and normal forms grow text */
#define TEXT_MOST (1 << 29)

typedef struct encoding { /* scratch of one call */
  const smft_tokenizer *tokenizer;
  uint32_t flags;
  const char *whole;        /* the text */
  const smft__spans *plain; /* what users wrote of it; NULL: all is as the flags say */
  int64_t shift;            /* where in the text of `plain` the text stands that is looked at */
  smft__ids *ids;
  smft__scan scan;
  smft__bpe_work work;
  smft__pieces pieces, spare;
  smft__buffer normalized;
  smft__spm_work spm;
  smft__founds founds;
} encoding;

static int without_prefix(const encoding *run, int at_start) {
  return at_start && (run->flags & SMFT_ENCODE_CONTINUE) != 0;
}

static smft_status encode_piece(encoding *run, const char *text, int64_t length) {
  const smft_tokenizer *t = run->tokenizer;
  return t->spm.ranks ? smft__spm_encode(&t->spm, &t->vocab, &run->spm, text, length, run->ids)
                      : smft__bpe_encode(&t->bpe, &t->vocab, &run->work, text, length, run->ids);
}

/* Normalized text without added tokens. */
static smft_status encode_plain(encoding *run, const char *text, int64_t length, int at_start) {
  const smft_tokenizer *tokenizer = run->tokenizer;
  if (length == 0)
    return SMFT_OK;
  SMFT__TRY(smft__splitter_run(&tokenizer->splitter, &run->scan, text, length, at_start,
                               without_prefix(run, at_start), &run->pieces, &run->spare));
  for (int64_t i = 0; i < run->pieces.n; i++) {
    const smft__piece *piece = &run->pieces.data[i];
    if (piece->end - piece->start > INT32_MAX)
      return smft__fail(SMFT_E_UNSUPPORTED,
                        "a part of the text has %lld bytes, expected less than 2^31",
                        (long long)(piece->end - piece->start));
    SMFT__TRY(encode_piece(run, run->pieces.text.data + piece->start, piece->end - piece->start));
  }
  return SMFT_OK;
}

static smft__search search_of(const encoding *run, const smft__trie *trie, const char *text,
                              int64_t length) {
  return (smft__search){.added = &run->tokenizer->added,
                        .trie = trie,
                        .text = text,
                        .length = length,
                        .no_special = (run->flags & SMFT_ENCODE_NO_PARSE) != 0,
                        .plain = run->plain,
                        .shift = run->shift};
}

/* Finds the added tokens of one trie; what is between them goes to `between`. */
static smft_status encode_added(encoding *run, const smft__trie *trie, const char *text,
                                int64_t length, int at_start,
                                smft_status (*between)(encoding *, const char *, int64_t, int)) {
  smft__search search = search_of(run, trie, text, length);
  smft__found found;
  int64_t done = 0;
  do {
    smft__search_next(&search, &found);
    if (done < found.start)
      SMFT__TRY(between(run, text + done, found.start - done, at_start && done == 0));
    if (found.id >= 0)
      SMFT__TRY(smft__ids_put(run->ids, found.id));
    done = found.end;
  } while (found.id >= 0);
  return SMFT_OK;
}

/* The same for a tokenizer that looks for the longest of them first. */
static smft_status encode_longest(encoding *run, const char *text, int64_t length,
                                  smft_status (*between)(encoding *, const char *, int64_t, int)) {
  smft__search search = search_of(run, &run->tokenizer->added.plain, text, length);
  smft__founds *founds = &run->founds;
  int64_t done = 0;
  SMFT__TRY(smft__longest_find(&search, founds));
  for (int64_t i = 0; i < founds->n; i++) {
    const smft__found *found = &founds->data[i];
    if (done < found->start)
      SMFT__TRY(between(run, text + done, found->start - done, done == 0));
    SMFT__TRY(smft__ids_put(run->ids, found->id));
    done = found->end;
  }
  return done < length ? between(run, text + done, length - done, done == 0) : SMFT_OK;
}

/* Text between the added tokens that are looked for before the normalizer.  Where that changes
 * bytes, spans of what users wrote mean nothing behind it: check_contents was there before. */
static smft_status encode_raw(encoding *run, const char *text, int64_t length, int at_start) {
  const smft__spans *plain = run->plain;
  const smft__normalizer *normalizer = &run->tokenizer->normalizer;
  run->normalized.length = 0;
  SMFT__TRY(smft__normalizer_run(normalizer, &run->scan, text, length,
                                 without_prefix(run, at_start), &run->normalized));
  run->plain = normalizer->n > 0 ? NULL : plain;
  run->shift = text - run->whole;
  smft_status status = encode_added(run, &run->tokenizer->added.normalized, run->normalized.data,
                                    run->normalized.length, at_start, encode_plain);
  run->plain = plain;
  run->shift = 0;
  return status;
}

static smft_status encode_whole(encoding *run, const char *text, int64_t length) {
  int begins = (run->flags & SMFT_ENCODE_CONTINUE) == 0;
  int before = begins && (run->flags & (SMFT_ENCODE_SPECIAL | SMFT_ENCODE_PROMPT)) != 0;
  int after = before && (run->flags & SMFT_ENCODE_PROMPT) == 0;
  if (before)
    SMFT__TRY(smft__ids_put_all(run->ids, run->tokenizer->before.data, run->tokenizer->before.n));
  if (length > 0)
    SMFT__TRY(run->tokenizer->longest_first
                  ? encode_longest(run, text, length, encode_raw)
                  : encode_added(run, &run->tokenizer->added.plain, text, length, 1, encode_raw));
  return after ? smft__ids_put_all(run->ids, run->tokenizer->after.data, run->tokenizer->after.n)
               : SMFT_OK;
}

smft_status smft__tokenizer_put_end(const smft_tokenizer *tokenizer, smft__ids *ids) {
  return smft__ids_put_all(ids, tokenizer->after.data, tokenizer->after.n);
}

static smft_status check_text(const char *text, size_t length, uint32_t flags) {
  const uint32_t known =
      SMFT_ENCODE_SPECIAL | SMFT_ENCODE_NO_PARSE | SMFT_ENCODE_CONTINUE | SMFT_ENCODE_PROMPT;
  size_t bad_at = 0;
  SMFT__REQUIRE(text || length == 0, "encode: text is NULL and length is %zu", length);
  SMFT__REQUIRE((flags & ~known) == 0, "encode: flags %u has unknown bits", (unsigned)flags);
  if (length > TEXT_MOST)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "encode: the text has %zu bytes, at most %d are encoded at once", length,
                      TEXT_MOST);
  if (!smft__utf8_valid(text, length, &bad_at))
    return smft__fail(SMFT_E_ENCODING, "encode: the text is not valid UTF-8 at byte %zu of %zu",
                      bad_at, length);
  return SMFT_OK;
}

/* No special token that is looked for behind the normalizer may be spelled in what users wrote. */
static smft_status check_content(encoding *run, const char *text, int64_t length) {
  const smft__added *added = &run->tokenizer->added;
  smft__found found;
  run->normalized.length = 0;
  SMFT__TRY(smft__normalizer_run(&run->tokenizer->normalizer, &run->scan, text, length, 1,
                                 &run->normalized));
  smft__search search = {.added = added,
                         .trie = &added->normalized,
                         .text = run->normalized.data,
                         .length = run->normalized.length};
  for (smft__search_next(&search, &found); found.id >= 0; smft__search_next(&search, &found))
    if (run->tokenizer->vocab.tokens[found.id].flags & SMFT__TOKEN_SPECIAL)
      return smft__fail(SMFT_E_UNSUPPORTED,
                        "chat: a message spells the special token %d, which this tokenizer cannot "
                        "read as text",
                        (int)found.id);
  return SMFT_OK;
}

static smft_status check_contents(encoding *run) {
  const smft__spans *plain = run->plain;
  if (run->tokenizer->normalizer.n == 0)
    return SMFT_OK;
  for (int64_t i = 0; plain && i < plain->n; i++)
    SMFT__TRY(check_content(run, run->whole + plain->data[i].start,
                            plain->data[i].end - plain->data[i].start));
  return SMFT_OK;
}

static smft_status encode(const smft_tokenizer *tokenizer, const char *text, size_t length,
                          uint32_t flags, const smft__spans *plain, smft__ids *ids) {
  smft_ctx *ctx = tokenizer->ctx;
  smft__buffer empty = {ctx, NULL, 0, 0};
  encoding run = {.tokenizer = tokenizer,
                  .flags = flags,
                  .whole = text,
                  .plain = plain,
                  .ids = ids,
                  .scan = {.ctx = ctx},
                  .work = {.ctx = ctx, .queue = {.ctx = ctx}},
                  .pieces = {.text = empty},
                  .spare = {.text = empty},
                  .normalized = empty,
                  .spm = {.ctx = ctx, .queue = {.ctx = ctx}},
                  .founds = {.ctx = ctx}};
  int64_t before = ids->n;
  SMFT__TRY(check_text(text, length, flags));
  smft_status status = check_contents(&run);
  if (status == SMFT_OK)
    status = encode_whole(&run, text, (int64_t)length);
  if (status != SMFT_OK)
    ids->n = before;
  smft__scan_free(&run.scan);
  smft__bpe_work_free(&run.work);
  smft__pieces_free(&run.pieces);
  smft__pieces_free(&run.spare);
  smft__buffer_free(&run.normalized);
  smft__spm_work_free(&run.spm);
  smft__founds_free(&run.founds);
  return status;
}

smft_status smft__tokenizer_encode(const smft_tokenizer *tokenizer, const char *text, size_t length,
                                   uint32_t flags, smft__ids *ids) {
  return encode(tokenizer, text, length, flags, NULL, ids);
}

smft_status smft__tokenizer_encode_spans(const smft_tokenizer *tokenizer, const char *text,
                                         size_t length, const smft__spans *plain, smft__ids *ids) {
  return encode(tokenizer, text, length, 0, plain, ids);
}
