#include "planner/stage_map_bound.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "planner/plan_cells.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/lower_bound.hpp"

namespace orrery {
namespace {

using Layers = std::vector<LayerKind>;
constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kNoLimit = 1 << 20;

// A pipeline of two ranks and the two stages in both directions: rank 0 has all that a rank with
// those stages has, cells and memory.
CompactProblem two_stages(const Plan& plan, const DeviceModel& device, const Layers& first,
                          const Layers& second) {
  constexpr int kRanks = 2, kMicrobatches = 8;
  Plan small = plan;
  small.layout.pp = kRanks;
  small.layout.stage_map = {first, second};
  small.schedule = make_schedule("dualpipe", kRanks, kMicrobatches);
  const CellTimes times = plan_cell_times(small, device.costs());
  CompactProblem problem = compact_problem(small.schedule, times, {kNoLimit, kNoLimit});
  count_bytes(problem, small.schedule, plan_activation_bytes(small, device));
  return problem;
}

struct LayerTimes {
  double F = 0, I = 0, W = 0;
};

class StageMapBounder {
 public:
  StageMapBounder(const Plan& plan, const DeviceModel& device, double below, long most)
      : plan_(plan), device_(device), below_(below), most_(most) {
    for (const auto& stage : plan.layout.stage_map)
      entries_.insert(entries_.end(), stage.begin(), stage.end());
    const Schedule& schedule = plan.schedule;
    stages_ = schedule.stages();
    groups_ = stages_ / 2;
    two_way_ = schedule.directions == 2;
    const Schedule::Range range = schedule.microbatches_of(0);
    microbatches_ = range.last - range.first;
    time_layers();
    take_messages();
  }

  StageMapBound run() {
    out_.least = least(0, 0, entries());
    below_ = std::min(below_, out_.least * (1 + kNear));
    Cuts cuts;
    list(0, 0, entries(), 0, cuts);
    std::stable_sort(
        out_.maps.begin(), out_.maps.end(),
        [](const BoundedStageMap& a, const BoundedStageMap& b) { return a.bound < b.bound; });
    out_.distinct = static_cast<int>(known_.size());
    return std::move(out_);
  }

  std::vector<double> of_own_map() {
    std::vector<double> bounds;
    int front = 0, back = entries();
    for (int group = 0; group < groups_; ++group) {
      const auto size = [&](int stage) {
        return static_cast<int>(plan_.layout.stage_map[static_cast<std::size_t>(stage)].size());
      };
      const int front_end = front + size(group), back_begin = back - size(stages_ - 1 - group);
      bounds.push_back(bound_of(group, front, front_end, back_begin, back));
      front = front_end;
      back = back_begin;
    }
    return bounds;
  }

 private:
  struct Cuts {
    std::vector<int> front, back;  // entries of each stage, from the ends inwards
  };

  int entries() const { return static_cast<int>(entries_.size()); }
  Layers layers(int from, int to) const { return {entries_.begin() + from, entries_.begin() + to}; }

  // F, I and W of each entry: alone in a stage, or what it adds to one.
  void time_layers() {
    const auto of_stage = [&](const Layers& stage) {
      const CompactProblem problem = two_stages(plan_, device_, stage, stage);
      const Slot& slot = problem.slot(0, 0);
      return LayerTimes{slot.F, slot.I, slot.W};
    };
    std::map<LayerKind, LayerTimes> kinds;
    const LayerKind plain = entries_.at(1);  // any that makes a stage
    const LayerTimes base = of_stage({plain});
    for (const LayerKind kind : entries_) {
      if (kinds.contains(kind)) continue;
      const LayerTimes both =
          of_stage(kind == LayerKind::kEmbedding ? Layers{kind, plain} : Layers{plain, kind});
      kinds[kind] = {both.F - base.F, both.I - base.I, both.W - base.W};
    }
    sums_.push_back({});
    for (const LayerKind kind : entries_) {
      const LayerTimes& own = kinds[kind];
      const LayerTimes& before = sums_.back();
      sums_.push_back({before.F + own.F, before.I + own.I, before.W + own.W});
    }
  }

