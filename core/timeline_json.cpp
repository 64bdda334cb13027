#include "core/timeline_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.hpp"
#include "core/hash.hpp"
#include "core/plan_json.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr double kLatest = 1e9;  // seconds: 31 years, within 64 bits of nanoseconds
constexpr int kMostInstructions = 50'000'000;
constexpr std::size_t kNumbersPerLine = 12;

// ------------------------------------------------------------------------------------------------
// Fingerprint

// A Program as text that differs wherever two programs do: counts before lists, names with their
// length.
class ProgramText {
 public:
  std::string take() { return std::move(text_); }

  void add(const Work& work) {
    number(static_cast<int>(work.component));
    number(static_cast<int>(work.pass));
    name(work.name);
    number(static_cast<int>(work.parameters));
    number(static_cast<std::int64_t>(work.ops.size()));
    for (const Op& op : work.ops) add(op);
    number(static_cast<int>(work.wire.pattern));
    number(work.wire.group);
    for (Bytes amount : {work.wire.logical, work.wire.nic, work.wire.nvlink})
      this->amount(amount.value());
  }
  void add(const Op& op) {
    name(op.name);
    number(static_cast<int>(op.kernel));
    number(static_cast<int>(op.in));
    number(static_cast<int>(op.out));
    for (double value : {op.m, op.n, op.k, op.flops.value(), op.bytes.value()}) amount(value);
    for (int value : {op.groups, op.launches, op.recompute ? 1 : 0}) number(value);
  }
  void add(const Instruction& instruction) {
    for (std::int64_t value : std::initializer_list<std::int64_t>{
             instruction.id.value, instruction.work.value, instruction.rank.value,
             static_cast<int>(instruction.stream), instruction.lent_sms,
             instruction.overlapped ? 1 : 0, instruction.cell, instruction.stage.value,
             instruction.direction, instruction.layer, instruction.microbatch.value,
             instruction.partner.value, instruction.collective, instruction.first_dep,
             instruction.last_dep, instruction.first_event, instruction.last_event}) {
      number(value);
    }
  }
  void add(const Buffer& buffer) {
    number(static_cast<int>(buffer.kind));
    amount(buffer.bytes.value());
    number(buffer.stage.value);
    number(buffer.direction);
    number(buffer.layer);
    number(buffer.microbatch.value);
  }
  void add(const BufferEvent& event) {
    number(event.buffer);
    number(event.alloc ? 1 : 0);
  }
  void add(InstructionId id) { number(id.value); }
  template <class T>
  void add(const std::vector<T>& list) {
    number(static_cast<std::int64_t>(list.size()));
    for (const T& element : list) add(element);
  }
  template <class T, std::size_t size>
  void add(const std::array<T, size>& list) {
    for (const T& element : list) add(element);
  }
  void number(std::int64_t value) {
    const fmt::format_int digits(value);
    text_.append(digits.data(), digits.size());
    text_ += ' ';
  }

 private:
  void amount(double value) { fmt::format_to(std::back_inserter(text_), "{:.9g} ", value); }
  void name(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    text_ += value;
  }

  std::string text_;
};

// ------------------------------------------------------------------------------------------------
// Writing

// The shortest text that reads as the same double. A zero with a sign would read as an integer
// without one.
std::string shortest(double value) {
  if (value == 0 && std::signbit(value)) return "-0.0";
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, result.ptr};
}

// `"key": [...]` with a dozen numbers a line.
template <class Text>
void write_column(std::string& out, std::string_view key, std::size_t size, Text text) {
  fmt::format_to(std::back_inserter(out), "    \"{}\": [", key);
  for (std::size_t index = 0; index < size; ++index) {
    if (index > 0) out += ",";
    out += index % kNumbersPerLine == 0 ? "\n      " : " ";
    out += text(index);
  }
  out += "\n    ]";
}

// ------------------------------------------------------------------------------------------------
// Reading

constexpr auto kColumns =
    std::to_array<std::string_view>({"id", "rank", "stream", "start_s", "end_s"});

class TimelineReader {
 public:
  explicit TimelineReader(Reader& root) : root_(root), diagnostics_(root.context().diagnostics) {}

