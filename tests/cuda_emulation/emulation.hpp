#pragma once
// CUDA's kernels on the host, for tests where there is no GPU: what a source that emulate.py has
// turned into C++ needs of the language. Included before everything else.
//
//   a block     its threads are fibers of one thread of the host; one waits where it reaches a
//               barrier or a warp's exchange before the others. Blocks run one after the other.
//   memory      of the host, every array against a page that cannot be touched (runtime.cpp), so
//               that an access beyond its end stops the program
//   time        each stream has a clock that sleeping and a launch's fixed time move on
//
// Stricter than a GPU: a lane that a warp's exchange names and that has left its kernel, lanes that
// meet in different exchanges, a barrier that a thread waits at that others never reach nor end
// before, and more threads than a kernel's bound stop the test; shared memory holds NaN at first;
// blocks run their threads forwards and backwards in turn. Not seen: races between blocks, what is
// wrong only where threads run at the same time, and waits that streams lack.
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <functional>

namespace cuda_emulation {

struct Grid {
  template <class Size>
  Grid(dim3 of_blocks, dim3 of_threads, Size of_shared, cudaStream_t on)
      : blocks(of_blocks),
        threads(of_threads),
        shared(static_cast<std::size_t>(of_shared)),
        stream(on) {}

  dim3 blocks, threads;
  std::size_t shared = 0;
  cudaStream_t stream = nullptr;
};

// Runs `thread` for every thread of every block, at most `most_threads` of them. Grids that a GPU
// would refuse are errors of the launch (cudaGetLastError).
void launch(const Grid& grid, unsigned most_threads, const std::function<void()>& thread);
// Where shared memory is declared, by every thread.
void shared(void* memory, std::size_t bytes);

// Of the stream and block that run.
std::uint64_t nanoseconds();
void sleep(std::uint64_t nanoseconds);

// By a thread of a block.
void wait_for_block();
// The value that lane `from` of the warp gives, all lanes of `mask` taking part.
enum class Exchange { kValue, kVote, kBarrier };
std::uint64_t exchange(unsigned mask, std::uint64_t value, int from);
// A bit for each lane of `mask`.
unsigned vote(unsigned mask, bool value, Exchange kind);
int lane();

template <class T>
T exchanged(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = exchange(mask, bits, from);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

// Blocks run one after the other and threads of a block in turns.
template <class T>
T added(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}

}  // namespace cuda_emulation

// The runtime has it where nvcc compiles alone.
template <class... Arguments>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Arguments...), cudaFuncAttribute attribute,
                                 int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

#undef __shared__
#undef __launch_bounds__
#define __shared__ static
#define __launch_bounds__(...)

inline void __syncthreads() {
  cuda_emulation::wait_for_block();
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  cuda_emulation::vote(mask, true, cuda_emulation::Exchange::kBarrier);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return cuda_emulation::vote(mask, predicate != 0, cuda_emulation::Exchange::kVote);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
  return cuda_emulation::exchanged(mask, value, from % 32);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  return cuda_emulation::exchanged(mask, value, cuda_emulation::lane() ^ distance);
}
inline void __nanosleep(unsigned nanoseconds) {
  cuda_emulation::sleep(nanoseconds);
}

template <class T>
T atomicAdd(T* to, T value) {
  return cuda_emulation::added(to, value);
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}
inline int __popc(unsigned bits) {
  return __builtin_popcount(bits);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
inline float rsqrtf(float x) {
  return 1 / std::sqrt(x);
}
using std::isfinite;
using std::isnan;
using std::max;
using std::min;
