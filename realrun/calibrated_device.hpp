#pragma once
// A VirtualDevice without a device: kernels of the host with a GPU's roundings, times by a function
// of the op. Good for checking a run and what is made of it; it measures nothing.
#include <functional>
#include <string>

#include "kernels/rounded_kernels.hpp"
#include "kernels/virtual_device.hpp"

namespace orrery {

class CalibratedDevice : public VirtualDevice {
 public:
  // `lent_sms`: SMs that communication holds meanwhile.
  using TimeOf = std::function<Seconds(const Op& op, int lent_sms)>;
  CalibratedDevice(std::string name, TimeOf time)
      : name_(std::move(name)), time_(std::move(time)) {}

  std::string name() const override { return name_; }
  bool simulated() const override { return true; }
  bool failed() const override { return false; }
  kernels::KernelSet<float>& kernels() override { return kernels_; }
  OpTime time(const Op& op, const ExchangeBeside& beside,
              const std::function<void()>& run) override {
    run();
    return {time_(op, beside.ctas), {}};
  }

 private:
  std::string name_;
  TimeOf time_;
  kernels::RoundedKernels kernels_;
};

}  // namespace orrery
