/* parallel: the context's threads, and how a job of blocks is spread over them (or over the host's
 * own). Does not own: where work is cut (each caller does, independent of the number of threads).
 *
 * One job at a time has the threads; `owner` is the lock for that, tried and never waited for.  It
 * holds the process id of who has it, so that a child of fork() sees that a lock left behind by its
 * parent is nobody's, and that the threads are not there any more. */
#include "base/parallel.h"
#include "base/alloc.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* looks at a variable before sleeping: some microseconds, about what waking up costs */
#define SPINS 400

typedef struct job {
  smft__block_body body;
  void *arg;
  int64_t n_blocks;
  _Atomic int64_t next;
} job;

typedef struct worker {
  smft__pool_threads *pool;
  pthread_t thread;
  int32_t lane; /* 1 and up; the caller is lane 0 */
} worker;

struct smft__pool_threads {
  atomic_long owner;    /* process id of the caller whose job runs; 0: free */
  pid_t process;        /* process in which the threads live; 0: not started.  Guarded by owner */
  int32_t n_wanted;     /* lanes - 1 */
  int32_t n_started;    /* guarded by owner */
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t work, done;
  atomic_uint generation; /* counts jobs; changed under the lock, read without it while spinning */
  atomic_int active;      /* workers inside the job; likewise */
  job *current;           /* NULL: no job that may be joined */
  int32_t stop;
  worker workers[];
};

/* >= 0: this thread is running a block; calls from it run inline */
static _Thread_local int32_t inside_lane = -1;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

static void run_lane(job *work, int32_t lane) {
  int32_t outer = inside_lane;
  inside_lane = lane;
  for (;;) {
    int64_t block = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed);
    if (block >= work->n_blocks)
      break;
    work->body(work->arg, block, lane);
  }
  inside_lane = outer;
}

/* ---- workers ------------------------------------------------------------- */

static void spin_while_idle(smft__pool_threads *pool, unsigned seen) {
  for (int i = 0;
       i < SPINS && atomic_load_explicit(&pool->generation, memory_order_relaxed) == seen; i++)
    relax();
}

