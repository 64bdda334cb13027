// TOML through toml++, which knows the place of every key and value.
// Its parser asserts on some malformed texts ("[[[") before it reports them; the report is what we
// want.
#define TOML_ASSERT(condition) static_cast<void>(0)
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cctype>

#include "core/document.hpp"
#include "core/document_text.hpp"
#include "core/utf8.hpp"

namespace orrery {
namespace {

// toml++ limits nested values to 256 but not dotted keys, each part of which opens a table. Both
// together bound the depth of its tree, whose destructor recurses.
constexpr int kMostDots = 30;

// The offset of the first dotted name with too many parts, or npos. Prose with so many dots in a
// row of single words is refused too; nothing is lost.
std::size_t find_deep_key(std::string_view text) {
  int dots = 0;
  std::size_t start = 0;
  bool after_dot = false;
  for (std::size_t offset = 0; offset < text.size(); ++offset) {
    const char c = text[offset];
    if (c == '.' && !after_dot) {
      after_dot = true;
      if (++dots > kMostDots) return start;
    } else if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '"' ||
               c == '\'') {
      if (dots == 0 && (offset == 0 || !std::isalnum(static_cast<unsigned char>(text[offset - 1]))))
        start = offset;
      after_dot = false;
    } else if (c != ' ' && c != '\t') {
      dots = 0;
      after_dot = false;
    }
  }
  return std::string_view::npos;
}

Position to_position(const toml::source_region& region) {
  Position position{static_cast<int>(region.begin.line), static_cast<int>(region.begin.column), 1};
  if (region.end.line == region.begin.line && region.end.column > region.begin.column) {
    position.length = static_cast<int>(region.end.column - region.begin.column);
  }
  return position;
}

struct Converter {
  std::string file;
  Diagnostics& diagnostics;

  Node convert(const toml::node& value, int depth) {
    Node node;
    node.position = to_position(value.source());
    if (depth > kDeepestNesting) {
      const Place start{file, node.position.line, node.position.col, 1, ""};
      diagnostics.error(start, fmt::format("nested more than {} deep", kDeepestNesting));
      return node;
    }
    if (const auto* table = value.as_table()) {
      node.kind = NodeKind::kTable;
      for (const auto& [key, child] : *table) {
        Node entry = convert(child, depth + 1);
        entry.key = std::string(key.str());
        entry.key_position = to_position(key.source());
        node.children.push_back(std::move(entry));
      }
      // toml++ sorts keys by name.
      std::stable_sort(node.children.begin(), node.children.end(),
                       [](const Node& a, const Node& b) {
                         return std::pair(a.key_position.line, a.key_position.col) <
                                std::pair(b.key_position.line, b.key_position.col);
                       });
    } else if (const auto* array = value.as_array()) {
      node.kind = NodeKind::kArray;
      for (const auto& child : *array) node.children.push_back(convert(child, depth + 1));
    } else if (const auto* text = value.as_string()) {
      node.kind = NodeKind::kString;
      node.text = text->get();
    } else if (const auto* integer = value.as_integer()) {
      node.kind = NodeKind::kInteger;
      node.integer = integer->get();
      node.number = static_cast<double>(node.integer);
      node.text = std::to_string(node.integer);
    } else if (const auto* number = value.as_floating_point()) {
      node.kind = NodeKind::kFloat;
      node.number = number->get();
      node.text = fmt::format("{}", node.number);
    } else if (const auto* boolean = value.as_boolean()) {
      node.kind = NodeKind::kBoolean;
      node.boolean = boolean->get();
    } else {
      node.kind = NodeKind::kOther;
    }
    return node;
  }
};

// toml++'s words and place, bent where a person would look elsewhere.
void report(const toml::parse_error& error, const std::string& file, std::string_view text,
            Diagnostics& diagnostics) {
  Position position = to_position(error.source());
  std::string_view message = error.description();
  constexpr std::string_view kPrefix = "Error while parsing ";
  if (message.starts_with(kPrefix)) message.remove_prefix(kPrefix.size());
  std::string plain = fmt::format("TOML syntax: {}", message);
  const std::string_view line = line_of(text, position.line);
  // The word in quotes that the message is about.
  const std::size_t open = message.find('\'');
  const std::size_t close = open == std::string_view::npos ? open : message.find('\'', open + 1);
  if (close != std::string_view::npos) {
    const std::string_view word = message.substr(open + 1, close - open - 1);
    if (message.find("cannot redefine") != std::string_view::npos) {
      plain = fmt::format("the key '{}' is given twice", word);
    }
    // toml++ points behind a number that does not fit, and at the value of a second key.
    const std::size_t at = line.find(word);
    const bool misplaced = message.find("redefine") != std::string_view::npos ||
                           message.find("not representable") != std::string_view::npos;
    if (misplaced && at != std::string_view::npos) {
      position.col = count_code_points(line.substr(0, at)) + 1;
      position.length = count_code_points(word);
    }
  }
  if (message.find("unescaped control characters") != std::string_view::npos &&
      position.col > count_code_points(line)) {
    plain = "TOML syntax: the closing quote of the string is missing";
  }
  diagnostics.error({file, position.line, position.col, position.length, ""}, std::move(plain));
}

}  // namespace

Document parse_toml(const std::string& file, std::string text, Diagnostics& diagnostics) {
  text = checked_text(file, std::move(text), diagnostics);
  diagnostics.add_source(file, text);
  if (const std::size_t deep = find_deep_key(text); deep != std::string_view::npos) {
    const Position position = LineIndex(text).at(deep, deep + 1);
    diagnostics.error({file, position.line, position.col, 1, ""},
                      fmt::format("a dotted key has more than {} parts", kMostDots));
    diagnostics.throw_if_errors();
  }
  Document document{file, {}};
  try {
    // A string_view: with two string literals the call is ambiguous in toml++ 3.3.
    const toml::table table = toml::parse(std::string_view(text), std::string_view(file));
    document.root = Converter{file, diagnostics}.convert(table, 0);
    // The place of the whole file is no place to point at.
    document.root.position = {};
  } catch (const toml::parse_error& error) {
    report(error, file, text, diagnostics);
  }
  diagnostics.throw_if_errors();
  return document;
}

}  // namespace orrery
