#pragma once
// Plans of many shapes for tests of the lowering, and a walk over a Program in an order that its
// dependencies allow.
#include <algorithm>
#include <deque>
#include <numeric>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "planner/schedules/families.hpp"
#include "tests/workload/example_models.hpp"

namespace orrery {

// DeepSeek-V3 in small: the same kinds of layers, gate and MTP.
inline Model small_mla_moe() {
  Model model;
  model.name = "small-mla-moe";
  model.layers = 10;
  model.dense_layers = 1;
  model.hidden = 512;
  model.dense_inter = 2048;
  model.vocab = 4096;
  model.mtp_depth = 1;
  model.attention = {AttentionKind::kMla, 8, 8, 192, 64, 64, 32, 64};
  model.moe = {16, 1, 4, 256, 4, 2};
  return model;
}

inline Model small_dense() {
  Model model = dense_gqa("small-dense", 8, 512, 2048, 4096, 8, 2);
  return model;
}

// The same with an MLP without gate.
inline Model small_ungated() {
  Model model = small_dense();
  model.name = "small-ungated";
  model.gated_mlp = false;
  return model;
}

// Embedding first, MTP and head last, the layers between spread as evenly as they go.
inline StageMap even_stage_map(const Model& model, int stages) {
  std::vector<LayerKind> layers(static_cast<std::size_t>(model.dense_layers), LayerKind::kDense);
  layers.insert(layers.end(), static_cast<std::size_t>(model.moe_layers()), LayerKind::kMoe);
  StageMap map(static_cast<std::size_t>(stages));
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    map[layer * map.size() / layers.size()].push_back(layers[layer]);
  }
  map.front().insert(map.front().begin(), LayerKind::kEmbedding);
  map.back().insert(map.back().end(), static_cast<std::size_t>(model.mtp_depth), LayerKind::kMtp);
  map.back().push_back(LayerKind::kHead);
  return map;
}

// The embedding on a stage of its own, and the head, MTP modules with the last layers.
inline StageMap edges_apart(const Model& model, int stages) {
  StageMap map = even_stage_map(model, stages - 2);
  map.front().erase(map.front().begin());
  map.back().pop_back();
  map.insert(map.begin(), {LayerKind::kEmbedding});
  map.push_back({LayerKind::kHead});
  return map;
}

struct PlanShape {
  Model model;
  const char* schedule = "1f1b";
  int microbatches = 8;
  Layout layout;       // sizes; the stage map is made here
  bool apart = false;  // edges_apart
};

inline Plan plan_of(const PlanShape& shape) {
  Plan plan;
  plan.model = shape.model;
  plan.layout = shape.layout;
  const int stages = shape.layout.pp * shape.layout.vpp;
  plan.layout.stage_map =
      shape.apart ? edges_apart(shape.model, stages) : even_stage_map(shape.model, stages);
  plan.cluster.name = "test";
  plan.cluster.gpus_per_node = 8;
  plan.cluster.nodes = std::max(1, shape.layout.gpus() / 8);
  plan.cluster.nvlink = {gigabytes_per_second(160), microseconds(3.33)};
  plan.cluster.nic = {8, gigabytes_per_second(50)};
  plan.training.sequence = 1024;
  plan.training.global_batch = shape.microbatches * shape.layout.dp * shape.layout.micro_batch;
  plan.schedule = make_schedule(shape.schedule, shape.layout.pp, shape.microbatches);
  return plan;
}

inline Layout sizes(int pp, int dp, int ep = 1, int tp = 1, int cp = 1, int etp = 1) {
  Layout layout;
  layout.pp = pp;
  layout.dp = dp;
  layout.ep = ep;
  layout.tp = tp;
  layout.cp = cp;
  layout.etp = etp;
  return layout;
}

