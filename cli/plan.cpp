#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/diagnostic.hpp"
#include "core/file.hpp"
#include "core/layout_check.hpp"
#include "core/plan_json.hpp"
#include "planner/layout_search.hpp"
#include "reports/plan_text.hpp"
#include "reports/simulate_json.hpp"

namespace orrery::cli {
namespace {

struct Options {
  SetupOptions setup;
  std::string fix;
  std::string why;
  std::string schedule = "auto";
  std::string output;
  int top = 10;
  int finalists = 3;
  bool json = false;
};

// pp and ep as far as the text sets them; everything else goes to `base`.
void fix(const std::string& text, SearchRequest& request) {
  if (text.empty()) return;
  Diagnostics diagnostics;
  const Layout layout = parse_layout(text, diagnostics);
  diagnostics.throw_if_errors();
  const auto sets = [&](const std::string& key) {
    return ("," + text).find("," + key + "=") != std::string::npos;
  };
  request.base = layout;
  if (sets("pp")) request.fixed_pp = layout.pp;
  if (sets("ep")) request.fixed_ep = layout.ep;
}

// One line on a terminal, nothing elsewhere.
ProgressCallback progress_bar() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](int done, int of) {
    constexpr int kWidth = 40;
    const int filled = of > 0 ? done * kWidth / of : kWidth;
    std::fprintf(stderr, "\r[%.*s%*s] %d of %d layouts", filled,
                 "########################################", kWidth - filled, "", done, of);
    if (done == of) std::fprintf(stderr, "\r\033[K");
  };
}

int plan(const Options& options) {
  const Stopwatch stopwatch;
  const Setup setup = read_setup(options.setup);
  const CalibratedCost costs(setup.calibration, setup.cluster);
  SearchRequest request;
  request.model = setup.model;
  request.cluster = setup.cluster;
  request.training = setup.training;
  request.calibration = setup.reference;
  request.top = options.top;
  request.finalists = options.finalists;
  if (options.schedule != "auto") request.schedule = options.schedule;
  fix(options.fix, request);
  const SearchResult result = search_layouts(request, costs, progress_bar());
  if (!options.output.empty() && !result.plans.empty()) {
    write_file_atomically(options.output, to_json(result.plans.front().plan));
  }
  std::optional<SearchResult> asked;
  if (!options.why.empty()) {
    SearchRequest narrow = request;
    fix(options.why, narrow);
    narrow.top = 1000;  // all of it
    asked = search_layouts(narrow, costs);
  }
  std::string text;
  if (options.json) {
    text = plan_search_json(request, result, asked ? &*asked : nullptr,
                            {stopwatch.wall_s(), stopwatch.cpu_s()});
  } else {
    text = plan_search_text(request, result);
    if (asked) text += "\n" + why_text(*asked, result);
  }
  std::fputs(text.c_str(), stdout);
  return result.plans.empty() ? kNo : kYes;
}

}  // namespace

Command add_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("plan", "Search layouts and schedules for the least GPU-hours");
  add_setup_options(*command, options->setup);
  command->add_option("--fix", options->fix, "Fix dimensions of the layout, such as pp=16,ep=64");
  command->add_option("--schedule", options->schedule, "One schedule family, or auto for all")
      ->capture_default_str();
  command->add_option("--top", options->top, "Plans to print")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command->add_option("--finalists", options->finalists, "Best plans to simulate with contention")
      ->capture_default_str()
      ->check(CLI::Range(0, 100));
  command->add_option("--why", options->why,
                      "Explain a layout that was not chosen, such as pp=8,ep=64");
  command->add_option("-o,--output", options->output, "Write the best plan");
  command->add_flag("--json", options->json, "Print one JSON object");
  return [options] { return plan(*options); };
}

}  // namespace orrery::cli
