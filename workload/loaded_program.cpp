#include "workload/loaded_program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>

#include "core/error.hpp"

namespace orrery {
void check_loads(const Plan& plan, const Loads& loads) {
  const Layout& layout = plan.layout;
  const int gpus = layout.gpus() / layout.pp;
  if (loads.model != plan.model.name || loads.ranks != gpus || loads.pp != layout.pp ||
      loads.ep != layout.ep || loads.dp != layout.dp ||
      loads.microbatches != plan.schedule.microbatches) {
    throw InputError(fmt::format(
        "error: the loads are of {} with {} micro-batches on {} ranks a layer, pp={} ep={} dp={}; "
        "the "
        "plan is of {} with {} on {}, pp={} ep={} dp={}",
        loads.model, loads.microbatches, loads.ranks, loads.pp, loads.ep, loads.dp, plan.model.name,
        plan.schedule.microbatches, gpus, layout.pp, layout.ep, layout.dp));
  }
  std::vector<int> wanted;
  for (std::size_t stage = 0; stage < layout.stage_map.size(); ++stage) {
    for (std::size_t entry = 0; entry < layout.stage_map[stage].size(); ++entry) {
      const LayerKind kind = layout.stage_map[stage][entry];
      if (kind != LayerKind::kMoe && kind != LayerKind::kMtp) continue;
      wanted.push_back(model_layer(layout, plan.model, Stage(static_cast<std::int64_t>(stage)),
                                   static_cast<int>(entry)));
    }
  }
  std::sort(wanted.begin(), wanted.end());
  std::vector<int> missing, other;
  std::set_difference(wanted.begin(), wanted.end(), loads.layers.begin(), loads.layers.end(),
                      std::back_inserter(missing));
  std::set_difference(loads.layers.begin(), loads.layers.end(), wanted.begin(), wanted.end(),
                      std::back_inserter(other));
  if (!missing.empty())
    throw InputError(fmt::format("error: the loads say nothing of the MoE layer{} {}",
                                 missing.size() == 1 ? "" : "s", fmt::join(missing, ", ")));
  if (!other.empty())
    throw InputError(fmt::format(
        "error: the loads tell of layer{} {}, which {} no MoE layer{} of {}",
        other.size() == 1 ? "" : "s", fmt::join(other, ", "), other.size() == 1 ? "is" : "are",
        other.size() == 1 ? "" : "s", plan.model.name));
}

namespace {

// A weight gradient sums over the rows; everything else keeps them.
bool sums_over_rows(const Op& op) {
  return op.kernel == KernelClass::kGroupedWgrad || op.kernel == KernelClass::kWgrad;
}

}  // namespace

double routed_rows(const Work& work) {
  for (const Op& op : work.ops) {
    if (op.routed) return sums_over_rows(op) ? op.k * op.groups : op.m;
  }
  return 0;
}

Work with_rows(const Work& work, double ratio) {
  Work out = work;
  for (Op& op : out.ops) {
    if (!op.routed) continue;
    (sums_over_rows(op) ? op.k : op.m) *= ratio;
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