  void take_messages() {
    const CompactProblem problem = two_stages(plan_, device_, {entries_.at(1)}, {entries_.at(1)});
    send_activation_ = problem.slot(0, 0).send_activation;
    send_gradient_ = problem.slot(0, 1).send_gradient;
    for (const Slot& slot : problem.slots) {
      if (slot.next >= 0) send_activation_ = std::min(send_activation_, slot.send_activation);
      if (slot.previous >= 0) send_gradient_ = std::min(send_gradient_, slot.send_gradient);
    }
  }

  // So many stages with these entries as one, on a rank of its own. Without weight gradients, which
  // a bound needs of the last stage on a way only: not known here, and left out.
  // `turns`: a V's last rank is among them, which holds two stages with no message between.
  void add_stages(CompactProblem& problem, int stages, int from, int to, int& last,
                  bool turns = false) const {
    if (stages == 0) return;
    const double hops = stages - 1 - (turns ? 1 : 0);
    const LayerTimes &a = sums_[static_cast<std::size_t>(from)],
                     &b = sums_[static_cast<std::size_t>(to)];
    Slot slot;
    slot.rank = problem.ranks();
    slot.microbatches = microbatches_;
    slot.F = b.F - a.F + hops * send_activation_;
    slot.I = slot.B = slot.gradient_ready = b.I - a.I + hops * send_gradient_;
    const int own = static_cast<int>(problem.slots.size());
    problem.slots.push_back(slot);
    problem.of_rank.push_back({own});
    problem.pairs.push_back({{kNever, kNever}});
    problem.limits.push_back(kNoLimit);
    problem.bytes.emplace_back(6);  // as many as there are kinds of cells
    problem.byte_limits.push_back(kNever);
    link(problem, last, own);
    last = own;
  }
  void add_own(CompactProblem& problem, int own, int& last) const {
    link(problem, last, own);
    last = own;
  }
  void link(CompactProblem& problem, int before, int own) const {
    Slot& slot = problem.slots[static_cast<std::size_t>(own)];
    slot.previous = before;
    slot.next = -1;
    slot.send_activation = slot.send_gradient = 0;
    if (before < 0) return;
    Slot& other = problem.slots[static_cast<std::size_t>(before)];
    other.next = own;
    const bool far = other.rank != slot.rank;
    other.send_activation = far ? send_activation_ : 0;
    slot.send_gradient = far ? send_gradient_ : 0;
  }

  // Bound of the rank with stage `group` of entries [front, front_end) and the stage as far from
  // the end, [back_begin, back).
  double bound_of(int group, int front, int front_end, int back_begin, int back) {
    CompactProblem& pair = known_pair(layers(front, front_end), layers(back_begin, back));
    CompactProblem problem;
    problem.slots = {pair.slot(0, 0), pair.slot(0, 1)};
    problem.of_rank = {{0, 1}};
    problem.pairs = {pair.pairs[0]};
    problem.limits = {pair.limits[0]};
    problem.bytes = {pair.bytes[0]};
    problem.byte_limits = {pair.byte_limits[0]};
    problem.microbatches = microbatches_;
    for (Slot& slot : problem.slots) slot.microbatches = microbatches_;
    int last = -1;
    add_stages(problem, group, 0, front, last);
    add_own(problem, 0, last);
    if (two_way_) {
      add_stages(problem, stages_ - 1 - group, front_end, entries(), last);
      last = -1;
      add_stages(problem, stages_ - 1 - group, 0, back_begin, last);
    } else {
      add_stages(problem, stages_ - 2 - 2 * group, front_end, back_begin, last, true);
    }
    add_own(problem, 1, last);
    add_stages(problem, group, back, entries(), last);
    return lower_bound_of_rank(problem, 0).makespan;
  }

  CompactProblem& known_pair(const Layers& first, const Layers& second) {
    const auto [known, is_new] = known_.try_emplace({first, second});
    if (is_new) known->second = two_stages(plan_, device_, first, second);
    return known->second;
  }

