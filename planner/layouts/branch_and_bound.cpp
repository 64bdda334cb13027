#include "planner/layouts/branch_and_bound.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "planner/layouts/findings.hpp"
#include "planner/layouts/schedule_choices.hpp"
#include "planner/layouts/score.hpp"
#include "planner/layouts/shared_work.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// A bound and a score sum the same times in different orders.
constexpr double kRounding = 1 - 1e-9;
constexpr std::size_t kWave = 16;  // groups of settings that are looked at with one threshold

struct Candidate {
  Setting setting;
  std::int64_t number = 0;  // of the setting in the space
  std::size_t kernels = 0;  // which settings launch the same kernels, but for those launched again
  Seconds bound;            // of what is there whatever is computed again
};

// Candidates with one bound and the same kernels, which differ in pp: one thread looks at them
// after each other, as they share what is timed.
struct Group {
  std::size_t begin = 0, end = 0;
};

// What the candidates of a group share: their sums for any number of SMs for communication that the
// space has, and for each, once needed.
struct GroupSums {
  SettingSums any;
  std::map<int, SettingSums> by_sms;
};

class Search {
 public:
  Search(const LayoutProblem& problem, const DeviceModel& device)
      : problem_(problem),
        device_(device),
        space_(problem.space),
        states_(problem.space.states()),
        work_(problem.crew) {
    for (const std::string& name : space_.schedule) schedule_family(name);
    for (std::size_t state = 0; state < states_.size(); ++state)
      stages_[std::max(1, states_[state].zero)].push_back(state);
    const auto orders = std::make_shared<OrderCache>();
    for (std::size_t thread = 0; thread < work_.threads(); ++thread) {
      scorers_.push_back(std::make_unique<LayoutScorer>(problem.model, problem.cluster,
                                                        problem.training, device, orders));
    }
  }

  LayoutsFound run(const ProgressCallback& progress) {
    enumerate();
    bound();
    const std::size_t count = candidates_.size();
    std::size_t effort = count;
    if (problem_.effort > 0) effort = std::min(count, static_cast<std::size_t>(problem_.effort));
    const auto done = [&](std::size_t at) {
      return at == count || above(candidates_[at].bound, threshold_);
    };
    std::size_t at = 0;
    while (at < effort && !done(at)) {
      std::vector<Group> groups;
      while (groups.size() < kWave && at < effort) {
        groups.push_back(group_from(at, effort));
        at = groups.back().end;
      }
      wave(groups);
      if (progress) progress(static_cast<std::int64_t>(at), static_cast<std::int64_t>(count));
    }
    const bool truncated = !done(at);
    for (; at < count; ++at) {
      choices_of(candidates_[at].setting);
      prune(candidates_[at], findings_);
    }
    if (progress) progress(static_cast<std::int64_t>(count), static_cast<std::int64_t>(count));
    return answer(truncated);
  }

 private:
  void enumerate() {
    for (std::int64_t number = 0; number < space_.settings(); ++number) {
      Candidate candidate{setting_at(space_, number), number, 0, {}};
      const auto why = rule_out(problem_.model, problem_.cluster, problem_.training,
                                device_.device().fp8, candidate.setting);
      if (why) {
        findings_.reject(*why, space_.points_a_setting(), candidate.setting.layout, "");
      } else {
        candidates_.push_back(std::move(candidate));
      }
    }
  }

  // Computing more again only adds kernels, so that what the setting without does bounds them all;
  // a setting's own sums are made when its turn comes.
  void bound() {
    std::map<SettingKey, std::size_t> keys;
    std::vector<Layout> layouts;
    for (Candidate& candidate : candidates_) {
      Layout layout = candidate.setting.layout;
      if (space_.recompute.size() > 1) layout.recompute = Recompute::kNone;
      const auto [key, is_new] =
          keys.try_emplace(setting_key(problem_.cluster, layout), layouts.size());
      if (is_new) layouts.push_back(layout);
      candidate.kernels = key->second;
    }
    std::vector<SettingSums> sums(layouts.size());
    static_assert(std::is_trivially_copyable_v<SettingSums>);
    work_.in_parallel(layouts.size(), [&](std::size_t which, std::size_t thread) {
      sums[which] = scorers_[thread]->sums(layouts[which], all_sms());
    });
    const auto bytes = [&](std::size_t which) { return reinterpret_cast<char*>(&sums[which]); };
    work_.share(
        layouts.size(), [&](std::size_t which) { return std::string(bytes(which), kSumBytes); },
        [&](std::size_t which, const std::string& from) {
          std::memcpy(bytes(which), from.data(), kSumBytes);
        });
    for (Candidate& candidate : candidates_)
      candidate.bound = scorers_.front()->bound(candidate.setting, sums[candidate.kernels]);
    const auto place = [](const Candidate& candidate) {
      return std::tuple(candidate.bound, candidate.kernels, candidate.setting.layout.recompute,
                        candidate.number);
    };
    std::sort(candidates_.begin(), candidates_.end(),
              [&](const Candidate& a, const Candidate& b) { return place(a) < place(b); });
  }

