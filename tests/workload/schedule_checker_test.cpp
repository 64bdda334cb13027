#include "workload/schedule_checker.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "planner/schedules/dualpipe.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/one_f_one_b.hpp"

namespace orrery {
namespace {

Cell& cell(Schedule& schedule, int rank, int index) {
  return schedule.ranks[static_cast<std::size_t>(rank)][static_cast<std::size_t>(index)];
}

void erase(Schedule& schedule, int rank, int index) {
  auto& cells = schedule.ranks[static_cast<std::size_t>(rank)];
  cells.erase(cells.begin() + index);
}

void insert(Schedule& schedule, int rank, int index, const Cell& added) {
  auto& cells = schedule.ranks[static_cast<std::size_t>(rank)];
  cells.insert(cells.begin() + index, added);
}

int find(const Schedule& schedule, int rank, CellKind kind) {
  const auto& cells = schedule.ranks[static_cast<std::size_t>(rank)];
  const auto found =
      std::find_if(cells.begin(), cells.end(), [&](const Cell& at) { return at.kind == kind; });
  REQUIRE(found != cells.end());
  return static_cast<int>(found - cells.begin());
}

// The schedule has exactly this one fault.
void check_only_fault(const Schedule& schedule, FaultKind kind, int rank, int index,
                      const std::string& words) {
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  for (const ScheduleFault& fault : faults) UNSCOPED_INFO(fault.reason);
  REQUIRE(faults.size() == 1);
  CHECK(to_string(faults[0].kind) == to_string(kind));
  CHECK(faults[0].rank == Rank{rank});
  CHECK(faults[0].cell == index);
  CHECK_THAT(faults[0].reason, Catch::Contains(words));
}

bool has_fault(const std::vector<ScheduleFault>& faults, FaultKind kind, int rank) {
  return std::any_of(faults.begin(), faults.end(), [&](const ScheduleFault& fault) {
    return fault.kind == kind && fault.rank == Rank{rank};
  });
}

// One stage down and one up on each of two ranks: stages 0, 3 on rank 0 and 1, 2 on rank 1, all of
// one direction.
Schedule v_schedule() {
  Schedule schedule;
  schedule.family = "v";
  schedule.microbatches = 1;
  schedule.chunks = {{{Stage{0}, 0}, {Stage{3}, 0}}, {{Stage{1}, 0}, {Stage{2}, 0}}};
  const auto F = [](int chunk) { return forward_cell(Microbatch{0}, ChunkId{chunk}); };
  const auto B = [](int chunk) {
    return backward_cell(CellKind::kB, Microbatch{0}, ChunkId{chunk});
  };
  schedule.ranks = {{F(0), F(1), B(1), B(0)}, {F(0), F(1), B(1), B(0)}};
  return schedule;
}

TEST_CASE("a generated schedule has no fault at any size") {
  for (const ScheduleFamily& family : schedule_families()) {
    for (int pp = 1; pp <= 12; ++pp) {
      for (const int microbatches : {1, 2, 5, 8, 16, 24, 40}) {
        if (family.why_not({.pp = pp, .microbatches = microbatches})) continue;
        CAPTURE(std::string(family.name), pp, microbatches);
        CHECK(check_schedule(family.generate({.pp = pp, .microbatches = microbatches})).empty());
      }
    }
  }
  CHECK(check_schedule(v_schedule()).empty());
}

TEST_CASE("a dropped weight gradient is missed on its rank") {
  Schedule schedule = dualpipe(8, 20);
  const int rank = GENERATE(0, 2, 5, 7);
  const int index = find(schedule, rank, CellKind::kW);
  const int microbatch = cell(schedule, rank, index).backward.microbatch.value;
  erase(schedule, rank, index);
  check_only_fault(schedule, FaultKind::kMissing, rank, -1,
                   "micro-batch " + std::to_string(microbatch) + " has no weight gradient");
}

TEST_CASE("a backward whose weight gradient is never run is missed") {
  Schedule schedule = one_f_one_b(4, 6);
  const int index = find(schedule, 2, CellKind::kB);
  cell(schedule, 2, index).kind = CellKind::kI;
  check_only_fault(schedule, FaultKind::kMissing, 2, -1,
                   "micro-batch 0 has no weight gradient on stage 2 of direction 0");
}

TEST_CASE("a dropped forward and a dropped input gradient are missed") {
  Schedule schedule = one_f_one_b(4, 6);
  erase(schedule, 1, 0);
  check_only_fault(schedule, FaultKind::kMissing, 1, -1, "micro-batch 0 has no forward on stage 1");
  schedule = dualpipe(4, 8);
  erase(schedule, 0, find(schedule, 0, CellKind::kI));
  check_only_fault(schedule, FaultKind::kMissing, 0, -1, "has no input gradient on stage 3");
}

TEST_CASE("a second backward of a micro-batch is two duplicates in one cell") {
  Schedule schedule = one_f_one_b(4, 6);
  const int index = find(schedule, 1, CellKind::kB);
  insert(schedule, 1, index + 1, cell(schedule, 1, index));
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  REQUIRE(faults.size() == 2);  // its input gradient and its weight gradient
  for (const ScheduleFault& fault : faults) {
    CHECK(fault.kind == FaultKind::kDuplicate);
    CHECK(fault.rank == Rank{1});
    CHECK(fault.cell == index + 1);
    CHECK_THAT(fault.reason, Catch::Contains("micro-batch 0 already has its"));
    CHECK_THAT(fault.reason, Catch::Contains("in cell " + std::to_string(index)));
  }
}

TEST_CASE("a weight gradient after a full backward is a duplicate") {
  Schedule schedule = one_f_one_b(2, 3);
  const int end = static_cast<int>(schedule.ranks[0].size());
  insert(schedule, 0, end, backward_cell(CellKind::kW, Microbatch{2}, ChunkId{0}));
  check_only_fault(
      schedule, FaultKind::kDuplicate, 0, end,
      "micro-batch 2 already has its weight gradient in cell " + std::to_string(end - 1));
}

TEST_CASE("a micro-batch on a chunk of the other direction is told its direction") {
  Schedule schedule = dualpipe(8, 20);
  // The first F of rank 0 is micro-batch 0 on chunk 0.
  cell(schedule, 0, 0).forward.chunk = ChunkId{1};
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  REQUIRE(faults.size() == 2);
  CHECK(faults[0].kind == FaultKind::kWrongDirection);
  CHECK(faults[0].rank == Rank{0});
  CHECK(faults[0].cell == 0);
  CHECK(faults[0].reason ==
        "rank 0 cell 0, forward of micro-batch 0 on chunk 1: the micro-batch travels direction 0, "
        "the chunk is stage 7 of direction 1");
  CHECK(faults[1].kind == FaultKind::kMissing);
  CHECK_THAT(faults[1].reason, Catch::Contains("micro-batch 0 has no forward on stage 0"));
}

TEST_CASE("a micro-batch on the wrong chunk of its direction is there twice and nowhere else") {
  Schedule schedule = v_schedule();
  cell(schedule, 0, 1).forward.chunk = ChunkId{0};
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  REQUIRE(faults.size() == 2);
  CHECK(faults[0].kind == FaultKind::kMissing);
  CHECK(faults[0].rank == Rank{0});
  CHECK_THAT(faults[0].reason, Catch::Contains("no forward on stage 3"));
  CHECK(faults[1].kind == FaultKind::kDuplicate);
  CHECK(faults[1].rank == Rank{0});
  CHECK(faults[1].cell == 1);
}

TEST_CASE("a chunk or micro-batch that does not exist is out of range") {
  const auto [chunk, microbatch, words] =
      GENERATE(table<int, int, std::string>({{7, 0, "the rank has 1 chunk(s)"},
                                             {-1, 0, "the rank has 1 chunk(s)"},
                                             {0, 6, "there are 6 micro-batches"},
                                             {0, -1, "there are 6 micro-batches"}}));
  Schedule schedule = one_f_one_b(4, 6);
  insert(schedule, 3, 2, forward_cell(Microbatch{microbatch}, ChunkId{chunk}));
  CAPTURE(chunk, microbatch);
  check_only_fault(schedule, FaultKind::kOutOfRange, 3, 2, words);
}

TEST_CASE("work listed before what it needs on its own rank is out of order") {
  SECTION("input gradient before forward") {
    Schedule schedule = one_f_one_b(4, 6);
    std::swap(cell(schedule, 3, 0), cell(schedule, 3, 1));
    check_only_fault(schedule, FaultKind::kOrder, 3, 0,
                     "the input gradient of micro-batch 0 comes before its forward (cell 1)");
  }
  SECTION("weight gradient before input gradient") {
    Schedule schedule = dualpipe(4, 8);
    const int index = find(schedule, 0, CellKind::kI);
    REQUIRE(cell(schedule, 0, index + 1).kind == CellKind::kW);
    std::swap(cell(schedule, 0, index), cell(schedule, 0, index + 1));
    check_only_fault(schedule, FaultKind::kOrder, 0, index,
                     "the weight gradient of micro-batch 4 comes before its input gradient");
  }
  SECTION("forward and backward of one micro-batch in one pair") {
    Schedule schedule = one_f_one_b(1, 1);
    const Half half{Microbatch{0}, ChunkId{0}};
    schedule.ranks[0] = {pair_cell(half, half)};
    check_only_fault(schedule, FaultKind::kOrder, 0, 0, "comes in the same cell as its forward");
  }
}

// Rank 1 insists on micro-batch 2 first; rank 0 sends it only after it has the gradient of
// micro-batch 0.
TEST_CASE("ranks that wait for each other are told who waits for whom") {
  Schedule schedule = one_f_one_b(2, 3);
  std::swap(cell(schedule, 1, 0), cell(schedule, 1, 4));
  std::swap(cell(schedule, 1, 1), cell(schedule, 1, 5));
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].kind == FaultKind::kDeadlock);
  CHECK(faults[0].reason ==
        "deadlock: F 2 (stage 1, direction 0) of rank 1 (cell 0) "
        "waits for F 2 (stage 0, direction 0) of rank 0 (cell 3), "
        "which comes after B 0 (stage 0, direction 0) of rank 0 (cell 2), "
        "which waits for B 0 (stage 1, direction 0) of rank 1 (cell 5), "
        "which comes after F 2 (stage 1, direction 0) of rank 1 (cell 0)");
  CHECK(faults[0].rank == Rank{1});
  CHECK(faults[0].cell == 0);
}

