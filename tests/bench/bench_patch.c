/* bench_patch: what a patch costs that holds many facts: looking rows up, reading with it, saving,
 * loading.  Through smft.h alone.  A fact here is 350 rows drawn at random, the number that a fact
 * changes by default; facts overlap, as they do in life.
 * usage: bench_patch MODEL_DIRECTORY THREADS
 *   rows N       {"rows": rows that N facts changed, "mb": their size}
 *   lookup N     rows of the pool a second, drawn at random, as N facts have left them
 *   forward N    256 tokens through a session with such a patch
 *   save N PATH, load N PATH   files a second (load reads what save wrote) */
#include "subject.h"

enum { ROWS_OF_A_FACT = 350, LOOKUPS = 4096 };

typedef struct learnt {
  subject s;
  int64_t n_slots, dim;
  float *row, *logits; /* (dim), (vocab) */
  smft_patch *patch;   /* kept from one task to the next while the number of facts stays */
  int64_t n_facts;
  smft_session *session;
  char path[512];
  uint64_t seed;
} learnt;

static void clear(void *arg) {
  learnt *b = arg;
  smft_session_free(b->session);
  b->session = NULL;
}

static uint64_t next_random(learnt *b) {
  b->seed = b->seed * 6364136223846793005u + 1442695040888963407u;
  return b->seed >> 33;
}

static void learn(learnt *b, char **words) {
  int64_t wanted = bench_number(words, 0, 1);
  if (wanted != b->n_facts) {
    smft_patch_free(b->patch);
    check(smft_patch_create(&b->patch, b->s.model, SMFT_PATCH_SLOTS), "patch");
    b->seed = 1;
    for (int64_t i = 0; i < wanted * ROWS_OF_A_FACT; i++)
      check(smft_patch_set_row(b->patch, 0, (int64_t)(next_random(b) % (uint64_t)b->n_slots),
                               b->row, b->dim),
            "row");
    b->n_facts = wanted;
  }
  snprintf(b->path, sizeof b->path, "%s", words[0] && words[1] ? words[1] : "");
}

static void answer_rows(void *arg, char **words) {
  learnt *b = arg;
  int64_t n;
  learn(b, words);
  check(smft_patch_slots(b->patch, 0, NULL, 0, &n), "slots");
  printf("{\"rows\": %lld, \"mb\": %.3f}\n", (long long)n,
         (double)n * (double)(b->dim * 4 + 8) * 1e-6);
}

static void prepare(void *arg, char **words) { learn(arg, words); }

static int64_t look_up(void *arg) {
  learnt *b = arg;
  for (int i = 0; i < LOOKUPS; i++)
    check(smft_patch_row(b->patch, 0, (int64_t)(next_random(b) % (uint64_t)b->n_slots), b->row,
                         b->dim),
          "row");
  return LOOKUPS;
}

static void prepare_forward(void *arg, char **words) {
  learnt *b = arg;
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  learn(b, words);
  options.context_length = SEQUENCE;
  check(smft_session_create(&b->session, b->s.model, b->patch, &options), "session");
}

static int64_t forward(void *arg) {
  learnt *b = arg;
  check(smft_session_rewind(b->session, 0), "rewind");
  check(smft_session_feed(b->session, b->s.ids, SEQUENCE, SMFT_LOGITS_LAST, b->logits,
                          b->s.info.vocab_size),
        "feed");
  return SEQUENCE;
}

static int64_t save(void *arg) {
  learnt *b = arg;
  check(smft_patch_save(b->patch, b->path, 0), "save");
  return 1;
}

static int64_t load(void *arg) {
  learnt *b = arg;
  smft_patch *patch;
  check(smft_patch_load(&patch, b->s.model, b->path), "load");
  smft_patch_free(patch);
  return 1;
}

static const bench_task tasks[] = {{"rows", NULL, NULL, answer_rows},
                                   {"lookup", prepare, look_up, NULL},
                                   {"forward", prepare_forward, forward, NULL},
                                   {"save", prepare, save, NULL},
                                   {"load", prepare, load, NULL},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static learnt b;
  subject_open(&b.s, argc, argv);
  check(smft_model_pool(b.s.model, 0, &b.n_slots, &b.dim), "pool");
  bench_need(b.row = calloc((size_t)b.dim, sizeof(float)));
  bench_need(b.logits = malloc((size_t)b.s.info.vocab_size * sizeof(float)));
  bench_serve(tasks, clear, &b);
  smft_patch_free(b.patch);
  free(b.row);
  free(b.logits);
  subject_close(&b.s);
  return 0;
}
