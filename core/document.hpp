#pragma once
// A parsed TOML or JSON file as a tree in which every key and every value knows its place, so that
// a message about any of them can point at it. The source text is kept with the diagnostics for the
// carets.
//
//   Diagnostics diagnostics;
//   Document document = parse_file("models/deepseek-v3.toml", diagnostics);   // throws InputError
//   on bad syntax const Node* layers = document.root.find("layers");                        //
//   layers->position.line ...
//
// Any bytes give a tree or an InputError; nesting is limited to kDeepestNesting, duplicate keys are
// errors. Files are meant to be small (a plan of 2048 GPUs has some hundred kilobytes): a node
// takes about 200 bytes.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/diagnostic.hpp"

namespace orrery {

inline constexpr int kDeepestNesting = 200;

// kOther: a TOML date or time, which no file of ours uses.
enum class NodeKind { kTable, kArray, kString, kInteger, kFloat, kBoolean, kNull, kOther };

// Line and column from 1, columns in code points; length in code points, within the line.
struct Position {
  int line = 0;
  int col = 0;
  int length = 1;
};

struct Node {
  NodeKind kind = NodeKind::kNull;
  Position position;      // of the value; a string's starts at its quote
  std::string key;        // in a table
  Position key_position;  // line 0 outside a table
  bool boolean = false;
  std::int64_t integer = 0;    // clamped where the text does not fit
  double number = 0;           // of an integer too
  std::string text;            // a string's value; a number as written (JSON)
  std::vector<Node> children;  // of a table or array, in the order of the file

  bool is_table() const { return kind == NodeKind::kTable; }
  // A null child counts as absent: configuration files are full of `"key": null`.
  const Node* find(std::string_view name) const;
  // The place of this value; of its key where it is a table that a header opened.
  Place place(const std::string& file) const;
  Place key_place(const std::string& file) const;
};

struct Document {
  std::string file;  // as the user named it
  Node root;         // always a table
};

// These throw InputError with everything in `diagnostics` when the text is not well-formed.
Document parse_toml(const std::string& file, std::string text, Diagnostics& diagnostics);
Document parse_json(const std::string& file, std::string text, Diagnostics& diagnostics);
// By extension (.json, .toml); any other file is JSON if it starts with '{'.
Document parse_file(const std::string& path, Diagnostics& diagnostics);

// "a string", "an integer", "a table": for messages.
std::string_view with_article(NodeKind kind);

}  // namespace orrery
