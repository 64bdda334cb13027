#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/catalog.hpp"
#include "core/file.hpp"
#include "reports/validation_report.hpp"

namespace orrery::cli {
namespace {

struct Options {
  std::string output;
};

std::string data_file(const char* name) {
  return (std::filesystem::path(data_root()) / name).string();
}

int validate(const Options& options) {
  const PublishedRun published = read_published(data_file("reports/published/deepseek-v3.toml"));
  SetupOptions names;
  names.model = published.model;
  names.cluster = "h800-2048";
  names.sequence = published.sequence;
  names.global_batch = published.global_batch;
  const Setup setup = read_setup(names);
  PlanRequest request{setup.model,        setup.cluster, setup.training,          {},
                      published.schedule, std::nullopt,  setup.device.reference()};
  request.layout.pp = published.pp;
  request.layout.ep = published.ep;
  request.layout.dp = 0;
  const std::string report = validation_report(
      published, build_plan(std::move(request), setup.device.costs()), setup.device);
  if (!options.output.empty()) {
    write_output(options.output, report);
    return kYes;
  }
  std::fputs(report.c_str(), stdout);
  if (report == read_file(data_file("reports/deepseek-v3-step.md"))) return kYes;
  std::fprintf(stderr,
               "The prediction has drifted from reports/deepseek-v3-step.md. If that is meant, "
               "write it anew with\n"
               "  orrery validate -o reports/deepseek-v3-step.md\n");
  return kNo;
}

}  // namespace

Command add_validate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("validate",
                                         "Predict published runs and print predicted next to "
                                         "published; fails if the errors have changed since "
                                         "the report in reports/ was written");
  command->add_option("-o,--output", options->output,
                      "Write the report to a file instead, without comparing");
  return [options] { return validate(*options); };
}

}  // namespace orrery::cli
