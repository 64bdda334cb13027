#pragma once
// What if the kernels and links of a calibration took longer or less?
#include "sim/cost_source.hpp"
#include "sim/uncertainty.hpp"

namespace orrery {

// Times of `base` with each knob's own multiplied by its factor. Launch gaps and latencies stay.
class VariedCost : public CostSource {
 public:
  // `base` must outlive it.
  VariedCost(const CostSource& base, const ByKnob& factors) : base_(base), factors_(factors) {}

  ComputeCost compute(const Work& work, int lent_sms) const override;
  TransferCost transfer(const Work& work, bool beside_compute, int lent_sms) const override;
  std::string method(const Work& work) const override { return base_.method(work); }
  AssumedFigures assumed(const Program& program) const override { return base_.assumed(program); }

 private:
  double factor(Knob knob) const { return factors_[static_cast<std::size_t>(knob)]; }
  double factor(const Op& op) const;

  const CostSource& base_;
  ByKnob factors_;
};

}  // namespace orrery
