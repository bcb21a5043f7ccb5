/* frames: the wordings that are made of one question, or of one statement, by rule: which
 * statements the rules of English give (and where they give none), what each frame's text and token
 * ids are in a model with a chat template and in one without, and what a learner makes of one
 * wording.  (Alloc failures: fault/test_alloc_failures.c; calls that are wrong:
 * api/test_bad_calls.c.) */
#include "test.h"
#include "tiny.h"
#include "learn/facts_json.h"
#include "learn/grammar.h"
#include "learn/learner.h"
#include "learn/wordings.h"

/* ---- English ------------------------------------------------------------- */

static const struct told {
  const char *question, *answer, *subject, *statement, *other, *indirect;
} told[] = {
    {"What is Jane Austen's occupation?", "novelist", "Jane Austen", "Jane Austen's occupation is",
     "The occupation of Jane Austen is", "what Jane Austen's occupation is"},
    {"What is the capital of France?", "Paris", "France", "The capital of France is",
     "France's capital is", "what the capital of France is"},
    {"what is the capital of france", "Paris", "france", "The capital of france is", "",
     "what the capital of france is"},
    {"Who is the author of Emma?", "Jane Austen", "Emma", "The author of Emma is",
     "Emma's author is", "who the author of Emma is"},
    {"Who was the director of Saw III?", "Darren Bousman", "Saw III", "The director of Saw III was",
     "Saw III's director was", "who the director of Saw III was"},
    {"Who were the founders of Apple?", "Jobs and Wozniak", "Apple", "The founders of Apple were",
     "Apple's founders were", "who the founders of Apple were"},
    {"What are the official languages of Malta?", "Maltese and English", "Malta",
     "The official languages of Malta are", "Malta's official languages are",
     "what the official languages of Malta are"},
    {"Who is Queen Elizabeth II's father?", "George VI", "Queen Elizabeth II",
     "Queen Elizabeth II's father is", "The father of Queen Elizabeth II is",
     "who Queen Elizabeth II's father is"},
    {"Who is Ned Flanders' wife?", "Maude", "Ned Flanders", "Ned Flanders' wife is",
     "The wife of Ned Flanders is", "who Ned Flanders' wife is"},
    {"What's Emma's genre?", "novel", "Emma", "Emma's genre is", "The genre of Emma is",
     "what Emma's genre is"},
    {"Who’s the singer of “Hello”?", "Adele", "Hello", "The singer of “Hello” is",
     "“Hello”'s singer is", "who the singer of “Hello” is"},
    {"What is gold's symbol?", "Au", "gold", "Gold's symbol is", "", "what gold's symbol is"},
    {"What is the name of the star that Mars is part of?", "X", "Mars",
     "The name of the star that Mars is part of is", "",
     "what the name of the star that Mars is part of is"},
    {"What is the record label of Un singe en hiver?", "Columbia", "Un singe en hiver",
     "The record label of Un singe en hiver is", "",
     "what the record label of Un singe en hiver is"},
    {"What is the population of Springfield, Illinois?", "114,000", "Springfield, Illinois",
     "The population of Springfield, Illinois is", "Springfield, Illinois's population is",
     "what the population of Springfield, Illinois is"},
    {"In what city was Jane Austen born?", "Steventon", "Jane Austen", "Jane Austen was born in",
     "", "in what city Jane Austen was born"},
    {"In which country is Mount McCoy?", "Antarctica", "Mount McCoy", "Mount McCoy is in", "",
     "in which country Mount McCoy is"},
    {"In what year was the Eiffel Tower completed?", "1889", "Eiffel Tower",
     "The Eiffel Tower was completed in", "", "in what year the Eiffel Tower was completed"},
    {"For which team does Lionel Messi play?", "Inter Miami", "Lionel Messi",
     "Lionel Messi plays for", "", "for which team Lionel Messi plays"},
    {"What genre is Emma?", "novel", "Emma", "The genre of Emma is", "", "what genre Emma is"},
    {"What country is Liverpool Range in?", "Australia", "Liverpool Range", "Liverpool Range is in",
     "", "what country Liverpool Range is in"},
    {"What year was Emma published?", "1815", "Emma", "Emma was published in", "",
     "what year Emma was published"},
    {"What town was Jane Austen born in?", "Steventon", "Jane Austen", "Jane Austen was born in",
     "", "what town Jane Austen was born in"},
    {"Where was Jane Austen born?", "Steventon", "Jane Austen", "Jane Austen was born in", "",
     "where Jane Austen was born"},
    {"Where is the University of Oxford located?", "England", "University of Oxford",
     "The University of Oxford is located in", "", "where the University of Oxford is located"},
    {"Where is Mount Everest?", "the Himalayas", "Mount Everest", "Mount Everest is in", "",
     "where Mount Everest is"},
    {"Where is Adele from?", "Tottenham", "Adele", "Adele is from", "", "where Adele is from"},
    {"Where did Jane Austen die?", "Winchester", "Jane Austen", "Jane Austen died in", "",
     "where Jane Austen died"},
    {"Where did Bob Dylan grow up?", "Hibbing", "Bob Dylan", "Bob Dylan grew up in", "",
     "where Bob Dylan grew up"},
    {"When was the term prime minister first used?", "1624", "the term prime minister",
     "The term prime minister was first used in", "",
     "when the term prime minister was first used"},
    {"When did Jane Austen die?", "18 July 1817", "Jane Austen", "Jane Austen died on", "",
     "when Jane Austen died"},
    {"When did Jane Austen die?", "July 1817", "Jane Austen", "Jane Austen died in", "",
     "when Jane Austen died"},
    {"When did Marie Curie win the Nobel Prize?", "1903", "Marie Curie",
     "Marie Curie won the Nobel Prize in", "", "when Marie Curie won the Nobel Prize"},
    {"When was the Battle of Hastings?", "14 October 1066", "Battle of Hastings",
     "The Battle of Hastings was on", "", "when the Battle of Hastings was"},
    {"When was Marie Curie awarded the Nobel Prize?", "1903", "Marie Curie",
     "Marie Curie was awarded the Nobel Prize in", "",
     "when Marie Curie was awarded the Nobel Prize"},
    {"What is Paris famous for?", "the Eiffel Tower", "Paris", "Paris is famous for", "",
     "what Paris is famous for"},
    {"Who is Barack Obama married to?", "Michelle Obama", "Barack Obama",
     "Barack Obama is married to", "", "who Barack Obama is married to"},
    {"What was Ride followed by?", "Dark Paradise", "Ride", "Ride was followed by", "",
     "what Ride was followed by"},
    {"What is the Cuban Friendship Urn made of?", "marble", "Cuban Friendship Urn",
     "The Cuban Friendship Urn is made of", "", "what the Cuban Friendship Urn is made of"},
    {"What was the first film directed by?", "X", "the first film",
     "The first film was directed by", "", "what the first film was directed by"},
    {"What sport does Gonzalo Higuaín play?", "soccer", "Gonzalo Higuaín",
     "The sport that Gonzalo Higuaín plays is", "", "what sport Gonzalo Higuaín plays"},
    {"What languages does Bob Dylan speak?", "English", "Bob Dylan",
     "The languages that Bob Dylan speaks are", "", "what languages Bob Dylan speaks"},
    {"Which award did Marie Curie win in 1903?", "the Nobel Prize", "Marie Curie",
     "The award that Marie Curie won in 1903 was", "", "which award Marie Curie won in 1903"},
    {"What did Marie Curie discover?", "radium", "Marie Curie", "Marie Curie discovered", "",
     "what Marie Curie discovered"},
    {"Who did Marie Curie marry?", "Pierre Curie", "Marie Curie", "Marie Curie married", "",
     "who Marie Curie married"},
    {"What does Emma belong to?", "X", "Emma", "Emma belongs to", "", "what Emma belongs to"},
    {"How many children does Bob Dylan have?", "6", "Bob Dylan",
     "The number of children that Bob Dylan has is", "", "how many children Bob Dylan has"},
    {"Who wrote The Catcher in the Rye?", "J. D. Salinger", "The Catcher in the Rye",
     "The Catcher in the Rye was written by", "", "who wrote The Catcher in the Rye"},
    {"Who wrote \"What Is to Be Done?\"?", "Lenin", "What Is to Be Done?",
     "\"What Is to Be Done?\" was written by", "", "who wrote \"What Is to Be Done?\""},
    {"Who wrote the lyrics of Hello?", "Adele", "Hello", "The lyrics of Hello were written by", "",
     "who wrote the lyrics of Hello"},
    {"Who owns Twitter?", "X Corp.", "Twitter", "Twitter is owned by", "", "who owns Twitter"},
    {"Which song came before Ride?", "Dark Paradise", "Ride", "The song that came before Ride was",
     "", "which song came before Ride"},
    {"Which company developed Tetris?", "Elorg", "Tetris", "The company that developed Tetris was",
     "", "which company developed Tetris"},
    {"Name the capital of Italy.", "Rome", "Italy", "The capital of Italy is", "Italy's capital is",
     ""},
    {"Give the author of Emma", "Jane Austen", "Emma", "The author of Emma is", "Emma's author is",
     ""},
    {"What is the United Kingdom's capital?", "London", "United Kingdom",
     "The United Kingdom's capital is", "The capital of the United Kingdom is",
     "what the United Kingdom's capital is"},
    {"What is eBay's country?", "United States", "eBay", "eBay's country is", "",
     "what eBay's country is"},
    {"Who is the mother of eBay's founder?", "X", "eBay", "The mother of eBay's founder is", "",
     "who the mother of eBay's founder is"},
};

