#include "core/stage_map.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>

namespace orrery {
namespace {

constexpr std::string_view kLetters =
    "EdtmL";  // in the order of LayerKind, which is the order in the model
constexpr int kMostLayers = 100000;

// Grammar:  map = element+    element = count? letter | ',' | '|' | 'x' count | '(' element+ ')'
// '*' count A group is expanded in place, its '|' included; 'x' repeats the stage that has just
// been written.
class StageMapParser {
 public:
  StageMapParser(std::string_view text, Diagnostics& diagnostics, const Place& at)
      : text_(text), diagnostics_(diagnostics), at_(at) {}

  StageMap parse() {
    Fragment stages(1);
    sequence(stages, false);
    if (!failed_) check_empty(stages);
    return failed_ ? StageMap{} : stages;
  }

 private:
  // Stages of which the first continues what is before and the last goes on after.
  using Fragment = StageMap;

  void sequence(Fragment& stages, bool in_group) {
    while (!failed_) {
      skip_spaces();
      if (offset_ == text_.size()) {
        if (in_group) fail(offset_, 1, "the group is not closed", "write (4t|)*14");
        return;
      }
      const char c = text_[offset_];
      if (c == ')') {
        if (!in_group) fail(offset_, 1, "')' without '('");
        return;
      }
      if (c == ',') {
        ++offset_;
      } else if (c == '|') {
        ++offset_;
        stages.emplace_back();
      } else if (c == '(') {
        group(stages, in_group);
      } else if (c == 'x' || c == '*') {
        repeat_stage(stages);
      } else {
        layers(stages);
      }
    }
  }

  void layers(Fragment& stages) {
    const std::size_t start = offset_;
    const std::optional<int> count = number();
    if (failed_) return;
    skip_spaces();
    const std::size_t letter_at = offset_;
    const std::size_t kind =
        offset_ < text_.size() ? kLetters.find(text_[offset_]) : std::string_view::npos;
    if (kind == std::string_view::npos) {
      if (offset_ == text_.size()) {
        fail(start, offset_ - start, "a layer letter must follow the count", hint());
      } else {
        fail(letter_at, 1, fmt::format("unknown layer letter '{}'", text_.substr(offset_, 1)),
             hint());
      }
      return;
    }
    ++offset_;
    if (count == 0) return fail(start, offset_ - start, "a count must be at least 1");
    const int added = count.value_or(1);
    if (!grow(start, added)) return;
    stages.back().insert(stages.back().end(), static_cast<std::size_t>(added),
                         static_cast<LayerKind>(kind));
  }

  void repeat_stage(Fragment& stages) {
    const std::size_t start = offset_;
    if (text_[offset_] == '*') {
      return fail(start, 1, "'*' repeats a group only", "write \"4t x 14\" or \"(4t|)*14\"");
    }
    ++offset_;
    skip_spaces();
    const std::optional<int> count = number();
    if (failed_) return;
    if (count.value_or(0) < 1)
      return fail(start, offset_ - start, "a count of at least 1 must follow 'x'");
    if (stages.back().empty()) return fail(start, offset_ - start, "'x' must follow a stage");
    skip_spaces();
    if (offset_ < text_.size() && text_[offset_] != '|' && text_[offset_] != ')') {
      return fail(offset_, 1, "'|' must follow a repeated stage");
    }
    const std::vector<LayerKind> stage = stages.back();
    if (!grow(start, (*count - 1) * static_cast<long>(stage.size()))) return;
    stages.insert(stages.end(), static_cast<std::size_t>(*count - 1), stage);
  }

  void group(Fragment& stages, bool in_group) {
    const std::size_t start = offset_++;
    if (in_group) return fail(start, 1, "groups cannot be nested");
    Fragment inside(1);
    const long before = layers_;
    sequence(inside, true);
    if (failed_) return;
    ++offset_;  // the ')'
    skip_spaces();
    if (offset_ == text_.size() || text_[offset_] != '*') {
      return fail(start, offset_ - start, "'*' and a count must follow a group", "write (4t|)*14");
    }
    ++offset_;
    skip_spaces();
    const std::optional<int> count = number();
    if (failed_) return;
    if (count.value_or(0) < 1)
      return fail(start, offset_ - start, "a count of at least 1 must follow '*'");
    // An empty group has no layers but may have many '|'.
    const long size = layers_ - before + static_cast<long>(inside.size());
    if (!grow(start, size * (*count - 1))) return;
    for (int time = 0; time < *count; ++time) {
      stages.back().insert(stages.back().end(), inside.front().begin(), inside.front().end());
      stages.insert(stages.end(), inside.begin() + 1, inside.end());
    }
  }

