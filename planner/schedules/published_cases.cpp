#include "planner/schedules/published_cases.hpp"

#include <algorithm>
#include <array>

#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/timing.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

constexpr std::string_view kBoth = "Both directions, pairs gain nothing";
constexpr std::string_view kPairs = "Both directions, F&B takes 0.85 of its halves";
constexpr std::string_view kV = "Two chunks a rank, as a V";
constexpr std::string_view kOne = "One chunk a rank";
constexpr std::string_view kUneven = "Uneven stages";
// Figures by the independent simulator of tests/data/published/schedule-reference.csv; "search": a
// parametrised list scheduling with local search, checked by the same simulator.
constexpr std::string_view kDualPipe = "DualPipe", kSearch = "search", kZbv = "ZBV",
                           kVHalf = "V-Half", kVMin = "V-Min", kVSearch = "V-search",
                           kZbH1 = "ZB-H1";

constexpr std::array kCases = {
    ScheduleCase{kBoth, "dualpipe", 8, 32, 1, 1, 1, 1, 0, 9, kSearch, 99.0},
    ScheduleCase{kBoth, "dualpipe", 8, 32, 1, 1.2, 0.6, 1, 0, 9, kSearch, 92.6},
    ScheduleCase{kBoth, "dualpipe", 8, 32, 1, 1, 1, 1, 0.1, 9, kSearch, 101.2},
    ScheduleCase{kBoth, "dualpipe", 8, 32, 1, 1.2, 0.6, 1, 0.1, 9, kSearch, 96.7},
    ScheduleCase{kBoth, "dualpipe", 8, 16, 1, 1, 1, 1, 0, 9, kSearch, 51.0},
    ScheduleCase{kBoth, "dualpipe", 8, 16, 1, 1.2, 0.6, 1, 0, 9, kSearch, 48.2},
    ScheduleCase{kBoth, "dualpipe", 8, 20, 1, 1, 1, 1, 0, 9, kSearch, 63.0},
    ScheduleCase{kBoth, "dualpipe", 4, 8, 1, 1, 1, 1, 0, 5, kSearch, 25.0},
    ScheduleCase{kBoth, "dualpipe", 4, 16, 1, 1.2, 0.6, 1, 0, 5, kSearch, 45.8},
    ScheduleCase{kPairs, "dualpipe", 8, 32, 1, 1, 1, 0.85, 0, 9, kDualPipe, 90.3},
    ScheduleCase{kPairs, "dualpipe", 8, 32, 1, 1.2, 0.6, 0.85, 0, 9, kDualPipe, 86.48},
    ScheduleCase{kPairs, "dualpipe", 16, 120, 1, 1, 1, 0.85, 0, 17, kDualPipe, 324.5},
    ScheduleCase{kPairs, "dualpipe", 16, 120, 1, 1.2, 0.6, 0.85, 0, 17, kDualPipe, 308.4},
    ScheduleCase{kPairs, "dualpipe", 8, 32, 1, 1, 1, 0.85, 0.1, 9, kDualPipe, 94.0},
    ScheduleCase{kPairs, "dualpipe", 8, 32, 1, 1.2, 0.6, 0.85, 0.1, 9, kDualPipe, 90.18},
    ScheduleCase{kPairs, "dualpipe", 16, 120, 1, 1, 1, 0.85, 0.1, 17, kDualPipe, 337.8},
    ScheduleCase{kPairs, "dualpipe", 16, 120, 1, 1.2, 0.6, 0.85, 0.1, 17, kDualPipe, 322.4},
    ScheduleCase{kPairs, "dualpipe", 8, 32, 1, 1, 1, 0.85, 0.1, 12, kSearch, 92.05},
    ScheduleCase{kV, "zb-v", 8, 32, 1, 1, 1, 1, 0.1, 8, kZbv, 103.0},
    ScheduleCase{kV, "zb-v", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, kZbv, 97.5},
    ScheduleCase{kV, "zb-v", 8, 32, 1, 1, 1, 1, 1, 8, kZbv, 137.5},
    ScheduleCase{kV, "zb-v", 8, 32, 1, 1, 1, 1, 0.1, 8.5, kSearch, 102.9},
    ScheduleCase{kV, "v-half", 8, 32, 1, 1, 1, 1, 0, 5, kVHalf, 104.5},
    ScheduleCase{kV, "v-half", 8, 32, 1, 1, 1, 1, 0.1, 5, kVHalf, 109.3},
    ScheduleCase{kV, "v-half", 8, 32, 1, 1.2, 0.6, 1, 0.1, 5, kVHalf, 108.7},
    ScheduleCase{kV, "v-half", 8, 32, 1, 1, 1, 1, 1, 5, kVHalf, 216.0},
    ScheduleCase{kV, "v-min", 8, 32, 1, 1, 1, 1, 0, 4, kVSearch, 107.5},
    ScheduleCase{kV, "v-min", 8, 32, 1, 1.2, 0.6, 1, 0, 4, kVSearch, 124.3},
    ScheduleCase{kV, "v-min", 8, 32, 1, 1, 1, 1, 0.1, 4, kVMin, 128.3},
    ScheduleCase{kV, "v-min", 8, 32, 1, 1.2, 0.6, 1, 0.1, 4, kVMin, 147.4},
    ScheduleCase{kOne, "zb-h1", 8, 32, 1, 1, 1, 1, 1, 16, "ZB-auto", 121.0},
    ScheduleCase{kOne, "zb-h1", 8, 32, 1, 1, 1, 1, 1, 15, "ZB-H2", 110.0},
    ScheduleCase{kOne, "zb-h1", 8, 32, 1, 1, 1, 1, 0, 8, kZbH1, 103.0},
    ScheduleCase{kOne, "zb-h1", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, kZbH1, 103.6},
    ScheduleCase{kOne, "zb-h1", 16, 120, 1, 1.2, 0.6, 1, 0.1, 16, kZbH1, 366.0},
    ScheduleCase{kUneven, "zb-h1", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, "", 0, "ends"},
    ScheduleCase{kUneven, "zb-h1", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, "", 0, "ramp"},
    ScheduleCase{kUneven, "zb-h1", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, "", 0, "zigzag"},
    ScheduleCase{kUneven, "dualpipe", 8, 32, 1, 1.2, 0.6, 0.85, 0.1, 9, "", 0, "ends"},
    ScheduleCase{kUneven, "dualpipe", 8, 32, 1, 1.2, 0.6, 0.85, 0.1, 9, "", 0, "ramp"},
    ScheduleCase{kUneven, "dualpipe", 8, 32, 1, 1.2, 0.6, 0.85, 0.1, 9, "", 0, "zigzag"},
    ScheduleCase{kUneven, "zb-v", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, "", 0, "ends"},
    ScheduleCase{kUneven, "zb-v", 8, 32, 1, 1.2, 0.6, 1, 0.1, 8, "", 0, "zigzag"},
};

