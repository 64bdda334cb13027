#pragma once
// A GPU as the device of virtual runs (kernels/virtual_device.hpp): the set of kernels beside it,
// products told nothing of lent SMs.
//
// An op that calls no kernel is timed as what stands in for it in replays
// (kernels/replay_launch.hpp): a copy of as many bytes, or nothing where the kernel of another op
// does it.
#include <string>

#include "kernels/cuda/cuda_kernels.hpp"
#include "kernels/virtual_device.hpp"

namespace orrery::cuda {

class CudaVirtualDevice : public VirtualDevice {
 public:
  CudaVirtualDevice();
  std::string name() const override { return name_; }
  bool simulated() const override { return false; }
  bool failed() const override { return failed_ || kernels_.failed(); }
  kernels::KernelSet<float>& kernels() override { return kernels_; }
  OpTime time(const Op& op, const ExchangeBeside& beside,
              const std::function<void()>& run) override;

 private:
  std::string stand_in(const Op& op);

  std::string name_;
  bool failed_ = false;  // to get ready for an op; kernels_ knows of its own calls
  CudaKernels kernels_;
};

}  // namespace orrery::cuda
