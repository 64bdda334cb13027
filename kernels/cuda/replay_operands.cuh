#pragma once
// What the kernels of a replay read and write. Private to the replay device.
//
// Inputs come from pools of random values (zeros and constants run faster), results go to a pool
// that nothing reads, each operand at the next place of its pool and from the beginning again at
// its end: memory does not grow with the step, and what a kernel reads is not in L2 because the one
// before it has just written it. Weights and gradients that are added to have places of their own.
#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/quantise.hpp"

namespace orrery::cuda {

// Hands out its memory from the beginning over and over.
template <class T>
class Ring {
 public:
  explicit Ring(std::int64_t size) : memory_(static_cast<std::size_t>(size)), size_(size) {}

  T* take(std::int64_t count) {
    constexpr std::int64_t kAligned = 256;  // elements
    require(count <= size_, "an operand of the replay is larger than the room for one");
    if (next_ + count > size_) next_ = 0;
    T* taken = memory_.get() + next_;
    next_ += (count + kAligned - 1) / kAligned * kAligned;
    return taken;
  }
  T* begin() const { return memory_.get(); }
  std::int64_t size() const { return size_; }

 private:
  Device<T> memory_;
  std::int64_t size_, next_ = 0;
};

class ReplayOperands {
 public:
  // `room`: the longest operand, elements; a multiple of 8192.
  ReplayOperands(std::int64_t room, cudaStream_t stream)
      : bf16_(room),
        codes_(room),
        scales_(room / kTileOfScale),
        floats_(room / 16),
        results_(4 * room) {
    // The same block of normal values over and over.
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> block(std::size_t{1} << 20);
    for (float& value : block) value = normal(generator);
    std::vector<Bf16> narrow;
    for (const float value : block) narrow.push_back(__float2bfloat16(value));
    repeat(block, floats_);
    repeat(narrow, bf16_);
    quantise_rows(bf16_.size() / kColumns, kColumns, bf16_.begin(), codes_.begin(), scales_.begin(),
                  stream);
    check(cudaStreamSynchronize(stream), "operands of the replay");
  }

  const Bf16* bf16(std::int64_t count) { return bf16_.take(count); }
  const std::uint8_t* codes(std::int64_t count) { return codes_.take(count); }
  const float* scales(std::int64_t count) { return scales_.take(count); }
  const float* floats(std::int64_t count) { return floats_.take(count); }
  // Of a result, in bytes.
  template <class T>
  T* result(std::int64_t count) {
    return reinterpret_cast<T*>(results_.take(count * static_cast<std::int64_t>(sizeof(T))));
  }

  // Memory that is the same whenever the same op of the same layer asks for it.
  const std::uint8_t* weight_codes(int layer, const std::string& op, std::int64_t count) {
    return reinterpret_cast<const std::uint8_t*>(
        kept({layer, op, count}, codes_.begin(), codes_.size()));
  }
  const Bf16* weights(int layer, const std::string& op, std::int64_t count) {
    return reinterpret_cast<const Bf16*>(
        kept({layer, op, 2 * count}, bf16_.begin(), 2 * bf16_.size()));
  }
  // Starts at 0.
  float* sum(int layer, const std::string& op, std::int64_t count) {
    return reinterpret_cast<float*>(kept({layer, op, 4 * count}, nullptr, 0));
  }

 private:
  static constexpr std::int64_t kColumns = 8192, kTileOfScale = 128;

  template <class T>
  static void repeat(const std::vector<T>& block, const Ring<T>& into) {
    const auto length = static_cast<std::int64_t>(block.size());
    for (std::int64_t at = 0; at < into.size(); at += length) {
      const std::int64_t count = std::min(length, into.size() - at);
      check(cudaMemcpy(into.begin() + at, block.data(), static_cast<std::size_t>(count) * sizeof(T),
                       cudaMemcpyHostToDevice),
            "operands of the replay");
    }
  }

  using Key = std::tuple<int, std::string, std::int64_t>;  // layer, op, bytes

  // Filled from memory of `size` bytes, over and over; with zeros where there is none.
  char* kept(const Key& key, const void* from, std::int64_t size) {
    const auto found = kept_.find(key);
    if (found != kept_.end()) return found->second.get();
    const std::int64_t bytes = std::get<2>(key);
    Device<char> made(static_cast<std::size_t>(bytes));
    if (from == nullptr) made.fill(0);
    for (std::int64_t at = 0; from != nullptr && at < bytes; at += size) {
      check(cudaMemcpy(made.get() + at, from, static_cast<std::size_t>(std::min(size, bytes - at)),
                       cudaMemcpyDeviceToDevice),
            "weights of the replay");
    }
    check(cudaStreamSynchronize(nullptr), "weights of the replay");
    return kept_.emplace(key, std::move(made)).first->second.get();
  }

  Ring<Bf16> bf16_;
  Ring<std::uint8_t> codes_;
  Ring<float> scales_, floats_;
  Ring<char> results_;
  std::map<Key, Device<char>> kept_;
};

}  // namespace orrery::cuda
