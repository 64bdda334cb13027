#pragma once
// A Plan: everything that decides what each GPU does in a training step, in one value. Model,
// cluster, layout, schedule and training set-up; the calibration only by name and hash, since a
// plan can be timed with any. One JSON file, self-contained and byte-identical for equal input
// (core/plan_json.hpp).
#include <cstdint>
#include <string>

#include "core/cluster.hpp"
#include "core/layout.hpp"
#include "core/model.hpp"
#include "core/schedule.hpp"

namespace orrery {

enum class ScalarType { kFp32, kBf16, kFp8 };

constexpr double bytes_of(ScalarType type) {
  return type == ScalarType::kFp32 ? 4 : type == ScalarType::kBf16 ? 2 : 1;
}

struct Training {
  int sequence = 4096;   // tokens a sequence
  int global_batch = 0;  // sequences a step
  double tokens = 0;     // of the whole run; 0 = not given
  ScalarType gradient = ScalarType::kFp32;
  ScalarType master = ScalarType::kFp32;
  ScalarType moments = ScalarType::kBf16;  // DeepSeek-V3 report, section 3.3.3
  std::uint64_t seed = 0;
  bool operator==(const Training&) const = default;

  double tokens_per_step() const { return static_cast<double>(sequence) * global_batch; }
};

struct CalibrationRef {
  std::string name;
  std::string hash;  // of the file's text (core/hash.hpp)
  bool operator==(const CalibrationRef&) const = default;
};

struct Plan {
  Model model;
  Cluster cluster;
  Layout layout;
  Schedule schedule;
  Training training;
  CalibrationRef calibration;
  bool operator==(const Plan&) const = default;

  // Micro-batches that each data-parallel replica runs in a step.
  int microbatches() const { return training.global_batch / (layout.dp * layout.micro_batch); }
  // Tokens of one micro-batch that one GPU holds (its context-parallel share).
  int tokens_per_microbatch() const { return training.sequence * layout.micro_batch / layout.cp; }
};

}  // namespace orrery
