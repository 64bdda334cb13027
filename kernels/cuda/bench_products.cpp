#include <cmath>

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/bench_case.cuh"
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/lt_gemm.hpp"
#include "kernels/cuda/quantise.hpp"

namespace orrery::cuda {
namespace {

const LtLibrary& lt() {
  static const LtLibrary library;
  return library;
}
const CudnnLibrary& cudnn() {
  static const CudnnLibrary library;
  return library;
}

// `groups` products one after the other, each on operands of its own.
Case gemm(const std::string& name, LtPrecision precision, std::int64_t m, std::int64_t n,
          std::int64_t k, int groups = 1, int sms = 0) {
  Case made;
  made.kernel = name;
  made.shape = sizes({m, n, k}) + (groups > 1 ? " x " + std::to_string(groups) : "");
  const bool fp8 = is_fp8(precision);
  const bool weight = precision == LtPrecision::kFp8Weight || precision == LtPrecision::kBf16Weight;
  made.ceiling = fp8 ? "fp8" : "bf16";
  made.sms = sms;
  const auto count = static_cast<double>(groups);
  made.flops =
      count * 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const double each = fp8 ? 1 : 2;
  made.bytes = count * (each * static_cast<double>(m * k + n * k) +
                        (weight ? 8 : 2) * static_cast<double>(m * n));
  made.make = [=](cudaStream_t stream) -> Launch {
    const LtShape shape{precision, m, n, k, weight, sms};
    auto product = std::make_shared<LtGemm>(lt(), shape);
    auto d_float = room<float>(weight ? groups * m * n : 1);
    auto d_bf16 = room<Bf16>(weight ? 1 : groups * m * n);
    auto a = bf16(m * k), b = bf16(n * k);
    if (weight) d_float->fill(0);
    std::vector<LtOperands> operands(size(groups));
    if (!fp8) {
      for (int group = 0; group < groups; ++group) {
        void* own_d = weight ? static_cast<void*>(d_float->get() + group * m * n)
                             : static_cast<void*>(d_bf16->get() + group * m * n);
        operands[size(group)] = {a->get(), b->get(), nullptr, nullptr, own_d};
      }
      product->tune(operands[0], stream);
      return [=](cudaStream_t on) {
        for (const LtOperands& each_group : operands) product->run(each_group, on);
        static_cast<void>(a);
        static_cast<void>(b);
        static_cast<void>(d_bf16);
        static_cast<void>(d_float);
      };
    }
    const std::int64_t b_scale_count =
        weight ? k / 128 * scale_stride(n) : n / 128 * scale_stride(k / 128);
    auto a_codes = room<std::uint8_t>(groups * m * k), b_codes = room<std::uint8_t>(groups * n * k);
    auto a_scales = room<float>(groups * k / 128 * scale_stride(m));
    auto b_scales = room<float>(groups * b_scale_count);
    for (int group = 0; group < groups; ++group) {
      LtOperands& own = operands[size(group)];
      std::uint8_t* own_a = a_codes->get() + group * m * k;
      std::uint8_t* own_b = b_codes->get() + group * n * k;
      float* own_a_scales = a_scales->get() + group * (k / 128 * scale_stride(m));
      float* own_b_scales = b_scales->get() + group * b_scale_count;
      quantise_rows(m, k, a->get(), own_a, own_a_scales, stream);
      if (weight) {
        quantise_rows(n, k, b->get(), own_b, own_b_scales, stream);
      } else {
        quantise_blocks(n, k, b->get(), own_b, own_b_scales, stream);
      }
      void* own_d = weight ? static_cast<void*>(d_float->get() + group * m * n)
                           : static_cast<void*>(d_bf16->get() + group * m * n);
      own = {own_a, own_b, own_a_scales, own_b_scales, own_d};
    }
    product->tune(operands[0], stream);
    return [=](cudaStream_t on) {
      for (const LtOperands& each_group : operands) product->run(each_group, on);
      // What the operands point to.
      static_cast<void>(a_codes);
      static_cast<void>(b_codes);
      static_cast<void>(a_scales);
      static_cast<void>(b_scales);
      static_cast<void>(d_float);
      static_cast<void>(d_bf16);
    };
  };
  return made;
}

// The product as it runs beside an exchange that holds 20 SMs and moves `gigabytes` a second, as
// kernels of an overlapped chunk do.
Case beside_exchange(const Case& product, int gigabytes) {
  constexpr int kBlocks = 20;
  constexpr double kSlowest = 2e14;  // flops a second: the exchange outlasts every product
  const double rate = 1e9 * gigabytes;
  const auto bytes = static_cast<std::int64_t>(rate * product.flops / kSlowest) / 65536 * 65536;
  Case made = product;
  made.kernel += ", beside " + std::to_string(gigabytes) + " GB/s";
  auto other = std::make_shared<cudaStream_t>(nullptr);
  made.settle = [other] { check(cudaStreamSynchronize(*other), "exchange"); };
  made.make = [=](cudaStream_t stream) -> Launch {
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "priorities");
    check(cudaStreamCreateWithPriority(other.get(), cudaStreamNonBlocking, greatest), "stream");
    const Launch launch = product.make(stream);
    auto from = bf16(bytes / 2), to = room<Bf16>(bytes / 2);
    return [=](cudaStream_t on) {
      paced_copy(from->get(), to->get(), size(bytes), kBlocks, rate, *other);
      launch(on);
    };
  };
  return made;
}

constexpr double kQk = 192, kV = 128;

}  // namespace

