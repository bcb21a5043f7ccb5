/* grammar: an English question of one sentence turned into statements that its answer completes.
 * Owns the tables of words and the rules.  A clause is
 *
 *     [preposition] question word [noun] auxiliary subject rest      "In what city was Emma
 * written" question word [noun] verb rest                                 "Who wrote Emma" order
 * noun phrase                                              "Name the author of Emma"
 *
 * and each rule puts subject, verb and rest in a statement's order, with the answer last.  A word
 * that a rule must know and that no table has ends the attempt: no statement is better than a wrong
 * one.  Does not own: words and names (sentence.c), what frames are made of it (frames.c). */
#include "learn/grammar.h"
#include "base/utf8.h"
#include "learn/verbs.h"
#include <string.h>
#include <utf8proc.h>

/* ---- tables: words ------------------------------------------------------- */

enum { NO_WH, WHAT, WHO, WHERE, WHEN, HOW_MANY };
static const struct opening {
  const char *words;
  int wh;
  const char *with_is; /* the word, where "is" is a part of it */
} openings[] = {
    {" what which ", WHAT, NULL},
    {" who whom ", WHO, NULL},
    {" where ", WHERE, NULL},
    {" when ", WHEN, NULL},
    {" what's what’s ", WHAT, "what"},
    {" who's who’s ", WHO, "who"},
    {" where's where’s ", WHERE, "where"},
    {" when's when’s ", WHEN, "when"},
};
static const char orders[] = " name give state identify ";
static const char articles[] = " the a an ";
static const char wh_words[] = " what which who whom where when why how whose ";
/* what no noun phrase of a statement may begin with */
static const char pronouns[] =
    " i you he she it we they me him us them there this that these those "
    "my your his her its our their one not so ";
static const char prepositions[] =
    " in on at for from to by of with under over about after before against as into onto upon near "
    "during between among through behind within without inside ";
static const char adverbs[] =
    " first last originally best most mostly mainly primarily also currently usually commonly "
    "often "
    "previously officially formerly widely generally once later still now originally ";
/* predicates behind a form of be, beside participles */
static const char adjectives[] = " famous native similar close next responsible allergic eligible "
                                 "home equal identical adjacent popular notable ";
static const char named[] = " called named titled nicknamed dubbed awarded given ";
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
static const char particles[] = " up out place over down off away ";
static const char singular_s[] = " series species news mathematics physics economics politics "
                                 "chess tennis bus gas lens ";

/* ---- tables: participles ------------------------------------------------- */

/* Participles behind a form of be that are no verb's of these: "is X known for". */
static const char participles[] =
    " born known based located situated married related made set buried named called titled "
    "nicknamed dubbed awarded filmed headquartered raised educated employed signed affiliated "
    "associated dedicated connected attached derived inspired adapted classified considered "
    "crowned "
    "elected appointed founded formed formalised built introduced launched completed opened closed "
    "abolished adopted ratified seen aired broadcast shown sung spoken worn kept stored spent "
    "composed influenced owned used replaced followed preceded succeeded ";

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

/* ---- verbs --------------------------------------------------------------- */

static int word_is(const smft__sentence *s, int32_t i, const char *word) {
  size_t n = strlen(word);
  const smft__text_word *w = &s->words[i];
  return !w->is_name && (size_t)(w->end - w->begin) == n &&
         memcmp(s->text + w->begin, word, n) == 0;
}

/* Which of these forms of a verb word i is; 0: none, or it is a name. */
static int verb_at(const smft__sentence *s, int32_t i, int forms, smft__verb *verb) {
  if (i < 0 || i >= s->n || s->words[i].is_name)
    return 0;
  const smft__text_word *w = &s->words[i];
  return smft__verb_find(verb, s->text + w->begin, (size_t)(w->end - w->begin), forms);
}

/* ---- the clause ---------------------------------------------------------- */

