#pragma once
// Where durations come from: calibrated tables (sim/calibrated_cost.hpp) or a recorded measurement.
// The Program has none of its own.
#include <string>

#include "core/figure.hpp"
#include "core/program.hpp"

namespace orrery {

// A piece of computation on one GPU.
struct ComputeCost {
  Seconds busy;  // kernels running
  Seconds gaps;  // launch gaps between them
  Seconds total() const { return busy + gaps; }
};

// A transfer: after `fixed`, its bytes move on NIC and NVLink at once, each at no more than its
// limit. What they reach where others use the links too is the engine's business.
struct TransferCost {
  Seconds fixed;
  BytesPerSecond nic_limit;
  BytesPerSecond nvlink_limit;
  double nvlink_share = 1;  // of the wire's NVLink bytes that the port carries
};

class CostSource {
 public:
  virtual ~CostSource() = default;
  // `lent_sms`: SMs that communication holds meanwhile.
  virtual ComputeCost compute(const Work& work, int lent_sms) const = 0;
  // `beside_compute`: computation runs at the same time, and `lent_sms` of its SMs are the
  // communication's; alone it has what it was measured with.
  virtual TransferCost transfer(const Work& work, bool beside_compute, int lent_sms) const = 0;
  // How a collective is carried out, in words ("tree, LL"); empty for everything else, and where no
  // choice was made.
  virtual std::string method(const Work&) const { return {}; }
  // The assumed figures that this program's times rest on.
  virtual AssumedFigures assumed(const Program& program) const = 0;
};

// How long a transfer takes alone: the slower of its two media.
Seconds uncontended(const Wire& wire, const TransferCost& cost);

}  // namespace orrery
