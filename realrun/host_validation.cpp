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
    {false, "1f1b", 4, 1, 1, 8, 0, 20},   {false, "dualpipe", 4, 1, 1, 8, 0, 20},
    {true, "dualpipe", 2, 2, 2, 4, 0, 8}, {true, "1f1b", 4, 2, 2, 4, 0, 8},
    {true, "1f1b", 8, 1, 1, 8, 8, 2},     {true, "dualpipe", 8, 1, 1, 16, 8, 2},
    {true, "1f1b", 4, 4, 4, 4, 12, 2},    {true, "dualpipe", 8, 2, 2, 16, 12, 2}};
constexpr int kSequence = 128;

Plan plan_of(const Wanted& wanted, const HostValidationModels& models, const DeviceModel& device,
             const Cluster& cluster) {
  PlanRequest request;
  request.model = wanted.small ? models.small : models.tiny;
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

struct Run {
  TrainingResult training;
  Loads warm_up_loads;
  Seconds probe;  // median of those between the steps
};

// Carries out a plan, with the probe after every step that is not paced.
Run carry_out(const Plan& plan, const Corpus& corpus, const Wanted& wanted, int cores,
              const InstructionTimes* paced, SpeedProbe<float>& probe) {
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
  std::vector<Seconds> probes;
  TrainingCallbacks callbacks;
  callbacks.step = [&](const StepReport& report) {
    if (report.step == 1) run.warm_up_loads = report.result.loads;
    if (paced == nullptr) probes.push_back(probe.measure());
  };
  run.training = train(plan, corpus, options, transports, callbacks);
  if (!probes.empty()) {
    std::sort(probes.begin(), probes.end());
    run.probe = probes[probes.size() / 2];
  }
  return run;
}

HostCase run_case(const Wanted& wanted, const HostValidationModels& models,
                  const HostCalibration& calibration, const Corpus& corpus,
                  SpeedProbe<float>& probe) {
  const Cluster cluster = host_cluster(wanted.pp * wanted.dp);
  const DeviceModel device(calibration, cluster, "");
  const Plan plan = plan_of(wanted, models, device, cluster);
  const Program program = lower(plan);
  const World expanded = expand(program, plan.layout);
  const Program& world = expanded.program;
  const HostTimes times(world, *device.host(), wanted.pace);
  const Run run = carry_out(plan, corpus, wanted, device.host()->machine().cores,
                            wanted.pace > 0 ? &times : nullptr, probe);

  // How many rows the experts of each rank get is a matter of the model and the text: those of the
  // warm-up step. Where ranks are paced every rank lasts as if they were even, and the machine's
  // speed does not matter.
  PredictionOptions options;
  options.pace = wanted.pace;
  if (wanted.pace == 0) options.loads = &run.warm_up_loads;
  const double slower = wanted.pace > 0 ? 1 : run.probe / calibration.device.probe;
  const Prediction prediction =
      predict(plan, program, DeviceModel(slowed(calibration, slower), cluster, ""), options);

  HostCase result;
  result.name = fmt::format("{} {} {}, {} micro-batches", plan.model.name, describe(plan.layout),
                            wanted.schedule, wanted.microbatches);
  result.ranks = plan.layout.gpus();
  result.pace = wanted.pace;
  result.slower = slower;
  result.predicted = prediction.world_timeline.step;
  Seconds total;
  for (const Instruction& instruction : world.instructions) {
    if (instruction.stream != Stream::kCompute) continue;
    const HostTime& time = prediction.world_times[instruction.id.index()];
    total += wanted.pace > 0 ? time.lasts : time.work;
  }
  result.null_model = total / (wanted.pace > 0 ? result.ranks : device.host()->machine().cores);

  result.measured = run.training.median.timeline.step;
  result.steps = run.training.run.steps;
  const std::vector<double> predicted = busy(world, prediction.world_timeline);
  const std::vector<double> measured = busy(world, run.training.median.timeline);
  for (std::size_t rank = 0; rank < predicted.size(); ++rank) {
    const double wait_predicted = result.predicted.value() - predicted[rank];
    const double wait_measured = result.measured.value() - measured[rank];
    const double error = std::abs(wait_predicted - wait_measured) / result.measured.value();
    if (error > result.wait_error) {
      result.wait_error = error;
      result.worst_rank = static_cast<int>(rank);
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
  if (progress) progress(0, kStages, "calibrating");
  HostCalibrationOptions options;
  options.models = {models.tiny, models.small};
  options.sequences = {kSequence};
  options.steps = 3;
  HostValidation validation;
  const auto start = std::chrono::steady_clock::now();
  validation.calibration = calibrate_host(options, {});
  validation.calibration_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  SpeedProbe<float> probe(models.tiny, validation.calibration.device.cores);
  const Corpus corpus{make_corpus(3, 1 << 17), make_corpus(4, 1 << 12)};
  int done = 1;
  for (const Wanted& wanted : kWanted) {
    if (progress) progress(done++, kStages, fmt::format("{} ranks", wanted.pp * wanted.dp));
    validation.cases.push_back(run_case(wanted, models, validation.calibration, corpus, probe));
  }
  if (progress) progress(kStages, kStages, "");
  return validation;
}

}  // namespace orrery
