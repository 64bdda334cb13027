#include "workload/lifetimes.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "core/model_reader.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/schedule_checker.hpp"
#include "workload/unit_works.hpp"

namespace orrery {
namespace {

Shard v3_shard(Recompute recompute = Recompute::kSelective, Precision precision = Precision::kFp8) {
  Layout layout;
  layout.ep = 64;
  layout.recompute = recompute;
  layout.precision = precision;
  RoutingSpread spread;
  spread.gpus_per_token = 7.5;
  return make_shard(read_model("models/deepseek-v3.toml"), layout, 4096, spread);
}

// DeepSeek-V3, FP8, selective recomputation (report, sections 3.2.3 and 3.3.3), bytes a token and
// layer. e = 1 + 4/128 = 1.03125 bytes: one FP8 element with its share of a scale. 8 rows and 7.5
// copies a token.
//
//   F to I   two residual inputs, BF16                  2 x 7168 x 2        = 28 672
//            attention output, E5M6                     16384 x 1.5         = 24 576
//            log-sum-exp, FP32                          128 x 4             =    512
//            latents of q and kv, rope key, BF16        (1536+512+64) x 2   =  4 224
//            affinities, choices, weights, FP32         (256 + 2 x 8) x 4   =  1 088
//            routed fc1 output, FP8                     8 x 4096 e          = 33 792
//            shared fc1 output, FP8                     4096 e              =  4 224      97 088
//   F to W   received tokens, FP8                       7.5 x 7168 e        = 55 440
//   I to W   operands of weight gradients, FP8:
//            attention  o (7168 + 16384), kv_up (32768 + 512), q_up (24576 + 1536),
//                       kv_down (576 + 7168), q_down (1536 + 7168): 99 392 e = 102 498
//            experts    received gradients 7.5 x 7168 e, fc2 input and gradient of fc1's output 8 x
//            3 x 2048 e;
//                       shared: both of 7168, 3 x 2048                 (53760 + 49152 + 20480) e =
//                       127 248
TEST_CASE("a MoE layer of DeepSeek-V3 keeps about 153 KB a token between forward and backward") {
  const Lifetimes layer = lifetimes(v3_shard(), LayerKind::kMoe);
  CHECK(layer.until_input_gradient.value() / 4096 == Approx(97088));
  CHECK(layer.until_weight_gradient.value() / 4096 == Approx(55440));
  CHECK(layer.weight_operands.value() / 4096 == Approx((99392 + 123392) * 1.03125));
  const double kept = (layer.until_input_gradient + layer.until_weight_gradient).value() / 4096;
  CHECK(kept == Approx(152528));
  CHECK(kept > 150e3);
  CHECK(kept < 160e3);
}

// Input of the norm 7168 x 2, E5M6 output and log-sum-exp, latents as above; dense MLP: residual
// 7168 x 2 and fc1's output 2 x 18432 e; operands 99 392 e and (7168 + 18432 + 36864 + 7168) e.
TEST_CASE("a dense layer of DeepSeek-V3 keeps its residuals, latents and fc1 output") {
  const Lifetimes layer = lifetimes(v3_shard(), LayerKind::kDense);
  CHECK(layer.until_input_gradient.value() / 4096 ==
        Approx(28672 + 24576 + 512 + 4224 + 36864 * 1.03125));
  CHECK(layer.until_weight_gradient.value() == 0);
  CHECK(layer.weight_operands.value() / 4096 == Approx((99392 + 69632) * 1.03125));
}

TEST_CASE("recomputing less keeps more, and full recomputation keeps one residual a layer") {
  for (const LayerKind kind : {LayerKind::kDense, LayerKind::kMoe}) {
    CAPTURE(letter(kind));
    const auto kept = [&](Recompute recompute, Precision precision) {
      const Lifetimes layer = lifetimes(v3_shard(recompute, precision), kind);
      return layer.until_input_gradient + layer.until_weight_gradient;
    };
    for (const Precision precision : {Precision::kFp8, Precision::kBf16, Precision::kFp8Tensor}) {
      CAPTURE(to_string(precision));
      CHECK(kept(Recompute::kFull, precision).value() == 4096.0 * 7168 * 2);
      CHECK(kept(Recompute::kFull, precision) < kept(Recompute::kSelective, precision));
      CHECK(kept(Recompute::kSelective, precision) < kept(Recompute::kNone, precision));
      // Experts anew: what attention keeps, and the residual; a dense layer has none.
      const Bytes experts = kept(Recompute::kExperts, precision);
      if (kind == LayerKind::kDense) {
        CHECK(experts == kept(Recompute::kSelective, precision));
      } else {
        CHECK(experts < kept(Recompute::kSelective, precision));
        // Residual, output, log-sum-exp and latents of attention; residual.
        if (precision == Precision::kFp8)
          CHECK(experts.value() / 4096 == 14336.0 + 24576 + 512 + 4224 + 14336);
      }
    }
    CHECK(kept(Recompute::kSelective, Precision::kFp8) <
          kept(Recompute::kSelective, Precision::kBf16));
  }
}

// Korthikanti et al. (arXiv 2205.05198), a layer of Megatron-LM with dropout, in bytes: equation 1,
// s b h (34 + 5 a s / h); with tensor and sequence parallelism, equation 4, that divided by t. The
// 22B model: a = 64, s = 2048, h = 6144, b = 4, where 5 a s / h = 106.7. Of what is kept a split
// backward needs 32 s b h for the weight gradients (here made of both operands of its products).
TEST_CASE("a layer of Megatron-LM keeps what Korthikanti et al. count") {
  Model model;
  model.layers = model.dense_layers = 48;
  model.hidden = 6144;
  model.dense_inter = 4 * 6144;
  model.gated_mlp = false;
  model.vocab = 51200;
  model.attention.kind = AttentionKind::kGqa;
  model.attention.heads = model.attention.kv_heads = 64;
  model.attention.qk_rope_dim = model.attention.v_dim = 96;
  Layout layout;
  layout.micro_batch = 4;
  layout.precision = Precision::kBf16;
  layout.recompute = Recompute::kNone;
  layout.attention = AttentionKernels::kUnfused;
  const double sbh = 2048.0 * 4 * 6144;
  for (const int t : {1, 2, 8}) {
    CAPTURE(t);
    layout.tp = t;
    const Lifetimes layer = lifetimes(make_shard(model, layout, 2048, {}), LayerKind::kDense);
    CHECK((layer.until_input_gradient + layer.until_weight_gradient).value() ==
          Approx(sbh * (34 + 5 * 64 * 2048.0 / 6144) / t));
    if (t == 1) CHECK(layer.weight_operands.value() == Approx(32 * sbh));
  }
}

// Gradient of the logits (written over them) and the normed input live until W, the residual input
// until I, all BF16.
TEST_CASE("the two halves of the selective set save what the set saves, in memory and in kernels") {
  const auto layer = [](Recompute recompute) {
    return lifetimes(v3_shard(recompute), LayerKind::kMoe).until_input_gradient.value();
  };
  const double none = layer(Recompute::kNone);
  const double attention = none - layer(Recompute::kAttention);
  const double mlp = none - layer(Recompute::kMlp);
  CHECK(attention > 0);
  CHECK(mlp > 0);
  CHECK(attention + mlp == Approx(none - layer(Recompute::kSelective)));
  // SwiGLU's output of eight routed rows and the shared expert and the normed input, FP8 with
  // scales.
  CHECK(mlp / 4096 == Approx((8 * 2048 + 2048 + 7168) * 1.03125));

  const auto again = [](Recompute recompute) {
    std::vector<Work> works;
    const Shard shard = v3_shard(recompute);
    make_unit(works, shard, LayerKind::kMoe, 8);
    int ops = 0;
    for (const Work& work : works) {
      for (const Op& op : work.ops) ops += op.recompute;
    }
    return ops;
  };
  CHECK(again(Recompute::kNone) == 0);
  CHECK(again(Recompute::kAttention) > 0);
  CHECK(again(Recompute::kMlp) > 0);
  CHECK(again(Recompute::kAttention) + again(Recompute::kMlp) == again(Recompute::kSelective));
}

TEST_CASE("the head keeps the gradient of its logits, the embedding that of its output") {
  const Lifetimes head = lifetimes(v3_shard(), LayerKind::kHead);
  CHECK(head.until_input_gradient.value() == 4096.0 * 7168 * 2);
  CHECK(head.until_weight_gradient.value() == 4096.0 * (129280 + 7168) * 2);
  const Lifetimes embedding = lifetimes(v3_shard(), LayerKind::kEmbedding);
  CHECK(embedding == Lifetimes{Bytes{}, Bytes{}, Bytes{4096.0 * 7168 * 2}});
  const Lifetimes mtp = lifetimes(v3_shard(), LayerKind::kMtp);
  const Lifetimes moe = lifetimes(v3_shard(), LayerKind::kMoe);
  CHECK(mtp.until_input_gradient > moe.until_input_gradient + head.until_input_gradient);
  CHECK(mtp.until_weight_gradient.value() ==
        (moe.until_weight_gradient + head.until_weight_gradient).value());
}

TEST_CASE("context parallelism divides what a layer keeps") {
  Layout layout;
  const Model model = read_model("models/deepseek-v3.toml");
  RoutingSpread spread;
  spread.gpus_per_token = 7.5;
  layout.ep = 64;
  const Lifetimes whole = lifetimes(make_shard(model, layout, 4096, spread), LayerKind::kMoe);
  layout.cp = 4;
  const Lifetimes part = lifetimes(make_shard(model, layout, 4096, spread), LayerKind::kMoe);
  CHECK(part.until_input_gradient.value() * 4 == Approx(whole.until_input_gradient.value()));
  CHECK(part.until_weight_gradient.value() * 4 == Approx(whole.until_weight_gradient.value()));
  CHECK(part.weight_operands.value() * 4 == Approx(whole.weight_operands.value()));
}

// Whatever the order in which independent instructions run, a buffer is freed once, after it was
// allocated.
TEST_CASE("every buffer of a Program is allocated once and freed once, afterwards, on one rank") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(plan.layout),
            to_string(plan.layout.recompute));
    for (const WalkOrder order : {WalkOrder::kEarliestFirst, WalkOrder::kLatestFirst}) {
      const std::vector<InstructionId> all = walk(program, order);
      REQUIRE(all.size() == program.instructions.size());
      std::vector<int> allocations(program.buffers.size(), 0), frees(program.buffers.size(), 0);
      std::vector<Rank> owner(program.buffers.size());
      int misplaced = 0;
      for (InstructionId id : all) {
        const Instruction& instruction = program.instructions[id.index()];
        for (const BufferEvent& event : program.events_of(instruction)) {
          const auto buffer = static_cast<std::size_t>(event.buffer);
          if (event.alloc) {
            misplaced += frees[buffer];
            owner[buffer] = instruction.rank;
          } else {
            misplaced += allocations[buffer] == 0 || owner[buffer] != instruction.rank;
          }
          ++(event.alloc ? allocations : frees)[buffer];
        }
      }
      CHECK(misplaced == 0);
      CHECK(allocations == std::vector<int>(program.buffers.size(), 1));
      CHECK(frees == std::vector<int>(program.buffers.size(), 1));
    }
  }
}