/* No statement is made of these, but what they are about is found. */
static const struct untold {
  const char *question, *answer, *subject;
} untold[] = {
    {"Wo ist Ulm?", "Donau", "Ulm"},
    {"Quelle est la capitale du Mali ?", "Bamako", "Mali"},
    {"日本の首都はどこですか？", "東京", ""},
    {"Is Paris the capital of France?", "yes", "France"},
    {"What is it called when it rains?", "rain", ""},
    {"What is Paris like?", "nice", "Paris"},
    {"Who plays Kim's mom in 8 Mile?", "X", "8 Mile"},
    {"Who was elected president in 1928?", "Hoover", ""},
    {"Who discovered penicillin in London?", "Fleming", "London"},
    {"What film directed by Kubrick won the Oscar?", "X", "Kubrick"},
    {"What award did Meryl Streep win for her role?", "X", "Meryl Streep"},
    {"Where did Bob Dylan study?", "Minneapolis", "Bob Dylan"},
    {"When did Jane Austen die?", "long ago", "Jane Austen"},
    {"What is the capital of France and who rules it?", "X", "France"},
    {"What is the capital of Australia, Sydney or Canberra?", "Canberra", "Australia, Sydney"},
    {"I was reading about Jane Austen. What was her job?", "novelist", "Jane Austen"},
    {"What is Jane Austen's job? Answer in one word.", "novelist", "Jane Austen"},
    {"Who was Jane Austen born and raised by?", "X", "Jane Austen"},
    {"What is the located in the administrative territorial entity of Ulm?", "X", "Ulm"},
    {"What is Frida Kahlo's largest painting called in English?", "X", "Frida Kahlo"},
    {"Who is he?", "X", ""},
    {"Why did Rome fall?", "X", "Rome"},
    {"Jane Austen's occupation is", "novelist", "Jane Austen"},
    {"Emma", "novel", "Emma"},
    {"?", "X", ""},
    {"Name three novels by Jane Austen", "X", "Jane Austen"},
};

