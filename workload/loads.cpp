#include "workload/loads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr double kMostRows = 1e15;  // counts below 2^53 are exact
constexpr IntRange kCount{1, 1000000};

// The shortest text that reads as the same double.
std::string shortest(double value) {
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, result.ptr};
}

std::string json_list(std::span<const double> numbers) {
  std::vector<std::string> texts;
  for (const double number : numbers) {
    ORRERY_CHECK(number >= 0 && number <= kMostRows, "{} rows", number);
    texts.push_back(shortest(number));
  }
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

class LoadsReader {
 public:
  explicit LoadsReader(Reader& root) : root_(root), diagnostics_(root.context().diagnostics) {}

  Loads read() {
    root_.format_version(1, 0);
    loads_.model = root_.required_string("model");
    loads_.pp = root_.required_int("pp", kCount);
    loads_.ep = root_.required_int("ep", kCount);
    loads_.dp = root_.required_int("dp", kCount);
    loads_.step = root_.required_int("step");
    loads_.microbatches = root_.required_int("microbatches", kCount);
    loads_.ranks = root_.required_int("ranks", kCount);
    const Node* layers = root_.required_array("layers");
    const Node* rows = root_.required_array("rows");
    const Node* experts = root_.node("experts");
    root_.finish();
    // Lists are checked against counts, so those have to be right first, and so do layers.
    diagnostics_.throw_if_errors();
    read_layers(*layers);
    diagnostics_.throw_if_errors();
    read_rows(*rows);
    if (experts != nullptr) read_experts(*experts);
    diagnostics_.throw_if_errors();
    return std::move(loads_);
  }

 private:
  void error(const Node& node, std::string message) {
    diagnostics_.error(node.place(root_.context().file), std::move(message));
  }

  // Whether `node` is a list of `size` elements, each of them `of`.
  bool is_list(const Node& node, std::size_t size, std::string_view what, std::string_view of) {
    if (node.kind != NodeKind::kArray) {
      error(node, fmt::format("expected {}, an array, found {}", what, with_article(node.kind)));
    } else if (node.children.size() != size) {
      error(node, fmt::format("{} has {} entries for {} {}", what, node.children.size(), size, of));
    } else {
      return true;
    }
    return false;
  }

  double count(const Node& node) {
    if (node.kind != NodeKind::kInteger && node.kind != NodeKind::kFloat) {
      error(node, fmt::format("expected a number of rows, found {}", with_article(node.kind)));
    } else if (!(node.number >= 0 && node.number <= kMostRows)) {
      error(node, fmt::format("a number of rows must be 0 to 1e15, found {}", node.text));
    } else {
      return node.number;
    }
    return 0;
  }

  void read_layers(const Node& list) {
    if (list.children.empty()) error(list, "'layers' is empty, at least one MoE layer is needed");
    int last = -1;
    for (const Node& node : list.children) {
      if (node.kind != NodeKind::kInteger) {
        error(node, fmt::format("expected the number of a layer, an integer, found {}",
                                with_article(node.kind)));
      } else if (node.integer < 0 || node.integer > kCount.most) {
        error(node, fmt::format("a layer must be 0 to {}, found {}", kCount.most, node.text));
      } else if (node.integer <= last) {
        error(node, fmt::format("layer {} does not come after layer {}", node.integer, last));
      } else {
        last = static_cast<int>(node.integer);
      }
      loads_.layers.push_back(last);
    }
  }

  void read_rows(const Node& list) {
    const auto microbatches = static_cast<std::size_t>(loads_.microbatches);
    const auto ranks = static_cast<std::size_t>(loads_.ranks);
    if (!is_list(list, microbatches, "'rows'", "micro-batches")) return;
    for (std::size_t microbatch = 0; microbatch < microbatches; ++microbatch) {
      const Node& layers = list.children[microbatch];
      const std::string what = fmt::format("'rows' of micro-batch {}", microbatch);
      if (!is_list(layers, loads_.layers.size(), what, "layers")) continue;
      for (std::size_t layer = 0; layer < layers.children.size(); ++layer) {
        const Node& of_layer = layers.children[layer];
        if (!is_list(of_layer, ranks, fmt::format("{}, layer {}", what, loads_.layers[layer]),
                     "ranks"))
          continue;
        for (const Node& node : of_layer.children) loads_.row_counts.push_back(count(node));
      }
    }
  }

  void read_experts(const Node& list) {
    if (!is_list(list, loads_.layers.size(), "'experts'", "layers")) return;
    // Every layer has as many as the first one.
    const auto first = std::find_if(list.children.begin(), list.children.end(),
                                    [](const Node& node) { return node.kind == NodeKind::kArray; });
    const std::size_t experts = first == list.children.end() ? 0 : first->children.size();
    for (std::size_t layer = 0; layer < list.children.size(); ++layer) {
      const Node& of_layer = list.children[layer];
      const std::string what = fmt::format("'experts' of layer {}", loads_.layers[layer]);
      loads_.experts.emplace_back();
      if (!is_list(of_layer, experts, what, "experts")) continue;
      if (experts == 0) error(of_layer, fmt::format("{} is empty", what));
      for (const Node& node : of_layer.children) loads_.experts.back().push_back(count(node));
    }
  }

  Reader& root_;
  Diagnostics& diagnostics_;
  Loads loads_;
};

}  // namespace

