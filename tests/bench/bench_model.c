/* bench_model: inference with a whole model through smft.h alone.  Owns the workloads; bench.h
 * times them, peer_model.py and peer_llama.mjs do the same work.
 * usage: bench_model MODEL THREADS [FLAGS]
 *   opened       what smft_model_load took, in ms
 *   forward      256 tokens through an empty session, logits of all
 *   prefill N    N tokens through an empty session, logits of the last (N: 256)
 *   decode       one token after another, positions 16 to 143 of the same tokens, over and over
 *                (which token comes next is not part of the work)
 *   sessions N   N sessions on the one model, each decoding in a host thread of its own; tokens of
 *                all of them
 *   first N      {"ms": from the start of main to the likeliest token after N, "next": it}; to be
 *                the first question to a process
 *   about        {"vocab", "parameters", "bytes": of weights, "layers", "hidden"}
 *   logits N     of N tokens (256): {"numbers": 32 logits of the last, "next": the largest,
 *                "spread": of the logits, "nll": the mean}
 *   hash         of the logits of 256 tokens, all bits
 *   idle         processor time in ms that the process takes in a second after a forward pass */
#include "subject.h"
#include <math.h>
#include <pthread.h>

enum { PROMPT = 16, DECODED = 128, SHARE = 16, MOST_SESSIONS = 64, SAMPLES = 32 };

typedef struct seat {
  struct inference *room;
  smft_session *session;
  float *logits;
  int at; /* position that is decoded next */
} seat;

typedef struct inference {
  subject s;
  const char *path;
  int64_t length;            /* tokens that a forward pass feeds */
  seat seats[MOST_SESSIONS]; /* [0]: the one session of most tasks */
  int n_seats;
} inference;

/* ---- sessions ------------------------------------------------------------ */

static void sit(inference *b, int64_t context, int64_t n_logits) {
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  seat *one = &b->seats[b->n_seats++];
  options.context_length = (int32_t)context;
  one->room = b;
  one->at = 0;
  check(smft_session_create(&one->session, b->s.model, NULL, &options), "session");
  bench_need(one->logits = malloc((size_t)n_logits * (size_t)b->s.info.vocab_size * sizeof(float)));
}

static void clear(void *arg) {
  inference *b = arg;
  for (int i = 0; i < b->n_seats; i++) {
    smft_session_free(b->seats[i].session);
    free(b->seats[i].logits);
  }
  b->n_seats = 0;
}

static void feed_all(inference *b, int64_t n) {
  check(smft_session_rewind(b->seats[0].session, 0), "rewind");
  check(smft_session_feed(b->seats[0].session, b->s.ids, n, SMFT_LOGITS_ALL, b->seats[0].logits,
                          n * b->s.info.vocab_size),
        "feed");
}

static void feed_for_last(inference *b, int64_t n) {
  check(smft_session_rewind(b->seats[0].session, 0), "rewind");
  check(smft_session_feed(b->seats[0].session, b->s.ids, n, SMFT_LOGITS_LAST, b->seats[0].logits,
                          b->s.info.vocab_size),
        "feed");
}

/* ---- timed work ---------------------------------------------------------- */

static void prepare_forward(void *arg, char **words) {
  (void)words;
  sit(arg, SEQUENCE, SEQUENCE);
}

static int64_t forward(void *arg) {
  feed_all(arg, SEQUENCE);
  return SEQUENCE;
}

static void prepare_prefill(void *arg, char **words) {
  inference *b = arg;
  b->length = bench_number(words, 0, SEQUENCE);
  if (b->length < 1 || b->length > LONGEST)
    bench_fail("prefill takes 1 to %d tokens", LONGEST);
  sit(b, b->length, 1);
}

static int64_t prefill(void *arg) {
  inference *b = arg;
  feed_for_last(b, b->length);
  return b->length;
}

