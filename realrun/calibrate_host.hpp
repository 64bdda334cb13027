#pragma once
// Measures this machine for predictions of real runs on it (sim/host_calibration.hpp): what `orrery
// calibrate host` does.
//
// Kernels are measured where they will be used: models are trained for a few steps under layouts of
// one, two and four ranks, replicated until two ranks take turns on every core, and the CPU time of
// every op is read. Only times of single ops,
// exchanges and hand-overs go into the file; no step time does. Layouts with more than two pipeline
// stages, stages and replicas at once, more than two micro-batches a rank, co-scheduled pairs or a
// pace are never run here: what is predicted of those is a prediction. All times are stated
// at one speed of the machine, that which its cores had on average meanwhile
// (realrun/speed_meter.hpp).
//
// What cores cost each other comes from alternating steps of the first model's ranks on all cores
// and on one; hand-over times from cores that changed hands while nothing communicated, wake times
// from the critical paths.
#include <functional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "realrun/sample_run.hpp"
#include "realrun/training.hpp"
#include "sim/host_calibration.hpp"

namespace orrery {

struct CalibratedModel {
  Model model;  // whose shapes are measured
  // Those that do not divide the model are left out. Empty: one rank, two stages, two and four
  // ranks that exchange tokens, two ranks of tensor parallelism, replicas without ZeRO.
  std::vector<SampleLayout> layouts = {};
};

struct HostCalibrationOptions {
  std::string name = "host";
  std::vector<CalibratedModel> models;
  std::vector<int> sequences = {64, 128, 256};  // tokens of a micro-batch
  int steps = 3;                                // of each run, after the warm-up
  int cores = 0;                                // 0: all of the machine's
  HostScalar scalar = HostScalar::kFloat;
};

// `progress`: done, of, what comes next.
HostCalibration calibrate_host(const HostCalibrationOptions& options,
                               const std::function<void(int, int, const std::string&)>& progress);

}  // namespace orrery