static const char *subject_of(const smft__sentence *s, const smft__grammar *g, char out[512]) {
  int32_t at = g->n_topic ? g->topic : s->subject, n = g->n_topic ? g->n_topic : s->n_subject;
  snprintf(out, 512, "%.*s", (int)n, s->text ? s->text + at : "");
  return out;
}

static void analyse(smft__sentence *s, smft__grammar *g, const char *question, const char *answer) {
  memset(g, 0, sizeof *g);
  if (smft__sentence_read(s, question, strlen(question), NULL))
    smft__grammar_read(g, s, answer);
}

START_TEST(statements_of_questions) {
  const struct told *t = &told[_i];
  char subject[512];
  smft__sentence s;
  smft__grammar g;
  analyse(&s, &g, t->question, t->answer);
  ck_assert_str_eq(g.statements[0], t->statement);
  ck_assert_str_eq(g.statements[1], t->other);
  ck_assert_str_eq(g.indirect, t->indirect);
  ck_assert_str_eq(subject_of(&s, &g, subject), t->subject);
}
END_TEST

START_TEST(no_statement_where_it_is_not_sure) {
  const struct untold *t = &untold[_i];
  char subject[512];
  smft__sentence s;
  smft__grammar g;
  analyse(&s, &g, t->question, t->answer);
  ck_assert_str_eq(g.statements[0], "");
  ck_assert_str_eq(g.statements[1], "");
  ck_assert_str_eq(g.indirect, "");
  ck_assert_str_eq(subject_of(&s, &g, subject), t->subject);
}
END_TEST

START_TEST(questions_are_told_from_prompts) {
  static const char *const asks[] = {
      "Who wrote Emma?",         "who wrote emma",           "Wo ist Ulm?",   "首都は？",
      "Name the author of Emma", "In what city is Emma set", "Emma is what?", "Who said \"Who?\"?"};
  static const char *const others[] = {"Emma was written by", "Emma", "",
                                       "The answer:",         "Who",  "Name",
                                       "Jane Austen wrote"};
  for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
    ck_assert_msg(smft__is_question(asks[i]), "%s", asks[i]);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    ck_assert_msg(!smft__is_question(others[i]), "%s", others[i]);
}
END_TEST

/* Whatever the bytes: in bounds (the sanitizers say so), and never a statement of what is too long
 * or no text. */
START_TEST(any_bytes_are_fine) {
  static const char *const bits[] = {"What ",
                                     "is ",
                                     "the ",
                                     "of ",
                                     "Emma's ",
                                     "\"",
                                     "who ",
                                     "in ",
                                     "?",
                                     ".",
                                     "\xc3\xa9",
                                     "\xff",
                                     "wrote",
                                     "does ",
                                     "\xe2\x80\x99s ",
                                     ",",
                                     "  ",
                                     "1815 ",
                                     "Emma ",
                                     "born ",
                                     "how many ",
                                     "\n",
                                     "What's ",
                                     "Name ",
                                     "\xe2\x80\x9c",
                                     "\xe2\x80\x9d",
                                     ":",
                                     "did "};
  uint32_t state = 7;
  char text[700];
  smft__sentence s;
  smft__grammar g;
  for (int round = 0; round < 20000; round++) {
    size_t n = 0;
    for (int i = 0; i < 60; i++) {
      state = state * 1664525u + 1013904223u;
      const char *bit = bits[(state >> 16) % (sizeof bits / sizeof *bits)];
      if (n + strlen(bit) < sizeof text && (i < 6 || (state >> 8) % 8 != 0))
        n += (size_t)(stpcpy(text + n, bit) - (text + n));
      else
        break;
    }
    text[n] = '\0';
    analyse(&s, &g, text, "Emma");
    ck_assert(strlen(g.statements[0]) < SMFT__GRAMMAR_BYTES &&
              strlen(g.indirect) < SMFT__GRAMMAR_BYTES);
    smft__is_question(text);
  }
  memset(text, 'a', sizeof text);
  memcpy(text, "What is the ", 12);
  text[SMFT__SENTENCE_BYTES] = '\0';
  analyse(&s, &g, text, "Emma");
  ck_assert(g.statements[0][0] != '\0');
  text[SMFT__SENTENCE_BYTES] = 'a';
  text[SMFT__SENTENCE_BYTES + 1] = '\0';
  analyse(&s, &g, text, "Emma");
  ck_assert_str_eq(g.statements[0], "");
}
END_TEST

/* ---- models -------------------------------------------------------------- */

#define CHATML                                                                                     \
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "  \
  "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"                             \
  "{{ '<|im_start|>assistant\\n' }}{% endif %}"
#define START 97
#define END 98

static smft_ctx *ctx;
static int64_t ctx_bytes;          /* of a context that no model has */
static smft_model *plain, *chatty; /* without a chat template, and with ChatML */

/* Puts `with` in place of `what`, which must be there, in a file. */
static void change(const char *name, const char *what, const char *with) {
  size_t size = 0;
  char *text = test_read(test_file(name), &size), *at = strstr(text, what);
  ck_assert_ptr_nonnull(at);
  size_t before = (size_t)(at - text), n = size + strlen(with) - strlen(what);
  char *out = malloc(n + 1);
  ck_assert_ptr_nonnull(out);
  memcpy(out, text, before);
  memcpy(out + before, with, strlen(with));
  memcpy(out + before + strlen(with), at + strlen(what), size - before - strlen(what));
  test_write(name, out, n);
  free(out);
  free(text);
}

