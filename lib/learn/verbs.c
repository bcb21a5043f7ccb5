/* verbs: English verbs that are known, in all their forms.  Owns the table of verbs and the endings
 * of regular ones: a word that is not here is no verb. */
#include "learn/verbs.h"
#include <string.h>

/* "write/wrote/written", or "own" where the forms are regular; + it has a passive that says the
 * same, @ its place has "in" before it. */
static const char table[] =
    "write/wrote/written+ sing/sang/sung+ draw/drew/drawn+ make/made/made+ "
    "build/built/built+ lead/led/led+ find/found/found+ win/won/won+ beat/beat/beaten+ "
    "buy/bought/bought+ sell/sold/sold+ teach/taught/taught+ hold/held/held+ "
    "run/ran/run+ shoot/shot/shot+ fight/fought/fought+ give/gave/given "
    "begin/began/begun come/came/come become/became/become go/went/gone grow/grew/grown@ "
    "take/took/taken@ occur/occurred/occurred@ have/had/had speak/spoke/spoken "
    "eat/ate/eaten leave/left/left lose/lost/lost get/got/got meet/met/met sit/sat/sat "
    "star/starred/starred prefer/preferred/preferred "
    "found+ own+ play+ direct+ produce+ compose+ publish+ invent+ discover+ design+ "
    "create+ develop+ establish+ paint+ perform+ record+ narrate+ edit+ translate+ "
    "illustrate+ manufacture+ distribute+ release+ kill+ assassinate+ defeat+ coach+ "
    "manage+ host+ present+ operate+ acquire+ conquer+ rule+ sponsor+ support+ succeed+ "
    "precede+ cause+ name+ voice+ portray+ follow+ use+ "
    "die@ live@ reside@ happen@ originate@ "
    "belong marry represent study work serve practice practise receive contain cover "
    "border join start end open close premiere debut retire graduate move travel air "
    "form attend worship specialise specialize compete appear identify like ";

static int is_vowel(char c) { return c && strchr("aeiou", c) != NULL; }

static void join(char out[24], const char *base, size_t keep, const char *ending) {
  memmove(out, base, keep);
  memcpy(out + keep, ending, strlen(ending) + 1);
}

static void add_ed(char out[24], const char *base) {
  size_t n = strlen(base);
  if (base[n - 1] == 'e')
    join(out, base, n, "d");
  else if (base[n - 1] == 'y' && !is_vowel(base[n - 2]))
    join(out, base, n - 1, "ied");
  else
    join(out, base, n, "ed");
}

static void add_s(char out[24], const char *base) {
  size_t n = strlen(base);
  char last = base[n - 1], before = base[n - 2];
  if (strcmp(base, "have") == 0)
    join(out, "has", 3, "");
  else if (last == 'y' && !is_vowel(before))
    join(out, base, n - 1, "ies");
  else if (last == 's' || last == 'x' || last == 'z' || last == 'o' ||
           (last == 'h' && (before == 's' || before == 'c')))
    join(out, base, n, "es");
  else
    join(out, base, n, "s");
}

/* An entry of the table, n bytes; entries have at most 20 letters a form. */
static void read_entry(smft__verb *verb, const char *entry, size_t n) {
  char *const forms[] = {verb->base, verb->past, verb->participle};
  memset(verb, 0, sizeof *verb);
  verb->has_passive = entry[n - 1] == '+';
  verb->is_in_place = entry[n - 1] == '@';
  n -= verb->has_passive || verb->is_in_place ? 1 : 0;
  for (size_t i = 0, f = 0, at = 0; i < n; i++)
    if (entry[i] == '/')
      f++, at = 0;
    else
      forms[f][at++] = entry[i];
  if (!verb->past[0]) {
    add_ed(verb->past, verb->base);
    add_ed(verb->participle, verb->base);
  }
  add_s(verb->third, verb->base);
}

static int is_form(const char *form, const char *word, size_t n) {
  return strlen(form) == n && memcmp(form, word, n) == 0;
}

int smft__verb_find(smft__verb *out, const char *word, size_t n, int forms) {
  for (const char *entry = table; *entry; entry += strcspn(entry, " ") + 1) {
    read_entry(out, entry, strcspn(entry, " "));
    int form = (forms & SMFT__PAST) && is_form(out->past, word, n)               ? SMFT__PAST
               : (forms & SMFT__THIRD) && is_form(out->third, word, n)           ? SMFT__THIRD
               : (forms & SMFT__PARTICIPLE) && is_form(out->participle, word, n) ? SMFT__PARTICIPLE
               : (forms & SMFT__BASE) && is_form(out->base, word, n)             ? SMFT__BASE
                                                                                 : 0;
    if (form)
      return form;
  }
  return 0;
}
