#include "reports/chrome_trace.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "core/error.hpp"
#include "core/file.hpp"
#include "planner/schedules/dualpipe.hpp"
#include "planner/schedules/one_f_one_b.hpp"
#include "reports/gzip.hpp"
#include "sim/analytic.hpp"
#include "tests/core/example_plan.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

using Json = nlohmann::json;

// A plan with its program and timeline, made by hand.
struct Small {
  Plan plan;
  Program program;
  Timeline timeline;

  Instruction& add(int rank, Stream stream, int work, int cell, double start_ns, double end_ns,
                   std::vector<int> deps) {
    Instruction instruction;
    instruction.id = InstructionId(static_cast<int>(program.instructions.size()));
    instruction.work = WorkId(work);
    instruction.rank = Rank(rank);
    instruction.stream = stream;
    instruction.cell = cell;
    if (cell >= 0) {
      instruction.stage = Stage(rank);
      instruction.microbatch = Microbatch(0);
    }
    instruction.first_dep = static_cast<std::uint32_t>(program.deps.size());
    for (int on : deps) program.deps.push_back(InstructionId(on));
    instruction.last_dep = static_cast<std::uint32_t>(program.deps.size());
    instruction.first_event = instruction.last_event =
        static_cast<std::uint32_t>(program.buffer_events.size());
    program.streams[Rank(rank).index()][static_cast<std::size_t>(stream)].push_back(instruction.id);
    timeline.spans.push_back({Seconds{start_ns * 1e-9}, Seconds{end_ns * 1e-9}});
    return program.instructions.emplace_back(instruction);
  }
  // A buffer event of the instruction added last.
  void buffer(int number, bool alloc) {
    program.buffer_events.push_back({number, alloc});
    ++program.instructions.back().last_event;
  }
};

// Two ranks, one micro-batch: attention, an exchange, a transfer, a backward, the optimizer.
Small small_plan() {
  Small small;
  small.plan.model.name = "tiny";
  small.plan.cluster.name = "two-gpus";
  small.plan.layout.pp = 2;
  small.plan.schedule = one_f_one_b(2, 1);
  Program& program = small.program;
  program.pp = 2;
  program.streams.resize(2);
  const Wire exchange{Pattern::kDispatch, 2, gigabytes(0.0325), gigabytes(0.025),
                      gigabytes(0.0075)};
  const Wire transfer{Pattern::kSend, 2, gigabytes(0.05), gigabytes(0.05), Bytes{}};
  program.works = {{Component::kAttention, Pass::kF, "attn(F)", {}, {}},
                   {Component::kDispatch, Pass::kF, "dispatch(F)", {}, exchange},
                   {Component::kPipeline, Pass::kF, "pipeline transfer", {}, transfer},
                   {Component::kMlp, Pass::kI, "mlp(B)", {}, {}},
                   {Component::kOptimizer, Pass::kW, "optimizer", {}, {}}};
  program.buffers = {{BufferKind::kActivation, gibibytes(1.5)},
                     {BufferKind::kCommunication, gibibytes(0.125)}};
  constexpr int kAttention = 0, kDispatch = 1, kTransfer = 2, kMlp = 3, kOptimizer = 4;
  small.add(0, Stream::kCompute, kAttention, 0, 0, 1000.4, {}).layer = 1;
  small.buffer(0, true);
  small.add(0, Stream::kComm, kDispatch, 0, 1000.4, 2500.6, {0}).lent_sms = 20;
  small.add(0, Stream::kSendNext, kTransfer, 0, 2500.6, 4000, {1}).partner = InstructionId(3);
  small.add(1, Stream::kRecvPrev, kTransfer, 0, 2500.6, 4000, {}).partner = InstructionId(2);
  small.buffer(1, true);
  small.add(1, Stream::kCompute, kAttention, 0, 4000, 5000, {3});
  small.buffer(1, false);
  small.add(1, Stream::kCompute, kMlp, 1, 5000, 7001, {});
  small.add(0, Stream::kCompute, kOptimizer, -1, 8001, 8500, {1});
  small.buffer(0, false);
  small.timeline.source = "analytic";
  small.timeline.step = Seconds{8500e-9};
  small.timeline.gpus = 2;
  return small;
}

