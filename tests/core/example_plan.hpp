#pragma once
// A small valid plan for tests: 4 stages on 8 GPUs, GPipe order.
#include "core/plan.hpp"
#include "core/stage_map.hpp"

namespace orrery {

inline Plan example_plan() {
  Plan plan;
  plan.model.name = "small";
  plan.model.layers = 6;
  plan.model.dense_layers = 1;
  plan.model.hidden = 512;
  plan.model.dense_inter = 2048;
  plan.model.vocab = 32000;
  plan.model.attention = {AttentionKind::kMla, 8, 8, 192, 64, 64, 32, 64};
  plan.model.moe = {16, 1, 4, 256, 4, 2};
  plan.cluster.name = "one-node";
  plan.cluster.device = "h800";
  plan.cluster.nodes = 1;
  plan.cluster.gpus_per_node = 8;
  plan.cluster.nvlink = {gigabytes_per_second(160), microseconds(3.33)};
  plan.cluster.price_per_gpu_hour = Dollars{2};
  plan.layout.pp = 4;
  plan.layout.ep = 2;
  plan.layout.dp = 2;
  Diagnostics diagnostics;
  plan.layout.stage_map = parse_stage_map("E,1d,1t | 1t x 2 | 2t,L", diagnostics);
  plan.training.sequence = 1024;
  plan.training.global_batch = 8;
  plan.calibration = {"h800", "cbf29ce484222325"};
  Schedule& schedule = plan.schedule;
  schedule.family = "gpipe";
  schedule.microbatches = 4;
  for (int rank = 0; rank < 4; ++rank) {
    schedule.chunks.push_back({{Stage{rank}, 0}});
    auto& cells = schedule.ranks.emplace_back();
    for (int microbatch = 0; microbatch < 4; ++microbatch) {
      cells.push_back(forward_cell(Microbatch{microbatch}, ChunkId{0}));
    }
    for (int microbatch = 0; microbatch < 4; ++microbatch) {
      cells.push_back(backward_cell(CellKind::kB, Microbatch{microbatch}, ChunkId{0}));
    }
  }
  return plan;
}

}  // namespace orrery
