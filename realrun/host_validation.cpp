#include "realrun/host_validation.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/stage_map.hpp"
#include "planner/plan_builder.hpp"
#include "planner/prediction.hpp"
#include "realrun/calibrate_host.hpp"
#include "realrun/sample_run.hpp"
#include "realrun/thread_transport.hpp"
#include "realrun/training.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

struct Wanted {
  bool small;
  const char* schedule;
  int pp, dp, ep;
  int microbatches;
  double pace;
  int steps;
};
// The calibration has seen no such plan: its own have at most two stages or replicas that exchange,
// two micro-batches, and no pace.
constexpr Wanted kWanted[] = {
    {false, "1f1b", 4, 1, 1, 8, 0, 21},    {false, "dualpipe", 4, 1, 1, 8, 0, 21},
    {false, "1f1b", 4, 4, 4, 8, 12, 3},    {true, "dualpipe", 2, 2, 2, 4, 0, 9},
    {true, "1f1b", 4, 2, 2, 4, 0, 9},      {true, "1f1b", 8, 1, 1, 8, 8, 2},
    {true, "dualpipe", 8, 1, 1, 16, 8, 2}, {true, "dualpipe", 8, 2, 2, 16, 12, 2}};
constexpr int kSequence = 128;

Plan plan_of(const Wanted& wanted, const Model& model, const DeviceModel& device,
             const Cluster& cluster) {
  PlanRequest request;
  request.model = model;
  request.cluster = cluster;
  request.training.sequence = kSequence;
  request.training.global_batch = wanted.microbatches * wanted.dp;
  request.layout.pp = wanted.pp;
  request.layout.ep = wanted.ep;
  request.layout.dp = 0;
  request.layout.precision = Precision::kBf16;
  request.schedule = wanted.schedule;
  request.calibration = device.reference();
  return build_plan(std::move(request), device.costs());
}

Cluster host_cluster(int ranks) {
  Cluster cluster;
  cluster.name = fmt::format("host-{}", ranks);
  cluster.device = "host";
  cluster.nodes = 1;
  cluster.gpus_per_node = ranks;
  cluster.fabric.kind = FabricKind::kHost;
  return cluster;
}

// Compute time of each rank.
std::vector<double> busy(const Program& program, const Timeline& timeline) {
  std::vector<double> seconds(static_cast<std::size_t>(program.pp), 0);
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream == Stream::kCompute)
      seconds[instruction.rank.index()] += timeline.at(instruction.id).length().value();
  }
  return seconds;
}

// A step after the warm-up.
struct MeasuredStep {
  Seconds time;
  std::vector<double> busy;  // by rank, seconds
  double slower = 1;         // the machine then, against the calibration
};

struct Run {
  std::vector<MeasuredStep> steps;
  Loads warm_up_loads;
};

// Carries out a plan, with the probe between the steps.
Run carry_out(const Plan& plan, const Program& world, const Corpus& corpus, const Wanted& wanted,
              int cores, const InstructionTimes* paced, SpeedProbe<float>& probe,
              Seconds reference) {
  TrainingOptions options;
  options.steps = kWarmUpSteps + wanted.steps;
  options.cores = cores;
  options.pace = wanted.pace;
  options.paced = paced;
  options.evaluate_every = -1;
  const int ranks = plan.layout.gpus();
  ThreadWorld threads(ranks);
  std::vector<Transport*> transports;
  for (int rank = 0; rank < ranks; ++rank) transports.push_back(&threads.endpoint(rank));
  Run run;
  Seconds before;
  TrainingCallbacks callbacks;
  callbacks.step = [&](const StepReport& report) {
    if (report.step == 1) run.warm_up_loads = report.result.loads;
    const Seconds after = probe.measure();
    if (report.step > kWarmUpSteps) {
      const Timeline& timeline = report.result.timeline;
      run.steps.push_back(
          {timeline.step, busy(world, timeline), 0.5 * (before + after) / reference});
    }
    before = after;
  };
  train(plan, corpus, options, transports, callbacks);
  return run;
}

struct StepError {
  Seconds predicted, measured, null_model;
  double slower = 1;
  std::vector<double> wait;  // by rank, (predicted - measured) / measured step
  double error() const { return predicted / measured - 1; }
};

// Orders `values` and returns that in the middle.
template <class Values, class By>
auto middle(Values values, By by) {
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), place, values.end(),
                   [&](const auto& a, const auto& b) { return by(a) < by(b); });
  return *place;
}