// Unequal times that share no unit, so that rounding has something to do.
class OddCost : public CostSource {
 public:
  ComputeCost compute(const Work& work, int lent_sms) const override {
    return {Seconds{1e-4 * std::sqrt(2.0 + static_cast<double>(work.name.size()) + lent_sms)},
            Seconds{1e-6 / 3}};
  }
  TransferCost transfer(const Work&, bool, int) const override {
    return {microseconds(10.0 / 7), gigabytes_per_second(41.3), gigabytes_per_second(153.7)};
  }
  AssumedFigures assumed(const Program&) const override { return {}; }
};

Plan plan_with(const Schedule& schedule) {
  Plan plan = example_plan();
  plan.schedule = schedule;
  plan.training.global_batch = plan.layout.dp * schedule.microbatches;
  return plan;
}

// The nanoseconds that a written number of microseconds stands for.
std::int64_t nanoseconds(const Json& number) {
  return std::llround(number.get<double>() * 1000);
}

// And what a reader sees that truncates instead, as Perfetto does.
std::int64_t truncated(const Json& number) {
  return static_cast<std::int64_t>(number.get<double>() * 1000.0);
}

struct Event {
  std::int64_t start = 0;
  std::int64_t end = 0;
  Json json;
};

// X events by thread, in the order of the file.
std::map<int, std::vector<Event>> tracks(const Json& trace) {
  std::map<int, std::vector<Event>> result;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const std::int64_t start = nanoseconds(event["ts"]);
    result[event["tid"].get<int>()].push_back({start, start + nanoseconds(event["dur"]), event});
    CHECK(truncated(event["ts"]) == start);
    CHECK(truncated(event["dur"]) == nanoseconds(event["dur"]));
  }
  return result;
}

std::map<int, std::string> thread_names(const Json& trace) {
  std::map<int, std::string> names;
  for (const Json& event : trace["traceEvents"]) {
    if (event["name"] == "thread_name") names[event["tid"].get<int>()] = event["args"]["name"];
  }
  return names;
}

void check_no_overlap(const Json& trace) {
  for (const auto& [tid, events] : tracks(trace)) {
    for (std::size_t index = 1; index < events.size(); ++index) {
      CAPTURE(tid, events[index - 1].json.dump(), events[index].json.dump());
      CHECK(events[index].start >= events[index - 1].end);
    }
  }
}