  TimelineFile read() {
    root_.format_version(1, 0);
    Timeline& timeline = file_.timeline;
    timeline.source = root_.required_string("source");
    if (auto program = root_.required_table("program")) {
      file_.fingerprint = program->required_string("fingerprint");
      pp_ = program->required_int("pp", {1, 1000000});
      instructions_ = program->required_int("instructions", {0, kMostInstructions});
      program->finish();
    }
    timeline.step = Seconds{root_.required_double("step_time_s", 0, kLatest)};
    constexpr std::uint64_t kMost = std::numeric_limits<long>::max();
    timeline.activities =
        static_cast<long>(std::min(root_.optional_uint64("activities", 0), kMost));
    timeline.rank_classes = root_.optional_int("rank_classes", 0);
    timeline.gpus = root_.optional_int("gpus", 0);
    const Node* gpus = root_.required_array("gpus_of_rank");
    const Node* names = root_.required_array("stream_names");
    auto spans = root_.required_table("spans");
    std::array<const Node*, kColumns.size()> columns = {};
    if (spans) {
      for (std::size_t column = 0; column < kColumns.size(); ++column)
        columns[column] = spans->required_array(kColumns[column]);
      spans->finish();
    }
    auto run = root_.optional_table("run");
    root_.optional_table("plan");  // read by itself, as a plan file
    root_.finish();
    // Elements are checked against counts, so those have to be right first.
    diagnostics_.throw_if_errors();
    read_gpus(*gpus);
    read_names(*names);
    for (std::size_t column = 0; column < kColumns.size(); ++column) {
      if (columns[column]->children.size() == static_cast<std::size_t>(instructions_)) continue;
      spans->error(kColumns[column],
                   fmt::format("'{}' has {} entries for {} instructions", kColumns[column],
                               columns[column]->children.size(), instructions_));
    }
    diagnostics_.throw_if_errors();
    read_spans(columns);
    if (run) read_run(*run);
    diagnostics_.throw_if_errors();
    return std::move(file_);
  }

 private:
  void error(const Node& node, std::string message, std::string hint = "") {
    diagnostics_.error(node.place(root_.context().file), std::move(message), std::move(hint));
  }

  void read_run(Reader& run) {
    RunRecord& record = file_.run.emplace();
    record.pace = run.required_double("pace", 0, 1e9);
    record.cores = run.required_int("cores", {1, 4096});
    record.scalar = run.required_string("scalar");
    record.machine = run.required_string("machine");
    const auto times = [&](std::string_view key, std::vector<Seconds>& to) {
      const Node* node = run.required_array(key);
      if (node == nullptr) return;
      for (const Node& entry : node->children) {
        if (const auto value = time(entry, key)) to.push_back(*value);
      }
    };
    times("steps_s", record.steps);
    times("work_s", record.work);
    if (const Node* bytes = run.required_array("peak_bytes")) {
      for (const Node& entry : bytes->children) {
        if (const auto value = time(entry, "peak_bytes"))
          record.peak_bytes.push_back(value->value());
      }
    }
    run.finish();
    if (!record.work.empty() && record.work.size() != static_cast<std::size_t>(instructions_)) {
      run.error("work_s", fmt::format("'work_s' has {} entries for {} instructions",
                                      record.work.size(), instructions_));
    }
  }

  // An integer in [0, end), or nothing.
  std::optional<int> index(const Node& node, std::string_view what, std::int64_t end) {
    if (node.kind != NodeKind::kInteger) {
      error(node, fmt::format("expected {}, an integer, found {}", what, with_article(node.kind)));
    } else if (node.integer < 0 || node.integer >= end) {
      error(node, fmt::format("{} must be 0 to {}, found {}", what, end - 1, node.text));
    } else {
      return static_cast<int>(node.integer);
    }
    return std::nullopt;
  }

  // Finite and not negative, or nothing.
  std::optional<Seconds> time(const Node& node, std::string_view what) {
    if (node.kind != NodeKind::kInteger && node.kind != NodeKind::kFloat) {
      error(node, fmt::format("expected {}, a number, found {}", what, with_article(node.kind)));
    } else if (!(node.number >= 0 && node.number <= kLatest)) {
      error(node, fmt::format("{} must be 0 to 1e9 s, found {}", what, node.text));
    } else {
      return Seconds{node.number};
    }
    return std::nullopt;
  }

  void read_gpus(const Node& list) {
    if (list.children.size() != static_cast<std::size_t>(pp_)) {
      error(list, fmt::format("'gpus_of_rank' lists {} ranks, the program has pp={}",
                              list.children.size(), pp_));
    }
    for (const Node& range : list.children) {
      const bool is_pair = range.kind == NodeKind::kArray && range.children.size() == 2 &&
                           range.children[0].kind == NodeKind::kInteger &&
                           range.children[1].kind == NodeKind::kInteger;
      const std::int64_t first = is_pair ? range.children[0].integer : 0;
      const std::int64_t last = is_pair ? range.children[1].integer : 0;
      if (!is_pair || first < 0 || last < first - 1 || last >= file_.timeline.gpus) {
        error(range, fmt::format("expected the first and last GPU of a rank, [first, last] below "
                                 "{}",
                                 file_.timeline.gpus));
        continue;
      }
      file_.gpus.push_back({static_cast<int>(first), static_cast<int>(last)});
    }
  }

