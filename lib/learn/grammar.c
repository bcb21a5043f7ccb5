/* grammar: an English question of one sentence turned into statements that its answer completes.
 * Each rule puts subject, verb and rest in a statement's order, with the answer last; where a rule
 * is not sure, it gives none: no statement is better than a wrong one.  Does not own: what the
 * clause is made of (clause.c), what frames are made of a statement (frames.c). */
#include "learn/grammar.h"
#include "base/utf8.h"
#include "learn/answers.h"
#include "learn/clause.h"
#include <string.h>
#include <utf8proc.h>

/* ---- tables -------------------------------------------------------------- */

static const char orders[] = " name give state identify ";
/* "Where was Emma ...?": in; others may be at or on */
static const char in_place[] = " born located situated based set raised filmed headquartered made "
                               "written published built founded discovered invented produced "
                               "created found established formed ";
static const char place_nouns[] = " city country town village state continent province county "
                                  "region place municipality district ";
static const char time_nouns[] = " year date day month decade century ";
/* "What genre is Emma?" */
static const char traits[] = " genre nationality color colour religion size age gender sex breed "
                             "shape position rank currency continent ";

/* ---- text ---------------------------------------------------------------- */

typedef struct line { /* being written; too much makes it none */
  char *text;
  size_t n;
} line;

static void put(line *out, const char *text, size_t n) {
  int spaced = out->n > 0 && n > 0;
  if (out->n + n + (size_t)spaced >= SMFT__GRAMMAR_BYTES) {
    out->n = SMFT__GRAMMAR_BYTES; /* and stays so */
    return;
  }
  if (spaced)
    out->text[out->n++] = ' ';
  memcpy(out->text + out->n, text, n);
  out->n += n;
}

static void put_text(line *out, const char *text) { put(out, text, strlen(text)); }

static void put_words(line *out, const smft__sentence *s, int32_t begin, int32_t end) {
  if (begin < end)
    put(out, s->text + s->words[begin].begin,
        (size_t)(s->words[end - 1].end - s->words[begin].begin));
}

static void end_line(line *out) { out->text[out->n < SMFT__GRAMMAR_BYTES ? out->n : 0] = '\0'; }

/* The first letter in upper or lower case, where that takes as many bytes. */
static void set_first(char *text, int upper) {
  uint32_t code = 0;
  char other[4];
  int32_t n = smft__utf8_next(text, strlen(text), &code);
  utf8proc_int32_t to =
      upper ? utf8proc_toupper((utf8proc_int32_t)code) : utf8proc_tolower((utf8proc_int32_t)code);
  if (n > 0 && smft__utf8_put((uint32_t)to, other) == n)
    memcpy(text, other, (size_t)n);
}

/* As a sentence begins; "eBay" stays. */
static void capitalise(char *text) {
  size_t n = strcspn(text, " ");
  for (size_t i = 1; i < n; i++)
    if (text[i] >= 'A' && text[i] <= 'Z')
      return;
  set_first(text, 1);
}

/* ---- what is written ----------------------------------------------------- */

/* Subject [begin, split), verb, the rest [tail, end), and what joins the answer to it: a statement;
 * with the words before the auxiliary, an indirect question. */
static void write_core(smft__clause *c, int32_t split, const char *verb, int32_t tail,
                       const char *joiner) {
  line statement = {c->out->statements[0], 0}, indirect = {c->out->indirect, 0};
  if (c->short_wh)
    put_text(&indirect, c->short_wh);
  else
    put_words(&indirect, c->s, 0, c->after);
  line *both[] = {&statement, &indirect};
  for (int i = 0; i < 2; i++) {
    put_words(both[i], c->s, c->begin, split);
    put_text(both[i], verb);
    put_words(both[i], c->s, tail, c->end);
    if (i == 0)
      put_text(both[i], joiner);
    end_line(both[i]);
  }
  capitalise(c->out->statements[0]);
  set_first(c->out->indirect, 0);
}

