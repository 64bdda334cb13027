#pragma once
// Arrays of the host on the device for the length of one call of a kernel: rounded to BF16 or as
// they are on the way there, results on the way back. Private to the set of kernels beside it.
//
//   Staging staging(arena, clock);
//   const Bf16* x = staging.bf16(n, host_x);
//   Bf16* y = staging.bf16_out(n, host_y);
//   staging.run([&] { kernel(n, x, y, staging.stream()); });   // host_y is there
#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/bfloat16.hpp"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernel_clock.hpp"

namespace orrery::cuda {

// Device memory that is handed out from the beginning again by every call.
class Arena {
 public:
  void reset() { block_ = used_ = 0; }
  char* take(std::int64_t wanted) {
    constexpr std::size_t kAligned = 256, kBlock = std::size_t{64} << 20;
    const std::size_t bytes = (static_cast<std::size_t>(wanted) + kAligned) / kAligned * kAligned;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_]->size()) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size())
      blocks_.push_back(std::make_unique<Device<char>>(std::max(bytes, kBlock)));
    char* taken = blocks_[block_]->get() + used_;
    used_ += bytes;
    return taken;
  }

 private:
  std::vector<std::unique_ptr<Device<char>>> blocks_;
  std::size_t block_ = 0, used_ = 0;
};

class Staging {
 public:
  Staging(Arena& arena, KernelClock& clock) : arena_(arena), clock_(clock) { arena_.reset(); }

  cudaStream_t stream() const { return clock_.stream(); }

  // Read alone; null stays null.
  const Bf16* bf16(std::int64_t n, const float* x) { return upload<Bf16>(rounded(n, x)); }
  template <class V>
  const V* values(std::int64_t n, const V* x) {
    if (x == nullptr) return nullptr;
    return upload<V>(std::vector<V>(x, x + n));
  }
  template <class V, class From>
  const V* upload(const std::vector<From>& values) {
    static_assert(sizeof(V) == sizeof(From));
    const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(From));
    char* device = arena_.take(bytes);
    send(device, values.data(), bytes);
    return reinterpret_cast<const V*>(device);
  }

  // Written: read back by run().
  Bf16* bf16_out(std::int64_t n, float* y) {
    auto* device = reinterpret_cast<Bf16*>(arena_.take(2 * n));
    results_.push_back([this, n, y, device] {
      std::vector<kernels::Bf16> narrow(static_cast<std::size_t>(n));
      fetch(narrow.data(), device, 2 * n);
      for (std::int64_t at = 0; at < n; ++at)
        y[at] = kernels::to_float(narrow[static_cast<std::size_t>(at)]);
    });
    return device;
  }
  template <class V>
  V* out(std::int64_t n, V* y) {
    const auto bytes = n * static_cast<std::int64_t>(sizeof(V));
    auto* device = reinterpret_cast<V*>(arena_.take(bytes));
    results_.push_back([this, y, device, bytes] { fetch(y, device, bytes); });
    return device;
  }

  // Read and written; `padded`: elements there are on the device, those beyond n are 0.
  Bf16* bf16_both(std::int64_t n, float* x) {
    Bf16* device = bf16_out(n, x);
    states_.push_back([this, device, values = rounded(n, x)] {
      send(device, values.data(), static_cast<std::int64_t>(2 * values.size()));
    });
    return device;
  }
  template <class V>
  V* both(std::int64_t n, V* x, std::int64_t padded = 0) {
    const auto bytes = n * static_cast<std::int64_t>(sizeof(V));
    const auto all = std::max(n, padded) * static_cast<std::int64_t>(sizeof(V));
    auto* device = reinterpret_cast<V*>(arena_.take(all));
    states_.push_back([this, x, device, bytes, all] {
      check(cudaMemsetAsync(device, 0, static_cast<std::size_t>(all), stream()), "padding");
      send(device, x, bytes);
    });
    results_.push_back([this, x, device, bytes] { fetch(x, device, bytes); });
    return device;
  }

  // Memory that `before` fills and `after` reads back, for layouts of their own.
  char* memory(std::int64_t bytes) { return arena_.take(bytes); }
  void before(std::function<void()> fill) { states_.push_back(std::move(fill)); }
  void after(std::function<void()> read) { results_.push_back(std::move(read)); }
  void send(void* device, const void* host, std::int64_t bytes) const {
    check(cudaMemcpyAsync(device, host, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice,
                          stream()),
          "copy to the device");
  }
  void fetch(void* host, const void* device, std::int64_t bytes) const {
    check(cudaMemcpyAsync(host, device, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost,
                          stream()),
          "copy from the device");
    check(cudaStreamSynchronize(stream()), "copy from the device");
  }

  void run(const std::function<void()>& launch) {
    clock_.run(
        [this] {
          for (const auto& state : states_) state();
        },
        launch);
    for (const auto& result : results_) result();
  }

 private:
  static std::vector<kernels::Bf16> rounded(std::int64_t n, const float* x) {
    std::vector<kernels::Bf16> narrow(static_cast<std::size_t>(n));
    for (std::int64_t at = 0; at < n; ++at)
      narrow[static_cast<std::size_t>(at)] = kernels::to_bf16(x[at]);
    return narrow;
  }

  Arena& arena_;
  KernelClock& clock_;
  std::vector<std::function<void()>> states_, results_;
};

}  // namespace orrery::cuda
