#include "planner/schedules/search.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <future>
#include <memory>
#include <numeric>
#include <thread>

#include "core/error.hpp"
#include "planner/schedules/chance.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/exact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/order_search.hpp"
#include "planner/schedules/policy_search.hpp"
#include "planner/schedules/serial_order.hpp"
#include "planner/schedules/slide_pairs.hpp"
#include "planner/schedules/timing.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

constexpr int kChains = 2;
constexpr int kRounds = 6;
constexpr double kForPolicies = 0.3;  // of the effort
// A list schedule takes as long as so many orders.
constexpr long kPolicyCost = 10;
// Of each chain in the first round; twice as many in each that follows.
constexpr long kFirstPolicies = 100;
// Temperatures in mean cells, by chain, and how often they are halved: both end near 0.0005.
constexpr double kHottest[kChains] = {0.03, 0.2};
constexpr double kHalvings[kChains] = {6, 8.5};
constexpr int kMostSlides = 2;
constexpr double kForSlides = 0.2;                            // of the effort
constexpr std::size_t kKept = 16;                             // of the shortest
constexpr const char* kSerial = "one micro-batch at a time";  // where no family fits

struct Start {
  CompactOrder order;
  double makespan = 0;
  std::string name;
  bool given = false;  // as it was asked for: valid already
};

bool keeps_limits(const CompactProblem& problem, const CompactOrder& order) {
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    if (!keeps_limit(problem, rank, order[rank])) return false;
  }
  return true;
}

// Runs the tasks on as many threads as there are cores.
void run_all(std::vector<std::function<void()>>& tasks) {
  const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::future<void>> running;
  for (std::size_t first = 0; first < tasks.size(); first += cores) {
    running.clear();
    for (std::size_t task = first; task < std::min(tasks.size(), first + cores); ++task)
      running.push_back(std::async(std::launch::async, tasks[task]));
    for (std::future<void>& task : running) task.get();
  }
}

class Search {
 public:
  Search(const ScheduleSearchRequest& request, const SearchProgress& progress)
      : request_(request),
        progress_(progress),
        placement_(request.starts.front()),
        problem_(compact_problem(placement_, request.times, request.limits)),
        effort_(request.effort > 0 ? request.effort : default_effort(placement_)) {
    if (request.bytes) count_bytes(problem_, placement_, *request.bytes);
    bound_ = lower_bound(problem_);
  }

  ScheduleSearchResult run() {
    ScheduleSearchResult result;
    result.bound = bound_;
    take_families();
    for (const Start& start : starts_) {
      if (start.name == kSerial) continue;
      if (result.best_start == 0 || start.makespan < result.best_start)
        result.best_start = start.makespan;
    }
    if (!is_proven()) search_policies();
    // What few nodes prove needs no annealing; what they do not, fewer do with a better start.
    if (!starts_.empty() && !is_proven() && is_small()) exhaust(kFewNodes);
    if (!starts_.empty() && !is_proven()) anneal();
    if (!starts_.empty() && !is_proven() && is_small()) exhaust(kManyNodes);
    result.bound = bound_;
    result.evaluations = spent_;
    result.nodes = nodes_;
    if (starts_.empty()) return result;
    const Start& best = starts_.front();
    result.schedule = expand_order(placement_, best.order);
    result.schedule.family = "searched";
    for (std::size_t other = 1; other < starts_.size(); ++other) {
      result.others.push_back(expand_order(placement_, starts_[other].order));
      result.others.back().family = "searched";
    }
    result.makespan = best.given ? best.makespan : confirmed(result.schedule, best.makespan);
    result.gap = gap_between(result.makespan, bound_.makespan);
    result.start = best.name;
    return result;
  }

 private:
  // Nothing shorter is worth looking for.
  double enough() const { return bound_.makespan * (1 + 1e-9); }
  bool is_proven() const { return !starts_.empty() && starts_.front().makespan <= enough(); }
  // Few cells, no pairs that could gain anything, activations only counted.
  bool is_small() const {
    if (!problem_.bytes.empty()) return false;
    constexpr int kCells = 300;
    int cells = 0;
    for (const Slot& slot : problem_.slots) cells += 3 * slot.microbatches;
    if (request_.times.has_offsets()) return false;
    for (std::size_t rank = 0; rank < problem_.of_rank.size(); ++rank) {
      const std::size_t chunks = problem_.of_rank[rank].size();
      for (std::size_t pair = 0; pair < chunks * chunks; ++pair) {
        if (problem_.pair_helps(rank, pair / chunks, pair % chunks) ||
            problem_.input_pair_helps(rank, pair / chunks, pair % chunks))
          return false;
      }
    }
    return cells <= kCells;
  }