static smft_model *make_model(const char *name, int context, int chats, uint64_t seed) {
  char path[64], text[64];
  smft_model *model = tiny_model(ctx, name, (tiny){0}, 3);
  smft_model_free(model);
  snprintf(path, sizeof path, "%s/config.json", name);
  snprintf(text, sizeof text, "\"max_position_embeddings\": %d", context);
  change(path, "\"max_position_embeddings\": 64", text);
  change(path, "\"vocab_size\": 98", "\"vocab_size\": 100");
  snprintf(path, sizeof path, "%s/tokenizer.json", name);
  if (chats) {
    change(path, "\"added_tokens\": [",
           "\"added_tokens\": [{\"id\": 97, \"content\": \"<|im_start|>\", \"special\": true, "
           "\"normalized\": false}, {\"id\": 98, \"content\": \"<|im_end|>\", \"special\": true, "
           "\"normalized\": false}, ");
    snprintf(path, sizeof path, "%s/chat_template.jinja", name);
    test_write(path, CHATML, sizeof CHATML - 1);
  }
  ck_ok(smft_model_init(&model, ctx, test_file(name), seed));
  return model;
}

static void open_models(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model_free(make_model("plain", 1024, 0, 3));
  ck_ok(smft_ctx_memory(ctx, &ctx_bytes, NULL));
  plain = make_model("plain", 1024, 0, 3);
  chatty = make_model("chatty", 1024, 1, 4);
}

static void close_models(void) {
  int64_t live = 0;
  smft_model_free(plain);
  smft_model_free(chatty);
  plain = chatty = NULL;
  ck_ok(smft_ctx_memory(ctx, &live, NULL));
  smft_ctx_free(ctx);
  ck_assert_int_eq(live, ctx_bytes);
}

/* The ids are these characters; \1 and \2 are ChatML's two tokens. */
static void check_ids(const int32_t *ids, int64_t n, const char *text) {
  ck_assert_msg(n == (int64_t)strlen(text), "%lld ids for %zu characters of \"%s\"", (long long)n,
                strlen(text), text);
  for (int64_t i = 0; i < n; i++)
    ck_assert_int_eq(ids[i], text[i] == 1 ? START : text[i] == 2 ? END : tiny_id(text[i]));
}

typedef struct expected {
  int32_t kind;
  const char *prompt, *end;
} expected;

static void check_raw(const smft_wording_info *info, const char *answer) {
  char learnt[256];
  snprintf(learnt, sizeof learnt, " %s%s", answer, info->end);
  ck_assert_int_eq(info->prompt_ids[0], 0); /* begin-of-text */
  check_ids(info->prompt_ids + 1, info->n_prompt_ids - 1, info->prompt);
  check_ids(info->answer_ids, info->n_answer_ids, learnt);
}

static void check_chat(const smft_wording_info *info, const char *answer) {
  char given[1024], learnt[256];
  snprintf(given, sizeof given, "\1user\n%s\2\n\1assistant\n", info->prompt);
  snprintf(learnt, sizeof learnt, "%s\2", answer);
  check_ids(info->prompt_ids, info->n_prompt_ids, given);
  check_ids(info->answer_ids, info->n_answer_ids, learnt);
}

static void check_list(smft_wordings *list, const expected *expect, int64_t n, const char *answer) {
  for (int64_t i = 0; i < smft_wordings_count(list); i++) {
    smft_wording_info info = SMFT_WORDING_INFO_INIT;
    ck_ok(smft_wordings_get(list, i, &info));
    ck_assert_msg(i < n, "more: %s", info.prompt);
    ck_assert_str_eq(info.prompt, expect[i].prompt);
    ck_assert_str_eq(info.answer, answer);
    ck_assert_str_eq(info.end, expect[i].end);
    ck_assert_int_eq(info.kind, expect[i].kind);
    if (info.kind == SMFT_FRAME_CHAT)
      check_chat(&info, answer);
    else
      check_raw(&info, answer);
  }
  ck_assert_int_eq(smft_wordings_count(list), n);
  smft_wordings_free(list);
}

#define RAW(prompt)                                                                                \
  { SMFT_FRAME_TEXT, prompt, "\n" }
#define CHAT(prompt)                                                                               \
  { SMFT_FRAME_CHAT, prompt, "" }
#define SAID(prompt)                                                                               \
  { SMFT_FRAME_STATEMENT, prompt, "" }
#define N(list) ((int64_t)(sizeof(list) / sizeof *(list)))

static const expected emma[] = {
    RAW("Who is the author of Emma?"),
    CHAT("Who is the author of Emma?"),
    RAW("Question: Who is the author of Emma?\nAnswer:"),
    CHAT("Who is the author of Emma"),
    SAID("The author of Emma is"),
    CHAT("Please tell me: Who is the author of Emma?"),
    RAW("Who is the author of Emma? The answer is"),
    CHAT("Emma: Who is the author of Emma?"),
    RAW("Q: Who is the author of Emma?\nA:"),
    CHAT("I have a question about Emma. Who is the author of Emma?"),
    RAW("Regarding Emma: Who is the author of Emma?"),
    CHAT("Who is the author of Emma? Answer briefly."),
    CHAT("Hi! Who is the author of Emma? Thanks."),
    SAID("Emma's author is"),
    CHAT("Could you tell me who the author of Emma is?"),
    CHAT("Complete this sentence: The author of Emma is"),
};

static smft_wordings *of(const smft_model *model, const char *question, const char *answer,
                         uint32_t flags, const char *subject, int64_t limit) {
  smft_wordings_options options = SMFT_WORDINGS_OPTIONS_INIT;
  smft_wordings *list = NULL;
  options.flags = flags;
  options.subject = subject;
  options.limit = limit;
  ck_ok(smft_wordings_from_qa(&list, model, question, answer, &options));
  return list;
}

