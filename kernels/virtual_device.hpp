#pragma once
// One device on which all ranks of a plan take turns, each op timed by itself
// (realrun/virtual_run.hpp): kernels that compute on real data, and how long they take on it. Data
// lie on the host between ops; what is timed are the kernels alone, with their operands on the
// device.
//
//   VirtualDevice& device = ...;
//   const OpTime took = device.time(op, beside, [&] { device.kernels().linear(...); });
#include <functional>
#include <string>

#include "core/op.hpp"
#include "core/quantity.hpp"
#include "kernels/kernel_set.hpp"

namespace orrery {

// What runs on the device at the same time: an exchange with its other end missing, a copy in
// device memory by `ctas` blocks that each keep an SM to themselves, no faster than `rate`.
struct ExchangeBeside {
  int ctas = 0;         // 0: none
  BytesPerSecond rate;  // bytes read, and as many written
};

struct OpTime {
  Seconds time;
  // As MeasuredOp::stand_in: what was timed where the op called no kernel.
  std::string stand_in;
};

class VirtualDevice {
 public:
  virtual ~VirtualDevice() = default;

  // "NVIDIA H200", "simulated device, kernels of h800".
  virtual std::string name() const = 0;
  // Whether no time it says was measured.
  virtual bool simulated() const = 0;
  // Whether a call of kernels() or time() has failed for a reason of the device.
  virtual bool failed() const = 0;
  virtual kernels::KernelSet<float>& kernels() = 0;
  // Calls `run`, once, in which kernels() is called, by this thread alone: other threads wait until
  // it is over. The time is that of all these calls, each launched together with the exchange on
  // another stream.
  virtual OpTime time(const Op& op, const ExchangeBeside& beside,
                      const std::function<void()>& run) = 0;
};

}  // namespace orrery
