#include "core/document.hpp"

#include "core/file.hpp"

namespace orrery {

const Node* Node::find(std::string_view name) const {
  for (const Node& child : children) {
    if (child.key == name) return child.kind == NodeKind::kNull ? nullptr : &child;
  }
  return nullptr;
}

Place Node::place(const std::string& file) const {
  // The whole of a table cannot be underlined; its name can.
  if (kind == NodeKind::kTable && key_position.line > 0) return key_place(file);
  return {file, position.line, position.col, position.length, ""};
}

Place Node::key_place(const std::string& file) const {
  if (key_position.line == 0) return {file, position.line, position.col, position.length, ""};
  return {file, key_position.line, key_position.col, key_position.length, ""};
}

Document parse_file(const std::string& path, Diagnostics& diagnostics) {
  std::string text = read_file(path);
  if (path.ends_with(".json")) return parse_json(path, std::move(text), diagnostics);
  if (path.ends_with(".toml")) return parse_toml(path, std::move(text), diagnostics);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && text[first] == '{';
  return json ? parse_json(path, std::move(text), diagnostics)
              : parse_toml(path, std::move(text), diagnostics);
}

std::string_view with_article(NodeKind kind) {
  switch (kind) {
    case NodeKind::kTable: return "a table";
    case NodeKind::kArray: return "an array";
    case NodeKind::kString: return "a string";
    case NodeKind::kInteger: return "an integer";
    case NodeKind::kFloat: return "a number with a fraction";
    case NodeKind::kBoolean: return "a boolean";
    case NodeKind::kNull: return "null";
    case NodeKind::kOther: return "a date or time";
  }
  return "?";
}

}  // namespace orrery
