#pragma once
// Causal attention of assembled queries, keys and values through cuDNN's graph API, the twin of
// kernels/attention.hpp: q, k, dq, dk [tokens][heads][qk_dim] and v, out, dout, dv
// [tokens][heads][v_dim] in BF16; lse [sequences][heads][length] in float. DeepSeek-V3: qk_dim
// 192, v_dim 128.
#include <cstdint>
#include <memory>

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
// the shape.
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

}  // namespace orrery::cuda
