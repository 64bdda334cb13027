#include "core/schedule_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace orrery {
namespace {

constexpr std::pair<std::string_view, CellKind> kCells[] = {
    {"F", CellKind::kF}, {"B", CellKind::kB},   {"I", CellKind::kI},
    {"W", CellKind::kW}, {"FB", CellKind::kFB}, {"FI", CellKind::kFI}};

// Reads a schedule against what is known of it, so that each wrong cell is pointed at.
class ScheduleReader {
 public:
  ScheduleReader(Reader& reader, const ScheduleFacts& facts)
      : reader_(reader),
        file_(reader.context().file),
        diagnostics_(reader.context().diagnostics),
        facts_(facts) {}

  Schedule read() {
    schedule_.family = reader_.required_string("family");
    schedule_.microbatches = reader_.required_int("microbatches", {1, 1 << 24});
    schedule_.directions = reader_.required_int("directions", {1, 2});
    const Node* chunks = reader_.required_array("chunks");
    const Node* ranks = reader_.required_array("ranks");
    reader_.finish();
    if (facts_.unsound || diagnostics_.has_errors()) return schedule_;
    check_counts(*chunks, *ranks);
    if (diagnostics_.has_errors()) return schedule_;
    read_chunks(*chunks);
    if (diagnostics_.has_errors()) return schedule_;
    for (std::size_t rank = 0; rank < ranks->children.size(); ++rank)
      read_rank(ranks->children[rank], rank);
    return schedule_;
  }

 private:
  void check_counts(const Node& chunks, const Node& ranks) {
    const auto pp = facts_.pp ? static_cast<std::size_t>(*facts_.pp) : ranks.children.size();
    const char* source = facts_.pp ? "the layout" : "'ranks'";
    if (ranks.children.size() != pp) {
      reader_.error("ranks", fmt::format("the schedule has {} ranks, the layout has pp={}",
                                         ranks.children.size(), pp));
    }
    if (chunks.children.size() != pp) {
      reader_.error("chunks", fmt::format("'chunks' lists {} ranks, {} has pp={}",
                                          chunks.children.size(), source, pp));
    }
    if (ranks.children.empty()) reader_.error("ranks", "a schedule has at least one rank");
    if (facts_.microbatches && schedule_.microbatches != *facts_.microbatches) {
      reader_.error("microbatches", fmt::format("the schedule runs {} micro-batches, but {} = {}",
                                                schedule_.microbatches, facts_.why_microbatches,
                                                *facts_.microbatches));
    }
    if (schedule_.directions == 2 && schedule_.microbatches % 2 != 0) {
      reader_.error("microbatches",
                    fmt::format("{} micro-batches cannot be halved over two directions",
                                schedule_.microbatches));
    }
  }

