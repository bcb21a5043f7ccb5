/* libsmft: teach a language model new facts while it runs, without making it forget what it knew.
 *
 * Sparse memory finetuning (Lin et al. 2025, arXiv 2510.15103, "[P]") on memory-layer models
 * (Berges et al. 2024, arXiv 2412.09764, "[B]").
 * base model (read-only, mapped, shared) + patch (small, private) = what the host sees.
 *
 * The usual course: smft_ctx_create, smft_model_load, smft_patch_create, smft_learner_create;
 * smft_learner_push for each fact, then smft_step until none is pending (or smft_learner_run);
 * smft_session_create on model and patch to ask; smft_probe_* to measure what was forgotten;
 * smft_patch_save to keep what was learnt.  docs/method.md explains what a step does and where the
 * defaults come from, docs/formats.md the files.
 *
 * Rules that hold for every function, unless its comment says otherwise:
 *   Errors     smft_status is returned; 0 is success, negative is failure.  smft_error_message() of
 *              the same thread then says what went wrong, where, what was expected and what was
 *              found.  A failed constructor sets *out to NULL.  Three errors are possible nearly
 *              everywhere and are not named again at each function:
 *                SMFT_E_INVALID      NULL for a handle, an out-pointer or an array that is needed,
 *                                    or a negative number of elements
 *                SMFT_E_STRUCT_SIZE  a struct whose first field is no size that it ever had;
 *                                    SMFT_E_UNSUPPORTED where a larger one has something set that
 *                                    this version does not know
 *                SMFT_E_NOMEM        wherever memory has to be made
 *   Files      Reading a file can fail with SMFT_E_NOT_FOUND (there is none), SMFT_E_IO (it cannot
 *              be read, or is no file), SMFT_E_FORMAT (it is not what it should be; the message
 *              names what it is, if that is known: a Git LFS pointer, a pickle, a truncated
 *              download) and SMFT_E_ENCODING (it should be UTF-8 and is not).  A safetensors file
 *              whose element types are not read here is SMFT_E_UNSUPPORTED.  These are "the errors
 *              of reading" below.  Writing replaces a file whole or not at all (a temporary file
 *              beside it, fsync, rename); it can fail with SMFT_E_NOT_FOUND (its directory does not
 *              exist) and SMFT_E_IO: "the errors of writing".
 *   Ownership  What a constructor returned is freed with the *_free of its type; freeing NULL is
 *              fine.  A child holds a reference on its parents, so handles may be freed in any
 *              order.  Pointers from getters are borrowed: they live as long as the handle, or
 *              until the call that the comment names.  What is given to a function is read, or
 *              copied, before it returns.
 *   Threads    smft_model and smft_tokenizer are immutable: any number of threads may use them.
 *              One smft_ctx may be used by handles on any threads at once.  Every other handle is
 *              one call's at a time: another meanwhile, from another thread or from a callback of
 *              the first, is SMFT_E_STATE and does nothing.
 *   In use     A call on a handle that another call has in hand, from another thread or from a
 *              callback of that call (progress, on_token, on_fact, log, allocator, parallel_for).
 *              Other handles may be used there. "state": SMFT_E_STATE, nothing is done. "later":
 *              the handle goes at that call's end, which is asked to stop and returns
 *              SMFT_E_CANCELLED. "counted": handles that were made of it hold a reference. In a
 *              child of fork() no handle is in use. After its free a handle must not be used: in C
 *              that is not found out, in Python it is StateError.
 *                smft_session_{feed,nll,generate,generate_ids}            state
 *                smft_session_{rewind,set_patch}                          state
 *                smft_session_{length,version,finish}                     value as it stands
 *                smft_session_cancel                                      stops it
 *                smft_session_free                                        later
 *                smft_step                                                state
 *                smft_learner_{run,step_batch,skip,set_patch}             state
 *                smft_learner_{push,push_ids,push_wordings,push_file}     state
 *                smft_learner_pending                                     value as it stands
 *                smft_learner_selected                                    in callbacks only
 *                smft_learner_cancel                                      stops it
 *                smft_learner_free                                        later
 *                smft_probe_{add_question,add_text,add_choice}            state
 *                smft_probe_add_file                                      state
 *                smft_probe_{baseline,measure,save_report}                state
 *                smft_probe_get_item                                      in callbacks only
 *                smft_probe_free                                          later
 *                smft_optimizer_{set_lr,set_group,reset,save,load}        state, in a step, too
 *                smft_selector_{count_background,load}                    state, in a step, too
 *                smft_selector_{df,save}                                  state while it counts
 *                smft_{optimizer,selector,patch,model,tokenizer,ctx}_free counted
 *                smft_patch_{set_row,reset_row,clear,assign,fact_remove}  state while it changes
 *                smft_patch_{row,slots,copy,merge,version}                always (slots)
 *                smft_patch_{save,save_buffer}                            always (slots)
 *                smft_patch_{kind,get_lora}                               always
 *                smft_patch_{fact_count,fact_get,fact_id,fact_rows}       always
 *   Versions   A slots patch has versions (smft_patch_version).  A call that reads it takes the
 *              newest at its beginning and keeps that to its end: each smft_session_feed, a whole
 *              generation, a whole measurement.  A step or another change publishes a new one when
 *              it is done.  So any number of sessions answer while a learner teaches the patch that
 *              they share; nobody waits, and nobody gets an error.  Rows that did not change are
 *              shared between versions, and between a patch and its copies.  One call at a time
 *              changes a patch: another meanwhile is SMFT_E_STATE.  Full and LoRA patches are
 *              changed in place: there, a change while someone reads or changes the patch is
 *              SMFT_E_STATE, and so is a read while someone changes it.  Both are meant by "changed
 *              meanwhile" below.
 *   Memory     What only a running call needs (activations, logits) it borrows from the context,
 *              which keeps it for the next one, of whichever session or learner: no more than calls
 *              ran at the same time, and until a model or a learner is freed.  A session that waits
 *              has its tokens, their keys and values, and the last text.
 *   Text       UTF-8, given by pointer and length in bytes where a length is taken, else
 *              NUL-terminated.
 *   Structs    The first field is the size of the struct as the caller knows it; use the
 *              SMFT_*_INIT macro or set every other field to zero (smft_background has one field
 *              for which the macro sets something else).  Zero means "the default" everywhere
 *              unless said otherwise.  Structs only ever grow at the end.  Reports get as many
 *              bytes as the caller's struct has.  Fields named `reserved` are 0; options where
 *              they are not are SMFT_E_INVALID.
 *   Arrays     Row-major.  Shapes are written (rows, columns).  Where a function fills an array of
 *              the caller's, a capacity of 0 asks only for the number of elements, and the array
 *              may be NULL then; a capacity that is too small is SMFT_E_BUFFER, with the number
 *              needed stored.  That is meant by "capacity as for encode".
 *   Numbers    Results do not depend on the number of threads.
 *   Since      "Since 0.1." is the first version of the library that has the function.
 * The library never prints, exits, aborts, or touches locale, environment, floating-point modes or
 * another library's threads.
 */
#ifndef SMFT_SMFT_H
#define SMFT_SMFT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Marks what the shared library exports; everything else in it is hidden. */
#if defined(_WIN32)
#define SMFT_API
#else
#define SMFT_API __attribute__((visibility("default")))
#endif

/* Version of this header; smft_version_number() is that of the library that is loaded. */
#define SMFT_VERSION_MAJOR 0
#define SMFT_VERSION_MINOR 1
#define SMFT_VERSION_PATCH 0
#define SMFT_VERSION_STRING "0.1.0"

/* ---- status -------------------------------------------------------------- */

/* What most functions return: SMFT_OK (0) or one of SMFT_E_* (negative). */
typedef int32_t smft_status;

/* X(name, number, meaning).  Numbers never change; gaps leave room within a family. */
/* clang-format off */
#define SMFT_STATUS_LIST(X) \
 X(OK, 0, "success") \
 X(E_INVALID, -1, "an argument is not valid: NULL, out of its range, or contradicting another") \
 X(E_STRUCT_SIZE, -2, "a struct's first field is not the size of any known version of it") \
 X(E_UNSUPPORTED, -3, "valid, but this version of the library does not do it") \
 X(E_STATE, -4, "not now: the handle is in use, or a step that comes first was not taken") \
 X(E_BUFFER, -5, "the caller's buffer is too small; the needed length was stored") \
 X(E_NOMEM, -10, "memory could not be allocated") \
 X(E_IO, -20, "a file could not be opened, read or written") \
 X(E_NOT_FOUND, -21, "a file, tensor, token or item does not exist") \
 X(E_FORMAT, -22, "a file or text is not what it should be") \
 X(E_MISMATCH, -23, "two things that belong together do not: config and tensors, patch and model") \
 X(E_ENCODING, -24, "text is not valid UTF-8") \
 X(E_TOKEN, -30, "a token id is outside the vocabulary") \
 X(E_CONTEXT, -31, "a sequence is longer than the context") \
 X(E_FACT, -32, "a fact cannot be learnt as given: empty, or its answer is not in the statement") \
 X(E_NONFINITE, -40, "a weight, loss or gradient is NaN or infinite; nothing was changed") \
 X(E_CANCELLED, -41, "cancelled by the progress callback or a *_cancel call; nothing was changed") \
 X(E_INTERNAL, -99, "a defect of the library")
/* clang-format on */

/* SMFT_OK, SMFT_E_INVALID and so on, made of the list. */
#define SMFT__STATUS_ENUM(name, number, meaning) SMFT_##name = number,
enum { SMFT_STATUS_LIST(SMFT__STATUS_ENUM) };
#undef SMFT__STATUS_ENUM

/* Name of a status: "E_NOMEM" for SMFT_E_NOMEM, "OK" for 0, "E_UNKNOWN" for a number that is no
 * status.  Static storage, never NULL.  Any thread.  Since 0.1. */
SMFT_API const char *smft_status_name(smft_status status);
/* Meaning of a status in one sentence, as in SMFT_STATUS_LIST; for a number that is none it says
 * so.  Static storage, never NULL.  Any thread.  Since 0.1. */
SMFT_API const char *smft_status_meaning(smft_status status);
/* Message of the calling thread's last failed call, at most 1,023 bytes of UTF-8; "" before the
 * first failure, never NULL.  It means something only after a call that failed.  Borrowed until
 * that thread's next failing call, or the thread's end.  Since 0.1. */
SMFT_API const char *smft_error_message(void);
/* Version of the library that is loaded, as "0.1.0".  Static storage.  Any thread.  Since 0.1. */
SMFT_API const char *smft_version_string(void);
/* The same as a number to compare: major * 10000 + minor * 100 + patch; 100 is 0.1.0.  Any thread.
 * Since 0.1. */
SMFT_API uint32_t smft_version_number(void);

/* ---- handles ------------------------------------------------------------- */

/* allocator, log, threads: the root of all other handles */
typedef struct smft_ctx smft_ctx;
/* immutable weights, config, tokenizer, memory layers */
typedef struct smft_model smft_model;
/* one memory layer of a model; always borrowed from it */
typedef struct smft_memory smft_memory;
/* text <-> token ids */
typedef struct smft_tokenizer smft_tokenizer;
/* what was learnt: changed value rows, a copy of all weights, or low-rank adapters */
typedef struct smft_patch smft_patch;
/* one inference workspace with a KV cache over model + patch */
typedef struct smft_session smft_session;
/* background counts and the rule that ranks slots */
typedef struct smft_selector smft_selector;
/* SGD or AdamW, with state only for what it touches */
typedef struct smft_optimizer smft_optimizer;
/* a queue of facts and a training workspace that writes one patch */
typedef struct smft_learner smft_learner;
/* the wordings of one fact, made by rule */
typedef struct smft_wordings smft_wordings;
/* what must not be forgotten, and its baseline */
typedef struct smft_probe smft_probe;

/* ---- callbacks ----------------------------------------------------------- */

/* Called by long calls on the thread that made them, with `done` of `total` units (total 0: not
 * known).  `stage` is a short English noun, borrowed until the callback returns; which units and
 * stages there are, the function that takes the callback says.  Non-zero cancels: the call returns
 * SMFT_E_CANCELLED. */
typedef int32_t (*smft_progress_fn)(void *user, const char *stage, int64_t done, int64_t total);
/* Gets what the library has to tell.  level: 0 debug, 1 info, 2 warning.  message is one line
 * without a newline, borrowed until the callback returns.  On the thread that called the library.
 */
typedef void (*smft_log_fn)(void *user, int32_t level, const char *message);
/* As malloc.  All three may be called on any thread that uses the context. */
typedef void *(*smft_alloc_fn)(void *user, size_t size);
/* As realloc, of a block of the same allocator. */
typedef void *(*smft_realloc_fn)(void *user, void *pointer, size_t size);
/* As free. */
typedef void (*smft_free_fn)(void *user, void *pointer);
/* One block of work, i of n: the library's, for smft_parallel_for_fn to call. */
typedef void (*smft_block_fn)(void *arg, int64_t i);
/* The host's threads: runs block(arg, i) for every i in [0, n), in any order, on any threads, and
 * returns when all are done. */
typedef void (*smft_parallel_for_fn)(void *user, int64_t n, smft_block_fn block, void *arg);

/* ---- context ------------------------------------------------------------- */

/* Matrix products of 64 rows and more (33 where the weights are bf16) use AMX where the processor
 * has it (Intel, from 2023 on; docs/performance.md says when that pays).  They ask Linux for the
 * permission, which the whole process then has: signal stacks (sigaltstack) that are made after
 * that must have room for the 8 KiB of registers that come with it, as those of
 * sysconf(_SC_SIGSTKSZ) bytes do.  Results differ in their last bits. */
#define SMFT_CTX_AMX 1u
/* Products of activations with quantised weights are made in whole numbers: each 32 activations are
 * rounded to 15 bits and one scale.  With AVX-512 VNNI answers come about twice as fast and prompts
 * are read 1.3 times as fast; with AVX2 it is for answers alone, and less; elsewhere nothing
 * changes (docs/performance.md).  Gradients are those of f32. */
#define SMFT_CTX_INTEGER 2u
/* Matrix products of 33 rows and more (in learning, of gradients, 32) round both sides to bf16 and
 * add up in f32, as PyTorch does with bf16 models: on AMX, with what is said of it above, or
 * AVX-512 BF16 (AMD from Zen 4 on; on Intel's processors without AMX it is slower than f32).  What
 * that changes is measured in docs/performance.md.  Where the processor has neither,
 * smft_ctx_create says SMFT_E_UNSUPPORTED. */
#define SMFT_CTX_FAST 4u

