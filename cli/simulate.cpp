#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/faults_reader.hpp"
#include "core/layout_check.hpp"
#include "core/plan_json.hpp"
#include "core/timeline_json.hpp"
#include "planner/prediction.hpp"
#include "planner/schedules/families.hpp"
#include "reports/chrome_trace.hpp"
#include "reports/cluster_text.hpp"
#include "reports/comparison.hpp"
#include "reports/gzip.hpp"
#include "reports/memory_text.hpp"
#include "reports/sensitivity_text.hpp"
#include "reports/simulate_json.hpp"
#include "reports/simulate_text.hpp"
#include "reports/step_page.hpp"
#include "workload/loads.hpp"
#include "workload/lower.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery::cli {
namespace {

struct Options {
  SetupOptions setup;
  std::string plan_file;
  std::string layout;
  std::string schedule = "dualpipe";
  std::string stage_map;
  std::string fidelity = "folded";
  std::string trace;
  std::string report;
  std::string timeline;
  std::string loads;
  std::string faults;
  std::string skew = "none";
  std::string experts = "in-order";
  double pace = 0;
  bool links = false;
  bool memory = false;
  bool sensitivity = false;
  bool json = false;
  std::vector<std::string> overridden;  // options given that a plan file already decides
};

// A plan file that the schedule checker rejects is bad input.
void check(const Plan& plan) {
  const std::vector<ScheduleFault> faults = check_schedule(plan.schedule);
  if (faults.empty()) return;
  constexpr std::size_t kShown = 10;
  Diagnostics diagnostics;
  for (std::size_t fault = 0; fault < std::min(faults.size(), kShown); ++fault) {
    diagnostics.error({}, "schedule: " + faults[fault].reason);
  }
  if (faults.size() > kShown) {
    diagnostics.error({}, "schedule: " + std::to_string(faults.size() - kShown) + " more faults");
  }
  diagnostics.throw_if_errors();
}

struct Prepared {
  Plan plan;
  DeviceModel device;
};

Prepared from_file(const Options& options) {
  if (!options.overridden.empty()) {
    Diagnostics diagnostics;
    for (const std::string& option : options.overridden) {
      diagnostics.error({}, "the plan file already decides " + option, "leave " + option + " out");
    }
    diagnostics.throw_if_errors();
  }
  Plan plan = read_plan(options.plan_file);
  const std::string& named = options.setup.calibration;
  Prepared prepared{plan, find_device(named.empty() ? plan.calibration.name : named, plan.cluster)};
  if (named.empty()) warn_of_other_calibration(plan, prepared.device);
  set_tokens(prepared.plan.training, options.setup.tokens);
  check(prepared.plan);
  return prepared;
}

Prepared from_options(const Options& options) {
  const Setup setup = read_setup(options.setup);
  if (options.layout.find_first_not_of(' ') == std::string::npos) {
    Diagnostics diagnostics;
    diagnostics.error({}, "no layout is given",
                      "add --layout pp=16,ep=64 (others are 1, dp follows), or a plan file");
    diagnostics.throw_if_errors();
  }
  Diagnostics diagnostics;
  PlanRequest request{setup.model,
                      setup.cluster,
                      setup.training,
                      parse_layout(options.layout, diagnostics, default_layout(setup.cluster)),
                      options.schedule,
                      std::nullopt,
                      setup.device.reference()};
  diagnostics.throw_if_errors();
  if (!options.stage_map.empty()) request.stage_map = options.stage_map;
  return {build_plan(std::move(request), setup.device.costs()), setup.device};
}

// On a host the file has every rank, so that a real run can be laid beside it.
std::string timeline_json(const Options& options, const Prepared& prepared, const Program& program,
                          const Prediction& prediction) {
  if (!prediction.world) return to_json(program, prediction.timeline, &prepared.plan);
  RunRecord run;
  run.pace = options.pace;
  run.host = prepared.device.host()->machine();
  run.meter = prepared.device.host()->calibration().device.meter;
  run.cores = run.host->cores;
  for (const Instruction& instruction : prediction.world->program.instructions) {
    const HostTime& time = prediction.world_times[instruction.id.index()];
    const bool sends =
        instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
    run.work.push_back(sends ? Seconds{} : time.work);
    if (options.pace > 0) run.lasts.push_back(time.lasts);
  }
  return to_json(prediction.world->program, prediction.world_timeline, &prepared.plan, &run);
}

Faults faults_for(const Options& options, const Plan& plan) {
  if (plan.cluster.fabric.kind == FabricKind::kHost)
    throw InputError("error: --faults is of GPU clusters, and '" + plan.cluster.name +
                     "' is a host");
  if (options.fidelity == "analytic")
    throw InputError(
        "error: --fidelity analytic knows no faults: one GPU stands for all of its pipeline rank\n"
        "  = take --fidelity folded or full");
  return read_faults(options.faults, plan.cluster);
}

Skew skew_for(const Options& options, const Plan& plan) {
  Skew skew = parse_skew(options.skew, plan.training.seed + 1);
  parse_expert_placement(options.experts, skew);
  if (skew.kind == SkewKind::kNone) {
    if (skew.balanced)
      throw InputError(
          "error: --experts balanced needs to know how much each expert is wanted\n"
          "  = give --skew; measured loads tell rows of GPUs, not of experts");
    return skew;
  }
  if (plan.model.moe.experts == 0)
    throw InputError("error: --skew is of experts, and " + plan.model.name + " has none");
  if (plan.cluster.fabric.kind == FabricKind::kHost)
    throw InputError("error: --skew is of GPU clusters; on a host --loads takes measured rows");
  if (options.fidelity == "analytic")
    throw InputError(
        "error: --fidelity analytic knows no skew\n  = take --fidelity folded or full");
  if (!options.loads.empty())
    throw InputError("error: --skew and --loads both say how the experts are loaded");
  return skew;
}

// How sure the calibration is of itself.
const Uncertainty& uncertainty_of(const DeviceModel& device) {
  const Device& own = device.device();
  if (device.host() != nullptr) throw InputError("error: --sensitivity is of GPU clusters");
  if (!own.uncertainty)
    throw InputError("error: the calibration '" + own.name +
                     "' does not say how sure its figures are\n  = add [uncertainty] to it, as "
                     "calibration/h800.toml has it");
  return *own.uncertainty;
}

int simulate(const Options& options) {
  const Stopwatch stopwatch;
  if (options.plan_file.empty() == (options.setup.model.empty() && options.setup.cluster.empty())) {
    Diagnostics diagnostics;
    diagnostics.error({},
                      options.plan_file.empty()
                          ? "neither a plan nor a model and a cluster is given"
                          : "a plan file and a model or cluster are both given",
                      "give either PLAN.json or --model, --cluster and --layout");
    diagnostics.throw_if_errors();
  }
  check_outputs({options.timeline, options.trace, options.report},
                {options.plan_file, options.loads, options.faults, options.setup.model,
                 options.setup.cluster, options.setup.calibration});
  const Prepared prepared = options.plan_file.empty() ? from_options(options) : from_file(options);
  const Plan& plan = prepared.plan;
  const DeviceModel& device = prepared.device;
  if (options.sensitivity) uncertainty_of(device);
  const Program program = lower(plan);
  std::optional<Loads> loads;
  if (!options.loads.empty()) loads = read_loads(options.loads);
  std::optional<Faults> faults;
  if (!options.faults.empty()) faults = faults_for(options, plan);
  PredictionOptions how{options.fidelity == "analytic" ? Fidelity::kAnalytic
                        : options.fidelity == "full"   ? Fidelity::kFull
                                                       : Fidelity::kFolded,
                        options.pace, loads ? &*loads : nullptr};
  how.skew = skew_for(options, plan);
  how.with_links = options.links;
  std::optional<Seconds> sound;
  PredictionOptions plain = how;
  plain.skew = {};
  plain.loads = nullptr;
  const bool uneven = how.skew.kind != SkewKind::kNone || how.loads != nullptr;
  if (faults || (!options.report.empty() && uneven)) {
    sound = predict(plan, program, device, faults ? how : plain).timeline.step;
    if (faults) how.faults = &*faults;
  }
  const Prediction prediction = predict(plan, program, device, how);
  if (options.links && !prediction.cluster)
    throw InputError("error: --links is of GPU clusters at --fidelity folded or full");
  const Timeline& timeline = prediction.timeline;
  StepSummary summary = summarise(plan, device.device(), program, timeline, device.costs());
  for (RankSummary& rank : summary.ranks)
    rank.memory = with_expert_copies(rank.memory, plan, rank.rank, prediction.skew.spare);
  if (!options.trace.empty()) {
    const std::string trace = prediction.cluster
                                  ? chrome_trace(plan, prediction.cluster->folding.expanded.program,
                                                 prediction.cluster->classes,
                                                 trace_ranks(plan, prediction.cluster->folding))
                                  : chrome_trace(plan, program, timeline);
    if (options.trace == "-") {
      write_output("-", trace);
    } else {
      write_trace(options.trace, trace);
    }
  }
  if (!options.timeline.empty())
    write_output(options.timeline, timeline_json(options, prepared, program, prediction));
  std::optional<Sensitivity> sensitivity;
  if (options.sensitivity) {
    sensitivity = step_sensitivity(plan, program, device.costs(), uncertainty_of(device));
  }
  std::optional<MemoryDetails> memory;
  if (options.memory) memory = memory_details(plan, device, program, timeline);
  std::string text =
      options.json
          ? simulate_json(plan, summary, prediction.cluster ? &*prediction.cluster : nullptr,
                          prediction.skew, sensitivity ? &*sensitivity : nullptr,
                          memory ? &*memory : nullptr, {stopwatch.wall_s(), stopwatch.cpu_s()})
          : simulate_text(plan, device.device(), summary);
  if (prediction.skew.kind != SkewKind::kNone && !options.json)
    text += skew_text(plan, prediction.skew, *prediction.cluster);
  if (memory && !options.json) text += "\n" + memory_text(plan, device, *memory);
  if (sensitivity && !options.json)
    text += "\n" + sensitivity_text(summary, *sensitivity, uncertainty_of(device));
  if (options.links && !options.json) {
    text += "\n" + links_text(prediction.cluster->links);
    if (const std::string collectives = collectives_text(summary.collectives); !collectives.empty())
      text += "\n" + collectives;
  }
  if (faults && !options.json)
    text += "\n" + faults_text(plan, *faults, *sound, *prediction.cluster);
  if (const auto published = published_for(plan); published && !options.json && !faults) {
    text +=
        "\nAgainst the published run (ISCA 2025, arXiv 2505.09343, table 4; "
        "reports/deepseek-v3-step.md says more)\n" +
        comparison_text(compare_step(summary, published->step));
  }
  if (!options.report.empty()) {
    if (!prediction.cluster)
      throw InputError("error: --report is of GPU clusters at --fidelity folded or full");
    const Faults* broken = faults ? &*faults : nullptr;
    write_output(options.report,
                 step_page(plan, *prediction.cluster,
                           headline(plan, broken, prediction.skew, sound ? *sound : Seconds{},
                                    *prediction.cluster),
                           options.json ? simulate_text(plan, device.device(), summary) : text));
  }
  std::fputs(text.c_str(), answer_stream({options.timeline, options.trace, options.report}));
  for (const RankSummary& rank : summary.ranks) {
    if (rank.memory.fits()) continue;
    std::fflush(stdout);
    std::fprintf(stderr, "The plan does not fit into GPU memory.\n");
    return kNo;
  }
  return kYes;
}

}  // namespace

