/* gguf_names: the tables of names. */
#include "data/gguf_names.h"

#include <stdio.h>
#include <string.h>

/* Mistral is "llama", too: gguf_config.c tells them apart. */
static const smft__gguf_arch archs[] = {
    {"llama", "llama", "LlamaForCausalLM", SMFT__GGUF_LLAMA},
    {"smollm3", "smollm3", "SmolLM3ForCausalLM", SMFT__GGUF_SMOLLM3},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", SMFT__GGUF_QWEN2},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", SMFT__GGUF_QWEN3},
    {"gemma3", "gemma3_text", "Gemma3ForCausalLM", SMFT__GGUF_GEMMA3},
};
#define N_ARCHS (sizeof archs / sizeof *archs)

typedef struct name_pair {
  const char *gguf, *hf;
} name_pair;

static const name_pair of_model[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

/* Behind "blk.N." and "model.layers.N.". */
static const name_pair of_block[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
};

/* Gemma 3 has norms behind attention and FFN, too: its names come first. */
static const name_pair of_gemma[] = {
    {"post_attention_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_norm.weight", "pre_feedforward_layernorm.weight"},
    {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

const smft__gguf_arch *smft__gguf_arch_find(const char *text, int64_t length) {
  for (size_t i = 0; i < N_ARCHS; i++)
    if ((int64_t)strlen(archs[i].name) == length &&
        memcmp(archs[i].name, text, (size_t)length) == 0)
      return &archs[i];
  return NULL;
}

const smft__gguf_arch *smft__gguf_arch_of(const char *model_type) {
  for (size_t i = 0; i < N_ARCHS; i++)
    if (strcmp(archs[i].model_type, model_type) == 0)
      return &archs[i];
  return strcmp(model_type, "mistral") == 0 ? &archs[0] : NULL;
}

void smft__gguf_arch_list(char *text, int64_t size) {
  int64_t used = 0;
  for (size_t i = 0; i < N_ARCHS && used < size; i++)
    used += snprintf(text + used, (size_t)(size - used), i ? ", \"%s\"" : "\"%s\"", archs[i].name);
}

static const char *look_up(const name_pair *table, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(table[i].gguf, name) == 0)
      return table[i].hf;
  return NULL;
}

/* What is behind "blk.N.", NULL where that is not in front.  Numbers as llama.cpp writes them: no
 * leading zero, so that two names never become one. */
static const char *behind_block(const char *name) {
  const char *at = name + 4;
  if (strncmp(name, "blk.", 4) != 0 || *at < '0' || *at > '9' || (*at == '0' && at[1] != '.'))
    return NULL;
  while (*at >= '0' && *at <= '9')
    at++;
  return *at == '.' ? at + 1 : NULL;
}

void smft__gguf_hf_name(const smft__gguf_arch *arch, const char *name, char hf[SMFT__HF_NAME]) {
  const char *rest = behind_block(name), *found = NULL;
  if (rest && arch->kind == SMFT__GGUF_GEMMA3)
    found = look_up(of_gemma, COUNT(of_gemma), rest);
  if (rest && !found)
    found = look_up(of_block, COUNT(of_block), rest);
  if (found)
    snprintf(hf, SMFT__HF_NAME, "model.layers.%.*s%s", (int)(rest - name - 4), name + 4, found);
  else
    found = look_up(of_model, COUNT(of_model), name);
  if (!rest || !found)
    snprintf(hf, SMFT__HF_NAME, "%s", found ? found : name);
}

static const char *look_back(const name_pair *table, size_t n, const char *hf) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(table[i].hf, hf) == 0)
      return table[i].gguf;
  return NULL;
}

int smft__gguf_name(const smft__gguf_arch *arch, const char *hf, char *name, int64_t size) {
  static const char layers[] = "model.layers.";
  const char *number = hf + strlen(layers), *rest, *found = NULL;
  if (strncmp(hf, layers, strlen(layers)) != 0) {
    found = look_back(of_model, COUNT(of_model), hf);
    return found && snprintf(name, (size_t)size, "%s", found) < size;
  }
  rest = strchr(number, '.');
  if (rest && arch->kind == SMFT__GGUF_GEMMA3)
    found = look_back(of_gemma, COUNT(of_gemma), rest + 1);
  if (rest && !found)
    found = look_back(of_block, COUNT(of_block), rest + 1);
  return found &&
         snprintf(name, (size_t)size, "blk.%.*s.%s", (int)(rest - number), number, found) < size;
}