// `size`: of the text, at most.
std::string gunzip(std::string data, std::size_t size) {
  std::string out(size + 1, '\0');
  z_stream stream = {};
  REQUIRE(inflateInit2(&stream, MAX_WBITS + 16) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  CHECK(stream.avail_in == 0);
  inflateEnd(&stream);
  return out.substr(0, stream.total_out);
}

// Of small_plan(). 8001 ns is written 8.0011: as 8.001 it reads as 8000 ns where it is truncated.
// What the optimizer depends on has ended long before it starts: a wait, then idle time.
const std::string kSmallTrace = R"json({"traceEvents":[
{"ph":"M","pid":0,"name":"process_name","args":{"name":"pipeline rank 0 (stage 0)"}},
{"ph":"M","pid":0,"name":"process_sort_index","args":{"sort_index":0}},
{"ph":"M","pid":0,"tid":100,"name":"thread_name","args":{"name":"cells"}},
{"ph":"M","pid":0,"tid":100,"name":"thread_sort_index","args":{"sort_index":0}},
{"ph":"X","pid":0,"tid":100,"ts":0,"dur":2.501,"name":"F 0","cat":"cell","args":{"cell":0}},
{"ph":"X","pid":0,"tid":100,"ts":8.0011,"dur":0.499,"name":"optimizer","cat":"cell","args":{}},
{"ph":"M","pid":0,"tid":101,"name":"thread_name","args":{"name":"compute"}},
{"ph":"M","pid":0,"tid":101,"name":"thread_sort_index","args":{"sort_index":1}},
{"ph":"X","pid":0,"tid":101,"ts":0,"dur":1,"name":"attn(F)","cat":"attention","args":{"id":0,"microbatch":0,"stage":0,"layer":1,"direction":0}},
{"ph":"X","pid":0,"tid":101,"ts":8.0011,"dur":0.499,"name":"optimizer","cat":"optimizer","args":{"id":6}},
{"ph":"M","pid":0,"tid":102,"name":"thread_name","args":{"name":"waits"}},
{"ph":"M","pid":0,"tid":102,"name":"thread_sort_index","args":{"sort_index":2}},
{"ph":"X","pid":0,"tid":102,"ts":1,"dur":1.501,"name":"wait for dispatch(F)","cat":"wait","args":{"for":1,"next":6,"component":"dispatch"}},
{"ph":"X","pid":0,"tid":102,"ts":2.501,"dur":5.500,"name":"idle","cat":"wait","args":{"next":6}},
{"ph":"M","pid":0,"tid":103,"name":"thread_name","args":{"name":"communication"}},
{"ph":"M","pid":0,"tid":103,"name":"thread_sort_index","args":{"sort_index":3}},
{"ph":"X","pid":0,"tid":103,"ts":1,"dur":1.501,"name":"dispatch(F)","cat":"dispatch","args":{"id":1,"microbatch":0,"stage":0,"direction":0,"MB":32.5,"nic_MB":25,"nvlink_MB":7.5,"lent_SMs":20}},
{"ph":"M","pid":0,"tid":104,"name":"thread_name","args":{"name":"send to next"}},
{"ph":"M","pid":0,"tid":104,"name":"thread_sort_index","args":{"sort_index":4}},
{"ph":"X","pid":0,"tid":104,"ts":2.501,"dur":1.499,"name":"pipeline transfer","cat":"pipeline","args":{"id":2,"microbatch":0,"stage":0,"direction":0,"peer":1,"MB":50,"nic_MB":50}},
{"ph":"C","pid":0,"tid":101,"ts":0,"name":"activation memory","args":{"GiB":1.5}},
{"ph":"C","pid":0,"tid":101,"ts":8.500,"name":"activation memory","args":{"GiB":0}},
{"ph":"M","pid":1,"name":"process_name","args":{"name":"pipeline rank 1 (stage 1)"}},
{"ph":"M","pid":1,"name":"process_sort_index","args":{"sort_index":1}},
{"ph":"M","pid":1,"tid":200,"name":"thread_name","args":{"name":"cells"}},
{"ph":"M","pid":1,"tid":200,"name":"thread_sort_index","args":{"sort_index":0}},
{"ph":"X","pid":1,"tid":200,"ts":4,"dur":1,"name":"F 0","cat":"cell","args":{"cell":0}},
{"ph":"X","pid":1,"tid":200,"ts":5,"dur":2.001,"name":"B 0","cat":"cell","args":{"cell":1}},
{"ph":"M","pid":1,"tid":201,"name":"thread_name","args":{"name":"compute"}},
{"ph":"M","pid":1,"tid":201,"name":"thread_sort_index","args":{"sort_index":1}},
{"ph":"X","pid":1,"tid":201,"ts":4,"dur":1,"name":"attn(F)","cat":"attention","args":{"id":4,"microbatch":0,"stage":1,"direction":0}},
{"ph":"X","pid":1,"tid":201,"ts":5,"dur":2.001,"name":"mlp(B)","cat":"mlp","args":{"id":5,"microbatch":0,"stage":1,"direction":0}},
{"ph":"M","pid":1,"tid":202,"name":"thread_name","args":{"name":"waits"}},
{"ph":"M","pid":1,"tid":202,"name":"thread_sort_index","args":{"sort_index":2}},
{"ph":"X","pid":1,"tid":202,"ts":0,"dur":4,"name":"wait for rank 0","cat":"wait","args":{"for":3,"next":4,"component":"pipeline"}},
{"ph":"M","pid":1,"tid":207,"name":"thread_name","args":{"name":"receive from previous"}},
{"ph":"M","pid":1,"tid":207,"name":"thread_sort_index","args":{"sort_index":7}},
{"ph":"X","pid":1,"tid":207,"ts":2.501,"dur":1.499,"name":"pipeline transfer","cat":"pipeline","args":{"id":3,"microbatch":0,"stage":1,"direction":0,"peer":0,"MB":50,"nic_MB":50}},
{"ph":"C","pid":1,"tid":201,"ts":0,"name":"communication buffers","args":{"GiB":0}},
{"ph":"C","pid":1,"tid":201,"ts":2.501,"name":"communication buffers","args":{"GiB":0.125}},
{"ph":"C","pid":1,"tid":201,"ts":5,"name":"communication buffers","args":{"GiB":0}},
{"ph":"s","id":2,"pid":0,"tid":104,"ts":2.501,"name":"transfer","cat":"pipeline"},
{"ph":"f","id":2,"pid":1,"tid":207,"ts":2.501,"name":"transfer","cat":"pipeline","bp":"e"}
],
"otherData":{"orrery_version":"@","plan":"tiny on two-gpus: pp=2 ep=1 dp=1, 1f1b","source":"analytic","step_time_s":8.5e-06,"gpus":2,"times":"microseconds, rounded to nanoseconds","sizes":"MB = 1e6 bytes","memory":"GiB = 2^30 bytes","spans_cut":0}}
)json";

}  // namespace

