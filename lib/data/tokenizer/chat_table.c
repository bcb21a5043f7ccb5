/* chat_table: the chat templates that are known: a row each, and the hashes of the texts that the
 * row stands for.  Checked against transformers by golden/test_chat.c; what a row cannot say is in
 * chat_words.c. */
#include "data/tokenizer/chat.h"
#include <string.h>

#define BOS SMFT__CHAT_BOS
#define EOS SMFT__CHAT_EOS
#define ROLE SMFT__CHAT_ROLE

#define IM                                                                                         \
  { "<|im_start|>" ROLE "\n", "<|im_end|>\n" }
#define IM_SYSTEM(text) "<|im_start|>system\n" text "<|im_end|>\n"
#define IM_OPENING "<|im_start|>assistant\n"
#define METADATA "## Metadata\n\nKnowledge Cutoff Date: June 2025\n"
#define CHATML .system = IM, .user = IM, .answer = IM, .opening = IM_OPENING

#define HEADER                                                                                     \
  { "<|start_header_id|>" ROLE "<|end_header_id|>\n\n", "<|eot_id|>" }
#define HEADER_SYSTEM(day)                                                                         \
  "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday "    \
  "Date: " day "\n\n"
#define LLAMA3                                                                                     \
  .start = BOS, .system = HEADER, .user = HEADER, .answer = HEADER, .other = HEADER,               \
  .opening = "<|start_header_id|>assistant<|end_header_id|>\n\n"
#define TRIM_ALL (SMFT__CHAT_TRIM_USER | SMFT__CHAT_TRIM_ANSWER | SMFT__CHAT_TRIM_SYSTEM)

#define TURN                                                                                       \
  { "<start_of_turn>" ROLE "\n", "<end_of_turn>\n" }
#define GEMMA                                                                                      \
  .start = BOS, .system = TURN, .user = TURN, .other = TURN,                                       \
  .answer = {"<start_of_turn>model\n", "<end_of_turn>\n"}, .opening = "<start_of_turn>model\n",    \
  .bad_order = ORDER

#define ORDER "Conversation roles must alternate user/assistant/user/assistant/..."
#define ORDER_AFTER_SYSTEM                                                                         \
  "After the optional system message, conversation roles must alternate "                          \
  "user/assistant/user/assistant/..."
#define TWO_ROLES "Only user and assistant roles are supported!"
#define TWO_ROLES_AFTER_SYSTEM                                                                     \
  "Only user and assistant roles are supported, with the exception of an initial optional system " \
  "message!"
#define PHI(role)                                                                                  \
  { "<|" role "|>\n", "<|end|>\n" }
#define PHI3                                                                                       \
  .system = PHI("system"), .user = PHI("user"), .answer = PHI("assistant"),                        \
  .opening = "<|assistant|>\n", .closing = EOS

