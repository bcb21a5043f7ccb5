/* workspace: a shelf of pieces in the context, taken from and put back by an atomic exchange each;
 * no order, no lock. */
#include "base/workspace.h"
#include "base/alloc.h"

void *smft__workspace_take(smft_ctx *ctx) {
  for (int i = 0; i < SMFT__WORKSPACES; i++) {
    void *workspace = atomic_load_explicit(&ctx->workspaces[i], memory_order_relaxed);
    if (workspace && atomic_compare_exchange_strong(&ctx->workspaces[i], &workspace, NULL))
      return workspace;
  }
  return smft__alloc(ctx, SMFT__WORKSPACE_BYTES);
}

void smft__workspace_give(smft_ctx *ctx, void *workspace) {
  for (int i = 0; i < SMFT__WORKSPACES && workspace; i++) {
    void *none = NULL;
    if (atomic_compare_exchange_strong(&ctx->workspaces[i], &none, workspace))
      return;
  }
  smft__free(ctx, workspace);
}

smft_status smft__workspaces_reserve(smft_ctx *ctx, int32_t n) {
  void *taken[SMFT__WORKSPACES];
  int32_t got = 0, wanted = n < SMFT__WORKSPACES ? n : SMFT__WORKSPACES;
  while (got < wanted && (taken[got] = smft__workspace_take(ctx)))
    got++;
  for (int32_t i = 0; i < got; i++)
    smft__workspace_give(ctx, taken[i]);
  return got == wanted ? SMFT_OK : SMFT_E_NOMEM;
}

void smft__workspaces_free(smft_ctx *ctx) {
  for (int i = 0; i < SMFT__WORKSPACES; i++)
    smft__free(ctx, atomic_exchange(&ctx->workspaces[i], NULL));
}
