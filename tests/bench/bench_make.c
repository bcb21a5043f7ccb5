/* bench_make: writes one of the benchmark's models as a Hugging Face directory: random weights,
 * f32 and (DIRECTORY-bf16) bf16.
 * usage: bench_make SHAPE DIRECTORY [N_KEYS]    N_KEYS: of the memory layer, instead of the shape's
 *        bench_make export MODEL TYPE PATH      TYPE: f32, bf16 or q8_0; PATH: NAME.gguf, or a
 *                                               directory
 *        bench_make graft MODEL BLOCK KEYS PATH a memory of KEYS^2 slots beside that block's FFN,
 *                                               counted on random tokens
 *   A     6 layers, d 288, 6 heads, ffn 768, vocabulary 32,000
 *   B     12 layers, d 576, 9 heads, ffn 1536, vocabulary 8,192
 *   M     B with a memory layer (256 keys, H 4, k 32) instead of block 6's FFN
 *   G     the same with value rows of 1,024
 *   P     2 layers, d 64, memory rows of 64: a small model in front of a large pool
 *   S, T  tiny, without and with a memory layer: to try the benchmark itself */
#include "subject.h"
#include <sys/stat.h>

typedef struct shape {
  const char *name;
  int layers, hidden, heads, ffn, vocab, memory_layer, n_keys, top_k, value_dim, bf16;
} shape;
static const shape shapes[] = {{"A", 6, 288, 6, 768, 32000, -1, 0, 0, 0, 1},
                               {"B", 12, 576, 9, 1536, 8192, -1, 0, 0, 0, 1},
                               {"M", 12, 576, 9, 1536, 8192, 6, 256, 32, 576, 0},
                               {"G", 12, 576, 9, 1536, 8192, 6, 256, 32, 1024, 0},
                               {"P", 2, 64, 4, 128, 512, 1, 256, 32, 64, 0},
                               {"S", 2, 64, 4, 128, 512, -1, 0, 0, 0, 1},
                               {"T", 2, 64, 4, 128, 512, 1, 64, 8, 64, 0}};

static const shape *find(const char *name) {
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    if (!strcmp(shapes[i].name, name))
      return &shapes[i];
  fprintf(stderr, "bench_make: there is no shape %s\n", name);
  exit(2);
}

static void write_config(const shape *s, const char *directory, int n_keys) {
  char path[1024];
  snprintf(path, sizeof path, "%s/config.json", directory);
  FILE *file = fopen(path, "w");
  if (!file)
    bench_fail("%s cannot be written", path);
  fprintf(file,
          "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": "
          "%d, \"num_hidden_layers\": %d,\n"
          " \"num_attention_heads\": %d, \"intermediate_size\": %d, \"vocab_size\": %d, "
          "\"max_position_embeddings\": %d,\n"
          " \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"tie_word_embeddings\": true",
          s->hidden, s->layers, s->heads, s->ffn, s->vocab, LONGEST);
  if (s->memory_layer >= 0)
    fprintf(file,
            ",\n \"memory\": {\"layers\": [%d], \"pools\": [0], \"placement\": \"replace\", "
            "\"n_keys\": %d, \"heads\": 4,"
            " \"top_k\": %d, \"value_dim\": %d}",
            s->memory_layer, n_keys ? n_keys : s->n_keys, s->top_k, s->value_dim);
  fprintf(file, "}\n");
  fclose(file);
}

static int32_t type_named(const char *name) {
  static const struct {
    const char *name;
    int32_t dtype;
  } types[] = {{"f32", SMFT_DTYPE_F32}, {"bf16", SMFT_DTYPE_BF16}, {"q8_0", SMFT_DTYPE_Q8_0}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(types[i].name, name))
      return types[i].dtype;
  fprintf(stderr, "bench_make: there is no type %s\n", name);
  exit(2);
}

static void export(const char *source, const char *type, const char *path) {
  size_t length = strlen(path);
  smft_ctx *ctx;
  smft_model *model;
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.dtype = type_named(type);
  options.format = length > 5 && !strcmp(path + length - 5, ".gguf") ? SMFT_FORMAT_GGUF
                                                                     : SMFT_FORMAT_HUGGING_FACE;
  check(smft_ctx_create(&ctx, NULL), "context");
  check(smft_model_load(&model, ctx, source, NULL), "model");
  check(smft_model_export(model, NULL, path, &options), "export");
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* Rows that a hundredth of the sequences reads may still change: of so few, one is more than the
 * default. */
static void graft(const char *source, int block, int n_keys, const char *path) {
  enum { SEQUENCES = 128, TOKENS = 64, ROUNDS = 3 };
  static int32_t ids[SEQUENCES * TOKENS];
  int64_t lengths[SEQUENCES];
  int32_t layer = block;
  smft_ctx *ctx;
  smft_model *model;
  smft_background text = SMFT_BACKGROUND_INIT;
  const smft_background *sources[] = {&text};
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  check(smft_ctx_create(&ctx, NULL), "context");
  check(smft_model_load(&model, ctx, source, NULL), "model");
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  check(smft_model_get_info(model, &info), "info");
  random_ids(info.vocab_size, 3, ids, SEQUENCES * TOKENS);
  for (int i = 0; i < SEQUENCES; i++)
    lengths[i] = TOKENS;
  text.ids = ids;
  text.lengths = lengths;
  text.n_sequences = SEQUENCES;
  options.sources = sources;
  options.n_sources = 1;
  options.layers = &layer;
  options.n_layers = 1;
  options.n_keys = n_keys;
  options.rounds = ROUNDS;
  options.max_df = 0.01;
  check(smft_graft(model, path, &options, NULL), "graft");
  smft_model_free(model);
  smft_ctx_free(ctx);
}

int main(int argc, char **argv) {
  char half[1024];
  smft_ctx *ctx;
  smft_model *model;
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  if (argc < 3) {
    fprintf(stderr, "usage: bench_make SHAPE DIRECTORY [N_KEYS]   (the shapes: see the head of "
                    "bench_make.c)\n");
    return 2;
  }
  if (argc == 5 && !strcmp(argv[1], "export")) {
    export(argv[2], argv[3], argv[4]);
    return 0;
  }
  if (argc == 6 && !strcmp(argv[1], "graft")) {
    graft(argv[2], atoi(argv[3]), atoi(argv[4]), argv[5]);
    return 0;
  }
  const shape *s = find(argv[1]);
  mkdir(argv[2], 0777);
  write_config(s, argv[2], argc > 3 ? atoi(argv[3]) : 0);
  check(smft_ctx_create(&ctx, NULL), "context");
  check(smft_model_init(&model, ctx, argv[2], 1), "model");
  check(smft_model_export(model, NULL, argv[2], &options), "export");
  if (s->bf16) {
    options.dtype = SMFT_DTYPE_BF16;
    snprintf(half, sizeof half, "%s-bf16", argv[2]);
    check(smft_model_export(model, NULL, half, &options), "export in bf16");
  }
  smft_model_free(model);
  smft_ctx_free(ctx);
  return 0;
}