static void *worker_main(void *arg) {
  worker *self = arg;
  smft__pool_threads *pool = self->pool;
  unsigned seen = 0; /* the last job this worker knows of */
  pthread_mutex_lock(&pool->lock);
  while (!pool->stop) {
    unsigned generation = atomic_load_explicit(&pool->generation, memory_order_relaxed);
    if (generation == seen || !pool->current) {
      seen = generation;
      pthread_cond_wait(&pool->work, &pool->lock);
      continue;
    }
    seen = generation;
    job *work = pool->current;
    atomic_fetch_add_explicit(&pool->active, 1, memory_order_relaxed);
    pthread_mutex_unlock(&pool->lock);
    run_lane(work, self->lane);
    pthread_mutex_lock(&pool->lock);
    if (atomic_fetch_sub_explicit(&pool->active, 1, memory_order_release) == 1)
      pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
    spin_while_idle(pool, seen);
    pthread_mutex_lock(&pool->lock);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

/* The host's signals are not for our threads: all are blocked while these are made, and they
 * inherit that. */
static void start_workers(smft__pool_threads *pool) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int32_t i = 0; i < pool->n_wanted; i++) {
    worker *one = &pool->workers[i];
    one->pool = pool;
    one->lane = i + 1;
    if (pthread_create(&one->thread, NULL, worker_main, one) != 0)
      break;
    pool->n_started = i + 1;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Called by the owner.  After fork() lock and conditions may be in any state and their users are
 * gone: they are made anew in place. */
static void start_in_this_process(smft__pool_threads *pool, pid_t process) {
  pool->process = process;
  pool->n_started = 0;
  pool->current = NULL;
  pool->stop = 0;
  atomic_init(&pool->generation, 0);
  atomic_init(&pool->active, 0);
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->work, NULL);
  pthread_cond_init(&pool->done, NULL);
  start_workers(pool);
}

/* ---- the caller's side --------------------------------------------------- */

static int acquire(smft__pool_threads *pool, long process) {
  long owner = 0;
  if (atomic_compare_exchange_strong(&pool->owner, &owner, process))
    return 1;
  /* left by the parent process */
  return owner != process && atomic_compare_exchange_strong(&pool->owner, &owner, process);
}

static void open_job(smft__pool_threads *pool, job *work) {
  int64_t others = work->n_blocks - 1;
  pthread_mutex_lock(&pool->lock);
  pool->current = work;
  atomic_fetch_add_explicit(&pool->generation, 1, memory_order_relaxed);
  if (others >= pool->n_started)
    pthread_cond_broadcast(&pool->work);
  else
    for (int64_t i = 0; i < others; i++)
      pthread_cond_signal(&pool->work);
  pthread_mutex_unlock(&pool->lock);
}

/* Who has not joined by now is not waited for; who has is. */
static void close_job(smft__pool_threads *pool) {
  pthread_mutex_lock(&pool->lock);
  pool->current = NULL;
  pthread_mutex_unlock(&pool->lock);
  for (int i = 0; i < SPINS && atomic_load_explicit(&pool->active, memory_order_relaxed) > 0; i++)
    relax();
  pthread_mutex_lock(&pool->lock);
  while (atomic_load_explicit(&pool->active, memory_order_acquire) > 0)
    pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

static void run_on_own_threads(smft__pool_threads *pool, job *work, pid_t process) {
  if (pool->process != process)
    start_in_this_process(pool, process);
  if (pool->n_started == 0) {
    run_lane(work, 0);
    return;
  }
  open_job(pool, work);
  run_lane(work, 0);
  close_job(pool);
}

static void host_lane(void *arg, int64_t lane) { run_lane(arg, (int32_t)lane); }

/* One call per lane; blocks that a host left undone (it ran fewer calls than asked) are done here.
 */
static void run_on_host_threads(smft_ctx *ctx, job *work) {
  int32_t lanes = smft__lanes(ctx);
  ctx->options.parallel_for(ctx->options.parallel_user,
                            work->n_blocks < lanes ? work->n_blocks : lanes, host_lane, work);
  run_lane(work, 0);
}

int32_t smft__lanes(const smft_ctx *ctx) { return ctx->options.n_threads; }

void smft__parallel_for(smft_ctx *ctx, int64_t n_blocks, smft__block_body body, void *arg) {
  job work = {body, arg, n_blocks, 0};
  if (n_blocks <= 1 || smft__lanes(ctx) <= 1 || inside_lane >= 0) {
    /* a nested call stays on its lane, so scratch memory stays apart */
    run_lane(&work, inside_lane >= 0 ? inside_lane : 0);
    return;
  }
  if (ctx->options.parallel_for) {
    run_on_host_threads(ctx, &work);
    return;
  }
  pid_t process = getpid();
  if (!acquire(ctx->threads, process)) {
    run_lane(&work, 0);
    return;
  }
  run_on_own_threads(ctx->threads, &work, process);
  atomic_store(&ctx->threads->owner, 0);
}

/* ---- life ---------------------------------------------------------------- */

smft_status smft__pool_threads_create(smft_ctx *ctx) {
  int32_t wanted = ctx->options.parallel_for ? 0 : ctx->options.n_threads - 1;
  smft__pool_threads *pool =
      smft__calloc_array(ctx, 1, sizeof *pool + (size_t)wanted * sizeof(worker));
  if (!pool)
    return SMFT_E_NOMEM;
  pool->n_wanted = wanted;
  atomic_init(&pool->owner, 0);
  ctx->threads = pool;
  return SMFT_OK;
}

void smft__pool_threads_free(smft_ctx *ctx) {
  smft__pool_threads *pool = ctx->threads;
  if (pool->process != 0 && pool->process == getpid()) {
    pthread_mutex_lock(&pool->lock);
    pool->stop = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int32_t i = 0; i < pool->n_started; i++)
      pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
  }
  smft__free(ctx, pool);
  ctx->threads = NULL;
}
