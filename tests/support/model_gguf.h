/* model_gguf: whole GGUF models of one block, width 4 and ten tokens, in under 4 KB: they load. */
#ifndef SMFT_MODEL_GGUF_H
#define SMFT_MODEL_GGUF_H
#include "vocab_gguf.h"
#include <stdio.h>

static const char *const model_llama_tensors[] = {
    "token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
    "blk.0.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
    "blk.0.attn_output.weight", "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight",
    "blk.0.ffn_up.weight",      "blk.0.ffn_down.weight", NULL};
static const char *const model_gemma3_tensors[] = {
    "token_embd.weight",          "output_norm.weight",
    "blk.0.attn_norm.weight",     "blk.0.attn_q.weight",
    "blk.0.attn_k.weight",        "blk.0.attn_v.weight",
    "blk.0.attn_output.weight",   "blk.0.attn_q_norm.weight",
    "blk.0.attn_k_norm.weight",   "blk.0.post_attention_norm.weight",
    "blk.0.ffn_norm.weight",      "blk.0.ffn_gate.weight",
    "blk.0.ffn_up.weight",        "blk.0.ffn_down.weight",
    "blk.0.post_ffw_norm.weight", NULL};

static inline void put_arch_key(gguf_bytes *to, const char *arch, const char *name, double value,
                                int real) {
  char key[96];
  snprintf(key, sizeof key, "%s.%s", arch, name);
  if (real)
    put_key_f32(to, key, (float)value);
  else
    put_key_u32(to, key, (uint32_t)value);
}

/* The keys of a model but for general.architecture. */
#define MODEL_KEYS 9
static inline void put_model_keys(gguf_bytes *to, const char *arch) {
  put_arch_key(to, arch, "block_count", 1, 0);
  put_arch_key(to, arch, "embedding_length", 4, 0);
  put_arch_key(to, arch, "feed_forward_length", 4, 0);
  put_arch_key(to, arch, "context_length", 16, 0);
  put_arch_key(to, arch, "attention.head_count", 1, 0);
  put_arch_key(to, arch, "attention.head_count_kv", 1, 0);
  put_arch_key(to, arch, "attention.layer_norm_rms_epsilon", 1e-6, 1);
  put_arch_key(to, arch, "rope.freq_base", 10000, 1);
  put_key_text(to, "general.license", "mit");
}

/* Part `part` of `parts`, from 1; the vocabulary and all keys are in the first. */
static inline void make_model_part(gguf_bytes *to, const char *arch, const vocab_text *vocab,
                                   uint32_t part, uint32_t parts) {
  const char *const *names =
      strcmp(arch, "gemma3") == 0 ? model_gemma3_tensors : model_llama_tensors;
  uint32_t n = 0, cut = parts > 1 ? 5 : 0;
  uint64_t offset = 0;
  while (names[n])
    n++;
  uint32_t begin = part == 1 ? 0 : cut, end = part < parts ? cut : n;
  put_header(to, 3, end - begin,
             (part == 1 ? 1 + MODEL_KEYS + vocab_keys(vocab) : 0) + (parts > 1 ? 3u : 0));
  if (part == 1) {
    put_key_text(to, "general.architecture", arch);
    put_model_keys(to, arch);
    put_vocab(to, vocab);
  }
  if (parts > 1) {
    put_key_u32(to, "split.no", part - 1);
    put_key_u32(to, "split.count", parts);
    put_key_u32(to, "split.tensors.count", n);
  }
  for (uint32_t i = begin; i < end; i++) {
    put_tensor(to, names[i], 4, strstr(names[i], "norm") ? 0 : i ? 4 : 10, 0, offset);
    offset += strstr(names[i], "norm") ? 32 : i ? 64 : 160;
  }
  put_padding(to, 32);
  for (uint64_t i = 0; i < offset / 4; i++)
    put_u32(to, 0x3F800000u - (uint32_t)(i % 7 << 20)); /* from 0.25 to 1 */
}

static inline void make_model_gguf(gguf_bytes *to, const char *arch, const vocab_text *vocab) {
  make_model_part(to, arch, vocab, 1, 1);
}
#endif
