/* fuzz_chat: any conversation, split at every 0: flags and day (the first two bytes), a renderer's
 * name, a chat template, tokenizer_config.json, then role and content in turn.  An empty name is
 * the tokenizer's own; the templates stand beside a small tokenizer. */
#include "data/tokenizer/parts.h"
#include "fuzz_text.h"

enum { MOST_MESSAGES = 16 };
typedef struct talk {
  smft_chat_options options;
  smft_message messages[MOST_MESSAGES];
  int64_t n;
} talk;

/* NUL-terminated; given back by free_parts. */
static char *parts[2 * MOST_MESSAGES + 4];
static size_t n_parts;
static const char *next_part(const uint8_t **data, size_t *size) {
  size_t length = 0;
  const char *part = fuzz_part(data, size, &length);
  if (!part || n_parts == sizeof parts / sizeof *parts)
    return NULL;
  char *copy = malloc(length + 1);
  if (!copy)
    give_up("no memory");
  memcpy(copy, part, length);
  copy[length] = '\0';
  return parts[n_parts++] = copy;
}

static void free_parts(void) {
  while (n_parts > 0)
    free(parts[--n_parts]);
}

/* Empty: no such file. */
static void write_part(const char *name, const char *text) {
  fuzz_write(name, text && *text ? text : NULL, text ? strlen(text) : 0);
}

static void read_talk(talk *t, const uint8_t *data, size_t size) {
  *t = (talk){.options = SMFT_CHAT_OPTIONS_INIT};
  t->options.flags = size > 0 ? data[0] & 7u : 0;
  t->options.date = size > 1 ? 20260100 + data[1] % 40 : 0;
  data = size > 2 ? data + 2 : NULL;
  size -= size > 2 ? 2 : size;
  t->options.renderer = next_part(&data, &size);
  if (t->options.renderer && !*t->options.renderer)
    t->options.renderer = NULL;
  write_part("chat_template.jinja", next_part(&data, &size));
  write_part("tokenizer_config.json", next_part(&data, &size));
  while (t->n < MOST_MESSAGES && data) {
    smft_message *message = &t->messages[t->n];
    message->role = next_part(&data, &size);
    message->content = next_part(&data, &size);
    t->n += message->content != NULL;
  }
}

static void check_info(const smft_tokenizer *tokenizer) {
  smft_chat_info info = SMFT_CHAT_INFO_INIT;
  MUST(smft_tokenizer_chat_info(tokenizer, &info));
  if (info.template_text &&
      (strlen(info.hash) != 64 ||
       !smft__utf8_valid(info.template_text, strlen(info.template_text), NULL)))
    give_up("a template without a hash, or not UTF-8");
  if (info.renderer && !info.template_text)
    give_up("a renderer for no template");
}

static void render(const smft_tokenizer *tokenizer, const talk *t) {
  static int32_t ids[FUZZ_IDS];
  int64_t n = 0, asked = 0;
  size_t length = 0;
  smft_status status =
      smft_tokenizer_chat(tokenizer, t->messages, t->n, &t->options, NULL, 0, &asked);
  CHECK(status, SMFT_E_NOT_FOUND, SMFT_E_UNSUPPORTED, SMFT_E_INVALID, SMFT_E_ENCODING);
  if (status != SMFT_OK || asked > FUZZ_IDS)
    return;
  MUST(smft_tokenizer_chat(tokenizer, t->messages, t->n, &t->options, ids, FUZZ_IDS, &n));
  if (n != asked)
    give_up("the number of ids differs");
  const char *text = fuzz_decode(tokenizer, ids, n, 0, &length);
  if (text)
    fuzz_stream(tokenizer, ids, n, 0, text, length);
}

/* What a learner makes of a question and its answer. */
static void ask(const smft_tokenizer *tokenizer, const talk *t) {
  smft_ctx *ctx = fuzz_ctx();
  smft__ids given = {ctx, NULL, 0, 0}, reply = {ctx, NULL, 0, 0};
  int ends = 0;
  smft_status status = smft__tokenizer_ask(tokenizer, &t->options, t->messages[0].role,
                                           t->messages[0].content, &given, &reply, &ends);
  CHECK(status, SMFT_E_NOT_FOUND, SMFT_E_UNSUPPORTED, SMFT_E_INVALID, SMFT_E_ENCODING);
  smft__ids_free(&given);
  smft__ids_free(&reply);
}

/* ChatML's signs, a special token that is looked for in normalized text, every printable character,
 * and bytes. */
static smft_tokenizer *make_tokenizer(void) {
  static char text[16384];
  smft_tokenizer *tokenizer = NULL;
  int n = snprintf(text, sizeof text,
                   "{\"added_tokens\":[{\"id\":400,\"content\":\"<|im_start|>\",\"special\":true,"
                   "\"normalized\":false},{\"id\":401,\"content\":\"<|im_end|>\",\"special\":true,"
                   "\"normalized\":false},{\"id\":402,\"content\":\"<s>\",\"special\":true,"
                   "\"normalized\":true}],\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,"
                   "\"unk_token\":\"?\",\"merges\":[],\"vocab\":{\"?\":0");
  for (int i = 0; i < 256; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, ",\"<0x%02X>\":%d", i, i + 1);
  for (char c = ' '; c < 127; c++)
    if (c != '?')
      n += snprintf(text + n, sizeof text - (size_t)n, ",\"%s%c\":%d",
                    c == '"' || c == '\\' ? "\\" : "", c, c + 257);
  n += snprintf(text + n, sizeof text - (size_t)n,
                "}},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
                "{\"type\":\"Fuse\"}]}}");
  MUST(smft_tokenizer_load(&tokenizer, fuzz_ctx(), fuzz_write("tokenizer.json", text, (size_t)n)));
  return tokenizer;
}

/* The one tokenizer, with what stands beside it read for every input. */
static void run(const uint8_t *data, size_t size) {
  static smft_tokenizer *alone;
  talk t;
  if (!alone)
    alone = make_tokenizer();
  smft_tokenizer tokenizer = *alone;
  read_talk(&t, data, size);
  smft_status status = smft__chat_read(&tokenizer.chat, fuzz_ctx(), fuzz_path(""));
  CHECK(status, SMFT_E_FORMAT, SMFT_E_ENCODING);
  if (status == SMFT_OK) {
    check_info(&tokenizer);
    render(&tokenizer, &t);
    if (t.n > 0)
      ask(&tokenizer, &t);
  }
  smft__chat_free(&tokenizer.chat, fuzz_ctx());
  free_parts();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_run(run, data, size);
  return 0;
}
