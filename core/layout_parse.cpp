// "pp=16,ep=64" to a Layout.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <vector>

#include "core/layout_check.hpp"

namespace orrery {
namespace {

struct IntKey {
  std::string_view name;
  int Layout::*field;
  int least;
  int most;
};

constexpr IntKey kIntKeys[] = {
    {"pp", &Layout::pp, 1, 1000000},          {"tp", &Layout::tp, 1, 1000000},
    {"cp", &Layout::cp, 1, 1000000},          {"ep", &Layout::ep, 1, 1000000},
    {"etp", &Layout::etp, 1, 1000000},        {"dp", &Layout::dp, 1, 1000000},
    {"vpp", &Layout::vpp, 1, 1000},           {"zero", &Layout::zero_stage, 0, 3},
    {"mbs", &Layout::micro_batch, 1, 100000}, {"comm-sms", &Layout::comm_sms, 0, 1000},
};

std::vector<std::string> key_names() {
  std::vector<std::string> names;
  for (const IntKey& key : kIntKeys) names.emplace_back(key.name);
  names.insert(names.end(),
               {"precision", "recompute", "attention", "exchange", "weights", "optimizer", "ema"});
  return names;
}

// A part of the text with its offset, spaces around it removed.
struct Part {
  std::string_view text;
  std::size_t offset = 0;
};

Part trim(Part part) {
  while (part.text.starts_with(' ')) {
    part.text.remove_prefix(1);
    ++part.offset;
  }
  while (part.text.ends_with(' ')) part.text.remove_suffix(1);
  return part;
}

class LayoutParser {
 public:
  LayoutParser(std::string_view text, Diagnostics& diagnostics, const Layout& defaults)
      : text_(text), diagnostics_(diagnostics), layout_(defaults) {}

  Layout parse() {
    layout_.dp = 0;
    for (std::size_t begin = 0; begin <= text_.size();) {
      const std::size_t end = std::min(text_.find(',', begin), text_.size());
      const Part part = trim({text_.substr(begin, end - begin), begin});
      if (!part.text.empty()) {
        assign(part);
      } else if (end < text_.size() || begin > 0) {
        error({text_.substr(begin, end - begin), begin}, "expected key=value");
      }
      begin = end + 1;
    }
    return layout_;
  }

 private:
  void assign(Part part) {
    const std::size_t equals = part.text.find('=');
    if (equals == std::string_view::npos) {
      return error(part, fmt::format("expected key=value, found '{}'", part.text),
                   "write pp=16,ep=64");
    }
    const Part key = trim({part.text.substr(0, equals), part.offset});
    const Part value = trim({part.text.substr(equals + 1), part.offset + equals + 1});
    if (!seen_.emplace(key.text).second)
      return error(key, fmt::format("'{}' is given twice", key.text));
    if (key.text == "precision") {
      return word(key, value, layout_.precision,
                  {Precision::kFp8, Precision::kBf16, Precision::kFp8Tensor});
    }
    if (key.text == "attention") {
      return word(key, value, layout_.attention,
                  {AttentionKernels::kFused, AttentionKernels::kUnfused});
    }
    if (key.text == "exchange") {
      return word(key, value, layout_.exchange, {ExchangeKernels::kDeepEp, ExchangeKernels::kNccl});
    }
    if (key.text == "weights") {
      return word(key, value, layout_.weights,
                  {WeightGradients::kBeside, WeightGradients::kInline});
    }
    if (key.text == "recompute") {
      return word(key, value, layout_.recompute,
                  {Recompute::kNone, Recompute::kSelective, Recompute::kFull, Recompute::kAttention,
                   Recompute::kMlp, Recompute::kExperts});
    }
    if (key.text == "optimizer")
      return word(key, value, layout_.optimizer, {Keep::kGpu, Keep::kCpu});
    if (key.text == "ema") return word(key, value, layout_.ema, {Keep::kGpu, Keep::kCpu});
    for (const IntKey& known : kIntKeys) {
      if (known.name == key.text) return integer(known, value);
    }
    const std::vector<std::string> names = key_names();
    const std::string hint = did_you_mean(key.text, names);
    error(key, fmt::format("unknown layout key '{}'", key.text),
          hint.empty() ? fmt::format("keys: {}", fmt::join(names, ", ")) : hint);
  }

  void integer(const IntKey& key, Part value) {
    long long number = 0;
    const char* end = value.text.data() + value.text.size();
    const auto [stop, code] = std::from_chars(value.text.data(), end, number);
    const bool too_large = code == std::errc::result_out_of_range;
    if (value.text.empty() || stop != end || (code != std::errc() && !too_large)) {
      return error(value,
                   fmt::format("expected an integer for '{}', found '{}'", key.name, value.text));
    }
    if (too_large || number < key.least || number > key.most) {
      return error(value, fmt::format("'{}' must be {} to {}, found {}", key.name, key.least,
                                      key.most, value.text));
    }
    layout_.*key.field = static_cast<int>(number);
  }

  template <class E>
  void word(Part key, Part value, E& field, std::initializer_list<E> all) {
    std::vector<std::string> words;
    for (const E each : all) {
      if (to_string(each) == value.text) {
        field = each;
        return;
      }
      words.emplace_back(to_string(each));
    }
    const std::string hint = did_you_mean(value.text, words);
    error(value, fmt::format("unknown {} '{}'", key.text, value.text),
          hint.empty() ? fmt::format("one of: {}", fmt::join(words, ", ")) : hint);
  }

  void error(Part part, std::string message, std::string hint = "") {
    diagnostics_.error(command_line_place(text_, static_cast<int>(part.offset) + 1,
                                          static_cast<int>(part.text.size())),
                       std::move(message), std::move(hint));
  }

  std::string_view text_;
  Diagnostics& diagnostics_;
  Layout layout_;
  std::set<std::string_view> seen_;
};

}  // namespace

Layout parse_layout(std::string_view text, Diagnostics& diagnostics, const Layout& defaults) {
  return LayoutParser(text, diagnostics, defaults).parse();
}

Layout default_layout(const Cluster& cluster) {
  Layout layout;
  if (cluster.fabric.kind == FabricKind::kHost) layout.precision = Precision::kBf16;
  return layout;
}

}  // namespace orrery
