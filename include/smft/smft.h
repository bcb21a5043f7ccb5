/* libsmft: teach a language model new facts while it runs, without making it forget what it knew.
 *
 * Sparse memory finetuning (Lin et al. 2025, arXiv 2510.15103, "[P]") on memory-layer models
 * (Berges et al. 2024, arXiv 2412.09764, "[B]").
 * base model (read-only, mapped, shared) + patch (small, private) = what the host sees.
 *
 * Rules that hold for every function, unless its comment says otherwise:
 *   Errors     smft_status is returned; 0 is success, negative is failure.  smft_error_message() of
 *              the same thread then says what went wrong, where, what was expected and what was
 *              found.  A failed constructor sets *out to NULL.
 *   Ownership  What a constructor returned is freed with the *_free of its type; freeing NULL is
 *              fine.  A child holds a reference on its parents, so handles may be freed in any
 *              order.  Pointers from getters are borrowed: they live as long as the handle, or
 *              until the call that the comment names.
 *   Threads    smft_model and smft_tokenizer are immutable: any number of threads may use them.
 *              Every other handle is used by one thread at a time (the *_cancel functions may be
 *              called from any thread).  Reads of one patch by many sessions run concurrently; a
 *              step or another change of the patch while someone reads or writes it returns
 *              SMFT_E_STATE.
 *   Text       UTF-8, given by pointer and length in bytes where a length is taken, else
 *              NUL-terminated.
 *   Structs    The first field is the size of the struct as the caller knows it; use the
 *              SMFT_*_INIT macro or set every other field to zero.  Zero means "the default"
 *              everywhere unless said otherwise.  Structs only ever grow at the end.
 *   Arrays     Row-major.  Shapes are written (rows, columns).
 *   Numbers    Results do not depend on the number of threads.
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

#if defined(_WIN32)
#define SMFT_API
#else
#define SMFT_API __attribute__((visibility("default")))
#endif

#define SMFT_VERSION_MAJOR 0
#define SMFT_VERSION_MINOR 1
#define SMFT_VERSION_PATCH 0
#define SMFT_VERSION_STRING "0.1.0"

/* ---- status -------------------------------------------------------------- */

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

#define SMFT__STATUS_ENUM(name, number, meaning) SMFT_##name = number,
enum { SMFT_STATUS_LIST(SMFT__STATUS_ENUM) };
#undef SMFT__STATUS_ENUM

/* "E_NOMEM" for SMFT_E_NOMEM, "E_UNKNOWN" for a number that is no status.  Static storage.  Since
 * 0.1. */
SMFT_API const char *smft_status_name(smft_status status);
/* The meaning in one sentence.  Static storage.  Since 0.1. */
SMFT_API const char *smft_status_meaning(smft_status status);
/* Message of the calling thread's last failed call; never NULL; valid until that thread's next
 * failing call.  Since 0.1. */
SMFT_API const char *smft_error_message(void);
/* "0.1.0", and major*10000 + minor*100 + patch of the library that is loaded.  Since 0.1. */
SMFT_API const char *smft_version_string(void);
SMFT_API uint32_t smft_version_number(void);

/* ---- handles ------------------------------------------------------------- */

typedef struct smft_ctx smft_ctx; /* allocator, log, threads: the root */
/* immutable weights, config, tokenizer, memory layers */
typedef struct smft_model smft_model;
typedef struct smft_memory smft_memory;       /* one memory layer of a model (borrowed) */
typedef struct smft_tokenizer smft_tokenizer; /* text <-> token ids */
typedef struct smft_patch smft_patch;         /* what was learnt */
typedef struct smft_session smft_session;     /* one inference workspace with a KV cache */
typedef struct smft_selector smft_selector;   /* background counts and the rule that ranks slots */
typedef struct smft_optimizer smft_optimizer; /* SGD or AdamW, state only for what it touches */
typedef struct smft_learner smft_learner;     /* a queue of facts and a training workspace */
typedef struct smft_probe smft_probe;         /* what must not be forgotten, and its baseline */

/* ---- callbacks ----------------------------------------------------------- */

/* Long calls report `done` of `total` units (total 0: unknown).  `stage` is a short English noun.
 * Non-zero cancels. */
typedef int32_t (*smft_progress_fn)(void *user, const char *stage, int64_t done, int64_t total);
/* level: 0 debug, 1 info, 2 warning. */
typedef void (*smft_log_fn)(void *user, int32_t level, const char *message);
typedef void *(*smft_alloc_fn)(void *user, size_t size);                  /* as malloc */
typedef void *(*smft_realloc_fn)(void *user, void *pointer, size_t size); /* as realloc */
typedef void (*smft_free_fn)(void *user, void *pointer);                  /* as free */
/* Runs block(arg, i) for every i in [0, n), in any order, on any threads, and returns when all are
 * done. */
typedef void (*smft_block_fn)(void *arg, int64_t i);
typedef void (*smft_parallel_for_fn)(void *user, int64_t n, smft_block_fn block, void *arg);

/* ---- context ------------------------------------------------------------- */

/* Matrix products of 33 rows and more use AMX where the processor has it (Intel, from 2023 on;
 * docs/performance.md says when that pays). They ask Linux for the permission, which the whole
 * process then has: signal stacks (sigaltstack) that are made after that must have room for the 8
 * KiB of registers that come with it, as those of sysconf(_SC_SIGSTKSZ) bytes do.  Results differ
 * in their last bits. */