  void read_names(const Node& list) {
    for (const Node& name : list.children) {
      std::optional<Stream> found;
      for (int number = 0; number < kStreams; ++number) {
        const auto stream = static_cast<Stream>(number);
        if (name.kind == NodeKind::kString && name.text == to_string(stream)) found = stream;
      }
      if (!found) error(name, "expected the name of a stream, such as \"compute\"");
      names_.push_back(found.value_or(Stream::kCompute));
    }
  }

  void read_spans(const std::array<const Node*, kColumns.size()>& columns) {
    const auto count = static_cast<std::size_t>(instructions_);
    file_.timeline.spans.resize(count);
    file_.ranks.resize(count);
    file_.streams.resize(count);
    std::vector<const Node*> seen(count);
    for (std::size_t row = 0; row < count; ++row) {
      const Node& id_node = columns[0]->children[row];
      const auto id = index(id_node, "an instruction id", instructions_);
      const auto rank = index(columns[1]->children[row], "a rank", pp_);
      const auto stream =
          index(columns[2]->children[row], "a stream", static_cast<std::int64_t>(names_.size()));
      const auto start = time(columns[3]->children[row], "a start");
      const auto end = time(columns[4]->children[row], "an end");
      if (start && end) check_span({*start, *end}, columns[4]->children[row], id.value_or(-1));
      if (!id) continue;
      const auto place = static_cast<std::size_t>(*id);
      if (seen[place] != nullptr) {
        error(id_node, fmt::format("instruction {} has two spans", *id),
              fmt::format("the first is on line {}", seen[place]->position.line));
      }
      seen[place] = &id_node;
      if (!rank || !stream || !start || !end) continue;
      file_.timeline.spans[place] = {*start, *end};
      file_.ranks[place] = Rank(*rank);
      file_.streams[place] = names_[static_cast<std::size_t>(*stream)];
    }
    report_missing(*columns[0], seen);
  }

  void check_span(const Span& span, const Node& end, int id) {
    if (span.end < span.start) {
      error(end, fmt::format("instruction {} ends at {} s, before it starts at {} s", id,
                             span.end.value(), span.start.value()));
    } else if (span.end > file_.timeline.step) {
      error(end, fmt::format("instruction {} ends at {} s, after the step's {} s", id,
                             span.end.value(), file_.timeline.step.value()));
    }
  }

  void report_missing(const Node& ids, const std::vector<const Node*>& seen) {
    std::size_t missing = 0;
    std::size_t first = 0;
    for (std::size_t id = seen.size(); id-- > 0;) {
      if (seen[id] != nullptr) continue;
      ++missing;
      first = id;
    }
    if (missing == 1) error(ids, fmt::format("instruction {} has no span", first));
    if (missing > 1)
      error(ids, fmt::format("{} instructions have no span, the first is {}", missing, first));
  }

  Reader& root_;
  Diagnostics& diagnostics_;
  TimelineFile file_;
  int pp_ = 0;
  int instructions_ = 0;
  std::vector<Stream> names_;
};

}  // namespace

std::string fingerprint(const Program& program) {
  ProgramText text;
  text.number(program.pp);
  text.add(program.works);
  text.add(program.instructions);
  text.add(program.deps);
  text.add(program.buffers);
  text.add(program.buffer_events);
  text.add(program.collectives);
  text.add(program.streams);
  return hash_text(text.take());
}

std::vector<GpuRange> gpus_of_ranks(int gpus, int pp) {
  std::vector<GpuRange> ranges;
  const auto first = [&](std::int64_t rank) { return static_cast<int>(gpus * rank / pp); };
  for (int rank = 0; rank < pp; ++rank) ranges.push_back({first(rank), first(rank + 1) - 1});
  return ranges;
}

