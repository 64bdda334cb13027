#include "cli/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <variant>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/model_reader.hpp"
#include "core/units.hpp"

namespace orrery::cli {
namespace {

double wall_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void add_setup_options(CLI::App& command, SetupOptions& options) {
  command.add_option("--model", options.model,
                     "Model: a name in models/, a TOML file or a Hugging Face config.json");
  command.add_option("--cluster", options.cluster, "Cluster: a name in topologies/ or a TOML file");
  command.add_option(
      "--calibration", options.calibration,
      "Kernel rates: a name in calibration/ or a TOML file (default: the cluster's device)");
  command.add_option("--seq", options.sequence, "Tokens a sequence")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 24));
  command.add_option("--global-batch", options.global_batch, "Sequences a step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 26));
  command.add_option("--tokens", options.tokens,
                     "Tokens of the whole run, such as 14.8T: gives GPU-hours and dollars");
}

void set_tokens(Training& training, const std::string& text) {
  if (text.empty()) return;
  constexpr double kMost = 1e18;  // a thousand times what any run has had, and more
  const auto parsed = parse_count(text);
  Diagnostics diagnostics;
  const auto fail = [&](std::size_t offset, std::size_t length, std::string message,
                        std::string hint) {
    diagnostics.error(command_line_place("--tokens " + text, 10 + static_cast<int>(offset),
                                         static_cast<int>(length)),
                      std::move(message), std::move(hint));
    diagnostics.throw_if_errors();
  };
  if (const auto* problem = std::get_if<UnitProblem>(&parsed))
    fail(problem->offset, problem->length, problem->message, problem->hint);
  const double tokens = std::get<double>(parsed);
  if (tokens < training.tokens_per_step()) {
    fail(0, text.size(),
         fmt::format("{} tokens are less than one step: {} sequences of {} tokens = {:.0f}", text,
                     training.global_batch, training.sequence, training.tokens_per_step()),
         "K, M, B and T stand for 1e3, 1e6, 1e9 and 1e12, such as 14.8T");
  }
  if (tokens > kMost)
    fail(0, text.size(), fmt::format("{} tokens are beyond 1e18", text), "such as 14.8T");
  training.tokens = tokens;
}

void write_output(const std::string& path, const std::string& text) {
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
  } else {
    write_file_atomically(path, text);
  }
}

void warn_of_other_calibration(const Plan& plan, const DeviceModel& device) {
  if (device.reference().hash == plan.calibration.hash) return;
  std::fprintf(stderr,
               "warning: the plan was made with another calibration than the '%s' that ships\n"
               "  give that with --calibration FILE\n",
               plan.calibration.name.c_str());
}

void check_outputs(std::initializer_list<std::string> paths,
                   std::initializer_list<std::string> inputs) {
  const auto names_file = [](const std::string& path) { return !path.empty() && path != "-"; };
  const auto same = [&](const std::string& a, const std::string& b) {
    return names_file(a) && names_file(b) &&
           weakly_canonical(std::filesystem::absolute(a)) ==
               weakly_canonical(std::filesystem::absolute(b));
  };
  for (auto path = paths.begin(); path != paths.end(); ++path) {
    for (const std::string& input : inputs) {
      if (same(*path, input)) {
        throw InputError(fmt::format(
            "error: {} is read by this command\n  write to another file, or it would be lost",
            *path));
      }
    }
    for (auto other = paths.begin(); other != path; ++other) {
      if (same(*path, *other)) {
        throw InputError(fmt::format(
            "error: {} is named for two outputs\n  give each a file of its own", *path));
      }
    }
    if (names_file(*path)) check_writable(*path);
  }
}

std::FILE* answer_stream(std::initializer_list<std::string> paths) {
  return std::find(paths.begin(), paths.end(), "-") == paths.end() ? stdout : stderr;
}

DeviceModel find_device(const std::string& name_or_path, const Cluster& cluster) {
  return read_device_model(resolve(name_or_path, CatalogKind::kCalibration), cluster);
}

Setup read_setup(const SetupOptions& options) {
  Diagnostics diagnostics;
  if (options.model.empty())
    diagnostics.error({}, "no model is given",
                      "add --model NAME; `orrery catalog list` names them");
  if (options.cluster.empty()) {
    diagnostics.error({}, "no cluster is given",
                      "add --cluster NAME; `orrery catalog list` names them");
  }
  diagnostics.throw_if_errors();
  Training training;
  training.sequence = options.sequence;
  training.global_batch = options.global_batch;
  set_tokens(training, options.tokens);
  const Model model = read_model(resolve(options.model, CatalogKind::kModel));
  const Cluster cluster = read_cluster(resolve(options.cluster, CatalogKind::kCluster));
  return {model, cluster, training,
          find_device(options.calibration.empty() ? cluster.device : options.calibration, cluster)};
}

Stopwatch::Stopwatch() : wall_start_(wall_now()) {}

double Stopwatch::wall_s() const {
  return wall_now() - wall_start_;
}

double Stopwatch::cpu_s() const {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

}  // namespace orrery::cli