// Every family with even and uneven stages, with and without each dimension of the layout. GPUs
// fill whole nodes of 8.
inline std::vector<PlanShape> plan_shapes() {
  std::vector<PlanShape> shapes = {
      {small_mla_moe(), "1f1b", 3, sizes(1, 8, 4)},
      {small_mla_moe(), "1f1b", 8, sizes(4, 4, 4)},
      {small_mla_moe(), "1f1b", 2, sizes(8, 1)},
      {small_mla_moe(), "dualpipe", 4, sizes(2, 4, 2)},
      {small_mla_moe(), "dualpipe", 10, sizes(4, 16, 16)},
      {small_mla_moe(), "dualpipe", 16, sizes(8, 2, 2)},
      {small_mla_moe(), "dualpipe", 8, sizes(4, 4, 4, 2, 1, 2)},
      {small_mla_moe(), "dualpipe", 8, sizes(4, 2, 4, 1, 2)},
      {small_gqa_moe(), "1f1b", 4, sizes(2, 2, 2, 2)},
      {small_gqa_moe(), "dualpipe", 8, sizes(4, 8, 8)},
      {small_dense(), "1f1b", 6, sizes(4, 2)},
      {small_ungated(), "zb-h1", 6, sizes(4, 2)},
      {small_dense(), "dualpipe", 6, sizes(2, 2, 1, 2, 2)},
      {small_ungated(), "zb-h1", 8, sizes(8, 1), true},
      {small_mla_moe(), "1f1b", 6, sizes(4, 2, 2, 2), true},
      {small_mla_moe(), "dualpipe", 8, sizes(4, 4, 4), true},
  };
  PlanShape full = shapes[4];
  full.layout.recompute = Recompute::kFull;
  PlanShape none = shapes[5];
  none.layout.recompute = Recompute::kNone;
  none.layout.precision = Precision::kBf16;
  PlanShape full_1f1b = shapes[1];
  full_1f1b.layout.recompute = Recompute::kFull;
  PlanShape experts = shapes[4], experts_1f1b = shapes[1];
  experts.layout.recompute = experts_1f1b.layout.recompute = Recompute::kExperts;
  shapes.insert(shapes.end(), {full, none, full_1f1b, experts, experts_1f1b});
  return shapes;
}

enum class WalkOrder { kEarliestFirst, kLatestFirst };

// All instructions in an order that streams, dependencies, transfers and collectives allow: a send
// and its recv, or the members of a collective, come together once all of them may start. Shorter
// than the Program if it deadlocks.
inline std::vector<InstructionId> walk(const Program& program, WalkOrder order) {
  const std::size_t count = program.instructions.size();
  // What comes together is represented by its first member.
  std::vector<std::size_t> together(count);
  std::iota(together.begin(), together.end(), std::size_t{0});
  for (const Instruction& instruction : program.instructions) {
    if (instruction.partner.valid()) {
      together[instruction.id.index()] =
          std::min(instruction.id.index(), instruction.partner.index());
    }
  }
  for (const auto& members : program.collectives) {
    for (InstructionId member : members) together[member.index()] = members.front().index();
  }
  std::vector<std::vector<std::size_t>> members(count), after(count);
  std::vector<int> waits(count, 0);
  const auto edge = [&](InstructionId first, InstructionId second) {
    after[together[first.index()]].push_back(together[second.index()]);
    ++waits[together[second.index()]];
  };
  for (const Instruction& instruction : program.instructions) {
    members[together[instruction.id.index()]].push_back(instruction.id.index());
    for (InstructionId before : program.deps_of(instruction)) edge(before, instruction.id);
  }
  for (const auto& streams : program.streams) {
    for (const auto& list : streams) {
      for (std::size_t place = 1; place < list.size(); ++place) edge(list[place - 1], list[place]);
    }
  }
  std::deque<std::size_t> ready;
  for (std::size_t id = 0; id < count; ++id) {
    if (!members[id].empty() && waits[id] == 0) ready.push_back(id);
  }
  std::vector<InstructionId> result;
  while (!ready.empty()) {
    const std::size_t next = order == WalkOrder::kEarliestFirst ? ready.front() : ready.back();
    order == WalkOrder::kEarliestFirst ? ready.pop_front() : ready.pop_back();
    for (std::size_t id : members[next]) result.emplace_back(static_cast<std::int64_t>(id));
    for (std::size_t id : after[next]) {
      if (--waits[id] == 0) ready.push_back(id);
    }
  }
  return result;
}

}  // namespace orrery