  // The ways to cut a group's stages off both ends, with their bounds below `below_`.
  struct Option {
    int front, back;
    double bound;
  };
  const std::vector<Option>& options(int group, int front, int back) {
    const auto [known, is_new] = options_.try_emplace({group, front, back});
    std::vector<Option>& all = known->second;
    if (!is_new) return all;
    const bool innermost = group + 1 == groups_;
    const int stages_left = 2 * (groups_ - 1 - group);
    for (int a = front + least_of_front(front); a < back; ++a) {
      for (int b = back - least_of_back(back); b >= a; --b) {
        if (b - a < stages_left) break;
        if (work(front, a) + work(b, back) >= below_) break;
        if (innermost && b != a) continue;
        const double bound = bound_of(group, front, a, b, back);
        if (bound < below_) all.push_back({a, b, bound});
      }
    }
    return all;
  }
  // The embedding takes a layer with it, the head too.
  int least_of_front(int front) const { return front == 0 ? 2 : 1; }
  int least_of_back(int back) const { return back == entries() ? 2 : 1; }
  // Input gradients alone: no two are ever in one cell, and no cell with one takes less.
  double work(int from, int to) const {
    const LayerTimes &a = sums_[static_cast<std::size_t>(from)],
                     &b = sums_[static_cast<std::size_t>(to)];
    return microbatches_ * (b.I - a.I);
  }

  // Least over all ways to go on of the largest bound of the groups that are left.
  double least(int group, int front, int back) {
    if (group == groups_) return front == back ? 0 : kNever;
    const auto known = least_.find({group, front, back});
    if (known != least_.end()) return known->second;
    double best = kNever;
    // The list may grow while it is gone through.
    const std::vector<Option> all = options(group, front, back);
    for (const Option& option : all) {
      if (option.bound >= best) continue;
      best = std::min(best, std::max(option.bound, least(group + 1, option.front, option.back)));
    }
    least_[{group, front, back}] = best;
    return best;
  }

  void list(int group, int front, int back, double bound, Cuts& cuts) {
    if (group == groups_) {
      out_.maps.push_back({map_of(cuts), bound});
      return;
    }
    const std::vector<Option> all = options(group, front, back);
    for (const Option& option : all) {
      if (option.bound >= below_ || least(group + 1, option.front, option.back) >= below_) continue;
      if (static_cast<long>(out_.maps.size()) >= most_) return;
      cuts.front.push_back(option.front);
      cuts.back.push_back(option.back);
      list(group + 1, option.front, option.back, std::max(bound, option.bound), cuts);
      cuts.front.pop_back();
      cuts.back.pop_back();
    }
  }

  StageMap map_of(const Cuts& cuts) const {
    StageMap map;
    int from = 0;
    for (const int to : cuts.front) {
      map.push_back(layers(from, to));
      from = to;
    }
    for (std::size_t group = cuts.back.size(); group-- > 0;) {
      const int to = group == 0 ? entries() : cuts.back[group - 1];
      map.push_back(layers(cuts.back[group], to));
    }
    return map;
  }

  static constexpr double kNear = 1e-3;  // of the least bound

  const Plan& plan_;
  const DeviceModel& device_;
  double below_;
  long most_;
  Layers entries_;
  int stages_ = 0, groups_ = 0, microbatches_ = 0;
  bool two_way_ = false;
  double send_activation_ = 0, send_gradient_ = 0;
  std::vector<LayerTimes> sums_;  // [entry]: of all before it
  std::map<std::pair<Layers, Layers>, CompactProblem> known_;
  std::map<std::tuple<int, int, int>, std::vector<Option>> options_;
  std::map<std::tuple<int, int, int>, double> least_;
  StageMapBound out_;
};

}  // namespace

bool has_folded_stages(const Schedule& schedule) {
  const int last = schedule.stages() - 1;
  for (const auto& chunks : schedule.chunks) {
    if (chunks.size() != 2 || chunks[0].stage.value + chunks[1].stage.value != last) return false;
  }
  return true;
}

StageMapBound bound_stage_maps(const Plan& plan, const DeviceModel& device, double below,
                               long most) {
  ORRERY_CHECK(has_folded_stages(plan.schedule), "stages are not folded");
  ORRERY_CHECK(plan.layout.zero_stage < 2, "ZeRO-{}", plan.layout.zero_stage);
  return StageMapBounder(plan, device, below, most).run();
}

std::vector<double> bounds_of_map(const Plan& plan, const DeviceModel& device) {
  ORRERY_CHECK(has_folded_stages(plan.schedule), "stages are not folded");
  ORRERY_CHECK(plan.layout.zero_stage < 2, "ZeRO-{}", plan.layout.zero_stage);
  return StageMapBounder(plan, device, kNever, 0).of_own_map();
}

}  // namespace orrery
