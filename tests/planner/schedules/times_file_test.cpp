#include "planner/schedules/times_file.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "core/error.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/timing.hpp"

namespace orrery {
namespace {

class File {
 public:
  explicit File(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / "orrery-times-test.json") {
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

const char* const kFull = R"({"format_version": "1.0", "hop": 0.1, "limits": [2, 1.5],
  "directions": [{"stages": [
    {"F": 1, "I": 1.2, "W": 0.6, "FB": 2.4, "needs_gradient": 0.2, "forward_ready": 2,
     "gradient_ready": 2.3, "send_activation": 0.05},
    {"F": 2, "I": 2, "W": 1, "FB": 5, "FI": 3.5, "needs_gradient": 0, "forward_ready": 5,
     "gradient_ready": 4}]}]})";

TEST_CASE("times of a file are those of its stages, with what is left out filled in") {
  const Schedule schedule = make_schedule("1f1b", 2, 4);
  const File file(kFull);
  const TimesFile read = read_times(file.path(), schedule);
  REQUIRE(read.limits);
  CHECK(*read.limits == std::vector{2.0, 1.5});
  const StageTimes& first = read.times.stages[0][0];
  CHECK(first.F.value() == 1);
  CHECK(first.FB.value() == 2.4);
  CHECK(first.FI.value() == Approx(2.2));
  CHECK(read.times.stages[0][1].FI.value() == 3.5);
  CHECK(read.times.pairs[0][0].gradient_ready.value() == 2.3);
  CHECK(read.times.latency({Stage{0}, 0}, false).value() == 0.05);
  CHECK(read.times.latency({Stage{1}, 0}, true).value() == 0.1);
  // F 1, sent 0.05, then F 2, then B 3 on the last stage.
  const ScheduleTiming timing = time_schedule(schedule, read.times);
  CHECK(timing.cells[1][0].start.value() == Approx(1.05));
  CHECK(timing.cells[0][2].start.value() == Approx(1.05 + 2 + 3 + 0.1));
}

// Stage 1 of 1F1B on two ranks gets a full backward that is shorter than I + W = 3 and hands its
// output on before its end; stage 0 keeps I + W = 1.8.
TEST_CASE("a file of times can give full backwards a length and an output of their own") {
  const Schedule schedule = make_schedule("1f1b", 2, 4);
  const File file(R"({"format_version": "1.0", "hop": 0.1, "directions": [{"stages": [
    {"F": 1, "I": 1.2, "W": 0.6}, {"F": 2, "I": 2, "W": 1, "B": 2.5, "B_gradient_ready": 2}]}]})");
  const TimesFile read = read_times(file.path(), schedule);
  CHECK(read.times.backward({Stage{0}, 0}).length.value() == Approx(1.8));
  CHECK(read.times.backward({Stage{0}, 0}).gradient_ready.value() == Approx(1.8));
  CHECK(read.times.backward({Stage{1}, 0}).length.value() == 2.5);
  CHECK(read.times.stages[0][1].FB.value() == 4.5);
  const ScheduleTiming timing = time_schedule(schedule, read.times);
  CHECK(timing.cells[1][1].length().value() == Approx(2.5));
  CHECK(timing.cells[0][2].start.value() == Approx(1 + 0.1 + 2 + 2 + 0.1));
  const File late(R"({"format_version": "1.0", "directions": [{"stages": [
    {"F": 1, "I": 1, "W": 1, "B": 1.5, "B_gradient_ready": 1.6}, {"F": 1, "I": 1, "W": 1}]}]})");
  CHECK_THROWS_WITH(read_times(late.path(), schedule), Catch::Contains("B_gradient_ready"));
}

TEST_CASE("a file of times that does not suit the schedule is refused with all reasons") {
  const Schedule schedule = make_schedule("1f1b", 3, 4);
  const File file(kFull);
  CHECK_THROWS_WITH(read_times(file.path(), schedule),
                    Catch::Contains("2 limits, the schedule has 3 ranks") &&
                        Catch::Contains("2 stages, the schedule has 3"));
  const File half(R"({"format_version": "1.0", "directions": [{"stages": [
    {"F": 1, "I": 1, "W": -1, "forward_ready": 1}, {"F": 1, "I": 1, "W": 1, "X": 2},
    {"F": 1, "I": 1, "W": 1}]}]})");
  CHECK_THROWS_WITH(read_times(half.path(), schedule),
                    Catch::Contains("belong together") && Catch::Contains("'X'") &&
                        Catch::Contains("orrery-times-test.json:2:"));
}

}  // namespace
}  // namespace orrery
