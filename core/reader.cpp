#include "core/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace orrery {

Reader::Reader(const Node& table, ReadContext& context, std::string path)
    : table_(&table), context_(&context), path_(std::move(path)) {}

std::string Reader::dotted(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

std::string Reader::in_section() const {
  return path_.empty() ? "" : fmt::format(" in [{}]", path_);
}

Place Reader::place() const {
  if (table_->key_position.line > 0 || table_->position.line > 0)
    return table_->place(context_->file);
  return {context_->file, 0, 0, 1, ""};
}

Place Reader::place(std::string_view key) const {
  const Node* value = table_->find(key);
  if (value == nullptr) return place();
  if (value->is_table()) {
    if (const Node* inner = value->find("value")) return inner->place(context_->file);
  }
  return value->place(context_->file);
}

void Reader::error(std::string_view key, std::string message, std::string hint) {
  context_->diagnostics.error(place(key), std::move(message), std::move(hint));
}

bool Reader::has(std::string_view key) {
  return table_->find(key) != nullptr;
}

const Node* Reader::node(std::string_view key) {
  known_.emplace(key);
  return table_->find(key);
}

const Node* Reader::figure(std::string_view key, bool required) {
  const Node* value = node(key);
  if (value == nullptr) {
    if (required) missing_.emplace_back(key);
    return nullptr;
  }
  return value->is_table() ? unwrap(*value, key) : value;
}

const Node* Reader::unwrap(const Node& value, std::string_view key) {
  const Node* inner = value.find("value");
  if (inner == nullptr) {
    context_->diagnostics.error(
        value.key_place(context_->file),
        fmt::format("expected a value for '{}', found a table without 'value'", key),
        "write the value alone, or { value = ..., source = \"...\" }");
    return nullptr;
  }
  for (const Node& entry : value.children) {
    if (entry.key == "value") continue;
    if (entry.key != "source" && entry.key != "assumed") {
      context_->diagnostics.error(entry.key_place(context_->file),
                                  fmt::format("unknown key '{}' in '{}'", entry.key, key),
                                  "a figure has 'value', and 'source' or 'assumed'");
    } else if (entry.kind != NodeKind::kString) {
      context_->diagnostics.error(entry.place(context_->file),
                                  fmt::format("'{}' of '{}' must be a string, found {}", entry.key,
                                              key, with_article(entry.kind)));
    } else if (entry.key == "assumed") {
      context_->assumed.push_back({fmt::format("{}: {}", context_->name, dotted(key)), entry.text});
    }
  }
  return inner;
}

void Reader::expected(const Node& value, std::string_view key, std::string_view what,
                      std::string hint) {
  std::string_view found = with_article(value.kind);
  // A parser turns what no integer type holds into a floating-point number.
  constexpr std::size_t kDigits64Bits = 19;
  if (value.kind == NodeKind::kFloat && value.text.size() >= kDigits64Bits &&
      value.text.find_first_not_of("-0123456789") == std::string::npos) {
    found = "one beyond 64 bits";
  }
  context_->diagnostics.error(value.place(context_->file),
                              fmt::format("expected {} for '{}', found {}", what, key, found),
                              std::move(hint));
}

std::int64_t Reader::integer(const Node& value, std::string_view key, IntRange range,
                             std::int64_t fallback) {
  if (value.kind != NodeKind::kInteger) {
    const bool quoted = value.kind == NodeKind::kString && !value.text.empty() &&
                        value.text.find_first_not_of("0123456789") == std::string::npos;
    expected(value, key, "an integer", quoted ? "remove the quotes" : "");
    return fallback;
  }
  if (value.integer < range.least) {
    context_->diagnostics.error(
        value.place(context_->file),
        fmt::format("'{}' must be at least {}, found {}", key, range.least, value.text));
    return fallback;
  }
  if (value.integer > range.most) {
    context_->diagnostics.error(
        value.place(context_->file),
        fmt::format("'{}' must be at most {}, found {}", key, range.most, value.text));
    return fallback;
  }
  return value.integer;
}

int Reader::required_int(std::string_view key, IntRange range) {
  const Node* value = figure(key, true);
  return value == nullptr ? 0 : static_cast<int>(integer(*value, key, range, 0));
}

int Reader::optional_int(std::string_view key, int fallback, IntRange range) {
  const Node* value = figure(key, false);
  return value == nullptr ? fallback : static_cast<int>(integer(*value, key, range, fallback));
}

std::uint64_t Reader::optional_uint64(std::string_view key, std::uint64_t fallback) {
  const Node* value = figure(key, false);
  if (value == nullptr) return fallback;
  if (value->kind != NodeKind::kInteger) {
    expected(*value, key, "an integer");
    return fallback;
  }
  // As written: half of the range does not fit Node::integer.
  std::uint64_t number = 0;
  const char* end = value->text.data() + value->text.size();
  const auto [stop, error] = std::from_chars(value->text.data(), end, number);
  if (error == std::errc() && stop == end) return number;
  context_->diagnostics.error(
      value->place(context_->file),
      fmt::format("'{}' must be 0 to 18446744073709551615, found {}", key, value->text));
  return fallback;
}

double Reader::number(const Node& value, std::string_view key, double least, double most,
                      double fallback) {
  if (value.kind != NodeKind::kInteger && value.kind != NodeKind::kFloat) {
    expected(value, key, "a number");
    return fallback;
  }
  // Written so that NaN fails.
  if (value.number >= least && value.number <= most) return value.number;
  context_->diagnostics.error(
      value.place(context_->file),
      fmt::format("'{}' must be {} to {}, found {}", key, least, most, value.text));
  return fallback;
}

double Reader::required_double(std::string_view key, double least, double most) {
  const Node* value = figure(key, true);
  return value == nullptr ? 0 : number(*value, key, least, most, 0);
}

double Reader::optional_double(std::string_view key, double fallback, double least, double most) {
  const Node* value = figure(key, false);
  return value == nullptr ? fallback : number(*value, key, least, most, fallback);
}

bool Reader::optional_bool(std::string_view key, bool fallback) {
  const Node* value = figure(key, false);
  if (value == nullptr) return fallback;
  if (value->kind == NodeKind::kBoolean) return value->boolean;
  expected(*value, key, "true or false");
  return fallback;
}

std::string Reader::required_string(std::string_view key) {
  if (!has(key)) {
    known_.emplace(key);
    missing_.emplace_back(key);
    return "";
  }
  return optional_string(key).value_or("");
}

std::optional<std::string> Reader::optional_string(std::string_view key) {
  const Node* value = figure(key, false);
  if (value == nullptr) return std::nullopt;
  if (value->kind == NodeKind::kString) return value->text;
  expected(*value, key, "a string");
  return std::nullopt;
}

std::optional<std::size_t> Reader::word_index(const Node& value, std::string_view key,
                                              std::span<const std::string> words) {
  if (value.kind != NodeKind::kString) {
    expected(value, key, "a string", fmt::format("one of: {}", fmt::join(words, ", ")));
    return std::nullopt;
  }
  const auto found = std::find(words.begin(), words.end(), value.text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  const std::string nearest = did_you_mean(value.text, words);
  context_->diagnostics.error(
      value.place(context_->file), fmt::format("unknown {} '{}'", key, value.text),
      nearest.empty() ? fmt::format("one of: {}", fmt::join(words, ", ")) : nearest);
  return std::nullopt;
}

double Reader::quantity(const Node& value, std::string_view key, Dimension dimension, Zero zero) {
  if (value.kind != NodeKind::kString) {
    expected(value, key, describe(dimension), "write it as a string with its unit");
    return 0;
  }
  const auto parsed = parse_quantity(value.text, dimension);
  if (const auto* problem = std::get_if<UnitProblem>(&parsed)) {
    Place at = value.place(context_->file);
    // Inside the quotes, if the text stands there as it is (without escapes).
    if (at.length == static_cast<int>(value.text.size()) + 2 && problem->length > 0) {
      at.col += 1 + static_cast<int>(problem->offset);
      at.length = static_cast<int>(problem->length);
    }
    context_->diagnostics.error(at, problem->message, problem->hint);
    return 0;
  }
  if (std::get<double>(parsed) == 0 && zero == Zero::kForbidden) {
    context_->diagnostics.error(value.place(context_->file),
                                fmt::format("'{}' must not be zero", key));
  }
  return std::get<double>(parsed);
}

const Node* Reader::table_node(std::string_view key, bool required) {
  const Node* value = node(key);
  if (value == nullptr) {
    if (required) missing_.emplace_back(key);
    return nullptr;
  }
  if (value->is_table()) return value;
  expected(*value, key, "a table");
  return nullptr;
}

std::optional<Reader> Reader::required_table(std::string_view key) {
  const Node* table = table_node(key, true);
  if (table == nullptr) return std::nullopt;
  return Reader(*table, *context_, dotted(key));
}

std::optional<Reader> Reader::optional_table(std::string_view key) {
  const Node* table = table_node(key, false);
  if (table == nullptr) return std::nullopt;
  return Reader(*table, *context_, dotted(key));
}

std::vector<Reader> Reader::tables(std::string_view key) {
  std::vector<Reader> readers;
  const Node* array = node(key);
  if (array == nullptr) return readers;
  if (array->kind != NodeKind::kArray) {
    expected(*array, key, "an array of tables");
    return readers;
  }
  for (std::size_t index = 0; index < array->children.size(); ++index) {
    const Node& element = array->children[index];
    const std::string path = fmt::format("{}[{}]", dotted(key), index);
    if (element.is_table()) {
      readers.emplace_back(element, *context_, path);
    } else {
      expected(element, path, "a table");
    }
  }
  return readers;
}

const Node* Reader::required_array(std::string_view key) {
  const Node* value = node(key);
  if (value == nullptr) {
    missing_.emplace_back(key);
    return nullptr;
  }
  if (value->kind == NodeKind::kArray) return value;
  expected(*value, key, "an array");
  return nullptr;
}

void Reader::format_version(int major, int minor) {
  const Node* value = node("format_version");
  if (value == nullptr) {
    missing_.emplace_back("format_version");
    return;
  }
  int file_major = 0;
  int file_minor = 0;
  bool good = value->kind == NodeKind::kString;
  if (good) {
    const char* end = value->text.data() + value->text.size();
    const auto first = std::from_chars(value->text.data(), end, file_major);
    good = first.ec == std::errc() && first.ptr != end && *first.ptr == '.' && file_major >= 0;
    if (good) {
      const auto second = std::from_chars(first.ptr + 1, end, file_minor);
      good = second.ec == std::errc() && second.ptr == end && file_minor >= 0;
    }
  }
  if (!good) {
    error("format_version", "expected a version such as \"1.0\" for 'format_version'",
          fmt::format("this program writes \"{}.{}\"", major, minor));
  } else if (file_major != major) {
    error("format_version", fmt::format("format version {} is not supported", value->text),
          fmt::format("this program reads {}.x", major));
    context_->diagnostics.throw_if_errors();
  } else if (file_minor > minor) {
    context_->unknown_keys_allowed = true;
  }
}

void Reader::finish() {
  std::vector<std::string> absent;
  for (const std::string& key : known_) {
    if (!has(key)) absent.push_back(key);
  }
  for (const Node& entry : table_->children) {
    if (known_.contains(entry.key) || context_->unknown_keys_allowed) continue;
    std::string hint = did_you_mean(entry.key, absent);
    if (const std::string nearest = suggest(entry.key, absent); !nearest.empty()) {
      std::erase(missing_, nearest);
      std::erase(absent, nearest);
    } else if (!known_.empty()) {
      hint = fmt::format("known keys: {}", fmt::join(known_, ", "));
    }
    context_->diagnostics.error(entry.key_place(context_->file),
                                fmt::format("unknown key '{}'{}", entry.key, in_section()), hint);
  }
  for (const std::string& key : missing_) {
    const auto null = std::find_if(table_->children.begin(), table_->children.end(),
                                   [&key](const Node& entry) { return entry.key == key; });
    if (null != table_->children.end()) {
      context_->diagnostics.error(
          null->place(context_->file),
          fmt::format("'{}'{} is null, expected a value", key, in_section()));
      continue;
    }
    context_->diagnostics.error(place(), fmt::format("missing key '{}'{}", key, in_section()));
  }
  missing_.clear();
}

}  // namespace orrery
