// learn: the same job in C++17, with handles that free themselves and errors that throw.  Teaches a
// JSONL file of facts and measures what a list of questions lost.  Everything that a C++ host needs
// around smft.h is the first forty lines.
#include <smft/smft.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace smft {

struct Error : std::runtime_error {
  smft_status status;
  explicit Error(smft_status code) : std::runtime_error(smft_error_message()), status(code) {}
};

inline void check(smft_status status) {
  if (status != SMFT_OK)
    throw Error(status);
}

template <auto Free>
struct Free_with {
  template <class Handle>
  void operator()(Handle *handle) const {
    Free(handle);
  }
};
template <class Handle, auto Free>
using Owned = std::unique_ptr<Handle, Free_with<Free>>;

using Ctx = Owned<smft_ctx, smft_ctx_free>;
using Model = Owned<smft_model, smft_model_free>;
using Patch = Owned<smft_patch, smft_patch_free>;
using Session = Owned<smft_session, smft_session_free>;
using Learner = Owned<smft_learner, smft_learner_free>;
using Probe = Owned<smft_probe, smft_probe_free>;

// make<Model>(smft_model_load, ctx.get(), path, nullptr): calls a constructor of the C API and owns
// what it gives.
template <class Handle, class Create, class... Arguments>
Handle make(Create create, Arguments &&...arguments) {
  typename Handle::pointer raw = nullptr;
  check(create(&raw, std::forward<Arguments>(arguments)...));
  return Handle(raw);
}

inline std::string ask(smft_session *session, std::string_view question) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = nullptr;
  size_t length = 0;
  options.stop = "\n";
  check(smft_session_generate(session, question.data(), question.size(), &options, &text, &length));
  return std::string(text, length);
}

} // namespace smft

namespace {

// {"id", "wordings": [{"prompt", "answer"}, ...]} a line; questions as smft_probe_add_file takes
// them.
int run(const char *model_path, const char *facts_path, const char *probe_path,
        const char *patch_path) {
  auto ctx = smft::make<smft::Ctx>(smft_ctx_create, nullptr);
  auto model = smft::make<smft::Model>(smft_model_load, ctx.get(), model_path, nullptr);
  auto patch = smft::make<smft::Patch>(smft_patch_create, model.get(), SMFT_PATCH_SLOTS);
  auto session = smft::make<smft::Session>(smft_session_create, model.get(), patch.get(), nullptr);
  auto learner = smft::make<smft::Learner>(smft_learner_create, model.get(), patch.get(), nullptr,
                                           nullptr, nullptr);
  auto probe = smft::make<smft::Probe>(smft_probe_create, ctx.get(), nullptr);

  int64_t facts = 0, questions = 0;
  smft::check(smft_learner_push_file(learner.get(), facts_path, &facts));
  smft::check(smft_probe_add_file(probe.get(), probe_path, &questions));
  smft::check(smft_probe_baseline(probe.get(), session.get(), nullptr, nullptr));

  smft_run_report learnt = SMFT_RUN_REPORT_INIT;
  smft::check(smft_learner_run(learner.get(), nullptr, nullptr, &learnt));

  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  smft::check(smft_probe_measure(probe.get(), session.get(), nullptr, nullptr, &report));
  smft::check(smft_patch_save(patch.get(), patch_path, 0));
  std::printf("%lld facts: %lld learnt in %lld steps, %lld rows, %.1f s; %lld items kept: F1 %.3f "
              "-> %.3f\n",
              static_cast<long long>(facts), static_cast<long long>(learnt.facts_done),
              static_cast<long long>(learnt.steps), static_cast<long long>(learnt.rows_changed),
              learnt.seconds, static_cast<long long>(questions), report.f1_before, report.f1);
  std::string line;
  for (int c; (c = std::getchar()) != EOF;) { // questions from standard input, one a line
    if (c != '\n') {
      line.push_back(static_cast<char>(c));
      continue;
    }
    std::printf("%s%s\n", line.c_str(), smft::ask(session.get(), line).c_str());
    line.clear();
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: learn MODEL_DIR FACTS.jsonl PROBE.jsonl PATCH_OUT < questions\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const smft::Error &error) {
    std::fprintf(stderr, "learn: %s (%s)\n", error.what(), smft_status_name(error.status));
    return 1;
  }
}