/* What smft_ctx_create may be told. */
typedef struct smft_ctx_options {
  uint32_t struct_size;
  /* threads that work, the caller's included: 1 to 1024; 0: the processors that this process may
   * use; 1: only the caller's thread */
  int32_t n_threads;
  /* the host's allocator: all three or none; NULL: the C library's */
  smft_alloc_fn alloc;
  smft_realloc_fn realloc;
  smft_free_fn free;
  /* passed to the three */
  void *alloc_user;
  /* NULL: no log */
  smft_log_fn log;
  /* passed to log */
  void *log_user;
  /* the host's threads; it is asked for at most n_threads blocks at a time.  NULL: the context's
   * own threads, which block all signals */
  smft_parallel_for_fn parallel_for;
  /* passed to parallel_for */
  void *parallel_user;
  /* SMFT_CTX_* */
  uint32_t flags;
  uint32_t reserved;
} smft_ctx_options;
#define SMFT_CTX_OPTIONS_INIT                                                                      \
  { sizeof(smft_ctx_options), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }

/* Makes a context: the allocator, the log and the threads of everything that is made with it.
 * options may be NULL: the defaults.  Freed with smft_ctx_free.  Its threads start when they are
 * first needed; a context and its threads survive fork(): the child gets new ones when it first
 * needs them.  Errors: SMFT_E_INVALID where n_threads is not from 0 to 1024, only some of alloc,
 * realloc and free are set, or flags has an unknown bit.  Since 0.1. */
SMFT_API smft_status smft_ctx_create(smft_ctx **out, const smft_ctx_options *options);
/* Gives the context up; NULL is fine.  It and its threads end with the last handle that was made
 * with it, so the callbacks of its options must stay until then.  Since 0.1. */
SMFT_API void smft_ctx_free(smft_ctx *ctx);
/* Bytes that the context's allocator holds: *now, and *peak, the most since creation or the last
 * smft_ctx_memory_reset_peak (either pointer may be NULL).  Mapped files, the stacks of threads and
 * what the JSON library allocates are not counted.  Any thread.  Errors:
 * the general ones.  Since 0.1. */
SMFT_API smft_status smft_ctx_memory(smft_ctx *ctx, int64_t *now, int64_t *peak);
/* Sets the peak of smft_ctx_memory to what is held now.  Any thread.  Errors: the general ones.
 * Since 0.1. */
SMFT_API smft_status smft_ctx_memory_reset_peak(smft_ctx *ctx);
/* How many threads work, the caller's included: n_threads of the options, or what 0 came to; 0 for
 * NULL.  Any thread.  Since 0.1. */
SMFT_API int32_t smft_ctx_n_threads(const smft_ctx *ctx);

/* ---- tokenizer ----------------------------------------------------------- */

/* Flags of smft_tokenizer_encode: */
/* add the special tokens that the tokenizer puts around a whole text: begin-of-text before it, and
 * with some tokenizers end-of-text after it */
#define SMFT_ENCODE_SPECIAL 1u
/* special tokens written in the text are ordinary text: for text that users wrote */
#define SMFT_ENCODE_NO_PARSE 2u
/* the text continues another: no prefix space, no special tokens around it even with
 * SMFT_ENCODE_SPECIAL */
#define SMFT_ENCODE_CONTINUE 4u
/* the text is a prompt, and an answer follows: of the special tokens only those that stand before
 * a text, with or without SMFT_ENCODE_SPECIAL */
#define SMFT_ENCODE_PROMPT 8u
/* Flag of smft_tokenizer_decode: leave special tokens out */
#define SMFT_DECODE_SKIP_SPECIAL 1u

/* Loads a tokenizer.  path: a tokenizer.json, or a directory that holds one, or one that holds
 * GPT-2's encoder.json and vocab.bpe; or a GGUF file, with a model or with a tokenizer only (ids
 * are then llama.cpp's for that file).  Freed with smft_tokenizer_free.  (A model that was loaded
 * has its own: smft_model_tokenizer.)  Errors: those of reading; SMFT_E_NOT_FOUND where a directory
 * holds none of these files; SMFT_E_UNSUPPORTED, naming it, for anything in the file that is not
 * done here.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_load(smft_tokenizer **out, smft_ctx *ctx, const char *path);
/* Gives a tokenizer of smft_tokenizer_load up; NULL is fine.  Since 0.1. */
SMFT_API void smft_tokenizer_free(smft_tokenizer *tokenizer);
/* Token ids of a text of `length` bytes (text may be NULL if that is 0): ids (capacity) gets the
 * ids, *n_ids their number.  flags: SMFT_ENCODE_*.  capacity 0 asks for the number only.  Time is
 * linear in length.  Any thread.  Errors: SMFT_E_BUFFER where capacity is too small, with *n_ids
 * the number needed; SMFT_E_ENCODING where the text is not UTF-8; SMFT_E_FORMAT where a character
 * is in no token and the unknown token that the tokenizer names is in none either;
 * SMFT_E_UNSUPPORTED over 512 MiB; SMFT_E_INVALID for unknown flags.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_encode(const smft_tokenizer *tokenizer, const char *text,
                                           size_t length, uint32_t flags, int32_t *ids,
                                           int64_t capacity, int64_t *n_ids);
/* Text of token ids (n_ids): text (capacity bytes) gets the text and a final NUL, *length its bytes
 * without the NUL.  Bytes that make no UTF-8 character come out as U+FFFD.  flags: 0 or
 * SMFT_DECODE_SKIP_SPECIAL.  capacity 0 asks for the length only.  Any thread.  Errors:
 * SMFT_E_BUFFER where capacity is not above *length; SMFT_E_TOKEN for an id that no token has;
 * SMFT_E_INVALID for unknown flags.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_decode(const smft_tokenizer *tokenizer, const int32_t *ids,
                                           int64_t n_ids, uint32_t flags, char *text,
                                           size_t capacity, size_t *length);
/* One more than the largest id, added tokens included; 0 for NULL.  Ids between may be unused.  Any
 * thread.  Since 0.1. */
SMFT_API int32_t smft_tokenizer_vocab_size(const smft_tokenizer *tokenizer);
/* *id: the id of a token by its exact spelling in the vocabulary, added tokens included (a
 * byte-level vocabulary spells a space as U+0120).  Any thread.  Errors: SMFT_E_NOT_FOUND if there
 * is none.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_token_id(const smft_tokenizer *tokenizer, const char *token,
                                             int32_t *id);

/* One message of a conversation: who speaks ("system", "user", "assistant") and what is said, both
 * NUL-terminated UTF-8. */
typedef struct smft_message {
  const char *role;
  const char *content;
} smft_message;

/* Flags of smft_tokenizer_chat: behind the last message stands the opening of an answer, for
 * smft_session_feed and smft_session_generate to go on from */
#define SMFT_CHAT_OPEN_ANSWER 1u
/* special tokens that messages spell are these tokens, as transformers has it; without the flag
 * they are ordinary text, so that nobody can write a turn of another into his own */
#define SMFT_CHAT_PARSE 2u
/* an answer is opened so that the model does not think first, where the template has a word for it
 * (Qwen3, SmolLM3: enable_thinking=False) */
#define SMFT_CHAT_NO_THINKING 4u

/* How smft_tokenizer_chat goes about it. */
typedef struct smft_chat_options {
  uint32_t struct_size;
  /* SMFT_CHAT_* */
  uint32_t flags;
  /* one of our renderers, in place of the one for the tokenizer's own template; NULL: that one.
   * Their names are in docs/formats.md and in the error for a name that is none */
  const char *renderer;
  /* the day that a template says it is (Llama 3.2, SmolLM3), as YYYYMMDD; 0: today, UTC.  Llama 3.1
   * and 3.3 always say 26 Jul 2024 */
  int32_t date;
  int32_t reserved;
} smft_chat_options;
#define SMFT_CHAT_OPTIONS_INIT                                                                     \
  { sizeof(smft_chat_options), 0, NULL, 0, 0 }

/* What a tokenizer knows of its chat template; strings are borrowed from the tokenizer. */
typedef struct smft_chat_info {
  uint32_t struct_size;
  /* 1: SMFT_CHAT_NO_THINKING makes a difference */
  int32_t thinks;
  /* our renderer for the template; NULL: none is known for it, or there is no template */
  const char *renderer;
  /* SHA-256 of the template's text without its last newline (which Jinja drops); "": none */
  const char *hash;
  /* the template, in Jinja; NULL: there is none */
  const char *template_text;
  /* begin-of-text and end-of-text as templates have them; NULL: not said */
  const char *bos;
  const char *eos;
} smft_chat_info;
#define SMFT_CHAT_INFO_INIT                                                                        \
  { sizeof(smft_chat_info), 0, NULL, NULL, NULL, NULL, NULL }

/* Token ids of a conversation (n_messages), by the model's own chat template: from
 * chat_template.jinja or tokenizer_config.json beside tokenizer.json, or from a GGUF file.
 * Templates are not run: those that are known, by the hash of their text, have a renderer here that
 * gives what transformers' apply_chat_template gives.  The ids begin with what the template begins
 * with (begin-of-text, if any); the rest is as for smft_tokenizer_encode.  options may be NULL. Any
 * thread.  Errors: SMFT_E_NOT_FOUND where the tokenizer has no template and options name no
 * renderer, or name one that we have not; SMFT_E_UNSUPPORTED, with the hash, for a template without
 * a renderer, and for a role that a renderer has not (such as "tool"); SMFT_E_INVALID, in the
 * template's words, for a conversation that it refuses, and for no messages; SMFT_E_BUFFER where
 * capacity is too small; SMFT_E_ENCODING where a message is not UTF-8.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_chat(const smft_tokenizer *tokenizer,
                                         const smft_message *messages, int64_t n_messages,
                                         const smft_chat_options *options, int32_t *ids,
                                         int64_t capacity, int64_t *n_ids);
/* Fills info (its struct_size is set by the caller).  Any thread.  Errors: the general ones.  Since
 * 0.1. */
SMFT_API smft_status smft_tokenizer_chat_info(const smft_tokenizer *tokenizer,
                                              smft_chat_info *info);

/* ---- model --------------------------------------------------------------- */

/* Flag of smft_load_options: read the weights into memory instead of mapping the file */
#define SMFT_LOAD_COPY 1u

/* Element types of weights, four, two and two bytes: */
#define SMFT_DTYPE_F32 1
#define SMFT_DTYPE_F16 2
#define SMFT_DTYPE_BF16 3
/* Those of GGUF files, in blocks of 32 or (K) of 256 numbers of so many bits, with a scale for each
 * block or part of one.  Models are read with them; Q8_0 alone is written, by smft_model_export. */
#define SMFT_DTYPE_Q4_0 16
#define SMFT_DTYPE_Q4_1 17
#define SMFT_DTYPE_Q5_0 18
#define SMFT_DTYPE_Q5_1 19
#define SMFT_DTYPE_Q8_0 20
#define SMFT_DTYPE_Q4_K 21
#define SMFT_DTYPE_Q5_K 22
#define SMFT_DTYPE_Q6_K 23

/* What smft_model_load may be told. */
typedef struct smft_load_options {
  uint32_t struct_size;
  /* SMFT_LOAD_* */
  uint32_t flags;
  /* stage "weights", in files; may be NULL */
  smft_progress_fn progress;
  /* passed to progress */
  void *progress_user;
} smft_load_options;
#define SMFT_LOAD_OPTIONS_INIT                                                                     \
  { sizeof(smft_load_options), 0, NULL, NULL }

/* Opens a model as it was downloaded.  path is one of
 *   a Hugging Face directory: config.json, model.safetensors (or shards with
 *     model.safetensors.index.json) and, if there, tokenizer.json;
 *   a GGUF file (versions 2 and 3, little-endian; the element types of SMFT_DTYPE_*), which has its
 *     config and tokenizer inside; of a model in several files (NAME-00001-of-00003.gguf) any one;
 *   a directory without config.json that holds one such file, or the files of one such model;
 *   a directory with a memory that was grafted onto one of these (docs/formats.md): config.json
 *     that says which ("base") and memory.safetensors.  What is no memory is the base's.
 * options may be NULL.  Freed with smft_model_free.  Weights stay mapped: the files must not be
 * truncated while the model lives (use SMFT_LOAD_COPY if they may be).  A model without a tokenizer
 * works with token ids only.  Tensors have Hugging Face's names, whatever the format.  The same
 * model as GGUF and as safetensors has two hashes: patches do not move between them.
 * Errors: those of reading; SMFT_E_UNSUPPORTED, naming it, for whatever config.json or the GGUF's
 * keys ask for that is not done here, for a key that is not known and says something, for a tensor
 * that the model has no use for, and where a directory holds several GGUF models;
 * SMFT_E_MISMATCH where config, tensors and tokenizer, or the files of a split model, do not belong
 * together (a tensor is missing or has another shape or type; the tokenizer has ids that the
 * embedding lacks); SMFT_E_CANCELLED by progress; SMFT_E_INVALID for unknown flags.  Since 0.1. */
SMFT_API smft_status smft_model_load(smft_model **out, smft_ctx *ctx, const char *path,
                                     const smft_load_options *options);
/* The same from the bytes of one GGUF file in memory (size of them), which must stay as they are
 * until the model is gone, unless SMFT_LOAD_COPY has them copied.  progress is not called.
 * Errors: as smft_model_load.  Since 0.1. */
SMFT_API smft_status smft_model_load_buffer(smft_model **out, smft_ctx *ctx, const void *data,
                                            int64_t size, const smft_load_options *options);
/* Formats of a model on disk: config.json and safetensors, or GGUF */
#define SMFT_FORMAT_HUGGING_FACE 1
#define SMFT_FORMAT_GGUF 2

/* What a model on disk is; of a grafted one: what its base is, with the memory's tensors counted.
 * Filled by smft_model_inspect; what is not known is 0 or "". */
typedef struct smft_model_inspection {
  uint32_t struct_size;
  /* SMFT_FORMAT_* */
  int32_t format;
  /* 1: smft_model_load takes it (its tokenizer is not looked at); 0: `why` says what it lacks */
  int32_t can_run;
  /* as in smft_model_info */
  int32_t n_layers;
  int32_t hidden_size;
  int32_t n_heads;
  int32_t n_kv_heads;
  int32_t vocab_size;
  /* tokens */
  int32_t context_length;
  /* SMFT_DTYPE_* of most of its weights */
  int32_t dtype;
  /* numbers in all tensors */
  int64_t n_parameters;
  /* bytes of all tensors, which stay mapped while the model lives */
  int64_t weight_bytes;
  /* bytes of a session's cache for each token that is in it, with f32 keys and values */
  int64_t cache_bytes;
  /* "llama", "qwen3": config.json's model_type; of a GGUF that cannot be run, its architecture */
  char family[64];
  /* the name of `dtype`: "BF16", "Q4_K" */
  char quantization[16];
  /* as a GGUF says it: "apache-2.0" */
  char license[64];
  /* the message that smft_model_load would give, with the key or tensor that is why */
  char why[512];
} smft_model_inspection;
#define SMFT_MODEL_INSPECTION_INIT                                                                 \
  { sizeof(smft_model_inspection), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "", "", "", "" }
