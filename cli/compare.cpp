#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/replay.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/timeline_json.hpp"
#include "realrun/replay_record.hpp"
#include "realrun/timeline_comparison.hpp"
#include "reports/chrome_trace.hpp"
#include "reports/gzip.hpp"
#include "reports/timeline_comparison_text.hpp"

namespace orrery::cli {
namespace {

struct Options {
  std::string predicted, measured;
  double limit = -1;
  std::string trace;
  bool json = false;
};

int compare(const Options& options) {
  const Stopwatch stopwatch;
  check_outputs({options.trace}, {options.predicted, options.measured});
  Diagnostics diagnostics;
  const Document second = parse_file(options.measured, diagnostics);
  if (is_replay_record(second)) {
    if (!options.trace.empty()) {
      throw InputError(
          "error: --trace lays two whole timelines beside each other, and a replay is of one rank\n"
          "  leave it out");
    }
    return compare_with_replay({options.predicted, options.limit, options.json}, second);
  }
  const TimelineFile predicted = read_timeline(options.predicted);
  const TimelineFile measured = read_timeline(second, diagnostics);
  const auto is_measured = [](const TimelineFile& file) {
    return file.kernels || (file.run && !file.run->machine.empty());
  };
  if (is_measured(predicted) && !is_measured(measured)) {
    throw InputError(
        fmt::format("error: {} was measured and {} predicted\n  give the prediction first, then "
                    "the measurement",
                    options.predicted, options.measured));
  }
  const Program program = program_of(measured, options.measured);
  check_same_program(predicted, options.predicted, program);
  const TimelineComparison comparison = compare_timelines(program, predicted, measured);
  const std::string text = options.json
                               ? timeline_comparison_json(program, measured, comparison,
                                                          stopwatch.wall_s(), stopwatch.cpu_s())
                               : timeline_comparison_text(program, predicted, measured, comparison);
  if (!options.trace.empty())
    write_trace(options.trace,
                comparison_trace(*measured.plan, program, predicted.timeline, measured.timeline));
  std::fputs(text.c_str(), stdout);
  if (options.limit < 0 || 100 * std::abs(comparison.error()) <= options.limit) return kYes;
  std::fflush(stdout);
  std::fprintf(stderr, "The error of the step is beyond the limit of %g %%.\n", options.limit);
  return kNo;
}

}  // namespace

Command add_compare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "compare",
      "Lay a predicted and a measured timeline of one plan side by side, or a replay of one rank");
  command->add_option("PREDICTED", options->predicted, "Timeline written by `orrery simulate -o`")
      ->required();
  command->add_option("MEASURED", options->measured, "Timeline written by `orrery realrun -o`")
      ->required();
  command
      ->add_option("--limit", options->limit,
                   "Exit code 1 where the step's error is larger, in percent")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--trace", options->trace,
                      "Write both as one Chrome trace for Perfetto; .gz compresses");
  command->add_flag("--json", options->json, "Print one JSON object");
  return [options] { return compare(*options); };
}

}  // namespace orrery::cli
