#include "planner/schedules/dualpipe.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "core/error.hpp"
#include "tests/planner/published_table.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

std::map<CellKind, int> cells_by_kind(const Schedule& schedule, int rank) {
  std::map<CellKind, int> count;
  for (const Cell& cell : schedule.ranks[static_cast<std::size_t>(rank)]) ++count[cell.kind];
  return count;
}

TEST_CASE("DualPipe has the published number of cells of each kind on every rank") {
  for (const PublishedRow& row : published_table("dualpipe_op_counts.csv")) {
    const int pp = row.count("PP");
    const int microbatches = row.count("M");
    const int rank = row.count("rank");
    CAPTURE(pp, microbatches, rank);
    auto count = cells_by_kind(dualpipe(pp, microbatches), rank);
    CHECK(count[CellKind::kF] == row.count("F_only"));
    CHECK(count[CellKind::kB] == row.count("B_full"));
    CHECK(count[CellKind::kI] == row.count("B_input_only"));
    CHECK(count[CellKind::kW] == row.count("W_separate"));
    CHECK(count[CellKind::kFB] == row.count("overlapped_FB"));
    CHECK(count[CellKind::kFI] == 0);
  }
}

// With M = m/2, h = p/2 and k = min(r, p-1-r): 2(M-p+k+1) + (h-k-1) pairs, one fewer on the middle
// ranks.
TEST_CASE("DualPipe overlaps as many pairs as its phases 4 and 5 hold") {
  const int pp = GENERATE(2, 4, 6, 8, 16, 32);
  const int microbatches = GENERATE_COPY(2 * pp, 2 * pp + 2, 5 * pp, 8 * pp);
  const Schedule schedule = dualpipe(pp, microbatches);
  for (int rank = 0; rank < pp; ++rank) {
    CAPTURE(pp, microbatches, rank);
    const int k = std::min(rank, pp - 1 - rank);
    const int middle = k == pp / 2 - 1 ? 1 : 0;
    CHECK(cells_by_kind(schedule, rank)[CellKind::kFB] ==
          2 * (microbatches / 2 - pp + k + 1) + (pp / 2 - k - 1) - middle);
  }
}

TEST_CASE("DualPipe is a valid schedule that holds p + 1 activations on every rank") {
  const int pp = GENERATE(2, 4, 6, 8, 10, 16, 24, 32);
  const int microbatches = GENERATE_COPY(2 * pp, 2 * pp + 2, 3 * pp, 7 * pp);
  CAPTURE(pp, microbatches);
  const Schedule schedule = dualpipe(pp, microbatches);
  CHECK(schedule.family == "dualpipe");
  CHECK(schedule.pp() == pp);
  CHECK(schedule.stages() == pp);
  CHECK(schedule.microbatches == microbatches);
  const std::vector<ScheduleFault> faults = check_schedule(schedule);
  for (const ScheduleFault& fault : faults) UNSCOPED_INFO(fault.reason);
  CHECK(faults.empty());
  CHECK(peak_activations(schedule) == std::vector<int>(static_cast<std::size_t>(pp), pp + 1));
}

TEST_CASE("DualPipe runs each direction backwards through the ranks of the other") {
  const Schedule schedule = dualpipe(8, 20);
  CHECK(schedule.directions == 2);
  for (int rank = 0; rank < 8; ++rank) {
    CAPTURE(rank);
    const auto& chunks = schedule.chunks[static_cast<std::size_t>(rank)];
    REQUIRE(chunks.size() == 2);
    CHECK(chunks[0] == ChunkPlace{Stage{rank}, 0});
    CHECK(chunks[1] == ChunkPlace{Stage{7 - rank}, 1});
    // The mirror image: the same kinds of cells at the same places, chunks swapped.
    const auto& cells = schedule.ranks[static_cast<std::size_t>(rank)];
    const auto& mirrored = schedule.ranks[static_cast<std::size_t>(7 - rank)];
    REQUIRE(cells.size() == mirrored.size());
    for (std::size_t index = 0; index < cells.size(); ++index) {
      CHECK(cells[index].kind == mirrored[index].kind);
      if (cells[index].has_forward()) {
        CHECK(cells[index].forward.chunk != mirrored[index].forward.chunk);
        CHECK(cells[index].forward.microbatch.value % 10 ==
              mirrored[index].forward.microbatch.value % 10);
      }
    }
  }
}

TEST_CASE("DualPipe's first rank of 4 with 8 micro-batches runs the eight phases by the book") {
  const Schedule schedule = dualpipe(4, 8);
  std::string text;
  for (const Cell& cell : schedule.ranks[0]) {
    if (!text.empty()) text += ' ';
    text += to_string(cell.kind);
    if (cell.has_forward()) text += std::to_string(cell.forward.microbatch.value);
    if (cell.kind == CellKind::kFB) text += '|';
    if (cell.kind != CellKind::kF) text += std::to_string(cell.backward.microbatch.value);
  }
  // p = 4, h = 2, k = 0, M = 4; direction 0 (0..3) is near, direction 1 (4..7) far.
  CHECK(text ==
        "F0 F1 "          // 1: 2(h-k-1) = 2
        "F2 F4 "          // 2: k+1 = 1
        "I4 W4 F5 "       // 3: h-k-1 = 1
        "F&B3|5 F&B6|0 "  // 4: M-p+k+1 = 1
        "B6 F&B7|1 "      // 5: h-k-1 = 1
        "B7 I2 "          // 6: k+1 = 1, its second half input-only
        "W2 I3 "          // 7: h-k-1 = 1
        "W3");            // 8: k+1 = 1
}

TEST_CASE("DualPipe refuses an odd number of ranks and too few or odd micro-batches") {
  CHECK_FALSE(dualpipe_why_not({.pp = 2, .microbatches = 4}));
  CHECK_FALSE(dualpipe_why_not({.pp = 16, .microbatches = 32}));
  for (const int pp : {-2, 0, 1, 3, 15}) {
    CAPTURE(pp);
    CHECK(dualpipe_why_not({.pp = pp, .microbatches = 64}));
    CHECK_THROWS_AS(dualpipe(pp, 64), InputError);
  }
  for (const int microbatches : {-1, 0, 14, 17, 31}) {
    CAPTURE(microbatches);
    CHECK(dualpipe_why_not({.pp = 8, .microbatches = microbatches}));
    CHECK_THROWS_AS(dualpipe(8, microbatches), InputError);
  }
  CHECK_THROWS_WITH(dualpipe(16, 24), Catch::Contains("at least 2*pp = 32 for pp=16, not 24") &&
                                          Catch::Contains("1f1b"));
}

}  // namespace
}  // namespace orrery