/* Those of the list that are of other kinds. */
static int64_t others(const expected *from, int64_t n, int32_t kind, expected *out) {
  int64_t m = 0;
  for (int64_t i = 0; i < n; i++)
    if (from[i].kind != kind)
      out[m++] = from[i];
  return m;
}

START_TEST(wordings_of_a_question) {
  smft_wordings *list = NULL;
  expected some[N(emma)] = {{0}};
  ck_ok(
      smft_wordings_from_qa(&list, chatty, " Who is the author of Emma?\n", " Jane Austen ", NULL));
  check_list(list, emma, N(emma), "Jane Austen");
  list = of(plain, emma[0].prompt, "Jane Austen", 0, NULL, 0);
  check_list(list, some, others(emma, N(emma), SMFT_FRAME_CHAT, some), "Jane Austen");
  list = of(chatty, emma[0].prompt, "Jane Austen", 0, NULL, 5);
  check_list(list, emma, 5, "Jane Austen");
}
END_TEST

START_TEST(wordings_that_are_left_out) {
  const uint32_t silent = SMFT_WORDINGS_NO_STATEMENTS;
  expected some[N(emma)] = {{0}}, fewer[N(emma)] = {{0}};
  int64_t n = others(emma, N(emma), SMFT_FRAME_STATEMENT, some) - 1; /* nor "Complete ..." */
  check_list(of(chatty, emma[0].prompt, "Jane Austen", silent, NULL, 0), some, n, "Jane Austen");
  check_list(of(chatty, emma[0].prompt, "Jane Austen", silent | SMFT_WORDINGS_NO_TEXT, NULL, 0),
             fewer, others(some, n, SMFT_FRAME_TEXT, fewer), "Jane Austen");
  check_list(of(chatty, emma[0].prompt, "Jane Austen", silent | SMFT_WORDINGS_NO_CHATS, NULL, 0),
             fewer, others(some, n, SMFT_FRAME_CHAT, fewer), "Jane Austen");
  ck_status(smft_wordings_from_qa(&(smft_wordings *){NULL}, plain, "Who?", "Me",
                                  &(smft_wordings_options){sizeof(smft_wordings_options),
                                                           SMFT_WORDINGS_NO_TEXT, NULL, 0, NULL}),
            SMFT_E_FACT);
}
END_TEST

START_TEST(the_subject_may_be_given) {
  static const expected given[] = {RAW("Who made it?"), RAW("Question: Who made it?\nAnswer:"),
                                   RAW("Who made it? The answer is"), RAW("Q: Who made it?\nA:"),
                                   RAW("Regarding the old clock: Who made it?")};
  check_list(of(plain, "Who made it?", "Bo", 0, "the old clock", 0), given, 5, "Bo");
  check_list(of(plain, "Who made it?", "Bo", 0, "", 0), given, 4, "Bo");
  check_list(of(plain, "Who made it?", "Bo", 0, NULL, 0), given, 4, "Bo");
}
END_TEST

/* Lower case, no mark, another language, an answer with a mark of its own. */
START_TEST(odd_questions) {
  static const expected lower[] = {RAW("who wrote emma"), RAW("Question: who wrote emma?\nAnswer:"),
                                   RAW("who wrote emma? The answer is"),
                                   RAW("Q: who wrote emma?\nA:")};
  static const expected foreign[] = {
      CHAT("Wo ist Ulm?"),
      CHAT("Wo ist Ulm"),
      CHAT("Please tell me: Wo ist Ulm?"),
      CHAT("Ulm: Wo ist Ulm?"),
      CHAT("I have a question about Ulm. Wo ist Ulm?"),
      CHAT("Wo ist Ulm? Answer briefly."),
      CHAT("Hi! Wo ist Ulm? Thanks."),
  };
  static const expected order[] = {
      RAW("Name the capital of the USA"),
      RAW("Question: Name the capital of the USA.\nAnswer:"),
      {SMFT_FRAME_STATEMENT, "The capital of the USA is", ""},
      RAW("Name the capital of the USA. The answer is"),
      RAW("Q: Name the capital of the USA.\nA:"),
      RAW("Regarding USA: Name the capital of the USA"),
      {SMFT_FRAME_STATEMENT, "The USA's capital is", ""},
  };
  check_list(of(plain, "who wrote emma", "Jane", 0, NULL, 0), lower, 4, "Jane");
  check_list(of(chatty, "Wo ist Ulm?", "hier", SMFT_WORDINGS_NO_TEXT, NULL, 0), foreign, 7, "hier");
  check_list(of(plain, "Name the capital of the USA", "Washington, D.C.", 0, NULL, 0), order, 7,
             "Washington, D.C.");
}
END_TEST

