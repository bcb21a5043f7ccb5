/* pre: the table.  The patterns are those of the models' own tokenizers as llama.cpp adapts them: a
 * GGUF file means llama.cpp's reading of it, and where the two differ (tekken, gpt-4o: what counts
 * as upper and lower case beyond ASCII) that one is here.  Does not own: cutting (split.c), the
 * syntax (translate.c). */
#include "data/tokenizer/pre.h"
#include <string.h>

#define SHORTENED "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* so many digits in a piece */
#define LLAMA3(digits)                                                                             \
  SHORTENED "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits "| "                                    \
            "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
/* letters that are not a to z, and those that are not A to Z */
#define UPPER "(?:(?=\\p{L})[^a-z])"
#define LOWER "(?:(?=\\p{L})[^A-Z])"
#define CASED(shortened, digits)                                                                   \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" shortened "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER \
  "*" shortened "|\\p{N}" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES

static const smft__pre kinds[] = {
    {" default ", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]", NULL}, 0, 0},
    {" llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
     {LLAMA3("{1,3}"), NULL},
     1,
     1},
    {" dbrx smaug-bpe glm4 chatglm-bpe ", {LLAMA3("{1,3}"), NULL}, 0, 0},
    {" gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum ",
     {GPT2, NULL},
     0,
     0},
    {" smollm starcoder refact command-r codeshell exaone minerva-7b ",
     {"\\p{N}", GPT2, NULL},
     0,
     0},
    {" qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan grok-2 ", {LLAMA3(""), NULL}, 0, 0},
    {" qwen35 ",
     {SHORTENED "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES,
      NULL},
     0,
     0},
    {" tekken ", {CASED("", ""), NULL}, 1, 1},
    {" gpt-4o llama4 kanana2 ", {CASED(SHORTENED "?", "{1,3}"), NULL}, 0, 0},
    {" falcon ", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]", NULL}, 0, 0},
    {" deepseek-coder ",
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+",
      "(?:(?!\\s)[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}])+", "\\p{N}"},
     0,
     0},
    {" deepseek-v3 hunyuan-dense ",
     {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
      "[!\"#$%&'()*+,\\-./"
      ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}"
      "]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES,
      NULL},
     0,
     0},
    {" seed-coder ",
     {SHORTENED "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES, NULL},
     0,
     0},
    {" bailingmoe bailingmoe2 llada-moe ",
     {"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
      NULL},
     0,
     0},
};

smft_status smft__pre_find(const smft__pre **out, const char *name, int64_t length) {
  char word[64];
  if (length > 0 && length < 60 && !memchr(name, ' ', (size_t)length) &&
      !memchr(name, 0, (size_t)length)) {
    word[0] = ' ';
    memcpy(word + 1, name, (size_t)length);
    memcpy(word + 1 + length, " ", 2);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
      if (strstr(kinds[i].names, word)) {
        *out = &kinds[i];
        return SMFT_OK;
      }
  }
  return smft__fail(SMFT_E_UNSUPPORTED, "tokenizer.ggml.pre \"%.*s\" is not supported",
                    (int)(length < 60 ? length : 60), name);
}