HostCase run_case(const Wanted& wanted, const Model& model, const HostCalibration& calibration,
                  const Corpus& corpus, SpeedProbe<float>& probe) {
  const Cluster cluster = host_cluster(wanted.pp * wanted.dp);
  const DeviceModel device(calibration, cluster, "");
  const int cores = device.host()->machine().cores;
  const Plan plan = plan_of(wanted, model, device, cluster);
  const Program program = lower(plan);
  const World expanded = expand(program, plan.layout);
  const Program& world = expanded.program;
  const HostTimes times(world, *device.host(), wanted.pace);
  const Run run = carry_out(plan, world, corpus, wanted, cores, wanted.pace > 0 ? &times : nullptr,
                            probe, calibration.probes.front().time);

  // Every step has a prediction of its own, for the speed of the machine then. What a pace asks for
  // does not depend on it. How many rows the experts of each rank get is a matter of the model and
  // the text: those of the warm-up step.
  const auto compare = [&](const MeasuredStep& step) {
    PredictionOptions options;
    options.pace = wanted.pace / step.slower;
    options.loads = &run.warm_up_loads;
    const Prediction prediction =
        predict(plan, program, DeviceModel(slowed(calibration, step.slower), cluster, ""), options);
    StepError result{prediction.world_timeline.step, step.time, {}, step.slower, {}};
    Seconds total;
    for (const Instruction& instruction : world.instructions) {
      if (instruction.stream != Stream::kCompute) continue;
      const HostTime& time = prediction.world_times[instruction.id.index()];
      total += wanted.pace > 0 ? time.lasts : time.work;
    }
    result.null_model = total / (wanted.pace > 0 ? plan.layout.gpus() : cores);
    const std::vector<double> predicted = busy(world, prediction.world_timeline);
    for (std::size_t rank = 0; rank < predicted.size(); ++rank) {
      const double waits = result.predicted.value() - predicted[rank];
      const double waited = step.time.value() - step.busy[rank];
      result.wait.push_back((waits - waited) / step.time.value());
    }
    return result;
  };
  std::vector<StepError> errors;
  for (const MeasuredStep& step : run.steps) errors.push_back(compare(step));

  HostCase result;
  result.name = fmt::format("{} {} {}, {} micro-batches", plan.model.name, describe(plan.layout),
                            wanted.schedule, wanted.microbatches);
  result.ranks = plan.layout.gpus();
  result.pace = wanted.pace;
  for (const MeasuredStep& step : run.steps) result.steps.push_back(step.time);
  const StepError typical = middle(errors, [](const StepError& each) { return each.error(); });
  result.slower = typical.slower;
  result.predicted = typical.predicted;
  result.measured = typical.measured;
  result.null_model = typical.null_model;
  for (int rank = 0; rank < result.ranks; ++rank) {
    const auto wait = [rank](const StepError& each) {
      return each.wait[static_cast<std::size_t>(rank)];
    };
    const double error = std::abs(wait(middle(errors, wait)));
    if (error > result.wait_error) {
      result.wait_error = error;
      result.worst_rank = rank;
    }
  }
  return result;
}

}  // namespace

double HostCase::noise() const {
  if (steps.empty()) return 0;
  const auto [least, most] = std::minmax_element(steps.begin(), steps.end());
  return (*most - *least) / measured / 2;
}

double HostValidation::mean_error() const {
  double sum = 0;
  for (const HostCase& each : cases) sum += std::abs(each.error());
  return cases.empty() ? 0 : sum / static_cast<double>(cases.size());
}

double HostValidation::worst_error() const {
  double worst = 0;
  for (const HostCase& each : cases) worst = std::max(worst, std::abs(each.error()));
  return worst;
}

double HostValidation::worst_wait_error() const {
  double worst = 0;
  for (const HostCase& each : cases) worst = std::max(worst, each.wait_error);
  return worst;
}

bool HostValidation::holds() const {
  const bool null_misses = std::all_of(cases.begin(), cases.end(), [](const HostCase& each) {
    return each.pace <= 0 || std::abs(each.null_error()) > kNullMiss;
  });
  return worst_error() <= kStepLimit && mean_error() <= kMeanLimit &&
         worst_wait_error() <= kWaitLimit && null_misses;
}

HostValidation validate_host(const HostValidationModels& models,
                             const std::function<void(int, int, const std::string&)>& progress) {
  constexpr int kStages = static_cast<int>(std::size(kWanted)) + 2;
  int done = 0;
  const auto next = [&](const std::string& what) {
    if (progress) progress(done++, kStages, what);
  };
  const Corpus corpus{make_corpus(3, 1 << 17), make_corpus(4, 1 << 12)};
  HostValidation validation;
  for (const bool small : {false, true}) {
    const Model& model = small ? models.small : models.tiny;
    next(fmt::format("calibrating {}", model.name));
    HostCalibrationOptions options;
    options.models = {{model, {{1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 2, 1}, {1, 4, 4, 1}}}};
    options.sequences = {kSequence};
    const auto start = std::chrono::steady_clock::now();
    const HostCalibration calibration = calibrate_host(options, {});
    validation.calibration_s +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    validation.machine = calibration.device.machine;
    validation.cores = calibration.device.cores;
    SpeedProbe<float> probe(model, validation.cores);
    for (const Wanted& wanted : kWanted) {
      if (wanted.small != small) continue;
      next(fmt::format("{}, {} ranks", model.name, wanted.pp * wanted.dp));
      validation.cases.push_back(run_case(wanted, model, calibration, corpus, probe));
    }
  }
  if (progress) progress(kStages, kStages, "");
  return validation;
}

}  // namespace orrery
