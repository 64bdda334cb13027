#pragma once
// Prediction against measurement on this machine, now: calibrates, predicts steps of plans that the
// calibration has not seen, runs them, and lays one over the other. What `orrery validate --suite
// host` does.
//
// Half of the plans run as they are, many ranks sharing few cores; the other half is paced, so that
// each rank has the time of a device of its own and the step follows the schedule. Beside every
// prediction stands what a null model says that knows op times but neither order nor waiting: total
// op time over cores, or over ranks where they are paced.
#include <functional>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/quantity.hpp"
#include "sim/host_calibration.hpp"

namespace orrery {

struct HostCase {
  std::string name;  // "small-moe pp=8 dualpipe"
  int ranks = 0;
  double pace = 0;             // 0: as it is
  double slower = 1;           // than when it was calibrated, by the meter; predicted for that
  Seconds predicted;           // of a step
  Seconds measured;            // median step after the warm-up
  std::vector<Seconds> steps;  // all of them: the machine's noise
  Seconds null_model;
  double wait_error = 0;  // worst of the ranks: |predicted - measured wait| over the measured step
  int worst_rank = 0;

  double error() const { return predicted / measured - 1; }
  double null_error() const { return null_model / measured - 1; }
  double noise() const;  // half of (most - least) over the median
};

struct HostValidation {
  std::string machine;
  int cores = 1;
  double calibration_s = 0;
  std::vector<HostCase> cases;

  double mean_error() const;  // of absolute step errors
  double worst_error() const;
  double worst_wait_error() const;
  // The stated limits: 10 % a step, 5 % on average, waits within 10 % of the step, and the null
  // model off by more than 20 % wherever ranks are paced.
  bool holds() const;
};

inline constexpr double kStepLimit = 0.10, kMeanLimit = 0.05, kWaitLimit = 0.10, kNullMiss = 0.20;

struct HostValidationModels {
  Model tiny, small;
};

HostValidation validate_host(const HostValidationModels& models,
                             const std::function<void(int, int, const std::string&)>& progress);

}  // namespace orrery
