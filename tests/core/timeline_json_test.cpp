#include "core/timeline_json.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.hpp"

namespace orrery {
namespace {

// Instructions without work of their own on `pp` ranks, ids in no order of the streams.
Program random_program(std::mt19937_64& random, int pp, int instructions) {
  Program program;
  program.pp = pp;
  program.works.push_back({Component::kAttention, Pass::kF, "attn(F)", {}, {}});
  program.streams.resize(static_cast<std::size_t>(pp));
  for (int id = 0; id < instructions; ++id) {
    Instruction instruction;
    instruction.id = InstructionId(id);
    instruction.work = WorkId(0);
    instruction.rank = Rank(static_cast<int>(random() % static_cast<unsigned>(pp)));
    instruction.stream = static_cast<Stream>(random() % kStreams);
    program.streams[instruction.rank.index()][static_cast<std::size_t>(instruction.stream)]
        .push_back(instruction.id);
    program.instructions.push_back(instruction);
  }
  return program;
}

// Times of any size: the bits of most of them are random.
Timeline random_timeline(std::mt19937_64& random, const Program& program) {
  const auto time = [&random] {
    switch (random() % 4) {
      case 0: return 0.0;
      case 1: return static_cast<double>(random() % 1000);
      default:
        return std::ldexp(static_cast<double>(random() >> 11),
                          -30 - static_cast<int>(random() % 40));
    }
  };
  Timeline timeline{"folded", {}, Seconds{}, static_cast<long>(random() >> 2), program.pp, 128};
  for (std::size_t id = 0; id < program.instructions.size(); ++id) {
    const double start = time();
    const double end = std::max(start, time());
    timeline.spans.push_back({Seconds{start}, Seconds{end}});
    timeline.step = std::max(timeline.step, Seconds{end});
  }
  return timeline;
}

bool same_bits(Seconds a, Seconds b) {
  const double values[] = {a.value(), b.value()};
  return std::memcmp(&values[0], &values[1], sizeof(double)) == 0;
}

TimelineFile read(const std::string& text) {
  Diagnostics diagnostics;
  return read_timeline(parse_json("t.json", text, diagnostics), diagnostics);
}

// Two ranks, three instructions, as a JSON value to spoil.
nlohmann::json example() {
  return {{"format_version", "1.0"},
          {"source", "host"},
          {"program", {{"fingerprint", "00"}, {"pp", 2}, {"instructions", 3}}},
          {"step_time_s", 2.5},
          {"gpus", 4},
          {"gpus_of_rank", {{0, 1}, {2, 3}}},
          {"stream_names", {"compute", "comm"}},
          {"spans",
           {{"id", {2, 0, 1}},
            {"rank", {1, 0, 0}},
            {"stream", {0, 0, 1}},
            {"start_s", {1, 0, 0.5}},
            {"end_s", {2.5, 0.5, 1}}}}};
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a timeline survives its file to the last bit") {
  std::mt19937_64 random(GENERATE(range(0, 40)));
  const int pp = 1 + static_cast<int>(random() % 8);
  const Program program = random_program(random, pp, static_cast<int>(random() % 60));
  const Timeline timeline = random_timeline(random, program);
  const std::string text = to_json(program, timeline);
  CAPTURE(text);
  CHECK(to_json(program, timeline) == text);
  const TimelineFile file = read(text);
  CHECK(file.timeline.source == timeline.source);
  CHECK(same_bits(file.timeline.step, timeline.step));
  CHECK(file.timeline.activities == timeline.activities);
  CHECK(file.timeline.rank_classes == timeline.rank_classes);
  CHECK(file.timeline.gpus == timeline.gpus);
  CHECK(file.fingerprint == fingerprint(program));
  CHECK(file.gpus == gpus_of_ranks(timeline.gpus, pp));
  REQUIRE(file.timeline.spans.size() == timeline.spans.size());
  for (const Instruction& instruction : program.instructions) {
    CAPTURE(instruction.id.value);
    CHECK(same_bits(file.timeline.at(instruction.id).start, timeline.at(instruction.id).start));
    CHECK(same_bits(file.timeline.at(instruction.id).end, timeline.at(instruction.id).end));
    CHECK(file.ranks[instruction.id.index()] == instruction.rank);
    CHECK(file.streams[instruction.id.index()] == instruction.stream);
  }
  check_same_program(file, "t.json", program);
  // And the other way round: what was read writes the same file.
  CHECK(to_json(program, file.timeline) == text);
}

TEST_CASE("awkward doubles are read as they were written") {
  std::mt19937_64 random(1);
  const Program program = random_program(random, 1, 1);
  const double value =
      GENERATE(0.0, -0.0, 5e-324, 2.2250738585072014e-308, 0.1, 1.0 / 3, 1e-9, 0.30000000000000004,
               123456789.12345679, 1e9, 1e8, 99999.999999999985);
  CAPTURE(value);
  Timeline timeline{"full", {{Seconds{value}, Seconds{1e9}}}, Seconds{1e9}, 0, 1, 1};
  CHECK(same_bits(read(to_json(program, timeline)).timeline.spans[0].start, Seconds{value}));
}

TEST_CASE("a timeline file looks like this") {
  Program program;
  program.pp = 2;
  program.streams.resize(2);
  for (int rank = 0; rank < 2; ++rank) {
    Instruction instruction;
    instruction.id = InstructionId(rank);
    instruction.work = WorkId(0);
    instruction.rank = Rank(rank);
    program.instructions.push_back(instruction);
    program.streams[instruction.rank.index()][0].push_back(instruction.id);
  }
  program.works.push_back({Component::kMlp, Pass::kF, "mlp(F)", {}, {}});
  const Timeline timeline{"analytic",
                          {{Seconds{0}, Seconds{0.125}}, {Seconds{0.125}, Seconds{0.3}}},
                          Seconds{0.3},
                          2,
                          2,
                          8};
  CHECK(to_json(program, timeline) == R"({
  "format_version": "1.0",
  "source": "analytic",
  "program": {"fingerprint": ")" + fingerprint(program) +
                                          R"(", "pp": 2, "instructions": 2},
  "step_time_s": 0.3,
  "activities": 2,
  "rank_classes": 2,
  "gpus": 8,
  "gpus_of_rank": [[0, 3], [4, 7]],
  "stream_names": ["compute", "comm", "send-next", "send-prev", "recv-next", "recv-prev"],
  "spans": {
    "id": [
      0, 1
    ],
    "rank": [
      0, 1
    ],
    "stream": [
      0, 0
    ],
    "start_s": [
      0, 0.125
    ],
    "end_s": [
      0.125, 0.3
    ]
  }
}
)");
}

TEST_CASE("spans may come in any order") {
  const TimelineFile file = read(example().dump(2));
  CHECK(file.timeline.spans[0] == Span{Seconds{0}, Seconds{0.5}});
  CHECK(file.timeline.spans[1] == Span{Seconds{0.5}, Seconds{1}});
  CHECK(file.timeline.spans[2] == Span{Seconds{1}, Seconds{2.5}});
  CHECK(file.ranks[2] == Rank(1));
  CHECK(file.streams[1] == Stream::kComm);
  CHECK(file.gpus[1].count() == 2);
}

TEST_CASE("a wrong timeline is refused with a reason") {
  struct Case {
    std::string_view pointer;
    nlohmann::json value;
    std::string_view message;
  };
  const auto wrong = GENERATE(values<Case>({
      {"/spans/id/1", 2, "instruction 2 has two spans"},
      {"/spans/id/1", 2, "instruction 0 has no span"},
      {"/spans/id/1", 3, "an instruction id must be 0 to 2, found 3"},
      {"/spans/id/1", -1, "an instruction id must be 0 to 2, found -1"},
      {"/spans/id", {0, 1}, "'id' has 2 entries for 3 instructions"},
      {"/spans/end_s", {2.5, 0.5, 1, 1}, "'end_s' has 4 entries for 3 instructions"},
      {"/program/instructions", 4, "'start_s' has 3 entries for 4 instructions"},
      {"/spans/start_s/1", -0.25, "a start must be 0 to 1e9 s, found -0.25"},
      {"/spans/start_s/1", nullptr, "expected a start, a number, found null"},
      {"/spans/start_s/1", "nan", "expected a start, a number, found a string"},
      {"/spans/end_s/2", 1e300, "an end must be 0 to 1e9 s, found 1e+300"},
      {"/spans/end_s/2", 0.25, "instruction 1 ends at 0.25 s, before it starts at 0.5 s"},
      {"/step_time_s", 2, "instruction 2 ends at 2.5 s, after the step's 2 s"},
      {"/step_time_s", -1, "'step_time_s' must be 0 to"},
      {"/spans/rank/0", 2, "a rank must be 0 to 1, found 2"},
      {"/spans/stream/0", 2, "a stream must be 0 to 1, found 2"},
      {"/spans/stream/0", 0.5, "expected a stream, an integer, found a"},
      {"/stream_names/1", "copy", "expected the name of a stream, such as \"compute\""},
      {"/gpus_of_rank/1", {2, 4}, "expected the first and last GPU of a rank"},
      {"/gpus_of_rank", {{0, 3}}, "'gpus_of_rank' lists 1 ranks, the program has pp=2"},
      {"/format_version", "2.0", "format version 2.0 is not supported"},
      {"/spans/idle", 1, "unknown key 'idle'"},
  }));
  nlohmann::json json = example();
  json[nlohmann::json::json_pointer(std::string(wrong.pointer))] = wrong.value;
  const std::string text = json.dump(2);
  CAPTURE(text);
  CHECK_THAT(error_of([&] { read(text); }), Catch::Contains(std::string(wrong.message)));
}

TEST_CASE("NaN and infinity are no JSON and are refused") {
  std::string text = example().dump();
  const std::string number = GENERATE("NaN", "Infinity", "1e999");
  text.replace(text.find("0.5"), 3, number);
  CHECK(error_of([&] { read(text); }) != "no error");
}

TEST_CASE("all errors of a timeline are reported at their places") {
  nlohmann::json json = example();
  json["spans"]["end_s"] = {2.5, -1, "x"};
  json["spans"]["rank"][0] = 7;
  const std::string message = error_of([&] { read(json.dump(1)); });
  CHECK_THAT(message, Catch::Contains("a rank must be 0 to 1, found 7"));
  CHECK_THAT(message, Catch::Contains("an end must be 0 to"));
  CHECK_THAT(message, Catch::Contains("expected an end, a number, found a string"));
  CHECK_THAT(message, Catch::Contains("--> t.json:"));
}

TEST_CASE("a file of a newer minor version may hold more") {
  nlohmann::json json = example();
  json["format_version"] = "1.7";
  json["spans"]["power_w"] = {1, 2, 3};
  CHECK(read(json.dump()).timeline.spans.size() == 3);
}

TEST_CASE("a timeline of another program is refused") {
  std::mt19937_64 random(3);
  const Program program = random_program(random, 2, 9);
  TimelineFile file = read(to_json(program, random_timeline(random, program)));
  check_same_program(file, "t.json", program);
  Program other = program;
  other.instructions[4].layer = 3;
  CHECK_THAT(error_of([&] { check_same_program(file, "t.json", other); }),
             Catch::Contains("the timeline is of another plan"));
  file.ranks[4] = Rank(1 - file.ranks[4].value);
  CHECK_THAT(error_of([&] { check_same_program(file, "t.json", program); }),
             Catch::Contains("ranks and streams are not those of its program"));
}

TEST_CASE("every part of a program changes its fingerprint") {
  std::mt19937_64 random(4);
  Program program = random_program(random, 2, 6);
  program.works[0].ops.emplace_back().name = "gemm";
  program.buffers.push_back({BufferKind::kActivation, Bytes{100}});
  program.buffer_events.push_back({0, true});
  program.deps.push_back(InstructionId(1));
  program.collectives.push_back({InstructionId(2)});
  using Change = std::function<void(Program&)>;
  const std::vector<Change> changes = {
      [](Program& p) { p.pp = 3; },
      [](Program& p) { p.works[0].name = "attn(B)"; },
      [](Program& p) { p.works[0].pass = Pass::kW; },
      [](Program& p) { p.works[0].component = Component::kMlp; },
      [](Program& p) { p.works[0].wire.nic = Bytes{1}; },
      [](Program& p) { p.works[0].ops[0].flops = Flops{1}; },
      [](Program& p) { p.works[0].ops[0].groups = 2; },
      [](Program& p) { p.works.push_back(p.works[0]); },
      [](Program& p) { p.instructions[0].lent_sms = 20; },
      [](Program& p) { p.instructions[0].microbatch = Microbatch(1); },
      [](Program& p) { p.instructions[5].partner = InstructionId(0); },
      [](Program& p) { p.deps[0] = InstructionId(0); },
      [](Program& p) { p.buffers[0].bytes = Bytes{101}; },
      [](Program& p) { p.buffer_events[0].alloc = false; },
      [](Program& p) { p.collectives.push_back({}); },
      [](Program& p) { p.streams[0][5].push_back(InstructionId(0)); },
  };
  const std::string original = fingerprint(program);
  CHECK(original.size() == 16);
  CHECK(fingerprint(program) == original);
  for (std::size_t index = 0; index < changes.size(); ++index) {
    CAPTURE(index);
    Program changed = program;
    changes[index](changed);
    CHECK(fingerprint(changed) != original);
  }
  Program rounded = program;
  rounded.buffers[0].bytes = Bytes{std::nextafter(100.0, 200.0)};
  CHECK(fingerprint(rounded) == original);
}

TEST_CASE("GPUs are divided over ranks without rest") {
  CHECK(gpus_of_ranks(2048, 16)[15] == GpuRange{1920, 2047});
  int next = 0;
  for (const GpuRange& range : gpus_of_ranks(10, 4)) {
    CHECK(range.first == next);
    next = range.last + 1;
  }
  CHECK(next == 10);
  CHECK(gpus_of_ranks(0, 1)[0].count() == 0);
}

}  // namespace orrery
