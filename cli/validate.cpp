#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/catalog.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/model_reader.hpp"
#include "core/stage_map.hpp"
#include "planner/joint_search.hpp"
#include "planner/schedules/published_cases.hpp"
#include "planner/stage_map_bound.hpp"
#include "realrun/host_validation.hpp"
#include "reports/host_validation_text.hpp"
#include "reports/network_report.hpp"
#include "reports/pair_prediction.hpp"
#include "reports/published_runs_report.hpp"
#include "reports/schedule_cases_text.hpp"
#include "reports/validation_report.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery::cli {
namespace {

struct Options {
  std::string suite = "deepseek-v3";
  std::string output;
  bool json = false;
  long effort = 0;
};

std::string data_file(const char* name) {
  return (std::filesystem::path(data_root()) / name).string();
}

// Runs plans on this machine and predicts them first: nothing of it is stored.
int validate_this_host(const Options& options) {
  const Stopwatch stopwatch;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const HostValidationModels models{read_model(resolve("tiny-moe", CatalogKind::kModel)),
                                    read_model(resolve("small-moe", CatalogKind::kModel))};
  const HostValidation validation =
      validate_host(models, [&](int done, int of, const std::string& what) {
        if (!terminal) return;
        std::fprintf(stderr, "\r\033[K");
        if (done < of) std::fprintf(stderr, "[%d of %d] %s", done + 1, of, what.c_str());
      });
  const std::string text = options.json ? host_validation_json(validation, stopwatch.wall_s())
                                        : host_validation_text(validation);
  if (options.output.empty()) {
    std::fputs(text.c_str(), stdout);
  } else {
    write_output(options.output, text);
  }
  return validation.holds() ? kYes : kNo;
}

PlanRequest published_request(const PublishedRun& published, const Setup& setup) {
  PlanRequest request{setup.model,        setup.cluster, setup.training,          {},
                      published.schedule, std::nullopt,  setup.device.reference()};
  request.layout.pp = published.pp;
  request.layout.ep = published.ep;
  request.layout.dp = 0;
  return request;
}

Setup published_setup(const PublishedRun& published) {
  SetupOptions names;
  names.model = published.model;
  names.cluster = "h800-2048";
  names.sequence = published.sequence;
  names.global_batch = published.global_batch;
  return read_setup(names);
}

// The published run: schedule and stage map searched together, and what bounds every stage map.
PlanScheduleRows plan_rows(long effort) {
  constexpr int kMoves = 5;
  const PublishedRun published = read_published(data_file("reports/published/deepseek-v3.toml"));
  const Setup setup = published_setup(published);
  const Plan plan = build_plan(published_request(published, setup), setup.device.costs());
  PlanScheduleRows out{"DeepSeek-V3 on 2048 H800, 16 ranks x 120 micro-batches", plan, {}, {}, {}};
  out.families = plan_families(published_request(published, setup), setup.device);
  out.joint = search_maps_and_schedules(plan, setup.device, kMoves, effort);
  const double shortest = out.joint.tries[out.joint.best].searched;
  out.bound = bound_stage_maps(plan, setup.device, shortest, 1);
  return out;
}

// The schedule search on problems with published figures.
int validate_schedules(const Options& options) {
  if (options.json) throw InputError("error: --json is of --suite host");
  check_outputs({options.output});
  const bool terminal = isatty(STDERR_FILENO) != 0;
  std::vector<ScheduleCaseRow> rows;
  const auto cases = schedule_cases();
  for (const ScheduleCase& of : cases) {
    if (terminal) {
      std::fprintf(stderr, "\r\033[K[%zu of %zu] %s, %d x %d", rows.size() + 1, cases.size(),
                   std::string(of.kind).c_str(), of.pp, of.microbatches);
    }
    const Stopwatch stopwatch;
    ScheduleCaseResult result = run_case(of, options.effort);
    rows.push_back({of, std::move(result), stopwatch.wall_s()});
  }
  if (terminal) std::fprintf(stderr, "\r\033[K");
  const std::string text = schedule_cases_text(rows, plan_rows(options.effort),
                                               measure_evaluation_speed(), options.effort);
  if (options.output.empty()) {
    std::fputs(text.c_str(), stdout);
  } else {
    write_output(options.output, text);
  }
  return all_met(rows) ? kYes : kNo;
}

// Prints the report, or writes it to --output; printed, it has to be the kept one.
int compare_with_kept(const Options& options, const std::string& report, const std::string& kept,
                      const std::string& suite) {
  if (!options.output.empty()) {
    write_output(options.output, report);
    return kYes;
  }
  std::fputs(report.c_str(), stdout);
  if (report == read_file(data_file(kept.c_str()))) return kYes;
  std::fprintf(stderr,
               "The prediction has drifted from %s. If that is meant, write it anew with\n"
               "  orrery validate%s -o %s\n",
               kept.c_str(), suite.c_str(), kept.c_str());
  return kNo;
}

int validate_published(const Options& options) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const std::string report = published_runs_report(
      read_training_runs(data_file("reports/published/training-runs.toml")), [&](int run, int of) {
        if (terminal) std::fprintf(stderr, "\r\033[K[%d of %d]", run, of);
      });
  if (terminal) std::fprintf(stderr, "\r\033[K");
  return compare_with_kept(options, report, "reports/published-runs.md", " --suite published");
}

