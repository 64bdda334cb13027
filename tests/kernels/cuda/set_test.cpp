// The set of kernels on a GPU against the host's with a GPU's roundings, function by function, and
// its clock.
#include <numeric>

#include "kernels/cuda/cuda_kernels.hpp"
#include "kernels/cuda/virtual_device.hpp"
#include "kernels/rounded_kernels.hpp"
#include "tests/kernels/cuda/values.hpp"

namespace orrery::cuda {
namespace {

using kernels::ProductType;
using Floats = std::vector<float>;

// One for all cases: cuDNN compiles for a second.
CudaKernels& gpu() {
  static CudaKernels set;
  return set;
}
kernels::RoundedKernels host;

double error(const Floats& found, const Floats& expected) {
  return difference(doubles(found), doubles(expected));
}

// What both sets write to a copy of `start` each.
struct Both {
  explicit Both(Floats start) : found(start), expected(std::move(start)) {}
  // Of results that are written whole: what was there before is no number.
  explicit Both(std::int64_t count) : Both(Floats(size(count), std::nanf(""))) {}
  double error() const { return cuda::error(found, expected); }
  Floats found, expected;
};

// Sums of E4M3 products are kept less exactly than those of BF16.
double tolerance(ProductType type) {
  return type == ProductType::kFp8 ? 6e-3 : kBf16Tolerance;
}
double weight_tolerance(ProductType type) {
  return type == ProductType::kFp8 ? 3e-3 : 1e-3;
}

bool without_fp8(ProductType type) {
  if (type != ProductType::kFp8 || multiplies_fp8()) return false;
  WARN("not checked: this device has no products of E4M3");
  return true;
}

TEST_CASE("set: linear layers of odd shapes and their gradients") {
  const ProductType type = GENERATE(ProductType::kBf16, ProductType::kFp8, ProductType::kFloat);
  if (without_fp8(type)) return;
  const std::int64_t rows = GENERATE(1, 127, 129, 250), outputs = 136, inputs = 96;
  CAPTURE(static_cast<int>(type), rows);
  const kernels::LinearShape shape{rows, outputs, inputs, type};
  const auto x = random_floats(rows * inputs, 1), w = random_floats(outputs * inputs, 2, 0.05),
             dy = random_floats(rows * outputs, 3);
  Both y(rows * outputs), dx(random_floats(rows * inputs, 4)), fresh(rows * inputs),
      dw(random_floats(outputs * inputs, 5));
  gpu().linear(shape, x.data(), w.data(), y.found.data());
  host.linear(shape, x.data(), w.data(), y.expected.data());
  CHECK(y.error() < tolerance(type));
  if (type != ProductType::kFloat) {
    gpu().linear_input_gradient(shape, dy.data(), w.data(), dx.found.data(), true);
    host.linear_input_gradient(shape, dy.data(), w.data(), dx.expected.data(), true);
    gpu().linear_input_gradient(shape, dy.data(), w.data(), fresh.found.data(), false);
    host.linear_input_gradient(shape, dy.data(), w.data(), fresh.expected.data(), false);
    gpu().linear_weight_gradient(shape, dy.data(), x.data(), dw.found.data());
    host.linear_weight_gradient(shape, dy.data(), x.data(), dw.expected.data());
    CHECK(dx.error() < tolerance(type));
    CHECK(fresh.error() < tolerance(type));
    CHECK(dw.error() < weight_tolerance(type));
  }
}

TEST_CASE("set: products of experts, some without rows") {
  const ProductType type = GENERATE(ProductType::kBf16, ProductType::kFp8);
  if (without_fp8(type)) return;
  const std::vector<std::int64_t> offsets = {0, 0, 1, 128, 257};  // 0, 1, 127 and 129 rows
  const std::int64_t rows = offsets.back(), n = 128, k = 96;
  const kernels::GroupedShape shape{4, n, k, offsets.data()};
  const auto x = random_floats(rows * k, 6), w = random_floats(4 * n * k, 7, 0.05),
             dy = random_floats(rows * n, 8);
  Both y(rows * n), dx(rows * k), dw(random_floats(4 * n * k, 9));
  gpu().grouped_forward(shape, type, x.data(), w.data(), y.found.data());
  host.grouped_forward(shape, type, x.data(), w.data(), y.expected.data());
  gpu().grouped_input_gradient(shape, type, dy.data(), w.data(), dx.found.data());
  host.grouped_input_gradient(shape, type, dy.data(), w.data(), dx.expected.data());
  gpu().grouped_weight_gradient(shape, type, x.data(), dy.data(), dw.found.data());
  host.grouped_weight_gradient(shape, type, x.data(), dy.data(), dw.expected.data());
  CHECK(y.error() < tolerance(type));
  CHECK(dx.error() < tolerance(type));
  CHECK(dw.error() < weight_tolerance(type));
}

TEST_CASE("set: casts to E4M3 and E5M6 are the host's, to the bit") {
  const std::int64_t rows = GENERATE(1, 127, 129, 200), columns = 150;
  CAPTURE(rows);
  const auto x = random_floats(rows * columns, 10, 3);
  for (const auto tiles :
       {kernels::Tiles::kRows, kernels::Tiles::kColumns, kernels::Tiles::kBlocks}) {
    Both y(rows * columns);
    gpu().quantise({rows, columns}, tiles, x.data(), y.found.data());
    host.quantise({rows, columns}, tiles, x.data(), y.expected.data());
    CAPTURE(static_cast<int>(tiles));
    CHECK(y.found == y.expected);
  }
  Floats wide = random_floats(4096, 11, 1e-4);
  for (const float value : {0.0f, -0.0f, 65024.0f, 65300.0f, 1e9f, 0x1p-20f, 0x1.8p-21f, -0x1p-14f})
    wide.push_back(value);
  const auto n = static_cast<std::int64_t>(wide.size());
  Both y(n);
  gpu().narrow_to_e5m6(n, wide.data(), y.found.data());
  host.narrow_to_e5m6(n, wide.data(), y.expected.data());
  CHECK(y.found == y.expected);
}

TEST_CASE("set: attention with DeepSeek-V3's heads") {
  const std::int64_t length = GENERATE(1, 127, 129, 256);
  CAPTURE(length);
  const kernels::AttentionShape s{2, length, 2, 192, 128};
  const double scale = 1 / std::sqrt(192.0);
  const std::int64_t wide = s.tokens() * s.heads * s.qk_dim,
                     narrow = s.tokens() * s.heads * s.v_dim;
  const auto q = random_floats(wide, 12), k = random_floats(wide, 13),
             v = random_floats(narrow, 14), dout = random_floats(narrow, 15);
  Both out(narrow), lse(s.tokens() * s.heads), delta(s.tokens() * s.heads), dq(wide), dk(wide),
      dv(narrow);
  gpu().attention_forward(s, scale, q.data(), k.data(), v.data(), out.found.data(),
                          lse.found.data());
  host.attention_forward(s, scale, q.data(), k.data(), v.data(), out.expected.data(),
                         lse.expected.data());
  CHECK(out.error() < 1e-2);
  CHECK(lse.error() < 1e-3);
  if (without_wide_backward()) return;
  // Both from the same forward.
  gpu().attention_backward_delta(s, out.expected.data(), dout.data(), delta.found.data());
  host.attention_backward_delta(s, out.expected.data(), dout.data(), delta.expected.data());
  CHECK(delta.error() < 1e-4);
  gpu().attention_backward(s, scale, q.data(), k.data(), v.data(), out.expected.data(), dout.data(),
                           lse.expected.data(), delta.expected.data(), dq.found.data(),
                           dk.found.data(), dv.found.data());
  host.attention_backward(s, scale, q.data(), k.data(), v.data(), out.expected.data(), dout.data(),
                          lse.expected.data(), delta.expected.data(), dq.expected.data(),
                          dk.expected.data(), dv.expected.data());
  CHECK(dv.error() < 1e-2);
  if (length == 1) {
    // One token's softmax does not change: what is there is what rounding makes of 0.
    for (const Floats* zero : {&dq.found, &dk.found}) {
      for (const float value : *zero) CHECK(std::abs(value) < 0.1);
    }
  } else {
    CHECK(dq.error() < 1e-2);
    CHECK(dk.error() < 1e-2);
  }
}

TEST_CASE("set: keys and values between projection and attention") {
  const kernels::MlaLayout l{37, 3, 24, 16, 40};
  const std::int64_t heads = l.tokens * l.heads;
  const auto up = random_floats(heads * 64, 16), rope = random_floats(l.tokens * 16, 17),
             dk = random_floats(heads * 40, 18), dv = random_floats(heads * 40, 19);
  Both k(heads * 40), v(heads * 40), dup(heads * 64), drope(l.tokens * 16);
  for (auto* set : {static_cast<kernels::KernelSet<float>*>(&gpu()),
                    static_cast<kernels::KernelSet<float>*>(&host)}) {
    const bool found = set == &gpu();
    const auto of = [found](Both& both) { return (found ? both.found : both.expected).data(); };
    set->place_keys_and_values(l, up.data(), of(k), of(v));
    set->broadcast_rope_key(l, rope.data(), of(k));
    set->take_key_gradient(l, dk.data(), of(dup));
    set->take_value_gradient(l, dv.data(), of(dup));
    set->reduce_rope_key_gradient(l, dk.data(), of(drope));
  }
  CHECK(k.found == k.expected);
  CHECK(v.found == v.expected);
  CHECK(dup.found == dup.expected);
  CHECK(drope.error() < kBf16Tolerance);
}

TEST_CASE("set: norms, RoPE and SwiGLU") {
  const std::int64_t rows = 65, columns = 96, inter = 48;
  const auto x = random_floats(rows * columns, 20), dy = random_floats(rows * columns, 21),
             weight = random_floats(columns, 22), weights = random_floats(rows, 23),
             dout = random_floats(rows * inter, 24);
  std::vector<std::int32_t> positions(size(rows));
  std::iota(positions.begin(), positions.end(), 0);
  Both y(rows * columns), rms(rows), dx(rows * columns), dweight(random_floats(columns, 25)),
      turned(x), back(x), out(rows * inter), gradient(rows * columns), plain(rows * inter),
      dweights(rows);
  for (auto* set : {static_cast<kernels::KernelSet<float>*>(&gpu()),
                    static_cast<kernels::KernelSet<float>*>(&host)}) {
    const bool found = set == &gpu();
    const auto of = [found](Both& both) { return (found ? both.found : both.expected).data(); };
    const kernels::RmsNormShape norm{rows, columns};
    set->rms_norm_forward(norm, x.data(), weight.data(), 1e-6, of(y), of(rms));
    set->rms_norm_backward_input(norm, x.data(), weight.data(), of(rms), dy.data(), of(dx));
    set->rms_norm_backward_weight(norm, x.data(), of(rms), dy.data(), of(dweight));
    const kernels::RopeShape heads{rows, 2, 48, 32, 16};
    set->rope(heads, positions.data(), 10000, false, of(turned));
    set->rope(heads, positions.data(), 10000, true, of(back));
    set->swiglu_forward({rows, inter}, x.data(), weights.data(), of(out));
    set->swiglu_forward({rows, inter}, x.data(), nullptr, of(plain));
    set->swiglu_backward_input({rows, inter}, x.data(), weights.data(), dout.data(), of(gradient));
    set->swiglu_row_weight_gradient({rows, inter}, x.data(), dout.data(), of(dweights));
  }
  CHECK(y.error() < kBf16Tolerance);
  CHECK(rms.error() < 1e-5);
  CHECK(dx.error() < kBf16Tolerance);
  CHECK(dweight.error() < 1e-4);
  CHECK(turned.error() < kBf16Tolerance);
  CHECK(back.error() < kBf16Tolerance);
  CHECK(out.error() < kBf16Tolerance);
  CHECK(plain.error() < kBf16Tolerance);
  CHECK(gradient.error() < kBf16Tolerance);
  CHECK(dweights.error() < 1e-4);
}

TEST_CASE("set: the router of any number of experts, ties too, and its gradient") {
  const auto [experts, groups, chosen_groups, top_k] =
      GENERATE(std::tuple(8, 4, 2, 2), std::tuple(16, 1, 1, 4), std::tuple(256, 8, 4, 8));
  const kernels::RouterShape s{130, experts, groups, chosen_groups, top_k};
  auto logits = random_floats(s.tokens * experts, 26);
  for (std::int64_t at = 0; at < 8 * experts; ++at)
    logits[size(at)] = static_cast<float>(static_cast<int>(logits[size(at)] * 2));
  const auto bias = random_floats(experts, 27, 0.05), dw = random_floats(s.tokens * top_k, 28);
  Both scores(s.tokens * experts), weights(s.tokens * top_k), dlogits(s.tokens * experts),
      alone(s.tokens * experts);
  gpu().router_scores(s, logits.data(), scores.found.data());
  host.router_scores(s, logits.data(), scores.expected.data());
  CHECK(scores.error() < 1e-6);
  // From here on from the same scores.
  const float* own = scores.expected.data();
  std::vector<std::int32_t> group_found(size(s.tokens * groups)),
      group_expected = group_found, choice_found(size(s.tokens * top_k)), choice = choice_found;
  gpu().router_choose_groups(s, own, bias.data(), group_found.data());
  host.router_choose_groups(s, own, bias.data(), group_expected.data());
  CHECK(group_found == group_expected);
  gpu().router_choose_experts(s, own, bias.data(), group_expected.data(), choice_found.data());
  host.router_choose_experts(s, own, bias.data(), group_expected.data(), choice.data());
  CHECK(choice_found == choice);
  gpu().router_weights(s, own, choice.data(), 2.5, weights.found.data());
  host.router_weights(s, own, choice.data(), 2.5, weights.expected.data());
  CHECK(weights.error() < 1e-6);
  std::vector<std::int32_t> sequence(size(s.tokens), 0);
  std::fill(sequence.begin() + 65, sequence.end(), 1);
  std::vector<std::int64_t> counts(size(2 * experts), 0);
  kernels::router_count_by_sequence(s, choice.data(), sequence.data(), counts.data());
  const kernels::BalanceLoss balance{1e-2, 65, sequence.data(), counts.data()};
  gpu().router_backward(s, own, choice.data(), 2.5, dw.data(), &balance, 0.5, dlogits.found.data());
  host.router_backward(s, own, choice.data(), 2.5, dw.data(), &balance, 0.5,
                       dlogits.expected.data());
  gpu().router_backward(s, own, choice.data(), 2.5, dw.data(), nullptr, 0.5, alone.found.data());
  host.router_backward(s, own, choice.data(), 2.5, dw.data(), nullptr, 0.5, alone.expected.data());
  CHECK(dlogits.error() < 1e-5);
  CHECK(alone.error() < 1e-5);
}

TEST_CASE("set: rows of experts out of tokens and back, as codes too") {
  const kernels::PermuteShape shape{50, 2, 0, 4};
  const std::int64_t hidden = 160;
  std::vector<std::int32_t> experts;
  for (std::int32_t token = 0; token < 50; ++token) {
    experts.push_back(token % 4);
    experts.push_back(token % 3 == 0 ? -1 : (token + 1) % 4);
  }
  std::vector<std::int64_t> offsets(5);
  kernels::count_expert_rows(shape, experts.data(), offsets.data());
  const std::int64_t rows = offsets.back();
  std::vector<std::int32_t> row_of(100), token_of(size(rows)), slot_of(size(rows));
  kernels::map_rows(shape, experts.data(), offsets.data(), row_of.data(), token_of.data(),
                    slot_of.data());
  const auto x = random_floats(50 * hidden, 29), y = random_floats(rows * hidden, 30);
  for (const auto type : {kernels::RowType::kBf16, kernels::RowType::kFp8}) {
    Both out(rows * hidden);
    gpu().expand_rows(rows, hidden, type, 50, token_of.data(), x.data(), out.found.data());
    host.expand_rows(rows, hidden, type, 50, token_of.data(), x.data(), out.expected.data());
    CHECK(out.found == out.expected);
  }
  Both reduced(50 * hidden);
  gpu().reduce_rows(shape, hidden, rows, row_of.data(), y.data(), reduced.found.data());
  host.reduce_rows(shape, hidden, rows, row_of.data(), y.data(), reduced.expected.data());
  CHECK(reduced.error() < kBf16Tolerance);
}

TEST_CASE("set: the ends of the model, whole and divided") {
  const std::int64_t tokens = 70, vocab = 264, hidden = 48;
  std::vector<std::int32_t> ids;
  for (std::int32_t token = 0; token < tokens; ++token)
    ids.push_back(token % 11 == 3 ? kernels::kIgnoredTarget : token * 37 % 300);
  const auto table = random_floats(vocab * hidden, 31), dout = random_floats(tokens * hidden, 32);
  std::vector<std::int32_t> known;
  for (const std::int32_t id : ids) known.push_back(std::max(id, 0) % 264);
  const auto logits = random_floats(tokens * vocab, 33, 3);
  Both out(tokens * hidden), dtable(random_floats(vocab * hidden, 34)), whole(logits), loss(tokens),
      max(tokens), sum(tokens), target(tokens), part(logits);
  for (auto* set : {static_cast<kernels::KernelSet<float>*>(&gpu()),
                    static_cast<kernels::KernelSet<float>*>(&host)}) {
    const bool found = set == &gpu();
    const auto of = [found](Both& both) { return (found ? both.found : both.expected).data(); };
    const kernels::EmbeddingShape shard{tokens, 20, vocab, hidden};  // of ids 20 to 283
    set->embedding_lookup(shard, ids.data(), table.data(), of(out));
    set->embedding_gradient(shard, ids.data(), dout.data(), of(dtable));
    set->cross_entropy({tokens, 0, vocab}, known.data(), 0.25f, of(whole), of(loss));
    const kernels::CrossEntropyShape second{tokens, 30, vocab};
    set->cross_entropy_statistics(second, logits.data(), ids.data(), of(max), of(sum), of(target));
    set->cross_entropy_gradient(second, ids.data(), of(max), of(sum), 0.25f, of(part));
  }
  CHECK(out.found == out.expected);
  CHECK(dtable.error() < 1e-5);
  CHECK(loss.error() < 1e-4);
  CHECK(whole.error() < kBf16Tolerance);
  CHECK(max.found == max.expected);
  CHECK(sum.error() < 1e-5);
  CHECK(part.error() < kBf16Tolerance);
  CHECK(target.found == target.expected);
}

TEST_CASE("set: sums, squares and AdamW with moments of both types") {
  const std::int64_t n = 1029;  // no whole vectors
  const auto a = random_floats(n, 35), b = random_floats(n, 36), gradient = random_floats(n, 37);
  Both sum(n), parameter(a), narrow(a), first(random_floats(n, 38)), second(Floats(size(n), 0.5f));
  std::vector<kernels::Bf16> first_found, second_found;
  for (std::int64_t at = 0; at < n; ++at) {
    first_found.push_back(kernels::to_bf16(first.found[size(at)]));
    second_found.push_back(kernels::to_bf16(second.found[size(at)]));
  }
  auto first_expected = first_found, second_expected = second_found;
  kernels::AdamwStep step;
  step.learning_rate = 1e-2;
  step.step = 3;
  step.gradient_scale = 0.7;
  gpu().add(n, a.data(), b.data(), sum.found.data());
  host.add(n, a.data(), b.data(), sum.expected.data());
  CHECK(sum.found == sum.expected);
  CHECK(gpu().squared_sum(n, a.data()) == Approx(host.squared_sum(n, a.data())).epsilon(1e-12));
  gpu().adamw(n, step, gradient.data(), parameter.found.data(), first.found.data(),
              second.found.data());
  host.adamw(n, step, gradient.data(), parameter.expected.data(), first.expected.data(),
             second.expected.data());
  CHECK(parameter.error() < 1e-6);
  CHECK(first.error() < 1e-6);
  CHECK(second.error() < 1e-6);
  gpu().adamw(n, step, gradient.data(), narrow.found.data(), first_found.data(),
              second_found.data());
  host.adamw(n, step, gradient.data(), narrow.expected.data(), first_expected.data(),
             second_expected.data());
  CHECK(narrow.error() < 1e-6);
  CHECK_FALSE(gpu().failed());
}

Op op_of(KernelClass kernel, double bytes) {
  Op op;
  op.name = "an op";
  op.kernel = kernel;
  op.bytes = Bytes{bytes};
  return op;
}

TEST_CASE("a device times an op alone and beside an exchange, the result the same", "[gpu]") {
  CudaVirtualDevice device;
  CHECK_FALSE(device.simulated());
  const std::int64_t rows = 2048, width = 2048;
  const auto x = random_floats(rows * width, 39), w = random_floats(width * width, 40);
  Floats alone(size(rows * width)), paired = alone;
  const auto linear = [&](Floats& y) {
    device.kernels().linear({rows, width, width, ProductType::kBf16}, x.data(), w.data(), y.data());
  };
  const Op op = op_of(KernelClass::kGemm, 0);
  const OpTime one = device.time(op, {}, [&] { linear(alone); });
  // Half of the SMs of an H100 or H200.
  const OpTime two = device.time(op, {66, gigabytes_per_second(100)}, [&] { linear(paired); });
  CHECK(one.time > microseconds(1));
  CHECK(one.time < microseconds(1000));
  CHECK(two.time > 1.3 * one.time);
  CHECK(two.time < 4 * one.time);
  CHECK(alone == paired);
  CHECK(one.stand_in.empty());
}

TEST_CASE("an op that adds to its result adds once, however often it is timed") {
  CudaVirtualDevice device;
  const auto dy = random_floats(64 * 32, 41), x = random_floats(64 * 48, 42);
  Both dw(random_floats(32 * 48, 43));
  const kernels::LinearShape shape{64, 32, 48, ProductType::kBf16};
  device.time(op_of(KernelClass::kWgrad, 0), {}, [&] {
    device.kernels().linear_weight_gradient(shape, dy.data(), x.data(), dw.found.data());
  });
  host.linear_weight_gradient(shape, dy.data(), x.data(), dw.expected.data());
  CHECK(dw.error() < 1e-4);
}

TEST_CASE("an op without a kernel is a copy, or nothing where another op's kernel does it") {
  CudaVirtualDevice device;
  const OpTime copied = device.time(op_of(KernelClass::kWeightTranspose, 1 << 20), {}, [] {});
  CHECK(copied.time > Seconds{});
  CHECK(copied.stand_in == "a copy of as many bytes");
  const OpTime none = device.time(op_of(KernelClass::kNormFinalize, 1 << 20), {}, [] {});
  CHECK(none.time == Seconds{});
  CHECK_FALSE(none.stand_in.empty());
}

}  // namespace
}  // namespace orrery::cuda