static const smft__chat_style styles[] = {
    {.name = "chatml", CHATML, .other = IM},
    {.name = "chatml-bos", CHATML, .other = IM, .start = BOS},
    {.name = "smollm2",
     CHATML,
     .other = IM,
     .no_system = IM_SYSTEM("You are a helpful AI assistant named SmolLM, trained by Hugging "
                            "Face")},
    {.name = "smollm3",
     .traits = SMFT__CHAT_REASONS | SMFT__CHAT_OVERRIDES,
     .first_system = {METADATA "Today Date: " SMFT__CHAT_DATE "\n", ""},
     .user = IM,
     .answer = IM,
     .opening = IM_OPENING,
     .no_thinking = "<think>\n\n</think>\n"},
    {.name = "smollm3-unsloth",
     .traits = SMFT__CHAT_REASONS,
     .first_system = {METADATA, "<|im_end|>\n"},
     .user = IM,
     .answer = IM,
     .opening = IM_OPENING,
     .no_thinking = "<think>\n\n</think>\n"},
    {.name = "llama2",
     .traits = SMFT__CHAT_SYSTEM_IN_FIRST | SMFT__CHAT_TRIM_MERGED | SMFT__CHAT_TRIM_USER |
               SMFT__CHAT_TRIM_ANSWER,
     .first_system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {BOS "[INST] ", " [/INST]"},
     .answer = {" ", " " EOS},
     .bad_order = ORDER},
    {.name = "llama3", .traits = TRIM_ALL, LLAMA3},
    {.name = "llama3-open", .traits = TRIM_ALL | SMFT__CHAT_ALWAYS_OPEN, LLAMA3},
    {.name = "llama3.1",
     .traits = TRIM_ALL | SMFT__CHAT_NO_TOOLS,
     LLAMA3,
     .first_system = {HEADER_SYSTEM("26 Jul 2024"), "<|eot_id|>"},
     .no_system = HEADER_SYSTEM("26 Jul 2024") "<|eot_id|>"},
    {.name = "llama3.2",
     .traits = TRIM_ALL | SMFT__CHAT_NO_TOOLS,
     LLAMA3,
     .first_system = {HEADER_SYSTEM(SMFT__CHAT_DAY), "<|eot_id|>"},
     .no_system = HEADER_SYSTEM(SMFT__CHAT_DAY) "<|eot_id|>"},
    {.name = "qwen1.5", CHATML, .other = IM, .no_system = IM_SYSTEM("You are a helpful assistant")},
    {.name = "qwen2", CHATML, .other = IM, .no_system = IM_SYSTEM("You are a helpful assistant.")},
    {.name = "qwen2.5",
     CHATML,
     .no_system = IM_SYSTEM("You are Qwen, created by Alibaba Cloud. You are a helpful "
                            "assistant.")},
    {.name = "qwen3",
     .traits = SMFT__CHAT_THINKS,
     CHATML,
     .no_thinking = "<think>\n\n</think>\n\n"},
    {.name = "qwen3-2507", CHATML},
    {.name = "mistral-v0.1",
     .start = BOS,
     .user = {"[INST] ", " [/INST]"},
     .answer = {"", EOS " "},
     .bad_order = ORDER,
     .bad_role = TWO_ROLES},
    {.name = "mistral-v0.2",
     .start = BOS,
     .user = {"[INST] ", " [/INST]"},
     .answer = {"", EOS},
     .bad_order = ORDER,
     .bad_role = TWO_ROLES},
    {.name = "mistral-v0.3",
     .start = BOS,
     .user = {" [INST] ", " [/INST]"},
     .answer = {" ", " " EOS}},
    {.name = "mistral-v1",
     .traits = SMFT__CHAT_SYSTEM_IN_FIRST,
     .start = BOS,
     .first_system = {"", "\n\n"},
     .user = {" [INST] ", " [/INST]"},
     .answer = {" ", EOS},
     .bad_order = ORDER_AFTER_SYSTEM,
     .bad_role = TWO_ROLES_AFTER_SYSTEM},
    {.name = "mistral-v3",
     .traits = SMFT__CHAT_SYSTEM_IN_LAST | SMFT__CHAT_TRIM_ANSWER,
     .start = BOS,
     .first_system = {"", "\n\n"},
     .user = {"[INST] ", "[/INST]"},
     .answer = {" ", EOS},
     .bad_order = ORDER_AFTER_SYSTEM,
     .bad_role = TWO_ROLES_AFTER_SYSTEM},
    {.name = "mistral-nemo",
     .traits = SMFT__CHAT_SYSTEM_IN_LAST,
     .start = BOS,
     .first_system = {"", "\n\n"},
     .user = {"[INST]", "[/INST]"},
     .answer = {"", EOS},
     .bad_order = ORDER_AFTER_SYSTEM,
     .bad_role = TWO_ROLES_AFTER_SYSTEM},
    {.name = "mistral-v7",
     .start = BOS,
     .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .user = {"[INST] ", "[/INST]"},
     .answer = {" ", EOS},
     .bad_role = "Only user, system and assistant roles are supported!"},
    {.name = "gemma2", .traits = TRIM_ALL, GEMMA, .bad_system = "System role not supported"},
    {.name = "gemma3",
     .traits = TRIM_ALL | SMFT__CHAT_SYSTEM_IN_FIRST,
     GEMMA,
     .first_system = {"", "\n\n"}},
    {.name = "zephyr",
     .system = {"<|system|>\n", EOS "\n"},
     .user = {"<|user|>\n", EOS "\n"},
     .answer = {"<|assistant|>\n", EOS "\n"},
     .opening = "<|assistant|>\n"},
    {.name = "olmo2",
     .start = BOS,
     .system = {"<|system|>\n", "\n"},
     .user = {"<|user|>\n", "\n"},
     .answer = {"<|assistant|>\n", EOS "\n"},
     .last_after = EOS,
     .opening = "<|assistant|>\n"},
    {.name = "phi3", PHI3},
    {.name = "phi3.5", .traits = SMFT__CHAT_NO_EMPTY_SYSTEM, PHI3},
};

