#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>

#include "core/cluster_reader.hpp"
#include "core/layout_check.hpp"
#include "core/model_reader.hpp"
#include "core/plan_json.hpp"
#include "core/stage_map.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, Precision> kPrecisions[] = {{"fp8", Precision::kFp8},
                                                                  {"bf16", Precision::kBf16}};
constexpr std::pair<std::string_view, Recompute> kRecomputes[] = {
    {"none", Recompute::kNone}, {"selective", Recompute::kSelective}, {"full", Recompute::kFull}};
constexpr std::pair<std::string_view, ScalarType> kScalars[] = {
    {"fp32", ScalarType::kFp32}, {"bf16", ScalarType::kBf16}, {"fp8", ScalarType::kFp8}};
constexpr std::pair<std::string_view, CellKind> kCells[] = {
    {"F", CellKind::kF}, {"B", CellKind::kB},   {"I", CellKind::kI},
    {"W", CellKind::kW}, {"FB", CellKind::kFB}, {"FI", CellKind::kFI}};

constexpr IntRange kDegree{1, 1000000};

AssumedFigures decode_assumed(Reader& reader) {
  AssumedFigures figures;
  for (Reader& figure : reader.tables("assumed")) {
    figures.push_back({figure.required_string("name"), figure.required_string("reason")});
    figure.finish();
  }
  return figures;
}

Layout decode_layout(Reader& reader) {
  Layout layout;
  layout.pp = reader.required_int("pp", kDegree);
  layout.tp = reader.optional_int("tp", 1, kDegree);
  layout.cp = reader.optional_int("cp", 1, kDegree);
  layout.ep = reader.required_int("ep", kDegree);
  layout.etp = reader.optional_int("etp", 1, kDegree);
  layout.dp = reader.optional_int("dp", 0, kDegree);  // 0: it follows from the others
  layout.vpp = reader.optional_int("vpp", 1, {1, 1000});
  layout.zero_stage = reader.optional_int("zero", 1, {0, 3});
  layout.micro_batch = reader.optional_int("mbs", 1, {1, 100000});
  layout.comm_sms = reader.optional_int("comm_sms", layout.comm_sms, {0, 1000});
  layout.precision = reader.optional_enum<Precision>("precision", layout.precision, kPrecisions);
  layout.recompute = reader.optional_enum<Recompute>("recompute", layout.recompute, kRecomputes);
  const std::string map = reader.required_string("stage_map");
  Place place = reader.place("stage_map");
  ++place.col;  // the quotes
  place.length = std::max(1, place.length - 2);
  if (reader.has("stage_map"))
    layout.stage_map = parse_stage_map(map, reader.context().diagnostics, place);
  reader.finish();
  return layout;
}

Training decode_training(Reader& reader) {
  Training training;
  training.sequence = reader.required_int("sequence", {1, 1 << 24});
  training.global_batch = reader.required_int("global_batch", {1, 1 << 24});
  training.tokens = reader.optional_double("tokens", 0, 0, 1e18);
  training.gradient = reader.optional_enum<ScalarType>("gradient", training.gradient, kScalars);
  training.master = reader.optional_enum<ScalarType>("master", training.master, kScalars);
  training.moments = reader.optional_enum<ScalarType>("moments", training.moments, kScalars);
  training.seed = reader.optional_uint64("seed", 0);
  reader.finish();
  return training;
}

// Reads the schedule against the layout, so that each wrong cell is pointed at.
class ScheduleReader {
 public:
  ScheduleReader(Reader& reader, const Plan& plan, bool plan_is_sound)
      : reader_(reader),
        file_(reader.context().file),
        diagnostics_(reader.context().diagnostics),
        plan_(plan),
        plan_is_sound_(plan_is_sound) {}

  Schedule read() {
    schedule_.family = reader_.required_string("family");
    schedule_.microbatches = reader_.required_int("microbatches", {1, 1 << 24});
    schedule_.directions = reader_.required_int("directions", {1, 2});
    const Node* chunks = reader_.required_array("chunks");
    const Node* ranks = reader_.required_array("ranks");
    reader_.finish();
    // Stages and micro-batches are checked against a layout, so that has to be right first.
    if (!plan_is_sound_ || diagnostics_.has_errors()) return schedule_;
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
    const auto pp = static_cast<std::size_t>(plan_.layout.pp);
    if (ranks.children.size() != pp) {
      reader_.error("ranks", fmt::format("the schedule has {} ranks, the layout has pp={}",
                                         ranks.children.size(), pp));
    }
    if (chunks.children.size() != pp) {
      reader_.error("chunks", fmt::format("'chunks' lists {} ranks, the layout has pp={}",
                                          chunks.children.size(), pp));
    }
    const Layout& layout = plan_.layout;
    if (schedule_.microbatches != plan_.microbatches()) {
      reader_.error(
          "microbatches",
          fmt::format(
              "the schedule runs {} micro-batches, but global_batch / (dp*mbs) = {} / ({}*{}) = {}",
              schedule_.microbatches, plan_.training.global_batch, layout.dp, layout.micro_batch,
              plan_.microbatches()));
    }
    if (schedule_.directions == 2 && schedule_.microbatches % 2 != 0) {
      reader_.error("microbatches",
                    fmt::format("{} micro-batches cannot be halved over two directions",
                                schedule_.microbatches));
    }
  }

  void read_chunks(const Node& chunks) {
    const auto stages = static_cast<std::int64_t>(plan_.layout.stage_map.size());
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
                fmt::format("there is no stage {}: the stage map has {} (0 to {})", stage, stages,
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
  const Plan& plan_;
  bool plan_is_sound_;
  Schedule schedule_;
};

}  // namespace

Plan read_plan(const Document& document, Diagnostics& diagnostics) {
  ReadContext context{document.file, name_from_path(document.file), diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  Plan plan;
  if (auto model = root.required_table("model")) {
    AssumedFigures assumed = decode_assumed(*model);
    plan.model = decode_model(*model);
    plan.model.assumed = std::move(assumed);
  }
  if (auto cluster = root.required_table("cluster")) {
    AssumedFigures assumed = decode_assumed(*cluster);
    plan.cluster = decode_cluster(*cluster);
    plan.cluster.assumed = std::move(assumed);
  }
  std::optional<Reader> layout = root.required_table("layout");
  if (layout) plan.layout = decode_layout(*layout);
  std::optional<Reader> training = root.required_table("training");
  if (training) plan.training = decode_training(*training);
  if (auto calibration = root.optional_table("calibration")) {
    plan.calibration.name = calibration->required_string("name");
    plan.calibration.hash = calibration->required_string("hash");
    calibration->finish();
  }
  std::optional<Reader> schedule = root.required_table("schedule");
  root.finish();
  if (layout && training && !diagnostics.has_errors()) {
    const auto locate = [&](std::string_view key) {
      if (key == "sequence" || key == "global_batch") return training->place(key);
      return layout->place(key == "comm-sms" ? "comm_sms" : key);
    };
    check_layout(plan.model, plan.cluster, plan.training, plan.layout, diagnostics, locate);
  }
  if (schedule) plan.schedule = ScheduleReader(*schedule, plan, !diagnostics.has_errors()).read();
  diagnostics.throw_if_errors();
  return plan;
}

Plan read_plan(const std::string& path) {
  Diagnostics diagnostics;
  return read_plan(parse_file(path, diagnostics), diagnostics);
}

}  // namespace orrery
