#include "planner/schedules/timing.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "core/error.hpp"
#include "planner/schedules/dualpipe.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/one_f_one_b.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

StageTimes stage_times(double F, double I, double W, double FB) {
  return {Seconds{F}, Seconds{I}, Seconds{W}, Seconds{FB}, Seconds{FB - W}};
}

double makespan(const Schedule& schedule, const StageTimes& stage) {
  return time_schedule(schedule, uniform_times(schedule, stage)).makespan.value();
}

// Idle of 1F1B beyond its work m(F + I + W): (p-1)(F + I + W), and its window is its makespan.
TEST_CASE("1F1B's bubble is (p-1)(F + B) for any times") {
  std::mt19937_64 random(20240611);
  std::uniform_real_distribution<double> time(0.05, 3);
  for (int instance = 0; instance < 300; ++instance) {
    const int pp = std::uniform_int_distribution(1, 16)(random);
    const int microbatches = std::uniform_int_distribution(pp, 6 * pp)(random);
    const double F = time(random), I = time(random), W = time(random);
    CAPTURE(pp, microbatches, F, I, W);
    const Schedule schedule = one_f_one_b(pp, microbatches);
    const StageTimes stage = without_overlap(Seconds{F}, Seconds{I}, Seconds{W});
    const ScheduleTiming timing = time_schedule(schedule, uniform_times(schedule, stage));
    CHECK_THAT(timing.makespan.value(),
               Catch::WithinAbs((microbatches + pp - 1) * (F + I + W), 1e-9));
    CHECK_THAT(timing.window.value(), Catch::WithinAbs(timing.makespan.value(), 1e-9));
  }
}

// Without overlap, T = F + I + W, and with h = p/2:
// makespan = m(F+I+W) + (h-1)(2F + max(I-W, 0)) + max(0, (h-1)(I-F) - F).
TEST_CASE("DualPipe without overlap takes its exact closed form for any times") {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> time(0.05, 3);
  for (int instance = 0; instance < 300; ++instance) {
    const int h = std::uniform_int_distribution(1, 8)(random);
    const int microbatches = 2 * std::uniform_int_distribution(2 * h, 6 * h)(random);
    const double F = time(random), I = time(random), W = time(random);
    CAPTURE(2 * h, microbatches, F, I, W);
    const double idle =
        (h - 1) * (2 * F + std::max(I - W, 0.0)) + std::max(0.0, (h - 1) * (I - F) - F);
    const StageTimes stage = without_overlap(Seconds{F}, Seconds{I}, Seconds{W});
    CHECK_THAT(makespan(dualpipe(2 * h, microbatches), stage),
               Catch::WithinAbs(microbatches * (F + I + W) + idle, 1e-9));
  }
}

// With max(F, I + W) <= T <= F + I + W and W <= min(F, I):
// makespan = m(F+I+W) - (m-p-1)(F+I+W-T) + (h-1)(T+F-2W) + max(0, (h-1)(I-F) - F).
TEST_CASE("DualPipe with overlap takes its exact closed form") {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> time(0.05, 3);
  std::uniform_real_distribution<double> share(0, 1);
  for (int instance = 0; instance < 300; ++instance) {
    const int h = std::uniform_int_distribution(1, 8)(random);
    const int pp = 2 * h;
    const int microbatches = 2 * std::uniform_int_distribution(2 * h, 6 * h)(random);
    const double F = time(random), I = time(random);
    const double W = share(random) * std::min(F, I);
    const double least = std::max(F, I + W);
    const double T = least + share(random) * (F + I + W - least);
    CAPTURE(pp, microbatches, F, I, W, T);
    const double expected = microbatches * (F + I + W) - (microbatches - pp - 1) * (F + I + W - T) +
                            (h - 1) * (T + F - 2 * W) + std::max(0.0, (h - 1) * (I - F) - F);
    CHECK_THAT(makespan(dualpipe(pp, microbatches), stage_times(F, I, W, T)),
               Catch::WithinAbs(expected, 1e-9));
  }
}

// The example of the public code's figure: 8 ranks, 20 micro-batches, F = I = W = 1, F&B = 3,
// bubble (p/2-1)(F&B + B - 3W) = 3 x 2 = 6.
TEST_CASE("DualPipe's published example idles six units") {
  CHECK(makespan(dualpipe(8, 20), stage_times(1, 1, 1, 3)) == 66);
}

// Two stages, two micro-batches, F = 2, I = 1, W = 1, hop 0.5:
//   rank 1: F0 2.5-4.5, B0 4.5-6.5, F1 6.5-8.5, B1 8.5-10.5
//   rank 0: F0 0-2, F1 2-4, B0 7-9 (its gradient left at 6.5), B1 11-13 (left at 10.5)
TEST_CASE("a message between ranks takes a hop and a rank waits for it") {
  const Schedule schedule = one_f_one_b(2, 2);
  const ScheduleTiming timing =
      time_schedule(schedule, uniform_times(schedule, stage_times(2, 1, 1, 4), Seconds{0.5}));
  const auto span = [](double start, double end) { return Span{Seconds{start}, Seconds{end}}; };
  CHECK(timing.cells[0] == std::vector{span(0, 2), span(2, 4), span(7, 9), span(11, 13)});
  CHECK(timing.cells[1] ==
        std::vector{span(2.5, 4.5), span(4.5, 6.5), span(6.5, 8.5), span(8.5, 10.5)});
  CHECK(timing.makespan == Seconds{13});
  CHECK(timing.window == Seconds{13});
  CHECK(timing.busy == std::vector{Seconds{8}, Seconds{8}});
  CHECK(timing.bubble_fraction == Approx(1 - 8.0 / 13));
}