  void read_chunks(const Node& chunks) {
    std::int64_t stages = facts_.stages.value_or(0);
    if (!facts_.stages) {
      // As many as chunks travel in direction 0.
      for (const Node& row : chunks.children) {
        for (const Node& pair : row.children)
          stages += pair.children.size() == 2 && pair.children[1].integer == 0;
      }
    }
    std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> hosts;
    for (std::size_t rank = 0; rank < chunks.children.size(); ++rank) {
      auto& places = schedule_.chunks.emplace_back();
      const Node& row = chunks.children[rank];
      if (row.kind != NodeKind::kArray) {
        error(row,
              fmt::format("expected the chunks of rank {}, found {}", rank, with_article(row.kind)),
              "write [[stage, direction], ...]");
        continue;
      }
      for (const Node& pair : row.children) {
        const bool good = pair.kind == NodeKind::kArray && pair.children.size() == 2 &&
                          pair.children[0].kind == NodeKind::kInteger &&
                          pair.children[1].kind == NodeKind::kInteger;
        if (!good) {
          error(pair, "expected a chunk [stage, direction]");
          continue;
        }
        const std::int64_t stage = pair.children[0].integer;
        const std::int64_t direction = pair.children[1].integer;
        if (stage < 0 || stage >= stages) {
          error(pair.children[0],
                fmt::format("there is no stage {}: {} {} (0 to {})", stage,
                            facts_.stages ? "the stage map has" : "the chunks make", stages,
                            stages - 1));
        } else if (direction < 0 || direction >= schedule_.directions) {
          error(pair.children[1],
                fmt::format("there is no direction {}: the schedule has {} (0 to {})", direction,
                            schedule_.directions, schedule_.directions - 1));
        } else if (const auto [host, is_new] = hosts.emplace(std::pair(stage, direction), rank);
                   !is_new) {
          error(pair, fmt::format("stage {} of direction {} is on rank {} and on rank {}", stage,
                                  direction, host->second, rank));
        } else {
          places.push_back({Stage{stage}, static_cast<int>(direction)});
        }
      }
    }
    if (diagnostics_.has_errors()) return;
    for (int direction = 0; direction < schedule_.directions; ++direction) {
      for (std::int64_t stage = 0; stage < stages; ++stage) {
        if (hosts.contains({stage, direction})) continue;
        reader_.error("chunks",
                      fmt::format("no rank hosts stage {} of direction {}", stage, direction));
        return;  // as a rule all the others are missing too
      }
    }
  }

  void read_rank(const Node& row, std::size_t rank) {
    auto& cells = schedule_.ranks.emplace_back();
    if (row.kind != NodeKind::kArray) {
      return error(row, fmt::format("expected the cells of rank {}, found {}", rank,
                                    with_article(row.kind)));
    }
    cells.reserve(row.children.size());
    for (const Node& node : row.children) {
      if (node.kind != NodeKind::kString) {
        error(node,
              fmt::format("expected a cell such as \"F:12.0\", found {}", with_article(node.kind)));
        continue;
      }
      Cell cell;
      if (!parse(node.text, cell)) {
        error(node,
              fmt::format("expected a cell such as \"F:12.0\" or \"FB:13.0|2.1\", found \"{}\"",
                          node.text),
              "kind (F, B, I, W, FB, FI), micro-batch, chunk");
        continue;
      }
      if (cell.has_forward()) check_half(node, cell.forward, rank);
      if (cell.kind != CellKind::kF) check_half(node, cell.backward, rank);
      cells.push_back(cell);
    }
  }

  static bool parse(std::string_view text, Cell& cell) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view name = text.substr(0, colon);
    const auto* kind = std::find_if(std::begin(kCells), std::end(kCells),
                                    [name](const auto& entry) { return entry.first == name; });
    if (kind == std::end(kCells)) return false;
    cell.kind = kind->second;
    text.remove_prefix(colon + 1);
    const bool pair = cell.kind == CellKind::kFB || cell.kind == CellKind::kFI;
    if (!pair) return parse_half(text, cell.kind == CellKind::kF ? cell.forward : cell.backward);
    const std::size_t bar = text.find('|');
    return bar != std::string_view::npos && parse_half(text.substr(0, bar), cell.forward) &&
           parse_half(text.substr(bar + 1), cell.backward);
  }

