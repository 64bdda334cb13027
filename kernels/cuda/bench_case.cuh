#pragma once
// What a benchmark measures, and the random data it runs on. Private to the benchmarks.
//
// Shapes: one DeepSeek-V3 layer of 4096 tokens: hidden 7168, 128 heads of 192 and 128, 256 experts
// of 2048 of which 8 a token, 4 experts a GPU with 8192 rows each (EP64, even load). And a layer of
// models/micro-moe.toml, which virtual runs train, padded to whole tiles; those kernels' names
// begin with "tiny".
#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/device.cuh"

namespace orrery::cuda {

inline constexpr std::int64_t kTokens = 4096, kHidden = 7168, kInter = 2048, kHeads = 128;
inline constexpr std::int64_t kExperts = 4, kRows = 8192;  // of each expert
inline constexpr std::int64_t kVocabulary = 129280;

struct Layer {
  std::int64_t tokens, hidden, latent, heads, inter;
  std::int64_t experts, rows;  // on the GPU, and of each
  std::int64_t all_experts, groups, groups_per_token, top_k;
  std::int64_t vocab, parameters;  // parameters: that one launch of the optimizer takes
};
inline constexpr Layer kDeepSeekV3 = {kTokens,
                                      kHidden,
                                      1536,
                                      kHeads,
                                      kInter,
                                      kExperts,
                                      kRows,
                                      256,
                                      8,
                                      4,
                                      8,
                                      kVocabulary,
                                      std::int64_t{1} << 27};
inline constexpr Layer kTiny = {256, 128, 128, 2, 128, 4, 128, 8, 4, 2, 2, 256, 12288};

inline std::size_t size(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

// Normal values, the same block of 2^20 over and over: zeros and constants run faster.
inline const std::vector<float>& noise() {
  static const std::vector<float> values = [] {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> made(1 << 20);
    for (float& value : made) value = normal(generator);
    return made;
  }();
  return values;
}

template <class T, class Convert>
Device<T> filled(std::int64_t count, Convert convert) {
  std::vector<T> block;
  for (float value : noise()) block.push_back(convert(value));
  Device<T> made(size(count));
  for (std::size_t at = 0; at < made.size(); at += block.size()) {
    check(cudaMemcpy(made.get() + at, block.data(),
                     std::min(block.size(), made.size() - at) * sizeof(T), cudaMemcpyHostToDevice),
          "copy to the device");
  }
  return made;
}

inline std::shared_ptr<Device<Bf16>> bf16(std::int64_t count) {
  return std::make_shared<Device<Bf16>>(
      filled<Bf16>(count, [](float value) { return __float2bfloat16(value); }));
}
inline std::shared_ptr<Device<float>> floats(std::int64_t count) {
  return std::make_shared<Device<float>>(filled<float>(count, [](float value) { return value; }));
}
template <class T>
std::shared_ptr<Device<T>> room(std::int64_t count) {
  return std::make_shared<Device<T>>(size(count));
}

// Something to measure: made when its turn comes, so that its memory is free again after.
using Launch = std::function<void(cudaStream_t)>;
struct Case {
  std::string kernel, shape, ceiling;
  double flops = 0, bytes = 0;
  int sms = 0;
  std::function<Launch(cudaStream_t)> make = {};
  // Waits until what a launch left running beside it has ended; may be empty.
  std::function<void()> settle = {};
};

// "4096x7168"
inline std::string sizes(std::initializer_list<std::int64_t> numbers) {
  std::string text;
  for (std::int64_t number : numbers) text += (text.empty() ? "" : "x") + std::to_string(number);
  return text;
}

// Forward, input and weight gradients of every linear layer; the two ceilings first.
std::vector<Case> product_cases();
std::vector<Case> product_cases_in_bf16();
std::vector<Case> tiny_product_cases();
std::vector<Case> attention_cases(std::int64_t length, std::int64_t heads = kHeads);
// The ceiling, then copies by few SMs.
std::vector<Case> copy_cases();
// Products with an exchange beside them, on SMs of their own, and the exchange beside products.
std::vector<Case> co_scheduled_cases();
// Dispatch and combine by few SMs: to nodes, from there to the ranks of one, and to ranks directly.
std::vector<Case> exchange_cases();
// What streams memory: norms, casts, SwiGLU, permutation, RoPE, router, cross-entropy, AdamW.
std::vector<Case> streaming_cases(const Layer& layer);
// The small ones: heads' layout, sums, steps of the router, the ends of the model and of a step.
std::vector<Case> small_cases(const Layer& layer);

}  // namespace orrery::cuda
