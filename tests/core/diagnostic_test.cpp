#include "core/diagnostic.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "core/utf8.hpp"

namespace orrery {

TEST_CASE("a diagnostic shows its line with a caret under the place and the hint behind it") {
  Diagnostics diagnostics;
  diagnostics.add_source("models/x.toml", "name = \"x\"\n\nhiden = 7168\n");
  diagnostics.error({"models/x.toml", 3, 1, 5, ""}, "unknown key 'hiden' in [model]",
                    "did you mean 'hidden'?");
  CHECK(diagnostics.render() ==
        "error: unknown key 'hiden' in [model]\n"
        "  --> models/x.toml:3:1\n"
        "   |\n"
        " 3 | hiden = 7168\n"
        "   | ^^^^^ did you mean 'hidden'?");
}

TEST_CASE("a diagnostic of a command-line value shows the value") {
  Diagnostics diagnostics;
  diagnostics.error(command_line_place("pp=16,eq=64", 7, 2), "unknown layout key 'eq'",
                    "did you mean 'ep'?");
  CHECK(diagnostics.render() ==
        "error: unknown layout key 'eq'\n"
        "  --> command line\n"
        "   |\n"
        "   | pp=16,eq=64\n"
        "   |       ^^ did you mean 'ep'?");
}

TEST_CASE("a diagnostic without a place is its text and hint") {
  Diagnostics diagnostics;
  diagnostics.warning({}, "no figures", "measure some");
  CHECK(diagnostics.render() == "warning: no figures\n   = measure some");
  CHECK_FALSE(diagnostics.has_errors());
  CHECK_NOTHROW(diagnostics.throw_if_errors());
}

TEST_CASE("diagnostics appear in the order of the file, all in one InputError") {
  Diagnostics diagnostics;
  diagnostics.add_source("f", "a\nb\n");
  diagnostics.error({"f", 2, 1, 1, ""}, "second");
  diagnostics.error({"f", 1, 1, 1, ""}, "first");
  CHECK_THROWS_AS(diagnostics.throw_if_errors(), InputError);
  const std::string text = diagnostics.render();
  CHECK(text.find("first") < text.find("second"));
}

TEST_CASE("a place behind the end of a line or a file can be shown") {
  Diagnostics diagnostics;
  diagnostics.add_source("f", "ab");
  diagnostics.error({"f", 1, 3, 1, ""}, "end of line");
  diagnostics.error({"f", 9, 7, 5, ""}, "no such line");
  CHECK_NOTHROW(diagnostics.render());
}

TEST_CASE("only a window of a very long line is shown, with the caret in it") {
  Diagnostics diagnostics;
  diagnostics.add_source("f", std::string(5000, 'a') + "X" + std::string(5000, 'b'));
  diagnostics.error({"f", 1, 5001, 1, ""}, "here");
  const std::string text = diagnostics.render();
  CHECK(text.size() < 400);
  const std::size_t line = text.find("...");
  const std::size_t caret_line = text.rfind('\n') + 1;
  CHECK(text.find('X') - text.rfind('\n', line) == text.find('^', caret_line) - (caret_line - 1));
}

TEST_CASE("bytes that could disturb a terminal are not printed, and columns count code points") {
  CHECK(printable("a\x1b[31m\xff") == "a [31m?");
  CHECK(printable("\xc2\x9b"
                  "31m") == " 31m");
  CHECK(count_code_points("h\xc3\xa4llo") == 5);
  CHECK(count_code_points("\xe4\xb8") == 2);  // a truncated sequence: two stray bytes
}

TEST_CASE("suggestions are near misses only") {
  const std::vector<std::string> keys = {"hidden", "layers", "vocab", "ep", "pp"};
  CHECK(edit_distance("hiden", "hidden") == 1);
  CHECK(edit_distance("hidedn", "hidden") == 1);  // a swap of neighbours
  CHECK(edit_distance("", "abc") == 3);
  CHECK(suggest("hiden", keys) == "hidden");
  CHECK(suggest("VOCAB", keys) == "vocab");
  CHECK(suggest("eq", keys) == "ep");
  CHECK(suggest("x", keys).empty());
  CHECK(suggest("heads", keys).empty());
  CHECK(suggest(std::string(100000, 'a'), keys).empty());
}

}  // namespace orrery