typedef struct clause {
  const smft__sentence *s;
  const char *answer;
  smft__grammar *out;
  int wh;
  int32_t prep;         /* the word in front of the question word; -1: none */
  int32_t noun, after;  /* words [noun, after): "kind of music" in "What kind of music is ..." */
  const char *short_wh; /* "what" of "What's", or NULL */
  const char *be;       /* "is", or NULL */
  const char *does;     /* "did", or NULL */
  int32_t begin, end;   /* words behind the auxiliary, or from the verb on */
} clause;

/* Is word i, not of a name, in this list? */
static int has(const clause *c, int32_t i, const char *list) {
  return i >= c->begin && i < c->end && !c->s->words[i].is_name &&
         smft__sentence_has(c->s, i, list);
}

static const char *which_of(const smft__sentence *s, int32_t i, const char *const *forms) {
  for (; *forms; forms++)
    if (i < s->n && word_is(s, i, *forms))
      return *forms;
  return NULL;
}

static int is_finite(const smft__sentence *s, int32_t i) {
  smft__verb verb;
  return verb_at(s, i, SMFT__PAST | SMFT__THIRD, &verb) != 0;
}

/* Finds the auxiliary, or the verb of "Who wrote Emma", behind the question word. */
static int find_verb(clause *c, int32_t i) {
  static const char *const be[] = {"is", "are", "was", "were", NULL};
  static const char *const does[] = {"does", "do", "did", NULL};
  int nouns = c->wh == WHAT || c->wh == HOW_MANY;
  for (c->noun = i; i < c->s->n && i - c->noun <= (nouns ? 6 : 0); i++) {
    c->be = which_of(c->s, i, be);
    c->does = which_of(c->s, i, does);
    c->after = i;
    c->begin = c->be || c->does ? i + 1 : i;
    if (c->be || c->does || is_finite(c->s, i))
      return 1;
  }
  return 0;
}

static int read_clause(clause *c) {
  const smft__sentence *s = c->s;
  int32_t i = 0;
  c->prep = -1;
  c->end = s->n;
  if (s->n > 2 && smft__sentence_has(s, 0, prepositions) &&
      smft__sentence_has(s, 1, " what which whom "))
    c->prep = i++;
  for (size_t o = 0; o < sizeof openings / sizeof *openings && c->wh == NO_WH; o++)
    if (smft__sentence_has(s, i, openings[o].words)) {
      c->wh = openings[o].wh;
      c->short_wh = openings[o].with_is;
      c->be = c->short_wh ? "is" : NULL;
    }
  if (smft__sentence_has(s, 0, " how ") && s->n > 3 && word_is(s, 1, "many")) {
    c->wh = HOW_MANY;
    i = 1;
  }
  c->noun = c->after = c->begin = ++i;
  return c->wh != NO_WH && i < s->n && (c->be || find_verb(c, i));
}

static int has_noun(const clause *c) { return c->after > c->noun; }

/* Behind a finite verb ("Who wrote") there is neither. */
static int is_question_of_subject(const clause *c) { return !c->be && !c->does; }

/* Words that make two clauses of one, or a choice. */
static int is_involved(const clause *c) {
  for (int32_t i = c->begin; i < c->end; i++) {
    if (has(c, i, " or but because if ") || (has(c, i, " and ") && has(c, i + 1, wh_words)))
      return 1;
    if (i + 1 < c->end && c->s->text[c->s->words[i].end - 1] == ',' &&
        (has(c, i + 1, wh_words) || has(c, i + 1, " and ")))
      return 1;
  }
  return 0;
}

/* ---- noun phrases -------------------------------------------------------- */

static int is_lower_end(const clause *c, int32_t i, const char *ending) {
  const smft__text_word *w = &c->s->words[i];
  int32_t n = (int32_t)strlen(ending);
  return !w->is_name && w->end - w->begin > n &&
         memcmp(c->s->text + w->end - n, ending, (size_t)n) == 0;
}