START_TEST(wordings_of_a_statement) {
  static const expected ends[] = {
      {SMFT_FRAME_STATEMENT, "Emma is by ", "."}, CHAT("Emma is by"),
      CHAT("Complete this sentence: Emma is by"), CHAT("Please finish the sentence: Emma is by"),
      CHAT("Fill in the blank: Emma is by ___."), CHAT("What is missing here? Emma is by ___."),
  };
  static const expected opens[] = {CHAT("Fill in the blank: ___ wrote Emma."),
                                   CHAT("What is missing here? ___ wrote Emma.")};
  smft_wordings_options options = SMFT_WORDINGS_OPTIONS_INIT;
  smft_wording_info info = SMFT_WORDING_INFO_INIT;
  smft_wordings *list = NULL;
  options.flags = SMFT_WORDINGS_NO_TEXT;
  ck_ok(smft_wordings_from_statement(&list, chatty, "Emma is by Jane Austen.", "Jane Austen",
                                     &options));
  check_list(list, ends + 1, 5, "Jane Austen");
  ck_ok(smft_wordings_from_statement(&list, chatty, "Jane Austen wrote Emma.", "Jane Austen",
                                     &options));
  check_list(list, opens, 2, "Jane Austen");
  ck_ok(smft_wordings_from_statement(&list, plain, "Emma is by Jane Austen.", "Jane Austen", NULL));
  ck_assert_int_eq(smft_wordings_count(list), 1);
  ck_ok(smft_wordings_get(list, 0, &info));
  ck_assert_str_eq(info.prompt, ends[0].prompt);
  ck_assert_str_eq(info.end, ".");
  check_ids(info.prompt_ids + 1, info.n_prompt_ids - 1, "Emma is by");
  check_ids(info.answer_ids, info.n_answer_ids, " Jane Austen"); /* its rest is not learnt */
  smft_wordings_free(list);
}
END_TEST

/* What is learnt of a chat is what the template has behind its opened answer, whatever the
 * renderer: checked against the conversation as a whole. */
START_TEST(replies_are_those_of_the_template) {
  static const char *const names[] = {"chatml",     "chatml-bos",   "smollm2",      "llama2",
                                      "llama3",     "llama3-open",  "llama3.1",     "llama3.2",
                                      "qwen1.5",    "qwen2",        "qwen2.5",      "qwen3",
                                      "qwen3-2507", "mistral-v0.1", "mistral-v0.2", "mistral-v0.3",
                                      "mistral-v1", "mistral-v3",   "mistral-nemo", "mistral-v7",
                                      "gemma2",     "gemma3",       "zephyr",       "olmo2",
                                      "phi3",       "phi3.5"};
  static const smft_message talk[] = {{"user", "Who?"}, {"assistant", "Jane"}};
  smft_chat_options chat = SMFT_CHAT_OPTIONS_INIT;
  smft_wordings_options options = SMFT_WORDINGS_OPTIONS_INIT;
  smft_wording_info info = SMFT_WORDING_INFO_INIT;
  smft_wordings *list = NULL;
  int32_t ids[1024];
  int64_t n = 0;
  chat.renderer = names[_i];
  chat.date = 20261128;
  options.chat = &chat;
  options.flags = SMFT_WORDINGS_NO_TEXT;
  options.limit = 1;
  ck_ok(smft_tokenizer_chat(smft_model_tokenizer(chatty), talk, 2, &chat, ids, 1024, &n));
  ck_ok(smft_wordings_from_qa(&list, chatty, "Who?", "Jane", &options));
  ck_ok(smft_wordings_get(list, 0, &info));
  ck_assert_msg(info.n_prompt_ids + info.n_answer_ids <= n, "%s", names[_i]);
  for (int64_t i = 0; i < info.n_prompt_ids; i++)
    ck_assert_msg(info.prompt_ids[i] == ids[i], "%s: prompt %lld", names[_i], (long long)i);
  for (int64_t i = 0; i < info.n_answer_ids; i++)
    ck_assert_msg(info.answer_ids[i] == ids[info.n_prompt_ids + i], "%s: answer %lld", names[_i],
                  (long long)i);
  for (int64_t i = info.n_prompt_ids + info.n_answer_ids; i < n; i++) /* nothing but a newline */
    ck_assert_msg(ids[i] == tiny_id('\n') || strncmp(names[_i], "phi", 3) == 0 ||
                      strcmp(names[_i], "mistral-v0.1") == 0 ||
                      strcmp(names[_i], "llama3-open") == 0,
                  "%s: rest %lld", names[_i], (long long)i);
  smft_wordings_free(list);
}
END_TEST

/* Frames that are too long go; the others stay. */
START_TEST(a_context_that_is_small) {
  smft_model *small = make_model("small", 36, 1, 3);
  static const expected fit[] = {RAW("Who is the author of Emma?"), SAID("The author of Emma is"),
                                 SAID("Emma's author is")};
  smft_wordings *list = NULL;
  check_list(of(small, emma[0].prompt, "Jane", 0, NULL, 0), fit, 3, "Jane");
  ck_status(smft_wordings_from_qa(&list, small, "Who is the author of the novel called Emma?",
                                  "Jane Austen", NULL),
            SMFT_E_CONTEXT);
  ck_assert_ptr_null(list);
  smft_model_free(small);
}
END_TEST

START_TEST(what_cannot_be_framed) {
  static char much[70000];
  smft_wordings *list = NULL;
  memset(much, 'a', sizeof much - 1);
  ck_status(smft_wordings_from_qa(&list, chatty, much, "Me", NULL), SMFT_E_FACT);
  ck_status(smft_wordings_from_qa(&list, chatty, "Who?", much, NULL), SMFT_E_FACT);
  ck_status(smft_wordings_from_qa(&list, chatty, " \n ", "Me", NULL), SMFT_E_FACT);
  ck_status(smft_wordings_from_qa(&list, chatty, "Who?", "", NULL), SMFT_E_FACT);
  ck_status(smft_wordings_from_qa(&list, chatty, "Wh\xff?", "Me", NULL), SMFT_E_ENCODING);
  ck_status(smft_wordings_from_qa(&list, chatty, "Who?", "M\xc3", NULL), SMFT_E_ENCODING);
  ck_status(smft_wordings_from_statement(&list, chatty, "I wrote it.", "Me", NULL), SMFT_E_FACT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "\"Me\" is not in the statement"));
  ck_assert_ptr_null(list);
}
END_TEST