  CommSms all_sms() const {
    const auto [least, most] = std::minmax_element(space_.comm_sms.begin(), space_.comm_sms.end());
    return {*least, *most};
  }

  Group group_from(std::size_t begin, std::size_t most) const {
    const Candidate& first = candidates_[begin];
    std::size_t end = begin + 1;
    while (end < most && candidates_[end].kernels == first.kernels &&
           candidates_[end].setting.layout.recompute == first.setting.layout.recompute)
      ++end;
    return {begin, end};
  }

  void wave(const std::vector<Group>& groups) {
    for (std::size_t at = groups.front().begin; at < groups.back().end; ++at)
      choices_of(candidates_[at].setting);
    std::vector<Findings> found(groups.size());
    work_.in_parallel(groups.size(), [&](std::size_t which, std::size_t thread) {
      look_at(groups[which], *scorers_[thread], found[which]);
    });
    work_.share(
        found.size(), [&](std::size_t at) { return pack(found[at]); },
        [&](std::size_t at, const std::string& from) { found[at] = unpack_findings(from); });
    for (Findings& own : found) findings_.merge(std::move(own));
    if (problem_.front) {
      if (const BestOfRow* const shortest = findings_.front_from(0))
        threshold_ = problem_.front->slowest * shortest->found.score.value();
      return;
    }
    if (findings_.rows.size() < static_cast<std::size_t>(problem_.rows)) return;
    std::vector<double> scores;
    for (const auto& [key, best] : findings_.rows) scores.push_back(best.found.score.value());
    const auto last = scores.begin() + (problem_.rows - 1);
    std::nth_element(scores.begin(), last, scores.end());
    threshold_ = *last;
  }

  void look_at(const Group& group, LayoutScorer& scorer, Findings& found) const {
    GroupSums sums{scorer.sums(candidates_[group.begin].setting.layout, all_sms()), {}};
    for (std::size_t at = group.begin; at < group.end; ++at) {
      const Candidate& candidate = candidates_[at];
      if (above(scorer.bound(candidate.setting, sums.any), threshold_)) {
        prune(candidate, found);
      } else {
        look_at(candidate, scorer, sums, found);
      }
    }
  }

  void prune(const Candidate& candidate, Findings& found) const {
    const Choices& choices =
        choices_.at({candidate.setting.layout.pp, candidate.setting.microbatches});
    reject_schedules(candidate, choices, found);
    for (const Choice& choice : choices.there) found.pruned += points(choice);
  }

  void look_at(const Candidate& candidate, LayoutScorer& scorer, GroupSums& group_sums,
               Findings& found) const {
    const Setting& setting = candidate.setting;
    const Choices& choices = choices_.at({setting.layout.pp, setting.microbatches});
    reject_schedules(candidate, choices, found);
    for (const Choice& choice : choices.there) {
      const RowKey key = row_key(setting.layout, choice.schedule.family, choice.schedule.vpp);
      const SettingSums& sums = group_sums.any;
      const CellForms& forms = schedule_family(choice.schedule.family).forms;
      if (above(scorer.bound(setting, sums, forms), limit(key, found))) {
        found.pruned += points(choice);
        continue;
      }
      LayoutScorer::Shape shape(scorer, setting, sums, choice.schedule);
      std::map<int, std::vector<std::size_t>> fitting;  // of the states, by ZeRO stage
      bool longer = false;  // what a ZeRO stage is too long for, higher ones are
      for (const auto& [zero, states] : stages_) {
        if (choice.mirrored && zero >= 2) continue;
        longer = longer || above(shape.bound(sums, zero), limit(key, found));
        if (longer) {
          found.pruned += points(states);
          continue;
        }
        for (const std::size_t state : states) {
          const LayoutScorer::Shape::Memory& memory = shape.memory(states_[state]);
          if (memory.table.fits()) {
            if (above(shape.bound(sums, zero), limit(memory.table, found))) {
              found.pruned += static_cast<std::int64_t>(space_.comm_sms.size());
            } else {
              fitting[zero].push_back(state);
            }
          } else {
            Layout layout = shape.layout();
            apply(states_[state], layout);
            found.reject_memory(static_cast<std::int64_t>(space_.comm_sms.size()), layout,
                                choice.schedule.family, memory.table, memory.rank);
          }
        }
      }
      if (fitting.empty()) continue;
      for (std::size_t which = 0; which < space_.comm_sms.size(); ++which) {
        const int comm_sms = space_.comm_sms[which];
        const auto [own, is_new] = group_sums.by_sms.try_emplace(comm_sms);
        if (is_new) own->second = scorer.sums(setting.layout, {comm_sms, comm_sms});
        longer = false;
        for (const auto& [zero, states] : fitting) {
          longer = longer || above(shape.bound(own->second, zero), limit(key, found));
          if (longer) {
            found.pruned += static_cast<std::int64_t>(states.size());
            continue;
          }
          for (const std::size_t state : states) {
            if (above(shape.bound(own->second, zero),
                      limit(shape.memory(states_[state]).table, found))) {
              ++found.pruned;
            } else {
              score(candidate, choice, shape, which, state, key, found);
            }
          }
        }
      }
    }
  }

