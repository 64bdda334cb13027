#pragma once
// What if expert-parallel communication took `factor` times as long? 0 makes it free.
#include "sim/cost_source.hpp"

namespace orrery {

class ScaledExchangeCost : public CostSource {
 public:
  ScaledExchangeCost(const CostSource& base, double factor) : base_(base), factor_(factor) {}

  ComputeCost compute(const Work& work, int lent_sms) const override {
    return base_.compute(work, lent_sms);
  }
  TransferCost transfer(const Work& work, bool beside_compute, int lent_sms) const override;
  std::string method(const Work& work) const override { return base_.method(work); }
  AssumedFigures assumed(const Program& program) const override { return base_.assumed(program); }

 private:
  const CostSource& base_;
  double factor_;
};

}  // namespace orrery
