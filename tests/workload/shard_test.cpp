#include "workload/shard.hpp"

#include <catch2/catch.hpp>

#include "core/model_reader.hpp"
#include "tests/workload/example_models.hpp"
#include "workload/attention_ops.hpp"
#include "workload/edge_ops.hpp"
#include "workload/moe_ops.hpp"

namespace orrery {
namespace {

double flops(const Steps& steps) {
  double sum = 0;
  for (const Step& step : steps) {
    for (const Op& op : step.ops) sum += op.flops.value();
  }
  return sum;
}

struct ComponentPass {
  const char* name;
  Steps (*steps)(const Shard&);
  bool needs_experts = false;
};

constexpr ComponentPass kComponentPasses[] = {
    {"attention F", attention_forward},
    {"attention I", attention_input_gradient},
    {"attention W", attention_weight_gradient},
    {"router F", router_forward, true},
    {"router I", router_input_gradient, true},
    {"experts F", experts_forward, true},
    {"experts I", experts_input_gradient, true},
    {"experts W", experts_weight_gradient, true},
    {"dense F", dense_mlp_forward},
    {"dense I", dense_mlp_input_gradient},
    {"dense W", dense_mlp_weight_gradient},
    {"MTP projection F", mtp_projection_forward},
    {"MTP projection I", mtp_projection_input_gradient},
    {"MTP projection W", mtp_projection_weight_gradient},
    {"head F", head_forward},
    {"head I", head_input_gradient},
    {"head W", head_weight_gradient},
};

struct Split {
  int tp, cp, ep, etp;
};

constexpr Split kSplits[] = {{1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 1, 1}, {1, 1, 2, 1}, {1, 1, 8, 1},
                             {2, 1, 1, 2}, {2, 2, 1, 1}, {2, 2, 4, 1}, {2, 4, 8, 2}, {1, 8, 8, 1}};

std::vector<Model> models() {
  return {read_model("models/deepseek-v3.toml"),
          read_model("models/deepseek-v2-lite.toml"),
          read_model("models/deepseek-v2.toml"),
          read_model("models/gpt3-175b.toml"),
          small_gqa_moe(),
          qwen_72b()};
}

Shard shard_of(const Model& model, const Split& split, Precision precision, Recompute recompute) {
  Layout layout;
  layout.tp = split.tp;
  layout.cp = split.cp;
  layout.ep = split.ep;
  layout.etp = split.etp;
  layout.micro_batch = 2;
  layout.precision = precision;
  layout.recompute = recompute;
  return make_shard(model, layout, 4096, RoutingSpread{});
}

// A micro-batch is shared by tp x cp GPUs. Expert parallelism exchanges rows between GPUs of equal
// load, so with balanced experts each GPU computes as many rows as it sends.
TEST_CASE("the FLOPs of all shards of a micro-batch add up to those of one GPU doing it alone") {
  for (const Model& model : models()) {
    for (const Precision precision : {Precision::kFp8, Precision::kBf16, Precision::kFp8Tensor}) {
      for (const Recompute recompute :
           {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
        const Shard whole = shard_of(model, {1, 1, 1, 1}, precision, recompute);
        for (const Split& split : kSplits) {
          if (model.moe.experts == 0 && split.ep * split.etp > 1) continue;
          const Shard shard = shard_of(model, split, precision, recompute);
          for (const ComponentPass& each : kComponentPasses) {
            if (each.needs_experts && model.moe.experts == 0) continue;
            CAPTURE(model.name, to_string(precision), to_string(recompute), split.tp, split.cp);
            CAPTURE(split.ep, split.etp, each.name);
            const double total = flops(each.steps(shard)) * split.tp * split.cp;
            CHECK(total == Approx(flops(each.steps(whole))).epsilon(1e-12));
          }
        }
      }
    }
  }
}

// Forward 2 x parameters a token, input gradient and weight gradient the same each: what the
// counters of parameters and of ops must agree on. Attention scores: S^2 / 2 x heads x 2 (d_qk +
// d_v), five instead of two products backwards.
TEST_CASE("a linear layer computes two FLOPs a parameter and token in each of F, I and W") {
  for (const Model& model : models()) {
    CAPTURE(model.name);
    const Shard shard = shard_of(model, {1, 1, 1, 1}, Precision::kFp8, Recompute::kNone);
    const Attention& a = model.attention;
    const double tokens = 2 * 4096;
    const double d = model.hidden;
    const double query = a.q_lora_rank > 0
                             ? d * a.q_lora_rank + 1.0 * a.q_lora_rank * a.heads * a.qk_dim()
                             : d * a.heads * a.qk_dim();
    const double key_value = a.kind == AttentionKind::kMla
                                 ? d * (a.kv_lora_rank + a.qk_rope_dim) +
                                       1.0 * a.kv_lora_rank * a.heads * (a.qk_nope_dim + a.v_dim)
                                 : d * a.kv_heads * (a.qk_dim() + a.v_dim);
    const double linear = 2 * tokens * (query + key_value + 1.0 * a.heads * a.v_dim * d);
    const double pair = tokens * 4096 * a.heads;
    CHECK(flops(attention_forward(shard)) == Approx(linear + pair * (a.qk_dim() + a.v_dim)));
    CHECK(flops(attention_input_gradient(shard)) ==
          Approx(linear + pair * (3 * a.qk_dim() + 2 * a.v_dim)));
    CHECK(flops(attention_weight_gradient(shard)) == Approx(linear));
    const double dense = 2 * tokens * (model.gated_mlp ? 3 : 2) * d * model.dense_inter;
    CHECK(flops(dense_mlp_forward(shard)) == Approx(dense));
    CHECK(flops(dense_mlp_input_gradient(shard)) == Approx(dense));
    CHECK(flops(dense_mlp_weight_gradient(shard)) == Approx(dense));
    const double head = 2 * tokens * d * model.vocab;
    CHECK(flops(head_forward(shard)) == Approx(head));
    CHECK(flops(head_input_gradient(shard)) == Approx(head));
    CHECK(flops(head_weight_gradient(shard)) == Approx(head));
    if (model.moe.experts == 0) continue;
    const double experts =
        2 * tokens * 3 * d * model.moe.inter * (model.moe.top_k + model.moe.shared_experts);
    CHECK(flops(experts_forward(shard)) == Approx(experts));
    CHECK(flops(experts_input_gradient(shard)) == Approx(experts));
    CHECK(flops(experts_weight_gradient(shard)) == Approx(experts));
    const double router = 2 * tokens * d * model.moe.experts;
    CHECK(flops(router_forward(shard)) == Approx(router));
    CHECK(flops(router_input_gradient(shard)) ==
          Approx(2 * router));  // its weight gradient included
  }
}

// DeepSeek-V3 report, section 3.2.3: MLA's up-projections are computed again, 2 T (q_rank h 192 +
// kv_rank h 256).
TEST_CASE(
    "selective recomputation adds the up-projections of MLA to the input gradient and nothing "
    "else") {
  const Model v3 = read_model("models/deepseek-v3.toml");
  const auto input_gradient = [&](Recompute recompute) {
    return flops(attention_input_gradient(shard_of(v3, {1, 1, 1, 1}, Precision::kFp8, recompute)));
  };
  const double up = 2.0 * 8192 * (1536.0 * 128 * 192 + 512.0 * 128 * 256);
  CHECK(input_gradient(Recompute::kSelective) - input_gradient(Recompute::kNone) == Approx(up));
  CHECK(input_gradient(Recompute::kFull) == Approx(input_gradient(Recompute::kNone)));
}

// Balanced experts at EP64: 4096 tokens x 8 = 32768 rows on every GPU.
TEST_CASE("a shard's rows follow from its tokens, the gate and expert tensor parallelism") {
  const Model v3 = read_model("models/deepseek-v3.toml");
  Layout layout;
  layout.ep = 64;
  RoutingSpread spread;
  spread.gpus_per_token = 7.5;
  Shard shard = make_shard(v3, layout, 4096, spread);
  CHECK(shard.tokens == 4096);
  CHECK(shard.local_tokens() == 4096);
  CHECK(shard.local_experts() == 4);
  CHECK(shard.forward_rows == RoutedRows{32768, 4096 * 7.5});
  CHECK(shard.backward_rows == shard.forward_rows);
  layout.tp = 4;
  layout.cp = 2;
  layout.etp = 2;
  shard = make_shard(v3, layout, 4096, spread);
  CHECK(shard.tokens == 2048);
  CHECK(shard.sequence == 4096);
  CHECK(shard.local_tokens() == 512);
  // Two GPUs share each expert and see the tokens of both.
  CHECK(shard.forward_rows == RoutedRows{512 * 2 * 8, 512 * 2 * 7.5});
  CHECK(shard.expert_inter() == 1024);
  CHECK(shard.heads() == 32);
}

TEST_CASE("without tensor or context parallelism a component is one step of computation") {
  const Model v3 = read_model("models/deepseek-v3.toml");
  const Shard alone = shard_of(v3, {1, 1, 64, 1}, Precision::kFp8, Recompute::kSelective);
  const Shard split = shard_of(v3, {2, 2, 64, 1}, Precision::kFp8, Recompute::kSelective);
  for (const ComponentPass& each : kComponentPasses) {
    CAPTURE(each.name);
    CHECK(each.steps(alone).size() == 1);
    for (const Step& step : each.steps(split)) {
      const bool communicates = step.wire.pattern != Pattern::kNone;
      CHECK(communicates == step.ops.empty());
      if (!communicates) continue;
      CHECK(step.wire.group == 2);
      CHECK(step.wire.logical.value() > 0);
      CHECK((step.component == Component::kTensorParallel ||
             step.component == Component::kContextParallel));
    }
  }
}

// Sequence parallelism (Korthikanti et al., 2022): what enters a tensor-parallel block is gathered,
// what leaves it is reduced and scattered. Of T tokens in BF16 one GPU sends its T / tp to tp - 1
// others: 3 x 2048 x 8192 x 2 bytes.
// In the backward the normed input, stored divided, is gathered again for the weight gradients.
TEST_CASE("a dense layer gathers and scatters its tokens once per block and direction") {
  const Shard shard = shard_of(qwen_72b(), {4, 1, 1, 1}, Precision::kBf16, Recompute::kNone);
  const double moved = 3 * 2048.0 * 8192 * 2;
  const std::vector<std::pair<Steps (*)(const Shard&), int>> blocks = {
      {attention_forward, 1},
      {attention_input_gradient, 2},
      {dense_mlp_forward, 1},
      {dense_mlp_input_gradient, 2}};
  for (const auto& [steps, expected_gathers] : blocks) {
    int gathers = 0;
    int scatters = 0;
    for (const Step& step : steps(shard)) {
      if (step.wire.pattern == Pattern::kNone) continue;
      gathers += step.wire.pattern == Pattern::kAllGather;
      scatters += step.wire.pattern == Pattern::kReduceScatter;
      CHECK(step.wire.nvlink.value() == moved);
      CHECK(step.wire.nic.value() == 0);
    }
    CHECK(gathers == expected_gathers);
    CHECK(scatters == 1);
  }
}

// Two GPUs that share each expert hold half of the received tokens each and gather the other half:
// U / 2 rows of FP8 out before the experts, U / 2 rows of BF16 after them.
TEST_CASE("GPUs that share an expert exchange each other's tokens") {
  Layout layout;
  layout.tp = layout.etp = 2;
  layout.ep = 4;
  const Model model = small_gqa_moe();
  RoutingSpread spread;
  spread.gpus_per_token = 1.5;
  const Shard shard = make_shard(model, layout, 1024, spread);
  const auto sent = [](const Steps& steps, Pattern pattern) {
    double bytes = 0;
    for (const Step& step : steps) {
      if (step.wire.pattern == pattern && step.ops.empty()) bytes += step.wire.nvlink.value();
    }
    return bytes;
  };
  Model alone = model;
  alone.moe.shared_experts = 0;
  Shard routed_only = make_shard(alone, layout, 1024, spread);
  const double half = shard.forward_rows.unique / 2 * model.hidden;
  CHECK(sent(experts_forward(routed_only), Pattern::kAllGather) == half);
  CHECK(sent(experts_forward(routed_only), Pattern::kReduceScatter) == 2 * half);
  CHECK(sent(experts_input_gradient(routed_only), Pattern::kAllGather) == half);
  routed_only.etp = 1;
  CHECK(sent(experts_forward(routed_only), Pattern::kAllGather) == 0);
}

// Without a gate fc1 has half the outputs, and the activation reads one value for each it writes: 4
// bytes forward and 6 backward in BF16, 6 and 10 with a gate.
TEST_CASE("an MLP without gate has one projection in and moves less") {
  Model gated = read_model("models/gpt3-175b.toml");
  gated.gated_mlp = true;
  const Model plain = read_model("models/gpt3-175b.toml");
  const auto ops = [](const Model& model) {
    Layout layout;
    layout.precision = Precision::kBf16;
    const Shard shard = make_shard(model, layout, 2048, {});
    std::map<std::string, Op> by_name;
    for (const Steps& steps : {dense_mlp_forward(shard), dense_mlp_input_gradient(shard),
                               dense_mlp_weight_gradient(shard)}) {
      for (const auto& step : steps) {
        for (const Op& op : step.ops) by_name[op.name] = op;
      }
    }
    return by_name;
  };
  const auto with = ops(gated), without = ops(plain);
  const double rows = 2048, inter = 49152;
  CHECK(with.at("dense fc1 fprop").flops.value() == 2 * rows * 2 * inter * 12288);
  CHECK(without.at("dense fc1 fprop").flops.value() == 2 * rows * inter * 12288);
  CHECK(without.at("dense fc1 dgrad").flops == without.at("dense fc1 fprop").flops);
  CHECK(without.at("dense fc1 wgrad").flops == without.at("dense fc1 fprop").flops);
  CHECK(with.at("dense fc2 fprop").flops == without.at("dense fc2 fprop").flops);
  CHECK(with.at("dense SwiGLU").bytes.value() == rows * inter * 6);
  CHECK(without.at("dense activation").bytes.value() == rows * inter * 4);
  CHECK(with.at("dense SwiGLU backward").bytes.value() == rows * inter * 10);
  CHECK(without.at("dense activation backward").bytes.value() == rows * inter * 6);
}

}  // namespace
}  // namespace orrery