/* SHA-256 of a template's text without its last newline */
static const struct {
  const char *name, *hash;
} known[] = {
    {"chatml", "153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3"},
    {"chatml", "58c1a1f04baa7adaeaba1f90267c3d57d9396f0c1f0129bdde9e76d3c6784af7"},
    {"chatml", "fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e"},
    {"chatml-bos", "a805e50fed68938a076b07e2e602639611b50b1ced0e50f11eb92f1ba25be4dc"},
    {"chatml-bos", "f42d04ffb2e487fa9c501ab886afe8fce0822f9874a9ca4284ba57e2a686a56a"},
    {"smollm2", "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"},
    {"smollm3", "3e0e275a527f249670056e0078e474eadbdd007c134b4fdfae5a7b3089702814"},
    {"smollm3", "3982464ecf49b0b38514fec4a5c22273fe70b7259480735bf13e225e4b64bec2"},
    {"smollm3-unsloth", "cbc1d50f777ec029b33f53b23d7a224cceb65bcc8c7fac54946dbb56514e4d1e"},
    {"llama2", "e8d5b5a546d3f19df16a5320c614fab05bdc4edd50e850f1afd947b503ea41cf"},
    {"llama2", "ea2472f29dbd93c3eb696795f6403228fcc4b775518869c771f83fbae5c11dbf"},
    {"llama3", "ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122"},
    {"llama3-open", "b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2"},
    {"llama3.1", "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7"},
    {"llama3.2", "d82792f95932f1c9cef5c4bd992f171225e3bf8c7b609b4557c9e1ec96be819f"},
    {"qwen1.5", "af9c0233881b083b52ff773580215222b5440ac3d0beeeca99b76329b048f8db"},
    {"qwen2", "793202280c0910ab26bc6eb57c8212c2417324c6d8c4efd0d10d59092ab3e3eb"},
    {"qwen2.5", "55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a"},
    {"qwen3", "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5"},
    {"qwen3", "a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8"},
    {"qwen3-2507", "64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326"},
    {"mistral-v0.1", "7e995b379ec01747807246483647cd99030abf331653f1119e16d7ac041a3495"},
    {"mistral-v0.2", "26a59556925c987317ce5291811ba3b7f32ec4c647c400c6cc7e3a9993007ba7"},
    {"mistral-v0.3", "af6311f48482378c1163ba7183c0cefa317fadaa6e0172a167c68d6e238368a8"},
    {"mistral-v1", "bbc58aad99454df60138be9530c9601a0adfe3d8932cda975e1f10b2410ddc51"},
    {"mistral-v3", "cafb64e0e9e5fd2503054b3479593fae39cbdfd52338ce8af9bb4664a8eb05bd"},
    {"mistral-nemo", "e7deee034838db2bfc7487788a3013d8a307ab69f72f3c54a85f06fd76007d4e"},
    {"mistral-nemo", "c7a94f505398612940c13ee95070d0d152bcb7b4afbd74a06ff148a82a02851c"},
    {"mistral-v7", "3c4ad5fa60dd8c7ccdf82fa4225864c903e107728fcaf859fa6052cb80c92ee9"},
    {"gemma2", "ecd6ae513fe103f0eb62e8ab5bfa8d0fe45c1074fa398b089c93a7e70c15cfd6"},
    {"gemma3", "8d9e3a3c114fb2053ec500184677af4f7e5f8ec2582443cd535834e68b3ade29"},
    {"zephyr", "66291cf0045c2425a3a667cf3cbb7af2b11f09e025c02f97245323ab79119362"},
    {"olmo2", "fe689ffbd6a4e2d0532d7480696b065b10e0e1eff3f9b9fc4bea415761e4bf4a"},
    {"phi3", "dcaee66df77bfbb789ec541fe713218da30225a526f1db97138fc39ee6dc56aa"},
    {"phi3.5", "78d976a442bcde2f0be15aafbb8e3050e1104f86732266f68403251b89982a90"},
};

#define N_STYLES ((int32_t)(sizeof styles / sizeof *styles))

const smft__chat_style *smft__chat_style_named(const char *name) {
  for (int32_t i = 0; i < N_STYLES; i++)
    if (strcmp(styles[i].name, name) == 0)
      return &styles[i];
  return NULL;
}

const smft__chat_style *smft__chat_style_of(const char *hash) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].hash, hash) == 0)
      return smft__chat_style_named(known[i].name);
  return NULL;
}

smft_status smft__chat_style_names(smft__buffer *out) {
  for (int32_t i = 0; i < N_STYLES; i++)
    SMFT__TRY(smft__buffer_printf(out, "%s%s", i ? ", " : "", styles[i].name));
  return SMFT_OK;
}
