#include "tests/workload/op_table.hpp"

#include <catch2/catch.hpp>
#include <numeric>
#include <set>

namespace orrery {
namespace {

// The kernel classes of each kind of the table. What a kind merges is told apart by how its time
// scales: bytes, rows or launches. Rows without a byte model (fills, accumulations of norm
// gradients) are kSmall, whatever their kind.
const std::map<std::string, std::set<KernelClass>> kFamilies = {
    {"gemm", {KernelClass::kGemm}},
    {"gemm_grouped", {KernelClass::kGroupedGemm}},
    {"wgrad", {KernelClass::kWgrad, KernelClass::kGroupedWgrad}},
    {"attn_fwd", {KernelClass::kAttentionForward}},
    {"attn_bwd",
     {KernelClass::kAttentionBackwardPre, KernelClass::kAttentionBackward,
      KernelClass::kAttentionBackwardPost}},
    {"cast",
     {KernelClass::kCast, KernelClass::kCastBack, KernelClass::kCastE5m6,
      KernelClass::kCastBackE5m6}},
    {"cast-transpose", {KernelClass::kCastTranspose, KernelClass::kCastTransposeGathered}},
    {"weight-transpose", {KernelClass::kWeightTranspose}},
    {"scale-transpose", {KernelClass::kScaleTranspose}},
    {"norm", {KernelClass::kNorm, KernelClass::kNormBackward, KernelClass::kNormFinalize}},
    {"rope", {KernelClass::kRope}},
    {"swiglu",
     {KernelClass::kSwiglu, KernelClass::kSwigluTranspose, KernelClass::kSwigluBackward,
      KernelClass::kSwigluRecompute, KernelClass::kRoutingWeightGradient}},
    {"permute",
     {KernelClass::kExpand, KernelClass::kReduce, KernelClass::kExpertCount,
      KernelClass::kExpertMapping}},
    {"copy", {KernelClass::kCopy, KernelClass::kCopyBroadcast, KernelClass::kSmall}},
    {"router", {KernelClass::kRouterTopk, KernelClass::kRouterSmall, KernelClass::kRouterBackward}},
    {"elementwise", {KernelClass::kElementwise, KernelClass::kHeadReduce, KernelClass::kSmall}},
    {"misc", {KernelClass::kSmall}},
};

TEST_CASE(
    "the op lists reproduce every compute row of the table in order, FLOPs and bytes exactly") {
  for (const TraceComponent& component : trace_components()) {
    const std::vector<OpTableRow> rows = compute_rows(component.name);
    CAPTURE(component.name);
    REQUIRE(component.ops.size() == rows.size());
    for (std::size_t place = 0; place < rows.size(); ++place) {
      const OpTableRow& row = rows[place];
      const Op& op = component.ops[place];
      CAPTURE(row.row, row.op, op.name, to_string(op.kernel));
      CHECK(kFamilies.at(row.kind).contains(op.kernel));
      CHECK(op.recompute == row.recompute);
      if (row.m) CHECK(op.m == *row.m);
      if (row.n) CHECK(op.n == *row.n);
      if (row.k) CHECK(op.k == *row.k);
      if (row.groups) {
        // The delta kernel of the attention backward streams rows; that there are 128 heads does
        // not matter to it.
        const bool streams_heads = op.kernel == KernelClass::kAttentionBackwardPre ||
                                   op.kernel == KernelClass::kAttentionBackwardPost;
        CHECK((op.groups == *row.groups || streams_heads));
      }
      CHECK(op.flops.value() == row.flops.value_or(0));
      if (row.bytes) CHECK(op.bytes.value() == *row.bytes);
    }
  }
}

// 69 launches of attn(F) in the profile; the noise that replaces the router logits is not part of
// training.
TEST_CASE("every component has the published number of kernel launches") {
  const std::map<std::string, int> published = {{"attn(F)", 69},  {"mlp(F)", 20}, {"mlp(B)", 29},
                                                {"attn(B)", 101}, {"mlp(W)", 12}, {"attn(W)", 5}};
  for (const TraceComponent& component : trace_components()) {
    CAPTURE(component.name);
    double profiling_only = 0;
    double in_table = 0;
    for (const OpTableRow& row : read_op_table()) {
      if (row.component != component.name) continue;
      in_table += row.launches;
      if (row.profiling_only) profiling_only += row.launches;
    }
    int launches = 0;
    for (const Op& op : component.ops) launches += op.launches;
    CHECK(launches + profiling_only == published.at(component.name));
    // One kernel of mlp(F) is launched in three of four slots only.
    CHECK(in_table ==
          Approx(published.at(component.name)).margin(component.name == "mlp(F)" ? 0.25 : 0));
  }
}

// Busy times of the components, us: the table is whole only if its rows add up to the published
// sums.
TEST_CASE("the rows of the table add up to the published busy times of F, I and W") {
  std::map<Pass, double> busy;
  for (const TraceComponent& component : trace_components()) {
    for (const OpTableRow& row : read_op_table()) {
      if (row.component == component.name) busy[component.pass] += row.us;
    }
  }
  CHECK(busy[Pass::kF] == Approx(8973.5).margin(1e-6));
  CHECK(busy[Pass::kI] == Approx(14646.75).margin(1e-6));
  CHECK(busy[Pass::kW] == Approx(7451.25).margin(1e-6));
}

// F, I and W of one layer and micro-batch: 17.17 TFLOP. Against the published count (2 x active
// parameters of the layer, S^2 x 128 x 320 of attention, times three): recompute, the fifth
// attention product and padded rows come on top.
TEST_CASE("a layer computes 17.17 TFLOP, recompute and padded rows included") {
  double flops = 0;
  for (const TraceComponent& component : trace_components()) {
    for (const Op& op : component.ops) flops += op.flops.value();
  }
  CHECK(flops / 1e12 == Approx(17.17).margin(0.005));
}

}  // namespace
}  // namespace orrery