  std::optional<int> number() {
    const std::size_t start = offset_;
    int value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + offset_, text_.data() + text_.size(), value);
    if (error == std::errc::invalid_argument) return std::nullopt;
    offset_ = static_cast<std::size_t>(end - text_.data());
    if (error != std::errc() || value < 0 || value > kMostLayers) {
      fail(start, offset_ - start, fmt::format("a count must be 1 to {}", kMostLayers));
    }
    return value;
  }

  bool grow(std::size_t start, long added) {
    layers_ += added;
    if (layers_ <= kMostLayers) return true;
    fail(start, offset_ - start,
         fmt::format("the stage map holds more than {} layers", kMostLayers));
    return false;
  }

  void check_empty(const StageMap& stages) {
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      if (!stages[stage].empty()) continue;
      fail(0, text_.size(), fmt::format("stage {} of the stage map is empty", stage),
           "stages count from 0; '|' stands between two stages only");
    }
  }

  void skip_spaces() {
    while (offset_ < text_.size() && (text_[offset_] == ' ' || text_[offset_] == '\t')) ++offset_;
  }

  void fail(std::size_t offset, std::size_t length, std::string message, std::string hint = "") {
    failed_ = true;
    Place place = at_;
    if (place.file.empty()) place = command_line_place(text_, 1, 1);
    place.col += static_cast<int>(offset);
    place.length = static_cast<int>(std::max<std::size_t>(1, length));
    diagnostics_.error(place, std::move(message), std::move(hint));
  }

  static std::string hint() {
    return "letters: E embedding, d dense, t MoE, m MTP, L head; write \"E,3d,1t | 4t x 14 | "
           "1t,m,L\"";
  }

  std::string_view text_;
  Diagnostics& diagnostics_;
  Place at_;
  std::size_t offset_ = 0;
  long layers_ = 0;
  bool failed_ = false;
};

std::string format_stage(const std::vector<LayerKind>& stage) {
  std::string text;
  for (std::size_t entry = 0; entry < stage.size();) {
    std::size_t end = entry;
    while (end < stage.size() && stage[end] == stage[entry]) ++end;
    if (!text.empty()) text += ',';
    // Layers always show their count; E, m and L are single as a rule.
    const bool layer = stage[entry] == LayerKind::kDense || stage[entry] == LayerKind::kMoe;
    if (layer || end - entry > 1) text += std::to_string(end - entry);
    text += letter(stage[entry]);
    entry = end;
  }
  return text;
}

}  // namespace

StageMap parse_stage_map(std::string_view text, Diagnostics& diagnostics, const Place& at) {
  return StageMapParser(text, diagnostics, at).parse();
}

std::string format_stage_map(const StageMap& map) {
  std::string text;
  for (std::size_t stage = 0; stage < map.size();) {
    std::size_t end = stage;
    while (end < map.size() && map[end] == map[stage]) ++end;
    if (!text.empty()) text += " | ";
    text += format_stage(map[stage]);
    if (end - stage > 1) text += fmt::format(" x {}", end - stage);
    stage = end;
  }
  return text;
}

void check_stage_map(const StageMap& map, const Model& model, int stages, Diagnostics& diagnostics,
                     const Place& at) {
  const auto error = [&](std::string message, std::string hint = "") {
    diagnostics.error(at, std::move(message), std::move(hint));
  };
  if (static_cast<int>(map.size()) != stages) {
    error(fmt::format("the stage map has {} stage{}, the layout needs {}", map.size(),
                      map.size() == 1 ? "" : "s", stages));
  }
  std::array<int, kLetters.size()> count = {};
  LayerKind last = LayerKind::kEmbedding;
  bool ordered = true;
  for (std::size_t stage = 0; stage < map.size(); ++stage) {
    if (map[stage].empty()) error(fmt::format("stage {} of the stage map is empty", stage));
    for (const LayerKind kind : map[stage]) {
      ++count[static_cast<std::size_t>(kind)];
      if (kind < last && ordered) {
        ordered = false;
        error(fmt::format("in stage {} of the stage map '{}' comes after '{}'", stage, letter(kind),
                          letter(last)),
              "the order is E, dense layers d, MoE layers t, MTP modules m, L");
      }
      last = std::max(last, kind);
    }
  }
  const auto must_hold = [&](LayerKind kind, int expected, std::string_view name) {
    const int found = count[static_cast<std::size_t>(kind)];
    if (found == expected) return;
    error(fmt::format("the stage map holds {} {}{}, the model has {}", found, name,
                      found == 1 ? "" : "s", expected),
          fmt::format("{} '{}' too {}", std::abs(found - expected), letter(kind),
                      found > expected ? "many" : "few"));
  };
  must_hold(LayerKind::kEmbedding, 1, "embedding");
  must_hold(LayerKind::kDense, model.dense_layers, "dense layer");
  must_hold(LayerKind::kMoe, model.moe_layers(), "MoE layer");
  must_hold(LayerKind::kMtp, model.mtp_depth, "MTP module");
  must_hold(LayerKind::kHead, 1, "head");
}

}  // namespace orrery