/* "The genre of Emma is", "The sport that he plays is"; what is in front of the rest's words. */
static void write_noun(smft__clause *c, const char *link, int32_t split, const char *verb,
                       int32_t tail, const char *be) {
  line out = {c->out->statements[0], 0};
  put_text(&out, c->wh == SMFT__HOW_MANY ? "The number of" : "The");
  put_words(&out, c->s, c->noun, c->after);
  put_text(&out, link);
  put_words(&out, c->s, c->begin, split);
  put_text(&out, verb);
  put_words(&out, c->s, tail, c->end);
  put_text(&out, be);
  end_line(&out);
}

/* Words [begin, end) are what the question is about, unless a name is. */
static void set_topic(smft__clause *c, int32_t begin, int32_t end) {
  const smft__text_word *words = c->s->words;
  if (c->s->n_subject == 0 && begin < end) {
    c->out->topic = words[begin].begin;
    c->out->n_topic = words[end - 1].bare - words[begin].begin;
  }
}

/* ---- "What is the author of Emma", "Name the author of Emma" ------------- */

/* A name, or "the" and one. */
static int is_named(const smft__clause *c, int32_t begin, int32_t end) {
  return smft__all_names(c, begin + (smft__clause_has(c, begin, " the ") ? 1 : 0), end);
}

/* "Emma's author" of "the author of Emma". */
static void put_owned(smft__clause *c, line *out, int32_t of) {
  put_words(out, c->s, of + 1, c->end);
  if (out->n + 2 < SMFT__GRAMMAR_BYTES) {
    memcpy(out->text + out->n, "'s", 2);
    out->n += 2;
  }
  put_words(out, c->s, c->begin + 1, of);
}

/* "The author of Emma" of "Emma's author". */
static void put_of(smft__clause *c, line *out, int32_t owner) {
  int32_t first = c->s->words[c->begin].begin;
  put_text(out, "The");
  put_words(out, c->s, owner + 1, c->end);
  put_text(out, "of");
  put(out, c->s->text + first, (size_t)(c->s->words[owner].bare - first));
}

/* The other way to say whose. */
static void write_owner(smft__clause *c, const char *be) {
  int32_t owner = smft__owner_in(c, c->begin, c->end), of = -1;
  line out = {c->out->statements[1], 0};
  for (int32_t i = c->begin + 2; i + 1 < c->end && of < 0; i++)
    if (smft__clause_has(c, i, " of ") && is_named(c, i + 1, c->end))
      of = i;
  if (owner >= c->begin && is_named(c, c->begin, owner + 1) && c->end - owner <= 4 &&
      !smft__all_names(c, owner + 1, c->end))
    put_of(c, &out, owner);
  else if (owner < 0 && of >= 0 && of - c->begin <= 4 && smft__clause_has(c, c->begin, " the "))
    put_owned(c, &out, of);
  else
    return;
  put_text(&out, be);
  end_line(&out);
  capitalise(c->out->statements[1]);
}

static int32_t find_last(const smft__clause *c, int32_t end, const char *word) {
  int32_t found = -1;
  for (int32_t i = c->begin; i < end; i++)
    found = smft__clause_has(c, i, word) ? i : found;
  return found;
}

/* "the author of emma", "emma's author", "the label of Un singe en hiver". */
static void set_owner_topic(smft__clause *c) {
  const smft__sentence *s = c->s;
  int32_t owner = smft__owner_in(c, c->begin, c->end), from;
  int32_t of = find_last(c, c->end - 1, " of "), named_to = s->subject + s->n_subject;
  if (s->n_subject == 0 && owner >= 0) {
    from = find_last(c, owner, " of ") + 1;
    set_topic(c, from > 0 ? from : c->begin, owner + 1);
    return;
  }
  if (of < 0 || smft__clause_has(c, of + 1, " all "))
    return;
  for (int32_t i = of + 1; i < c->end; i++)
    if (smft__clause_has(c, i, smft__prepositions) ||
        smft__clause_has(c, i, " that which who and "))
      return;
  if (s->n_subject == 0 ||
      (s->words[of + 1].begin == s->subject && s->words[c->end - 1].bare > named_to)) {
    c->out->topic = s->words[of + 1].begin;
    c->out->n_topic = s->words[c->end - 1].bare - c->out->topic;
  }
}

