#include "planner/schedules/lower_bound.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <random>

#include "planner/schedules/families.hpp"
#include "planner/schedules/list_schedule.hpp"
#include "planner/schedules/policy_search.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/timing.hpp"
#include "tests/planner/published_table.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

// The placement of a row of the reference table, without cells.
Schedule placement_of(const PublishedRow& row) {
  const std::string& name = row.text("schedule");
  ScheduleRequest request;
  request.pp = row.count("p");
  request.microbatches = row.count("m");
  if (name.starts_with("DualPipeV") || name.starts_with("V-") || name == "ZBV" || name == "1F1B-V")
    return v_schedule(name, request);
  if (name.starts_with("DualPipe") || name == "Chimera")
    return bidirectional_schedule(name, request);
  return wave_schedule(name, request, row.count("chunks_per_device"));
}

bool has_pairs(const std::string& name) {
  return name.starts_with("DualPipe") || name.starts_with("interleaved_overlap");
}

TEST_CASE("the lower bound is above no simulated schedule and below no bound of the table") {
  std::map<std::string, int> tight;
  int rows = 0;
  double most_above = 0;
  for (const PublishedRow& row : published_table("schedule-reference.csv")) {
    const std::string& name = row.text("schedule");
    const Schedule placement = placement_of(row);
    const Seconds F{row.number("F")}, I{row.number("B")}, W{row.number("W")};
    StageTimes share = without_overlap(F, I, W);
    if (has_pairs(name)) {
      share.FB = Seconds{row.number("FB_overlap")};
      share.FI = share.F + share.I;
    }
    const CellTimes times = times_of_share(placement, share, Seconds{row.number("comm")});
    const CompactProblem problem = compact_problem(
        placement, times,
        std::vector<int>(placement.ranks.size(), static_cast<int>(row.number("peak_activations"))));
    const LowerBound bound = lower_bound(problem);
    const double makespan = row.number("makespan");
    const double published = row.number("lb_makespan");
    if (bound.makespan > makespan + 1e-9 || bound.makespan < published - 1e-6) {
      CAPTURE(name, row.text("p"), row.text("m"), row.text("F"), row.text("B"), row.text("W"),
              row.text("FB_overlap"), row.text("comm"), row.text("peak_activations"));
      CHECK(bound.makespan <= makespan + 1e-9);
      CHECK(bound.makespan >= published - 1e-6);
    }
    most_above = std::max(most_above, bound.makespan / published - 1);
    if (bound.makespan > makespan - 1e-9) ++tight[name];
    ++rows;
  }
  CHECK(rows == 2191);
  CHECK(tight["ZB-H1"] > 60);
  CHECK(tight["ZBV"] >= 42);
  CHECK(most_above > 0);
}

// Each backward goes with one forward: what two forwards would both save with the same one counts
// once.
TEST_CASE("the lower bound gives every backward of two chunks to one forward") {
  const Schedule schedule = make_schedule("dualpipe", 2, 20);
  CellTimes times =
      uniform_times(schedule, without_overlap(Seconds{1}, Seconds{1}, Seconds{1}), Seconds{0});
  const std::vector<int> limits(2, 40);
  constexpr double kMicrobatches = 10;  // of a chunk
  const auto bound_of = [&](double f0b0, double f0b1, double f1b0, double f1b1) {
    const std::vector<std::vector<Seconds>> pairs{{Seconds{f0b0}, Seconds{f0b1}},
                                                  {Seconds{f1b0}, Seconds{f1b1}}};
    times.rank_pairs = {pairs, pairs};
    return lower_bound_of_rank(compact_problem(schedule, times, limits), 0).makespan;
  };
  CHECK(bound_of(3, 3, 3, 3) == Approx(6 * kMicrobatches));
  // Forward 1 takes what forward 0 would save; or the other way round.
  CHECK(bound_of(2, 3, 2, 3) == Approx(5 * kMicrobatches));
  CHECK(bound_of(3, 2, 3, 2) == Approx(5 * kMicrobatches));
  // Both with backward 0: 0.8 and 0.9; the best of all assignments is 0.1 + 0.9. Until the first
  // gradient (at 2) forward 0 is taken twice, alone, which loses its price of 0.1.
  CHECK(bound_of(2.2, 2.9, 2.1, 3) == Approx(5 * kMicrobatches + 2 * 0.1));
}

