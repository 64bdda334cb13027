#pragma once
// The analytic level of the search: memory, a proven lower bound and the step time of layouts.
//
// The score is the makespan of the schedule's cells, each as long as its own two-stream simulation
// without contention says (planner/chunk_times.hpp), followed by the gradient reduction, optimizer
// and parameter gathering of the ranks. The bounds rest on sums over a micro-batch's kernels and
// transfers and never exceed the score.
//
// Memory is that of the fullest pipeline rank: what is there whatever the schedule does, and the
// largest sum of activations at any cell of the order. It counts rather too much than too little
// (up to a tenth where whole layers are computed again inside pairs); finalists are measured on
// their Programs. Of very many micro-batches both are known from fewer
// (planner/layouts/orders.hpp).
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planner/device_model.hpp"
#include "planner/layouts/orders.hpp"
#include "planner/layouts/setting_costs.hpp"
#include "planner/layouts/space.hpp"
#include "planner/memory.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {

// A schedule family with so many chunks a rank.
struct ScheduleChoice {
  std::string family;
  int vpp = 1;
  bool operator==(const ScheduleChoice&) const = default;
};

// One problem, scored by one thread. Caches grow with what is asked for.
class LayoutScorer {
 public:
  // `orders`: shared with other threads, or null for its own.
  LayoutScorer(const Model& model, const Cluster& cluster, const Training& training,
               const DeviceModel& device, std::shared_ptr<OrderCache> orders = nullptr);

  // At least this long takes a step of every point of the setting whose SMs for communication are
  // in the range that `sums` were made for.
  Seconds bound(const Setting& setting, const SettingSums& sums) const;
  // The same of the schedules whose backwards have these forms.
  Seconds bound(const Setting& setting, const SettingSums& sums, const CellForms& forms) const;

  class Shape;

  std::shared_ptr<const UnitSet> units(const Layout& layout);
  SettingSums sums(const Layout& layout, CommSms sms);

 private:
  friend class Shape;
  ChunkTimer& timer(const Layout& layout, SharedMatrices shared);
  ZeroWorks zero_works(const Layout& layout, SharedMatrices shared, std::size_t behind) const;
  const ZeroSums& zero_sums(const Layout& layout, SharedMatrices shared);

  const Model& model_;
  const Cluster& cluster_;
  const Training& training_;
  const DeviceModel& device_;
  std::vector<LayerKind> entries_;
  std::shared_ptr<OrderCache> orders_;
  std::map<std::pair<SettingKey, int>, StageMap> maps_;  // by stages
  SettingKey unit_key_;                                  // of what follows
  std::shared_ptr<const UnitSet> unit_set_;
  // What the collectives of ZeRO stages 2 and 3 depend on, beside the unit set: the stage (1 stands
  // for those below 2, whatever the rest), pp and what pipeline ranks share.
  using ZeroKey = std::tuple<int, int, SharedMatrices>;
  static ZeroKey zero_key(const Layout& layout, SharedMatrices shared);
  std::map<std::pair<int, ZeroKey>, std::unique_ptr<ChunkTimer>> timers_;  // SMs for communication
  std::pair<SettingKey, std::map<ZeroKey, ZeroSums>> zero_sums_;           // of one setting
};

// A setting with a schedule: holds what its points share. One at a time; scorer, setting and sums
// must outlive it.
class LayoutScorer::Shape {
 public:
  Shape(LayoutScorer& scorer, const Setting& setting, const SettingSums& sums,
        const ScheduleChoice& choice);

  // Of the fullest pipeline rank.
  struct Memory {
    MemoryTable table;
    Rank rank;
  };
  const Memory& memory(const StateChoice& states);
  std::vector<MemoryTable> tables(const StateChoice& states);  // of every rank
  // At least this long takes a step of every point whose SMs for communication are in the range
  // that `sums` were made for, with this ZeRO stage or a higher one.
  Seconds bound(const SettingSums& sums, int zero_stage);
  Seconds score(int comm_sms, const StateChoice& states);
  Seconds cells(int comm_sms, int zero_stage);  // the makespan of the schedule alone
  // Complete but for SMs and optimizer states, dp and stage map included.
  const Layout& layout() { return plan().layout; }

 private:
  struct Closing {
    std::vector<Rank> ranks;
    double seconds = 0;
    double updates = 0;  // parameters, of an update
  };
  const std::vector<Closing>& closing(int zero_stage);
  Plan& plan();
  const FamilyOrder& order();
  double peak_bytes(std::size_t rank, int microbatches);
  const std::vector<MemoryTable>& all_on_gpu(int zero_stage);
  const std::vector<double>& cell_ends(int comm_sms, int zero_stage);
  SharedMatrices shared();

  LayoutScorer& scorer_;
  const Setting& setting_;
  const SettingSums& sums_;
  ScheduleChoice choice_;
  const StageMap* map_ = nullptr;
  std::optional<SharedMatrices> shared_;            // once they are needed
  std::optional<Plan> plan_;                        // once it is needed; schedule: the placement
  const ScheduleFamily* family_;
  Schedule placement_;                              // without cells
  const FamilyOrder* order_ = nullptr;              // once it is needed; with few micro-batches
  std::vector<Bytes> activations_;                  // by rank
  std::map<int, std::vector<MemoryTable>> tables_;  // by ZeRO stage, all states on the GPU
  std::map<StateChoice, Memory> memory_;
  // By SMs and ZeRO stage (1: below 2): when each rank is through with its cells.
  std::map<std::pair<int, int>, std::vector<double>> ends_;
  std::map<int, std::vector<Closing>> closing_;  // by ZeRO stage
};

}  // namespace orrery