static int is_copula(smft__clause *c) {
  int32_t end = c->end; /* "the star that Emma is part of": its last word is the phrase's own */
  end -= smft__clause_has(c, end - 1, smft__prepositions) && smft__has_relative(c, c->begin, end)
             ? 1
             : 0;
  if (!c->be || c->prep >= 0 || smft__has_noun(c) || (c->wh != SMFT__WHAT && c->wh != SMFT__WHO) ||
      !smft__is_phrase(c, c->begin, end))
    return 0;
  write_core(c, c->end, c->be, c->end, "");
  write_owner(c, c->be);
  set_owner_topic(c);
  return 1;
}

/* ---- "Where was Emma written", "What is Emma known for" ------------------ */

/* What joins the answer to "Emma was written"; NULL: nothing does. */
static const char *join_predicate(const smft__clause *c, int32_t predicate, char joiner[32]) {
  int32_t last = c->end - 1;
  const smft__text_word *prep = c->prep >= 0 ? &c->s->words[c->prep] : NULL;
  int stranded = smft__clause_has(c, last, smft__prepositions), bare = predicate == c->end;
  if (prep && !stranded && prep->end - prep->begin < 32) {
    memcpy(joiner, c->s->text + prep->begin, (size_t)(prep->end - prep->begin));
    joiner[prep->end - prep->begin] = '\0';
    joiner[0] = (char)(joiner[0] | 0x20); /* ASCII letters */
    return joiner;
  }
  if (prep || (stranded && c->wh == SMFT__WHEN))
    return NULL;
  if (stranded)
    return "";
  if (c->wh == SMFT__WHEN || (c->wh == SMFT__WHAT && smft__has_noun(c) && !bare &&
                              smft__sentence_has(c->s, c->after - 1, time_nouns)))
    return smft__before_time(c->answer);
  if ((c->wh == SMFT__WHERE && (bare || smft__clause_has(c, last, in_place))) ||
      (smft__has_noun(c) && smft__clause_has(c, last, in_place) &&
       smft__sentence_has(c->s, c->after - 1, place_nouns)))
    return smft__before_place(c->answer);
  return c->wh == SMFT__WHAT && !smft__has_noun(c) && smft__clause_has(c, last, smft__named) ? ""
                                                                                             : NULL;
}

/* Where the predicate at the clause's end begins: "known for", "first published", "in". */
static int32_t find_last_predicate(const smft__clause *c) {
  int32_t at = c->end, last = c->end - 1;
  if (smft__clause_has(c, last, smft__prepositions))
    at = last--;
  if (smft__is_predicate(c, last))
    at = last--;
  if (at < c->end && smft__clause_has(c, last, smft__adverbs))
    at = last;
  int sure =
      at < c->end && smft__is_predicate(c, at + (smft__clause_has(c, at, smft__adverbs) ? 1 : 0));
  return sure || (at > c->begin && c->s->words[at - 1].is_name) ? at : -1;
}

/* The same, or with an object behind it: "awarded the Nobel Prize"; -1: not sure. */
static int32_t find_predicate(const smft__clause *c) {
  int32_t at = find_last_predicate(c);
  for (int32_t i = c->begin + 1; at == c->end && i < c->end; i++)
    if (smft__is_predicate(c, i))
      at = smft__is_tail(c, i + 1) ? i : -1;
    else if (smft__ends_lower(c, i, "ed"))
      at = -1;
  return at > 0 && smft__is_phrase(c, c->begin, at) && !smft__has_relative(c, c->begin, at) ? at
                                                                                            : -1;
}