  static constexpr long kFewNodes = 20'000, kManyNodes = 200'000;
  void exhaust(long nodes) {
    const ExactResult exact = shortest_schedule(problem_, starts_.front().makespan, nodes);
    nodes_ += exact.nodes;
    if (exact.order) starts_.insert(starts_.begin(), {*exact.order, exact.makespan, "exhaustive"});
    if (exact.proven) bound_ = {starts_.front().makespan, Binding::kExhausted, bound_.rank};
  }

  void report() const {
    if (progress_) progress_(spent_, effort_, starts_.empty() ? 0 : starts_.front().makespan);
  }
  // Best first, of equals the earlier.
  void rank_starts() {
    std::stable_sort(starts_.begin(), starts_.end(), [](const Start& a, const Start& b) {
      return a.makespan < b.makespan * (1 - 1e-12);
    });
  }

  void take_families() {
    CompactTimer timer(problem_);
    for (const Schedule& schedule : request_.starts) {
      auto order = compact_order(schedule);
      const bool has_cells = std::any_of(schedule.ranks.begin(), schedule.ranks.end(),
                                         [](const auto& cells) { return !cells.empty(); });
      if (!order || !has_cells || !keeps_limits(problem_, *order)) continue;
      const double makespan = timer.makespan(*order);
      starts_.push_back({std::move(*order), makespan, schedule.family, true});
      ++spent_;
    }
    if (!starts_.empty()) return rank_starts();
    CompactOrder serial = serial_order(problem_);
    if (!keeps_limits(problem_, serial)) return;
    const double makespan = timer.makespan(serial);
    starts_.push_back({std::move(serial), makespan, kSerial});
    ++spent_;
  }

  // By code that the search does not use: what is found is valid and takes the time it says.
  double confirmed(const Schedule& schedule, double makespan) const {
    const std::vector<ScheduleFault> faults = check_schedule(schedule);
    ORRERY_CHECK(faults.empty(), "a schedule was found that is none: {}", faults.front().reason);
    const double timed = time_schedule(schedule, request_.times).makespan.value();
    ORRERY_CHECK(std::abs(timed - makespan) <= 1e-9 * makespan,
                 "a schedule was found that takes {}, not {}", timed, makespan);
    return timed;
  }

  void search_policies() {
    const long each = std::max(
        1L, static_cast<long>(kForPolicies * static_cast<double>(effort_)) / kChains / kPolicyCost);
    std::vector<std::unique_ptr<PolicySearch>> searches;
    for (int chain = 0; chain < kChains; ++chain) {
      searches.push_back(std::make_unique<PolicySearch>(
          problem_, request_.seed * 1000 + static_cast<std::uint64_t>(chain)));
    }
    long round = std::min(kFirstPolicies, each);
    for (long made = 0; made < each && !is_proven(); round = std::min(2 * round, each - made)) {
      std::vector<std::function<void()>> tasks;
      std::array<long, kChains> spent{};
      for (std::size_t chain = 0; chain < kChains; ++chain) {
        tasks.emplace_back(
            [&, chain] { spent[chain] = searches[chain]->advance(round, enough()); });
      }
      run_all(tasks);
      for (const long schedules : spent) spent_ += kPolicyCost * schedules;
      made += round;
      std::erase_if(starts_, [](const Start& start) { return start.name == "list"; });
      for (const auto& search : searches) {
        if (!search->best().empty())
          starts_.push_back({search->best(), search->makespan(), "list"});
      }
      rank_starts();
      report();
      if (made >= each / kRounds && is_hopeless()) return;
    }
  }

  // Where pairs matter or ranks are many, list schedules stay far behind: the effort is worth more
  // in the annealing.
  bool is_hopeless() const {
    constexpr double kFarBehind = 1.02;
    double list = CompactTimer::kDeadlock;
    for (const Start& start : starts_) {
      if (start.name == "list") list = std::min(list, start.makespan);
    }
    return !starts_.empty() && list > kFarBehind * starts_.front().makespan;
  }

  // The best start with pairs, and its pairs slid by one and by two: what they are worth shows only
  // when they have been annealed a little.
  void try_slides() {
    const auto with_pairs = std::find_if(starts_.begin(), starts_.end(), [](const Start& start) {
      return slide_pairs(start.order).has_value();
    });
    if (with_pairs == starts_.end()) return;
    std::vector<Start> tries{*with_pairs};
    CompactTimer timer(problem_);
    for (int by = 1; by <= kMostSlides; ++by) {
      std::optional<CompactOrder> order = slide_pairs(tries.back().order);
      if (!order) break;
      Start slid{std::move(*order), 0, with_pairs->name + ", pairs slid"};
      slid.makespan = timer.makespan(slid.order);
      ++spent_;
      if (slid.makespan == CompactTimer::kDeadlock || !keeps_limits(problem_, slid.order)) break;
      tries.push_back(std::move(slid));
    }
    if (tries.size() == 1) return;
    const double left = std::max(0.0, static_cast<double>(effort_ - spent_));
    const long each = static_cast<long>(kForSlides * left / static_cast<double>(tries.size())) + 1;
    std::vector<std::unique_ptr<OrderSearch>> searches;
    std::vector<std::function<void()>> tasks;
    std::vector<long> spent(tries.size());
    for (std::size_t number = 0; number < tries.size(); ++number) {
      searches.push_back(std::make_unique<OrderSearch>(problem_, tries[number].order,
                                                       request_.seed * 1000 + 700 + number));
      tasks.emplace_back([this, &timed = spent[number], search = searches.back().get(), each] {
        timed = search->advance(each, kHottest[0], kHalvings[0], enough());
      });
    }
    run_all(tasks);
    spent_ += std::accumulate(spent.begin(), spent.end(), 0L);
    for (std::size_t number = 0; number < tries.size(); ++number) {
      starts_.push_back(
          {searches[number]->best(), searches[number]->makespan(), tries[number].name});
    }
    rank_starts();
    report();
  }

