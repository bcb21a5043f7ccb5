/* fuzz_encode: any text, for each kind of tokenizer that golden/tokenizer_variants.json has (the
 * first byte says which, the second the flags): what fuzz_text.h checks, and where a tokenizer
 * loses nothing, the same text comes back. */
#include "fuzz_text.h"

#include <jansson.h>

enum { MOST_VARIANTS = 64 };
static struct {
  smft_tokenizer *tokenizer;
  int exact; /* every text comes back */
} variants[MOST_VARIANTS];
static size_t n_variants;

static int is_of(const json_t *whole, const char *key, const char *type) {
  const char *is = json_string_value(json_object_get(json_object_get(whole, key), "type"));
  return is ? strcmp(is, type) == 0 : *type == '\0';
}

/* A byte-level tokenizer, without what changes a text or puts anything before it. */
static int is_exact(const json_t *whole) {
  return is_of(whole, "normalizer", "") && is_of(whole, "decoder", "ByteLevel") &&
         is_of(whole, "pre_tokenizer", "ByteLevel") &&
         json_is_false(
             json_object_get(json_object_get(whole, "pre_tokenizer"), "add_prefix_space"));
}

/* The base's tokenizer.json with the variant's changes. */
static void add_variant(const json_t *bases, const json_t *variant) {
  const char *base = json_string_value(json_object_get(variant, "base")), *key;
  json_t *whole = json_deep_copy(json_object_get(bases, base)), *change;
  json_object_foreach(json_object_get(variant, "changes"), key, change) {
    if (strcmp(key, "model") == 0)
      json_object_update(json_object_get(whole, "model"), change);
    else
      json_object_set(whole, key, change);
  }
  const char *path = fuzz_path("tokenizer.json");
  if (json_dump_file(whole, path, 0) != 0 || n_variants == MOST_VARIANTS)
    give_up("no variant");
  MUST(smft_tokenizer_load(&variants[n_variants].tokenizer, fuzz_ctx(), path));
  variants[n_variants++].exact = is_exact(whole);
  json_decref(whole);
}

static void load_variants(void) {
  json_t *root = json_load_file(SMFT_SOURCE_DIR "/tests/golden/tokenizer_variants.json", 0, NULL);
  const json_t *list = json_object_get(root, "variants");
  for (size_t i = 0; i < json_array_size(list); i++)
    add_variant(json_object_get(root, "bases"), json_array_get(list, i));
  json_decref(root);
  if (n_variants == 0)
    give_up("no variants");
}

static void run(const uint8_t *data, size_t size) {
  size_t which = data[0] % n_variants, length = 0;
  uint32_t flags = data[1] & 15u;
  const char *text = (const char *)data + 2;
  const char *back =
      fuzz_there_and_back(variants[which].tokenizer, text, size - 2, flags, 1, &length);
  if (back && variants[which].exact && (length != size - 2 || memcmp(back, text, length) != 0))
    give_up("what came back is another text");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (n_variants == 0)
    load_variants();
  if (size >= 2)
    fuzz_run(run, data, size);
  return 0;
}