// Time of a stage against the mean.
//   ends    the first stage +30 %, the last +40 %: embedding and head
//   ramp    from 0.8 to 1.2
//   zigzag  1.15 and 0.85 in turn: layers that do not divide
double factor(std::string_view name, int stage, int stages) {
  if (name == "ends") return stage == 0 ? 1.3 : stage == stages - 1 ? 1.4 : 1;
  if (name == "ramp") return 0.8 + 0.4 * stage / (stages - 1);
  if (name == "zigzag") return stage % 2 == 0 ? 1.15 : 0.85;
  return 1;
}

}  // namespace

std::span<const ScheduleCase> schedule_cases() {
  return kCases;
}

CellTimes case_times(const ScheduleCase& of, const Schedule& placement) {
  StageTimes share = without_overlap(Seconds{of.F}, Seconds{of.I}, Seconds{of.W});
  share.FB = share.FB * of.overlap;
  share.FI = std::min(share.FI, share.FB);
  CellTimes times = times_of_share(placement, share, Seconds{of.hop});
  if (of.uneven.empty()) return times;
  const int stages = placement.stages();
  for (auto& direction : times.stages) {
    for (int stage = 0; stage < stages; ++stage) {
      StageTimes& own = direction[static_cast<std::size_t>(stage)];
      const double by = factor(of.uneven, stage, stages);
      own = {own.F * by, own.I * by, own.W * by, own.FB * by, own.FI * by};
    }
  }
  for (const auto& chunks : placement.chunks) {
    auto& pairs = times.rank_pairs.emplace_back();
    for (const ChunkPlace& forward : chunks) {
      auto& row = pairs.emplace_back();
      for (const ChunkPlace& backward : chunks) {
        const Seconds apart = times.at(forward).F + times.at(backward).I + times.at(backward).W;
        row.push_back(apart * of.overlap);
      }
    }
  }
  return times;
}

ScheduleCaseResult run_case(const ScheduleCase& of, long effort, const SearchProgress& progress) {
  ScheduleRequest request{.pp = of.pp, .microbatches = of.microbatches};
  StageTimes share = without_overlap(Seconds{of.F}, Seconds{of.I}, Seconds{of.W});
  share.FB = share.FB * of.overlap;
  request.share = share;
  request.hop = Seconds{of.hop};
  request.memory = of.memory;
  ScheduleSearchRequest wanted;
  const Schedule placement = make_schedule(of.kind, request);
  wanted.times = case_times(of, placement);
  const int limit = chunk_limit(placement, of.memory);
  wanted.limits.assign(static_cast<std::size_t>(of.pp), limit);
  wanted.starts = search_starts(of.kind, request, wanted.times, wanted.limits);
  wanted.effort = effort;
  ScheduleCaseResult result;
  for (const Schedule& schedule : wanted.starts) {
    if (!check_schedule(schedule, limit).empty()) continue;
    result.families.emplace_back(schedule.family,
                                 time_schedule(schedule, wanted.times).makespan.value());
  }
  result.search = search_schedule(wanted, progress);
  return result;
}

}  // namespace orrery
