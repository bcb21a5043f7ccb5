/* graft: smft_graft: texts, states, layers, files, counts, in this order.  Owns the order; the
 * numbers' making is the other files'. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "graft/counts.h"
#include "graft/directory.h"

typedef struct graft {
  smft_ctx *ctx;
  const smft_model *base;
  smft__settings settings;
  smft__texts texts;
  smft__states states;
  smft__graft_layer *layers; /* (n_layers) */
  smft__graft_directory directory;
  smft_graft_report report;
} graft;

static smft_status check_model(const smft_model *model) {
  if (model->config.n_memories > 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "smft_graft: %s has a memory already", model->path);
  if (model->source.n_files == 0 || !smft__file_exists(model->path))
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "smft_graft: %s: a model whose weights are in no file cannot be the base of "
                      "another",
                      model->path);
  return SMFT_OK;
}

static smft_status make_layers(graft *g) {
  int32_t n = g->settings.o.n_layers;
  g->layers = smft__calloc_array(g->ctx, n, sizeof *g->layers);
  if (!g->layers)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < n; i++) {
    smft_status status = smft__graft_layer_make(&g->layers[i], &g->states, i, &g->settings);
    if (status != SMFT_OK)
      return status == SMFT_E_CANCELLED
                 ? status
                 : smft__fail_within(status, "block %d", (int)g->settings.layers[i]);
  }
  return SMFT_OK;
}

/* With the hash that the model has once it is loaded, which it is from here. */
static smft_status count(graft *g) {
  smft_model *grafted = NULL;
  char *path = NULL;
  SMFT__TRY(smft_model_load(&grafted, g->ctx, g->directory.temporary, NULL));
  path = smft__path_join(g->ctx, g->directory.temporary, "background.safetensors");
  smft_status status = path ? smft__graft_count(grafted, &g->settings, &g->texts, &g->states, path,
                                                &g->report.unread)
                            : SMFT_E_NOMEM;
  smft__free(g->ctx, path);
  smft_model_free(grafted);
  return status;
}

static smft_status run(graft *g, const char *path) {
  SMFT__TRY(smft__graft_directory_open(&g->directory, g->ctx, path));
  SMFT__TRY(smft__texts_read(&g->texts, g->base, &g->settings));
  SMFT__TRY(smft__states_collect(&g->states, g->base, &g->settings, &g->texts));
  SMFT__TRY(make_layers(g));
  const smft__moments *lowest = &g->states.blocks[0].moments;
  g->report.state_length = lowest->lengths / (double)lowest->n;
  g->report.step_length = smft__settings_step(&g->settings, g->report.state_length);
  SMFT__TRY(smft__graft_directory_write(&g->directory, g->base, &g->settings, g->layers,
                                        g->report.step_length));
  SMFT__TRY(count(g));
  return smft__graft_directory_commit(&g->directory);
}

static void fill_report(graft *g) {
  g->report.n_layers = g->settings.o.n_layers;
  g->report.n_sequences = g->texts.n_sequences;
  g->report.n_tokens = g->states.n_tokens;
  g->report.n_samples = g->states.n_samples;
}

static void release(graft *g) {
  for (int32_t i = 0; g->layers && i < g->settings.o.n_layers; i++)
    smft__graft_layer_free(&g->layers[i]);
  smft__free(g->ctx, g->layers);
  smft__graft_directory_close(&g->directory);
  smft__states_free(&g->states);
  smft__texts_free(&g->texts);
}

smft_status smft_graft(const smft_model *model, const char *path, const smft_graft_options *options,
                       smft_graft_report *report) {
  double begin = smft__now();
  SMFT__REQUIRE(model && path && options, "smft_graft: model, path or options is NULL");
  if (report)
    SMFT__TRY(smft__report_check(report, sizeof *report, "smft_graft_report"));
  graft g = {.ctx = model->ctx, .base = model};
  SMFT__TRY(check_model(model));
  SMFT__TRY(smft__settings_read(&g.settings, model, options));
  smft_status status = run(&g, path);
  if (status == SMFT_OK)
    fill_report(&g);
  release(&g);
  g.report.seconds = smft__now() - begin;
  if (status == SMFT_OK && report)
    status = smft__report_write(report, &g.report, sizeof g.report, sizeof g.report,
                                "smft_graft_report");
  return status;
}
