#include "planner/memory_details.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/prediction.hpp"
#include "workload/lower.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

std::vector<MemoryTable> carried_out(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline =
      predict(plan, program, device, {.fidelity = Fidelity::kAnalytic}).timeline;
  return memory_tables(plan, device.device(), program, timeline);
}

// Every MTP module with an embedding and a head of its own.
std::vector<MemoryTable> unshared(std::vector<MemoryTable> tables, const Plan& plan) {
  const double matrix = parameter_counts(plan.model).embedding / plan.layout.tp;
  const int replicas = plan.layout.dp * plan.layout.cp * plan.schedule.directions;
  const auto shards = [&](int from_stage) {
    return plan.layout.zero_stage >= from_stage ? replicas : 1;
  };
  const double state = plan.layout.optimizer == Keep::kGpu
                           ? bytes_of(plan.training.master) + 2 * bytes_of(plan.training.moments)
                           : 0;
  for (std::size_t rank = 0; rank < tables.size(); ++rank) {
    int embeddings = 0, heads = 0;
    for (const ChunkPlace& chunk : plan.schedule.chunks[rank]) {
      for (const LayerKind kind : plan.layout.stage_map[chunk.stage.index()]) {
        embeddings += kind == LayerKind::kEmbedding || kind == LayerKind::kMtp;
        heads += kind == LayerKind::kHead || kind == LayerKind::kMtp;
      }
    }
    const double more = matrix * (std::max(0, embeddings - 1) + std::max(0, heads - 1));
    tables[rank].weights += Bytes{more / shards(3) * bytes_of(ScalarType::kBf16)};
    tables[rank].gradients += Bytes{more / shards(2) * bytes_of(plan.training.gradient)};
    tables[rank].optimizer += Bytes{more / shards(1) * state};
  }
  return tables;
}

std::vector<MemoryWhatIf> what_ifs_of(const Plan& plan, const DeviceModel& device,
                                      const std::vector<MemoryTable>& tables) {
  std::vector<MemoryWhatIf> what_ifs;
  Plan other = plan;
  other.layout.ema = plan.layout.ema == Keep::kCpu ? Keep::kGpu : Keep::kCpu;
  std::vector<MemoryTable> averaged = tables;
  const std::vector<MemoryTable> then = static_memory(other, device.device());
  for (std::size_t rank = 0; rank < tables.size(); ++rank) averaged[rank].ema = then[rank].ema;
  what_ifs.push_back({fmt::format("moving average of the weights on the {}",
                                  other.layout.ema == Keep::kGpu ? "GPU, FP32" : "CPU"),
                      std::move(averaged)});
  if (plan.layout.recompute != Recompute::kNone) {
    Plan stored = plan;
    stored.layout.recompute = Recompute::kNone;
    what_ifs.push_back({"nothing recomputed", carried_out(stored, device)});
  }
  if (plan.model.mtp_depth > 0)
    what_ifs.push_back({"MTP with an embedding and a head of its own", unshared(tables, plan)});
  return what_ifs;
}

// The moment of a rank's peak.
std::string moment_of(const Plan& plan, const Program& program, const MemoryPeak& peak, Rank rank) {
  if (!peak.at.valid()) return "";
  const Instruction& instruction = program.instructions[peak.at.index()];
  const std::string what = program.work(instruction).name;
  if (instruction.cell < 0) return what;
  const std::vector<Cell>& cells = plan.schedule.ranks[rank.index()];
  return fmt::format("{} {} of {}: {} of stage {}",
                     to_string(cells[static_cast<std::size_t>(instruction.cell)].kind),
                     instruction.cell + 1, cells.size(), what, instruction.stage.value);
}

}  // namespace

std::size_t fullest_of(const std::vector<MemoryTable>& tables) {
  const auto most = std::max_element(
      tables.begin(), tables.end(),
      [](const MemoryTable& a, const MemoryTable& b) { return a.total() < b.total(); });
  return static_cast<std::size_t>(most - tables.begin());
}

MemoryDetails memory_details(const Plan& plan, const DeviceModel& device, const Program& program,
                             const Timeline& timeline) {
  MemoryDetails details;
  details.tables = memory_tables(plan, device.device(), program, timeline);
  for (std::size_t rank = 0; rank < details.tables.size(); ++rank) {
    const Rank own{static_cast<int>(rank)};
    const MemoryPeak peak = memory_peak(program, timeline, own);
    details.peaks.push_back({moment_of(plan, program, peak, own), peak.when});
  }
  details.what_ifs = what_ifs_of(plan, device, details.tables);
  return details;
}

}  // namespace orrery
