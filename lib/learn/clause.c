/* clause: an English question taken apart.  A clause is
 *
 *     [preposition] question word [noun] auxiliary subject rest      "In what city was Emma
 * written" question word [noun] verb rest                                 "Who wrote Emma"
 *
 * Owns its tables of words, and the rules for what a run of words can be (a noun phrase, what
 * stands behind a verb).  A word that must be known and that no table has is none.  Does not own:
 * verbs (verbs.c), words and names (sentence.c), statements (grammar.c). */
#include "learn/clause.h"
#include <string.h>

/* ---- tables: words ------------------------------------------------------- */

static const struct opening {
  const char *words;
  int wh;
  const char *with_is; /* the word, where "is" is a part of it */
} openings[] = {
    {" what which ", SMFT__WHAT, NULL},
    {" who whom ", SMFT__WHO, NULL},
    {" where ", SMFT__WHERE, NULL},
    {" when ", SMFT__WHEN, NULL},
    {" what's what’s ", SMFT__WHAT, "what"},
    {" who's who’s ", SMFT__WHO, "who"},
    {" where's where’s ", SMFT__WHERE, "where"},
    {" when's when’s ", SMFT__WHEN, "when"},
};
static const char articles[] = " the a an ";
static const char wh_words[] = " what which who whom where when why how whose ";
/* what no noun phrase of a statement may begin with */
static const char pronouns[] =
    " i you he she it we they me him us them there this that these those "
    "my your his her its our their one not so ";
const char smft__prepositions[] =
    " in on at for from to by of with under over about after before against as into onto upon near "
    "during between among through behind within without inside ";
const char smft__adverbs[] =
    " first last originally best most mostly mainly primarily also currently usually commonly "
    "often "
    "previously officially formerly widely generally once later still now originally ";
/* predicates behind a form of be, beside participles */
static const char adjectives[] = " famous native similar close next responsible allergic eligible "
                                 "home equal identical adjacent popular notable ";
const char smft__named[] = " called named titled nicknamed dubbed awarded given ";
const char smft__particles[] = " up out place over down off away ";
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

/* ---- verbs --------------------------------------------------------------- */

static int word_is(const smft__sentence *s, int32_t i, const char *word) {
  size_t n = strlen(word);
  const smft__text_word *w = &s->words[i];
  return !w->is_name && (size_t)(w->end - w->begin) == n &&
         memcmp(s->text + w->begin, word, n) == 0;
}

/* Which of these forms of a verb word i is; 0: none, or it is a name. */
int smft__verb_at(const smft__sentence *s, int32_t i, int forms, smft__verb *verb) {
  if (i < 0 || i >= s->n || s->words[i].is_name)
    return 0;
  const smft__text_word *w = &s->words[i];
  return smft__verb_find(verb, s->text + w->begin, (size_t)(w->end - w->begin), forms);
}

/* ---- the clause ---------------------------------------------------------- */

/* Is word i, not of a name, in this list? */
int smft__clause_has(const smft__clause *c, int32_t i, const char *list) {
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
  return smft__verb_at(s, i, SMFT__PAST | SMFT__THIRD, &verb) != 0;
}

/* Finds the auxiliary, or the verb of "Who wrote Emma", behind the question word. */
static int find_verb(smft__clause *c, int32_t i) {
  static const char *const be[] = {"is", "are", "was", "were", NULL};
  static const char *const does[] = {"does", "do", "did", NULL};
  int nouns = c->wh == SMFT__WHAT || c->wh == SMFT__HOW_MANY;
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

int smft__clause_read(smft__clause *c) {
  const smft__sentence *s = c->s;
  int32_t i = 0;
  c->prep = -1;
  c->end = s->n;
  if (s->n > 2 && smft__sentence_has(s, 0, smft__prepositions) &&
      smft__sentence_has(s, 1, " what which whom "))
    c->prep = i++;
  for (size_t o = 0; o < sizeof openings / sizeof *openings && c->wh == SMFT__NO_WH; o++)
    if (smft__sentence_has(s, i, openings[o].words)) {
      c->wh = openings[o].wh;
      c->short_wh = openings[o].with_is;
      c->be = c->short_wh ? "is" : NULL;
    }
  if (smft__sentence_has(s, 0, " how ") && s->n > 3 && word_is(s, 1, "many")) {
    c->wh = SMFT__HOW_MANY;
    i = 1;
  }
  c->noun = c->after = c->begin = ++i;
  return c->wh != SMFT__NO_WH && i < s->n && (c->be || find_verb(c, i));
}

int smft__has_noun(const smft__clause *c) { return c->after > c->noun; }

/* Behind a finite verb ("Who wrote") there is neither. */
int smft__asks_subject(const smft__clause *c) { return !c->be && !c->does; }

/* Words that make two clauses of one, or a choice. */
int smft__is_involved(const smft__clause *c) {
  for (int32_t i = c->begin; i < c->end; i++) {
    if (smft__clause_has(c, i, " or but because if ") ||
        (smft__clause_has(c, i, " and ") && smft__clause_has(c, i + 1, wh_words)))
      return 1;
    if (i + 1 < c->end && c->s->text[c->s->words[i].end - 1] == ',' &&
        (smft__clause_has(c, i + 1, wh_words) || smft__clause_has(c, i + 1, " and ")))
      return 1;
  }
  return 0;
}

/* ---- noun phrases -------------------------------------------------------- */

int smft__ends_lower(const smft__clause *c, int32_t i, const char *ending) {
  const smft__text_word *w = &c->s->words[i];
  int32_t n = (int32_t)strlen(ending);
  return !w->is_name && w->end - w->begin > n &&
         memcmp(c->s->text + w->end - n, ending, (size_t)n) == 0;
}

int smft__is_predicate(const smft__clause *c, int32_t i) { /* behind a form of be */
  smft__verb verb;
  return smft__clause_has(c, i, participles) || smft__clause_has(c, i, adjectives) ||
         (i >= c->begin && i < c->end && smft__verb_at(c->s, i, SMFT__PARTICIPLE, &verb) != 0);
}

/* The first word in [begin, end) that says whose the rest is, or -1. */
int32_t smft__owner_in(const smft__clause *c, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; i++)
    if (c->s->words[i].is_owner && i + 1 < end)
      return i;
  return -1;
}

