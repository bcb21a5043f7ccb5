/* sequences: see sequences.h. */
#include "sequences.h"
#include "program.h"
#include <stdlib.h>
#include <string.h>

static void room_for(sequences *s, int64_t more_ids) {
  if (s->n + 1 > s->room) {
    s->room = 2 * s->room + 16;
    s->lengths = need(realloc(s->lengths, (size_t)s->room * sizeof *s->lengths));
    s->begins = need(realloc(s->begins, (size_t)s->room * sizeof *s->begins));
  }
  if (s->n_ids + more_ids > s->room_ids) {
    s->room_ids = 2 * (s->n_ids + more_ids);
    s->ids = need(realloc(s->ids, (size_t)s->room_ids * sizeof *s->ids));
    s->weights = need(realloc(s->weights, (size_t)s->room_ids * sizeof *s->weights));
  }
}

static void begin(sequences *s) {
  room_for(s, 1);
  s->begins[s->n] = s->n_ids;
}

static void end(sequences *s) {
  s->lengths[s->n] = s->n_ids - s->begins[s->n];
  s->n++;
}

/* Appends a piece of text to the sequence that is being made. */
static void piece(sequences *s, const smft_tokenizer *tokenizer, const char *text, uint32_t flags,
                  float weight) {
  /* never more tokens than bytes, plus the special ones */
  int64_t n = 0, most = (int64_t)strlen(text) + 8;
  room_for(s, most);
  check(smft_tokenizer_encode(tokenizer, text, strlen(text), flags | SMFT_ENCODE_NO_PARSE,
                              s->ids + s->n_ids, most, &n),
        "encoding");
  for (int64_t i = 0; i < n; i++)
    s->weights[s->n_ids + i] = weight;
  s->n_ids += n;
}

void sequences_add(sequences *s, const smft_tokenizer *tokenizer, const atlas_text *text,
                   float prompt_weight) {
  begin(s);
  piece(s, tokenizer, text->prompt, SMFT_ENCODE_PROMPT, prompt_weight);
  piece(s, tokenizer, text->answer, SMFT_ENCODE_CONTINUE, 1);
  piece(s, tokenizer, text->end, SMFT_ENCODE_CONTINUE, 1);
  end(s);
}

void sequences_add_line(sequences *s, const smft_tokenizer *tokenizer, const char *line,
                        float weight) {
  begin(s);
  piece(s, tokenizer, line, SMFT_ENCODE_PROMPT, weight);
  piece(s, tokenizer, "\n", SMFT_ENCODE_CONTINUE, weight);
  end(s);
}

void sequences_copy(sequences *to, const sequences *from, int64_t i) {
  int64_t n = from->lengths[i], at = from->begins[i];
  room_for(to, n);
  begin(to);
  memcpy(to->ids + to->n_ids, from->ids + at, (size_t)n * sizeof *to->ids);
  memcpy(to->weights + to->n_ids, from->weights + at, (size_t)n * sizeof *to->weights);
  to->n_ids += n;
  end(to);
}

void sequences_clear(sequences *s) { s->n = s->n_ids = 0; }

void sequences_free(sequences *s) {
  free(s->ids);
  free(s->weights);
  free(s->lengths);
  free(s->begins);
  memset(s, 0, sizeof *s);
}
