#pragma once
// One call of a kernel of the set (kernels/cuda/cuda_kernels.hpp). Private to the files of the set.
#include <exception>
#include <map>

#include "kernels/cuda/cuda_kernels.hpp"
#include "kernels/cuda/staging.cuh"

namespace orrery::cuda {

struct CudaKernels::Memory {
  Arena arena;
  // By length, width and theta.
  std::map<std::tuple<std::int64_t, std::int64_t, double>, Device<float>> angles;
};

// Before anything else of a call.
struct CudaTurn {
  explicit CudaTurn(std::recursive_mutex& turn) : taken(turn) {}
  std::lock_guard<std::recursive_mutex> taken;
};

// Takes its turn and notes whether the call ended by an exception.
class CudaKernels::Call : private CudaTurn, public Staging {
 public:
  explicit Call(CudaKernels& set)
      : CudaTurn(set.turn_),
        Staging(set.memory_->arena, set.clock_),
        set_(set),
        exceptions_(std::uncaught_exceptions()) {}
  ~Call() {
    if (std::uncaught_exceptions() > exceptions_) set_.failed_ = true;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  CudaKernels& set_;
  int exceptions_;
};

}  // namespace orrery::cuda
