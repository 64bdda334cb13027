#include "realrun/host_validation.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/stage_map.hpp"
#include "planner/plan_builder.hpp"
#include "planner/prediction.hpp"
#include "realrun/calibrate_host.hpp"
#include "realrun/sample_run.hpp"
#include "realrun/speed_meter.hpp"
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
    {false, "1f1b", 4, 1, 1, 8, 0, 13},    {false, "dualpipe", 4, 1, 1, 8, 0, 13},
    {false, "1f1b", 4, 4, 4, 8, 12, 2},    {true, "dualpipe", 2, 2, 2, 4, 0, 6},
    {true, "1f1b", 4, 2, 2, 4, 0, 6},      {true, "1f1b", 8, 1, 1, 8, 6, 2},
    {true, "dualpipe", 8, 1, 1, 16, 6, 2}, {true, "dualpipe", 8, 2, 2, 16, 10, 2}};
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

struct StepError {
  Seconds predicted, measured, null_model;
  double slower = 1;         // the cores on average, against the calibration
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
                  const SpeedMeter& meter) {
  const Cluster cluster = host_cluster(wanted.pp * wanted.dp);
  const DeviceModel device(calibration, cluster, "");
  const int cores = device.host()->machine().cores;
  const Plan plan = plan_of(wanted, model, device, cluster);
  const Program program = lower(plan);
  HostRunOptions options;
  options.cores = cores;
  SampleRun<float> run(plan, options);
  const Program& world = run.program();
  run.step();  // pays for memory and caches
  const HostTimes times(world, *device.host(), wanted.pace);
  if (wanted.pace > 0) run.set_pace(&times);
  std::vector<StepResult> steps;
  for (int step = 0; step < wanted.steps; ++step) steps.push_back(run.step());

  // Every step has a prediction of its own, for the speed of each core then and for the rows that
  // the experts of each rank got: that is a matter of the model and the text.
  const SpeedReadings readings = meter.readings();
  const auto compare = [&](const StepResult& step) {
    const Seconds began = run.began(step), measured = step.timeline.step;
    PredictionOptions prediction_options;
    prediction_options.pace = wanted.pace;
    prediction_options.loads = &step.loads;
    prediction_options.speeds = readings.trace(began, began + measured, calibration.device.meter);
    const Prediction prediction = predict(plan, program, device, prediction_options);
    StepError result{prediction.world_timeline.step, measured, {}, 0, {}};
    for (const auto& core : prediction_options.speeds) {
      for (const SpeedStretch& stretch : core)
        result.slower += stretch.factor / static_cast<double>(core.size()) / cores;
    }
    Seconds total;
    for (const Instruction& instruction : world.instructions) {
      if (instruction.stream != Stream::kCompute) continue;
      const HostTime& time = prediction.world_times[instruction.id.index()];
      total += wanted.pace > 0 ? time.lasts : result.slower * time.work;
    }
    result.null_model = total / (wanted.pace > 0 ? plan.layout.gpus() : cores);
    const std::vector<double> predicted = busy(world, prediction.world_timeline);
    const std::vector<double> was_busy = busy(world, step.timeline);
    for (std::size_t rank = 0; rank < predicted.size(); ++rank) {
      const double waits = result.predicted.value() - predicted[rank];
      result.wait.push_back((waits - (measured.value() - was_busy[rank])) / measured.value());
    }
    return result;
  };
  std::vector<StepError> errors;
  for (const StepResult& step : steps) errors.push_back(compare(step));

  HostCase result;
  result.name = fmt::format("{} {} {}, {} micro-batches", plan.model.name, describe(plan.layout),
                            wanted.schedule, wanted.microbatches);
  result.ranks = plan.layout.gpus();
  result.pace = wanted.pace;
  for (const StepResult& step : steps) result.steps.push_back(step.timeline.step);
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
  constexpr int kStages = static_cast<int>(std::size(kWanted)) + 1;
  int done = 0;
  const auto next = [&](const std::string& what) {
    if (progress) progress(done++, kStages, what);
  };
  HostValidation validation;
  next("calibrating");
  HostCalibrationOptions options;
  for (const Model* model : {&models.tiny, &models.small})
    options.models.push_back({*model, {{1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 2, 1}, {1, 4, 4, 1}}});
  options.sequences = {kSequence};
  options.steps = 2;
  const auto start = std::chrono::steady_clock::now();
  const HostCalibration calibration = calibrate_host(options, {});
  validation.calibration_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  validation.machine = calibration.device.machine;
  validation.cores = calibration.device.cores;
  const SpeedMeter meter(validation.cores);
  for (const Wanted& wanted : kWanted) {
    const Model& model = wanted.small ? models.small : models.tiny;
    next(fmt::format("{}, {} ranks", model.name, wanted.pp * wanted.dp));
    validation.cases.push_back(run_case(wanted, model, calibration, meter));
  }
  if (progress) progress(kStages, kStages, "");
  return validation;
}

}  // namespace orrery