/* Fills *out from headers, without reading weights; out->struct_size must be set.  path as for
 * smft_model_load.  A model that cannot be run here is no error: can_run is 0, and why says it. Any
 * thread.  Errors: those of reading.  Since 0.1. */
SMFT_API smft_status smft_model_inspect(smft_ctx *ctx, const char *path,
                                        smft_model_inspection *out);

/* A new model with random weights (f32, in memory; the initialisation of [B]) from a directory that
 * holds config.json and, if wanted, tokenizer.json: the start of pretraining.  The same seed gives
 * the same weights; any seed is fine.  Freed with smft_model_free.  Errors: as smft_model_load,
 * without those of weights and progress.  Since 0.1. */
SMFT_API smft_status smft_model_init(smft_model **out, smft_ctx *ctx, const char *directory,
                                     uint64_t seed);
/* Gives a model up; NULL is fine.  It is unmapped with the last handle that was made with it.  Any
 * thread.  Since 0.1. */
SMFT_API void smft_model_free(smft_model *model);

/* What smft_model_export may be told. */
typedef struct smft_export_options {
  uint32_t struct_size;
  /* SMFT_DTYPE_F32, F16 or BF16 (GGUF: or Q8_0): of all weights; 0: each tensor as it is in the
   * model, f32 where the patch changed it.  What is in blocks (Q4_0 and the like) Hugging Face has
   * as BF16; a GGUF has it bit for bit, and as BF16 where the patch changed it.  In a GGUF vectors
   * are always f32, and of Q8_0 matrices those are F16 whose rows are no multiple of 32. */
  int32_t dtype;
  /* stage "saving", in bytes of weights; may be NULL */
  smft_progress_fn progress;
  /* passed to progress */
  void *progress_user;
  /* SMFT_FORMAT_HUGGING_FACE (0: the same) or SMFT_FORMAT_GGUF */
  int32_t format;
  /* must be 0 */
  int32_t reserved;
} smft_export_options;
#define SMFT_EXPORT_OPTIONS_INIT                                                                   \
  { sizeof(smft_export_options), 0, NULL, NULL, 0, 0 }

/* Writes model + patch (NULL: the model alone) as a Hugging Face directory, made if missing:
 * config.json; of tokenizer.json, tokenizer_config.json, special_tokens_map.json,
 * chat_template.jinja and generation_config.json those that the model's directory has; and
 * model.safetensors.  All are written beside their places before the first is replaced: on failure
 * the directory is the old one, or, where replacing itself failed or the process ended meanwhile,
 * refused when it is loaded (SMFT_E_MISMATCH) until it is written again.  What a GGUF has in
 * another order is written in Hugging Face's; a GGUF's tokenizer is not written to a directory:
 * load it from the GGUF (smft_tokenizer_load). Changed rows are put in place, adapters multiplied
 * out. Background counts that lie beside the model go with it, but with a full or a LoRA patch, and
 * are marked with the hash of the model that was counted ("counted_on").  Where there is one memory
 * layer they are those that a recount would find, else nearly, as the values of one change what the
 * next reads; another dtype rounds, too.  On atlas, two layers, after 20 and 100 facts: a recount
 * finds df that differ by 1.1% and 2.0% of their sum, and chooses 99.5% and 99.1% of the same rows
 * for a new fact.  A grafted model becomes one directory without a base; where rows were learnt,
 * its pools of zeros are written whole.  options may be NULL. With SMFT_FORMAT_GGUF path is one
 * file, for llama.cpp: a model that came from a GGUF keeps its keys, the others get those that
 * llama.cpp's converter would write (docs/formats.md). Errors: those of writing (and of reading
 * tokenizer.json and the counts); SMFT_E_STATE where the patch is changed meanwhile;
 * SMFT_E_CANCELLED by progress, with the old files still there; SMFT_E_INVALID for a patch that was
 * made with another model handle, another dtype or format, or a directory where a GGUF is to be;
 * SMFT_E_UNSUPPORTED, by name, for what a GGUF cannot have: memory layers, families, windows or
 * tokenizers that llama.cpp does not know, for a GGUF's rotary factors where config.json cannot say
 * them, and for a pool of zeros that would be more than 256 MiB; SMFT_E_NONFINITE, naming the
 * tensor, for a number that has no place in the type: above 65,504 in F16, above 3.39e38 in BF16.
 * Since 0.1. */
SMFT_API smft_status smft_model_export(const smft_model *model, smft_patch *patch, const char *path,
                                       const smft_export_options *options);

