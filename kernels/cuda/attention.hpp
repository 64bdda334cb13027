#pragma once
// Causal attention of assembled queries, keys and values through cuDNN's graph API, the twin of
// kernels/attention.hpp: q, k, dq, dk [tokens][heads][qk_dim] and v, out, dout, dv
// [tokens][heads][v_dim] in BF16; lse [sequences][heads][length] in float. DeepSeek-V3: qk_dim
// 192, v_dim 128.
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/attention.hpp"
#include "kernels/cuda/types.hpp"

struct cudnnContext;  // cudnn.h: what a cudnnHandle_t points to

namespace orrery::cuda {

class CudnnLibrary {
 public:
  CudnnLibrary();
  ~CudnnLibrary();
  CudnnLibrary(const CudnnLibrary&) = delete;
  CudnnLibrary& operator=(const CudnnLibrary&) = delete;
  cudnnContext* handle() const { return handle_; }

 private:
  cudnnContext* handle_ = nullptr;
};

// Takes a second to build (cuDNN compiles the kernel). Throws DeviceError where no engine supports
// the shape: on Ampere that is the backward of heads of more than 128
// (tests/kernels/cuda_plans/attention_plans_test.cpp).
class AttentionForward {
 public:
  AttentionForward(const CudnnLibrary& library, const kernels::AttentionShape& shape, float scale);
  ~AttentionForward();
  void run(const Bf16* q, const Bf16* k, const Bf16* v, Bf16* out, float* lse, Stream stream) const;

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

// Keeps float buffers for delta and for the sum of dq. Its result depends on the order in which
// blocks finish.
class AttentionBackward {
 public:
  AttentionBackward(const CudnnLibrary& library, const kernels::AttentionShape& shape, float scale);
  ~AttentionBackward();
  void run(const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* out, const Bf16* dout,
           const float* lse, Bf16* dq, Bf16* dk, Bf16* dv, Stream stream) const;

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

// What cuDNN proposes for a device that need not be there, described by the properties that
// CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION takes: how far a plan gets without it.
struct ProposedEngines {
  std::int64_t count = 0;
  std::int64_t plans = 0;  // of them, those whose plan could be finished
  std::string stopped;     // why others could not
};
ProposedEngines attention_engines(const kernels::AttentionShape& shape, bool backward,
                                  const std::string& device);

}  // namespace orrery::cuda
