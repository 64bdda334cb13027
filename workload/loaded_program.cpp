#include "workload/loaded_program.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "core/error.hpp"

namespace orrery {
void check_loads(const Plan& plan, const Loads& loads) {
  const int gpus = plan.layout.gpus() / plan.layout.pp;
  if (loads.model != plan.model.name || loads.ranks != gpus || loads.ep != plan.layout.ep ||
      loads.microbatches != plan.schedule.microbatches) {
    throw InputError(fmt::format(
        "error: the loads are of {} with {} micro-batches on {} ranks a layer, ep={}; the plan is "
        "of {} with {} on {}, ep={}",
        loads.model, loads.microbatches, loads.ranks, loads.ep, plan.model.name,
        plan.schedule.microbatches, gpus, plan.layout.ep));
  }
}

double routed_rows(const Work& work) {
  for (const Op& op : work.ops) {
    if (op.kernel == KernelClass::kGroupedGemm) return op.m;
    if (op.kernel == KernelClass::kGroupedWgrad) return op.k * op.groups;
  }
  return 0;
}

Work with_rows(const Work& work, double ratio) {
  const double rows = routed_rows(work);
  Work out = work;
  for (Op& op : out.ops) {
    double* dimension = nullptr;
    if (op.kernel == KernelClass::kGroupedWgrad) {
      dimension = &op.k;
    } else if (std::abs(op.m - rows) <= 1e-9 * rows) {
      dimension = &op.m;
    } else {
      continue;
    }
    *dimension *= ratio;
    op.flops = op.flops * ratio;
    op.bytes = op.bytes * ratio;
  }
  return out;
}

int model_layer(const Layout& layout, const Model& model, Stage stage, int entry) {
  int layers = 0;
  int modules = 0;
  for (std::size_t at = 0; at <= stage.index(); ++at) {
    const std::vector<LayerKind>& entries = layout.stage_map[at];
    for (std::size_t place = 0; place < entries.size(); ++place) {
      const bool wanted = at == stage.index() && static_cast<int>(place) == entry;
      const bool module = entries[place] == LayerKind::kMtp;
      const bool layer = entries[place] == LayerKind::kDense || entries[place] == LayerKind::kMoe;
      if (wanted) return module ? model.layers + modules : layer ? layers : -1;
      modules += module;
      layers += layer;
    }
  }
  return -1;
}

Program with_loads(const Program& program, const Plan& plan, const Loads& loads,
                   int gpus_per_rank) {
  check_loads(plan, loads);
  Program out = program;
  std::map<std::tuple<WorkId, int, int, double>, WorkId> made;
  for (Instruction& instruction : out.instructions) {
    const Work& work = program.work(instruction);
    const double even = work.is_compute() ? routed_rows(work) : 0;
    if (even <= 0) continue;
    const int layer = model_layer(plan.layout, plan.model, instruction.stage, instruction.layer);
    const auto found = std::find(loads.layers.begin(), loads.layers.end(), layer);
    if (found == loads.layers.end())
      throw InputError(fmt::format("error: the loads say nothing of layer {}", layer));
    const auto place = static_cast<int>(found - loads.layers.begin());
    const std::span<const double> all = loads.rows(instruction.microbatch.value, place);
    const double rows = gpus_per_rank > 1 || loads.ranks == 1
                            ? all[static_cast<std::size_t>(instruction.rank.value % gpus_per_rank)]
                            : *std::max_element(all.begin(), all.end());
    const auto [entry, fresh] = made.try_emplace(
        {instruction.work, instruction.microbatch.value, layer, rows}, instruction.work);
    if (fresh) {
      entry->second = WorkId(static_cast<std::int64_t>(out.works.size()));
      out.works.push_back(with_rows(work, rows / even));
    }
    instruction.work = entry->second;
  }
  return out;
}

}  // namespace orrery
