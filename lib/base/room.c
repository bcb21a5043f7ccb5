/* room: a shelf of pieces in the context, taken from and put back by an atomic exchange each; no
 * order, no lock. */
#include "base/room.h"
#include "base/alloc.h"

void *smft__room_take(smft_ctx *ctx) {
  for (int i = 0; i < SMFT__ROOMS; i++) {
    void *room = atomic_load_explicit(&ctx->rooms[i], memory_order_relaxed);
    if (room && atomic_compare_exchange_strong(&ctx->rooms[i], &room, NULL))
      return room;
  }
  return smft__alloc(ctx, SMFT__ROOM_BYTES);
}

void smft__room_give(smft_ctx *ctx, void *room) {
  for (int i = 0; i < SMFT__ROOMS && room; i++) {
    void *none = NULL;
    if (atomic_compare_exchange_strong(&ctx->rooms[i], &none, room))
      return;
  }
  smft__free(ctx, room);
}

smft_status smft__rooms_reserve(smft_ctx *ctx, int32_t n) {
  void *taken[SMFT__ROOMS];
  int32_t got = 0, wanted = n < SMFT__ROOMS ? n : SMFT__ROOMS;
  while (got < wanted && (taken[got] = smft__room_take(ctx)))
    got++;
  for (int32_t i = 0; i < got; i++)
    smft__room_give(ctx, taken[i]);
  return got == wanted ? SMFT_OK : SMFT_E_NOMEM;
}

void smft__rooms_free(smft_ctx *ctx) {
  for (int i = 0; i < SMFT__ROOMS; i++)
    smft__free(ctx, atomic_exchange(&ctx->rooms[i], NULL));
}
