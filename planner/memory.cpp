#include "planner/memory.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "planner/schedules/times.hpp"
#include "workload/lifetimes.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

double two_largest(std::vector<double> amounts) {
  std::sort(amounts.rbegin(), amounts.rend());
  amounts.resize(2);
  return amounts[0] + amounts[1];
}

// What ZeRO stages 2 and 3 leave of a rank's weights and gradients.
class Divided {
 public:
  Divided(const Plan& plan, std::span<const ParameterGroup> groups, bool pairs)
      : plan_(plan), groups_(groups), halves_(pairs ? 2 : 1) {
    const SharedMatrices shared = shared_matrices(plan.model, plan.layout.stage_map, plan.schedule);
    for (const auto& stage : plan.layout.stage_map) {
      for (LayerKind kind : stage) {
        const auto [entry, is_new] = entries_.try_emplace(kind);
        if (!is_new) continue;
        for (const EntryGroup& group : entry_groups(plan.model, plan.layout, kind, shared)) {
          if (group.replicas == 1) continue;
          entry->second.parameters += group.parameters;
          entry->second.quantised += group.quantised;
        }
      }
    }
  }

  void apply(Rank rank, const RankParameters& own, MemoryTable& table) const {
    std::vector<double> parameters, quantised;  // by entry
    double all_quantised = 0;
    for (const ChunkPlace& chunk : plan_.schedule.chunks[rank.index()]) {
      for (LayerKind kind : plan_.layout.stage_map[chunk.stage.index()]) {
        const Entry& entry = entries_.at(kind);
        parameters.push_back(entry.parameters);
        quantised.push_back(entry.quantised);
        all_quantised += entry.quantised;
      }
    }
    const double shares = kept(rank), whole = two_largest(std::move(parameters));
    table.gradients = Bytes{(shares + whole) * bytes_of(plan_.training.gradient)};
    if (plan_.layout.zero_stage < 3) return;
    if (is_fp8(plan_.layout.precision)) {
      table.fp8_copies =
          Bytes{own.quantised - all_quantised + halves_ * two_largest(std::move(quantised))};
    }
    table.weights =
        table.fp8_copies + Bytes{(shares + halves_ * whole) * bytes_of(ScalarType::kBf16)};
  }

 private:
  // Parameters of a rank: its shares, and all of what pipeline ranks share.
  double kept(Rank rank) const {
    double sum = 0;
    for (const ParameterGroup& group : groups_) {
      if (std::find(group.ranks.begin(), group.ranks.end(), rank) == group.ranks.end()) continue;
      sum += group.parameters / (group.ranks.size() == 1 ? group.replicas : 1);
    }
    return sum;
  }

  struct Entry {
    double parameters = 0, quantised = 0;  // those that are divided, when they are whole
  };

  const Plan& plan_;
  std::span<const ParameterGroup> groups_;
  int halves_;  // of a cell, at the most
  std::map<LayerKind, Entry> entries_;
};

}  // namespace

std::vector<MemoryTable> static_memory(const Plan& plan, const Device& device) {
  return static_memory(plan, device, plan.layout.zero_stage >= 3 && has_pairs(plan.schedule));
}

