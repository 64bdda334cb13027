#pragma once
// One rank replayed in real time on one GPU (kernels/replay_device.hpp): the kernels beside it,
// exchanges as paced copies that hold their SMs, gates that the GPU itself opens.
//
//   streams      communication and gates at the highest priority, so that the blocks of an exchange
//                get their SMs before those of a kernel that is launched at the same time
//   products     told to leave the SMs that the plan lends, or told nothing; everything else takes
//                what is free
//   marks        events; what gates count from is stamped besides, by a kernel of one thread
//                (kernels/cuda/gate.hpp)
//   the start    all streams wait kHeadStart for the host to hand out the first kernels
//
// Nothing is synchronised between begin() and synchronise(), and the host decides nothing in
// between: it only has to hand out faster than the GPU works off.
#include <memory>
#include <vector>

#include "kernels/cuda/types.hpp"
#include "kernels/replay_device.hpp"

struct CUevent_st;  // cuda_runtime.h: what a cudaEvent_t points to

namespace orrery::cuda {

class CudaReplayDevice : public ReplayDevice {
 public:
  // `room`: elements of the longest operand of an op. Of it are the pools that operands come from:
  // 8 bytes an element in all.
  explicit CudaReplayDevice(ProductSms told, std::int64_t room = std::int64_t{1} << 30);
  ~CudaReplayDevice() override;
  std::string name() const override { return name_; }
  bool simulated() const override { return false; }
  std::string stand_in(const Op& op) const override;
  void prepare(std::span<const KernelCall> kernels, std::span<const PacedCopy> copies) override;
  void begin(std::size_t marks) override;
  void launch(orrery::Stream stream, const KernelCall& call) override;
  void copy(orrery::Stream stream, const PacedCopy& copy) override;
  void hold(orrery::Stream stream, Seconds time) override;
  void record(orrery::Stream stream, std::size_t mark, MarkUse use) override;
  void wait(orrery::Stream stream, std::size_t mark) override;
  void wait_until(orrery::Stream stream, std::size_t mark, Seconds delay) override;
  void synchronise() override;
  Seconds at(std::size_t mark) const override;

 private:
  struct Parts;
  ProductSms told_;
  std::int64_t room_;
  std::unique_ptr<Parts> parts_;
  std::string name_;
};

}  // namespace orrery::cuda
