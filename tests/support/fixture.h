/* fixture: a context of every test's own, and a look at the end that nothing was left allocated in
 * it. */
#ifndef SMFT_TEST_FIXTURE_H
#define SMFT_TEST_FIXTURE_H
#include "test.h"

static smft_ctx *ctx;
static void set_up(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void tear_down(void) {
  int64_t now = 0, own = 0;
  smft_ctx *fresh;
  ck_ok(smft_ctx_create(&fresh, NULL));
  ck_ok(smft_ctx_memory(fresh, &own, NULL));
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  ck_assert_int_eq(now, own); /* nothing was left behind */
  smft_ctx_free(fresh);
  smft_ctx_free(ctx);
}
#endif