static int is_predicate(const clause *c, int32_t i) { /* behind a form of be */
  smft__verb verb;
  return has(c, i, participles) || has(c, i, adjectives) ||
         (i >= c->begin && i < c->end && verb_at(c->s, i, SMFT__PARTICIPLE, &verb) != 0);
}

/* The first word in [begin, end) that says whose the rest is, or -1. */
static int32_t owner_in(const clause *c, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; i++)
    if (c->s->words[i].is_owner && i + 1 < end)
      return i;
  return -1;
}

static int all_names(const clause *c, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; i++)
    if (!c->s->words[i].is_name)
      return 0;
  return begin < end;
}

/* More than a noun phrase: "the located in", "Emma called in", "known as in". */
static int is_clumsy(const clause *c, int32_t begin, int32_t end) {
  if (has(c, begin, articles) && has(c, begin + 1, participles) && has(c, begin + 2, prepositions))
    return 1;
  for (int32_t i = begin; i + 1 < end; i++)
    if ((has(c, i, prepositions) && has(c, i + 1, prepositions)) ||
        (has(c, i, named) && !c->s->words[i + 1].is_name))
      return 1;
  return 0;
}

/* [begin, end) can only be a noun phrase: a name, "the ...", or "...'s ...", and what ends it is a
 * noun. */
static int is_phrase(const clause *c, int32_t begin, int32_t end) {
  int article = has(c, begin, articles), owner = owner_in(c, begin, end) >= 0;
  if (end - begin < 1 + article || has(c, begin, pronouns))
    return 0;
  if (all_names(c, begin, end))
    return 1;
  int32_t last = end - 1;
  if (is_predicate(c, begin) || is_lower_end(c, begin, "ed") || is_clumsy(c, begin, end))
    return 0;
  if (has(c, last, prepositions) || has(c, last, adverbs) || has(c, last, articles) ||
      has(c, last, wh_words) || has(c, last, " and like doing ") || is_predicate(c, last))
    return 0;
  if (is_lower_end(c, last, "ing") || (is_lower_end(c, last, "ed") && !owner))
    return 0;
  return article || owner;
}

static int has_relative(const clause *c, int32_t begin, int32_t end) {
  for (int32_t i = begin + 1; i < end; i++)
    if (has(c, i, " that which who whom where when "))
      return 1;
  return 0;
}

/* "The authors of Emma" are many; names are not asked. */
static int is_plural(const clause *c, int32_t begin, int32_t end) {
  int32_t i = begin;
  while (i + 1 < end && !has(c, i + 1, prepositions) && !c->s->words[i + 1].is_name &&
         !has(c, i + 1, " that who which "))
    i++;
  return i < end && !c->s->words[i].is_name && is_lower_end(c, i, "s") &&
         !is_lower_end(c, i, "ss") && !is_lower_end(c, i, "us") && !is_lower_end(c, i, "is") &&
         !smft__sentence_has(c->s, i, singular_s);
}

/* Behind the verb: nothing, "up", "for", "up in", or an object that is a phrase. */
static int is_tail(const clause *c, int32_t i) {
  i += has(c, i, particles) ? 1 : 0;
  i += has(c, i, prepositions) ? 1 : 0;
  return i == c->end || is_phrase(c, i, c->end) || (i + 1 == c->end && c->s->words[i].is_number);
}

/* ---- answers ------------------------------------------------------------- */

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int has_month(const char *text) {
  static const char *const months[] = {"January",   "February", "March",    "April",
                                       "May",       "June",     "July",     "August",
                                       "September", "October",  "November", "December"};
  for (size_t i = 0; i < sizeof months / sizeof *months; i++)
    if (strstr(text, months[i]))
      return 1;
  return 0;
}