static int is_predication(smft__clause *c) {
  char buffer[32];
  int32_t at = c->be ? find_predicate(c) : -1;
  if (at < 0)
    return 0;
  int bare = at == c->end, noun_only = c->wh == SMFT__WHAT && smft__has_noun(c) && c->prep < 0;
  if (bare && noun_only && smft__sentence_has(c->s, c->after - 1, traits)) {
    write_core(c, c->end, c->be, c->end, "");
    write_noun(c, "of", c->end, c->be, c->end, "");
    set_topic(c, c->begin, c->end);
    return 1;
  }
  const char *joiner = join_predicate(c, at, buffer);
  if (!joiner || (bare && c->wh != SMFT__WHERE && c->wh != SMFT__WHEN && c->prep < 0))
    return 0;
  write_core(c, at, c->be, at, joiner);
  set_topic(c, c->begin, at);
  return 1;
}

/* ---- "When did she die", "What sport does he play" ----------------------- */

static int32_t find_main_verb(const smft__clause *c, smft__verb *verb) {
  for (int32_t i = c->begin + 1; i < c->end; i++) {
    int32_t subject_end =
        i - (smft__clause_has(c, i - 1, smft__adverbs) && i - 1 > c->begin ? 1 : 0);
    if (smft__verb_at(c->s, i, SMFT__BASE, verb) && smft__is_tail(c, i + 1) &&
        (smft__is_phrase(c, c->begin, subject_end) ||
         (strcmp(c->does, "do") == 0 && i == c->begin + 1)))
      return i;
  }
  return -1;
}

/* What joins the answer to "she died"; NULL: it is no place or time that can be. */
static const char *join_verb(const smft__clause *c, const smft__verb *verb, int32_t v,
                             char joiner[32]) {
  int stranded = smft__clause_has(c, c->end - 1, smft__prepositions);
  int32_t tail = v + 1 + (smft__clause_has(c, v + 1, smft__particles) ? 1 : 0);
  int ends = tail == c->end, asks_noun = smft__has_noun(c) ? 1 : 0;
  if (c->prep >= 0 || stranded)
    return join_predicate(c, v, joiner);
  if (c->wh == SMFT__WHEN || (asks_noun && smft__sentence_has(c->s, c->after - 1, time_nouns)))
    return smft__before_time(c->answer);
  if (ends && verb->is_in_place &&
      (c->wh == SMFT__WHERE || (asks_noun && smft__sentence_has(c->s, c->after - 1, place_nouns))))
    return smft__before_place(c->answer);
  return (c->wh == SMFT__WHAT || c->wh == SMFT__WHO) && !asks_noun && v + 1 == c->end ? "" : NULL;
}

/* Nothing but the noun that is asked for is missing: "The sport that he plays is". */
static int is_gap(const smft__clause *c, int32_t v) {
  return (c->wh == SMFT__WHAT || c->wh == SMFT__HOW_MANY) && smft__has_noun(c) && c->prep < 0 &&
         (v + 1 == c->end || (smft__clause_has(c, v + 1, smft__prepositions) && v + 2 < c->end)) &&
         (c->wh == SMFT__WHAT || !strchr(c->answer, ' '));
}

static int is_action(smft__clause *c) {
  char buffer[32];
  smft__verb verb;
  int32_t v = c->does ? find_main_verb(c, &verb) : -1;
  if (v < 0)
    return 0;
  int past = strcmp(c->does, "did") == 0;
  const char *inflected = past ? verb.past : strcmp(c->does, "does") == 0 ? verb.third : verb.base;
  const char *joiner = c->wh == SMFT__HOW_MANY ? NULL : join_verb(c, &verb, v, buffer);
  if (!joiner && !is_gap(c, v))
    return 0;
  write_core(c, v, inflected, v + 1, joiner ? joiner : "");
  set_topic(c, c->begin, v);
  if (!joiner) {
    int many = c->wh == SMFT__WHAT && smft__is_plural(c, c->noun, c->after);
    write_noun(c, "that", v, inflected, v + 1,
               past ? (many ? "were" : "was") : (many ? "are" : "is"));
  }
  return 1;
}

/* ---- "Who wrote Emma", "Which song came before Emma" --------------------- */

static int has_preposition(const smft__clause *c, int32_t begin) {
  for (int32_t i = begin; i < c->end; i++)
    if (smft__clause_has(c, i, smft__prepositions) && !smft__clause_has(c, i, " of "))
      return 1;
  return 0;
}

