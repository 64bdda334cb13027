#include "core/document.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <random>

#include "core/error.hpp"

namespace orrery {
namespace {

// The characters of `text` at a node's position: what a caret would underline.
std::string underlined(const std::string& text, const Position& position) {
  std::string_view rest = text;
  for (int line = 1; line < position.line; ++line) rest.remove_prefix(rest.find('\n') + 1);
  return std::string(rest.substr(static_cast<std::size_t>(position.col - 1),
                                 static_cast<std::size_t>(position.length)));
}

Document json(const std::string& text) {
  Diagnostics diagnostics;
  return parse_json("test.json", text, diagnostics);
}

Document toml(const std::string& text) {
  Diagnostics diagnostics;
  return parse_toml("test.toml", text, diagnostics);
}

}  // namespace

TEST_CASE("every JSON value and key knows its place") {
  const std::string text =
      "{\n  \"a\": -1.5e3, \"b\\\"c\": [true, null,\n 12],\n"
      "\t\"s\": \"x\\\\\\\"y\", \"o\": {\"deep\": \"\"}}";
  const Document document = json(text);
  const Node& root = document.root;
  REQUIRE(root.children.size() == 4);
  CHECK(underlined(text, root.children[0].position) == "-1.5e3");
  CHECK(underlined(text, root.children[0].key_position) == "\"a\"");
  CHECK(root.children[1].key == "b\"c");
  CHECK(underlined(text, root.children[1].key_position) == "\"b\\\"c\"");
  const Node& array = root.children[1];
  CHECK(underlined(text, array.position) == "[");
  REQUIRE(array.children.size() == 3);
  CHECK(underlined(text, array.children[0].position) == "true");
  CHECK(underlined(text, array.children[1].position) == "null");
  CHECK(underlined(text, array.children[2].position) == "12");
  CHECK(array.children[2].position.line == 3);
  CHECK(underlined(text, root.find("s")->position) == "\"x\\\\\\\"y\"");
  CHECK(root.find("s")->text == "x\\\"y");
  CHECK(underlined(text, root.find("o")->find("deep")->position) == "\"\"");
}

TEST_CASE("columns count code points, not bytes") {
  const Node root = json("{\"\xc3\xa4\": 1, \"b\": 2}").root;
  CHECK(root.children[1].key_position.col == 10);
  CHECK(root.children[0].key_position.length == 3);
  const Node toml_root = toml("a = { \"\xc3\xa4\" = 1, b = 2 }").root;
  CHECK(toml_root.find("a")->find("b")->key_position.col == 16);
}

TEST_CASE("every TOML value and key knows its place, in the order of the file") {
  const std::string text = "z = 1\na = \"text\"\n[section]\nb = { value = 3.5, source = \"s\" }\n";
  const Node root = toml(text).root;
  REQUIRE(root.children.size() == 3);
  CHECK(root.children[0].key == "z");
  CHECK(underlined(text, root.find("a")->position) == "\"text\"");
  CHECK(underlined(text, root.find("section")->key_position) == "section");
  CHECK(underlined(text, root.find("section")->find("b")->find("value")->position) == "3.5");
}

TEST_CASE("a byte-order mark is skipped and does not shift columns") {
  CHECK(json("\xEF\xBB\xBF{\"a\": 1}").root.children[0].key_position.col == 2);
  CHECK(toml("\xEF\xBB\xBF"
             "a = 1")
            .root.children[0]
            .key_position.col == 1);
}

TEST_CASE("null counts as absent") {
  CHECK(json("{\"a\": null}").root.find("a") == nullptr);
}

TEST_CASE("integers beyond 64 bits keep their text") {
  const Node root = json("{\"a\": 18446744073709551615}").root;
  CHECK(root.find("a")->kind == NodeKind::kInteger);
  CHECK(root.find("a")->text == "18446744073709551615");
}

TEST_CASE("syntax errors say where they are") {
  const auto [text, place] = GENERATE(table<std::string, std::string>({
      {"{\"a\": 1,}", ":1:9"},
      {"{\"a\" 1}", ":1:6"},
      {"{\"a\": tru}", ":1:7"},
      {"{\"a\": \"b}", ":1:7"},
      {"{\"a\": 1", ":1:8"},
      {"{\"a\": [1, 2\n", ":1:12"},
      {"{} x", ":1:4"},
      {"{\"a\": 1, \"a\": 2}", ":1:10"},
  }));
  CAPTURE(text);
  Diagnostics diagnostics;
  CHECK_THROWS_WITH(parse_json("f", text, diagnostics), Catch::Contains("--> f" + place + "\n"));
}

TEST_CASE("nesting is limited whatever the notation") {
  CHECK_THROWS_WITH(json(std::string(1000000, '[')), Catch::Contains("nested more than 200"));
  CHECK_THROWS_AS(toml("a = " + std::string(100000, '[')), InputError);
  std::string dotted = "a";
  for (int part = 0; part < 100000; ++part) dotted += " . a";
  CHECK_THROWS_WITH(toml(dotted + " = 1"), Catch::Contains("dotted key"));
  CHECK_THROWS_AS(toml("[" + dotted + "]"), InputError);
  CHECK_NOTHROW(json("{\"a\":" + std::string(150, '[') + std::string(150, ']') + "}"));
}

TEST_CASE("random bytes and broken files give an InputError or a tree, never anything else") {
  const std::string seed_json =
      "{\"a\": [1, -2.5e3, true, null, \"x\\u00e4\\\"\"], \"b\": {\"c\": {}}}";
  const std::string seed_toml =
      "a = [1, 2.5, \"x\"]\n[b.c]\nd = { e = 2024-01-01, f = '''x''' }\n[[g]]\nh = 0xff\n";
  std::mt19937 random(7);
  for (int round = 0; round < 4000; ++round) {
    std::string text = round % 2 == 0 ? seed_json : seed_toml;
    const int edits = 1 + static_cast<int>(random() % 4);
    for (int edit = 0; edit < edits && !text.empty(); ++edit) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text[at] = static_cast<char>(random() % 256); break;
        case 1: text.erase(at, random() % 5); break;
        case 2: text.insert(at, 1, "{}[]\",:=.#\n\\x\0"[random() % 13]); break;
        default: text.resize(at);
      }
    }
    CAPTURE(round, text);
    try {
      round % 2 == 0 ? json(text) : toml(text);
    } catch (const InputError& error) {
      CHECK(std::string(error.what()).starts_with("error: "));
    }
  }
}

}  // namespace orrery
