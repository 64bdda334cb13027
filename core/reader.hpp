#pragma once
// Decodes a table of a document key by key, and collects what is wrong instead of stopping at the
// first error.
//
//   ReadContext context{document.file, "h800-64", diagnostics};
//   Reader reader(document.root, context);
//   cluster.nodes = reader.required_int("nodes", {1, 100000});
//   if (auto nvlink = reader.required_table("nvlink")) {
//     cluster.nvlink.bandwidth = nvlink->required_quantity<BytesPerSecond>("bandwidth",
//     Zero::kForbidden); nvlink->finish();
//   }
//   reader.finish();                 // missing keys, unknown keys
//   diagnostics.throw_if_errors();
//
// After an error a reading function returns the fallback (0 for a required value), so that reading
// can go on; nothing may be concluded from values before throw_if_errors(). Each figure can be
// written plain (`nodes = 8`) or as `{ value = 8, source = "..." }`, or as
// `{ value = 8, assumed = "why" }` where nobody has published it: those are listed in
// ReadContext::assumed.
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/document.hpp"
#include "core/figure.hpp"
#include "core/units.hpp"

namespace orrery {

struct ReadContext {
  std::string file;  // for diagnostics
  std::string name;  // for the names of assumed figures: "<name>: <dotted key>"
  Diagnostics& diagnostics;
  AssumedFigures assumed = {};
  bool unknown_keys_allowed = false;  // a newer minor version, or a file with another purpose
};

// Both ends included.
struct IntRange {
  std::int64_t least = 0;
  std::int64_t most = 2147483647;
};

enum class Zero { kAllowed, kForbidden };

// The words of an enumeration with their values.
template <class E>
using Words = std::span<const std::pair<std::string_view, E>>;

class Reader {
 public:
  // `path` is the dotted key of the table, empty for the root.
  Reader(const Node& table, ReadContext& context, std::string path = "");

  bool has(std::string_view key);

  int required_int(std::string_view key, IntRange range = {});
  int optional_int(std::string_view key, int fallback, IntRange range = {});
  double required_double(std::string_view key, double least, double most);
  double optional_double(std::string_view key, double fallback, double least, double most);
  std::uint64_t optional_uint64(std::string_view key, std::uint64_t fallback);
  bool optional_bool(std::string_view key, bool fallback);
  std::string required_string(std::string_view key);
  std::optional<std::string> optional_string(std::string_view key);

  template <class E>
  E required_enum(std::string_view key, Words<E> words) {
    const Node* value = figure(key, true);
    return value == nullptr ? words[0].second : word(*value, key, words, words[0].second);
  }
  template <class E>
  E optional_enum(std::string_view key, E fallback, Words<E> words) {
    const Node* value = figure(key, false);
    return value == nullptr ? fallback : word(*value, key, words, fallback);
  }
  template <class Q>
  Q required_quantity(std::string_view key, Zero zero) {
    const Node* value = figure(key, true);
    return Q{value == nullptr ? 0 : quantity(*value, key, dimension_of<Q>(), zero)};
  }
  template <class Q>
  Q optional_quantity(std::string_view key, Q fallback, Zero zero) {
    const Node* value = figure(key, false);
    return value == nullptr ? fallback : Q{quantity(*value, key, dimension_of<Q>(), zero)};
  }

  // Absent, or not a table (which is an error).
  std::optional<Reader> required_table(std::string_view key);
  std::optional<Reader> optional_table(std::string_view key);
  // The elements of an array of tables; empty when absent.
  std::vector<Reader> tables(std::string_view key);
  // The elements of an array, or null.
  const Node* required_array(std::string_view key);
  // The value of a key as it is, or null when absent. The key counts as known.
  const Node* node(std::string_view key);

  // Reads `format_version = "1.0"`. Another major version throws at once: nothing else could be
  // understood. A newer minor version may hold keys that are not known here; they are then ignored.
  void format_version(int major, int minor);

  // Reports missing and unknown keys. Call it once, after the last key; an unknown key that looks
  // like a missing one gives one error, not two.
  void finish();

  // The place of a key's value (of the table when absent), for semantic errors.
  Place place(std::string_view key) const;
  // The place of this table.
  Place place() const;
  void error(std::string_view key, std::string message, std::string hint = "");
  const std::string& path() const { return path_; }
  ReadContext& context() { return *context_; }

 private:
  // The value of `key`, out of its `{ value = ... }` if it has one; null when absent (noted if
  // required).
  const Node* figure(std::string_view key, bool required);
  const Node* unwrap(const Node& value, std::string_view key);
  const Node* table_node(std::string_view key, bool required);
  void expected(const Node& value, std::string_view key, std::string_view what,
                std::string hint = "");
  std::int64_t integer(const Node& value, std::string_view key, IntRange range,
                       std::int64_t fallback);
  double number(const Node& value, std::string_view key, double least, double most,
                double fallback);
  double quantity(const Node& value, std::string_view key, Dimension dimension, Zero zero);
  // The index of the word, or nothing.
  std::optional<std::size_t> word_index(const Node& value, std::string_view key,
                                        std::span<const std::string> words);
  std::string dotted(std::string_view key) const;
  std::string in_section() const;

  template <class E>
  E word(const Node& value, std::string_view key, Words<E> words, E fallback) {
    std::vector<std::string> names;
    for (const auto& entry : words) names.emplace_back(entry.first);
    const auto index = word_index(value, key, names);
    return index ? words[*index].second : fallback;
  }

  const Node* table_;
  ReadContext* context_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
  std::vector<std::string> missing_;
};

}  // namespace orrery