#define SMFT_CTX_AMX 1u

typedef struct smft_ctx_options {
  uint32_t struct_size;
  int32_t n_threads; /* 0: the processors that this process may use; 1: only the caller's thread */
  smft_alloc_fn alloc; /* all three or none; NULL: the C library's */
  smft_realloc_fn realloc;
  smft_free_fn free;
  void *alloc_user;
  smft_log_fn log; /* NULL: no log */
  void *log_user;
  smft_parallel_for_fn parallel_for; /* NULL: the context's own threads */
  void *parallel_user;
  uint32_t flags; /* SMFT_CTX_* */
  uint32_t reserved;
} smft_ctx_options;
#define SMFT_CTX_OPTIONS_INIT                                                                      \
  { sizeof(smft_ctx_options), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 }

/* options may be NULL.  A context and its threads survive fork(): the child gets new threads when
 * it first needs them.  Since 0.1. */
SMFT_API smft_status smft_ctx_create(smft_ctx **out, const smft_ctx_options *options);
SMFT_API void smft_ctx_free(smft_ctx *ctx);
/* Bytes that the context's allocator holds now, and the most since creation or the last reset
 * (either pointer may be NULL). Mapped files are not counted.  Any thread.  Since 0.1. */
SMFT_API smft_status smft_ctx_memory(smft_ctx *ctx, int64_t *now, int64_t *peak);
SMFT_API smft_status smft_ctx_memory_reset_peak(smft_ctx *ctx);
SMFT_API int32_t smft_ctx_n_threads(const smft_ctx *ctx);

/* ---- tokenizer ----------------------------------------------------------- */

/* add the special tokens that the post-processor adds (begin-of-text) */
#define SMFT_ENCODE_SPECIAL 1u
#define SMFT_ENCODE_NO_PARSE 2u /* special tokens written in the text are ordinary text */
/* the text continues another: no prefix space, no begin-of-text */
#define SMFT_ENCODE_CONTINUE 4u
#define SMFT_DECODE_SKIP_SPECIAL 1u /* leave special tokens out */

/* path: a tokenizer.json, or a directory that holds one, or one that holds GPT-2's encoder.json and
 * vocab.bpe. Anything in it that is not supported is SMFT_E_UNSUPPORTED, named.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_load(smft_tokenizer **out, smft_ctx *ctx, const char *path);
SMFT_API void smft_tokenizer_free(smft_tokenizer *tokenizer);
/* ids (capacity) gets the ids, *n_ids their number.  capacity 0 asks for the number only; a
 * capacity that is too small is SMFT_E_BUFFER, with *n_ids the number needed.  Text that is not
 * UTF-8 is SMFT_E_ENCODING.  Linear in length.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_encode(const smft_tokenizer *tokenizer, const char *text,
                                           size_t length, uint32_t flags, int32_t *ids,
                                           int64_t capacity, int64_t *n_ids);
/* text (capacity bytes) gets the text and a final NUL, *length its bytes without the NUL.  Capacity
 * as for encode.  Since 0.1. */
SMFT_API smft_status smft_tokenizer_decode(const smft_tokenizer *tokenizer, const int32_t *ids,
                                           int64_t n_ids, uint32_t flags, char *text,
                                           size_t capacity, size_t *length);
/* One more than the largest id, added tokens included.  NULL: 0. */
SMFT_API int32_t smft_tokenizer_vocab_size(const smft_tokenizer *tokenizer);
/* Id of a token by its exact spelling in the vocabulary (added tokens included); SMFT_E_NOT_FOUND
 * if there is none. */
SMFT_API smft_status smft_tokenizer_token_id(const smft_tokenizer *tokenizer, const char *token,
                                             int32_t *id);

/* ---- model --------------------------------------------------------------- */

#define SMFT_LOAD_COPY 1u /* read the weights into memory instead of mapping the file */

#define SMFT_DTYPE_F32 1
#define SMFT_DTYPE_F16 2
#define SMFT_DTYPE_BF16 3

typedef struct smft_load_options {
  uint32_t struct_size;
  uint32_t flags; /* SMFT_LOAD_* */
  smft_progress_fn progress;
  void *progress_user;
} smft_load_options;
#define SMFT_LOAD_OPTIONS_INIT                                                                     \
  { sizeof(smft_load_options), 0, NULL, NULL }

/* Opens a Hugging Face directory: config.json, model.safetensors (or shards with
 * model.safetensors.index.json) and, if there, tokenizer.json.  Weights stay mapped: the files must
 * not be truncated while the model lives (use SMFT_LOAD_COPY if they may be). options may be NULL.
 * Since 0.1. */
SMFT_API smft_status smft_model_load(smft_model **out, smft_ctx *ctx, const char *directory,
                                     const smft_load_options *options);
/* A new model with random weights (f32, in memory; the initialisation of [B]) from a directory that
 * holds config.json and, if wanted, tokenizer.json: the start of pretraining.  Since 0.1. */
SMFT_API smft_status smft_model_init(smft_model **out, smft_ctx *ctx, const char *directory,
                                     uint64_t seed);
SMFT_API void smft_model_free(smft_model *model);

typedef struct smft_export_options {
  uint32_t struct_size;
  /* SMFT_DTYPE_*; 0: each tensor as it is in the model (f32 where the patch changed it) */
  int32_t dtype;
  smft_progress_fn progress;
  void *progress_user;
} smft_export_options;
#define SMFT_EXPORT_OPTIONS_INIT                                                                   \
  { sizeof(smft_export_options), 0, NULL, NULL }

