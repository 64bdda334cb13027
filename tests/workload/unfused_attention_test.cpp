// Attention with its scores in memory (AttentionKernels::kUnfused).
#include <catch2/catch.hpp>

#include "tests/workload/example_programs.hpp"
#include "workload/attention_ops.hpp"
#include "workload/lifetimes.hpp"

namespace orrery {
namespace {

Shard shard_of(int tp, int cp, Recompute recompute = Recompute::kNone,
               AttentionKernels attention = AttentionKernels::kUnfused) {
  Layout layout;
  layout.tp = tp;
  layout.cp = cp;
  layout.micro_batch = 2;
  layout.precision = Precision::kBf16;
  layout.recompute = recompute;
  layout.attention = attention;
  return make_shard(small_ungated(), layout, 1024, RoutingSpread{});
}

double flops(const Steps& steps) {
  double sum = 0;
  for (const Step& step : steps) {
    for (const Op& op : step.ops) sum += op.flops.value();
  }
  return sum;
}

double bytes_of(const Steps& steps, const std::string& name) {
  double sum = 0;
  for (const Step& step : steps) {
    for (const Op& op : step.ops) sum += op.name == name ? op.bytes.value() : 0;
  }
  return sum;
}

// Masked scores are computed too: 2 s (d_qk + d_v) FLOPs a query and head forward, where a fused
// kernel does half of it; four products backward, where that does five halves.
TEST_CASE("unfused attention multiplies every pair of tokens") {
  const Attention& a = small_ungated().attention;
  const double pairs = 2 * 1024.0 * 1024 * a.heads;
  const Shard shard = shard_of(1, 1);
  const Shard fused = shard_of(1, 1, Recompute::kNone, AttentionKernels::kFused);
  const double qk = a.qk_dim(), v = a.v_dim;
  CHECK(flops(attention_forward(shard)) - flops(attention_forward(fused)) ==
        Approx(pairs * (qk + v)));
  CHECK(flops(attention_input_gradient(shard)) - flops(attention_input_gradient(fused)) ==
        Approx(pairs * (4 * (qk + v) - (3 * qk + 2 * v))));
  const Shard again = shard_of(1, 1, Recompute::kAttention);
  CHECK(flops(attention_input_gradient(again)) - flops(attention_input_gradient(shard)) ==
        Approx(pairs * 2 * (qk + v)));
}

TEST_CASE("tensor and context parallelism divide scores and products") {
  const Shard whole = shard_of(1, 1);
  for (const auto& [tp, cp] : {std::pair{2, 1}, {1, 2}, {2, 4}}) {
    CAPTURE(tp, cp);
    const Shard shard = shard_of(tp, cp);
    CHECK(flops(attention_forward(shard)) * tp * cp == Approx(flops(attention_forward(whole))));
    CHECK(flops(attention_input_gradient(shard)) * tp * cp ==
          Approx(flops(attention_input_gradient(whole))));
    CHECK(bytes_of(attention_forward(shard), "attention softmax") * tp * cp ==
          Approx(bytes_of(attention_forward(whole), "attention softmax")));
  }
}

// A score each for 8 heads, 1024 x 1024 and 2 sequences: softmax reads half and writes all in BF16,
// dropout reads and writes BF16 and a byte of mask.
TEST_CASE("softmax and dropout pass over the scores") {
  const double scores = 2.0 * 1024 * 1024 * small_ungated().attention.heads;
  const Shard shard = shard_of(1, 1);
  CHECK(bytes_of(attention_forward(shard), "attention softmax") == Approx(3 * scores));
  CHECK(bytes_of(attention_forward(shard), "attention dropout") == Approx(5 * scores));
  const Steps backward = attention_input_gradient(shard);
  CHECK(bytes_of(backward, "attention softmax backward") == Approx(4 * scores));
  CHECK(bytes_of(backward, "attention dropout backward") == Approx(5 * scores));
  CHECK(bytes_of(attention_input_gradient(shard_of(1, 1, Recompute::kAttention)),
                 "attention dropout") == Approx(5 * scores));
}

// 5 a s^2 b bytes a layer (Korthikanti et al., arXiv 2205.05198, equation 2), gone where attention
// is recomputed; the two masks of a byte an element of the hidden state stay.
TEST_CASE("scores are kept until the backward unless they are recomputed") {
  const double scores = 5.0 * small_ungated().attention.heads * 1024 * 1024 * 2;
  const auto kept = [](Recompute recompute, AttentionKernels attention) {
    return lifetimes(shard_of(1, 1, recompute, attention), LayerKind::kDense)
        .until_input_gradient.value();
  };
  const double log_sum_exp = 4.0 * small_ungated().attention.heads * 1024 * 2;
  const double masks = 2.0 * small_ungated().hidden * 1024 * 2;
  CHECK(kept(Recompute::kNone, AttentionKernels::kUnfused) ==
        Approx(kept(Recompute::kNone, AttentionKernels::kFused) + scores + masks - log_sum_exp));
  CHECK(kept(Recompute::kAttention, AttentionKernels::kUnfused) ==
        Approx(kept(Recompute::kAttention, AttentionKernels::kFused) + masks - log_sum_exp));
}

}  // namespace
}  // namespace orrery
