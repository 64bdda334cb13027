#include "workload/cell_graph.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "planner/schedules/families.hpp"

namespace orrery {
namespace {

TEST_CASE("the order of a schedule's cells puts every cell after all that it waits for") {
  const int pp = GENERATE(2, 4, 8, 16);
  const int microbatches = GENERATE_COPY(2 * pp, 3 * pp);
  for (const ScheduleFamily& family : schedule_families()) {
    CAPTURE(std::string(family.name), pp, microbatches);
    const CellGraph graph(family.generate({.pp = pp, .microbatches = microbatches}));
    REQUIRE_FALSE(graph.deadlocks());
    REQUIRE(static_cast<int>(graph.order().size()) == graph.cells());
    std::vector<int> place(graph.order().size(), -1);
    for (int index = 0; index < graph.cells(); ++index) {
      place[static_cast<std::size_t>(graph.order()[static_cast<std::size_t>(index)])] = index;
    }
    for (int vertex = 0; vertex < graph.cells(); ++vertex) {
      for (const CellWait& wait : graph.waits_of(vertex)) {
        CHECK(wait.after == vertex);
        CHECK(place[static_cast<std::size_t>(wait.before)] <
              place[static_cast<std::size_t>(vertex)]);
      }
    }
    CHECK(graph.short_cycle().empty());
  }
}

// Each rank of 1F1B gets m messages from each neighbour, and has 2m - 1 steps in its list.
TEST_CASE("the graph of 1F1B has a wait for every message and every step of a list") {
  const int pp = 4;
  const int microbatches = 6;
  const CellGraph graph(make_schedule("1f1b", pp, microbatches));
  int listed = 0, forwards = 0, gradients = 0;
  for (int vertex = 0; vertex < graph.cells(); ++vertex) {
    for (const CellWait& wait : graph.waits_of(vertex)) {
      listed += wait.kind == WaitKind::kRankOrder;
      forwards += wait.kind == WaitKind::kForward;
      gradients += wait.kind == WaitKind::kGradient;
      CHECK(wait.between_ranks == (wait.kind != WaitKind::kRankOrder));
    }
  }
  CHECK(listed == pp * (2 * microbatches - 1));
  CHECK(forwards == (pp - 1) * microbatches);
  CHECK(gradients == (pp - 1) * microbatches);
}

TEST_CASE("the cycle of a deadlock is closed and as short as told") {
  // Rank 1 takes micro-batch 2 first; rank 0 sends it only after the gradient of micro-batch 0.
  Schedule schedule = make_schedule("1f1b", 2, 3);
  std::swap(schedule.ranks[1][0], schedule.ranks[1][4]);
  std::swap(schedule.ranks[1][1], schedule.ranks[1][5]);
  const CellGraph graph(schedule);
  REQUIRE(graph.deadlocks());
  const std::vector<CellWait> cycle = graph.short_cycle();
  REQUIRE_FALSE(cycle.empty());
  for (std::size_t step = 0; step < cycle.size(); ++step) {
    CHECK(cycle[step].after == cycle[(step + 1) % cycle.size()].before);
  }
  CHECK(std::count_if(cycle.begin(), cycle.end(),
                      [](const CellWait& wait) { return wait.kind != WaitKind::kRankOrder; }) == 2);
}

TEST_CASE("a forward listed after its own gradient is a cycle even on the last stage") {
  Schedule schedule = make_schedule("1f1b", 1, 2);
  std::swap(schedule.ranks[0][0], schedule.ranks[0][1]);
  CHECK(CellGraph(schedule).deadlocks());
  Schedule paired = make_schedule("1f1b", 1, 1);
  const Half half{Microbatch{0}, ChunkId{0}};
  paired.ranks[0] = {pair_cell(half, half)};
  CHECK(CellGraph(paired).deadlocks());
  CHECK(CellGraph(paired).short_cycle().size() == 1);
}

}  // namespace
}  // namespace orrery
