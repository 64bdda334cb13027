#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/error.hpp"
#include "core/plan_json.hpp"
#include "planner/finalist_schedules.hpp"
#include "planner/layout_search.hpp"
#include "planner/layouts/fix.hpp"
#include "planner/size_search.hpp"
#include "realrun/mpi_transport.hpp"
#include "realrun/transport_crew.hpp"
#include "reports/plan_text.hpp"
#include "reports/simulate_json.hpp"
#include "reports/why_text.hpp"

namespace orrery::cli {
namespace {

struct Options {
  SetupOptions setup;
  std::string fix;
  std::string why;
  std::string schedule = "auto";
  std::string output;
  std::vector<int> gpus;
  std::string objective = "gpu-hours";
  bool pareto = false;
  int top = 10;
  int finalists = 10;
  int search_schedule = 0;  // of how many plans
  long effort = 0;
  bool json = false;
};

// One line on a terminal, nothing elsewhere.
SizeProgress progress_bar() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](int gpus, std::int64_t done, std::int64_t of) {
    constexpr std::int64_t kWidth = 40;
    const auto filled = static_cast<int>(of > 0 ? done * kWidth / of : kWidth);
    std::fprintf(stderr, "\r[%.*s%*s] %lld of %lld settings, %d GPUs", filled,
                 "########################################", static_cast<int>(kWidth) - filled, "",
                 static_cast<long long>(done), static_cast<long long>(of), gpus);
    if (done == of) std::fprintf(stderr, "\r\033[K");
  };
}

// The same for the schedules of the best plans.
FinalistProgress schedule_progress() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](int plan, long spent, long of, double makespan) {
    std::fprintf(stderr, "\r\033[Kplan %d: %3.0f %% of the effort, shortest so far %.4f s",
                 plan + 1, 100.0 * static_cast<double>(spent) / static_cast<double>(of), makespan);
  };
}

SizeSearchRequest size_search(const Options& options, const Setup& setup, Crew* crew) {
  SizeSearchRequest sizes;
  SearchRequest& request = sizes.search;
  request.model = setup.model;
  request.cluster = setup.cluster;
  request.training = setup.training;
  request.top = options.top;
  request.finalists = options.finalists;
  request.effort = options.effort;
  request.crew = crew;
  if (options.pareto) request.front = FrontShape{};
  for (const int gpus : options.gpus) {
    if (std::find(sizes.gpus.begin(), sizes.gpus.end(), gpus) == sizes.gpus.end())
      sizes.gpus.push_back(gpus);
  }
  if (sizes.gpus.empty()) sizes.gpus = {setup.cluster.gpus()};
  sizes.space = [&options, &setup](const Cluster& cluster) {
    LayoutSpace space = whole_space(setup.model, cluster);
    if (options.schedule != "auto") space.schedule = {options.schedule};
    fix_dimensions(space, options.fix);
    return space;
  };
  sizes.device = [&options](const Cluster& cluster) {
    const std::string& calibration = options.setup.calibration;
    return find_device(calibration.empty() ? cluster.device : calibration, cluster);
  };
  return sizes;
}

int answer_front(const Options& options, const std::vector<SizeSearched>& sizes,
                 const Stopwatch& stopwatch) {
  std::vector<ScoredPlan> plans;
  for (const SizeSearched& size : sizes)
    plans.insert(plans.end(), size.result.plans.begin(), size.result.plans.end());
  const std::vector<ScoredPlan> front = pareto_front(std::move(plans));
  const std::string text = options.json
                               ? front_json(sizes, front, {stopwatch.wall_s(), stopwatch.cpu_s()})
                               : front_text(sizes, front);
  std::fputs(text.c_str(), stdout);
  return front.empty() ? kNo : kYes;
}