int smft__all_names(const smft__clause *c, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; i++)
    if (!c->s->words[i].is_name)
      return 0;
  return begin < end;
}

/* More than a noun phrase: "the located in", "Emma called in", "known as in". */
static int is_clumsy(const smft__clause *c, int32_t begin, int32_t end) {
  if (smft__clause_has(c, begin, articles) && smft__clause_has(c, begin + 1, participles) &&
      smft__clause_has(c, begin + 2, smft__prepositions))
    return 1;
  for (int32_t i = begin; i + 1 < end; i++)
    if ((smft__clause_has(c, i, smft__prepositions) &&
         smft__clause_has(c, i + 1, smft__prepositions)) ||
        (smft__clause_has(c, i, smft__named) && !c->s->words[i + 1].is_name))
      return 1;
  return 0;
}

/* [begin, end) can only be a noun phrase: a name, "the ...", or "...'s ...", and what ends it is a
 * noun. */
int smft__is_phrase(const smft__clause *c, int32_t begin, int32_t end) {
  int article = smft__clause_has(c, begin, articles), owner = smft__owner_in(c, begin, end) >= 0;
  if (end - begin < 1 + article || smft__clause_has(c, begin, pronouns))
    return 0;
  if (smft__all_names(c, begin, end))
    return 1;
  int32_t last = end - 1;
  if (smft__is_predicate(c, begin) || smft__ends_lower(c, begin, "ed") || is_clumsy(c, begin, end))
    return 0;
  if (smft__clause_has(c, last, smft__prepositions) || smft__clause_has(c, last, smft__adverbs) ||
      smft__clause_has(c, last, articles) || smft__clause_has(c, last, wh_words) ||
      smft__clause_has(c, last, " and like doing ") || smft__is_predicate(c, last))
    return 0;
  if (smft__ends_lower(c, last, "ing") || (smft__ends_lower(c, last, "ed") && !owner))
    return 0;
  return article || owner;
}

int smft__has_relative(const smft__clause *c, int32_t begin, int32_t end) {
  for (int32_t i = begin + 1; i < end; i++)
    if (smft__clause_has(c, i, " that which who whom where when "))
      return 1;
  return 0;
}

/* "The authors of Emma" are many; names are not asked. */
int smft__is_plural(const smft__clause *c, int32_t begin, int32_t end) {
  int32_t i = begin;
  while (i + 1 < end && !smft__clause_has(c, i + 1, smft__prepositions) &&
         !c->s->words[i + 1].is_name && !smft__clause_has(c, i + 1, " that who which "))
    i++;
  return i < end && !c->s->words[i].is_name && smft__ends_lower(c, i, "s") &&
         !smft__ends_lower(c, i, "ss") && !smft__ends_lower(c, i, "us") &&
         !smft__ends_lower(c, i, "is") && !smft__sentence_has(c->s, i, singular_s);
}

/* Behind the verb: nothing, "up", "for", "up in", or an object that is a phrase. */
int smft__is_tail(const smft__clause *c, int32_t i) {
  i += smft__clause_has(c, i, smft__particles) ? 1 : 0;
  i += smft__clause_has(c, i, smft__prepositions) ? 1 : 0;
  return i == c->end || smft__is_phrase(c, i, c->end) ||
         (i + 1 == c->end && c->s->words[i].is_number);
}