TEST_CASE("a deadlock through several ranks is found") {
  // The last rank runs all its forwards first; rank 0 sends the last ones only after the first
  // gradient.
  Schedule schedule = one_f_one_b(5, 8);
  auto& last = schedule.ranks[4];
  std::stable_partition(last.begin(), last.end(), [](const Cell& at) { return at.has_forward(); });
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].kind == FaultKind::kDeadlock);
  CHECK_THAT(faults[0].reason, Catch::Contains("of rank 4") && Catch::Contains("of rank 3"));
}

// Any swap of two cells keeps the schedule valid, or is an order fault of that rank, or a deadlock.
TEST_CASE("a swap within a rank is judged by order alone") {
  std::mt19937_64 random(99);
  std::set<FaultKind> seen;
  for (int instance = 0; instance < 400; ++instance) {
    Schedule schedule = instance % 2 == 0 ? dualpipe(4, 12) : one_f_one_b(4, 12);
    const int rank = std::uniform_int_distribution(0, 3)(random);
    const int cells = static_cast<int>(schedule.ranks[static_cast<std::size_t>(rank)].size());
    const int a = std::uniform_int_distribution(0, cells - 1)(random);
    const int b = std::uniform_int_distribution(0, cells - 1)(random);
    std::swap(cell(schedule, rank, a), cell(schedule, rank, b));
    for (const ScheduleFault& fault : check_schedule(schedule)) {
      CAPTURE(instance, rank, a, b, fault.reason);
      seen.insert(fault.kind);
      if (fault.kind == FaultKind::kOrder) CHECK(fault.rank == Rank{rank});
      CHECK((fault.kind == FaultKind::kOrder || fault.kind == FaultKind::kDeadlock));
    }
  }
  CHECK(seen == std::set{FaultKind::kOrder, FaultKind::kDeadlock});
}

