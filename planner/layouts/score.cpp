#include "planner/layouts/score.hpp"

#include <algorithm>
#include <limits>

#include "core/stage_map.hpp"
#include "planner/plan_builder.hpp"
#include "workload/closing.hpp"

namespace orrery {
namespace {

// Micro-batches that are timed one by one: so many cells of all ranks, and at the least so many
// rounds of pp.
constexpr int kMostCells = 1 << 13;
constexpr int kMostMicrobatches = 1 << 10;
constexpr int kLeastRounds = 12;
// After so many rounds a rank holds as many activations as it ever will, unless it takes in all
// forwards first.
constexpr int kMemoryRounds = 6;

// Of the entries of a stage, for one micro-batch.
struct Sum {
  double forward = 0, gradient = 0, W = 0;  // F, I and W as lone cells, at least
  double backward = 0;                      // B, at least
  double paired = 0;                        // computation of F and B in pairs with others, at least
  double wire = 0;                          // of F and B on the communication stream
  double way_back = 0;                      // of a gradient through the stage, at least
  double behind = 0;  // of B, at the most, what comes after its gradient has left

  double lone() const { return forward + gradient + W; }
  // What the compute stream needs, in the shortest way that there is.
  double least() const { return std::min(paired, forward + backward); }
  double least(const CellForms& forms) const {
    return forms.pairs ? least() : forms.full_backwards ? forward + backward : lone();
  }
};

// `zero`: null below stage 2. Of a lone cell with collectives of ZeRO: its first gathering stands
// before everything else, its last reduction behind everything, and in between computation and
// transfers each take as long as they take one by one.
Sum sum_of(const Layers& layers, const SettingSums& sums, const ZeroSums* zero) {
  Sum sum;
  double F = 0, I = 0, F_waits = 0, I_waits = 0;
  ZeroEntrySums all;
  for (const LayerKind kind : layers) {
    const EntrySums& entry = sums.of(kind);
    sum.paired += entry.paired;
    sum.wire += entry.wire;
    F += entry.F;
    F_waits += entry.F_waits;
    I += entry.I;
    I_waits += entry.I_waits;
    sum.W += entry.W;
    sum.way_back += entry.I + entry.I_waits - entry.again;
    if (zero == nullptr) continue;
    const ZeroEntrySums& own = zero->of(kind);
    all.gather_F += own.gather_F;
    all.gather_I += own.gather_I;
    all.reduce += own.reduce;
    all.quantise_F += own.quantise_F;
    all.quantise_I += own.quantise_I;
  }
  ZeroEntrySums front, back;
  if (zero != nullptr && !layers.empty()) {
    front = zero->of(layers.front());
    back = zero->of(layers.back());
  }
  const double W = sum.W;
  sum.forward =
      std::max(front.gather_F + F + std::max(F_waits, all.quantise_F), F_waits + all.gather_F);
  sum.gradient =
      std::max(back.gather_I + I + std::max(I_waits, all.quantise_I), I_waits + all.gather_I);
  sum.W = std::max(W + front.reduce, all.reduce);
  sum.backward = std::max(back.gather_I + I + std::max(I_waits, W + all.quantise_I + front.reduce),
                          I_waits + all.gather_I + all.reduce);
  sum.paired += all.quantise_F + all.quantise_I;
  sum.wire += all.gather_F + all.gather_I + all.reduce;
  sum.behind = W + all.reduce;
  return sum;
}

}  // namespace

LayoutScorer::LayoutScorer(const Model& model, const Cluster& cluster, const Training& training,
                           const DeviceModel& device, std::shared_ptr<OrderCache> orders)
    : model_(model),
      cluster_(cluster),
      training_(training),
      device_(device),
      entries_(model_entries(model)),
      orders_(orders != nullptr ? std::move(orders) : std::make_shared<OrderCache>()) {}

std::shared_ptr<const UnitSet> LayoutScorer::units(const Layout& layout) {
  const SettingKey key = setting_key(cluster_, layout);
  if (unit_set_ != nullptr && key == unit_key_) return unit_set_;
  const RoutingSpread spread = routing_spread(model_, cluster_, layout, training_.seed);
  timers_.clear();
  unit_key_ = key;
  unit_set_ = std::make_shared<UnitSet>(
      make_unit_set(model_, cluster_, layout, training_.sequence, spread, entries_));
  return unit_set_;
}

SettingSums LayoutScorer::sums(const Layout& layout, CommSms sms) {
  return sum_setting(*units(layout), layout.recompute, sms, device_.costs());
}

Seconds LayoutScorer::bound(const Setting& setting, const SettingSums& sums) const {
  return bound(setting, sums, {.pairs = true});
}

Seconds LayoutScorer::bound(const Setting& setting, const SettingSums& sums,
                            const CellForms& forms) const {
  // Each rank works off its share of every micro-batch, and none has less than the mean.
  const Sum all = sum_of(entries_, sums, nullptr);
  return Seconds{setting.microbatches * std::max(all.least(forms), all.wire) / setting.layout.pp};
}

LayoutScorer::ZeroKey LayoutScorer::zero_key(const Layout& layout, SharedMatrices shared) {
  if (layout.zero_stage < 2) return {1, 0, {}};
  return {layout.zero_stage, layout.pp, shared};
}

ZeroWorks LayoutScorer::zero_works(const Layout& layout, SharedMatrices shared,
                                   std::size_t behind) const {
  return make_zero_works(model_, cluster_, layout, training_, shared,
                         WorkId(static_cast<std::int64_t>(behind)), entries_);
}

const ZeroSums& LayoutScorer::zero_sums(const Layout& layout, SharedMatrices shared) {
  const SettingKey key = setting_key(cluster_, layout);
  if (key != zero_sums_.first) zero_sums_ = {key, {}};
  const auto [entry, is_new] = zero_sums_.second.try_emplace(zero_key(layout, shared));
  if (is_new) entry->second = sum_zero(zero_works(layout, shared, 0), device_.costs());
  return entry->second;
}

ChunkTimer& LayoutScorer::timer(const Layout& layout, SharedMatrices shared) {
  std::shared_ptr<const UnitSet> set = units(layout);
  std::unique_ptr<ChunkTimer>& own = timers_[{layout.comm_sms, zero_key(layout, shared)}];
  if (own == nullptr) {
    Plan plan;
    plan.model = model_;
    plan.cluster = cluster_;
    plan.training = training_;
    plan.layout = layout;
    ZeroWorks zero = zero_works(layout, shared, set->works.size());
    own = std::make_unique<ChunkTimer>(plan, std::move(set), std::move(zero), device_.costs());
  }
  return *own;
}

LayoutScorer::Shape::Shape(LayoutScorer& scorer, const Setting& setting, const SettingSums& sums,
                           const ScheduleChoice& choice)
    : scorer_(scorer), setting_(setting), sums_(sums), choice_(choice) {
  const int pp = setting.layout.pp;
  family_ = &schedule_family(choice.family);
  placement_ = place_stages(*family_,
                            {.pp = pp, .microbatches = setting.microbatches, .chunks = choice.vpp});
  const int stages = pp * choice.vpp;
  const auto [map, is_new] =
      scorer.maps_.try_emplace({setting_key(scorer.cluster_, setting.layout), stages});
  if (is_new) map->second = default_stage_map(scorer.model_, sums, stages);
  map_ = &map->second;
}

// Most shapes are pruned by their bound, which needs neither order nor plan.
const FamilyOrder& LayoutScorer::Shape::order() {
  if (order_ == nullptr) {
    const int pp = setting_.layout.pp;
    const Shortened few = shorten(setting_.microbatches, pp, kMemoryRounds * pp);
    order_ = &scorer_.orders_->get(choice_.family, pp, few.near, choice_.vpp);
  }
  return *order_;
}

Plan& LayoutScorer::Shape::plan() {
  if (plan_) return *plan_;
  plan_.emplace();
  plan_->model = scorer_.model_;
  plan_->cluster = scorer_.cluster_;
  plan_->training = scorer_.training_;
  plan_->layout = setting_.layout;
  plan_->layout.vpp = choice_.vpp;
  plan_->layout.stage_map = *map_;
  plan_->schedule = placement_;
  return *plan_;
}

SharedMatrices LayoutScorer::Shape::shared() {
  if (!shared_) shared_ = shared_matrices(scorer_.model_, *map_, placement_);
  return *shared_;
}

Seconds LayoutScorer::Shape::bound(const SettingSums& sums, int zero_stage) {
  const CellForms& forms = family_->forms;
  const ZeroSums* zero = nullptr;
  if (zero_stage >= 2) {
    Layout layout = setting_.layout;
    layout.zero_stage = zero_stage;
    zero = &scorer_.zero_sums(layout, shared());
  }
  std::vector<Sum> stages;
  double before = 0, after = 0;
  std::vector<double> head, tail;  // by stage: the forwards before it, the gradients after it
  for (const Layers& layers : *map_) {
    stages.push_back(sum_of(layers, sums, zero));
    head.push_back(before);
    tail.push_back(after);
    before += stages.back().forward;
    after += stages.back().way_back;
  }
  const double microbatches =
      static_cast<double>(setting_.microbatches) / placement_.directions;  // of a direction
  double longest = 0;
  for (const auto& chunks : placement_.chunks) {
    double work = 0, wire = 0;
    double earliest = std::numeric_limits<double>::infinity(), latest = earliest;
    for (const ChunkPlace& place : chunks) {
      const Sum& stage = stages[place.stage.index()];
      work += stage.least(forms);
      wire += stage.wire;
      earliest = std::min(earliest, head[place.stage.index()]);
      // A full backward's gradient leaves before its weight gradient is done.
      latest = std::min(latest, std::max(0.0, tail[place.stage.index()] - stage.behind));
    }
    double time = earliest + microbatches * std::max(work, wire);
    if (!forms.pairs && !forms.split_backwards) time += latest;
    longest = std::max(longest, time);
  }
  return Seconds{longest};
}

double LayoutScorer::Shape::peak_bytes(std::size_t rank, int microbatches) {
  const FamilyOrder& family =
      scorer_.orders_->get(choice_.family, setting_.layout.pp, microbatches, choice_.vpp);
  std::vector<StageBytes> chunks;
  for (const ChunkPlace& place : family.placement.chunks[rank]) {
    std::vector<LayerBytes> layers;
    for (const LayerKind kind : (*map_)[place.stage.index()])
      layers.push_back(sums_.of(kind).bytes);
    chunks.push_back(stage_bytes(layers));
  }
  return orrery::peak_bytes(token_bytes(chunks), chunks.size(), family.order[rank]);
}

std::vector<MemoryTable> LayoutScorer::Shape::tables(const StateChoice& states) {
  std::vector<MemoryTable> tables = all_on_gpu(states.zero);
  for (MemoryTable& table : tables) {
    if (states.optimizer == Keep::kCpu) table.optimizer = {};
    if (states.ema == Keep::kCpu) table.ema = {};
  }
  return tables;
}

const std::vector<MemoryTable>& LayoutScorer::Shape::all_on_gpu(int zero_stage) {
  const auto [entry, is_new] = tables_.try_emplace(zero_stage);
  std::vector<MemoryTable>& tables = entry->second;
  if (!is_new) return tables;
  apply({zero_stage, Keep::kGpu, Keep::kGpu}, plan().layout);
  tables = static_memory(plan(), scorer_.device_.device(), order().pairs);
  const int pp = setting_.layout.pp;
  if (activations_.empty()) {
    const Shortened few = shorten(setting_.microbatches, pp, kMemoryRounds * pp);
    for (std::size_t rank = 0; rank < tables.size(); ++rank) {
      const double near = peak_bytes(rank, few.near), far = peak_bytes(rank, few.far);
      const bool grows = choice_.family == "gpipe";
      activations_.push_back(Bytes{grows ? few.extrapolate(near, far) : std::max(near, far)});
    }
  }
  for (std::size_t rank = 0; rank < tables.size(); ++rank) {
    tables[rank].activations = activations_[rank];
    // An activation and a gradient for each chunk may have arrived and wait.
    const auto waiting = static_cast<double>(2 * placement_.chunks[rank].size());
    if (pp == 1) continue;
    tables[rank].received = waiting * sums_.boundary;
    tables[rank].buffers += tables[rank].received;
  }
  return tables;
}

const LayoutScorer::Shape::Memory& LayoutScorer::Shape::memory(const StateChoice& states) {
  const auto [entry, is_new] = memory_.try_emplace(states);
  Memory& memory = entry->second;
  if (!is_new) return memory;
  const std::vector<MemoryTable> all = tables(states);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (rank == 0 || all[rank].total() > memory.table.total())
      memory = {all[rank], Rank{static_cast<int>(rank)}};
  }
  return memory;
}