static int is_passive(smft__clause *c, const smft__verb *verb, int form) {
  int32_t object = c->begin + 1;
  line out = {c->out->statements[0], 0};
  if (!verb->has_passive || !smft__is_phrase(c, object, c->end) || has_preposition(c, object))
    return 0;
  int many = smft__is_plural(c, object, c->end), past = form == SMFT__PAST;
  put_words(&out, c->s, object, c->end);
  put_text(&out, past ? (many ? "were" : "was") : (many ? "are" : "is"));
  put_text(&out, verb->participle);
  put_text(&out, "by");
  end_line(&out);
  capitalise(c->out->statements[0]);
  set_topic(c, object, c->end);
  return 1;
}

/* "The film directed by her won": only a verb whose participle is another word is surely one. */
static int is_relative(smft__clause *c, const smft__verb *verb, int form) {
  line out = {c->out->statements[0], 0};
  int sure = form == SMFT__THIRD || strcmp(verb->past, verb->participle) != 0 ||
             !smft__clause_has(c, c->begin + 1, smft__prepositions);
  if (!sure || c->wh != SMFT__WHAT || c->begin + 1 >= c->end || !smft__is_tail(c, c->begin + 1))
    return 0;
  int many = smft__is_plural(c, c->noun, c->after), was = form == SMFT__PAST;
  put_text(&out, "The");
  put_words(&out, c->s, c->noun, c->after);
  put_text(&out, "that");
  put_words(&out, c->s, c->begin, c->end);
  put_text(&out, was ? (many ? "were" : "was") : (many ? "are" : "is"));
  end_line(&out);
  return 1;
}

static int is_about_subject(smft__clause *c) {
  smft__verb verb;
  line indirect = {c->out->indirect, 0};
  if (!smft__asks_subject(c) || c->prep >= 0)
    return 0;
  int form = smft__verb_at(c->s, c->begin, SMFT__PAST | SMFT__THIRD, &verb);
  if (!form || !(smft__has_noun(c) ? is_relative(c, &verb, form) : is_passive(c, &verb, form)))
    return 0;
  put_words(&indirect, c->s, 0, c->end);
  end_line(&indirect);
  set_first(c->out->indirect, 0);
  return 1;
}

/* ---- orders -------------------------------------------------------------- */

int smft__grammar_is_order(const smft__sentence *s) {
  return s->n > 2 && smft__sentence_has(s, 0, orders) && smft__sentence_has(s, 1, " the ");
}

static void read_order(smft__clause *c) {
  c->begin = 1;
  c->end = c->s->n;
  if (smft__is_involved(c) || !smft__is_phrase(c, 1, c->end) || smft__is_plural(c, 2, c->end))
    return;
  line out = {c->out->statements[0], 0};
  put_words(&out, c->s, 1, c->end);
  put_text(&out, "is");
  end_line(&out);
  capitalise(c->out->statements[0]);
  write_owner(c, "is");
  set_owner_topic(c);
}

/* ---- the whole ----------------------------------------------------------- */

int32_t smft__grammar_subject(const smft__grammar *g, const smft__sentence *s, int32_t *n) {
  *n = g->n_topic > 0 ? g->n_topic : s->n_subject;
  return g->n_topic > 0 ? g->topic : s->subject;
}

int smft__grammar_is_question(const smft__sentence *s) {
  smft__clause c = {.s = s};
  return smft__grammar_is_order(s) || smft__clause_read(&c);
}

void smft__grammar_read(smft__grammar *out, const smft__sentence *s, const char *answer) {
  static int (*const rules[])(smft__clause *) = {is_copula, is_predication, is_action,
                                                 is_about_subject};
  smft__clause c = {.s = s, .answer = answer, .out = out};
  memset(out, 0, sizeof *out);
  if (!s->is_single)
    return;
  if (smft__grammar_is_order(s))
    read_order(&c);
  else if (smft__clause_read(&c) && !smft__is_involved(&c))
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
      if (rules[i](&c))
        return;
}