TEST_CASE("each stage and direction has times of its own") {
  const Schedule schedule = dualpipe(2, 4);
  CellTimes times = uniform_times(schedule, stage_times(1, 1, 1, 3));
  times.stages[0][1].F = Seconds{5};
  times.stages[1][0].FB = Seconds{7};
  // Rank 1 hosts stage 1 of direction 0 (chunk 0) and stage 0 of direction 1 (chunk 1).
  const Half direct{Microbatch{0}, ChunkId{0}};
  const Half counter{Microbatch{2}, ChunkId{1}};
  const auto duration = [&](const Cell& cell) {
    return cell_duration(schedule, Rank{1}, cell, times).value();
  };
  CHECK(duration(forward_cell(direct.microbatch, direct.chunk)) == 5);
  CHECK(duration(forward_cell(counter.microbatch, counter.chunk)) == 1);
  CHECK(duration(pair_cell(counter, direct)) == 7);
  CHECK(duration(pair_cell(direct, counter)) == 3);
  CHECK(duration(backward_cell(CellKind::kB, direct.microbatch, direct.chunk)) == 2);
  CHECK(duration({CellKind::kFI, direct, counter}) == 2);
}

TEST_CASE("a graph built once times a schedule as often as wanted") {
  const Schedule schedule = dualpipe(4, 12);
  const CellGraph graph(schedule);
  for (const double factor : {1.0, 2.0, 0.25}) {
    const StageTimes stage = stage_times(factor, factor, factor, 3 * factor);
    const CellTimes times = uniform_times(schedule, stage);
    CHECK(time_schedule(schedule, graph, times).makespan ==
          time_schedule(schedule, times).makespan);
    CHECK(time_schedule(schedule, graph, times).makespan.value() == Approx(factor * 38));
  }
}

TEST_CASE("timing a schedule that deadlocks is a bug, not a number") {
  Schedule schedule = one_f_one_b(2, 3);
  std::swap(schedule.ranks[1][0], schedule.ranks[1][4]);
  std::swap(schedule.ranks[1][1], schedule.ranks[1][5]);
  CHECK_THROWS_AS(makespan(schedule, stage_times(1, 1, 1, 3)), Bug);
}

// Offsets inside the pair: its forward is out after 2, its gradient after 1.5 and needed after 0.5.
//   rank 0: F0 0-1, F1 1-2; rank 1: F0 1-2, F&B 1|0 2-5 (gradient of 0 is its own), I1 W1
TEST_CASE("what a pair sends on leaves it before its end") {
  Schedule schedule = one_f_one_b(2, 3);
  const auto half = [](int microbatch) { return Half{Microbatch{microbatch}, ChunkId{0}}; };
  schedule.ranks[1] = {forward_cell(Microbatch{0}, ChunkId{0}), pair_cell(half(1), half(0)),
                       pair_cell(half(2), half(1)),
                       backward_cell(CellKind::kB, Microbatch{2}, ChunkId{0})};
  CellTimes times = uniform_times(schedule, stage_times(1, 1, 1, 3), Seconds{0.25});
  times.pairs.assign(1, {{}, {Seconds{0.5}, Seconds{2}, Seconds{1.5}}});
  const ScheduleTiming timing = time_schedule(schedule, times);
  CHECK(timing.cells[1][1] == Span{Seconds{2.25}, Seconds{5.25}});
  // Rank 0: F0, F1, B0 when the gradient has left the pair and come over: 2.25 + 1.5 + 0.25.
  CHECK(timing.cells[0][2].start.value() == Approx(4));
}

TEST_CASE("the critical path goes from the first cell to the last without a gap") {
  for (const char* family : {"1f1b", "interleaved", "zb-h2", "dualpipe", "dualpipev"}) {
    const Schedule schedule = make_schedule(family, 4, 16);
    const CellTimes times = uniform_times(schedule, stage_times(1, 1.2, 0.6, 2.5), Seconds{0.1});
    const CellGraph graph(schedule);
    const ScheduleTiming timing = time_schedule(schedule, graph, times);
    const std::vector<CriticalCell> path = critical_cells(schedule, graph, times, timing);
    const auto span = [&](const CriticalCell& cell) {
      return timing.cells[cell.at.rank.index()][static_cast<std::size_t>(cell.at.cell)];
    };
    CAPTURE(family);
    REQUIRE(path.size() > 4);
    CHECK(span(path.front()).start == Seconds{});
    CHECK(span(path.back()).end == timing.makespan);
    for (std::size_t step = 1; step < path.size(); ++step) {
      CHECK((span(path[step - 1]).end + path[step].latency).value() ==
            Approx(span(path[step]).start.value()));
    }
  }
}

TEST_CASE("the period of a schedule is what a micro-batch more costs") {
  for (const ScheduleFamily& family : schedule_families()) {
    if (family.name == "chimera") continue;  // only as many micro-batches as ranks at once
    const auto timed = [&](int microbatches) {
      ScheduleRequest request{.pp = 8, .microbatches = microbatches};
      request.share = stage_times(1, 1, 1, 2.55);
      request.hop = Seconds{0.1};
      const Schedule schedule = family.generate(request);
      return time_schedule(schedule, times_of_share(schedule, request.share, request.hop));
    };
    const ScheduleTiming longer = timed(64);
    CAPTURE(std::string(family.name));
    CHECK(longer.period.value() ==
          Approx((longer.makespan - timed(32).makespan).value() / 32).epsilon(1e-6));
  }
}

}  // namespace
}  // namespace orrery
