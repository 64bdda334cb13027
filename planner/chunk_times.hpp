#pragma once
// What a chunk's cells take by themselves: F, I, W, full backwards, and pairs of two chunks. Each
// is simulated without contention on a pipeline of one rank, where nothing waits for messages, and
// remembered: a plan has few different chunks however many stages and micro-batches it has, and all
// plans whose micro-batches do the same share them. With ZeRO stages 2 and 3 a micro-batch has the
// collectives of its replicas too.
#include <array>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/plan.hpp"
#include "planner/schedules/activation_bytes.hpp"
#include "planner/schedules/times.hpp"
#include "sim/cost_source.hpp"
#include "workload/unit_set.hpp"
#include "workload/zero_works.hpp"

namespace orrery {

using Layers = std::vector<LayerKind>;  // of one stage

struct ChunkTimes {
  Seconds F, I, W;
  BackwardTimes B;
};

struct PairTimes {
  Seconds length;
  PairOffsets offsets;
};

// Times of works, each looked up once; the same for every program that begins with these works.
class WorkTimes {
 public:
  WorkTimes(std::span<const Work> works, const CostSource& costs, int comm_sms);
  Seconds operator()(WorkId work, bool overlapped);

 private:
  std::span<const Work> works_;
  const CostSource& costs_;
  int comm_sms_;
  std::vector<std::array<double, 2>> known_;  // [work][overlapped], seconds; negative: not yet
};

class ChunkTimer {
 public:
  // `plan` gives model, cluster, layout and training; its stage map and schedule do not matter.
  // `zero`: made for the works of `set`. `costs` must outlive the timer.
  ChunkTimer(const Plan& plan, std::shared_ptr<const UnitSet> set, ZeroWorks zero,
             const CostSource& costs);
  ~ChunkTimer();
  ChunkTimer(const ChunkTimer&) = delete;
  ChunkTimer& operator=(const ChunkTimer&) = delete;

  const ChunkTimes& chunk(const Layers& layers);
  // A forward of one and a backward of the other; it may take longer than the halves one after the
  // other.
  const PairTimes& pair(const Layers& forward, const Layers& backward);
  Seconds send(bool inside_node);

 private:
  struct Scratch;
  void time_pairs(const Layers& first, const Layers& second);

  std::shared_ptr<const UnitSet> set_;
  std::unique_ptr<Scratch> scratch_;
  std::map<Layers, ChunkTimes> chunks_;
  std::map<std::pair<Layers, Layers>, PairTimes> pairs_;
};

// All cells of a schedule whose stages are those of `map`; of `schedule` the placement counts.
// `pairs`: whether its chunks run in pairs.
CellTimes cell_times(const Schedule& schedule, const StageMap& map, const Placement& placement,
                     bool pairs, ChunkTimer& timer);

// Bytes of a micro-batch's activations in a layer.
LayerBytes layer_bytes(const UnitSet& set, LayerKind kind, Recompute recompute);

}  // namespace orrery