std::vector<Case> product_cases() {
  constexpr auto kForward = LtPrecision::kFp8, kWeight = LtPrecision::kFp8Weight;
  std::vector<Case> cases = {gemm("product, ceiling BF16", LtPrecision::kBf16, 8192, 8192, 8192),
                             gemm("product, ceiling E4M3", kForward, 8192, 8192, 8192),
                             gemm("experts fc1 F", kForward, kRows, 2 * kInter, kHidden, kExperts),
                             gemm("experts fc2 F", kForward, kRows, kHidden, kInter, kExperts),
                             gemm("experts fc1 I", kForward, kRows, kHidden, 2 * kInter, kExperts),
                             gemm("experts fc2 I", kForward, kRows, kInter, kHidden, kExperts),
                             gemm("experts fc1 W", kWeight, 2 * kInter, kHidden, kRows, kExperts),
                             gemm("experts fc2 W", kWeight, kHidden, kInter, kRows, kExperts)};
  struct Linear {
    const char* name;
    std::int64_t out, in;
  };
  constexpr Linear kLinears[] = {{"o_proj", 7168, 16384},   {"q_up", 24576, 1536},
                                 {"q_down", 1536, 7168},    {"kv_up", 32768, 512},
                                 {"kv_down", 576, 7168},    {"shared fc1", 4096, 7168},
                                 {"shared fc2", 7168, 2048}};
  for (const Linear& linear : kLinears) {
    const std::string name = linear.name;
    // 576 outputs are no multiple of 128, which the scales of blocks, and of k in I, need.
    if (linear.out % 128 == 0) {
      cases.push_back(gemm(name + " F", kForward, kTokens, linear.out, linear.in));
      cases.push_back(gemm(name + " I", kForward, kTokens, linear.in, linear.out));
    }
    cases.push_back(gemm(name + " W", kWeight, linear.out, linear.in, kTokens));
  }
  // On the SMs that a co-scheduled exchange of 20 SMs leaves.
  constexpr int kLeft = 112;
  cases.push_back(gemm("experts fc1 F", kForward, kRows, 2 * kInter, kHidden, kExperts, kLeft));
  cases.push_back(gemm("experts fc2 F", kForward, kRows, kHidden, kInter, kExperts, kLeft));
  cases.push_back(gemm("experts fc1 I", kForward, kRows, kHidden, 2 * kInter, kExperts, kLeft));
  cases.push_back(gemm("experts fc1 W", kWeight, 2 * kInter, kHidden, kRows, kExperts, kLeft));
  cases.push_back(gemm("o_proj F", kForward, kTokens, 7168, 16384, 1, kLeft));
  return cases;
}

std::vector<Case> product_cases_in_bf16() {
  constexpr auto kBf16 = LtPrecision::kBf16, kWeight = LtPrecision::kBf16Weight;
  return {gemm("router F (BF16)", kBf16, kTokens, 256, kHidden),
          gemm("o_proj F (BF16)", kBf16, kTokens, 7168, 16384),
          gemm("head F (BF16)", kBf16, kTokens, kVocabulary, kHidden),
          gemm("experts fc1 F (BF16)", kBf16, kRows, 2 * kInter, kHidden, kExperts),
          gemm("kv_down F (BF16)", kBf16, kTokens, 576, kHidden),
          gemm("kv_down I (BF16)", kBf16, kTokens, kHidden, 576),
          gemm("router W (BF16)", kWeight, 256, kHidden, kTokens),
          gemm("o_proj W (BF16)", kWeight, 7168, 16384, kTokens),
          gemm("head W (BF16)", kWeight, kVocabulary, kHidden, kTokens),
          gemm("experts fc1 W (BF16)", kWeight, 2 * kInter, kHidden, kRows, kExperts)};
}