const std::vector<double>& LayoutScorer::Shape::cell_ends(int comm_sms, int zero_stage) {
  // Where nothing runs beside an exchange or a collective of ZeRO, no SM is lent.
  const bool overlaps =
      zero_stage >= 2 || (setting_.layout.ep > 1 && (order().pairs || order().full_backwards));
  if (!overlaps) comm_sms = setting_.layout.comm_sms;
  const auto [entry, is_new] = ends_.try_emplace({comm_sms, std::max(1, zero_stage)});
  std::vector<double>& ends = entry->second;
  if (!is_new) return ends;
  plan().layout.comm_sms = comm_sms;
  plan().layout.zero_stage = zero_stage;
  const int pp = setting_.layout.pp;
  const CellTimes times =
      cell_times(placement_, plan().layout.stage_map, place(scorer_.cluster_, plan().layout),
                 order().pairs, scorer_.timer(plan().layout, shared()));
  const auto timed = [&](int microbatches) {
    const FamilyOrder& family = scorer_.orders_->get(choice_.family, pp, microbatches, choice_.vpp);
    const CompactProblem problem = compact_problem(
        family.placement, times,
        std::vector<int>(static_cast<std::size_t>(pp), std::numeric_limits<int>::max()));
    CompactTimer timer(problem);
    timer.makespan(family.order);
    return timer.ends();
  };
  const int most =
      std::max(kLeastRounds * pp, std::min(kMostMicrobatches, kMostCells / (pp * choice_.vpp)));
  const Shortened run = shorten(setting_.microbatches, pp, most);
  ends = timed(run.far);
  if (run.beyond > 0) {
    const std::vector<double> near = timed(run.near);
    for (std::size_t rank = 0; rank < ends.size(); ++rank)
      ends[rank] = run.extrapolate(near[rank], ends[rank]);
  }
  return ends;
}

