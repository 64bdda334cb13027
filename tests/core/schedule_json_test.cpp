#include "core/schedule_json.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "core/error.hpp"

namespace orrery {
namespace {

class File {
 public:
  explicit File(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / "orrery-schedule-test.json") {
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

Schedule two_ranks() {
  Schedule schedule;
  schedule.family = "by hand";
  schedule.microbatches = 2;
  schedule.chunks = {{{Stage{0}, 0}}, {{Stage{1}, 0}}};
  const auto half = [](int microbatch) { return Half{Microbatch{microbatch}, ChunkId{0}}; };
  schedule.ranks = {
      {forward_cell(Microbatch{0}, ChunkId{0}), forward_cell(Microbatch{1}, ChunkId{0}),
       backward_cell(CellKind::kI, Microbatch{0}, ChunkId{0}),
       backward_cell(CellKind::kW, Microbatch{0}, ChunkId{0}),
       backward_cell(CellKind::kB, Microbatch{1}, ChunkId{0})},
      {forward_cell(Microbatch{0}, ChunkId{0}), pair_cell(half(1), half(0)),
       backward_cell(CellKind::kB, Microbatch{1}, ChunkId{0})}};
  return schedule;
}

TEST_CASE("a schedule written to a file and read again is the same") {
  const Schedule schedule = two_ranks();
  const std::string text = to_json(schedule);
  CHECK_THAT(text, Catch::Contains("\"format_version\": \"1.0\"") &&
                       Catch::Contains(R"(["F:0.0", "FB:1.0|0.0", "B:1.0"])"));
  const File file(text);
  CHECK(read_schedule(file.path()) == schedule);
  CHECK(to_json(read_schedule(file.path())) == text);
}

TEST_CASE("a schedule is read out of a plan file too") {
  CHECK(read_schedule("tests/data/input/plan-small.json").pp() > 0);
}

TEST_CASE("what a schedule file gets wrong is told with its place") {
  const File file(R"({"format_version": "1.0", "schedule": {
  "family": "x", "microbatches": 2, "directions": 1,
  "chunks": [[[0, 0]], [[1, 0]]],
  "ranks": [["F:0.0", "G:1.0"], ["F:2.0", "F:0.1", 7]]}})");
  CHECK_THROWS_WITH(read_schedule(file.path()),
                    Catch::Contains("found \"G:1.0\"") &&
                        Catch::Contains("micro-batch 2, the step has 2") &&
                        Catch::Contains("names chunk 1, it has 1") &&
                        Catch::Contains("orrery-schedule-test.json:4:"));
  const File ranks(R"({"format_version": "1.0", "schedule": {
  "family": "x", "microbatches": 2, "directions": 1, "chunks": [[[0, 0]]], "ranks": [[], []]}})");
  CHECK_THROWS_WITH(read_schedule(ranks.path()), Catch::Contains("'chunks' lists 1 ranks"));
  const File stages(R"({"format_version": "1.0", "schedule": {
  "family": "x", "microbatches": 2, "directions": 1, "chunks": [[[0, 0]], [[3, 0]]],
  "ranks": [[], []]}})");
  CHECK_THROWS_WITH(read_schedule(stages.path()), Catch::Contains("there is no stage 3"));
  const File none(R"({"format_version": "1.0"})");
  CHECK_THROWS_WITH(read_schedule(none.path()), Catch::Contains("schedule"));
}

}  // namespace
}  // namespace orrery