std::vector<Case> tiny_product_cases() {
  constexpr Layer l = kTiny;
  constexpr auto kExpertsHere = static_cast<int>(l.experts);
  const std::int64_t values = l.heads * 128;
  std::vector<Case> cases;
  for (const bool fp8 : {true, false}) {
    const auto forward = fp8 ? LtPrecision::kFp8 : LtPrecision::kBf16;
    const auto weight = fp8 ? LtPrecision::kFp8Weight : LtPrecision::kBf16Weight;
    const std::string type = fp8 ? "" : " (BF16)";
    cases.push_back(
        gemm("experts fc1 F" + type, forward, l.rows, 2 * l.inter, l.hidden, kExpertsHere));
    cases.push_back(
        gemm("experts fc1 W" + type, weight, 2 * l.inter, l.hidden, l.rows, kExpertsHere));
    cases.push_back(gemm("o_proj F" + type, forward, l.tokens, l.hidden, values));
    cases.push_back(gemm("o_proj I" + type, forward, l.tokens, values, l.hidden));
    cases.push_back(gemm("o_proj W" + type, weight, l.hidden, values, l.tokens));
  }
  return cases;
}

std::vector<Case> co_scheduled_cases() {
  constexpr auto kForward = LtPrecision::kFp8, kWeight = LtPrecision::kFp8Weight;
  constexpr int kLeft = 112;
  std::vector<Case> cases;
  // How many SMs to ask for beside the exchange.
  for (int sms : {64, 80, 96, 104, 108, 132}) {
    cases.push_back(beside_exchange(
        gemm("experts fc1 F", kForward, kRows, 2 * kInter, kHidden, kExperts, sms), 50));
    cases.push_back(beside_exchange(
        gemm("experts fc1 W", kWeight, 2 * kInter, kHidden, kRows, kExperts, sms), 50));
  }
  for (int gigabytes : {50, 160}) {
    cases.push_back(beside_exchange(
        gemm("experts fc1 F", kForward, kRows, 2 * kInter, kHidden, kExperts, kLeft), gigabytes));
    cases.push_back(beside_exchange(
        gemm("experts fc2 F", kForward, kRows, kHidden, kInter, kExperts, kLeft), gigabytes));
    cases.push_back(beside_exchange(
        gemm("experts fc1 W", kWeight, 2 * kInter, kHidden, kRows, kExperts, kLeft), gigabytes));
    cases.push_back(
        beside_exchange(gemm("o_proj F", kForward, kTokens, 7168, 16384, 1, kLeft), gigabytes));
    for (const Case& attention : attention_cases(4096))
      cases.push_back(beside_exchange(attention, gigabytes));
  }
  return cases;
}

std::vector<Case> attention_cases(std::int64_t length, std::int64_t heads) {
  const kernels::AttentionShape shape{1, length, heads, 192, 128};
  const auto scale = static_cast<float>(1 / std::sqrt(kQk));
  const std::int64_t wide = shape.tokens() * heads * 192, narrow = shape.tokens() * heads * 128;
  const double half = static_cast<double>(heads) * static_cast<double>(length) *
                      static_cast<double>(length);  // 2 x heads x length^2 / 2: causal
  Case forward{"attention forward (cuDNN)", sizes({length, heads, 192, 128}), "bf16"};
  forward.flops = half * (kQk + kV);
  forward.bytes = 2.0 * static_cast<double>(2 * wide + 2 * narrow);
  forward.make = [=](cudaStream_t) -> Launch {
    auto op = std::make_shared<AttentionForward>(cudnn(), shape, scale);
    auto q = bf16(wide), k = bf16(wide), v = bf16(narrow), out = room<Bf16>(narrow);
    auto lse = room<float>(shape.tokens() * heads);
    return
        [=](cudaStream_t on) { op->run(q->get(), k->get(), v->get(), out->get(), lse->get(), on); };
  };
  Case backward{"attention backward (cuDNN)", forward.shape, "bf16"};
  backward.flops = half * (3 * kQk + 2 * kV);
  backward.bytes = 2.0 * static_cast<double>(4 * wide + 4 * narrow);
  backward.make = [=](cudaStream_t on_setup) -> Launch {
    const AttentionForward op(cudnn(), shape, scale);
    auto gradient = std::make_shared<AttentionBackward>(cudnn(), shape, scale);
    auto q = bf16(wide), k = bf16(wide), v = bf16(narrow), dout = bf16(narrow);
    auto out = room<Bf16>(narrow), dq = room<Bf16>(wide), dk = room<Bf16>(wide),
         dv = room<Bf16>(narrow);
    auto lse = room<float>(shape.tokens() * heads);
    op.run(q->get(), k->get(), v->get(), out->get(), lse->get(), on_setup);
    check(cudaStreamSynchronize(on_setup), "attention forward");
    return [=](cudaStream_t on) {
      gradient->run(q->get(), k->get(), v->get(), out->get(), dout->get(), lse->get(), dq->get(),
                    dk->get(), dv->get(), on);
    };
  };
  return {forward, backward};
}

}  // namespace orrery::cuda