std::string to_json(const Program& program, const Timeline& timeline, const Plan* plan,
                    const RunRecord* run) {
  const std::size_t count = program.instructions.size();
  ORRERY_CHECK(timeline.spans.size() == count, "{} spans of {} instructions", timeline.spans.size(),
               count);
  for (const Span& span : timeline.spans) {
    ORRERY_CHECK(span.start.value() >= 0 && span.end >= span.start && span.end <= timeline.step,
                 "span {} to {} s in a step of {} s", span.start.value(), span.end.value(),
                 timeline.step.value());
  }
  std::vector<std::string> gpus;
  for (const GpuRange& range : gpus_of_ranks(timeline.gpus, program.pp))
    gpus.push_back(fmt::format("[{}, {}]", range.first, range.last));
  std::vector<std::string> names;
  for (int stream = 0; stream < kStreams; ++stream)
    names.push_back(fmt::format("\"{}\"", to_string(static_cast<Stream>(stream))));
  const auto source = nlohmann::json(timeline.source)
                          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);

  std::string out = "{\n  \"format_version\": \"1.0\",\n";
  const auto field = [&out](std::string_view key, std::string_view value) {
    fmt::format_to(std::back_inserter(out), "  \"{}\": {},\n", key, value);
  };
  field("source", source);
  field("program", fmt::format(R"({{"fingerprint": "{}", "pp": {}, "instructions": {}}})",
                               fingerprint(program), program.pp, count));
  field("step_time_s", shortest(timeline.step.value()));
  field("activities", std::to_string(timeline.activities));
  field("rank_classes", std::to_string(timeline.rank_classes));
  field("gpus", std::to_string(timeline.gpus));
  field("gpus_of_rank", fmt::format("[{}]", fmt::join(gpus, ", ")));
  field("stream_names", fmt::format("[{}]", fmt::join(names, ", ")));
  out += "  \"spans\": {\n";
  const std::vector<Instruction>& instructions = program.instructions;
  const auto column = [&](std::string_view key, auto text) {
    write_column(out, key, count, text);
    out += key == kColumns.back() ? "\n" : ",\n";
  };
  column("id", [&](std::size_t row) { return std::to_string(instructions[row].id.value); });
  column("rank", [&](std::size_t row) { return std::to_string(instructions[row].rank.value); });
  column("stream", [&](std::size_t row) {
    return std::to_string(static_cast<int>(instructions[row].stream));
  });
  column("start_s", [&](std::size_t row) { return shortest(timeline.spans[row].start.value()); });
  column("end_s", [&](std::size_t row) { return shortest(timeline.spans[row].end.value()); });
  out += "  }";
  if (run != nullptr) {
    const auto quoted = [](const std::string& text) {
      return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    out += fmt::format(
        ",\n  \"run\": {{\"pace\": {}, \"cores\": {}, \"scalar\": {}, \"machine\": {},\n",
        shortest(run->pace), run->cores, quoted(run->scalar), quoted(run->machine));
    const auto list = [&](std::string_view key, std::size_t entries, auto text) {
      write_column(out, key, entries, text);
    };
    list("steps_s", run->steps.size(),
         [&](std::size_t entry) { return shortest(run->steps[entry].value()); });
    out += ",\n";
    list("peak_bytes", run->peak_bytes.size(),
         [&](std::size_t entry) { return shortest(run->peak_bytes[entry]); });
    out += ",\n";
    list("work_s", run->work.size(),
         [&](std::size_t entry) { return shortest(run->work[entry].value()); });
    out += "\n  }";
  }
  if (plan != nullptr) out += ",\n  \"plan\": " + to_json(*plan);
  if (out.back() == '\n') out.pop_back();
  out += "\n}\n";
  return out;
}

TimelineFile read_timeline(const Document& document, Diagnostics& diagnostics) {
  ReadContext context{document.file, "timeline", diagnostics};
  Reader root(document.root, context);
  TimelineFile file = TimelineReader(root).read();
  if (const Node* plan = document.root.find("plan"))
    file.plan = read_plan(Document{document.file, *plan}, diagnostics);
  return file;
}

TimelineFile read_timeline(const std::string& path) {
  Diagnostics diagnostics;
  return read_timeline(parse_file(path, diagnostics), diagnostics);
}

void check_same_program(const TimelineFile& file, const std::string& path, const Program& program) {
  const std::string expected = fingerprint(program);
  Diagnostics diagnostics;
  const Place place{path, 0, 0, 1, ""};
  if (file.fingerprint != expected) {
    diagnostics.error(place,
                      fmt::format("the timeline is of another plan: its program is {}, this one {}",
                                  file.fingerprint, expected),
                      "both must come from the same plan file");
  }
  diagnostics.throw_if_errors();
  const auto agrees = [&file](const Instruction& instruction) {
    const std::size_t id = instruction.id.index();
    return file.ranks[id] == instruction.rank && file.streams[id] == instruction.stream;
  };
  if (file.ranks.size() != program.instructions.size() ||
      !std::all_of(program.instructions.begin(), program.instructions.end(), agrees)) {
    diagnostics.error(place, "the timeline's ranks and streams are not those of its program");
  }
  diagnostics.throw_if_errors();
}

}  // namespace orrery
