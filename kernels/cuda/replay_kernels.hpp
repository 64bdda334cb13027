#pragma once
// The kernels of a replay: every op that will be launched is made ready once, with operands of its
// own in memory, and then launched by one call. Private to the replay device.
#include <functional>
#include <map>
#include <memory>
#include <tuple>

#include "kernels/attention.hpp"
#include "kernels/cuda/lt_gemm.hpp"
#include "kernels/cuda/types.hpp"
#include "kernels/replay_device.hpp"
#include "kernels/replay_launch.hpp"

namespace orrery::cuda {

class AttentionBackward;
class AttentionForward;
class CudnnLibrary;
class ReplayOperands;

class ReplayKernels {
 public:
  // `room`: of the longest operand, elements. `stream`: that of computation, on which kernels are
  // also chosen by trying them.
  ReplayKernels(ProductSms told, std::int64_t room, Stream stream);
  ~ReplayKernels();
  // Throws DeviceError where no kernel computes it here, or memory does not suffice.
  void make(const KernelCall& call);
  void launch(const KernelCall& call) const;

 private:
  using Launch = std::function<void(Stream)>;
  Launch product(const ReplayLaunch& launch, const KernelCall& call);
  Launch attention(const ReplayLaunch& launch);
  Launch streaming(const ReplayLaunch& launch, const KernelCall& call);
  Launch permutation(const ReplayLaunch& launch);
  const LtGemm& gemm(const LtShape& shape, const LtOperands& operands);

  ProductSms told_;
  Stream stream_;
  int sms_ = 0;  // of the device
  bool multiplies_fp8_ = false;
  std::unique_ptr<ReplayOperands> operands_;
  std::unique_ptr<LtLibrary> lt_;
  std::unique_ptr<CudnnLibrary> cudnn_;
  // Kernels that several ops share.
  std::map<std::tuple<LtPrecision, std::int64_t, std::int64_t, std::int64_t, int>,
           std::unique_ptr<LtGemm>>
      products_;
  using Heads = std::tuple<std::int64_t, std::int64_t, int, int, int>;
  std::map<Heads, std::shared_ptr<AttentionForward>> forwards_;
  std::map<Heads, std::shared_ptr<AttentionBackward>> backwards_;
  using Key = std::tuple<const Op*, int, int>;  // op, lent SMs, layer
  std::map<Key, Launch> launches_;
};

}  // namespace orrery::cuda