// Any one cell dropped or doubled is found on its rank.
TEST_CASE("no single lost or doubled cell goes unnoticed") {
  const Schedule valid = GENERATE(dualpipe(4, 8), one_f_one_b(3, 4));
  for (int rank = 0; rank < valid.pp(); ++rank) {
    const int cells = static_cast<int>(valid.ranks[static_cast<std::size_t>(rank)].size());
    for (int index = 0; index < cells; ++index) {
      CAPTURE(valid.family, rank, index);
      Schedule lost = valid;
      erase(lost, rank, index);
      CHECK(has_fault(check_schedule(lost), FaultKind::kMissing, rank));
      Schedule doubled = valid;
      insert(doubled, rank, index, cell(doubled, rank, index));
      CHECK(has_fault(check_schedule(doubled), FaultKind::kDuplicate, rank));
    }
  }
}

TEST_CASE("stages hosted twice, nowhere or by too few ranks are placement faults") {
  SECTION("twice, and so another nowhere") {
    Schedule schedule = one_f_one_b(4, 4);
    schedule.chunks[2][0].stage = Stage{1};
    const std::vector<ScheduleFault> faults = check_schedule(schedule);
    REQUIRE(faults.size() == 2);
    CHECK_THAT(faults[0].reason, Catch::Contains("no rank hosts stage 2 of direction 0"));
    CHECK(faults[1].reason == "rank 2 hosts stage 1 of direction 0, which rank 1 hosts already");
    CHECK(faults[1].rank == Rank{2});
  }
  SECTION("a direction that does not exist") {
    Schedule schedule = one_f_one_b(4, 4);
    schedule.chunks[3][0].direction = 1;
    CHECK(has_fault(check_schedule(schedule), FaultKind::kPlacement, 3));
  }
  SECTION("a rank without cells or chunks") {
    Schedule schedule = one_f_one_b(4, 4);
    schedule.chunks.pop_back();
    CHECK(check_schedule(schedule).size() == 1);
    CHECK(check_schedule(Schedule{}).size() == 1);
  }
  SECTION("no micro-batches") {
    Schedule schedule = one_f_one_b(4, 4);
    schedule.microbatches = 0;
    REQUIRE(check_schedule(schedule).size() == 1);
    CHECK(check_schedule(schedule)[0].kind == FaultKind::kPlacement);
  }
}

