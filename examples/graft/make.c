/* make: gives a model that was downloaded a memory: smft_graft with texts from files. */
#include "program.h"
#include "smft/smft.h"
#include "texts.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
  const char *prose, *chats, *model, *out;
  int32_t threads;
  uint64_t seed;
} settings;

static const char usage[] =
    "usage: graft-make [options] MODEL DIRECTORY\n"
    "Writes a directory in which MODEL (a Hugging Face directory or a GGUF file) has a memory "
    "that\n"
    "libsmft can teach facts.  MODEL is not changed, and is needed further on.\n"
    "  --prose FILE    text to be kept, a sequence a line\n"
    "  --chats FILE    {\"question\", \"answer\"} a line: chats to be kept, in the model's "
    "template\n"
    "  --seed N        (0)\n"
    "  --threads N     0: all processors (0)\n";

static void fail_usage(void) {
  fputs(usage, stderr);
  exit(2);
}

static void parse(settings *s, int argc, char **argv) {
  static const struct option options[] = {{"prose", 1, 0, 'p'}, {"chats", 1, 0, 'c'},
                                          {"seed", 1, 0, 's'},  {"threads", 1, 0, 't'},
                                          {"help", 0, 0, 'h'},  {0, 0, 0, 0}};
  for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
    if (option == 'p')
      s->prose = optarg;
    else if (option == 'c')
      s->chats = optarg;
    else if (option == 's')
      s->seed = strtoull(optarg, NULL, 10);
    else if (option == 't')
      s->threads = atoi(optarg);
    else if (option == 'h')
      exit(fputs(usage, stdout) < 0);
    else
      fail_usage();
  }
  if (argc - optind != 2 || (!s->prose && !s->chats))
    fail_usage();
  s->model = argv[optind];
  s->out = argv[optind + 1];
}

static void graft(const settings *s, const smft_model *model, const texts *chats) {
  smft_background prose_source = SMFT_BACKGROUND_INIT, chats_source = SMFT_BACKGROUND_INIT;
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  smft_graft_report report = SMFT_GRAFT_REPORT_INIT;
  const smft_background *sources[2];
  prose_source.text_path = s->prose;
  chats_source.ids = chats->ids;
  chats_source.lengths = chats->lengths;
  chats_source.n_sequences = chats->n;
  options.sources = sources;
  if (s->prose)
    sources[options.n_sources++] = &prose_source;
  if (s->chats)
    sources[options.n_sources++] = &chats_source;
  options.seed = s->seed;
  options.progress = show_progress;
  check(smft_graft(model, s->out, &options, &report), "grafting");
  printf("%s: %d memory layers, from %lld sequences of %lld tokens; %.0f%% of the slots are read "
         "by none; %.1f s\n",
         s->out, report.n_layers, (long long)report.n_sequences, (long long)report.n_tokens,
         100 * report.unread, report.seconds);
}

int main(int argc, char **argv) {
  settings s = {0};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  texts chats = {0};
  parse(&s, argc, argv);
  options.n_threads = s.threads;
  check(smft_ctx_create(&ctx, &options), "context");
  check(smft_model_load(&model, ctx, s.model, NULL), "the model");
  if (s.chats && texts_add_chats(&chats, smft_model_tokenizer(model), s.chats) != 0)
    return 1;
  graft(&s, model, &chats);
  texts_free(&chats);
  smft_model_free(model);
  smft_ctx_free(ctx);
  return 0;
}