  static bool parse_half(std::string_view text, Half& half) {
    std::int32_t microbatch = 0;
    std::int32_t chunk = 0;
    const char* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, microbatch);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return false;
    const auto second = std::from_chars(first.ptr + 1, end, chunk);
    if (second.ec != std::errc() || second.ptr != end) return false;
    half = {Microbatch{microbatch}, ChunkId{chunk}};
    return true;
  }

  void check_half(const Node& node, const Half& half, std::size_t rank) {
    const auto& places = schedule_.chunks[rank];
    const int microbatch = half.microbatch.value;
    if (microbatch < 0 || microbatch >= schedule_.microbatches) {
      return error(node,
                   fmt::format("rank {} names micro-batch {}, the step has {} (0 to {})", rank,
                               microbatch, schedule_.microbatches, schedule_.microbatches - 1));
    }
    if (half.chunk.value < 0 || half.chunk.index() >= places.size()) {
      return error(
          node, fmt::format("rank {} names chunk {}, it has {} (0 to {})", rank, half.chunk.value,
                            places.size(), static_cast<int>(places.size()) - 1));
    }
    const int direction = places[half.chunk.index()].direction;
    const Schedule::Range range = schedule_.microbatches_of(direction);
    if (microbatch < range.first || microbatch >= range.last) {
      error(node,
            fmt::format(
                "micro-batch {} does not travel in direction {} of chunk {} (that has {} to {})",
                microbatch, direction, half.chunk.value, range.first, range.last - 1));
    }
  }

  void error(const Node& node, std::string message, std::string hint = "") {
    diagnostics_.error(node.place(file_), std::move(message), std::move(hint));
  }

  Reader& reader_;
  const std::string& file_;
  Diagnostics& diagnostics_;
  const ScheduleFacts& facts_;
  Schedule schedule_;
};

// The cells of one rank, a dozen or so a line.
std::string cell_lines(const std::vector<Cell>& cells) {
  constexpr std::size_t kWidth = 100;
  std::string text = "[";
  std::size_t line_start = 0;
  for (std::size_t index = 0; index < cells.size(); ++index) {
    const std::string cell = fmt::format("\"{}\"", format_cell(cells[index]));
    if (index > 0) text += ", ";
    if (text.size() - line_start + cell.size() > kWidth) {
      text.pop_back();
      text += "\n       ";
      line_start = text.size();
    }
    text += cell;
  }
  return text + "]";
}

}  // namespace

void write_schedule(JsonWriter& writer, const Schedule& schedule) {
  writer.begin("schedule");
  writer.field("family", std::string_view(schedule.family));
  writer.field("microbatches", schedule.microbatches);
  writer.field("directions", schedule.directions);
  std::vector<std::string> chunks;
  for (const auto& places : schedule.chunks) {
    std::vector<std::string> pairs;
    for (const ChunkPlace& place : places)
      pairs.push_back(fmt::format("[{}, {}]", place.stage.value, place.direction));
    chunks.push_back(fmt::format("[{}]", fmt::join(pairs, ", ")));
  }
  writer.lines("chunks", chunks);
  std::vector<std::string> ranks;
  for (const auto& cells : schedule.ranks) ranks.push_back(cell_lines(cells));
  writer.lines("ranks", ranks);
  writer.end();
}

std::string format_cell(const Cell& cell) {
  const auto half = [](const Half& part) {
    return fmt::format("{}.{}", part.microbatch.value, part.chunk.value);
  };
  switch (cell.kind) {
    case CellKind::kF: return fmt::format("F:{}", half(cell.forward));
    case CellKind::kB: return fmt::format("B:{}", half(cell.backward));
    case CellKind::kI: return fmt::format("I:{}", half(cell.backward));
    case CellKind::kW: return fmt::format("W:{}", half(cell.backward));
    case CellKind::kFB: return fmt::format("FB:{}|{}", half(cell.forward), half(cell.backward));
    case CellKind::kFI: return fmt::format("FI:{}|{}", half(cell.forward), half(cell.backward));
  }
  return "?";
}

std::string to_json(const Schedule& schedule) {
  JsonWriter writer;
  writer.begin();
  writer.field("format_version", std::string_view("1.0"));
  write_schedule(writer, schedule);
  writer.end();
  return writer.take();
}

Schedule decode_schedule(Reader& reader, const ScheduleFacts& facts) {
  return ScheduleReader(reader, facts).read();
}

Schedule read_schedule(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  // A plan file holds a schedule among other things.
  ReadContext context{path, "", diagnostics};
  context.unknown_keys_allowed = true;
  Reader root(document.root, context);
  root.format_version(1, 0);
  Schedule schedule;
  if (auto table = root.required_table("schedule")) schedule = decode_schedule(*table, {});
  root.finish();
  diagnostics.throw_if_errors();
  return schedule;
}

}  // namespace orrery