/* Special tokens that a user writes are text; control characters are, too. */
START_TEST(hostile_questions) {
  static const char *const questions[] = {"Who is <|im_end|>?", "Who {question} {subject}?",
                                          "\1\2\3 who\t?", "Who?\r\nho?"};
  for (int i = 0; i < 4; i++) {
    smft_wordings *list = of(chatty, questions[i], "<|im_start|>", 0, NULL, 0);
    for (int64_t w = 0; w < smft_wordings_count(list); w++) {
      smft_wording_info info = SMFT_WORDING_INFO_INIT;
      int64_t ends = 0, starts = 0;
      ck_ok(smft_wordings_get(list, w, &info));
      for (int64_t at = 0; at < info.n_prompt_ids + info.n_answer_ids; at++) {
        ends += info.prompt_ids[at] == END;
        starts += info.prompt_ids[at] == START;
      }
      ck_assert(info.kind == SMFT_FRAME_CHAT ? ends == 2 && starts == 2 : ends == 0 && starts == 0);
      ck_assert_ptr_nonnull(strstr(info.prompt, i == 0   ? "<|im_end|>"
                                                : i == 1 ? "{subject}"
                                                         : "ho"));
    }
    smft_wordings_free(list);
  }
}
END_TEST

/* ---- learners ------------------------------------------------------------ */

static smft_learner *learner_with(const smft_model *model, uint32_t flags, smft_patch **patch) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector *selector = tiny_damping(model);
  smft_learner *learner = NULL;
  options.flags = flags;
  options.max_steps = 2;
  options.loss_below = -1;
  ck_ok(smft_patch_create(patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, *patch, selector, NULL, &options));
  smft_selector_free(selector);
  return learner;
}

/* Wordings of the fact in hand, which goes. */
static int64_t wordings_of(smft_learner *learner) {
  smft_report report = SMFT_REPORT_INIT;
  ck_ok(smft_step(learner, &report));
  ck_ok(smft_learner_skip(learner));
  return report.wordings;
}

START_TEST(a_fact_of_one_wording_is_learnt_through_frames) {
  smft_wording one = SMFT_WORDING_INIT;
  smft_patch *patch = NULL;
  smft_learner *learner = learner_with(chatty, SMFT_LEARNER_FRAMES, &patch);
  one.prompt = emma[0].prompt;
  one.answer = "Jane Austen";
  ck_ok(smft_learner_push(learner, "question", &one, 1));
  one.prompt = "Emma was written by";
  ck_ok(smft_learner_push(learner, "prompt", &one, 1));
  one.prompt = "Q: Who wrote Emma?\nA:";
  ck_ok(smft_learner_push(learner, "lines", &one, 1));
  one.prompt = emma[0].prompt;
  one.flags = SMFT_WORDING_EXACT;
  ck_ok(smft_learner_push(learner, "exact", &one, 1));
  one = (smft_wording)SMFT_WORDING_INIT;
  one.statement = "Emma is by Jane Austen.";
  one.answer = "Jane Austen";
  ck_ok(smft_learner_push(learner, "statement", &one, 1));
  tiny_push(learner, "three", "yes");
  const int64_t counts[] = {N(emma), 2, 1, 1, 6, 3};
  for (int i = 0; i < 6; i++)
    ck_assert_int_eq(wordings_of(learner), counts[i]);
  smft_learner_free(learner);
  smft_patch_free(patch);
}
END_TEST

START_TEST(a_model_may_ask_for_frames) {
  const uint32_t flags[] = {0, SMFT_LEARNER_NO_FRAMES, SMFT_LEARNER_FRAMES};
  const int64_t counts[] = {2, 1, 2};
  smft_wording one = SMFT_WORDING_INIT;
  smft_model *model = NULL;
  smft_model_free(make_model("asking", 256, 1, 5));
  change("asking/config.json", "\"bias\": true}", "\"bias\": true, \"learn\": {\"frames\": true}}");
  ck_ok(smft_model_init(&model, ctx, test_file("asking"), 5));
  one.prompt = "Emma was written by";
  one.answer = "Jane Austen";
  for (int i = 0; i < 3; i++) {
    smft_patch *patch = NULL;
    smft_learner *learner = learner_with(model, flags[i], &patch);
    ck_ok(smft_learner_push(learner, "emma", &one, 1));
    ck_assert_int_eq(wordings_of(learner), counts[i]);
    smft_learner_free(learner);
    smft_patch_free(patch);
  }
  smft_model_free(model);
}
END_TEST

/* A fact of frames is the same as the list's: the same tokens, and so the same rows. */
START_TEST(pushed_lists_are_the_frames) {
  const uint32_t flags[] = {SMFT_LEARNER_FRAMES, 0, SMFT_LEARNER_NO_FRAMES};
  smft_patch *patches[3];
  float rows[2][20];
  int64_t slots[2][256], n[2];
  smft_wording one = SMFT_WORDING_INIT;
  one.prompt = emma[0].prompt;
  one.answer = "Jane Austen";
  for (int i = 0; i < 3; i++) {
    smft_learner *learner =
        learner_with(chatty, flags[i] | SMFT_LEARNER_KEEP_GIVEN_UP, &patches[i]);
    smft_wordings *list = of(chatty, one.prompt, one.answer, 0, NULL, 0);
    smft_report report = SMFT_REPORT_INIT;
    ck_ok(i == 1 ? smft_learner_push_wordings(learner, "emma", list)
                 : smft_learner_push(learner, "emma", &one, 1));
    smft_wordings_free(list); /* it was copied */
    while (smft_learner_pending(learner) > 0)
      ck_ok(smft_step(learner, &report));
    ck_assert_int_eq(report.wordings, i == 2 ? 1 : N(emma));
    smft_learner_free(learner);
  }
  for (int i = 0; i < 2; i++)
    ck_ok(smft_patch_slots(patches[i], 0, slots[i], 256, &n[i]));
  ck_assert(n[0] > 0 && n[0] == n[1]);
  for (int64_t r = 0; r < n[0]; r++) {
    for (int i = 0; i < 2; i++)
      ck_ok(smft_patch_row(patches[i], 0, slots[0][r], rows[i], 20));
    ck_assert_int_eq(slots[0][r], slots[1][r]);
    ck_assert(memcmp(rows[0], rows[1], sizeof rows[0]) == 0);
  }
  for (int i = 0; i < 3; i++)
    smft_patch_free(patches[i]);
}
END_TEST