// The chunk pair of the published run, on eight nodes of H200.
int predict_h200(const Options& options) {
  const PublishedRun published = read_published(data_file("reports/published/deepseek-v3.toml"));
  const Setup known = published_setup(published);
  SetupOptions names;
  names.model = published.model;
  names.cluster = "h200-64";
  names.sequence = published.sequence;
  names.global_batch = published.global_batch;
  const Setup other = read_setup(names);
  PlanRequest request = published_request(published, other);
  request.layout.pp = 1;  // the pair is of one stage
  request.schedule = "1f1b";
  const auto calibration = [](const Cluster& cluster) {
    return read_calibration(resolve(cluster.device, CatalogKind::kCalibration));
  };
  const std::string report =
      pair_prediction(published,
                      {build_plan(published_request(published, known), known.device.costs()),
                       calibration(known.cluster)},
                      {build_plan(request, other.device.costs()), calibration(other.cluster)});
  return compare_with_kept(options, report, "reports/h200-chunk-pair.md", " --suite h200");
}

int validate(const Options& options) {
  if (options.suite == "host") return validate_this_host(options);
  if (options.suite == "schedules") return validate_schedules(options);
  if (options.json) throw InputError("error: --json is of --suite host");
  if (options.suite == "published") return validate_published(options);
  if (options.suite == "h200") return predict_h200(options);
  const bool network = options.suite == "network";
  const std::string kept = network ? "reports/network.md" : "reports/deepseek-v3-step.md";
  const PublishedRun published = read_published(data_file("reports/published/deepseek-v3.toml"));
  const Setup setup = published_setup(published);
  const Plan plan = build_plan(published_request(published, setup), setup.device.costs());
  const std::string report =
      network
          ? network_report(read_exchange_series(data_file("reports/published/ep-kernels.toml")),
                           read_collective_series(data_file("reports/published/collectives.toml")),
                           published, plan, setup.device)
          : validation_report(published, plan, setup.device);
  return compare_with_kept(options, report, kept, network ? " --suite network" : "");
}

}  // namespace

Command add_validate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("validate",
                                         "Predict published runs and print predicted next to "
                                         "published; fails if the errors have changed since "
                                         "the report in reports/ was written");
  command
      ->add_option("--suite", options->suite,
                   "deepseek-v3: its published step; published: 106 training runs of others; "
                   "host: real runs on this machine, measured now; schedules: the schedule search "
                   "next to published schedules; network: expert-parallel kernels, collectives and "
                   "uneven experts; h200: its chunk pair on an H200, predicted of kernels alone")
      ->capture_default_str()
      ->check(CLI::IsMember({"deepseek-v3", "published", "host", "schedules", "network", "h200"}));
  command->add_flag("--json", options->json, "With --suite host: print one JSON object");
  command
      ->add_option("--effort", options->effort,
                   "With --suite schedules: orders to time in each search")
      ->check(CLI::Range(1L, 1000000000000L));
  command->add_option("-o,--output", options->output,
                      "Write the report to a file instead, without comparing");
  return [options] { return validate(*options); };
}

}  // namespace orrery::cli