TEST_CASE("a memory limit is exceeded at the first forward beyond it") {
  const Schedule schedule = one_f_one_b(4, 8);
  CHECK(check_schedule(schedule, 4).empty());
  // Ranks 0 and 1 hold 4 and 3: their third F is F 2, right after the warm-up's first two.
  const std::vector<ScheduleFault> faults = check_schedule(schedule, 2);
  REQUIRE(faults.size() == 2);
  for (int rank = 0; rank < 2; ++rank) {
    const ScheduleFault& fault = faults[static_cast<std::size_t>(rank)];
    CHECK(fault.kind == FaultKind::kMemory);
    CHECK(fault.rank == Rank{rank});
    CHECK(fault.cell == 2);
    CHECK_THAT(fault.reason,
               Catch::Contains("F 2") && Catch::Contains("activation 3 of a limit of 2"));
  }
  CHECK(check_schedule(dualpipe(8, 20), 9).empty());
  CHECK(check_schedule(dualpipe(8, 20), 8).size() == 8);
}

// F, F, I, I, W, W: an input gradient frees nothing. F0 F1|B0 B1: the pair allocates before it
// frees.
TEST_CASE("an activation lives until its weight gradient and a pair holds both its halves") {
  Schedule schedule = one_f_one_b(1, 2);
  const ChunkId chunk{0};
  const Microbatch first{0}, second{1};
  const auto run = [&](std::vector<Cell> cells) {
    schedule.ranks[0] = std::move(cells);
    REQUIRE(check_schedule(schedule).empty());
    return peak_activations(schedule).front();
  };
  const auto backward = [&](CellKind kind, Microbatch microbatch) {
    return backward_cell(kind, microbatch, chunk);
  };
  CHECK(run({forward_cell(first, chunk), backward(CellKind::kB, first), forward_cell(second, chunk),
             backward(CellKind::kB, second)}) == 1);
  CHECK(run({forward_cell(first, chunk), backward(CellKind::kI, first), forward_cell(second, chunk),
             backward(CellKind::kI, second), backward(CellKind::kW, first),
             backward(CellKind::kW, second)}) == 2);
  CHECK(run({forward_cell(first, chunk), pair_cell({second, chunk}, {first, chunk}),
             backward(CellKind::kB, second)}) == 2);
}

}  // namespace
}  // namespace orrery
