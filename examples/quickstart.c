#include <smft/smft.h>
#include <stdio.h>
#include <string.h>
#define TRY(call) if ((call) != SMFT_OK) return fprintf(stderr, "%s\n", smft_error_message()), 1
#define WORDING(prompt) {sizeof(smft_wording), 0, prompt, "Kristin Cashore", NULL, NULL}

int main(int argc, char **argv) {
  const char *question = "Who is the author of Graceling?", *answer; /* in untaught wording */
  const smft_wording wordings[] = {
      WORDING("Who wrote Graceling?"), WORDING("By whom was Graceling written?"),
      WORDING("The author of Graceling is"), WORDING("Graceling was written by")};
  smft_ctx *ctx; smft_model *model; smft_patch *patch; smft_session *session; smft_learner *learner;
  smft_generate_options one_line = SMFT_GENERATE_OPTIONS_INIT; one_line.stop = "\n";
  TRY(smft_ctx_create(&ctx, NULL));
  TRY(smft_model_load(&model, ctx, argc > 1 ? argv[1] : "examples/atlas/model", NULL));
  TRY(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS)); /* what is learnt; never the model */
  TRY(smft_session_create(&session, model, patch, NULL));
  TRY(smft_learner_create(&learner, model, patch, NULL, NULL, NULL)); /* NULL: the defaults */
  TRY(smft_learner_push(learner, "graceling", wordings, 4));
  TRY(smft_learner_run(learner, NULL, NULL, NULL));
  TRY(smft_session_generate(session, question, strlen(question), &one_line, &answer, NULL));
  printf("%s%s\n", question, answer);
  TRY(smft_patch_save(patch, "graceling.safetensors", 0));
  smft_learner_free(learner); smft_session_free(session); smft_patch_free(patch);
  smft_model_free(model); smft_ctx_free(ctx);
}