std::span<const double> Loads::rows(int microbatch, int layer) const {
  ORRERY_CHECK(microbatch >= 0 && microbatch < microbatches && layer >= 0 &&
                   static_cast<std::size_t>(layer) < layers.size(),
               "micro-batch {} of {}, layer {} of {}", microbatch, microbatches, layer,
               layers.size());
  const auto size = static_cast<std::size_t>(ranks);
  const std::size_t list =
      static_cast<std::size_t>(microbatch) * layers.size() + static_cast<std::size_t>(layer);
  ORRERY_CHECK((list + 1) * size <= row_counts.size(), "{} counts", row_counts.size());
  return std::span(row_counts).subspan(list * size, size);
}

double Loads::rows(int microbatch, int layer, int rank) const {
  ORRERY_CHECK(rank >= 0 && rank < ranks, "rank {} of {}", rank, ranks);
  return rows(microbatch, layer)[static_cast<std::size_t>(rank)];
}

double max_over_mean(std::span<const double> rows) {
  const double sum = std::accumulate(rows.begin(), rows.end(), 0.0);
  if (sum <= 0) return 1;
  return *std::max_element(rows.begin(), rows.end()) * static_cast<double>(rows.size()) / sum;
}

double expert_evenness(const Loads& loads) {
  if (loads.experts.empty()) return 1;
  double sum = 0;
  for (const std::vector<double>& layer : loads.experts) sum += max_over_mean(layer);
  return sum / static_cast<double>(loads.experts.size());
}

Evenness evenness(const Loads& loads) {
  const int layers = static_cast<int>(loads.layers.size());
  if (loads.microbatches == 0 || layers == 0) return {};
  double sum = 0;
  double worst = 1;
  for (int microbatch = 0; microbatch < loads.microbatches; ++microbatch) {
    for (int layer = 0; layer < layers; ++layer) {
      const double factor = max_over_mean(loads.rows(microbatch, layer));
      sum += factor;
      worst = std::max(worst, factor);
    }
  }
  return {sum / (static_cast<double>(loads.microbatches) * layers), worst};
}

std::string to_json(const Loads& loads) {
  const auto layers = static_cast<int>(loads.layers.size());
  ORRERY_CHECK(loads.row_counts.size() == static_cast<std::size_t>(loads.microbatches) *
                                              loads.layers.size() *
                                              static_cast<std::size_t>(loads.ranks),
               "{} counts for {} micro-batches, {} layers, {} ranks", loads.row_counts.size(),
               loads.microbatches, layers, loads.ranks);
  ORRERY_CHECK(loads.experts.empty() || loads.experts.size() == loads.layers.size(),
               "experts of {} layers, rows of {}", loads.experts.size(), layers);
  const auto model =
      nlohmann::json(loads.model).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out = fmt::format(
      "{{\n  \"format_version\": \"1.0\",\n  \"model\": {},\n  \"pp\": {},\n  \"ep\": {},\n"
      "  \"dp\": {},\n  \"step\": {},\n  \"microbatches\": {},\n  \"layers\": [{}],\n"
      "  \"ranks\": {},\n  \"rows\": [",
      model, loads.pp, loads.ep, loads.dp, loads.step, loads.microbatches,
      fmt::join(loads.layers, ", "), loads.ranks);
  // A layer a line.
  for (int microbatch = 0; microbatch < loads.microbatches; ++microbatch) {
    std::vector<std::string> lines;
    for (int layer = 0; layer < layers; ++layer)
      lines.push_back(json_list(loads.rows(microbatch, layer)));
    out += fmt::format("{}\n    [{}]", microbatch == 0 ? "" : ",", fmt::join(lines, ",\n     "));
  }
  out += "\n  ]";
  if (!loads.experts.empty()) {
    std::vector<std::string> lines;
    for (const std::vector<double>& counts : loads.experts) lines.push_back(json_list(counts));
    out += fmt::format(",\n  \"experts\": [\n    {}\n  ]", fmt::join(lines, ",\n    "));
  }
  return out + "\n}\n";
}

Loads read_loads(const Document& document, Diagnostics& diagnostics) {
  ReadContext context{document.file, "loads", diagnostics};
  Reader root(document.root, context);
  return LoadsReader(root).read();
}

Loads read_loads(const std::string& path) {
  Diagnostics diagnostics;
  return read_loads(parse_file(path, diagnostics), diagnostics);
}

}  // namespace orrery