Seconds LayoutScorer::Shape::cells(int comm_sms, int zero_stage) {
  const std::vector<double>& ends = cell_ends(comm_sms, zero_stage);
  return Seconds{*std::max_element(ends.begin(), ends.end())};
}

const std::vector<LayoutScorer::Shape::Closing>& LayoutScorer::Shape::closing(int zero_stage) {
  const auto [entry, is_new] = closing_.try_emplace(zero_stage);
  std::vector<Closing>& closing = entry->second;
  if (!is_new) return closing;
  Plan& own = plan();
  own.layout.zero_stage = zero_stage;
  const CostSource& costs = scorer_.device_.costs();
  for (const ClosingStep& step :
       closing_steps(own.model, own.cluster, own.layout, own.training, own.schedule)) {
    Seconds time;  // of an update it depends on where the states lie
    if (step.updates == 0) {
      time = step.work.is_compute()
                 ? costs.compute(step.work, 0).total()
                 : uncontended(step.work.wire, costs.transfer(step.work, false, 0));
    }
    closing.push_back({step.ranks, time.value(), step.updates});
  }
  return closing;
}

Seconds LayoutScorer::Shape::score(int comm_sms, const StateChoice& states) {
  std::vector<double> at = cell_ends(comm_sms, states.zero);
  const std::vector<Closing>& steps = closing(states.zero);
  apply(states, plan().layout);
  double updated = 0, update = 0;  // the last update timed: most ranks' are alike
  for (const Closing& step : steps) {
    double time = step.seconds;
    if (step.updates > 0) {
      if (step.updates != updated) {
        updated = step.updates;
        const Work work = update_work(plan().training, plan().layout, updated);
        update = scorer_.device_.costs().compute(work, 0).total().value();
      }
      time = update;
    }
    double start = 0;
    for (const Rank rank : step.ranks) start = std::max(start, at[rank.index()]);
    for (const Rank rank : step.ranks) at[rank.index()] = start + time;
  }
  return Seconds{*std::max_element(at.begin(), at.end())};
}

}  // namespace orrery