// `crew`: the processes that mpirun started, or null. The first answers.
int plan(const Options& options, Crew* crew) {
  const bool first = crew == nullptr || crew->rank() == 0;
  const Stopwatch stopwatch;
  if (first)
    check_outputs({options.output},
                  {options.setup.model, options.setup.cluster, options.setup.calibration});
  const Setup setup = read_setup(options.setup);
  const SizeSearchRequest wanted = size_search(options, setup, crew);
  const std::vector<SizeSearched> sizes =
      search_sizes(wanted, first ? progress_bar() : SizeProgress{});
  if (options.pareto) return first ? answer_front(options, sizes, stopwatch) : kYes;
  SearchResult result = sizes.size() == 1
                            ? sizes.front().result
                            : merged(sizes, *objective_named(options.objective), options.top);
  const SearchRequest& request = sizes.front().request;
  std::optional<SearchResult> asked;
  if (!options.why.empty()) {
    SearchRequest narrow = request;
    fix_dimensions(narrow.space, options.fix, options.why);
    narrow.top = narrow.finalists = 1;
    narrow.effort = 0;
    asked = search_layouts(narrow, setup.device);
  }
  const int code = result.plans.empty() ? kNo : kYes;
  if (!first) return code;
  if (options.search_schedule > 0) {
    search_finalist_schedules(result.plans, options.search_schedule,
                              *objective_named(options.objective), wanted.device, options.effort,
                              schedule_progress());
    if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K");
  }
  if (!options.output.empty() && !result.plans.empty()) {
    write_output(options.output, to_json(result.plans.front().plan));
  }
  std::string text;
  if (options.json) {
    text = plan_search_json(request, result, asked ? &*asked : nullptr,
                            {stopwatch.wall_s(), stopwatch.cpu_s()});
  } else {
    text = sizes.size() == 1 ? plan_search_text(request, result)
                             : size_search_text(sizes, result.plans);
    text += plan_schedules_text(result.plans);
    if (asked) text += "\n" + why_text(request, *asked, result, setup.device);
  }
  std::fputs(text.c_str(), answer_stream({options.output}));
  return code;
}

// As a process among others. What goes wrong in all of them the first one says; what goes wrong in
// another one alone ends all.
int plan_together(const Options& options) {
  const std::unique_ptr<Transport> transport = mpi_transport(nullptr, nullptr);
  TransportCrew crew(*transport);
  if (crew.rank() == 0) {
    try {
      return plan(options, &crew);
    } catch (const Aborted& aborted) {
      throw EnvironmentError(std::string("the search has lost a process: ") + aborted.what());
    } catch (...) {
      transport->abort("the first process gave up");
      throw;
    }
  }
  try {
    return plan(options, &crew);
  } catch (const InputError& error) {
    transport->abort(error.what());
    return kBadInput;
  } catch (const std::exception& error) {
    transport->abort(error.what());
    return kEnvironment;
  }
}

}  // namespace

Command add_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("plan", "Search layouts and schedules for the least GPU-hours");
  add_setup_options(*command, options->setup);
  command->add_option("--fix", options->fix, "Fix dimensions of the layout, such as pp=16,ep=64")
      ->join(',');
  command->add_option("--schedule", options->schedule, "One schedule family, or auto for all")
      ->capture_default_str();
  CLI::Option* const gpus =
      command
          ->add_option("--gpus", options->gpus,
                       "Search parts of the cluster with so many GPUs, such as 512,1024,2048 "
                       "(default: all of it)")
          ->delimiter(',');
  CLI::Option* const pareto = command->add_flag(
      "--pareto", options->pareto,
      "Print the plans that no other one equals or beats in step time, GPU-hours, "
      "memory headroom and number of GPUs");
  command
      ->add_option("--objective", options->objective,
                   "What is best on several numbers of GPUs: gpu-hours or step-time")
      ->capture_default_str()
      ->check(CLI::IsMember({"gpu-hours", "step-time"}));
  command->add_option("--top", options->top, "Plans to print")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000))
      ->excludes(pareto);
  command->add_option("--finalists", options->finalists, "Best plans to simulate with contention")
      ->capture_default_str()
      ->check(CLI::Range(0, 100));
  command
      ->add_option("--why", options->why,
                   "Explain a layout that was not chosen, such as pp=8,ep=64")
      ->excludes(gpus)
      ->excludes(pareto);
  CLI::Option* const schedules =
      command
          ->add_option(
              "--search-schedule", options->search_schedule,
              "Search a shorter schedule for the own stage times and memory of so many of the "
              "best plans (without a number: 1)")
          ->type_name("[N]")
          ->expected(0, 1)
          ->check(CLI::Range(1, 100))
          ->excludes(pareto);
  command
      ->add_option(
          "--effort", options->effort,
          "Budget: settings to look at, and orders to time with --search-schedule (default: "
          "all, and about 30 s)")
      ->check(CLI::Range(1L, 1000000000000L));
  command->add_option("-o,--output", options->output, "Write the best plan; - is standard output")
      ->excludes(pareto);
  command->add_flag("--json", options->json, "Print one JSON object");
  return [options, schedules] {
    if (schedules->count() > 0 && options->search_schedule == 0) options->search_schedule = 1;
    return launched_by_mpi() ? plan_together(*options) : plan(*options, nullptr);
  };
}

}  // namespace orrery::cli
