/* clause: an English question taken apart: its question word, auxiliary and what stands behind, and
 * what runs of words can be. */
#ifndef SMFT__CLAUSE_H
#define SMFT__CLAUSE_H
#include "learn/grammar.h"
#include "learn/verbs.h"

enum { SMFT__NO_WH, SMFT__WHAT, SMFT__WHO, SMFT__WHERE, SMFT__WHEN, SMFT__HOW_MANY };

typedef struct smft__clause {
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
} smft__clause;

/* lists of words, for smft__clause_has */
extern const char smft__prepositions[], smft__adverbs[], smft__named[], smft__particles[];

/* Which of these forms of a verb word i is; 0: none, or it is a name. */
int smft__verb_at(const smft__sentence *s, int32_t i, int forms, smft__verb *verb);
/* Is word i, not of a name, in this list? */
int smft__clause_has(const smft__clause *c, int32_t i, const char *list);
/* Fills all but s, answer and out, which are given; 0: it is none that the rules know. */
int smft__clause_read(smft__clause *c);
int smft__has_noun(const smft__clause *c);
/* Behind a finite verb ("Who wrote") there is neither. */
int smft__asks_subject(const smft__clause *c);
/* Words that make two clauses of one, or a choice. */
int smft__is_involved(const smft__clause *c);
/* Word i is of no name and has this ending. */
int smft__ends_lower(const smft__clause *c, int32_t i, const char *ending);
/* Word i can stand behind a form of be: a participle, or an adjective of the table. */
int smft__is_predicate(const smft__clause *c, int32_t i);
/* The first word in [begin, end) that says whose the rest is, or -1. */
int32_t smft__owner_in(const smft__clause *c, int32_t begin, int32_t end);
int smft__all_names(const smft__clause *c, int32_t begin, int32_t end);
/* [begin, end) can only be a noun phrase: a name, "the ...", or "...'s ...", and what ends it is a
 * noun. */
int smft__is_phrase(const smft__clause *c, int32_t begin, int32_t end);
/* "that", "who", "where" behind the first word. */
int smft__has_relative(const smft__clause *c, int32_t begin, int32_t end);
/* "The authors of Emma" are many; names are not asked. */
int smft__is_plural(const smft__clause *c, int32_t begin, int32_t end);
/* Behind the verb: nothing, "up", "for", "up in", or an object that is a phrase. */
int smft__is_tail(const smft__clause *c, int32_t i);
#endif