Command add_simulate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "simulate", "Carry out one training step of a plan on the modelled cluster");
  command->add_option("PLAN", options->plan_file, "Plan file written by `orrery plan -o`");
  add_setup_options(*command, options->setup);
  command->add_option("--layout", options->layout,
                      "Such as pp=16,ep=64: also tp cp etp mbs zero precision recompute "
                      "comm-sms; the others are 1, dp follows");
  std::string families;
  for (const ScheduleFamily& family : schedule_families())
    families += " " + std::string(family.name);
  command->add_option("--schedule", options->schedule, "Schedule family:" + families)
      ->capture_default_str();
  command->add_option("--stage-map", options->stage_map,
                      "Layers of each stage, such as \"E,3d,1t | 4t x 14 | 1t,m,L\"");
  command
      ->add_option("--fidelity", options->fidelity,
                   "analytic: no contention; folded: flows share links, one GPU for each class of "
                   "GPUs that do the same; full: every GPU, NIC and link")
      ->capture_default_str()
      ->check(CLI::IsMember({"analytic", "folded", "full"}));
  command->add_option("--faults", options->faults,
                      "Slow and broken GPUs, NICs, planes, switches and nodes (TOML)");
  command->add_option("--loads", options->loads,
                      "Rows of each micro-batch, layer and rank, as a real run writes them");
  command
      ->add_option("--skew", options->skew,
                   "Expert loads: none, iid (chance), iid=TOKENS (so many independent tokens a "
                   "group), zipf=S (popularity)")
      ->capture_default_str();
  command
      ->add_option("--experts", options->experts,
                   "Where experts lie: in-order, balanced (with --skew: by how much each is "
                   "wanted), balanced=K (and K more on each GPU, copies of the most wanted)")
      ->capture_default_str();
  command
      ->add_option("--pace", options->pace,
                   "On a host: every instruction lasts so many times its calibrated time")
      ->check(CLI::Range(0.0, 1e6));
  command->add_option("--trace", options->trace,
                      "Write a Chrome trace for Perfetto; .gz compresses");
  command->add_flag("--links", options->links, "What crosses each link, and when");
  command->add_flag("--memory", options->memory,
                    "What every pipeline rank keeps in memory, its peak, and what-ifs");
  command->add_flag("--sensitivity", options->sensitivity,
                    "What the step hangs on, and p10, p50, p90 of step, GPU-hours and cost");
  command->add_option("--report", options->report,
                      "Write one HTML page: what happened, the timeline as a picture, the tables");
  command->add_option("-o,--output", options->timeline, "Write the Timeline; - is standard output");
  command->add_flag("--json", options->json, "Print one JSON object");
  return [options, command] {
    for (const char* name : {"--layout", "--schedule", "--stage-map", "--seq", "--global-batch"}) {
      if (command->count(name) > 0 && !options->plan_file.empty()) {
        options->overridden.emplace_back(name);
      }
    }
    return simulate(*options);
  };
}

}  // namespace orrery::cli
