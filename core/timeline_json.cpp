#include "core/timeline_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.hpp"
#include "core/fingerprint.hpp"
#include "core/json_column.hpp"
#include "core/plan_json.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr int kMostInstructions = 50'000'000;

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
    timeline.step = Seconds{root_.required_double("step_time_s", 0, kMostSeconds)};
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
    auto kernels = root_.optional_table("kernels");
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
    if (run) file_.run = read_run_record(*run, static_cast<std::size_t>(instructions_));
    if (kernels) file_.kernels = read_kernel_record(*kernels);
    diagnostics_.throw_if_errors();
    return std::move(file_);
  }

 private:
  void error(const Node& node, std::string message, std::string hint = "") {
    diagnostics_.error(node.place(root_.context().file), std::move(message), std::move(hint));
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

  std::optional<Seconds> time(const Node& node, std::string_view what) {
    const std::optional<double> value = read_amount(node, what, root_.context());
    return value ? std::optional(Seconds{*value}) : std::nullopt;
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

std::vector<GpuRange> gpus_of_ranks(int gpus, int pp) {
  std::vector<GpuRange> ranges;
  const auto first = [&](std::int64_t rank) { return static_cast<int>(gpus * rank / pp); };
  for (int rank = 0; rank < pp; ++rank) ranges.push_back({first(rank), first(rank + 1) - 1});
  return ranges;
}

std::string to_json(const Program& program, const Timeline& timeline, const Plan* plan,
                    const RunRecord* run, const KernelRecord* kernels) {
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
  if (run != nullptr) out += ",\n  \"run\": " + to_json(*run);
  if (kernels != nullptr) out += ",\n  \"kernels\": " + to_json(*kernels);
  if (plan != nullptr) out += ",\n  \"plan\": " + to_json(*plan);
  if (out.back() == '\n') out.pop_back();
  out += "\n}\n";
  return out;
}

TimelineFile read_timeline(const Document& document, Diagnostics& diagnostics) {
  ReadContext context{document.file, "timeline", diagnostics};
  if (document.root.find("spans") == nullptr && document.root.find("schedule") != nullptr) {
    diagnostics.error(Place{document.file, 0, 0, 1, ""}, "this is a plan, not a timeline",
                      "`orrery simulate PLAN -o FILE` and `orrery realrun PLAN -o FILE` write one");
    diagnostics.throw_if_errors();
  }
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