/* Runs of one or two digits (days) and of three or four (years); others: -1. */
static int count_numbers(const char *text, int *days, int *years) {
  *days = *years = 0;
  while (*text) {
    int n = 0;
    while (is_digit(*text))
      n++, text++;
    *days += n == 1 || n == 2;
    *years += n == 3 || n == 4;
    if (n > 4)
      return -1;
    text += *text && n == 0;
  }
  return 0;
}

/* What stands before a time: "in" (1815), "on" (23 December 1815); NULL: it does not look like
 * one. */
static const char *before_time(const char *answer) {
  int days = 0, years = 0;
  if (count_numbers(answer, &days, &years) != 0 || years > 1 || days > 1)
    return NULL;
  if (has_month(answer))
    return days ? "on" : "in";
  size_t n = strspn(answer, "0123456789");
  int alone = answer[n] == '\0' || strcmp(answer + n, " BC") == 0 ||
              strcmp(answer + n, " AD") == 0 || strcmp(answer + n, " BCE") == 0 ||
              strcmp(answer + n, " CE") == 0;
  if (n >= 3 && alone && !days)
    return "in";
  if (strncmp(answer, "the ", 4) == 0 && (strstr(answer, "century") || strstr(answer, "0s")))
    return "in";
  return NULL;
}

/* What stands before a place: "in" (London, the Alps), "" (on the Moon). */
static const char *before_place(const char *answer) {
  static const char *const own[] = {"in ", "on ", "at ", "near ", "outside ", "under "};
  uint32_t code = 0;
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (strncmp(answer, own[i], strlen(own[i])) == 0)
      return "";
  smft__utf8_next(answer, strlen(answer), &code);
  int capital = utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LU;
  return capital || strncmp(answer, "the ", 4) == 0 ? "in" : NULL;
}

/* ---- what is written ----------------------------------------------------- */

/* Subject [begin, split), verb, the rest [tail, end), and what joins the answer to it: a statement;
 * with the words before the auxiliary, an indirect question. */