// A chunk's activations are alive from its F to its W, so a rank never holds more of them than the
// schedule says. Chunks with MTP and head keep the most; the bound takes the largest chunk of the
// rank.
TEST_CASE("a rank never keeps more activations than its schedule has micro-batches in flight") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(plan.layout));
    const std::vector<int> in_flight = peak_activations(plan.schedule);
    for (int rank = 0; rank < plan.layout.pp; ++rank) {
      std::map<std::pair<std::int32_t, std::int32_t>, double> chunk;  // by micro-batch and stage
      for (const Instruction& instruction : program.instructions) {
        if (instruction.rank != Rank(rank)) continue;
        for (const BufferEvent& event : program.events_of(instruction)) {
          const Buffer& buffer = program.buffers[static_cast<std::size_t>(event.buffer)];
          if (event.alloc && buffer.kind == BufferKind::kActivation) {
            chunk[{instruction.microbatch.value, instruction.stage.value}] += buffer.bytes.value();
          }
        }
      }
      double largest = 0;
      for (const auto& [key, bytes] : chunk) largest = std::max(largest, bytes);
      double live = 0;
      double most = 0;
      for (InstructionId id : walk(program, WalkOrder::kEarliestFirst)) {
        const Instruction& instruction = program.instructions[id.index()];
        if (instruction.rank != Rank(rank)) continue;
        for (const BufferEvent& event : program.events_of(instruction)) {
          const Buffer& buffer = program.buffers[static_cast<std::size_t>(event.buffer)];
          if (buffer.kind == BufferKind::kActivation)
            live += (event.alloc ? 1 : -1) * buffer.bytes.value();
        }
        most = std::max(most, live);
      }
      const auto& chunks = plan.schedule.chunks[static_cast<std::size_t>(rank)];
      CAPTURE(rank, in_flight[static_cast<std::size_t>(rank)]);
      const bool holds_layers = std::any_of(chunks.begin(), chunks.end(), [&](ChunkPlace place) {
        return plan.layout.stage_map[place.stage.index()] != std::vector{LayerKind::kEmbedding};
      });
      CHECK((most > 0) == holds_layers);  // the embedding keeps nothing for its input's gradient
      CHECK(most <= largest * in_flight[static_cast<std::size_t>(rank)] * (1 + 1e-12));
      CHECK(live == Approx(0).margin(1e-3));
    }
  }
}

}  // namespace
}  // namespace orrery
