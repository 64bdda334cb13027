// FP8 with one scale a tensor (Precision::kFp8Tensor): which kernels a layer runs beside its GEMMs.
#include <catch2/catch.hpp>
#include <map>

#include "tests/workload/example_programs.hpp"
#include "workload/attention_ops.hpp"
#include "workload/closing.hpp"
#include "workload/edge_ops.hpp"
#include "workload/lifetimes.hpp"
#include "workload/moe_ops.hpp"
#include "workload/stage_parameters.hpp"

namespace orrery {
namespace {

Shard shard_of(const Model& model, int tp, Precision precision = Precision::kFp8Tensor,
               Recompute recompute = Recompute::kNone) {
  Layout layout;
  layout.tp = tp;
  layout.precision = precision;
  layout.recompute = recompute;
  RoutingSpread spread;
  spread.gpus_per_token = 1;
  return make_shard(model, layout, 1024, spread);
}

struct Pass3 {
  Steps (*forward)(const Shard&);
  Steps (*input_gradient)(const Shard&);
  Steps (*weight_gradient)(const Shard&);
};

constexpr Pass3 kAttention = {attention_forward, attention_input_gradient,
                              attention_weight_gradient};
constexpr Pass3 kDense = {dense_mlp_forward, dense_mlp_input_gradient, dense_mlp_weight_gradient};
constexpr Pass3 kExperts = {experts_forward, experts_input_gradient, experts_weight_gradient};

Steps all_steps(const Pass3& pass, const Shard& shard) {
  Steps all = pass.forward(shard);
  for (const auto& more : {pass.input_gradient(shard), pass.weight_gradient(shard)})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::map<KernelClass, int> kernels_of(const Pass3& pass, const Shard& shard) {
  std::map<KernelClass, int> count;
  for (const Step& step : all_steps(pass, shard)) {
    for (const Op& op : step.ops) ++count[op.kernel];
  }
  return count;
}

// Of four operands that no norm made (inputs of o_proj and fc2, gradients of qkv, o_proj, fc1 and
// fc2) each is cast once, both ways; of the two that a norm made the FP8 copy is transposed. A
// weight is neither cast nor transposed.
TEST_CASE("every operand of a dense layer is cast once") {
  const Shard shard = shard_of(small_dense(), 1);
  for (const Pass3& pass : {kAttention, kDense}) {
    auto count = kernels_of(pass, shard);
    CHECK(count[KernelClass::kCastTranspose] == 3);
    CHECK(count[KernelClass::kWeightTranspose] == 1);
    CHECK(count[KernelClass::kCast] == 0);
    CHECK(count[KernelClass::kScaleTranspose] == 0);
    CHECK(count[KernelClass::kCastBack] == 0);
  }
  // Gathered gradients are cast before, on tokens / tp, and transposed after.
  const Shard split = shard_of(small_dense(), 2);
  for (const Pass3& pass : {kAttention, kDense}) {
    auto count = kernels_of(pass, split);
    CHECK(count[KernelClass::kCast] == 1);
    CHECK(count[KernelClass::kCastTranspose] == 2);
    CHECK(count[KernelClass::kWeightTranspose] == 2);
  }
}

// Routed rows come over the wire in BF16: inputs of fc1 and fc2, gradients of both.
TEST_CASE("rows of experts are exchanged in BF16 and cast where they are expanded") {
  const Shard shard = shard_of(small_gqa_moe(), 1);
  auto count = kernels_of(kExperts, shard);
  const int shared = small_gqa_moe().moe.shared_experts > 0 ? 4 : 0;
  CHECK(count[KernelClass::kCastTranspose] == 4 + shared);
  CHECK(count[KernelClass::kCastTransposeGathered] == 0);
  const Shard bf16 = shard_of(small_gqa_moe(), 1, Precision::kBf16);
  CHECK(expert_exchange(shard, Pattern::kDispatch, 8) ==
        expert_exchange(bf16, Pattern::kDispatch, 8));
}

// Of the collectives of a layer those of normed inputs and of gradients carry one byte an element,
// reductions two.
TEST_CASE("operands are gathered in FP8") {
  for (const Pass3& pass : {kAttention, kDense}) {
    double gathered[2] = {}, reduced[2] = {};
    for (const Precision precision : {Precision::kBf16, Precision::kFp8Tensor}) {
      const Shard shard = shard_of(small_dense(), 4, precision);
      const int at = precision == Precision::kBf16 ? 0 : 1;
      for (const Step& step : all_steps(pass, shard)) {
        const Pattern pattern = step.wire.pattern;
        if (pattern == Pattern::kAllGather) gathered[at] += step.wire.logical.value();
        if (pattern == Pattern::kReduceScatter) reduced[at] += step.wire.logical.value();
      }
    }
    CHECK(gathered[1] == Approx(gathered[0] / 2));
    CHECK(reduced[1] == Approx(reduced[0]));
  }
}

// 4 bytes a weight that FP8 GEMMs read, held whole whatever ZeRO divides.
TEST_CASE("weights are cast once a step, when they have been gathered") {
  Layout layout;
  layout.pp = 2;
  layout.dp = 4;
  layout.precision = Precision::kFp8Tensor;
  const Plan plan = plan_of({small_dense(), "1f1b", 4, layout});
  const auto steps =
      closing_steps(plan.model, plan.cluster, plan.layout, plan.training, plan.schedule);
  int casts = 0;
  for (const ClosingStep& step : steps) {
    if (step.work.name != "cast weights") continue;
    const RankParameters own =
        rank_parameters(plan.model, plan.layout, plan.schedule, step.ranks.front());
    CHECK(step.work.ops.front().bytes.value() == Approx(4 * own.quantised));
    ++casts;
  }
  CHECK(casts == 2);
  CHECK(steps.back().work.name == "cast weights");
}

// Operands of weight gradients take one byte; what fc1 made stays BF16, for the gradient of the
// activation.
TEST_CASE("a dense layer keeps its operands in FP8 and the activation's input in BF16") {
  const Model model = small_dense();
  const Lifetimes bf16 = lifetimes(shard_of(model, 1, Precision::kBf16), LayerKind::kDense);
  const Lifetimes tensor = lifetimes(shard_of(model, 1), LayerKind::kDense);
  CHECK(tensor.weight_operands.value() == Approx(bf16.weight_operands.value() / 2));
  const double operands = 1024.0 * (2 * model.hidden + model.dense_inter);
  CHECK((bf16.until_input_gradient - tensor.until_input_gradient).value() == Approx(operands));
}

}  // namespace
}  // namespace orrery