static int32_t largest(const float *logits, int32_t n) {
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

/* The prompt is fed once; the tokens after it are then decoded over and over, SHARE at a time. */
static void decode_share(seat *one) {
  const subject *s = &one->room->s;
  if (smft_session_length(one->session) < PROMPT)
    check(smft_session_feed(one->session, s->ids, PROMPT, SMFT_LOGITS_NONE, NULL, 0), "feed");
  if (one->at < PROMPT || one->at >= PROMPT + DECODED) {
    check(smft_session_rewind(one->session, PROMPT), "rewind");
    one->at = PROMPT;
  }
  for (int end = one->at + SHARE; one->at < end; one->at++)
    check(smft_session_feed(one->session, &s->ids[one->at], 1, SMFT_LOGITS_LAST, one->logits,
                            s->info.vocab_size),
          "feed");
}

static void prepare_decode(void *arg, char **words) {
  (void)words;
  sit(arg, SEQUENCE, 1);
}

static int64_t decode(void *arg) {
  inference *b = arg;
  decode_share(&b->seats[0]);
  return SHARE;
}

static void prepare_sessions(void *arg, char **words) {
  inference *b = arg;
  int64_t n = bench_number(words, 0, 1);
  if (n < 1 || n > MOST_SESSIONS)
    bench_fail("1 to %d sessions", MOST_SESSIONS);
  for (int64_t i = 0; i < n; i++)
    sit(b, SEQUENCE, 1);
}

static void *decode_seat(void *arg) {
  decode_share(arg);
  return NULL;
}

static int64_t sessions(void *arg) {
  inference *b = arg;
  pthread_t threads[MOST_SESSIONS];
  for (int i = 1; i < b->n_seats; i++)
    if (pthread_create(&threads[i], NULL, decode_seat, &b->seats[i]) != 0)
      bench_fail("no thread for a session");
  decode_share(&b->seats[0]);
  for (int i = 1; i < b->n_seats; i++)
    pthread_join(threads[i], NULL);
  return (int64_t)b->n_seats * SHARE;
}

/* ---- what comes out ------------------------------------------------------ */

static void answer_opened(void *arg, char **words) {
  (void)words;
  printf("{\"ms\": %.3f}\n", ((inference *)arg)->s.open_ms);
}

static void answer_first(void *arg, char **words) {
  inference *b = arg;
  double begin = bench_clock(CLOCK_MONOTONIC);
  prepare_prefill(b, words);
  feed_for_last(b, b->length);
  int32_t next = largest(b->seats[0].logits, b->s.info.vocab_size);
  double ms = b->s.ready_ms + 1e3 * (bench_clock(CLOCK_MONOTONIC) - begin);
  printf("{\"ms\": %.3f, \"next\": %d}\n", ms, next);
}

static void answer_about(void *arg, char **words) {
  inference *b = arg;
  smft_model_inspection found = SMFT_MODEL_INSPECTION_INIT;
  (void)words;
  check(smft_model_inspect(b->s.ctx, b->path, &found), "inspect");
  printf("{\"vocab\": %d, \"parameters\": %lld, \"bytes\": %lld, \"layers\": %d, "
         "\"hidden\": %d}\n",
         found.vocab_size, (long long)found.n_parameters, (long long)found.weight_bytes,
         found.n_layers, found.hidden_size);
}

static double deviation(const float *logits, int32_t n) {
  double sum = 0, squares = 0;
  for (int32_t i = 0; i < n; i++) {
    sum += (double)logits[i];
    squares += (double)logits[i] * (double)logits[i];
  }
  return sqrt(squares / n - sum / n * (sum / n));
}

static void answer_logits(void *arg, char **words) {
  inference *b = arg;
  double nll;
  int32_t vocab = b->s.info.vocab_size;
  prepare_prefill(b, words);
  feed_for_last(b, b->length);
  const float *last = b->seats[0].logits;
  printf("{\"numbers\": [");
  for (int32_t i = 0; i < SAMPLES; i++)
    printf("%s%.9g", i ? ", " : "", (double)last[(int64_t)i * vocab / SAMPLES]);
  printf("], \"next\": %d, \"spread\": %.9g", largest(last, vocab), deviation(last, vocab));
  check(smft_session_nll(b->seats[0].session, b->s.ids, b->length, NULL, &nll), "nll");
  printf(", \"nll\": %.9g}\n", nll);
}

static void answer_hash(void *arg, char **words) {
  inference *b = arg;
  prepare_forward(b, words);
  feed_all(b, SEQUENCE);
  printf("{\"hash\": \"%016llx\"}\n",
         (unsigned long long)bench_hash(0, b->seats[0].logits,
                                        (size_t)SEQUENCE * (size_t)b->s.info.vocab_size *
                                            sizeof(float)));
}

static void answer_idle(void *arg, char **words) {
  struct timespec second = {1, 0};
  prepare_forward(arg, words);
  feed_all(arg, SEQUENCE);
  double before = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
  nanosleep(&second, NULL);
  printf("{\"ms\": %.3f}\n", 1e3 * (bench_clock(CLOCK_PROCESS_CPUTIME_ID) - before));
}

static const bench_task tasks[] = {{"opened", NULL, NULL, answer_opened},
                                   {"forward", prepare_forward, forward, NULL},
                                   {"prefill", prepare_prefill, prefill, NULL},
                                   {"decode", prepare_decode, decode, NULL},
                                   {"sessions", prepare_sessions, sessions, NULL},
                                   {"first", NULL, NULL, answer_first},
                                   {"about", NULL, NULL, answer_about},
                                   {"logits", NULL, NULL, answer_logits},
                                   {"hash", NULL, NULL, answer_hash},
                                   {"idle", NULL, NULL, answer_idle},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static inference b;
  subject_open(&b.s, argc, argv);
  b.path = argv[1];
  bench_serve(tasks, clear, &b);
  subject_close(&b.s);
  return 0;
}
