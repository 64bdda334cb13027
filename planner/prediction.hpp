#pragma once
// One step of a plan on the modelled device. On GPUs a representative stands for each class of GPUs
// that do the same; on a host, where all ranks share few cores, every rank is simulated.
#include <optional>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/timeline.hpp"
#include "planner/device_model.hpp"
#include "sim/cluster_step.hpp"
#include "sim/host_engine.hpp"
#include "workload/loads.hpp"
#include "workload/world.hpp"

namespace orrery {

enum class Fidelity { kAnalytic, kFolded, kFull };

struct PredictionOptions {
  Fidelity fidelity = Fidelity::kFolded;
  double pace = 0;  // hosts: every instruction lasts so many times its time; 0: as it is
  const Loads* loads = nullptr;    // rows of the routed experts; null: even
  const Faults* faults = nullptr;  // of a GPU cluster, with contention; null: none
  Skew skew = {};                  // of expert loads, on GPUs with contention
  bool with_links = false;         // what crossed each link, on GPUs with contention
  SpeedTrace speeds = {};          // hosts: of the cores meanwhile, against the calibration
};

struct Prediction {
  // Of the plan's Program: on GPUs of the largest class of each pipeline rank, on a host of its
  // first rank.
  Timeline timeline;
  std::optional<ClusterStep> cluster;  // GPUs with contention
  Skew skew;                           // that it was simulated with
  std::optional<World> world;          // hosts
  Timeline world_timeline;
  std::vector<HostTime> world_times;  // by instruction of the world
};

Prediction predict(const Plan& plan, const Program& program, const DeviceModel& model,
                   const PredictionOptions& options);

}  // namespace orrery
