#pragma once
// `orrery realrun PLAN --mode cuda-virtual`.
#include <optional>
#include <string>

#include "realrun/recipe.hpp"

namespace orrery::cli {

inline constexpr const char* kVirtualMode = "cuda-virtual";

// What the command line says; nothing where it leaves the mode's own default.
struct VirtualRunOptions {
  std::string plan, calibration, output, corpus;
  std::string simulated_device;  // a calibration: instead of a GPU
  std::string cuda_library;
  std::optional<int> steps;
  std::optional<double> learning_rate;
  Recipe recipe;  // seed and bias rate
};
int virtual_run(const VirtualRunOptions& options);

}  // namespace orrery::cli
