#pragma once
// The names of CUDA's types that the interfaces of the kernels beside it need, without its headers.

struct CUstream_st;    // cuda_runtime.h: what a cudaStream_t points to
struct __nv_bfloat16;  // cuda_bf16.h

namespace orrery::cuda {

using Stream = CUstream_st*;
using Bf16 = __nv_bfloat16;

}  // namespace orrery::cuda
