#pragma once
// What a calibration keeps of the steps that it measures: times of every op by shape, of every
// exchange by size, of instructions beside their ops, and of cores and workers that change hands.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/program.hpp"
#include "realrun/host_run.hpp"
#include "sim/host_calibration.hpp"

namespace orrery {

// To four digits, which is more than any measured time is worth and reads well.
double rounded(double value);

// Means leave out what took several times the median: it was interrupted by something else. 0
// where there are no samples.
double mean_of(std::vector<double> samples);
double median_of(std::vector<double> samples);

class StepSamples {
 public:
  // A step carried out with time_ops. The times of an instruction are kept as multiples of its
  // unit, by InstructionId: what says how fast its core was meanwhile.
  template <class T>
  void add(const Program& program, const StepResult& result, const std::vector<Seconds>& units);

  // Where a computation was ready before another rank gave the core back, and no communication had
  // it meanwhile, the time between is one of a core changing hands; where a worker of the step's
  // critical path began as soon as another worker's work had ended, it is one of a worker waking.
  void add_changes(const Program& program, const StepResult& result, int cores);

  // Rows of all that was kept, where a unit is so long.
  std::vector<HostKernelRow> kernels(Seconds unit) const;
  std::vector<HostTransferRow> transfers(Seconds unit) const;
  Seconds instruction(Seconds unit) const { return Seconds{mean_of(beside_) * unit.value()}; }
  Seconds hand_over() const;
  Seconds wake() const { return Seconds{mean_of(wakes_)}; }
  const std::set<std::string>& without_work() const { return without_work_; }

 private:
  // All that one op was measured at, by shape.
  struct OpKey {
    std::string name;
    KernelClass kernel = KernelClass::kGemm;
    double m = 0, n = 0, k = 0;
    int groups = 1;
    double amount = 0;
    auto operator<=>(const OpKey&) const = default;
  };
  struct OpTimes {
    std::vector<double> units;
    std::vector<double> scale;  // rows seen over the even rows that the shape counts
  };
  struct TransferKey {
    Pattern pattern = Pattern::kSend;
    int group = 1;
    double bytes = 0;
    auto operator<=>(const TransferKey&) const = default;
  };
  void add_hand_overs(const Program& program, const Timeline& timeline, int cores);
  static OpKey key_of(const Work& work, const Op& op);
  static HostKernelRow row_of(const OpKey& key, const OpTimes& times, Seconds unit);
  void add_instructions(const Program& program, const StepResult& result,
                        const std::vector<Seconds>& units);

  std::map<OpKey, OpTimes> ops_;
  std::map<TransferKey, std::vector<double>> transfers_;
  std::set<std::string> without_work_;
  std::vector<double> beside_;              // units
  std::vector<double> hand_overs_, wakes_;  // seconds
};

}  // namespace orrery