std::vector<MemoryTable> static_memory(const Plan& plan, const Device& device, bool pairs) {
  const bool fp8 = is_fp8(plan.layout.precision);
  const Training& training = plan.training;
  const double state = bytes_of(training.master) + 2 * bytes_of(training.moments);
  const std::vector<ParameterGroup> groups =
      parameter_groups(plan.model, plan.layout, plan.schedule);
  // Where a token's copies go matters little for the workspace: the largest case is taken.
  RoutingSpread spread;
  spread.gpus_per_token = std::min(plan.layout.ep, std::max(1, plan.model.moe.top_k));
  const Bytes exchange_buffers = plan.layout.ep > 1 ? device.exchange_buffers : Bytes{};
  const Bytes buffers =
      workspace(make_shard(plan.model, plan.layout, plan.training.sequence, spread)) +
      exchange_buffers;
  std::optional<Divided> divided;
  if (plan.layout.zero_stage >= 2) divided.emplace(plan, groups, pairs);
  std::vector<MemoryTable> tables;
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const RankParameters own = rank_parameters(plan.model, plan.layout, plan.schedule, Rank(rank));
    const double parameters = own.expert + own.dense;
    const double shard = optimizer_shard(groups, Rank(rank), plan.layout.zero_stage >= 1);
    MemoryTable& table = tables.emplace_back();
    table.weights = Bytes{parameters * 2 + (fp8 ? own.quantised : 0)};
    table.gradients = Bytes{parameters * bytes_of(training.gradient)};
    table.fp8_copies = Bytes{fp8 ? own.quantised : 0};
    if (divided) divided->apply(Rank(rank), own, table);
    if (plan.layout.optimizer == Keep::kGpu) table.optimizer = Bytes{shard * state};
    if (plan.layout.ema == Keep::kGpu) table.ema = Bytes{shard * bytes_of(ScalarType::kFp32)};
    table.buffers = buffers;
    table.exchange_buffers = exchange_buffers;
    table.reserve = device.reserve;
    table.capacity = device.memory;
  }
  return tables;
}

MemoryPeak memory_peak(const Program& program, const Timeline& timeline, Rank rank) {
  struct Change {
    Seconds when;
    bool alloc;
    bool received;
    double bytes;
    InstructionId by;
  };
  std::vector<Change> changes;
  for (const auto& list : program.streams[rank.index()]) {
    for (InstructionId id : list) {
      for (const BufferEvent& event : program.events_of(program.instructions[id.index()])) {
        const Buffer& buffer = program.buffers[static_cast<std::size_t>(event.buffer)];
        const Span& span = timeline.at(id);
        changes.push_back({event.alloc ? span.start : span.end, event.alloc,
                           buffer.kind == BufferKind::kCommunication, buffer.bytes.value(), id});
      }
    }
  }
  // At the same moment what ends makes room for what begins.
  std::stable_sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) {
    return std::tuple(a.when, a.alloc) < std::tuple(b.when, b.alloc);
  });
  double activations = 0, received = 0;
  MemoryPeak peak;
  for (const Change& change : changes) {
    (change.received ? received : activations) += change.alloc ? change.bytes : -change.bytes;
    if (activations + received > (peak.activations + peak.received).value())
      peak = {Bytes{activations}, Bytes{received}, change.by, change.when};
  }
  return peak;
}

namespace {

MemoryTable at_peak(MemoryTable table, const MemoryPeak& peak) {
  table.activations = peak.activations;
  table.received = peak.received;
  table.buffers += peak.received;
  return table;
}

}  // namespace

MemoryTable rank_memory(const Plan& plan, const Device& device, const Program& program,
                        const Timeline& timeline, Rank rank) {
  return at_peak(static_memory(plan, device)[rank.index()], memory_peak(program, timeline, rank));
}

std::vector<MemoryTable> memory_tables(const Plan& plan, const Device& device,
                                       const Program& program, const Timeline& timeline) {
  std::vector<MemoryTable> tables = static_memory(plan, device);
  for (std::size_t rank = 0; rank < tables.size(); ++rank)
    tables[rank] =
        at_peak(tables[rank], memory_peak(program, timeline, Rank{static_cast<int>(rank)}));
  return tables;
}

MemoryTable with_expert_copies(MemoryTable table, const Plan& plan, Rank rank, int copies) {
  double layers = 0;
  for (const ChunkPlace& chunk : plan.schedule.chunks[rank.index()]) {
    for (LayerKind kind : plan.layout.stage_map[chunk.stage.index()])
      layers += kind == LayerKind::kMoe || kind == LayerKind::kMtp;
  }
  const double parameters = layers * copies * parameter_counts(plan.model).expert / plan.layout.etp;
  const bool fp8 = is_fp8(plan.layout.precision);
  table.weights += Bytes{parameters * (fp8 ? 3 : 2)};
  table.gradients += Bytes{parameters * bytes_of(plan.training.gradient)};
  return table;
}

}  // namespace orrery
