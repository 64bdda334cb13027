#pragma once
// How long kernels take on the device, by events around them alone. Each launch is repeated: a
// first one warms up, the median of the others counts.
//
// The stream waits until the host has handed out all of a launch, so that what is timed is the
// device. Beside an exchange: a copy that holds its SMs begins on a stream of higher priority
// meanwhile, and outlasts the kernels.
#include <functional>
#include <memory>

#include "kernels/cuda/types.hpp"
#include "kernels/virtual_device.hpp"

namespace orrery::cuda {

class KernelClock {
 public:
  KernelClock();
  ~KernelClock();
  KernelClock(const KernelClock&) = delete;
  KernelClock& operator=(const KernelClock&) = delete;

  // What everything is launched on.
  Stream stream() const;

  // Between them launches are timed.
  void begin(const ExchangeBeside& beside);
  Seconds end();
  bool launched() const { return launched_; }  // anything since begin()

  // `restore` puts the memory that `launch` changes into the state from before; it is called before
  // every launch. Returns when all is done.
  void run(const std::function<void()>& restore, const std::function<void()>& launch);

 private:
  struct Parts;
  Seconds once(const std::function<void()>& restore, const std::function<void()>& launch,
               Seconds head_start, Seconds exchange) const;

  std::unique_ptr<Parts> parts_;
  bool timing_ = false, launched_ = false;
  ExchangeBeside beside_;
  Seconds total_;
};

}  // namespace orrery::cuda
