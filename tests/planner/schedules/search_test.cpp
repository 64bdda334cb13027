#include "planner/schedules/search.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <tuple>

#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/rendezvous.hpp"
#include "planner/schedules/timing.hpp"
#include "tests/planner/published_table.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

StageTimes share(double F, double I, double W, double FB) {
  return {Seconds{F}, Seconds{I}, Seconds{W}, Seconds{FB}, Seconds{FB - W}};
}

struct Case {
  std::string kind;
  int pp, microbatches;
  StageTimes times;
  double hop;
  int limit;  // chunk activations
};

ScheduleSearchResult search(const Case& of, long effort, std::uint64_t seed = 1) {
  ScheduleRequest request{.pp = of.pp, .microbatches = of.microbatches};
  request.share = of.times;
  request.hop = Seconds{of.hop};
  ScheduleSearchRequest wanted;
  wanted.starts = schedules_on_placement_of(of.kind, request);
  wanted.times = times_of_share(wanted.starts.front(), of.times, request.hop);
  wanted.limits.assign(static_cast<std::size_t>(of.pp), of.limit);
  wanted.effort = effort;
  wanted.seed = seed;
  return search_schedule(wanted);
}

// Makespans that other searches and schedules reach on the same stages with the same activations,
// and the bounds; computed by an independent simulator (the reference table's).
TEST_CASE("the search meets or beats what is known for both directions without overlap") {
  struct Known {
    Case of;
    double best;
  };
  const StageTimes equal = share(1, 1, 1, 3), unequal = share(1, 1.2, 0.6, 2.8);
  const Known known[] = {
      {{"dualpipe", 8, 32, equal, 0, 9}, 99.0},    {{"dualpipe", 8, 32, unequal, 0, 9}, 92.6},
      {{"dualpipe", 8, 32, equal, 0.1, 9}, 101.2}, {{"dualpipe", 8, 32, unequal, 0.1, 9}, 96.7},
      {{"dualpipe", 8, 16, equal, 0, 9}, 51.0},    {{"dualpipe", 8, 16, unequal, 0, 9}, 48.2},
      {{"dualpipe", 8, 20, equal, 0, 9}, 63.0},    {{"dualpipe", 4, 8, equal, 0, 5}, 25.0},
  };
  for (const auto& [of, best] : known) {
    const ScheduleSearchResult result = search(of, 400'000);
    CAPTURE(of.pp, of.microbatches, of.hop, best, result.makespan, result.bound.makespan);
    CHECK(result.makespan <= best + 1e-9);
    CHECK(result.makespan >= result.bound.makespan - 1e-9);
  }
}

TEST_CASE("the search is shorter than DualPipe where pairs overlap, with and without latency") {
  struct Open {
    Case of;
    double dualpipe;  // of the reference table
  };
  const StageTimes equal = share(1, 1, 1, 2.55), unequal = share(1, 1.2, 0.6, 2.38);
  const Open open[] = {
      {{"dualpipe", 8, 32, equal, 0, 9}, 90.3},     {{"dualpipe", 8, 32, unequal, 0, 9}, 86.48},
      {{"dualpipe", 8, 32, equal, 0.1, 9}, 94.0},   {{"dualpipe", 8, 32, unequal, 0.1, 9}, 90.18},
      {{"dualpipe", 16, 120, equal, 0, 17}, 324.5},
  };
  for (const auto& [of, dualpipe] : open) {
    const ScheduleSearchResult result = search(of, of.pp == 16 ? 40'000 : 200'000);
    CAPTURE(of.pp, of.microbatches, of.hop, dualpipe, result.makespan, result.bound.makespan);
    CHECK(result.makespan < dualpipe - 1);
    CHECK(check_schedule(result.schedule, of.limit).empty());
  }
}

TEST_CASE("a V with latency gets shorter than ZB-V, and one chunk is proven at once") {
  const ScheduleSearchResult v = search({"zb-v", 8, 32, share(1, 1, 1, 3), 0.1, 16}, 600'000);
  CHECK(v.makespan < 103.0);
  const ScheduleSearchResult unequal =
      search({"zb-v", 8, 32, share(1, 1.2, 0.6, 2.8), 0.1, 16}, 900'000);
  CHECK(unequal.makespan < 97.5);
  for (const double hop : {0.0, 0.1}) {
    for (const int pp : {4, 8, 16}) {
      const ScheduleSearchResult one =
          search({"zb-h1", pp, 2 * pp, share(1, 1.2, 0.6, 2.8), hop, pp}, 1'000'000);
      CHECK(one.proven());
      CHECK(one.evaluations < 10);
    }
  }
  const ScheduleSearchResult latency = search({"zb-h1", 8, 32, share(1, 1, 1, 3), 1, 16}, 100'000);
  CHECK(latency.makespan == Approx(110));
  CHECK(latency.proven());
}

TEST_CASE("equal effort and seed give the same schedule, another seed may not") {
  const Case of{"dualpipe", 4, 12, share(1, 1.3, 0.7, 2.6), 0.2, 6};
  const ScheduleSearchResult first = search(of, 20'000, 5);
  const ScheduleSearchResult again = search(of, 20'000, 5);
  CHECK(first.schedule == again.schedule);
  CHECK(first.makespan == again.makespan);
  CHECK(first.evaluations == again.evaluations);
}

// Sizes, placements, times, offsets, latencies and limits drawn at random.
TEST_CASE("what the search finds is valid, keeps every limit and takes the time it says") {
  std::mt19937_64 random(20261128);
  std::uniform_real_distribution<double> time(0.2, 2), part(0, 1);
  int found = 0, shorter = 0;
  for (int instance = 0; instance < 1000; ++instance) {
    const char* kind = instance % 3 == 0 ? "zb-h1" : instance % 3 == 1 ? "v-min" : "dualpipe";
    ScheduleRequest request{.pp = 2 * std::uniform_int_distribution(1, 3)(random)};
    request.microbatches = 2 * request.pp + 2 * std::uniform_int_distribution(0, 4)(random);
    ScheduleSearchRequest wanted;
    wanted.starts.push_back(make_schedule(kind, request));
    const Schedule& placement = wanted.starts.front();
    wanted.times = uniform_times(placement, {}, Seconds{0.3 * part(random)});
    if (instance % 2 == 0) wanted.times.pairs.resize(wanted.times.stages.size());
    for (std::size_t direction = 0; direction < wanted.times.stages.size(); ++direction) {
      for (StageTimes& stage : wanted.times.stages[direction]) {
        const double F = time(random), I = time(random), W = time(random);
        const double FB = (F + I + W) * (instance % 4 < 2 ? 1 : 0.8 + 0.2 * part(random));
        const double FI =
            instance % 3 == 0 ? std::max({F, I, (F + I) * (0.7 + 0.3 * part(random))}) : F + I;
        stage = {Seconds{F}, Seconds{I}, Seconds{W}, Seconds{FB}, Seconds{FI}};
        if (instance % 2 == 0) {
          wanted.times.pairs[direction].push_back({Seconds{0.2 * F * part(random)},
                                                   Seconds{FB * (0.7 + 0.3 * part(random))},
                                                   Seconds{FB * (0.7 + 0.3 * part(random))}});
        }
      }
    }
    // Full backwards that are shorter than I and W, with outputs before their end.
    if (instance % 5 < 2) {
      for (const auto& stages : wanted.times.stages) {
        auto& backwards = wanted.times.backwards.emplace_back();
        for (const StageTimes& stage : stages) {
          const Seconds B = (stage.I + stage.W) * (0.7 + 0.3 * part(random));
          backwards.push_back({B, B * (0.6 + 0.4 * part(random))});
        }
      }
    }
    const std::vector<int> peaks = peak_activations(placement);
    for (const int peak : peaks)
      wanted.limits.push_back(std::max(2, peak + std::uniform_int_distribution(-1, 3)(random)));
    wanted.effort = 400;
    wanted.seed = static_cast<std::uint64_t>(instance);
    const ScheduleSearchResult result = search_schedule(wanted);
    if (result.schedule.ranks.empty()) continue;
    ++found;
    CAPTURE(instance, kind, request.pp, request.microbatches);
    const std::vector<ScheduleFault> faults = check_schedule(result.schedule);
    REQUIRE(faults.empty());
    const std::vector<int> held = peak_activations(result.schedule);
    for (std::size_t rank = 0; rank < held.size(); ++rank)
      REQUIRE(held[rank] <= wanted.limits[rank]);
    REQUIRE_THAT(time_schedule(result.schedule, wanted.times).makespan.value(),
                 Catch::WithinAbs(result.makespan, 1e-9));
    REQUIRE(result.makespan >= result.bound.makespan - 1e-9);
    shorter += result.best_start > 0 && result.makespan < result.best_start - 1e-9;
  }
  CHECK(found > 900);
  CHECK(shorter > 400);
}

TEST_CASE("a search uses pairs without weight gradients where they save time") {
  ScheduleRequest request{.pp = 2, .microbatches = 4};
  ScheduleSearchRequest wanted;
  wanted.starts = schedules_on_placement_of("zb-h1", request);
  StageTimes share = without_overlap(Seconds{1}, Seconds{1}, Seconds{1});
  share.FI = Seconds{1.1};
  wanted.times = times_of_share(wanted.starts.front(), share, Seconds{});
  wanted.limits = {3, 3};
  wanted.effort = 5000;
  const ScheduleSearchResult result = search_schedule(wanted);
  CHECK(result.makespan <= 11.2 + 1e-9);  // 13 without
  CHECK(result.makespan >= result.bound.makespan);
}

// With room for one activation no family fits; one micro-batch after the other does, and no other
// order can.
TEST_CASE("a search finds the serial order where nothing else fits") {
  for (const auto& [kind, pp, microbatches] :
       {std::tuple{"dualpipe", 2, 4}, {"dualpipe", 8, 32}, {"zb-h1", 4, 3}}) {
    const ScheduleSearchResult result =
        search({kind, pp, microbatches, share(1, 1, 1, 3), 0, 1}, 500);
    CAPTURE(kind, pp, microbatches);
    REQUIRE_FALSE(result.schedule.ranks.empty());
    CHECK(check_schedule(result.schedule, 1).empty());
  }
}

// Of the rows of the public zero-bubble scheduler's orders those that no family of ours is made
// for; the families that are the search's starts in the others are no longer there
// (reference_test.cpp).
TEST_CASE("the search meets or beats V-search and 1F1B-V at their memory in every row") {
  std::map<std::string, std::array<int, 3>> counts;  // beaten, met, missed
  for (const PublishedRow& row : published_table("schedule-reference.csv")) {
    const std::string& name = row.text("schedule");
    const std::string published = name.substr(0, name.find('('));
    if (published != "1F1B-V" && published != "V-search") continue;
    const StageTimes share = without_overlap(Seconds{row.number("F")}, Seconds{row.number("B")},
                                             Seconds{row.number("W")});
    const int limit = row.count("peak_activations");
    const double known = row.number("makespan");
    double best = 0;
    for (const long effort : {2'000L, 50'000L, 1'000'000L}) {
      best =
          search({"zb-v", row.count("p"), row.count("m"), share, row.number("comm"), limit}, effort)
              .makespan;
      if (best > 0 && best <= known + 1e-9) break;
    }
    CAPTURE(name, row.text("p"), row.text("m"), row.text("B"), row.text("comm"), limit);
    CHECK(best > 0);
    CHECK(best <= known + 1e-9);
    ++counts[published][best > known + 1e-9 ? 2 : best < known - 1e-9 ? 0 : 1];
  }
  for (const auto& [name, count] : counts)
    UNSCOPED_INFO(name << ": " << count[0] << " beaten, " << count[1] << " met");
  CHECK(counts["1F1B-V"][0] == 105);
  CHECK(counts["V-search"][0] + counts["V-search"][1] == 16);
}

}  // namespace
}  // namespace orrery