  void score(const Candidate& candidate, const Choice& choice, LayoutScorer::Shape& shape,
             std::size_t which_sms, std::size_t state, const RowKey& key, Findings& found) const {
    ++found.scored;
    const int comm_sms = space_.comm_sms[which_sms];
    const Seconds score = shape.score(comm_sms, states_[state]);
    const LayoutScorer::Shape::Memory& memory = shape.memory(states_[state]);
    Layout layout = shape.layout();
    layout.comm_sms = comm_sms;
    apply(states_[state], layout);
    const std::int64_t place = (candidate.number * space_.schedules() + choice.number) * points() +
                               static_cast<std::int64_t>(which_sms * states_.size() + state);
    BestOfRow point{{std::move(layout), choice.schedule.family, score, memory.table, memory.rank},
                    place};
    if (problem_.front) {
      found.take_front(headroom_class(memory.table), std::move(point));
    } else {
      found.take(key, std::move(point));
    }
  }

  void reject_schedules(const Candidate& candidate, const Choices& choices, Findings& found) const {
    for (const auto& [why, choice] : choices.not_there) {
      Layout layout = candidate.setting.layout;
      layout.vpp = choice.vpp;
      found.reject(why, points(), layout, choice.family);
    }
    for (const Choice& choice : choices.there) {
      if (!choice.mirrored) continue;
      for (const auto& [zero, states] : stages_) {
        if (zero < 2) continue;
        Layout layout = candidate.setting.layout;
        layout.vpp = choice.schedule.vpp;
        layout.zero_stage = zero;
        found.reject(rejections::kStagesOnTwoRanks, points(states), layout, choice.schedule.family);
      }
    }
  }

  const Choices& choices_of(const Setting& setting) {
    const auto [entry, is_new] = choices_.try_emplace({setting.layout.pp, setting.microbatches});
    if (is_new) entry->second = schedule_choices(space_, problem_.model, setting);
    return entry->second;
  }

  static constexpr std::size_t kSumBytes = sizeof(SettingSums);

  // Points that share all but SMs and optimizer states.
  std::int64_t points() const {
    return static_cast<std::int64_t>(space_.comm_sms.size() * states_.size());
  }
  // Of a schedule, those that are not rejected with its placement; of some states.
  std::int64_t points(const Choice& choice) const {
    std::int64_t points = 0;
    for (const auto& [zero, states] : stages_) {
      if (zero < 2 || !choice.mirrored) points += this->points(states);
    }
    return points;
  }
  std::int64_t points(const std::vector<std::size_t>& states) const {
    return static_cast<std::int64_t>(space_.comm_sms.size() * states.size());
  }
  bool above(Seconds bound, double limit) const {
    return problem_.prune && bound.value() * kRounding > limit;
  }
  // No point of the row with a longer step than this matters.
  double limit(const RowKey& key, const Findings& own) const {
    double limit = threshold_;
    for (const Findings* findings : {&findings_, &own}) {
      const auto row = findings->rows.find(key);
      if (row != findings->rows.end()) limit = std::min(limit, row->second.found.score.value());
    }
    return limit;
  }

  // Of a front: no point with this memory and a longer step matters.
  double limit(const MemoryTable& memory, const Findings& own) const {
    double limit = kInfinity;
    if (!problem_.front) return limit;
    for (const Findings* findings : {&findings_, &own}) {
      if (const BestOfRow* const shortest = findings->front_from(headroom_class(memory)))
        limit = std::min(limit, shortest->found.score.value());
    }
    return limit;
  }
  int headroom_class(const MemoryTable& memory) const {
    return static_cast<int>(memory.free() / problem_.front->headroom);
  }

  LayoutsFound answer(bool truncated) {
    LayoutsFound found;
    found.rejected = std::move(findings_.rejected);
    found.examples = std::move(findings_.examples);
    found.pruned = findings_.pruned;
    found.scored = findings_.scored;
    found.truncated = truncated;
    std::vector<BestOfRow> rows;
    for (auto& [key, best] : findings_.rows) rows.push_back(std::move(best));
    for (auto& [headroom_class, best] : findings_.front) {
      if (best.found.score.value() <= threshold_) rows.push_back(std::move(best));
    }
    std::sort(rows.begin(), rows.end());
    for (BestOfRow& best : rows) found.rows.push_back(std::move(best.found));
    return found;
  }

  const LayoutProblem& problem_;
  const DeviceModel& device_;
  const LayoutSpace& space_;
  std::vector<StateChoice> states_;
  SharedWork work_;
  std::map<int, std::vector<std::size_t>> stages_;      // states by ZeRO stage; 1: those below 2
  std::vector<std::unique_ptr<LayoutScorer>> scorers_;  // one a thread
  std::vector<Candidate> candidates_;
  std::map<std::pair<int, int>, Choices> choices_;  // by pp and micro-batches
  double threshold_ = kInfinity;                    // the score of the last row wanted
  Findings findings_;
};

}  // namespace

LayoutsFound find_layouts(const LayoutProblem& problem, const DeviceModel& device,
                          const ProgressCallback& progress) {
  return Search(problem, device).run(progress);
}

}  // namespace orrery