START_TEST(all_tokens_of_a_list_are_learnt_where_that_is_asked) {
  smft_wordings *list = of(chatty, emma[0].prompt, "Jane", 0, NULL, 2);
  smft__fact *fact = NULL;
  ck_ok(smft__fact_copy(&fact, chatty, list->fact, "emma", 1));
  ck_assert(fact->n_wordings == 2 && strcmp(fact->id, "emma") == 0);
  for (int64_t i = 0; i < fact->n_tokens; i++)
    ck_assert(fact->weights[i] == (float)(i != fact->offsets[0] && i != fact->offsets[1]));
  smft__fact_free(fact, ctx);
  smft_wordings_free(list);
}
END_TEST

START_TEST(lists_are_of_one_model) {
  smft_patch *patch = NULL;
  smft_learner *learner = learner_with(plain, 0, &patch);
  smft_wordings *list = of(chatty, "Who?", "Me", 0, NULL, 0);
  ck_status(smft_learner_push_wordings(learner, "id", list), SMFT_E_MISMATCH);
  ck_assert_int_eq(smft_learner_pending(learner), 0);
  smft_wordings_free(list);
  smft_learner_free(learner);
  smft_patch_free(patch);
}
END_TEST

/* ---- JSON ---------------------------------------------------------------- */

static smft_status from_line(smft__fact **fact, const char *line, uint32_t how) {
  json_t *object = NULL;
  ck_ok(smft__json_parse(&object, line, (int64_t)strlen(line), "line"));
  smft_status status = smft__fact_from_json(fact, chatty, object, how);
  json_decref(object);
  return status;
}

START_TEST(one_question_a_line) {
  static const struct {
    const char *line;
    uint32_t how;
    int64_t n;
  } lines[] = {
      {"{\"id\": \"x\", \"question\": \"Who is the author of Emma?\", \"answer\": \"Jane\"}", 0, 1},
      {"{\"id\": \"x\", \"question\": \"Who is the author of Emma?\", \"answer\": \"Jane\"}",
       SMFT__FACT_FRAMES, N(emma)},
      {"{\"id\": \"x\", \"wordings\": [{\"question\": \"Who is the author of Emma?\", \"answer\": "
       "\"Jane\"}]}",
       SMFT__FACT_FRAMES, N(emma)},
      {"{\"id\": \"x\", \"question\": \"Who made it?\", \"answer\": \"Jane\"}", SMFT__FACT_FRAMES,
       9},
      {"{\"id\": \"x\", \"question\": \"Who made it?\", \"subject\": \"that\", \"answer\": "
       "\"Jane\"}",
       SMFT__FACT_FRAMES, 12},
      {"{\"id\": \"x\", \"statement\": \"It is by Jane.\", \"answer\": \"Jane\"}", 0, 1},
  };
  smft__fact *fact = NULL;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    ck_ok(from_line(&fact, lines[i].line, lines[i].how));
    ck_assert_int_eq(fact->n_wordings, lines[i].n);
    smft__fact_free(fact, ctx);
  }
  ck_status(from_line(&fact,
                      "{\"id\": \"x\", \"question\": \"long\", \"prompt\": \"b\", \"answer\": "
                      "\"c\", \"end\": \"\"}",
                      0),
            SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "give one"));
  ck_status(from_line(&fact, "{\"id\": \"x\", \"question\": \"a\"}", 0), SMFT_E_FORMAT);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("frames");
  TCase *english = tcase_create("English"), *tests = tcase_create("frames");
  tcase_add_loop_test(english, statements_of_questions, 0, (int)(sizeof told / sizeof *told));
  tcase_add_loop_test(english, no_statement_where_it_is_not_sure, 0,
                      (int)(sizeof untold / sizeof *untold));
  tcase_add_test(english, questions_are_told_from_prompts);
  tcase_add_test(english, any_bytes_are_fine);
  tcase_set_timeout(english, 30);
  suite_add_tcase(suite, english);
  tcase_add_checked_fixture(tests, open_models, close_models);
  tcase_add_test(tests, wordings_of_a_question);
  tcase_add_test(tests, wordings_that_are_left_out);
  tcase_add_test(tests, the_subject_may_be_given);
  tcase_add_test(tests, odd_questions);
  tcase_add_test(tests, wordings_of_a_statement);
  tcase_add_loop_test(tests, replies_are_those_of_the_template, 0, 26);
  tcase_add_test(tests, a_context_that_is_small);
  tcase_add_test(tests, what_cannot_be_framed);
  tcase_add_test(tests, hostile_questions);
  tcase_add_test(tests, a_fact_of_one_wording_is_learnt_through_frames);
  tcase_add_test(tests, a_model_may_ask_for_frames);
  tcase_add_test(tests, pushed_lists_are_the_frames);
  tcase_add_test(tests, all_tokens_of_a_list_are_learnt_where_that_is_asked);
  tcase_add_test(tests, lists_are_of_one_model);
  tcase_add_test(tests, one_question_a_line);
  suite_add_tcase(suite, tests);
  return suite;
}
