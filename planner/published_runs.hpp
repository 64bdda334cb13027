#pragma once
// Training runs that others published with their whole configuration, and what orrery predicts for
// each.
#include <optional>
#include <string>
#include <vector>

#include "core/cluster.hpp"
#include "core/layout.hpp"
#include "core/model.hpp"
#include "core/plan.hpp"

namespace orrery {

// What a published figure of memory is of; reports/published/training-runs.toml has the reasons.
enum class MemoryFigure {
  kAllocated,  // what PyTorch's allocator has handed out: no reserve, no buffers of exchange
               // kernels
  kFormula,    // weights, gradients, optimizer states and activations, by the paper's formula
};

struct TrainingRun {
  std::string id, source, framework;
  Model model;
  std::string gpu;  // a calibration's name
  int gpus = 0;
  Layout layout;  // dp follows
  std::string schedule;
  Training training;
  Seconds step;
  bool derived = false;  // from throughput, not measured as such
  std::optional<std::string> stage_map;
  std::optional<Bytes> memory;  // of the fullest GPU
  MemoryFigure memory_is = MemoryFigure::kAllocated;

  bool is_moe() const { return model.moe.experts > 0; }
};

// Throws InputError with the places in the file.
std::vector<TrainingRun> read_training_runs(const std::string& path);

struct RunPrediction {
  std::string why_not;  // it cannot be expressed; then nothing else is set
  Seconds step;
  Bytes memory;      // of the fullest GPU
  bool fits = true;  // it: the run was made, so that where it does not fit the prediction is wrong
  Bytes compared;    // the part of it that the published figure is of
};

// With contention, on the cluster of that GPU that ships, with as many nodes as the run had.
RunPrediction predict_run(const TrainingRun& run);

}  // namespace orrery