TEST_CASE("the trace of a small plan, line by line") {
  const Small small = small_plan();
  const std::string text = chrome_trace(small.plan, small.program, small.timeline);
  CHECK(chrome_trace(small.plan, small.program, small.timeline) == text);
  std::string expected = kSmallTrace;
  expected.replace(expected.find('@'), 1, Json::parse(text)["otherData"]["orrery_version"]);
  CHECK(text == expected);
}

TEST_CASE("every instruction is in the trace once, and nothing overlaps on a thread") {
  const bool is_bidirectional = GENERATE(false, true);
  const Plan plan = plan_with(is_bidirectional ? dualpipe(4, 12) : one_f_one_b(4, 6));
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, OddCost(), 8);
  const Json trace = Json::parse(chrome_trace(plan, program, timeline));
  check_no_overlap(trace);
  CHECK(trace["otherData"]["spans_cut"] == 0);
  // By thread: cells, compute, waits, communication, sends, receives.
  const std::array<int, 8> stream_of = {-1, 0, -1, 1, 2, 3, 4, 5};
  std::vector<int> seen(program.instructions.size());
  for (const auto& [tid, events] : tracks(trace)) {
    const int stream = stream_of[static_cast<std::size_t>(tid % 100)];
    if (stream < 0) continue;
    for (const Event& event : events) {
      CAPTURE(event.json.dump());
      const auto id = event.json["args"]["id"].get<std::size_t>();
      REQUIRE(id < seen.size());
      ++seen[id];
      const Instruction& instruction = program.instructions[id];
      CHECK(event.json["pid"] == instruction.rank.value);
      CHECK(stream == static_cast<int>(instruction.stream));
      CHECK(event.json["name"] == program.work(instruction).name);
      CHECK(event.start == std::llround(timeline.at(instruction.id).start.value() * 1e9));
      CHECK(event.end == std::llround(timeline.at(instruction.id).end.value() * 1e9));
    }
  }
  CHECK(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
}

TEST_CASE("cells and waits fill the compute thread's gaps, arrows lie in their spans") {
  const Plan plan = plan_with(dualpipe(4, 12));
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, OddCost(), 8);
  const Json trace = Json::parse(chrome_trace(plan, program, timeline));
  const auto by_tid = tracks(trace);
  std::map<std::pair<int, std::string>, std::vector<Event>> threads;
  for (const auto& [tid, name] : thread_names(trace))
    threads[{tid / 100 - 1, name}] = by_tid.at(tid);
  for (int rank = 0; rank < 4; ++rank) {
    CAPTURE(rank);
    const auto& cells = threads[{rank, "cells"}];
    CHECK(cells.size() == plan.schedule.ranks[Rank(rank).index()].size() + 1);
    CHECK(cells.back().json["name"] == "optimizer");
    CHECK(std::any_of(cells.begin(), cells.end(), [](const Event& cell) {
      return cell.json["name"].get<std::string>().starts_with("F&B ");
    }));
    // Compute and waits together leave no hole.
    std::vector<Event> both = threads[{rank, "compute"}];
    const auto& waits = threads[{rank, "waits"}];
    both.insert(both.end(), waits.begin(), waits.end());
    std::sort(both.begin(), both.end(), [](const Event& a, const Event& b) {
      return std::tie(a.start, a.end) < std::tie(b.start, b.end);
    });
    std::int64_t reached = 0;
    for (const Event& event : both) {
      CHECK(event.start == reached);
      reached = event.end;
    }
    for (const Event& wait : waits) {
      CAPTURE(wait.json.dump());
      REQUIRE(wait.json["args"].contains("for"));
      const InstructionId cause(wait.json["args"]["for"].get<int>());
      CHECK(std::llround(timeline.at(cause).end.value() * 1e9) == wait.end);
    }
  }
  std::map<int, int> ends;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] != "s" && event["ph"] != "f") continue;
    CAPTURE(event.dump());
    const auto& events = by_tid.at(event["tid"].get<int>());
    const std::int64_t when = nanoseconds(event["ts"]);
    CHECK(std::any_of(events.begin(), events.end(),
                      [&](const Event& span) { return span.start <= when && when < span.end; }));
    ends[event["id"].get<int>()] += event["ph"] == "s" ? 1 : 100;
  }
  CHECK(!ends.empty());
  CHECK(std::all_of(ends.begin(), ends.end(), [](const auto& end) { return end.second == 101; }));
}

