// JSON through nlohmann's SAX interface. Version 3.11 tells places of syntax errors only, so the
// parser reads through an iterator that counts, and the start of each token is found by walking
// back from where it stopped.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "core/document.hpp"
#include "core/document_text.hpp"

namespace orrery {
namespace {

using Json = nlohmann::json;

// Reads a text and tells everyone who shares `consumed` how many bytes were taken.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, std::size_t* consumed) : at_(at), consumed_(consumed) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*consumed_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  std::size_t* consumed_;
};

bool in_number(char c) {
  return (c >= '0' && c <= '9') || std::strchr("+-.eE", c) != nullptr;
}

class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  TreeBuilder(std::string file, std::string_view text, const std::size_t& consumed,
              Diagnostics& diagnostics)
      : file_(std::move(file)),
        text_(text),
        lines_(text),
        consumed_(consumed),
        diagnostics_(diagnostics) {}

  Node take() { return std::move(root_); }

  bool null() override { return leaf(literal(NodeKind::kNull, 4)); }
  bool boolean(bool value) override {
    Node node = literal(NodeKind::kBoolean, value ? 4 : 5);
    node.boolean = value;
    return leaf(std::move(node));
  }
  bool number_integer(number_integer_t value) override {
    return number(NodeKind::kInteger, value, value);
  }
  bool number_unsigned(number_unsigned_t value) override {
    constexpr auto kMost = static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max());
    return number(NodeKind::kInteger, static_cast<std::int64_t>(std::min(value, kMost)),
                  static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t&) override {
    return number(NodeKind::kFloat, 0, value);
  }
  bool string(string_t& value) override {
    Node node;
    node.kind = NodeKind::kString;
    node.position = lines_.at(string_start(), consumed_);
    node.text = std::move(value);
    return leaf(std::move(node));
  }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(NodeKind::kTable); }
  bool start_array(std::size_t) override { return open(NodeKind::kArray); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    key_position_ = lines_.at(string_start(), consumed_);
    const auto [first, is_new] = keys_.back().emplace(value, key_position_.line);
    if (!is_new) {
      diagnostics_.error(place(key_position_), fmt::format("the key '{}' is given twice", value),
                         fmt::format("first on line {}", first->second));
    }
    key_ = std::move(value);
    return true;
  }

  bool parse_error(std::size_t read, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    const std::string_view what = error.what();
    const Token wrong = wrong_token(std::min(read, text_.size()), token, what);
    // A truncated file: behind its last character rather than on an empty line after it.
    const std::size_t last = text_.find_last_not_of(" \t\r\n") + 1;
    const bool at_end =
        wrong.begin >= last || what.find("unexpected end of input") != std::string_view::npos;
    const Position position = at_end ? lines_.at(last, last) : lines_.at(wrong.begin, wrong.end);
    std::string hint;
    if (at_end || read >= text_.size()) {
      hint = "the file ends here: is it complete?";
    } else if (text_[wrong.begin] == '}' || text_[wrong.begin] == ']') {
      const std::size_t before = text_.substr(0, wrong.begin).find_last_not_of(" \t\r\n");
      if (before != std::string_view::npos && text_[before] == ',')
        hint = "remove the comma before it";
    }
    diagnostics_.error(place(position), plain_message(what), hint);
    return false;
  }

 private:
  Place place(const Position& position) const {
    return {file_, position.line, position.col, position.length, ""};
  }

  struct Token {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  // The bytes of the token that the parser stopped at, having read `end` bytes. The lexer keeps the
  // text of strings and numbers only; for other tokens `token` is what it kept before.
  Token wrong_token(std::size_t end, const std::string& token, std::string_view what) const {
    const auto has = [what](std::string_view words) {
      return what.find(words) != std::string_view::npos;
    };
    const auto in_word = [this](std::size_t at) {
      return std::isalnum(static_cast<unsigned char>(text_[at])) != 0;
    };
    if (end == 0) return {};
    if (has("invalid literal") || has("true literal") || has("false literal") ||
        has("null literal")) {
      std::size_t begin = end - 1;
      while (begin > 0 && in_word(begin - 1)) --begin;
      end = begin;
      while (end < text_.size() && in_word(end)) ++end;
      return {begin, std::max(end, begin + 1)};
    }
    if (!has("; last read: ") && std::strchr("{}[],:", text_[end - 1]) != nullptr)
      return {end - 1, end};
    // Control characters appear as <U+000A> in the token.
    std::size_t length = token.size();
    for (std::size_t at = token.find("<U+"); at != std::string::npos;
         at = token.find("<U+", at + 1))
      length -= 7;
    return {length < end ? end - length : 0, end};
  }

  // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while ..." ->
  // from "while".
  static std::string plain_message(std::string_view what) {
    if (const auto bracket = what.find("] ");
        what.starts_with('[') && bracket != std::string_view::npos) {
      what.remove_prefix(bracket + 2);
    }
    if (const auto colon = what.find(": ");
        what.starts_with("parse error") && colon != std::string_view::npos)
      what.remove_prefix(colon + 2);
    constexpr std::string_view kPrefix = "syntax error ";
    if (what.starts_with(kPrefix)) what.remove_prefix(kPrefix.size());
    std::string text = fmt::format("JSON syntax: {}", what);
    if (text.find("control character U+000A") != std::string::npos) {
      return "JSON syntax: the closing quote of the string is missing";
    }
    // The caret shows what was read.
    if (const auto begin = text.find("; last read: '"); begin != std::string::npos) {
      const auto end = text.rfind('\'');
      const auto expected = text.rfind("; expected ");
      text.erase(begin, expected != std::string::npos && expected > begin ? expected - begin
                                                                          : end + 1 - begin);
    }
    return text;
  }

  // The opening quote of the string that ends at `consumed_`: quotes inside have an odd number of
  // backslashes.
  std::size_t string_start() const {
    std::size_t at = consumed_ - 1;
    while (at > 0) {
      --at;
      if (text_[at] != '"') continue;
      std::size_t slashes = 0;
      while (slashes < at && text_[at - 1 - slashes] == '\\') ++slashes;
      if (slashes % 2 == 0) break;
    }
    return at;
  }

  Node literal(NodeKind kind, std::size_t length) const {
    Node node;
    node.kind = kind;
    node.position = lines_.at(consumed_ - length, consumed_);
    return node;
  }

  template <class Number>
  bool number(NodeKind kind, std::int64_t integer, Number value) {
    // The parser reads one character beyond a number, except at the end of the text.
    std::size_t end = consumed_;
    if (end > 0 && !in_number(text_[end - 1])) --end;
    std::size_t start = end;
    while (start > 0 && in_number(text_[start - 1])) --start;
    Node node;
    node.kind = kind;
    node.position = lines_.at(start, end);
    node.integer = integer;
    node.number = static_cast<double>(value);
    node.text = std::string(text_.substr(start, end - start));
    return leaf(std::move(node));
  }

  void name(Node& node) {
    if (!open_.empty() && open_.back()->kind == NodeKind::kTable) {
      node.key = std::move(key_);
      node.key_position = key_position_;
    }
  }

  bool leaf(Node node) {
    name(node);
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      open_.back()->children.push_back(std::move(node));
    }
    return true;
  }

  bool open(NodeKind kind) {
    Node node = literal(kind, 1);
    if (open_.size() >= static_cast<std::size_t>(kDeepestNesting)) {
      diagnostics_.error(place(node.position),
                         fmt::format("nested more than {} deep", kDeepestNesting));
      return false;
    }
    name(node);
    Node* target = &root_;
    if (!open_.empty()) target = &open_.back()->children.emplace_back();
    *target = std::move(node);
    open_.push_back(target);
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  std::string file_;
  std::string_view text_;
  LineIndex lines_;
  const std::size_t& consumed_;
  Diagnostics& diagnostics_;
  Node root_;
  // Open tables and arrays. Only the last one grows, so the pointers stay valid.
  std::vector<Node*> open_;
  std::vector<std::map<std::string, int>> keys_;  // of each, with their lines
  std::string key_;
  Position key_position_;
};

}  // namespace

Document parse_json(const std::string& file, std::string text, Diagnostics& diagnostics) {
  text = checked_text(file, std::move(text), diagnostics);
  diagnostics.add_source(file, text);
  std::size_t consumed = 0;
  TreeBuilder builder(file, text, consumed, diagnostics);
  Json::sax_parse(CountingIterator(text.data(), &consumed),
                  CountingIterator(text.data() + text.size(), &consumed), &builder);
  diagnostics.throw_if_errors();
  Document document{file, builder.take()};
  if (!document.root.is_table()) {
    diagnostics.error(document.root.place(file), fmt::format("expected an object, found {}",
                                                             with_article(document.root.kind)));
    diagnostics.throw_if_errors();
  }
  document.root.position = {};
  return document;
}

}  // namespace orrery