/* What a model is.  Filled by smft_model_get_info. */
typedef struct smft_model_info {
  uint32_t struct_size;
  /* blocks */
  int32_t n_layers;
  /* d: numbers of a token's state */
  int32_t hidden_size;
  /* query heads of attention */
  int32_t n_heads;
  /* key and value heads: n_heads is a multiple of it */
  int32_t n_kv_heads;
  /* numbers of a head */
  int32_t head_dim;
  /* width of the FFN */
  int32_t ffn_size;
  /* rows of the embedding; the tokenizer may have fewer ids */
  int32_t vocab_size;
  /* tokens: max_position_embeddings */
  int32_t context_length;
  /* token id of begin-of-text; -1: none */
  int32_t bos_id;
  /* token id of end-of-text; -1: none; the first if there are several */
  int32_t eos_id;
  /* 1: the head is the embedding; 0: it has weights of its own */
  int32_t tied;
  /* memory layers */
  int32_t n_memories;
  /* value pools; memory layers may share one */
  int32_t n_pools;
  /* numbers in all tensors */
  int64_t n_parameters;
} smft_model_info;
#define SMFT_MODEL_INFO_INIT                                                                       \
  { sizeof(smft_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
/* Fills *info; its struct_size must be set.  Any thread.  Errors: the general ones.  Since 0.1. */
SMFT_API smft_status smft_model_get_info(const smft_model *model, smft_model_info *info);
/* Token ids at which generation ends: ids (capacity) gets them, *n_ids their number; capacity 0
 * asks for the number only.  They are config.json's "eos_token_id" (the first of these is eos_id),
 * generation_config.json's, and of a GGUF file end-of-text and end-of-turn.  Any thread.  Errors:
 * SMFT_E_BUFFER where capacity is too small.  Since 0.1. */
SMFT_API smft_status smft_model_stop_ids(const smft_model *model, int32_t *ids, int64_t capacity,
                                         int64_t *n_ids);
/* Fingerprint of a model: 64 hex digits of SHA-256 over what in its config changes results, and
 * names, types, shapes and weights of its tensors (up to 64 KiB whole, in blocks 8 KiB, larger ones
 * sampled).
 * Patches and background counts carry it.  "" for NULL.  Borrowed.  Any thread.  Since 0.1. */
SMFT_API const char *smft_model_hash(const smft_model *model);
/* The path, as it was opened, of the model into which a grafted model's memory was put; NULL for a
 * model that is not grafted, and for NULL.  Borrowed.  Any thread.  Since 0.1. */
SMFT_API const char *smft_model_base(const smft_model *model);
/* The model's tokenizer; NULL if its directory has no tokenizer.json, or for NULL.  Borrowed: not
 * to be freed.  Any thread.  Since 0.1. */
SMFT_API const smft_tokenizer *smft_model_tokenizer(const smft_model *model);
/* The i-th memory layer, from 0, in order of depth; NULL if there is none, or for NULL.  Borrowed.
 * Any thread.  Since 0.1. */
SMFT_API const smft_memory *smft_model_memory(const smft_model *model, int32_t i);

/* Where a memory layer stands: in place of the block's FFN */
#define SMFT_PLACEMENT_REPLACE 1
/* or beside it: ffn(x) + alpha * memory(x) */
#define SMFT_PLACEMENT_BESIDE 2

/* What a memory layer is.  Filled by smft_memory_get_info. */
typedef struct smft_memory_info {
  uint32_t struct_size;
  /* the block it is in, from 0 */
  int32_t layer;
  /* the value pool it reads, from 0 */
  int32_t pool;
  /* SMFT_PLACEMENT_* */
  int32_t placement;
  /* n, sub-keys of each half: the pool has n * n slots */
  int32_t n_keys;
  /* H: look-ups of a token */
  int32_t heads;
  /* slots that a head reads: a token reads heads * top_k */
  int32_t top_k;
  /* numbers of a query, both halves */
  int32_t key_dim;
  /* numbers of a value row */
  int32_t value_dim;
  int32_t reserved;
  /* rows of the pool: n_keys * n_keys */
  int64_t n_slots;
} smft_memory_info;
#define SMFT_MEMORY_INFO_INIT                                                                      \
  { sizeof(smft_memory_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
/* Fills *info; its struct_size must be set.  Any thread.  Errors: the general ones.  Since 0.1. */
SMFT_API smft_status smft_memory_get_info(const smft_memory *memory, smft_memory_info *info);
/* Shape of a value pool, (n_slots, value_dim).  Either out-pointer may be NULL.  Any thread.
 * Errors: SMFT_E_NOT_FOUND where the model has no such pool.  Since 0.1. */
SMFT_API smft_status smft_model_pool(const smft_model *model, int32_t pool, int64_t *n_slots,
                                     int64_t *value_dim);

/* How a model is taught where the options of selector and learner are zero and the optimizer is
 * NULL: as its config.json says ("memory": {"learn": {...}}, docs/formats.md), else as the library
 * does by itself.  Values are those of the options of the same names. */
typedef struct smft_learn_defaults {
  uint32_t struct_size;
  /* SMFT_DAMPING_* */
  int32_t damping_by;
  /* SMFT_RANK_* */
  int32_t rank_by;
  int32_t max_steps;
  int32_t wordings_per_step;
  /* not 0: a fact pushed with one wording is learnt through others made of it */
  int32_t frames;
  int64_t t;
  double damping;
  /* negative: none */
  double max_df;
  /* 0: the optimizer's rate instead */
  double step_length;
  double loss_below;
  /* beside step_length: of the optimizer, and not 0: SMFT_OPTIMIZER_LENGTH_BY_LOSS */
  double momentum;
  int32_t length_by_loss;
  int32_t reserved;
} smft_learn_defaults;
#define SMFT_LEARN_DEFAULTS_INIT                                                                   \
  { sizeof(smft_learn_defaults), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
/* Fills *defaults; its struct_size must be set.  Any thread.  Errors: the general ones.  Since 0.1.
 */
SMFT_API smft_status smft_model_learn_defaults(const smft_model *model,
                                               smft_learn_defaults *defaults);

/* Tensors by position, from 0, in order of name: name (borrowed), dtype (SMFT_DTYPE_*), number of
 * elements.  Out-pointers may be NULL.  Any thread.  Errors: SMFT_E_NOT_FOUND past the end, which
 * is how to end a loop over all.  Since 0.1. */
SMFT_API smft_status smft_model_tensor(const smft_model *model, int64_t index, const char **name,
                                       int32_t *dtype, int64_t *n_elements);
/* values (n_elements) gets a tensor as model + patch (NULL: the model alone) have it, as f32,
 * row-major: changed rows in place, adapters multiplied out, in Hugging Face's order whatever the
 * file's.  index and number of elements are those of smft_model_tensor; n_elements may be larger.
 * Errors: SMFT_E_NOT_FOUND past the end; SMFT_E_BUFFER where n_elements is too small; SMFT_E_STATE
 * where the patch is changed meanwhile; SMFT_E_INVALID for a patch that was made with another model
 * handle.  Since 0.1. */
SMFT_API smft_status smft_model_tensor_values(const smft_model *model, smft_patch *patch,
                                              int64_t index, float *values, int64_t n_elements);

/* ---- patch --------------------------------------------------------------- */

/* Kinds of patches: */
/* value rows of memory pools, copy-on-write: sparse memory finetuning */
#define SMFT_PATCH_SLOTS 1
/* a private f32 copy of every weight (blocks are decoded): full finetuning, pretraining */
#define SMFT_PATCH_FULL 2
/* low-rank factors beside attention and FFN matrices: LoRA finetuning */
#define SMFT_PATCH_LORA 3

/* An empty patch of a kind (SMFT_PATCH_*): model + patch gives exactly the model's logits.
 * SMFT_PATCH_LORA: with smft_patch_create_lora's defaults.  SMFT_PATCH_FULL takes 4 bytes for each
 * of the model's parameters at once, whatever their element type; a slots patch grows with the rows
 * that change.  Freed with smft_patch_free.  Errors: SMFT_E_UNSUPPORTED for SMFT_PATCH_SLOTS on a
 * model without memory layers and for SMFT_PATCH_FULL on a grafted model (load its base);
 * SMFT_E_INVALID for an unknown kind.  Since 0.1. */
SMFT_API smft_status smft_patch_create(smft_patch **out, const smft_model *model, int32_t kind);

/* The matrices of each block that get an adapter, W + scale * B A.  A block whose FFN is replaced
 * by a memory layer has no gate, up and down; memory layers themselves (queries, keys, values,
 * projections), embedding, head and norms get none. */

/* queries: self_attn.q_proj */
#define SMFT_LORA_Q 1u
/* keys: self_attn.k_proj */
#define SMFT_LORA_K 2u
/* values: self_attn.v_proj */
#define SMFT_LORA_V 4u
/* output of attention: self_attn.o_proj */
#define SMFT_LORA_O 8u
/* gate of the FFN: mlp.gate_proj */
#define SMFT_LORA_GATE 16u
/* up: mlp.up_proj */
#define SMFT_LORA_UP 32u
/* down: mlp.down_proj */
#define SMFT_LORA_DOWN 64u
/* all seven */
#define SMFT_LORA_ALL 127u
/* Flag of smft_lora_options: scale alpha / sqrt(rank) (rsLoRA) instead of alpha / rank */
#define SMFT_LORA_RANK_STABILIZED 1u

/* What adapters a LoRA patch has; smft_patch_get_lora fills it, too. */
typedef struct smft_lora_options {
  uint32_t struct_size;
  /* columns of B and rows of A, at most 65536; 0: 16 */
  int32_t rank;
  /* positive; 0: 2 * rank */
  double alpha;
  /* SMFT_LORA_Q | ...; 0: all that the model has */
  uint32_t targets;
  /* SMFT_LORA_RANK_STABILIZED */
  uint32_t flags;
  /* of A, which starts uniform in +-1/sqrt(columns of W), as in PEFT; B starts as zeros */
  uint64_t seed;
} smft_lora_options;
#define SMFT_LORA_OPTIONS_INIT                                                                     \
  { sizeof(smft_lora_options), 0, 0, 0, 0, 0 }

/* An empty LoRA patch (SMFT_PATCH_LORA): adapters whose B is zero.  options may be NULL: the
 * defaults.  Freed with smft_patch_free.  Errors: SMFT_E_UNSUPPORTED where the model has none of
 * the matrices asked for; SMFT_E_INVALID for a rank, alpha, targets or flags out of range.  Since
 * 0.1. */
SMFT_API smft_status smft_patch_create_lora(smft_patch **out, const smft_model *model,
                                            const smft_lora_options *options);
/* The options of a LoRA patch, with the defaults filled in; targets: the kinds of matrices that do
 * have an adapter.  A patch that PEFT wrote has seed 0.  options->struct_size must be set.  Errors:
 * SMFT_E_UNSUPPORTED for other kinds.  Since 0.1. */
SMFT_API smft_status smft_patch_get_lora(const smft_patch *patch, smft_lora_options *options);
/* A full patch with the weights that model + patch have (any kind): changed rows put in place,
 * adapters multiplied out.  The patch itself stays as it is; the new one is freed with
 * smft_patch_free.  Errors: SMFT_E_STATE where the patch is changed meanwhile; SMFT_E_NONFINITE
 * where the product of an adapter's factors is too large for f32; SMFT_E_UNSUPPORTED where a pool
 * of zeros that stand nowhere ("values": "zero") would take more than 256 MiB.  Since 0.1. */
SMFT_API smft_status smft_patch_merge(smft_patch **out, smft_patch *patch);
/* A snapshot: a patch of the same kind and content, which goes its own way from then on.  A slots
 * patch costs nothing to copy: the two share all rows that neither has changed since.  Freed with
 * smft_patch_free.  Errors: SMFT_E_STATE where the patch is changed meanwhile.  Since 0.1. */
SMFT_API smft_status smft_patch_copy(smft_patch **out, smft_patch *patch);
/* Gives a slots patch what another one holds, rows and facts, in place of what it held: one new
 * version, which shares all of it with `from`, so that whoever reads the patch sees either all or
 * nothing of it (smft_patch_load for a patch in use).  Errors: SMFT_E_UNSUPPORTED for other kinds;
 * SMFT_E_MISMATCH where `from` was made with another model handle; SMFT_E_STATE while the patch is
 * being changed; on failure nothing changes.  Since 0.1. */
SMFT_API smft_status smft_patch_assign(smft_patch *patch, smft_patch *from);
/* Reads what smft_patch_save wrote, and LoRA adapters that PEFT wrote: a directory with
 * adapter_config.json and adapter_model.safetensors (docs/formats.md).  Freed with smft_patch_free.
 * Errors: those of reading; SMFT_E_MISMATCH for a patch of another model (adapters of PEFT's: of
 * other shapes), or an adapter directory whose two files were not saved together;
 * SMFT_E_UNSUPPORTED, naming it, for what an adapter needs that is not done here (DoRA, biases,
 * saved modules, ranks by pattern, adapters on other modules, ...); SMFT_E_NONFINITE for a value
 * that is NaN or infinite.  Since 0.1. */
SMFT_API smft_status smft_patch_load(smft_patch **out, const smft_model *model, const char *path);
/* Writes a safetensors file, whole or not at all.  LoRA patches: path is a directory, made if
 * missing, in PEFT's layout; its two files are replaced together, as smft_model_export replaces
 * those of a model.  dtype of the values:
 * SMFT_DTYPE_F32 (0: the same; exact) or SMFT_DTYPE_BF16 (half the size, rounded).  Errors: those
 * of writing; SMFT_E_STATE where the patch is changed meanwhile; SMFT_E_NONFINITE, naming the
 * tensor, for a number that BF16 would make infinite; SMFT_E_INVALID for another dtype. Since 0.1.
 */
SMFT_API smft_status smft_patch_save(smft_patch *patch, const char *path, int32_t dtype);
/* The same into memory, for hosts that keep patches in a database: the bytes of the file that
 * smft_patch_save writes.  LoRA patches: adapter_model.safetensors with the text of
 * adapter_config.json in its metadata, under that name.  *size gets their number; capacity as for
 * encode; where it is too small, what the buffer holds means nothing.  The size changes with what
 * is learnt meanwhile.  Errors: SMFT_E_BUFFER; SMFT_E_STATE where the patch is changed meanwhile;
 * SMFT_E_NONFINITE and SMFT_E_INVALID as smft_patch_save.  Since 0.1. */
SMFT_API smft_status smft_patch_save_buffer(smft_patch *patch, int32_t dtype, void *buffer,
                                            int64_t capacity, int64_t *size);
/* Reads what smft_patch_save_buffer wrote, or smft_patch_save to a file, from `size` bytes, which
 * are copied.  Freed with smft_patch_free.  Errors: those of smft_patch_load but for files.  Since
 * 0.1. */
SMFT_API smft_status smft_patch_load_buffer(smft_patch **out, const smft_model *model,
                                            const void *data, int64_t size);
/* Gives a patch up; NULL is fine.  Sessions and learners that use it keep it alive.  Since 0.1. */
SMFT_API void smft_patch_free(smft_patch *patch);
/* SMFT_PATCH_* of a patch; 0 for NULL.  Any thread.  Since 0.1. */
SMFT_API int32_t smft_patch_kind(const smft_patch *patch);
/* Number of the patch's present version: from 1, and larger after every change.  A call that reads
 * the patch reads one version from its beginning to its end; of full and LoRA patches there is only
 * the one in hand.  A copy begins with the number of what it is a copy of.  0 for NULL.  Any
 * thread. Since 0.1. */
SMFT_API uint64_t smft_patch_version(smft_patch *patch);
/* Back to the base: no changed rows, the model's own weights, or adapters as their seed starts
 * them. The optimizer's state is not touched (smft_optimizer_reset).  Errors: SMFT_E_STATE where
 * the patch is changed meanwhile.  Since 0.1. */
SMFT_API smft_status smft_patch_clear(smft_patch *patch);
/* Changed rows of a pool (slots patches).  slots (capacity) gets their ids, ascending; *n their
 * number; capacity as for encode.  Errors: SMFT_E_BUFFER; SMFT_E_NOT_FOUND where the model has no
 * such pool; SMFT_E_UNSUPPORTED for other kinds of patches; SMFT_E_STATE where the patch is changed
 * meanwhile.  Since 0.1. */
SMFT_API smft_status smft_patch_slots(smft_patch *patch, int32_t pool, int64_t *slots,
                                      int64_t capacity, int64_t *n);
/* row (value_dim) gets a value row as model + patch have it, changed or not, as f32; any kind of
 * patch.  Errors: SMFT_E_NOT_FOUND where there is no such pool or slot; SMFT_E_INVALID where
 * value_dim is not the pool's; SMFT_E_STATE where the patch is changed meanwhile.  Since 0.1. */
SMFT_API smft_status smft_patch_row(smft_patch *patch, int32_t pool, int64_t slot, float *row,
                                    int64_t value_dim);
/* Sets a row (slots patches) to row (value_dim), which is copied; the slot counts as changed from
 * then on.  Errors: SMFT_E_NONFINITE where a number is NaN or infinite; SMFT_E_NOT_FOUND where
 * there is no such pool or slot; SMFT_E_INVALID where value_dim is not the pool's;
 * SMFT_E_UNSUPPORTED for other kinds of patches; SMFT_E_STATE where the patch is changed meanwhile.
 * Since 0.1. */
SMFT_API smft_status smft_patch_set_row(smft_patch *patch, int32_t pool, int64_t slot,
                                        const float *row, int64_t value_dim);
/* Gives the base's row back (slots patches): the slot is not changed any more.  Fine where it was
 * not.  Errors: SMFT_E_NOT_FOUND where there is no such pool or slot; SMFT_E_UNSUPPORTED for other
 * kinds of patches; SMFT_E_STATE where the patch is changed meanwhile.  Since 0.1. */
SMFT_API smft_status smft_patch_reset_row(smft_patch *patch, int32_t pool, int64_t slot);

/* What a slots patch was taught is kept with it, and in its file: a record of each fact that a
 * learner has finished on it and that changed rows, in the order in which they were finished.  The
 * learner keeps facts that follow away from what they read (SMFT_LEARNER_NO_PROTECT), also after
 * the patch was saved and loaded.  Other kinds of patches keep no records: their count is 0.
 * smft_patch_clear drops the records, smft_patch_copy copies them; smft_patch_set_row,
 * smft_patch_reset_row and smft_learner_step_batch neither add nor remove any. */

/* What is known of one fact. */
typedef struct smft_fact_info {
  uint32_t struct_size;
  /* SMFT_FACT_DONE, or SMFT_FACT_GAVE_UP: given up, and its changes kept */
  int32_t state;
  /* that it was taught in */
  int64_t n_wordings;
  /* rows that it changed: smft_patch_fact_rows */
  int64_t n_rows;
  /* slots that its wordings read, over all pools, which facts that follow spare.  0: none, because
   * it was given up, or was learnt where nothing is damped or with SMFT_LEARNER_NO_PROTECT */
  int64_t n_reads;
} smft_fact_info;
#define SMFT_FACT_INFO_INIT                                                                        \
  { sizeof(smft_fact_info), 0, 0, 0, 0 }

/* A row that a fact changed.  It has no struct_size and no INIT macro: the library fills arrays of
 * it, nothing of it is read, and it never grows. */
typedef struct smft_fact_row {
  /* row of the pool */
  int64_t slot;
  /* value pool, from 0 */
  int32_t pool;
  int32_t reserved;
} smft_fact_row;

/* How many facts the patch was taught; 0 for NULL.  Any thread.  Since 0.1. */
SMFT_API int64_t smft_patch_fact_count(smft_patch *patch);
/* What is known of the fact `index`, from 0, the oldest first; info->struct_size must be set.  Any
 * thread.  Errors: SMFT_E_NOT_FOUND past the end.  Since 0.1. */
SMFT_API smft_status smft_patch_fact_get(smft_patch *patch, int64_t index, smft_fact_info *info);
/* The id under which it was queued: id (capacity bytes) gets it and a final NUL, *length its bytes
 * without the NUL.  Two facts may have the same.  capacity 0 asks for the length only.  Any thread.
 * Errors: SMFT_E_BUFFER where capacity is not above *length; SMFT_E_NOT_FOUND past the end.  Since
 * 0.1. */
SMFT_API smft_status smft_patch_fact_id(smft_patch *patch, int64_t index, char *id, size_t capacity,
                                        size_t *length);
/* The rows that its steps changed, by pool and slot, ascending: rows (capacity) gets them, *n their
 * number; capacity as for encode.  Other facts may have changed them, too.  Any thread.  Errors:
 * SMFT_E_BUFFER; SMFT_E_NOT_FOUND past the end.  Since 0.1. */
SMFT_API smft_status smft_patch_fact_rows(smft_patch *patch, int64_t index, smft_fact_row *rows,
                                          int64_t capacity, int64_t *n);
/* Forgets that a fact was taught: it is not listed any more, and what it read is not spared any
 * more; facts after it move up.  The model's answers stay as they are: to take what it changed
 * back, too, call smft_patch_reset_row for its rows before (those that no other fact changed).
 * Errors: SMFT_E_NOT_FOUND past the end; SMFT_E_STATE while the patch is being changed; on failure
 * nothing changes.  Since 0.1. */
SMFT_API smft_status smft_patch_fact_remove(smft_patch *patch, int64_t index);

/* ---- session ------------------------------------------------------------- */

/* What smft_session_create may be told. */
/* smft_session_options.flags: the cache holds keys and values as bf16: half the memory, and logits
 * that differ from those of f32 by the rounding */
#define SMFT_SESSION_CACHE_BF16 1u
/* smft_session_options.flags: the session keeps to one version of its (slots) patch from its first
 * token on, until it is rewound to 0 (which generating afresh and smft_session_nll do themselves)
 * or gets another patch; SMFT_E_UNSUPPORTED with other kinds of patches */
#define SMFT_SESSION_PIN 2u

typedef struct smft_session_options {
  uint32_t struct_size;
  /* most tokens; 0: the model's; more than the model's is SMFT_E_CONTEXT */
  int32_t context_length;
  /* SMFT_SESSION_*; 0: an f32 cache */
  uint32_t flags;
  /* must be 0 */
  uint32_t reserved;
} smft_session_options;
#define SMFT_SESSION_OPTIONS_INIT                                                                  \
  { sizeof(smft_session_options), 0, 0, 0 }

/* A session on a model and a patch of it (NULL: the base model).  Its KV cache grows with the
 * tokens that are in it: 8 * n_layers * n_kv_heads * head_dim bytes for each (half that as bf16),
 * and at most twice what they need; results do not depend on when it grew.  When the patch has
 * changed since tokens were fed, the next call feeds them again by itself, so results are always
 * those of the patch as it is when the call begins (but see SMFT_SESSION_PIN).  options may be
 * NULL.  Freed with smft_session_free. Errors: SMFT_E_MISMATCH for a patch that was made with
 * another model handle; SMFT_E_CONTEXT for a context_length above the model's; SMFT_E_INVALID for a
 * negative one, or flags that there are not. Since 0.1. */
SMFT_API smft_status smft_session_create(smft_session **out, const smft_model *model,
                                         smft_patch *patch, const smft_session_options *options);
/* Frees a session, and gives its patch and model up; NULL is fine.  Since 0.1. */
SMFT_API void smft_session_free(smft_session *session);
/* Another patch of the same model, or NULL for the base.  The tokens that the session holds stay,
 * and are fed again by the next call.  Errors: SMFT_E_MISMATCH for a patch that was made with
 * another model handle; on failure the patch stays.  Since 0.1. */
SMFT_API smft_status smft_session_set_patch(smft_session *session, smft_patch *patch);

/* Which logits smft_session_feed gives: none */
#define SMFT_LOGITS_NONE 0
/* logits (vocab_size): after the last token that the session holds */
#define SMFT_LOGITS_LAST 1
/* logits (n_ids, vocab_size): after each of the tokens fed */
#define SMFT_LOGITS_ALL 2

/* Appends tokens (n_ids) to the session.  logits (capacity, in floats) gets what `which` says,
 * before any softmax; SMFT_LOGITS_LAST with n_ids 0 gives those of the tokens there are.  On
 * failure the session holds what it held.  Errors: SMFT_E_CONTEXT where the tokens do not fit;
 * SMFT_E_TOKEN for an id outside the vocabulary; SMFT_E_BUFFER where capacity is too small;
 * SMFT_E_STATE where the patch is changed meanwhile; SMFT_E_CANCELLED by smft_session_cancel;
 * SMFT_E_NONFINITE where logits that were asked for are NaN or infinite; SMFT_E_INVALID for another
 * `which`, or SMFT_LOGITS_LAST where there is no token.  Since 0.1. */
SMFT_API smft_status smft_session_feed(smft_session *session, const int32_t *ids, int64_t n_ids,
                                       int32_t which, float *logits, int64_t capacity);
/* Number of the version of its patch (smft_patch_version) that the session's last call read; 0:
 * none did, there is no patch, or NULL.  Since 0.1. */
SMFT_API uint64_t smft_session_version(const smft_session *session);
/* Tokens that the session holds; 0 for NULL.  Since 0.1. */
SMFT_API int64_t smft_session_length(const smft_session *session);
/* Forgets all tokens after the first `length`; costs nothing.  Errors: SMFT_E_INVALID where length
 * is negative or more than there are.  Since 0.1. */
SMFT_API smft_status smft_session_rewind(smft_session *session, int64_t length);
/* Negative log-likelihood in nats: nll (n_ids - 1; may be NULL) of each token after the first,
 * *mean (may be NULL) their mean.  Starts from an empty session and leaves it empty, also where it
 * fails on the way. Errors: SMFT_E_INVALID for fewer than two tokens; the others of
 * smft_session_feed but SMFT_E_BUFFER.  Since 0.1. */
SMFT_API smft_status smft_session_nll(smft_session *session, const int32_t *ids, int64_t n_ids,
                                      float *nll, double *mean);

/* One generated token: its id and the text that it completes (length bytes of UTF-8, never part of
 * a character; may be empty; not NUL-terminated; borrowed until the callback returns).  Called on
 * the thread that generates.  Non-zero stops: the call returns SMFT_OK with what there is. */
typedef int32_t (*smft_token_fn)(void *user, int32_t id, const char *text, size_t length);

/* How to generate. */
typedef struct smft_generate_options {
  uint32_t struct_size;
  /* tokens to generate at most; 0: 64 */
  int32_t max_tokens;
  /* divides the logits before sampling; 0: greedy, the best token always */
  float temperature;
  /* sample from the smallest set of best tokens with this share of probability; 0 or 1: off */
  float top_p;
  /* sample from the best so many tokens; 0: off */
  int32_t top_k;
  /* SMFT_GENERATE_* */
  uint32_t flags;
  /* of sampling: the same seed gives the same tokens */
  uint64_t seed;
  /* generation ends before this string, which is not part of the text; NULL or "": none */
  const char *stop;
  /* gets every token as it comes; text that may be the beginning of `stop` waits; NULL: none */
  smft_token_fn on_token;
  /* passed to on_token */
  void *user;
  /* The call returns what there is after so many seconds: looked at after each token and, before
   * the first, after each 256 of the prompt; 0: no limit */
  double max_seconds;
} smft_generate_options;
#define SMFT_GENERATE_OPTIONS_INIT                                                                 \
  { sizeof(smft_generate_options), 0, 0.0f, 0.0f, 0, 0, 0, NULL, NULL, NULL, 0.0 }
/* go on after what the session holds, instead of starting it anew with begin-of-text */
#define SMFT_GENERATE_CONTINUE 1u

/* Generates after a prompt of prompt_length bytes (may be 0).  *text (may be NULL) gets the
 * generated text without the prompt, NUL-terminated, borrowed until the session's next call;
 * *length (may be NULL) its bytes.  Ends at end-of-text, `stop`, max_tokens, a full context,
 * after max_seconds, or when on_token says so (smft_session_finish says which).  The session then
 * holds prompt and generated tokens; after a failure what it held (SMFT_GENERATE_CONTINUE) or
 * nothing.  options may be NULL.  Errors: SMFT_E_UNSUPPORTED where the model has no tokenizer;
 * SMFT_E_ENCODING where prompt or `stop` is not UTF-8; SMFT_E_CONTEXT where the prompt does not
 * fit; SMFT_E_STATE, SMFT_E_CANCELLED and SMFT_E_NONFINITE as smft_session_feed; SMFT_E_INVALID for
 * an option out of range, or an empty prompt where there is no begin-of-text to start from.  Since
 * 0.1. */
SMFT_API smft_status smft_session_generate(smft_session *session, const char *prompt,
                                           size_t prompt_length,
                                           const smft_generate_options *options, const char **text,
                                           size_t *length);
/* The same with token ids (n_ids) and no tokenizer: nothing is put before them, `stop` must be
 * NULL, on_token gets no text.  ids_out (capacity, at least 1) gets the generated ids without
 * end-of-text, *n_out their number; ends also when ids_out is full.  options may be NULL.  Errors:
 * SMFT_E_TOKEN for an id outside the vocabulary; SMFT_E_CONTEXT, SMFT_E_STATE, SMFT_E_CANCELLED and
 * SMFT_E_NONFINITE as smft_session_feed; SMFT_E_INVALID for an option out of range, a stop string,
 * or no token to start from.  Since 0.1. */
SMFT_API smft_status smft_session_generate_ids(smft_session *session, const int32_t *ids,
                                               int64_t n_ids, const smft_generate_options *options,
                                               int32_t *ids_out, int64_t capacity, int64_t *n_out);
/* Why a session's last generation ended: there was none yet, it failed, or it is running */
#define SMFT_FINISH_NONE 0
/* at an end-of-text token */
#define SMFT_FINISH_END 1
/* at the stop string */
#define SMFT_FINISH_STOP 2
/* max_tokens were generated, or as many as ids_out has room for */
#define SMFT_FINISH_LENGTH 3
/* the context is full */
#define SMFT_FINISH_CONTEXT 4
/* on_token said so */
#define SMFT_FINISH_CALLBACK 5
/* max_seconds were over */
#define SMFT_FINISH_TIME 6
/* SMFT_FINISH_* of the session's last smft_session_generate or smft_session_generate_ids; where two
 * came together the lower number.  SMFT_FINISH_NONE for NULL.  Since 0.1. */
SMFT_API int32_t smft_session_finish(const smft_session *session);
/* Makes the session's running call return SMFT_E_CANCELLED soon (within a block of the network),
 * or, where none is running, the next one that computes (smft_session_feed, _nll, _generate,
 * _generate_ids; a probe's measurement) before it begins.  NULL is fine.  Any thread.  Since 0.1.
 */
SMFT_API void smft_session_cancel(smft_session *session);

/* ---- selector: which slots a step may change ([P] section 3; docs/method.md) ---- */

/* Rules that give a slot its score, from c(i), how often it was read, and df(i), in how many of |B|
 * background batches; slots with a score above 0 are eligible: */
/* c/sum(c) * ln((|B|+1)/(df+1)) */
#define SMFT_RULE_TFIDF 1
/* p ln(p/q), p = c/sum(c), q = (df+1)/sum(df+1) */
#define SMFT_RULE_KL 2
/* c/sum(c) */
#define SMFT_RULE_TF 3
/* every slot that was read; t is ignored */
#define SMFT_RULE_ALL 4
/* t of the slots that were read, drawn anew for every set of reads: the control of an experiment */
#define SMFT_RULE_RANDOM 5

/* Flag of smft_selector_options: start with no background counts, even where background.safetensors
 * lies beside the model */
#define SMFT_SELECTOR_EMPTY 1u

/* What damping goes by, u of smft_selector_options.damping: the squared weights with which
 * background reads a row, */
#define SMFT_DAMPING_SQUARES 1
/* or df / |B|, the share of background batches that read it at all */
#define SMFT_DAMPING_DF 2
/* What the rules take for c(i): the number of reads, */
#define SMFT_RANK_COUNTS 1
/* or the sum of the softmax weights of the reads */
#define SMFT_RANK_WEIGHTS 2

/* Which slots are selected, and how far their rows move. */
typedef struct smft_selector_options {
  uint32_t struct_size;
  /* SMFT_RULE_*; 0: SMFT_RULE_TFIDF */
  int32_t rule;
  /* at most so many slots, over all pools: of a fact, or of a step where rows are chosen anew in
   * each; 0: the model's default (smft_model_learn_defaults), as for the numbers below: 350 where
   * it says nothing */
  int64_t t;
  /* SMFT_SELECTOR_* */
  uint32_t flags;
  int32_t reserved;
  /* How far a selected row may move: its learning rate is multiplied by 1 / (1 + u / damping), u
   * how much a background batch reads it on average: the sum of the squared weights of its reads, a
   * read of the mean squared weight being 1.  0: the model's default, else 0.0003; negative: no
   * damping, as in [P].  Without background counts nothing is damped. */
  double damping;
  /* rows that more than this share of the background batches read (df over max_df |B|) are never
   * selected, whatever the rule: 0.005 spares what every chat reads.  A fact that is not learnt
   * after 40 updates gets rows among five times as common ones.  At most 1; 0: the model's default,
   * else none; negative: none */
  double max_df;
  /* SMFT_DAMPING_*; 0: the model's default, else SMFT_DAMPING_SQUARES */
  int32_t damping_by;
  /* SMFT_RANK_*; 0: the model's default, else SMFT_RANK_COUNTS */
  int32_t rank_by;
} smft_selector_options;
#define SMFT_SELECTOR_OPTIONS_INIT                                                                 \
  { sizeof(smft_selector_options), 0, 0, 0, 0, 0, 0, 0, 0 }

/* A selector for a model's slots.  Reads the model's background.safetensors when there is one (not
 * for models of smft_model_init).  Without any counts TF-IDF gives every slot the score 0: nothing
 * is eligible, and steps report rows_selected 0: the log gets a warning (with SMFT_SELECTOR_EMPTY
 * when a learner is made of it, once in all).  options may be NULL.  Freed with smft_selector_free.
 * Errors: SMFT_E_UNSUPPORTED for a model without memory layers; those of smft_selector_load where
 * the file beside the model is wrong; SMFT_E_INVALID for an option out of range.  Since 0.1. */
SMFT_API smft_status smft_selector_create(smft_selector **out, const smft_model *model,
                                          const smft_selector_options *options);
/* Gives a selector up; NULL is fine.  Learners that use it keep it alive.  Since 0.1. */
SMFT_API void smft_selector_free(smft_selector *selector);

/* Text to count the background over: one of a file, token ids and texts.  Rule of thumb: some 8,000
 * texts like those to be kept, in the form in which users ask, half of them prose.  Known F1 lost
 * on atlas after 100 new facts (docs/method.md), with 500, 2,000 and 8,000 texts: of
 * prose 16.2, 15.9 and 15.9 % (all 12,072 lines: 16.1); of sentences about facts like those
 * kept 4.8, 3.6 and 1.8 % (32,000: 1.5); of half each 7.6, 4.4 and 2.6 %. */
typedef struct smft_background {
  uint32_t struct_size;
  /* this id never counts (and is fed to nothing); -1: none, which SMFT_BACKGROUND_INIT sets.  0 is
   * a token id like any other */
  int32_t pad_id;
  /* a UTF-8 text file, one sequence a line, empty lines skipped; special tokens written in it are
   * ordinary text; or NULL */
  const char *text_path;
  /* sequences, one after another; or NULL */
  const int32_t *ids;
  /* (n_sequences) tokens of each */
  const int64_t *lengths;
  /* number of sequences in ids */
  int64_t n_sequences;
  /* 0: 1.  df counts batches; small batches keep the counts from saturating */
  int64_t sequences_per_batch;
  /* longer sequences are cut into pieces of so many tokens; 0: 64, or the model's context if that
   * is less */
  int64_t tokens_per_sequence;
  /* stop after so many; 0: all */
  int64_t max_batches;
  /* stage "background", in sequences, lines or texts of the input; may be NULL */
  smft_progress_fn progress;
  /* passed to progress */
  void *progress_user;
  /* (n_texts) UTF-8 texts, each a sequence whatever newlines are in it, empty ones skipped; special
   * tokens written in them are ordinary text; or NULL */
  const char *const *texts;
  /* number of texts */
  int64_t n_texts;
} smft_background;
#define SMFT_BACKGROUND_INIT                                                                       \
  { sizeof(smft_background), -1, NULL, NULL, NULL, 0, 0, 0, 0, NULL, NULL, NULL, 0 }

/* Runs the base model over background text and adds to df(i) = number of batches in which slot i
 * was read at least once, and to the sum of the squared weights of its reads, which damping goes
 * by.  Counts that were there stay and grow.  Nothing changes on failure or cancellation.  Errors:
 * those of reading text_path; SMFT_E_UNSUPPORTED where there is text and the model has no
 * tokenizer; SMFT_E_ENCODING for text that is not UTF-8; SMFT_E_TOKEN for an id outside the
 * vocabulary; SMFT_E_CONTEXT for a tokens_per_sequence above the model's context; SMFT_E_CANCELLED
 * by progress; SMFT_E_INVALID for two of text_path, ids and texts, or none, sequences without ids
 * or lengths, a text that is NULL, or a negative number.  Since 0.1. */
SMFT_API smft_status smft_selector_count_background(smft_selector *selector,
                                                    const smft_background *background);
/* Writes the counts as safetensors: df.{pool} (n_slots) U32, square.{pool} (n_slots) F32
 * (docs/formats.md); zeros where nothing was counted.  Errors: those of writing.  Since 0.1. */
SMFT_API smft_status smft_selector_save(smft_selector *selector, const char *path);
/* Replaces the counts with those of a file.  A file without squares (format 1) is taken as if every
 * read had had its head's even share, 1 / top_k.  On failure they stay as they are.  Errors: those
 * of reading; SMFT_E_MISMATCH for counts of another model.  Since 0.1. */
SMFT_API smft_status smft_selector_load(smft_selector *selector, const char *path);
/* df (n_slots) of a pool, zeros where nothing was counted, and *n_batches, the number of batches
 * counted.  Either out-pointer may be NULL; n_slots may be larger than the pool.  Errors:
 * SMFT_E_BUFFER where it is smaller; SMFT_E_INVALID where the model has no such pool.  Since 0.1.
 */
SMFT_API smft_status smft_selector_df(const smft_selector *selector, int32_t pool, uint32_t *df,
                                      int64_t n_slots, int64_t *n_batches);

/* ---- graft: a memory for a model that has none (docs/graft.md) ------------ */

/* Flags of smft_graft_options: one value pool for all memory layers (0: each has its own); */
#define SMFT_GRAFT_SHARED_POOL 1u
/* the learner takes a fact's one wording as it is (0: it makes further ones by rule) */
#define SMFT_GRAFT_NO_FRAMES 2u
/* the learner's steps are as long as the loss asks: SMFT_OPTIMIZER_LENGTH_BY_LOSS */
#define SMFT_GRAFT_LENGTH_BY_LOSS 4u

/* Kinds of sub-keys: the centres of what the texts look up, by k-means; */
#define SMFT_GRAFT_KMEANS 1
/* random directions, the control */
#define SMFT_GRAFT_RANDOM 2

/* What a graft is made of.  Where nothing is said, zero is the default that was measured. */
typedef struct smft_graft_options {
  uint32_t struct_size;
  /* SMFT_GRAFT_* */
  uint32_t flags;
  /* (n_sources) what is to be kept: prose, and chats in the model's own template, with answers.
   * Their progress is not called */
  const smft_background *const *sources;
  /* at least 1 */
  int64_t n_sources;
  /* of sources that do not say it; 0: 96, or the model's context if that is less */
  int64_t tokens_per_sequence;
  /* (n_layers) the blocks that get a memory, from 0, ascending; NULL: those at a tenth and a fifth
   * of the depth */
  const int32_t *layers;
  int32_t n_layers;
  /* sub-keys of each half; 0: 1,024, so a pool has 1,048,576 slots */
  int32_t n_keys;
  /* 0: 4 */
  int32_t heads;
  /* slots that a head reads; 0: 4 */
  int32_t top_k;
  /* numbers of a head's query, both halves, even, at most rank; 0: 64, or rank if that is less */
  int32_t key_dim;
  /* directions of the whitened state, at most the model's width; 0: 256, or the width if that is
   * less */
  int32_t rank;
  /* SMFT_GRAFT_KMEANS (0: the same) or SMFT_GRAFT_RANDOM */
  int32_t keys;
  /* of k-means; 0: 10 */
  int32_t rounds;
  /* of tokens, for k-means; 0: 40,000; all tokens where there are fewer, which must be n_keys */
  int64_t samples;
  /* scores are multiplied with it; above 0; 0: 1 */
  double temperature;
  /* of samples, rotations and where k-means starts; any */
  uint64_t seed;
  /* states are kept in so much memory, else a second pass counts; 0: 1 GiB; below 0: none is */
  int64_t keep_bytes;
  /* What a learner, a selector and an optimizer of the grafted model take where their options say
   * nothing.  Rows of a fact; 0: 32 */
  int64_t t;
  /* smft_selector_options.max_df; 0: .001; below 0: none */
  double max_df;
  /* smft_selector_options.damping; 0: .0003, by df .001; below 0: none */
  double damping;
  /* SMFT_DAMPING_*; 0: SMFT_DAMPING_SQUARES */
  int32_t damping_by;
  /* SMFT_RANK_*; 0: SMFT_RANK_WEIGHTS */
  int32_t rank_by;
  /* smft_optimizer_options.step_length; 0: 12.3 times the mean length of the states that the lowest
   * memory layer reads; below 0: none */
  double step_length;
  /* smft_learner_options.loss_below, max_steps, wordings_per_step; 0: .1, the library's, 4 */
  double loss_below;
  int64_t max_steps;
  int64_t wordings_per_step;
  /* stages "texts" (sources), "states" (tokens), "keys" (rounds), "counts" (tokens); may be NULL */
  smft_progress_fn progress;
  /* passed to progress */
  void *progress_user;
  /* smft_optimizer_options.momentum, beside step_length */
  double momentum;
} smft_graft_options;
#define SMFT_GRAFT_OPTIONS_INIT                                                                    \
  {                                                                                                \
    sizeof(smft_graft_options), 0, NULL, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  \
        0, 0, 0, 0, 0, 0, NULL, NULL, 0                                                            \
  }

/* What a graft came to. */
typedef struct smft_graft_report {
  uint32_t struct_size;
  /* memory layers */
  int32_t n_layers;
  /* of all sources */
  int64_t n_sequences;
  int64_t n_tokens;
  /* of which k-means made the sub-keys */
  int64_t n_samples;
  /* mean length of the states that the lowest memory layer reads */
  double state_length;
  /* as it was written */
  double step_length;
  /* share of all slots that no text reads, from 0 to 1: where few are left, no slot is a new fact's
   * own */
  double unread;
  /* by the clock on the wall */
  double seconds;
} smft_graft_report;
#define SMFT_GRAFT_REPORT_INIT                                                                     \
  { sizeof(smft_graft_report), 0, 0, 0, 0, 0, 0, 0, 0 }

/* Gives a model a memory, without training: makes the directory `path`, which smft_model_load
 * takes, and whose model answers as this one does, bit for bit, until a patch teaches it something.
 * It holds config.json, which says where the model lies (relative to the directory where it is
 * beside or below it, else absolute) and what its hash is, memory.safetensors, and the counts of
 * the sources, background.safetensors; some megabytes: the model stays where it is and is not
 * copied.  docs/graft.md says what is computed.  The same texts, options and seed give the same
 * bytes.  path must not exist, or be an empty directory, or hold a graft, which is replaced,
 * its files together as smft_model_export replaces those of a model.  Nothing is left of it on
 * failure.  report may be NULL.  Errors: those of reading and writing;
 * SMFT_E_UNSUPPORTED for a model with memory, or one that was not loaded from a file, or texts
 * where it has no tokenizer; SMFT_E_ENCODING, SMFT_E_TOKEN and SMFT_E_CONTEXT as
 * smft_selector_count_background; SMFT_E_STATE where path holds something else;
 * SMFT_E_NONFINITE where a state is NaN or infinite; SMFT_E_CANCELLED by progress; SMFT_E_INVALID
 * for no sources, an option out of range, or fewer tokens than n_keys or rank.  Since 0.1. */
SMFT_API smft_status smft_graft(const smft_model *model, const char *path,
                                const smft_graft_options *options, smft_graft_report *report);

/* ---- optimizer ----------------------------------------------------------- */

/* Kinds of optimizers: gradient descent, with momentum if asked for; */
#define SMFT_OPTIMIZER_SGD 1
/* Adam with decoupled weight decay */
#define SMFT_OPTIMIZER_ADAMW 2

/* Keep Adam moments and momentum from fact to fact (0, the default, starts them afresh for every
 * fact on slots patches; on full and LoRA patches they are always kept). */
#define SMFT_OPTIMIZER_KEEP_STATE 1u
/* Full patches: pool rows that the batch did not read keep their values and moments, as PyTorch's
 * SparseAdam does it. */
#define SMFT_OPTIMIZER_LAZY_POOLS 2u
/* Beside step_length: a step is as many times as long as the mean loss of its batch has nats a
 * token, but no less than half and no more than three times. */
#define SMFT_OPTIMIZER_LENGTH_BY_LOSS 4u

/* How a gradient becomes an update. */
typedef struct smft_optimizer_options {
  uint32_t struct_size;
  /* SMFT_OPTIMIZER_*; 0: SMFT_OPTIMIZER_SGD */
  int32_t kind;
  /* SMFT_OPTIMIZER_KEEP_STATE, SMFT_OPTIMIZER_LAZY_POOLS, SMFT_OPTIMIZER_LENGTH_BY_LOSS */
  uint32_t flags;
  int32_t reserved;
  /* learning rate; 0: the default, on slots patches a rule that does not depend on a model's width
   * (docs/method.md), on others 1e-5 (full, AdamW), 1e-4 (LoRA, AdamW) or 1e-2 (SGD) */
  double lr;
  /* SGD: share of the last step that the next one keeps, from 0 to below 1 */
  double momentum;
  /* SGD: added to the gradient; AdamW: decoupled; 0: none */
  double weight_decay;
  /* AdamW: memory of the mean gradient, below 1; 0: 0.9 */
  double beta1;
  /* AdamW: memory of the mean squared gradient, below 1; 0: 0.999 */
  double beta2;
  /* AdamW: added to the root of that; 0: 1e-8 */
  double eps;
  /* gradient clipping by global norm; 0: none */
  double clip_norm;
  /* full patches: learning rate of pool values; 0: lr */
  double pool_lr;
  /* full patches: clip the pool values' gradient on its own; 0: with the rest */
  double pool_clip_norm;
  /* full patches: weight decay of pool values; 0: none */
  double pool_weight_decay;
  /* The rate (pool_lr too) rises linearly over so many updates: update s of the optimizer's state
   * uses lr * min(1, s / warmup_steps); 0: no warm-up.  On slots patches the state, and with it the
   * count, begins anew with every fact unless SMFT_OPTIMIZER_KEEP_STATE is set. */
  int64_t warmup_steps;
  /* SGD on slots patches: every step changes the selected rows together by so much, the Euclidean
   * length over all pools of what is added to them, along their damped gradient, however long that
   * is (warm-up and SMFT_OPTIMIZER_LENGTH_BY_LOSS scale it): for memories whose values are zero,
   * from which no rate follows.  A step reports the rate that came of it; without a gradient there
   * is none (rows_selected 0).  With momentum each of its rows goes on by that share of its last
   * step, too.  lr, pool_lr, weight_decay and clip_norm must be 0.  0: off */
  double step_length;
} smft_optimizer_options;
#define SMFT_OPTIMIZER_OPTIONS_INIT                                                                \
  { sizeof(smft_optimizer_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* An optimizer without state: its first step ties the state to a model and a kind of patch. options
 * may be NULL: SGD with the defaults.  Freed with smft_optimizer_free.  Errors: SMFT_E_INVALID for
 * an option out of range (rates, decays, eps, norms and lengths are finite and not negative), or
 * beside step_length one that it excludes.  Since 0.1. */
SMFT_API smft_status smft_optimizer_create(smft_optimizer **out, smft_ctx *ctx,
                                           const smft_optimizer_options *options);
/* Gives an optimizer up; NULL is fine.  Learners that use it keep it alive.  Since 0.1. */
SMFT_API void smft_optimizer_free(smft_optimizer *optimizer);
/* Sets lr and pool_lr of the options for the steps to come, for schedules; 0 means what it means
 * there.  Errors: SMFT_E_INVALID for a negative or non-finite rate, or one beside a step_length.
 * Since 0.1. */
SMFT_API smft_status smft_optimizer_set_lr(smft_optimizer *optimizer, double lr, double pool_lr);
/* Parameter groups of full and LoRA patches: tensors (LoRA: factors, by PEFT's names, such as
 * "layers.0.self_attn.q_proj.lora_B") whose name contains `part` (1 to 63 bytes, copied) learn at
 * lr_scale times the learning rate (pools: times pool_lr); 0 freezes them.  Setting the same part
 * again replaces its scale; where several fit, the group that was first set last counts.  Errors:
 * SMFT_E_INVALID for a part or scale out of range, or a 17th group.  Since 0.1. */
SMFT_API smft_status smft_optimizer_set_group(smft_optimizer *optimizer, const char *part,
                                              double lr_scale);
/* Forgets moments and step counts, and which model they were of; options and groups stay.  Errors:
 * the general ones.  Since 0.1. */
SMFT_API smft_status smft_optimizer_reset(smft_optimizer *optimizer);
/* Writes moments and step counts as a safetensors file (docs/formats.md): with the patch, a
 * checkpoint.  Options and groups are not in it.  Errors: those of writing.  Since 0.1. */
SMFT_API smft_status smft_optimizer_save(smft_optimizer *optimizer, const char *path);
/* Replaces moments and step counts with those of a file, for the model that they are of.  On
 * failure they stay as they are.  Errors: those of reading; SMFT_E_MISMATCH for the state of
 * another model, of another kind of optimizer, or with another number of moments (momentum);
 * SMFT_E_NONFINITE for a moment that is NaN or infinite.  Since 0.1. */
SMFT_API smft_status smft_optimizer_load(smft_optimizer *optimizer, const smft_model *model,
                                         const char *path);

/* ---- learner ------------------------------------------------------------- */

/* Flags of smft_learner_options: */
/* loss on every token, not only on the answer's */
#define SMFT_LEARNER_LOSS_ALL 1u
/* Choose the rows anew in every step from that step's batch, as [P] does it; 0, the default,
 * chooses them once a fact from the reads of all its wordings, and each step trains those of them
 * that its batch reads: half the rows for the same learning. */
#define SMFT_LEARNER_ROWS_PER_STEP 2u
/* Slots patches: do not count the facts that the patch was taught (smft_patch_fact_count) as
 * background, and do not keep what the facts taught now read.  0, the default, does both: where
 * rows are damped (smft_selector_options.damping), facts that follow move the less what earlier
 * ones read. */
#define SMFT_LEARNER_NO_PROTECT 4u
/* A fact is done when the mean loss of the wordings drawn for a step is under loss_below, whatever
 * the others' are.  0, the default, asks for each wording's own: see smft_step. */
#define SMFT_LEARNER_SAMPLE_DECIDES 8u
/* What was learnt of a fact that is given up stays in the patch.  0, the default, on slots patches:
 * its rows, and the optimizer's state of them, become what they were when the fact began, bit for
 * bit; full and LoRA patches keep it in any case. */
#define SMFT_LEARNER_KEEP_GIVEN_UP 16u
/* A fact that is pushed with one wording, by smft_learner_push or smft_learner_push_file, is learnt
 * in the wordings that are made of it by rule, as smft_wordings_from_qa and
 * smft_wordings_from_statement make them.  A prompt that is no question is learnt as it is, raw and
 * as a chat.  A wording with flags, of several lines or of more than 64 KiB stays as it is.  The
 * wording's `end` follows raw answers.  0, the default, learns what is pushed, unless the model's
 * config asks for frames (smft_learn_defaults). */
#define SMFT_LEARNER_FRAMES 32u
/* What is pushed is learnt as it is, also where the model's config asks for frames. */
#define SMFT_LEARNER_NO_FRAMES 64u
/* 0, the default: where the selector has a max_df, and a fact's wordings are made by rule of a
 * question about something that has a name, rows that the same question reads when it is asked
 * about others (names that the library has, and namesakes: one word of its own among theirs) are
 * chosen last, so that answers about others stay as they are (docs/graft.md). */
#define SMFT_LEARNER_NO_CONTRAST 128u

struct smft_report;
/* Asked when a fact is about to be final, done or given up, after everything that measures it:
 * non-zero takes back a fact that is done (SMFT_REASON_VETOED).  On the learner's thread; sessions
 * of the patch see what was learnt.  The report and its fact_id are valid during the call, in which
 * the learner must not be used (smft_step and its like: SMFT_E_STATE).  Asked again where what
 * follows fails (SMFT_E_NOMEM, SMFT_E_STATE) and the fact stays in hand. */
typedef int32_t (*smft_fact_fn)(void *user, const struct smft_report *report);

/* How a learner takes its steps. */
typedef struct smft_learner_options {
  uint32_t struct_size;
  /* SMFT_LEARNER_* */
  uint32_t flags;
  /* updates for a fact before it is given up; 0: the model's default (smft_model_learn_defaults),
   * as for the two below; where it says nothing 200, or 100 with SMFT_LEARNER_SAMPLE_DECIDES */
  int32_t max_steps;
  /* drawn without repetition; 0: the model's default, else 4; negative: all.  On slots patches
   * fewer, when fewer are left that a pass over all has found not to be learnt */
  int32_t wordings_per_step;
  /* a fact is done when the loss of each of its wordings, in nats a token, is under this; 0: the
   * model's default, else 0.2, or 0.1 with SMFT_LEARNER_SAMPLE_DECIDES; negative: never (max_steps
   * decides) */
  double loss_below;
  /* of the draws of wordings, which depend on it, the fact's id and the step */
  uint64_t seed;
  /* seconds of a fact's steps, by the clock on the wall, after which it gets no other and is given
   * up; 0: no limit */
  double max_seconds;
  /* NULL: nobody is asked */
  smft_fact_fn on_fact;
  void *on_fact_user;
} smft_learner_options;
#define SMFT_LEARNER_OPTIONS_INIT                                                                  \
  { sizeof(smft_learner_options), 0, 0, 0, 0, 0, 0, NULL, NULL }

/* A learner with an empty queue.  patch decides what is trained.  selector: for slots patches; NULL
 * there is one with the defaults; it must be NULL for others.  optimizer NULL: SGD with the
 * defaults on slots patches, in steps of the model's step_length where it says one; on full and
 * LoRA patches AdamW with weight decay 0.1 (pools, too) and clip_norm 1, as the paper's baselines.
 * options may be NULL.  Freed with smft_learner_free.  On full and LoRA patches the gradient, 4
 * bytes for each number that is trained, is made here.  Where TF-IDF has no background counts the
 * log gets a warning, unless the selector gave it.  Errors: SMFT_E_MISMATCH where patch or selector
 * is of another model (by hash); those of smft_selector_create where selector is NULL;
 * SMFT_E_UNSUPPORTED for an optimizer with a step_length on a full or LoRA patch; SMFT_E_INVALID
 * for a selector on another kind of patch, or an option out of range.  Since 0.1. */
SMFT_API smft_status smft_learner_create(smft_learner **out, const smft_model *model,
                                         smft_patch *patch, smft_selector *selector,
                                         smft_optimizer *optimizer,
                                         const smft_learner_options *options);
/* From now on the learner teaches another patch: one learner serves every user's.  The queue stays.
 * Each fact is learnt as by a learner of the patch's own, to the bit, as long as the optimizer's
 * state begins anew with every fact.  With SMFT_OPTIMIZER_KEEP_STATE the moments and the count of
 * steps stay the optimizer's: smft_optimizer_reset drops them, smft_optimizer_save and _load keep
 * each patch's own.  Errors: SMFT_E_UNSUPPORTED where the learner's patch or the new one is not of
 * slots; SMFT_E_MISMATCH for a patch that was made with another model handle; SMFT_E_STATE while
 * the fact in hand has taken steps (finish or skip it).  On failure the patch stays.  Since 0.1. */
SMFT_API smft_status smft_learner_set_patch(smft_learner *learner, smft_patch *patch);
/* Frees a learner and the facts in its queue; what was learnt is in the patch.  NULL is fine. Since
 * 0.1. */
SMFT_API void smft_learner_free(smft_learner *learner);

/* smft_wording.flags: prompt and answer are joined exactly as they stand: no space is put between
 * them */
#define SMFT_WORDING_EXACT 1u

/* One way to say a fact: prompt and answer, or a statement with the answer in it.  "Who wrote
 * Emma?" and "Jane Austen" are learnt as "Who wrote Emma? Jane Austen": the library puts the space
 * that running text has, and which belongs to the answer's tokens.  None is put where the prompt is
 * empty or ends in white space (a chat prompt's newline) or an opening bracket or quote, where the
 * answer begins with white space or closing punctuation, nor where what meets is of a script
 * written without spaces: after Han and kana, beside full-width punctuation, within Thai, Lao,
 * Khmer and Myanmar.  A session asks with the prompt alone, without a space at its end. */
typedef struct smft_wording {
  /* of the first element: the distance between elements */
  uint32_t struct_size;
  /* SMFT_WORDING_* */
  uint32_t flags;
  /* "Who wrote Emma?": given, not learnt.  May be "" but not NULL, unless statement is set */
  const char *prompt;
  /* "Jane Austen": learnt.  A space at the prompt's end is taken as the answer's */
  const char *answer;
  /* what follows the answer, learnt too, so that the model stops; NULL: "\n" after a prompt's
   * answer, nothing after a statement; "": nothing.  (Then comes what the tokenizer puts after a
   * text, if it does: end-of-text, learnt where what stands before it is) */
  const char *end;
  /* instead of prompt: "Emma was written by Jane Austen." with `answer` a part of it, as it stands
   * there (its last occurrence is what is learnt) */
  const char *statement;
} smft_wording;
#define SMFT_WORDING_INIT                                                                          \
  { sizeof(smft_wording), 0, NULL, NULL, NULL, NULL }

/* Queues one fact: its id, which reports and messages name and which no other fact in the queue
 * has, and wordings (n_wordings, at least one). Special tokens written in them are ordinary text;
 * begin-of-text is put before each where the tokenizer does so.  Where it does not (Qwen, SmolLM2),
 * an answer that opens the text ("Jane Austen wrote Emma.", or a prompt of "") has nothing before
 * it that could predict its first token: such a wording is left out, and the fact learnt from its
 * others (SMFT_LEARNER_LOSS_ALL keeps it, and learns the rest of its tokens).  Everything is
 * copied.  Nothing is queued on failure; the message names the id. Errors: SMFT_E_FACT for an id
 * that is empty or waits already (one that was learnt is free again), for no wording, none that is
 * not left out, an empty answer, or one that is not in its statement; SMFT_E_CONTEXT for a wording
 * longer than the model's context; SMFT_E_ENCODING for text that is not UTF-8; SMFT_E_UNSUPPORTED
 * where the model has no tokenizer; SMFT_E_INVALID for a wording with both prompt and statement, or
 * neither, or an unknown flag.  Since 0.1. */
SMFT_API smft_status smft_learner_push(smft_learner *learner, const char *id,
                                       const smft_wording *wordings, int64_t n_wordings);

/* A wording as token ids. */
typedef struct smft_ids_wording {
  /* of the first element: the distance between elements */
  uint32_t struct_size;
  uint32_t reserved;
  /* (n_prompt ids) given, begin-of-text included if it is wanted; NULL only where n_prompt is 0 */
  const int32_t *prompt;
  int64_t n_prompt;
  /* (n_answer ids, at least one) learnt, with what ends it */
  const int32_t *answer;
  int64_t n_answer;
} smft_ids_wording;
#define SMFT_IDS_WORDING_INIT                                                                      \
  { sizeof(smft_ids_wording), 0, NULL, 0, NULL, 0 }
/* Queues one fact for hosts with a tokenizer of their own: exactly these ids, nothing added.  The
 * first token of a wording can only be given, not learnt.  Everything is copied; nothing is queued
 * on failure.  Errors: SMFT_E_FACT for an id as smft_learner_push, no wording, an empty answer, or
 * no token that can be learnt;
 * SMFT_E_TOKEN for an id outside the vocabulary; SMFT_E_CONTEXT for a wording longer than the
 * model's context; SMFT_E_ENCODING for an id of the fact that is not UTF-8.  Since 0.1. */
SMFT_API smft_status smft_learner_push_ids(smft_learner *learner, const char *id,
                                           const smft_ids_wording *wordings, int64_t n_wordings);
/* Queues facts from a JSONL file: {"id": "...", "wordings": [{"prompt": "...", "answer": "..."} |
 * {"statement": "...", "answer": "..."}, ...]} a line ("end" as in smft_wording, "exact": true for
 * SMFT_WORDING_EXACT; "question" is another name for "prompt"; docs/formats.md), or with one
 * wording
 * {"id": "...", "question": "...", "answer": "..."}, whose "subject" is that of
 * smft_wordings_options.  Beside them may stand what others ask and accept ("question", "answers",
 * "aliases", "ask"); keys that begin with "_" are ignored, and any other is SMFT_E_FORMAT, lest a
 * misspelt one is missed.
 * All are queued or none; an error names its line and fact.  *n (may be NULL) gets their number, 0
 * on failure. Errors: those of reading and of smft_learner_push.  Since 0.1. */
SMFT_API smft_status smft_learner_push_file(smft_learner *learner, const char *path, int64_t *n);

/* Flags of smft_wordings_options: no raw text, only chats; */
#define SMFT_WORDINGS_NO_TEXT 1u
/* no chats; */
#define SMFT_WORDINGS_NO_CHATS 2u
/* no statements ("The author of Emma is ...") made of a question */
#define SMFT_WORDINGS_NO_STATEMENTS 4u

/* Which wordings are made. */
typedef struct smft_wordings_options {
  uint32_t struct_size;
  /* SMFT_WORDINGS_NO_* */
  uint32_t flags;
  /* what a question is about, for wordings that name it; NULL: found by rule, the longest name or
   * quoted text in it; "": none, and such wordings are left out */
  const char *subject;
  /* at most so many, the plainest first; 0: all */
  int64_t limit;
  /* of the chats; NULL: the model's own template, on the day that it is made.  An answer is never
   * thought about first */
  const smft_chat_options *chat;
} smft_wordings_options;
#define SMFT_WORDINGS_OPTIONS_INIT                                                                 \
  { sizeof(smft_wordings_options), 0, NULL, 0, NULL }

/* The wordings of a fact, made by rule from a question and its answer, up to 16: raw ("Question:
 * Who wrote Emma?" and "Answer:"), as chats ("Please tell me: Who wrote Emma?"), and, where the
 * question is English and its grammar is sure, statements ("Emma was written by"); docs/method.md
 * lists them.  Chats are ids by the model's own chat template, with the answer and the token that
 * ends its turn as what is learnt; a model without a template that is known has none.  Wordings
 * that do not fit the model's context are left out.  White space at the ends of question and answer
 * does not count.  options may be NULL.  Freed with smft_wordings_free.  Errors: SMFT_E_FACT for an
 * empty question or answer, one of more than 64 KiB, or options that leave no wording;
 * SMFT_E_ENCODING for text that is not UTF-8; SMFT_E_CONTEXT where no wording fits;
 * SMFT_E_UNSUPPORTED where the model has no tokenizer; SMFT_E_INVALID for an option out of range;
 * those of smft_tokenizer_chat for options->chat.  Since 0.1. */
SMFT_API smft_status smft_wordings_from_qa(smft_wordings **out, const smft_model *model,
                                           const char *question, const char *answer,
                                           const smft_wordings_options *options);
/* The same from a sentence that the answer is a part of (its last occurrence), as it stands there:
 * the sentence itself, and chats that ask to complete it, up to 6.  options->subject and
 * SMFT_WORDINGS_NO_STATEMENTS mean nothing here.  Errors: SMFT_E_FACT where the answer is not in
 * it, too; those of smft_wordings_from_qa.  Since 0.1. */
SMFT_API smft_status smft_wordings_from_statement(smft_wordings **out, const smft_model *model,
                                                  const char *statement, const char *answer,
                                                  const smft_wordings_options *options);
/* Frees a list; NULL is fine.  Since 0.1. */
SMFT_API void smft_wordings_free(smft_wordings *list);
/* How many there are; 0 for NULL.  Since 0.1. */
SMFT_API int64_t smft_wordings_count(const smft_wordings *list);

/* Kinds of wordings: a question as text, */
#define SMFT_FRAME_TEXT 1
/* a message to the model in its chat template, */
#define SMFT_FRAME_CHAT 2
/* and a statement */
#define SMFT_FRAME_STATEMENT 3

/* One of them; everything is borrowed from the list.  Filled by smft_wordings_get. */
typedef struct smft_wording_info {
  uint32_t struct_size;
  /* SMFT_FRAME_* */
  int32_t kind;
  /* what stands before the answer; of a chat the user's message */
  const char *prompt;
  const char *answer;
  /* the text that follows the answer; "" for a chat, whose end is a token */
  const char *end;
  /* (n_prompt_ids) what is given, begin-of-text or a chat's opening included */
  const int32_t *prompt_ids;
  int64_t n_prompt_ids;
  /* (n_answer_ids) what is learnt, with what ends it */
  const int32_t *answer_ids;
  int64_t n_answer_ids;
} smft_wording_info;
#define SMFT_WORDING_INFO_INIT                                                                     \
  { sizeof(smft_wording_info), 0, NULL, NULL, NULL, NULL, 0, NULL, 0 }
/* Wordings by position, from 0, the plainest first; info->struct_size must be set.  Errors:
 * SMFT_E_NOT_FOUND past the end.  Since 0.1. */
SMFT_API smft_status smft_wordings_get(const smft_wordings *list, int64_t index,
                                       smft_wording_info *info);
/* Queues one fact in the wordings of a list, which is copied.  Errors: SMFT_E_MISMATCH where the
 * list is of another model (by hash); SMFT_E_FACT for an id as smft_learner_push; SMFT_E_ENCODING
 * for an id that is not UTF-8.  Since 0.1. */
SMFT_API smft_status smft_learner_push_wordings(smft_learner *learner, const char *id,
                                                const smft_wordings *list);
/* Facts in the queue, the one in hand included; 0 for NULL.  Since 0.1. */
SMFT_API int64_t smft_learner_pending(const smft_learner *learner);

/* States of a fact after a step: more steps to come */
#define SMFT_FACT_LEARNING 0
/* the loss of each of its wordings is under the threshold */
#define SMFT_FACT_DONE 1
/* it is not learnt and leaves the queue; the reason says why */
#define SMFT_FACT_GAVE_UP 2

/* Why a fact was given up: it was not, it is still being learnt or is done */
#define SMFT_REASON_NONE 0
/* no slot that its wordings read was eligible */
#define SMFT_REASON_NO_ROWS 1
/* none was, for there are no background counts at all and the rule is TF-IDF */
#define SMFT_REASON_NO_COUNTS 2
/* max_steps were taken */
#define SMFT_REASON_STEPS 3
/* max_seconds are over */
#define SMFT_REASON_TIME 4
/* a loss, a gradient or a new value was NaN or infinite */
#define SMFT_REASON_NONFINITE 5
/* on_fact did not want it */
#define SMFT_REASON_VETOED 6
/* smft_learner_skip */
#define SMFT_REASON_SKIPPED 7

/* What a step did. */
typedef struct smft_report {
  uint32_t struct_size;
  /* SMFT_FACT_* after this step; 0 for a batch step */
  int32_t fact_state;
  /* borrowed until the learner's next call; "" for a batch step */
  const char *fact_id;
  /* steps taken for this fact, this one included if it changed something */
  int64_t step;
  /* mean over the batch's supervised tokens, before the update; nats */
  double loss;
  /* of what is trained, before clipping; 0 where nothing was computed */
  double gradient_norm;
  /* learning rate used, warm-up included; damping and parameter groups scale it further */
  double lr;
  /* rows updated (full, LoRA: of all tensors or factors); 0: nothing was changed */
  int64_t rows_selected;
  /* distinct slots read by the batch */
  int64_t slots_read;
  /* tokens * heads * top_k, over memory layers */
  int64_t reads;
  /* tokens in the batch */
  int64_t tokens;
  /* those of them that the loss is taken on */
  int64_t tokens_supervised;
  /* by the clock on the wall */
  double seconds;
  /* facts left, the one in hand included unless it is finished */
  int64_t pending;
  /* SMFT_REASON_* of a fact that is given up */
  int32_t reason;
  /* 1: what was learnt of it was taken out of the patch */
  int32_t rolled_back;
  /* of the fact; 0 for a batch step, and so are the next two */
  int64_t wordings;
  /* those of them whose loss was under the threshold when it was measured last */
  int64_t wordings_learnt;
  /* the largest of their losses, each as it was measured last; 0: none was */
  double worst_loss;
  /* tokens of passes that only asked whether the fact is learnt, not counted in `tokens` */
  int64_t check_tokens;
  /* of those passes, by the clock on the wall */
  double check_seconds;
  /* wordings that were pushed, but of which nothing can be learnt */
  int64_t wordings_left_out;
} smft_report;
#define SMFT_REPORT_INIT                                                                           \
  { sizeof(smft_report), 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* One update for the fact in hand, the queue's first.  The wordings' losses are measured first.  If
 * each wording that was drawn for this step is under the threshold, one pass over all of them
 * decides: either the fact is done and nothing changes, or the update is made on wordings that are
 * not under it, which later steps draw first, too.  Of wordings that were made by rule
 * (smft_wordings, SMFT_LEARNER_FRAMES) one of eight may stay above it, but for the first two: a
 * question as it is, as a text and as a chat.  The same pass follows the last update that
 * max_steps or max_seconds allow, before the fact is given up.  A step without an eligible slot
 * changes nothing, its report says rows_selected 0, and the fact is given up.  A fact that is done
 * or given up leaves the queue; on slots patches what was learnt of one that is given up is taken
 * back (SMFT_LEARNER_KEEP_GIVEN_UP).  A failed or cancelled step leaves patch and optimizer
 * bit-identical and the fact in hand, but for SMFT_E_NONFINITE: then it is given up, and the report
 * is filled all the same.  report may be NULL.  Errors: SMFT_E_STATE
 * where the queue is empty, or where the patch is changed meanwhile; SMFT_E_NONFINITE where
 * loss, gradient or a new value is NaN or infinite; SMFT_E_UNSUPPORTED for SMFT_PATCH_SLOTS where
 * the optimizer has neither rate nor length and the model's value rows, which the default goes by,
 * are zero; SMFT_E_MISMATCH where the optimizer's state is
 * of another model, kind of patch or LoRA layout; SMFT_E_CANCELLED by smft_learner_cancel.  Since
 * 0.1. */
SMFT_API smft_status smft_step(smft_learner *learner, smft_report *report);
/* Gives the fact in hand up (SMFT_REASON_SKIPPED).  Errors: SMFT_E_STATE where the queue is empty,
 * or where something is to be taken back and the patch is changed meanwhile; SMFT_E_NOMEM; the fact
 * stays in hand then.  Since 0.1. */
SMFT_API smft_status smft_learner_skip(smft_learner *learner);

/* A row that a step updated.  It has no struct_size and no INIT macro: the library fills arrays of
 * it, nothing of it is read, and it never grows. */
typedef struct smft_selected {
  /* row of the pool */
  int64_t slot;
  /* by the selector's rule; higher is better */
  double score;
  /* value pool, from 0 */
  int32_t pool;
  int32_t reserved;
} smft_selected;
/* The rows that the last step updated (slots patches; others: none), best score first: selected
 * (capacity) gets them, *n their number; capacity as for encode.  None after a step that changed
 * nothing or failed.  Errors: SMFT_E_BUFFER.  Since 0.1. */
SMFT_API smft_status smft_learner_selected(const smft_learner *learner, smft_selected *selected,
                                           int64_t capacity, int64_t *n);

/* What a run did. */
typedef struct smft_run_report {
  uint32_t struct_size;
  int32_t reserved;
  /* facts that were learnt */
  int64_t facts_done;
  /* facts given up */
  int64_t facts_gave_up;
  /* steps that changed something */
  int64_t steps;
  /* distinct rows of the patch after the run (slots patches; others: 0) */
  int64_t rows_changed;
  /* by the clock on the wall */
  double seconds;
  /* those of the facts given up that were taken out of the patch */
  int64_t facts_rolled_back;
} smft_run_report;
#define SMFT_RUN_REPORT_INIT                                                                       \
  { sizeof(smft_run_report), 0, 0, 0, 0, 0, 0, 0 }
/* Steps until the queue is empty; an empty one is fine.  progress (may be NULL) gets, after every
 * step, the fact's id as stage, facts finished and facts in all.  Cancelled: what was learnt so far
 * stays, the fact in hand stays in the queue, and the report says how far it came; other failures
 * leave the report alone.  A fact that is not finite is given up like others, and the run goes on.
 * report may be NULL.  Errors: those of smft_step but the empty queue and SMFT_E_NONFINITE;
 * SMFT_E_CANCELLED by progress, too.  Since 0.1. */
SMFT_API smft_status smft_learner_run(smft_learner *learner, smft_progress_fn progress, void *user,
                                      smft_run_report *report);
/* Makes the running step or run return SMFT_E_CANCELLED soon, or, where none is running, the next
 * one (smft_step, smft_learner_run, smft_learner_step_batch) before it begins.  NULL is fine.  Any
 * thread.  Since 0.1. */
SMFT_API void smft_learner_cancel(smft_learner *learner);

/* Sequences to train on. */
typedef struct smft_batch {
  uint32_t struct_size;
  int32_t reserved;
  /* sequences, one after another, none padded */
  const int32_t *ids;
  /* (n_sequences) tokens of each, 1 to the model's context */
  const int64_t *lengths;
  /* at least 1 */
  int64_t n_sequences;
  /* weight of predicting each token (total tokens; a sequence's first is ignored); NULL: 1 */
  const float *token_weights;
} smft_batch;
#define SMFT_BATCH_INIT                                                                            \
  { sizeof(smft_batch), 0, NULL, NULL, 0, NULL }
/* One update on a batch of the host's own, with any patch kind: pretraining and finetuning loops.
 * loss = sum of weight * nll / sum of weights, in nats; there is no threshold under which nothing
 * changes.  On slots patches the rows are chosen from this batch, and the optimizer's state is kept
 * from batch to batch. The queue is not touched.  A failed or cancelled step leaves patch and
 * optimizer bit-identical. report may be NULL.  Errors: SMFT_E_TOKEN for an id outside the
 * vocabulary; SMFT_E_CONTEXT for a sequence longer than the model's context; SMFT_E_STATE where the
 * patch is changed meanwhile; SMFT_E_NONFINITE, SMFT_E_MISMATCH and SMFT_E_CANCELLED as smft_step;
 * SMFT_E_INVALID for no sequence, a length below 1, or weights that are not finite or add up to
 * nothing.  Since 0.1. */
SMFT_API smft_status smft_learner_step_batch(smft_learner *learner, const smft_batch *batch,
                                             smft_report *report);

/* ---- probe: what must not be forgotten (docs/method.md) ------------------ */

/* smft_probe_options.flags: a choice's prompt and endings are joined exactly as they stand: no
 * space is put between them */
#define SMFT_PROBE_EXACT 1u

/* How a probe measures. */
typedef struct smft_probe_options {
  uint32_t struct_size;
  /* tokens of a generated answer at most; 0: 32 */
  int32_t max_tokens;
  /* a generated answer ends before it; NULL: "\n"; "": none */
  const char *stop;
  /* a question is lost when its F1 was >= gained_above and is < this, and gained the other way
   * round; above 0, at most gained_above; 0: 0.5, or gained_above where that is less */
  double lost_below;
  /* above 0, at most 1; 0: 0.5 */
  double gained_above;
  /* SMFT_PROBE_EXACT */
  uint32_t flags;
  int32_t reserved; /* must be 0 */
} smft_probe_options;
#define SMFT_PROBE_OPTIONS_INIT                                                                    \
  { sizeof(smft_probe_options), 0, NULL, 0, 0, 0, 0 }

/* A probe without items.  options may be NULL; stop is copied.  Freed with smft_probe_free. Errors:
 * SMFT_E_ENCODING where stop is not UTF-8; SMFT_E_INVALID for an option out of range.  Since 0.1.
 */
SMFT_API smft_status smft_probe_create(smft_probe **out, smft_ctx *ctx,
                                       const smft_probe_options *options);
/* Frees a probe and its items; NULL is fine.  Since 0.1. */
SMFT_API void smft_probe_free(smft_probe *probe);
/* Adds a question: greedy generation after `prompt`, scored by exact match and token F1
 * (smft_score_answer), the best over answers (n_answers, at least one).  Everything is copied; an
 * item that was added needs a new baseline.  Errors: SMFT_E_ENCODING for text that is not UTF-8;
 * SMFT_E_STATE from a progress callback of this probe.  Since 0.1. */
SMFT_API smft_status smft_probe_add_question(smft_probe *probe, const char *id, const char *prompt,
                                             const char *const *answers, int64_t n_answers);
/* Adds a text: NLL per token, and KL(base || patched) of its next-token distributions, both in
 * nats. A text longer than the session's context is measured in windows.  It must not be empty;
 * everything is copied.  Errors: SMFT_E_ENCODING for text that is not UTF-8; SMFT_E_STATE from a
 * progress callback of this probe.  Since 0.1. */
SMFT_API smft_status smft_probe_add_text(smft_probe *probe, const char *id, const char *text);
/* Adds a choice: log-likelihood per token of each of endings (n_endings, two or more, none empty)
 * after `prompt`; the best must be endings[correct].  Prompt and ending are joined as a wording's
 * prompt and answer are (smft_wording): "The sky is" and "blue" are measured as "The sky is blue",
 * unless the ending brings its space or the probe has SMFT_PROBE_EXACT.  Everything is copied.
 * Errors: SMFT_E_ENCODING for text that is not UTF-8; SMFT_E_STATE from a progress callback of this
 * probe; SMFT_E_INVALID for a `correct` outside the endings.  Since 0.1. */
SMFT_API smft_status smft_probe_add_choice(smft_probe *probe, const char *id, const char *prompt,
                                           const char *const *endings, int64_t n_endings,
                                           int64_t correct);
/* Adds items from a JSONL file, one a line: {"id","question","answers":[...]} | {"id","text"} |
 * {"id","prompt","endings":[...],"correct":0} (docs/formats.md).  All or none; an error names its
 * line.  *n (may be NULL) gets their number.  Errors: those of reading; SMFT_E_STATE from a
 * progress callback of this probe.  Since 0.1. */
SMFT_API smft_status smft_probe_add_file(smft_probe *probe, const char *path, int64_t *n);

/* Means over the items of each kind, 0 where there are none.  _before: the baseline; _change: in
 * percent of it, 0 where it is 0. */
typedef struct smft_probe_report {
  uint32_t struct_size;
  int32_t reserved;
  /* items of each kind */
  int64_t n_questions, n_texts, n_choices;
  /* share of questions answered exactly, from 0 to 1 */
  double exact_match, exact_match_before, exact_match_change;
  /* mean token F1 of questions, from 0 to 1 */
  double f1, f1_before, f1_change;
  /* nats per token, over all texts' tokens */
  double nll, nll_before, nll_change;
  /* share of choices where the right ending wins, from 0 to 1 */
  double accuracy, accuracy_before, accuracy_change;
  /* nats per token of the texts, base against patched; 0 for a session without a patch */
  double kl;
  /* questions and choices that were right and are wrong now */
  int64_t lost;
  /* that were wrong and are right now */
  int64_t gained;
  /* by the clock on the wall */
  double seconds;
} smft_probe_report;
#define SMFT_PROBE_REPORT_INIT                                                                     \
  { sizeof(smft_probe_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Measures all items with a session and keeps the values to compare with, which count as the last
 * measurement, too.  The session is left empty.  progress (may be NULL): stages "questions",
 * "texts", "choices" and "done", in items.  A failed or cancelled call leaves the old baseline; the
 * message names the item.  Errors: SMFT_E_STATE where the probe has no items, from a progress
 * callback of this probe, or where the patch is changed meanwhile; SMFT_E_UNSUPPORTED where the
 * session's model has no tokenizer; SMFT_E_CONTEXT for an item that does not fit the session;
 * SMFT_E_INVALID or SMFT_E_FORMAT for an item that comes to too few tokens; SMFT_E_NONFINITE;
 * SMFT_E_CANCELLED by progress or smft_session_cancel. Since 0.1. */
SMFT_API smft_status smft_probe_baseline(smft_probe *probe, smft_session *session,
                                         smft_progress_fn progress, void *user);
/* Measures again, with this or another session; changes are against the baseline.  The session is
 * left empty.  progress as for smft_probe_baseline; report may be NULL.  A failed or cancelled call
 * leaves the last measurement.  Errors: SMFT_E_STATE where an item has no baseline; those of
 * smft_probe_baseline.  Since 0.1. */
SMFT_API smft_status smft_probe_measure(smft_probe *probe, smft_session *session,
                                        smft_progress_fn progress, void *user,
                                        smft_probe_report *report);

/* Kinds of items: those of smft_probe_add_question, */
#define SMFT_PROBE_QUESTION 1
/* of smft_probe_add_text, */
#define SMFT_PROBE_TEXT 2
/* and of smft_probe_add_choice */
#define SMFT_PROBE_CHOICE 3

/* One item and its last measurement.  Filled by smft_probe_get_item. */
typedef struct smft_probe_item {
  uint32_t struct_size;
  /* SMFT_PROBE_* */
  int32_t kind;
  /* borrowed from the probe */
  const char *id;
  /* what was generated (questions), else ""; borrowed until the probe measures again */
  const char *text;
  /* the baseline: F1 of questions, NLL per token of texts, 1 or 0 for choices; 0 without one */
  double before;
  /* the same in the last measurement */
  double after;
  /* 1: it was right and is wrong now; never for texts */
  int32_t lost;
  /* 1: it was wrong and is right now; never for texts */
  int32_t gained;
} smft_probe_item;
#define SMFT_PROBE_ITEM_INIT                                                                       \
  { sizeof(smft_probe_item), 0, NULL, NULL, 0, 0, 0, 0 }
/* Items by position, from 0, in the order in which they were added; item->struct_size must be set.
 * Errors: SMFT_E_NOT_FOUND past the end, which is how to end a loop over all.  Since 0.1. */
SMFT_API smft_status smft_probe_get_item(const smft_probe *probe, int64_t index,
                                         smft_probe_item *item);
/* Writes the last measurement with every item as a JSON file (docs/formats.md).  Errors: those of
 * writing; SMFT_E_STATE where nothing was measured yet, or from a progress callback of this probe.
 * Since 0.1. */
SMFT_API smft_status smft_probe_save_report(const smft_probe *probe, const char *path);
/* Exact match (0 or 1) and token F1 (0 to 1) of one answer against accepted ones (n_accepted, at
 * least one), each the best over them: lower-case, no punctuation, no English articles, white space
 * collapsed.  Either out-pointer may be NULL.  Needs no handle; any thread; memory is the C
 * library's.  Errors: SMFT_E_ENCODING for text that is not UTF-8.  Since 0.1. */
SMFT_API smft_status smft_score_answer(const char *answer, const char *const *accepted,
                                       int64_t n_accepted, double *exact_match, double *f1);

#ifdef __cplusplus
}
#endif
#endif