/* Writes model + patch (NULL: the model alone) as a Hugging Face directory, made if missing; each
 * file is replaced whole or not at all. */
SMFT_API smft_status smft_model_export(const smft_model *model, smft_patch *patch,
                                       const char *directory, const smft_export_options *options);

typedef struct smft_model_info {
  uint32_t struct_size;
  int32_t n_layers;
  int32_t hidden_size; /* d */
  int32_t n_heads;
  int32_t n_kv_heads;
  int32_t head_dim;
  int32_t ffn_size;
  int32_t vocab_size;     /* rows of the embedding */
  int32_t context_length; /* max_position_embeddings */
  int32_t bos_id;         /* -1: none */
  int32_t eos_id;         /* -1: none; the first if there are several */
  int32_t tied;           /* 1: the head is the embedding */
  int32_t n_memories;     /* memory layers */
  int32_t n_pools;        /* value pools; memory layers may share one */
  int64_t n_parameters;
} smft_model_info;
#define SMFT_MODEL_INFO_INIT                                                                       \
  { sizeof(smft_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
SMFT_API smft_status smft_model_get_info(const smft_model *model, smft_model_info *info);
/* Fingerprint of config, names, shapes and weights (small tensors whole, large ones sampled), 64
 * hex digits; patches and background counts carry it.  Borrowed. */
SMFT_API const char *smft_model_hash(const smft_model *model);
/* NULL if the model has none.  Borrowed. */
SMFT_API const smft_tokenizer *smft_model_tokenizer(const smft_model *model);
/* The i-th memory layer, in order of depth; NULL if there is none.  Borrowed. */
SMFT_API const smft_memory *smft_model_memory(const smft_model *model, int32_t i);

#define SMFT_PLACEMENT_REPLACE 1 /* in place of the block's FFN */
#define SMFT_PLACEMENT_BESIDE 2  /* ffn(x) + alpha * memory(x) */

typedef struct smft_memory_info {
  uint32_t struct_size;
  int32_t layer; /* which block */
  int32_t pool;  /* which value pool it reads */
  int32_t placement;
  int32_t n_keys; /* n: the pool has n * n slots */
  int32_t heads;
  int32_t top_k;
  int32_t key_dim;
  int32_t value_dim;
  int32_t reserved;
  int64_t n_slots;
} smft_memory_info;
#define SMFT_MEMORY_INFO_INIT                                                                      \
  { sizeof(smft_memory_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
SMFT_API smft_status smft_memory_get_info(const smft_memory *memory, smft_memory_info *info);
/* Slots and value_dim of a pool.  Either out-pointer may be NULL. */
SMFT_API smft_status smft_model_pool(const smft_model *model, int32_t pool, int64_t *n_slots,
                                     int64_t *value_dim);

/* Tensors by position, in order of name: name (borrowed), dtype, number of elements.  Out-pointers
 * may be NULL.  E_NOT_FOUND past the end.
 */
SMFT_API smft_status smft_model_tensor(const smft_model *model, int64_t index, const char **name,
                                       int32_t *dtype, int64_t *n_elements);
/* values (n_elements) gets a tensor as model + patch (NULL: the model alone) have it, as f32,
 * row-major. */
SMFT_API smft_status smft_model_tensor_values(const smft_model *model, smft_patch *patch,
                                              int64_t index, float *values, int64_t n_elements);

/* ---- patch --------------------------------------------------------------- */

/* value rows of memory pools, copy-on-write: sparse memory finetuning */
#define SMFT_PATCH_SLOTS 1
/* a private f32 copy of every weight: full finetuning, pretraining */
#define SMFT_PATCH_FULL 2
/* low-rank factors beside attention and FFN matrices: LoRA finetuning */
#define SMFT_PATCH_LORA 3

/* An empty patch: model + patch gives exactly the model's logits.  SMFT_PATCH_LORA: with
 * smft_patch_create_lora's defaults.  Since 0.1. */
SMFT_API smft_status smft_patch_create(smft_patch **out, const smft_model *model, int32_t kind);

/* The matrices of each block that get an adapter, W + scale * B A.  A block whose FFN is replaced
 * by a memory layer has no gate, up and down; memory layers themselves (queries, keys, values,
 * projections), embedding, head and norms get none. */
#define SMFT_LORA_Q 1u
#define SMFT_LORA_K 2u
#define SMFT_LORA_V 4u
#define SMFT_LORA_O 8u
#define SMFT_LORA_GATE 16u
#define SMFT_LORA_UP 32u
#define SMFT_LORA_DOWN 64u
#define SMFT_LORA_ALL 127u
/* scale alpha / sqrt(rank) (rsLoRA) instead of alpha / rank */
#define SMFT_LORA_RANK_STABILIZED 1u

typedef struct smft_lora_options {
  uint32_t struct_size;
  int32_t rank; /* columns of B and rows of A; 0: 16 */
  double alpha; /* 0: 2 * rank */
  /* SMFT_LORA_Q | ...; 0: all that the model has.  A model with none of those asked for is
   * SMFT_E_UNSUPPORTED */
  uint32_t targets;
  uint32_t flags; /* SMFT_LORA_RANK_STABILIZED */
  /* of A, which starts uniform in +-1/sqrt(columns of W), as in PEFT; B starts as zeros */
  uint64_t seed;
} smft_lora_options;
#define SMFT_LORA_OPTIONS_INIT                                                                     \
  { sizeof(smft_lora_options), 0, 0, 0, 0, 0 }

/* options may be NULL.  Since 0.1. */
SMFT_API smft_status smft_patch_create_lora(smft_patch **out, const smft_model *model,
                                            const smft_lora_options *options);
/* The options of a LoRA patch, with the defaults filled in (other kinds: SMFT_E_UNSUPPORTED);
 * targets: the kinds of matrices that do have an adapter.  A patch that PEFT wrote has seed 0.
 * Since 0.1. */
SMFT_API smft_status smft_patch_get_lora(const smft_patch *patch, smft_lora_options *options);
/* A full patch with the weights that model + patch have (any kind): changed rows put in place,
 * adapters multiplied out.  Since 0.1. */
SMFT_API smft_status smft_patch_merge(smft_patch **out, smft_patch *patch);
/* A snapshot. */
SMFT_API smft_status smft_patch_copy(smft_patch **out, smft_patch *patch);
/* Reads what smft_patch_save wrote, and LoRA adapters that PEFT wrote: a directory with
 * adapter_config.json and adapter_model.safetensors. A patch of another model (adapters of PEFT's:
 * of other shapes) is SMFT_E_MISMATCH.  What an adapter needs that is not done here (DoRA, biases,
 * saved modules, ranks by pattern, adapters on other modules, ...) is SMFT_E_UNSUPPORTED, named.
 * Since 0.1. */
SMFT_API smft_status smft_patch_load(smft_patch **out, const smft_model *model, const char *path);
/* Writes a safetensors file, whole or not at all.  LoRA patches: path is a directory, made if
 * missing, in PEFT's layout; its two files are replaced one after the other, and what a crash
 * leaves between the two either loads as one of the patches or fails to load.  dtype of the values:
 * SMFT_DTYPE_F32 (0: the same; exact) or SMFT_DTYPE_BF16 (half the size, rounded).  Since 0.1. */
SMFT_API smft_status smft_patch_save(smft_patch *patch, const char *path, int32_t dtype);
SMFT_API void smft_patch_free(smft_patch *patch);
SMFT_API int32_t smft_patch_kind(const smft_patch *patch); /* NULL: 0 */
/* Back to the base; adapters start again as their seed has them. */
SMFT_API smft_status smft_patch_clear(smft_patch *patch);
/* Changed rows of a pool (slots patches).  slots (capacity) gets their ids, ascending; *n their
 * number; capacity as for encode. */
SMFT_API smft_status smft_patch_slots(smft_patch *patch, int32_t pool, int64_t *slots,
                                      int64_t capacity, int64_t *n);
/* row (value_dim) gets a value row as model + patch have it, changed or not. */
SMFT_API smft_status smft_patch_row(smft_patch *patch, int32_t pool, int64_t slot, float *row,
                                    int64_t value_dim);
/* Sets a row (slots patches).  Non-finite values are SMFT_E_NONFINITE.  smft_patch_reset_row gives
 * the base's row back. */
SMFT_API smft_status smft_patch_set_row(smft_patch *patch, int32_t pool, int64_t slot,
                                        const float *row, int64_t value_dim);
SMFT_API smft_status smft_patch_reset_row(smft_patch *patch, int32_t pool, int64_t slot);

/* ---- session ------------------------------------------------------------- */

typedef struct smft_session_options {
  uint32_t struct_size;
  /* tokens the KV cache holds; 0: the model's; more than the model's is SMFT_E_CONTEXT */
  int32_t context_length;
} smft_session_options;
#define SMFT_SESSION_OPTIONS_INIT                                                                  \
  { sizeof(smft_session_options), 0 }

/* patch may be NULL: the base model.  When the patch has changed since tokens were fed, the next
 * call feeds them again by itself, so results are always those of the patch as it is now.  options
 * may be NULL.  Since 0.1. */
SMFT_API smft_status smft_session_create(smft_session **out, const smft_model *model,
                                         smft_patch *patch, const smft_session_options *options);
SMFT_API void smft_session_free(smft_session *session);
/* Another patch of the same model, or NULL. */
SMFT_API smft_status smft_session_set_patch(smft_session *session, smft_patch *patch);

#define SMFT_LOGITS_NONE 0
#define SMFT_LOGITS_LAST 1 /* logits (vocab_size): after the last token */
#define SMFT_LOGITS_ALL 2  /* logits (n_ids, vocab_size): after each of the tokens fed */

/* Appends tokens to the session.  logits has room for what `which` says (`capacity` floats).  On
 * failure the session is as before. */
SMFT_API smft_status smft_session_feed(smft_session *session, const int32_t *ids, int64_t n_ids,
                                       int32_t which, float *logits, int64_t capacity);
SMFT_API int64_t smft_session_length(const smft_session *session);
/* Forgets all tokens after the first `length`. */
SMFT_API smft_status smft_session_rewind(smft_session *session, int64_t length);
/* Negative log-likelihood in nats: nll (n_ids - 1; may be NULL) of each token after the first,
 * *mean their mean.  Starts from an empty session and leaves it empty. */
SMFT_API smft_status smft_session_nll(smft_session *session, const int32_t *ids, int64_t n_ids,
                                      float *nll, double *mean);

/* One generated token: its id and the text that it completes (UTF-8, never part of a character; may
 * be empty).  Non-zero stops. */
typedef int32_t (*smft_token_fn)(void *user, int32_t id, const char *text, size_t length);

typedef struct smft_generate_options {
  uint32_t struct_size;
  int32_t max_tokens; /* 0: 64 */
  float temperature;  /* 0: greedy */
  float top_p;        /* 0 or 1: off */
  int32_t top_k;      /* 0: off */
  uint32_t flags;     /* SMFT_GENERATE_* */
  uint64_t seed;
  const char *stop; /* generation ends before this string; NULL: none */
  smft_token_fn on_token;
  void *user;
} smft_generate_options;
#define SMFT_GENERATE_OPTIONS_INIT                                                                 \
  { sizeof(smft_generate_options), 0, 0.0f, 0.0f, 0, 0, 0, NULL, NULL, NULL }
/* go on after what the session holds, instead of starting it anew with begin-of-text */
#define SMFT_GENERATE_CONTINUE 1u

/* Generates after a prompt.  *text (may be NULL) gets the generated text without the prompt,
 * NUL-terminated, borrowed until the session's next call; *length (may be NULL) its bytes.  Ends at
 * end-of-text, `stop`, max_tokens or a full context. options may be NULL.  Needs a tokenizer
 * (SMFT_E_UNSUPPORTED without).  Since 0.1. */
SMFT_API smft_status smft_session_generate(smft_session *session, const char *prompt,
                                           size_t prompt_length,
                                           const smft_generate_options *options, const char **text,
                                           size_t *length);
/* The same with token ids and no tokenizer (`stop` must be NULL): ids_out (capacity) gets the ids,
 * *n_out their number; ends when ids_out is full. */
SMFT_API smft_status smft_session_generate_ids(smft_session *session, const int32_t *ids,
                                               int64_t n_ids, const smft_generate_options *options,
                                               int32_t *ids_out, int64_t capacity, int64_t *n_out);
/* Makes the session's running call return SMFT_E_CANCELLED soon.  Any thread. */
SMFT_API void smft_session_cancel(smft_session *session);

/* ---- selector: which slots a step may change ([P] section 3; method.md 2) ---- */

#define SMFT_RULE_TFIDF 1 /* c/sum(c) * ln((|B|+1)/(df+1)) */
#define SMFT_RULE_KL 2    /* p ln(p/q), p = c/sum(c), q = (df+1)/sum(df+1) */
#define SMFT_RULE_TF 3    /* c/sum(c) */
#define SMFT_RULE_ALL 4   /* every slot that was read; t is ignored */
/* t of the slots that were read, drawn anew for every set of reads: the control of an experiment */
#define SMFT_RULE_RANDOM 5

/* start with no background counts, even where background.safetensors lies beside the model */
#define SMFT_SELECTOR_EMPTY 1u

typedef struct smft_selector_options {
  uint32_t struct_size;
  int32_t rule; /* 0: SMFT_RULE_TFIDF */
  /* at most so many slots a step, over all pools; 0: the default (docs/method.md) */
  int64_t t;
  uint32_t flags; /* SMFT_SELECTOR_* */
  int32_t reserved;
  /* How far a selected row may move: its learning rate is multiplied by 1 / (1 + u / damping), u
   * how much a background batch reads it on average: the sum of the squared weights of its reads, a
   * read of the mean squared weight being 1.  0: the default (docs/method.md); negative: no
   * damping, as in [P].  Without background counts nothing is damped. */
  double damping;
} smft_selector_options;
#define SMFT_SELECTOR_OPTIONS_INIT                                                                 \
  { sizeof(smft_selector_options), 0, 0, 0, 0, 0 }

/* Reads the model's background.safetensors when there is one.  Without any counts TF-IDF gives
 * every slot the score 0: nothing is eligible, and steps report rows_selected 0.  A model without
 * memory layers is SMFT_E_UNSUPPORTED. options may be NULL.  Since 0.1. */
SMFT_API smft_status smft_selector_create(smft_selector **out, const smft_model *model,
                                          const smft_selector_options *options);
SMFT_API void smft_selector_free(smft_selector *selector);

typedef struct smft_background {
  uint32_t struct_size;
  /* this id never counts (and is fed to nothing); -1: none.  0 is a token id like any other */
  int32_t pad_id;
  const char *text_path;  /* a UTF-8 text file, one sequence a line; or NULL and: */
  const int32_t *ids;     /* sequences, one after another */
  const int64_t *lengths; /* (n_sequences) tokens of each */
  int64_t n_sequences;
  /* 0: 1.  df counts batches; small batches keep the counts from saturating */
  int64_t sequences_per_batch;
  int64_t tokens_per_sequence; /* longer sequences are cut into pieces of so many tokens; 0: 64 */
  int64_t max_batches;         /* 0: all */
  smft_progress_fn progress;
  void *progress_user;
} smft_background;
#define SMFT_BACKGROUND_INIT                                                                       \
  { sizeof(smft_background), -1, NULL, NULL, NULL, 0, 0, 0, 0, NULL, NULL }

/* Runs the base model over background text and adds to df(i) = number of batches in which slot i
 * was read at least once, and to the sum of the squared weights of its reads, which damping goes
 * by. Nothing changes on failure or cancellation.  Since 0.1. */
SMFT_API smft_status smft_selector_count_background(smft_selector *selector,
                                                    const smft_background *background);
/* As safetensors: df.{pool} (n_slots) U32, square.{pool} (n_slots) F32. */
SMFT_API smft_status smft_selector_save(smft_selector *selector, const char *path);
/* Replaces the counts.  Counts of another model are SMFT_E_MISMATCH.  A file without squares is
 * taken as if every read had had its head's even share, 1 / top_k. */
SMFT_API smft_status smft_selector_load(smft_selector *selector, const char *path);
/* df (n_slots) of a pool, and the number of batches counted.  Either out-pointer may be NULL. */
SMFT_API smft_status smft_selector_df(const smft_selector *selector, int32_t pool, uint32_t *df,
                                      int64_t n_slots, int64_t *n_batches);

/* ---- optimizer ----------------------------------------------------------- */

#define SMFT_OPTIMIZER_SGD 1
#define SMFT_OPTIMIZER_ADAMW 2

/* Keep Adam moments and momentum from fact to fact (0, the default, starts them afresh for every
 * fact on slots patches). */
#define SMFT_OPTIMIZER_KEEP_STATE 1u
/* Full patches: pool rows that the batch did not read keep their values and moments, as PyTorch's
 * SparseAdam does it. */
#define SMFT_OPTIMIZER_LAZY_POOLS 2u

typedef struct smft_optimizer_options {
  uint32_t struct_size;
  int32_t kind;   /* 0: SMFT_OPTIMIZER_SGD */
  uint32_t flags; /* SMFT_OPTIMIZER_* */
  int32_t reserved;
  /* 0: the default rule, which does not depend on a model's width (docs/method.md) */
  double lr;
  double momentum;     /* SGD */
  double weight_decay; /* SGD: added to the gradient; AdamW: decoupled */
  double beta1;        /* 0: 0.9 */
  double beta2;        /* 0: 0.999 */
  double eps;          /* 0: 1e-8 */
  double clip_norm;    /* gradient clipping by global norm; 0: none */
  double pool_lr;      /* full patches: learning rate of pool values; 0: lr */
  /* full patches: clip the pool values' gradient on its own; 0: with the rest */
  double pool_clip_norm;
  double pool_weight_decay; /* full patches: weight decay of pool values; 0: none */
  /* The rate (pool_lr too) rises linearly over so many updates: update s of the optimizer's state
   * uses lr * min(1, s / warmup_steps); 0: no warm-up.  On slots patches the state, and with it the
   * count, begins anew with every fact unless SMFT_OPTIMIZER_KEEP_STATE is set. */
  int64_t warmup_steps;
} smft_optimizer_options;
#define SMFT_OPTIMIZER_OPTIONS_INIT                                                                \
  { sizeof(smft_optimizer_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* options may be NULL.  Since 0.1. */
SMFT_API smft_status smft_optimizer_create(smft_optimizer **out, smft_ctx *ctx,
                                           const smft_optimizer_options *options);
SMFT_API void smft_optimizer_free(smft_optimizer *optimizer);
/* For schedules.  pool_lr 0: lr. */
SMFT_API smft_status smft_optimizer_set_lr(smft_optimizer *optimizer, double lr, double pool_lr);
/* Parameter groups of full and LoRA patches: tensors (LoRA: factors, by PEFT's names, such as
 * "layers.0.self_attn.q_proj.lora_B") whose name contains `part` (at most 63 bytes) learn at
 * lr_scale times the learning rate (pools: times pool_lr); 0 freezes them.  Setting the same part
 * again replaces its scale; where several fit, the latest group counts.  At most 16. */
SMFT_API smft_status smft_optimizer_set_group(smft_optimizer *optimizer, const char *part,
                                              double lr_scale);
/* Forgets moments and step counts. */
SMFT_API smft_status smft_optimizer_reset(smft_optimizer *optimizer);
/* Moments and step counts as a safetensors file: with the patch, a checkpoint. */
SMFT_API smft_status smft_optimizer_save(smft_optimizer *optimizer, const char *path);
SMFT_API smft_status smft_optimizer_load(smft_optimizer *optimizer, const smft_model *model,
                                         const char *path);

/* ---- learner ------------------------------------------------------------- */

#define SMFT_LEARNER_LOSS_ALL 1u /* loss on every token, not only on the answer's */
/* Choose the rows anew in every step from that step's batch, as [P] does it; 0, the default,
 * chooses them once a fact from the reads of all its wordings, and each step trains those of them
 * that its batch reads: half the rows for the same learning. */
#define SMFT_LEARNER_ROWS_PER_STEP 2u
/* Slots patches: do not count the facts that this learner has taught as background.  0, the
 * default, does: where rows are damped (smft_selector_options.damping), facts that follow move the
 * less what earlier ones read. */
#define SMFT_LEARNER_NO_PROTECT 4u

typedef struct smft_learner_options {
  uint32_t struct_size;
  uint32_t flags;            /* SMFT_LEARNER_* */
  int32_t max_steps;         /* a fact; 0: the default (docs/method.md) */
  int32_t wordings_per_step; /* drawn without repetition; 0: the default; negative: all */
  /* a fact is done when its loss is under this; 0: the default; negative: never (max_steps decides)
   */
  double loss_below;
  uint64_t seed;
} smft_learner_options;
#define SMFT_LEARNER_OPTIONS_INIT                                                                  \
  { sizeof(smft_learner_options), 0, 0, 0, 0, 0 }

/* patch decides what is trained.  selector: needed for slots patches, must be NULL for others.
 * optimizer NULL: SGD on slots patches; on full and LoRA patches AdamW with weight decay 0.1
 * (pools, too) and clip_norm 1, as the paper's baselines.  selector NULL on a slots patch: the
 * defaults.  options may be NULL.  Since 0.1. */
SMFT_API smft_status smft_learner_create(smft_learner **out, const smft_model *model,
                                         smft_patch *patch, smft_selector *selector,
                                         smft_optimizer *optimizer,
                                         const smft_learner_options *options);
SMFT_API void smft_learner_free(smft_learner *learner);

typedef struct smft_wording {
  uint32_t struct_size; /* of the first element: the distance between elements */
  uint32_t reserved;
  /* "Who wrote Emma?": given.  May be "" but not NULL, unless statement is set */
  const char *prompt;
  const char *answer; /* " Jane Austen": learnt */
  /* what follows the answer, learnt too, so that the model stops: NULL: "\n"; "": nothing */
  const char *end;
  /* instead of prompt: "Jane Austen wrote Emma." with `answer` a part of it (its last occurrence is
   * the span) */
  const char *statement;
} smft_wording;
#define SMFT_WORDING_INIT                                                                          \
  { sizeof(smft_wording), 0, NULL, NULL, NULL, NULL }

/* Queues one fact.  Everything is copied.  An empty fact, an answer that is not in its statement:
 * SMFT_E_FACT; a wording longer than the context: SMFT_E_CONTEXT; the message names the id. Nothing
 * is queued on failure.  Since 0.1. */
SMFT_API smft_status smft_learner_push(smft_learner *learner, const char *id,
                                       const smft_wording *wordings, int64_t n_wordings);

typedef struct smft_ids_wording {
  uint32_t struct_size; /* of the first element: the distance between elements */
  uint32_t reserved;
  const int32_t *prompt;
  int64_t n_prompt;
  const int32_t *answer;
  int64_t n_answer;
} smft_ids_wording;
#define SMFT_IDS_WORDING_INIT                                                                      \
  { sizeof(smft_ids_wording), 0, NULL, 0, NULL, 0 }
/* The same for hosts with a tokenizer of their own: exactly these ids, nothing added. */
SMFT_API smft_status smft_learner_push_ids(smft_learner *learner, const char *id,
                                           const smft_ids_wording *wordings, int64_t n_wordings);
/* Facts from a JSONL file: {"id": "...", "wordings": [{"prompt": "...", "answer": "..."} |
 * {"statement": "...", "answer": "..."}, ...]} a line ("end" as in smft_wording).  All are queued
 * or none; an error names its line.  *n (may be NULL) gets their number. */
SMFT_API smft_status smft_learner_push_file(smft_learner *learner, const char *path, int64_t *n);
/* Facts in the queue, the one in hand included. */
SMFT_API int64_t smft_learner_pending(const smft_learner *learner);

#define SMFT_FACT_LEARNING 0 /* more steps to come */
#define SMFT_FACT_DONE 1     /* its loss is under the threshold */
#define SMFT_FACT_GAVE_UP 2  /* max_steps were taken, or no slot was eligible */

typedef struct smft_report {
  uint32_t struct_size;
  int32_t fact_state;  /* SMFT_FACT_* after this step */
  const char *fact_id; /* borrowed until the learner's next call; "" for a batch step */
  /* steps taken for this fact, this one included if it changed something */
  int64_t step;
  double loss;          /* mean over the batch's supervised tokens, before the update; nats */
  double gradient_norm; /* of what is trained, before clipping */
  double lr;            /* learning rate used */
  /* rows updated (full, LoRA: of all tensors or factors); 0: nothing was changed */
  int64_t rows_selected;
  int64_t slots_read; /* distinct slots read by the batch */
  int64_t reads;      /* tokens * heads * top_k, over memory layers */
  int64_t tokens;     /* in the batch */
  int64_t tokens_supervised;
  double seconds;
  int64_t pending; /* facts left, the one in hand included unless it is finished */
} smft_report;
#define SMFT_REPORT_INIT                                                                           \
  { sizeof(smft_report), 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* One update for the fact in hand.  The loss is measured first: if it is under the threshold (of
 * all wordings drawn for this step) the fact is done and nothing changes.  A step without an
 * eligible slot changes nothing, and its report says rows_selected 0.  An empty queue is
 * SMFT_E_STATE.  A failed or cancelled step leaves patch and optimizer bit-identical.  report may
 * be NULL.  Since 0.1. */
SMFT_API smft_status smft_step(smft_learner *learner, smft_report *report);
/* Drops the fact in hand. */
SMFT_API smft_status smft_learner_skip(smft_learner *learner);

typedef struct smft_selected {
  int64_t slot;
  double score;
  int32_t pool;
  int32_t reserved;
} smft_selected;
/* The rows that the last step updated, best score first.  Capacity as for encode. */
SMFT_API smft_status smft_learner_selected(const smft_learner *learner, smft_selected *selected,
                                           int64_t capacity, int64_t *n);

typedef struct smft_run_report {
  uint32_t struct_size;
  int32_t reserved;
  int64_t facts_done;
  int64_t facts_gave_up;
  int64_t steps;
  int64_t rows_changed; /* distinct rows of the patch after the run (slots patches) */
  double seconds;
} smft_run_report;
#define SMFT_RUN_REPORT_INIT                                                                       \
  { sizeof(smft_run_report), 0, 0, 0, 0, 0, 0 }
/* Steps until the queue is empty.  progress (may be NULL) gets the fact's id as stage, facts
 * finished and facts in all.  Cancelled: what was learnt so far stays, the fact in hand stays in
 * the queue.  report may be NULL. */
SMFT_API smft_status smft_learner_run(smft_learner *learner, smft_progress_fn progress, void *user,
                                      smft_run_report *report);
/* Makes the running step or run return SMFT_E_CANCELLED soon.  Any thread. */
SMFT_API void smft_learner_cancel(smft_learner *learner);

typedef struct smft_batch {
  uint32_t struct_size;
  int32_t reserved;
  const int32_t *ids;     /* sequences, one after another, none padded */
  const int64_t *lengths; /* (n_sequences) */
  int64_t n_sequences;
  /* weight of predicting each token (total tokens; a sequence's first is ignored); NULL: 1 */
  const float *token_weights;
} smft_batch;
#define SMFT_BATCH_INIT                                                                            \
  { sizeof(smft_batch), 0, NULL, NULL, 0, NULL }
/* One update on a batch of the host's own, with any patch kind: pretraining and finetuning loops.
 * loss = sum of weight * nll / sum of weights.  The queue is not touched. */
SMFT_API smft_status smft_learner_step_batch(smft_learner *learner, const smft_batch *batch,
                                             smft_report *report);

/* ---- probe: what must not be forgotten (method.md 4) --------------------- */

typedef struct smft_probe_options {
  uint32_t struct_size;
  int32_t max_tokens; /* of a generated answer; 0: 32 */
  const char *stop;   /* NULL: "\n" */
  /* a question is lost when its F1 was >= gained_above and is < this; 0: 0.5 */
  double lost_below;
  double gained_above; /* 0: 0.5 */
} smft_probe_options;
#define SMFT_PROBE_OPTIONS_INIT                                                                    \
  { sizeof(smft_probe_options), 0, NULL, 0, 0 }

/* options may be NULL.  Since 0.1. */
SMFT_API smft_status smft_probe_create(smft_probe **out, smft_ctx *ctx,
                                       const smft_probe_options *options);
SMFT_API void smft_probe_free(smft_probe *probe);
/* Greedy generation after `prompt`, scored by exact match and token F1, the best over `answers`.
 * Everything is copied. */
SMFT_API smft_status smft_probe_add_question(smft_probe *probe, const char *id, const char *prompt,
                                             const char *const *answers, int64_t n_answers);
/* NLL per token, and KL(base || patched) of its next-token distributions. */
SMFT_API smft_status smft_probe_add_text(smft_probe *probe, const char *id, const char *text);
/* Length-normalised log-likelihood of each ending after `prompt`; the best must be
 * endings[correct]. */
SMFT_API smft_status smft_probe_add_choice(smft_probe *probe, const char *id, const char *prompt,
                                           const char *const *endings, int64_t n_endings,
                                           int64_t correct);
/* One item a line: {"id","question","answers":[...]} | {"id","text"} |
 * {"id","prompt","endings":[...],"correct":0}.  All or none. */
SMFT_API smft_status smft_probe_add_file(smft_probe *probe, const char *path, int64_t *n);

typedef struct smft_probe_report {
  uint32_t struct_size;
  int32_t reserved;
  int64_t n_questions, n_texts, n_choices;
  /* before: the baseline; change: in percent of it */
  double exact_match, exact_match_before, exact_match_change;
  double f1, f1_before, f1_change;
  double nll, nll_before, nll_change; /* per token, over all texts' tokens */
  double accuracy, accuracy_before, accuracy_change;
  double kl;    /* nats per token, base against patched */
  int64_t lost; /* items that were right and are wrong now */
  int64_t gained;
  double seconds;
} smft_probe_report;
#define SMFT_PROBE_REPORT_INIT                                                                     \
  { sizeof(smft_probe_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Measures and keeps the values to compare with.  progress may be NULL. */
SMFT_API smft_status smft_probe_baseline(smft_probe *probe, smft_session *session,
                                         smft_progress_fn progress, void *user);
/* Measures again; changes are against the baseline (SMFT_E_STATE without one).  The session is left
 * empty. */
SMFT_API smft_status smft_probe_measure(smft_probe *probe, smft_session *session,
                                        smft_progress_fn progress, void *user,
                                        smft_probe_report *report);

#define SMFT_PROBE_QUESTION 1
#define SMFT_PROBE_TEXT 2
#define SMFT_PROBE_CHOICE 3

typedef struct smft_probe_item {
  uint32_t struct_size;
  int32_t kind;
  const char *id;   /* borrowed until the item is measured again */
  const char *text; /* what was generated (questions), else "" */
  double before;    /* questions: F1; texts: NLL per token; choices: 1 or 0 */
  double after;
  int32_t lost;
  int32_t gained;
} smft_probe_item;
#define SMFT_PROBE_ITEM_INIT                                                                       \
  { sizeof(smft_probe_item), 0, NULL, NULL, 0, 0, 0, 0 }
/* Items by position; SMFT_E_NOT_FOUND past the end. */
SMFT_API smft_status smft_probe_get_item(const smft_probe *probe, int64_t index,
                                         smft_probe_item *item);
/* The last measurement with every item as a JSON file. */
SMFT_API smft_status smft_probe_save_report(const smft_probe *probe, const char *path);
/* Exact match and token F1 of one answer against accepted ones: lower-case, no punctuation, no
 * English articles, white space collapsed. */
SMFT_API smft_status smft_score_answer(const char *answer, const char *const *accepted,
                                       int64_t n_accepted, double *exact_match, double *f1);

#ifdef __cplusplus
}
#endif
#endif
