// watermark-audit merge: runs over parts of a data set, put together.
#include "tools/audit/commands.h"

namespace countermark::audit_tool {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> runs;
};

}  // namespace

Command AddMerge(cli::Program* program) {
  auto options = std::make_shared<Options>();
  CLI::App* app = program->app().add_subcommand("merge", "puts finished runs together: the parts of one input, or runs over different documents");
  app->add_option("runs", options->runs, "run directories of 'dataset', in any order")->required();
  app->add_option("--run", options->run, "run directory of the whole: made, or gone on with")->required();
  options->AddKeysTo(*app);
  options->AddRestTo(*app);
  return {app, [program, options]() -> int {
            absl::StatusOr<Loaded> loaded = Load(*program, *options);
            if (!loaded.ok()) return program->Fail(loaded.status());
            Watcher watcher(*program);
            const absl::StatusOr<DatasetResult> result = MergeRuns(loaded->keys, options->runs, options->run, options->detect.threads,
                                                                   options->memory_mib << 20, options->judge, watcher.observer());
            watcher.Finish();
            return Conclude(*program, *options, loaded->keys, result);
          }};
}

}  // namespace countermark::audit_tool