static void write_core(clause *c, int32_t split, const char *verb, int32_t tail,
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
static void write_noun(clause *c, const char *link, int32_t split, const char *verb, int32_t tail,
                       const char *be) {
  line out = {c->out->statements[0], 0};
  put_text(&out, c->wh == HOW_MANY ? "The number of" : "The");
  put_words(&out, c->s, c->noun, c->after);
  put_text(&out, link);
  put_words(&out, c->s, c->begin, split);
  put_text(&out, verb);
  put_words(&out, c->s, tail, c->end);
  put_text(&out, be);
  end_line(&out);
}

/* Words [begin, end) are what the question is about, unless a name is. */
static void set_topic(clause *c, int32_t begin, int32_t end) {
  const smft__text_word *words = c->s->words;
  if (c->s->n_subject == 0 && begin < end) {
    c->out->topic = words[begin].begin;
    c->out->n_topic = words[end - 1].bare - words[begin].begin;
  }
}

/* ---- "What is the author of Emma", "Name the author of Emma" ------------- */

/* A name, or "the" and one. */
static int is_named(const clause *c, int32_t begin, int32_t end) {
  return all_names(c, begin + (has(c, begin, " the ") ? 1 : 0), end);
}

/* "Emma's author" of "the author of Emma". */
static void put_owned(clause *c, line *out, int32_t of) {
  put_words(out, c->s, of + 1, c->end);
  if (out->n + 2 < SMFT__GRAMMAR_BYTES) {
    memcpy(out->text + out->n, "'s", 2);
    out->n += 2;
  }
  put_words(out, c->s, c->begin + 1, of);
}

/* "The author of Emma" of "Emma's author". */
static void put_of(clause *c, line *out, int32_t owner) {
  int32_t first = c->s->words[c->begin].begin;
  put_text(out, "The");
  put_words(out, c->s, owner + 1, c->end);
  put_text(out, "of");
  put(out, c->s->text + first, (size_t)(c->s->words[owner].bare - first));
}

/* The other way to say whose. */
static void write_owner(clause *c, const char *be) {
  int32_t owner = owner_in(c, c->begin, c->end), of = -1;
  line out = {c->out->statements[1], 0};
  for (int32_t i = c->begin + 2; i + 1 < c->end && of < 0; i++)
    if (has(c, i, " of ") && is_named(c, i + 1, c->end))
      of = i;
  if (owner >= c->begin && is_named(c, c->begin, owner + 1) && c->end - owner <= 4 &&
      !all_names(c, owner + 1, c->end))
    put_of(c, &out, owner);
  else if (owner < 0 && of >= 0 && of - c->begin <= 4 && has(c, c->begin, " the "))
    put_owned(c, &out, of);
  else
    return;
  put_text(&out, be);
  end_line(&out);
  capitalise(c->out->statements[1]);
}

static int32_t find_last(const clause *c, int32_t end, const char *word) {
  int32_t found = -1;
  for (int32_t i = c->begin; i < end; i++)
    found = has(c, i, word) ? i : found;
  return found;
}

/* "the author of emma", "emma's author", "the label of Un singe en hiver". */
static void set_owner_topic(clause *c) {
  const smft__sentence *s = c->s;
  int32_t owner = owner_in(c, c->begin, c->end), from;
  int32_t of = find_last(c, c->end - 1, " of "), named_to = s->subject + s->n_subject;
  if (s->n_subject == 0 && owner >= 0) {
    from = find_last(c, owner, " of ") + 1;
    set_topic(c, from > 0 ? from : c->begin, owner + 1);
    return;
  }
  if (of < 0 || has(c, of + 1, " all "))
    return;
  for (int32_t i = of + 1; i < c->end; i++)
    if (has(c, i, prepositions) || has(c, i, " that which who and "))
      return;
  if (s->n_subject == 0 ||
      (s->words[of + 1].begin == s->subject && s->words[c->end - 1].bare > named_to)) {
    c->out->topic = s->words[of + 1].begin;
    c->out->n_topic = s->words[c->end - 1].bare - c->out->topic;
  }
}

static int is_copula(clause *c) {
  int32_t end = c->end; /* "the star that Emma is part of": its last word is the phrase's own */
  end -= has(c, end - 1, prepositions) && has_relative(c, c->begin, end) ? 1 : 0;
  if (!c->be || c->prep >= 0 || has_noun(c) || (c->wh != WHAT && c->wh != WHO) ||
      !is_phrase(c, c->begin, end))
    return 0;
  write_core(c, c->end, c->be, c->end, "");
  write_owner(c, c->be);
  set_owner_topic(c);
  return 1;
}

/* ---- "Where was Emma written", "What is Emma known for" ------------------ */

/* What joins the answer to "Emma was written"; NULL: nothing does. */
static const char *join_predicate(const clause *c, int32_t predicate, char joiner[32]) {
  int32_t last = c->end - 1;
  const smft__text_word *prep = c->prep >= 0 ? &c->s->words[c->prep] : NULL;
  int stranded = has(c, last, prepositions), bare = predicate == c->end;
  if (prep && !stranded && prep->end - prep->begin < 32) {
    memcpy(joiner, c->s->text + prep->begin, (size_t)(prep->end - prep->begin));
    joiner[prep->end - prep->begin] = '\0';
    joiner[0] = (char)(joiner[0] | 0x20); /* ASCII letters */
    return joiner;
  }
  if (prep || (stranded && c->wh == WHEN))
    return NULL;
  if (stranded)
    return "";
  if (c->wh == WHEN ||
      (c->wh == WHAT && has_noun(c) && !bare && smft__sentence_has(c->s, c->after - 1, time_nouns)))
    return before_time(c->answer);
  if ((c->wh == WHERE && (bare || has(c, last, in_place))) ||
      (has_noun(c) && has(c, last, in_place) &&
       smft__sentence_has(c->s, c->after - 1, place_nouns)))
    return before_place(c->answer);
  return c->wh == WHAT && !has_noun(c) && has(c, last, named) ? "" : NULL;
}

/* Where the predicate at the clause's end begins: "known for", "first published", "in". */
static int32_t find_last_predicate(const clause *c) {
  int32_t at = c->end, last = c->end - 1;
  if (has(c, last, prepositions))
    at = last--;
  if (is_predicate(c, last))
    at = last--;
  if (at < c->end && has(c, last, adverbs))
    at = last;
  int sure = at < c->end && is_predicate(c, at + (has(c, at, adverbs) ? 1 : 0));
  return sure || (at > c->begin && c->s->words[at - 1].is_name) ? at : -1;
}

/* The same, or with an object behind it: "awarded the Nobel Prize"; -1: not sure. */
static int32_t find_predicate(const clause *c) {
  int32_t at = find_last_predicate(c);
  for (int32_t i = c->begin + 1; at == c->end && i < c->end; i++)
    if (is_predicate(c, i))
      at = is_tail(c, i + 1) ? i : -1;
    else if (is_lower_end(c, i, "ed"))
      at = -1;
  return at > 0 && is_phrase(c, c->begin, at) && !has_relative(c, c->begin, at) ? at : -1;
}

static int is_predication(clause *c) {
  char buffer[32];
  int32_t at = c->be ? find_predicate(c) : -1;
  if (at < 0)
    return 0;
  int bare = at == c->end, noun_only = c->wh == WHAT && has_noun(c) && c->prep < 0;
  if (bare && noun_only && smft__sentence_has(c->s, c->after - 1, traits)) {
    write_core(c, c->end, c->be, c->end, "");
    write_noun(c, "of", c->end, c->be, c->end, "");
    set_topic(c, c->begin, c->end);
    return 1;
  }
  const char *joiner = join_predicate(c, at, buffer);
  if (!joiner || (bare && c->wh != WHERE && c->wh != WHEN && c->prep < 0))
    return 0;
  write_core(c, at, c->be, at, joiner);
  set_topic(c, c->begin, at);
  return 1;
}

/* ---- "When did she die", "What sport does he play" ----------------------- */

static int32_t find_main_verb(const clause *c, smft__verb *verb) {
  for (int32_t i = c->begin + 1; i < c->end; i++) {
    int32_t subject_end = i - (has(c, i - 1, adverbs) && i - 1 > c->begin ? 1 : 0);
    if (verb_at(c->s, i, SMFT__BASE, verb) && is_tail(c, i + 1) &&
        (is_phrase(c, c->begin, subject_end) || (strcmp(c->does, "do") == 0 && i == c->begin + 1)))
      return i;
  }
  return -1;
}

/* What joins the answer to "she died"; NULL: it is no place or time that can be. */
static const char *join_verb(const clause *c, const smft__verb *verb, int32_t v, char joiner[32]) {
  int stranded = has(c, c->end - 1, prepositions);
  int32_t tail = v + 1 + (has(c, v + 1, particles) ? 1 : 0);
  int ends = tail == c->end, asks_noun = has_noun(c) ? 1 : 0;
  if (c->prep >= 0 || stranded)
    return join_predicate(c, v, joiner);
  if (c->wh == WHEN || (asks_noun && smft__sentence_has(c->s, c->after - 1, time_nouns)))
    return before_time(c->answer);
  if (ends && verb->is_in_place &&
      (c->wh == WHERE || (asks_noun && smft__sentence_has(c->s, c->after - 1, place_nouns))))
    return before_place(c->answer);
  return (c->wh == WHAT || c->wh == WHO) && !asks_noun && v + 1 == c->end ? "" : NULL;
}

/* Nothing but the noun that is asked for is missing: "The sport that he plays is". */
static int is_gap(const clause *c, int32_t v) {
  return (c->wh == WHAT || c->wh == HOW_MANY) && has_noun(c) && c->prep < 0 &&
         (v + 1 == c->end || (has(c, v + 1, prepositions) && v + 2 < c->end)) &&
         (c->wh == WHAT || !strchr(c->answer, ' '));
}

static int is_action(clause *c) {
  char buffer[32];
  smft__verb verb;
  int32_t v = c->does ? find_main_verb(c, &verb) : -1;
  if (v < 0)
    return 0;
  int past = strcmp(c->does, "did") == 0;
  const char *inflected = past ? verb.past : strcmp(c->does, "does") == 0 ? verb.third : verb.base;
  const char *joiner = c->wh == HOW_MANY ? NULL : join_verb(c, &verb, v, buffer);
  if (!joiner && !is_gap(c, v))
    return 0;
  write_core(c, v, inflected, v + 1, joiner ? joiner : "");
  set_topic(c, c->begin, v);
  if (!joiner) {
    int many = c->wh == WHAT && is_plural(c, c->noun, c->after);
    write_noun(c, "that", v, inflected, v + 1,
               past ? (many ? "were" : "was") : (many ? "are" : "is"));
  }
  return 1;
}

/* ---- "Who wrote Emma", "Which song came before Emma" --------------------- */

static int has_preposition(const clause *c, int32_t begin) {
  for (int32_t i = begin; i < c->end; i++)
    if (has(c, i, prepositions) && !has(c, i, " of "))
      return 1;
  return 0;
}

static int is_passive(clause *c, const smft__verb *verb, int form) {
  int32_t object = c->begin + 1;
  line out = {c->out->statements[0], 0};
  if (!verb->has_passive || !is_phrase(c, object, c->end) || has_preposition(c, object))
    return 0;
  int many = is_plural(c, object, c->end), past = form == SMFT__PAST;
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
static int is_relative(clause *c, const smft__verb *verb, int form) {
  line out = {c->out->statements[0], 0};
  int sure = form == SMFT__THIRD || strcmp(verb->past, verb->participle) != 0 ||
             !has(c, c->begin + 1, prepositions);
  if (!sure || c->wh != WHAT || c->begin + 1 >= c->end || !is_tail(c, c->begin + 1))
    return 0;
  int many = is_plural(c, c->noun, c->after), was = form == SMFT__PAST;
  put_text(&out, "The");
  put_words(&out, c->s, c->noun, c->after);
  put_text(&out, "that");
  put_words(&out, c->s, c->begin, c->end);
  put_text(&out, was ? (many ? "were" : "was") : (many ? "are" : "is"));
  end_line(&out);
  return 1;
}

static int is_about_subject(clause *c) {
  smft__verb verb;
  line indirect = {c->out->indirect, 0};
  if (!is_question_of_subject(c) || c->prep >= 0)
    return 0;
  int form = verb_at(c->s, c->begin, SMFT__PAST | SMFT__THIRD, &verb);
  if (!form || !(has_noun(c) ? is_relative(c, &verb, form) : is_passive(c, &verb, form)))
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

static void read_order(clause *c) {
  c->begin = 1;
  c->end = c->s->n;
  if (is_involved(c) || !is_phrase(c, 1, c->end) || is_plural(c, 2, c->end))
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

int smft__grammar_is_question(const smft__sentence *s) {
  clause c = {.s = s};
  return smft__grammar_is_order(s) || read_clause(&c);
}

void smft__grammar_read(smft__grammar *out, const smft__sentence *s, const char *answer) {
  static int (*const rules[])(clause *) = {is_copula, is_predication, is_action, is_about_subject};
  clause c = {.s = s, .answer = answer, .out = out};
  memset(out, 0, sizeof *out);
  if (!s->is_single)
    return;
  if (smft__grammar_is_order(s))
    read_order(&c);
  else if (read_clause(&c) && !is_involved(&c))
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
      if (rules[i](&c))
        return;
}