TEST_CASE("memory counters rise and fall to nothing, one sample a moment") {
  const Plan plan = plan_with(one_f_one_b(4, 6));
  const Program program = lower(plan);
  const Json trace = Json::parse(chrome_trace(plan, program, run_analytic(program, OddCost(), 8)));
  std::map<std::pair<int, std::string>, std::vector<std::pair<std::int64_t, double>>> counters;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] != "C") continue;
    counters[{event["pid"].get<int>(), event["name"]}].emplace_back(nanoseconds(event["ts"]),
                                                                    event["args"]["GiB"]);
  }
  for (int rank = 0; rank < 4; ++rank) CHECK(counters.count({rank, "activation memory"}) == 1);
  for (const auto& [counter, samples] : counters) {
    CAPTURE(counter.first, counter.second);
    CHECK(samples.back().second == 0);
    for (std::size_t index = 1; index < samples.size(); ++index) {
      CHECK(samples[index].first > samples[index - 1].first);
      CHECK(samples[index].second >= 0);
    }
  }
}

TEST_CASE("measured spans that overlap are cut and counted") {
  Small small = small_plan();
  small.timeline.spans[5] = {Seconds{4200e-9}, Seconds{7001e-9}};  // starts inside the one before
  small.timeline.spans[1].start = Seconds{999e-9};                 // another thread: no overlap
  const Json trace = Json::parse(chrome_trace(small.plan, small.program, small.timeline));
  check_no_overlap(trace);
  // The compute span, and that of its cell.
  CHECK(trace["otherData"]["spans_cut"] == 2);
  small.timeline.spans.pop_back();
  CHECK_THROWS_AS(chrome_trace(small.plan, small.program, small.timeline), Bug);
}

TEST_CASE("times written at random are read to the nanosecond, truncated or rounded") {
  std::mt19937_64 random(7);
  Small small = small_plan();
  for (int round = 0; round < 100; ++round) {
    std::array<std::int64_t, 4> at = {};
    for (std::int64_t& time : at) time = static_cast<std::int64_t>(random() % 60'000'000'000);
    std::sort(at.begin(), at.end());
    const auto seconds = [&](std::size_t index) {
      return Seconds{static_cast<double>(at[index]) * 1e-9};
    };
    small.timeline.spans[0] = {seconds(0), seconds(1)};
    small.timeline.spans[6] = {seconds(2), seconds(3)};
    const Json trace = Json::parse(chrome_trace(small.plan, small.program, small.timeline));
    const std::vector<Event> compute = tracks(trace).at(101);  // checks truncation
    CHECK(std::array{compute[0].start, compute[0].end, compute[1].start, compute[1].end} == at);
  }
}

TEST_CASE("compressed text comes back, and equal text gives equal bytes") {
  std::mt19937_64 random(1);
  const std::size_t size = GENERATE(0, 1, 1000, 300000);
  std::string text(size, 'x');
  for (char& letter : text) letter = static_cast<char>(random() % 7);
  const std::string data = gzip(text);
  CHECK(gzip(text) == data);
  CHECK(gunzip(data, size) == text);
  // RFC 1952: magic, deflate, no flags, no time, system unknown.
  CHECK(data.substr(0, 8) == std::string("\x1f\x8b\x08\0\0\0\0\0", 8));
  CHECK(data[9] == '\xff');
}

TEST_CASE("a trace is compressed where its name says so") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("orrery-trace-{}", ::getpid());
  std::filesystem::create_directory(folder);
  write_trace((folder / "t.json").string(), "{}");
  write_trace((folder / "t.json.gz").string(), "{}");
  CHECK(read_file((folder / "t.json").string()) == "{}");
  CHECK(gunzip(read_file((folder / "t.json.gz").string()), 2) == "{}");
  CHECK_THROWS_AS(write_trace((folder / "none" / "t.json").string(), "{}"), EnvironmentError);
  std::filesystem::remove_all(folder);
}

}  // namespace orrery