// Against random policies on uneven stages with latencies, offsets and limits of every rank's own.
TEST_CASE("no list schedule of uneven stages beats the lower bound") {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> time(0.2, 2), share(0, 1);
  int schedules = 0;
  for (int instance = 0; instance < 240; ++instance) {
    ScheduleRequest request;
    request.pp = 2 * std::uniform_int_distribution(1, 3)(random);
    request.microbatches = 2 * std::uniform_int_distribution(request.pp, 3 * request.pp)(random);
    const int kind = instance % 3;
    const Schedule placement = kind == 0   ? one_chunk_schedule("one", request)
                               : kind == 1 ? v_schedule("v", request)
                                           : bidirectional_schedule("both", request);
    CellTimes times = uniform_times(placement, {}, Seconds{0.3 * share(random)});
    times.pairs.resize(times.stages.size());
    for (std::size_t direction = 0; direction < times.stages.size(); ++direction) {
      for (StageTimes& stage : times.stages[direction]) {
        const double F = time(random), I = time(random), W = time(random);
        const double FB = (F + I + W) * (instance % 2 == 0 ? 1 : 0.7 + 0.3 * share(random));
        stage = {Seconds{F}, Seconds{I}, Seconds{W}, Seconds{FB}, Seconds{F + I}};
        times.pairs[direction].push_back({Seconds{0.2 * FB * share(random)},
                                          Seconds{FB * (0.6 + 0.4 * share(random))},
                                          Seconds{FB * (0.6 + 0.4 * share(random))}});
      }
    }
    // Half of them with pairs that depend on both halves.
    if (kind != 0 && instance % 4 < 2) {
      for (const auto& chunks : placement.chunks) {
        auto& rows = times.rank_pairs.emplace_back();
        for (const ChunkPlace& forward : chunks) {
          auto& row = rows.emplace_back();
          for (const ChunkPlace& backward : chunks) {
            const StageTimes& second = times.at(backward);
            row.push_back((times.at(forward).F + second.I + second.W) *
                          (0.6 + 0.4 * share(random)));
          }
        }
      }
    }
    std::vector<int> limits;
    for (int rank = 0; rank < request.pp; ++rank)
      limits.push_back(std::uniform_int_distribution(2, 2 * request.pp + 2)(random));
    const CompactProblem problem = compact_problem(placement, times, limits);
    const LowerBound bound = lower_bound(problem);
    PolicySearch search(problem, static_cast<std::uint64_t>(instance));
    search.advance(200);
    if (search.best().empty()) continue;
    ++schedules;
    CAPTURE(instance, request.pp, request.microbatches, std::string(to_string(bound.binding)));
    CHECK(search.makespan() >= bound.makespan - 1e-9);
  }
  CHECK(schedules > 160);
}

TEST_CASE("ZB-H1 is optimal for one chunk and 1F1B's memory, and the bound says why") {
  for (const double hop : {0.0, 0.1}) {
    const Schedule schedule = make_schedule("zb-h1", 8, 32);
    const CellTimes times = times_of_share(
        schedule, without_overlap(Seconds{1}, Seconds{1.2}, Seconds{0.6}), Seconds{hop});
    const LowerBound bound = lower_bound(compact_problem(schedule, times, std::vector<int>(8, 8)));
    CHECK(bound.makespan == Approx(time_schedule(schedule, times).makespan.value()));
    CHECK(bound.binding == Binding::kWarmUpMemory);
    CHECK(bound.rank == 0);
  }
}

}  // namespace
}  // namespace orrery
