#include "core/kernel_record.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "core/timeline_json.hpp"

namespace orrery {
namespace {

using Catch::Matchers::Contains;

Program one_instruction() {
  Program program;
  program.pp = 1;
  program.works.push_back({Component::kAttention, Pass::kF, "attn(F)", {}, {}});
  program.streams.resize(1);
  Instruction instruction;
  instruction.id = InstructionId(0);
  instruction.work = WorkId(0);
  instruction.rank = Rank(0);
  program.streams[0][0].push_back(instruction.id);
  program.instructions.push_back(instruction);
  return program;
}

std::string file_with(const KernelRecord& record) {
  const Timeline timeline{"cuda-virtual", {{Seconds{0}, Seconds{1}}}, Seconds{1}, 1, 1, 1};
  return to_json(one_instruction(), timeline, nullptr, nullptr, &record);
}

TimelineFile read(const std::string& text) {
  Diagnostics diagnostics;
  return read_timeline(parse_json("measured.json", text, diagnostics), diagnostics);
}

TEST_CASE("what a timeline says of its kernels is read as it was written") {
  const KernelRecord record{"a \"GPU\"",
                            true,
                            "h200",
                            {{"attn(F)", "q_up fprop", 16, Seconds{0.1 + 0.2}, Seconds{1e-7}, ""},
                             {"attn(F)", "transpose", 2, Seconds{}, Seconds{3e-6}, "a copy"}}};
  const TimelineFile file = read(file_with(record));
  REQUIRE(file.kernels);
  CHECK(*file.kernels == record);
  CHECK(read(file_with({"none", false, "h800", {}})).kernels->ops.empty());
}

TEST_CASE("times of kernels that are none are refused") {
  std::string text = file_with({"GPU", false, "h200", {{"a", "b", 1, Seconds{1}, Seconds{2}, ""}}});
  const std::string good = "\"measured_s\": 2";
  text.replace(text.find(good), good.size(), "\"measured_s\": -2");
  CHECK_THROWS_WITH(read(text), Contains("measured_s"));
}

}  // namespace
}  // namespace orrery