  // One chain cools slowly from the best starting point so far, the other from much hotter and from
  // the best family: what is shortest now need not become so. At the end both go on from the best.
  void anneal() {
    try_slides();
    std::vector<Start> from(kChains, starts_.front());
    for (const Start& start : starts_) {
      if (start.name == "list") continue;
      from.back() = start;
      break;
    }
    std::vector<std::unique_ptr<OrderSearch>> chains;
    for (int chain = 0; chain < kChains; ++chain) {
      chains.push_back(
          std::make_unique<OrderSearch>(problem_, from[static_cast<std::size_t>(chain)].order,
                                        request_.seed * 1000 + static_cast<std::uint64_t>(chain)));
    }
    const long each = std::max(1L, effort_ - spent_) / kRounds / kChains + 1;
    for (int round = 0; round < kRounds && !is_proven(); ++round) {
      if (round == kRounds - 1) {
        for (int chain = 0; chain < kChains; ++chain) {
          from[static_cast<std::size_t>(chain)] = starts_.front();
          chains[static_cast<std::size_t>(chain)] = std::make_unique<OrderSearch>(
              problem_, starts_.front().order,
              request_.seed * 1000 + 500 + static_cast<std::uint64_t>(chain));
        }
      }
      std::vector<std::function<void()>> tasks;
      std::array<long, kChains> spent{};
      for (int chain = 0; chain < kChains; ++chain) {
        const double halvings = kHalvings[chain] / kRounds;
        const double hot = kHottest[chain] * power_of_two(-halvings * round);
        tasks.emplace_back([this, &timed = spent[static_cast<std::size_t>(chain)],
                            search = chains[static_cast<std::size_t>(chain)].get(), each, hot,
                            halvings] { timed = search->advance(each, hot, halvings, enough()); });
      }
      run_all(tasks);
      spent_ += std::accumulate(spent.begin(), spent.end(), 0L);
      for (int chain = 0; chain < kChains; ++chain) {
        const OrderSearch& search = *chains[static_cast<std::size_t>(chain)];
        starts_.push_back(
            {search.best(), search.makespan(), from[static_cast<std::size_t>(chain)].name});
      }
      rank_starts();
      if (starts_.size() > kKept) starts_.erase(starts_.begin() + kKept, starts_.end());
      report();
    }
  }

  const ScheduleSearchRequest& request_;
  const SearchProgress& progress_;
  const Schedule& placement_;
  CompactProblem problem_;
  LowerBound bound_;
  long effort_;
  long spent_ = 0, nodes_ = 0;
  std::vector<Start> starts_;  // best first
};

}  // namespace

std::vector<Schedule> search_starts(std::string_view kind, const ScheduleRequest& request,
                                    const CellTimes& times, const std::vector<int>& limits) {
  Schedule own = make_schedule(kind, request);
  const CompactProblem problem = compact_problem(own, times, limits);
  const CompactOrder order = *compact_order(own);
  const double makespan = CompactTimer(problem).makespan(order);
  if (keeps_limits(problem, order) && makespan <= lower_bound(problem).makespan * (1 + 1e-9)) {
    std::vector<Schedule> alone;
    alone.push_back(std::move(own));
    return alone;
  }
  return schedules_on_placement_of(kind, request);
}

long default_effort(const Schedule& placement) {
  constexpr double kTokens = 6e9;  // timed in half a minute on two cores, list schedules among them
  double tokens = 0;
  for (const auto& chunks : placement.chunks) {
    for (const ChunkPlace& place : chunks) {
      const Schedule::Range range = placement.microbatches_of(place.direction);
      tokens += 3.0 * (range.last - range.first);
    }
  }
  return static_cast<long>(kTokens / std::max(1.0, tokens)) + 1;
}

ScheduleSearchResult search_schedule(const ScheduleSearchRequest& request,
                                     const SearchProgress& progress) {
  return Search(request, progress).run();
}

}  // namespace orrery
