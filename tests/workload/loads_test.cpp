#include "workload/loads.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <limits>
#include <random>

#include "core/error.hpp"
#include "core/file.hpp"

namespace orrery {
namespace {

Loads example() {
  Loads loads;
  loads.model = "tiny-moe";
  loads.pp = loads.ep = loads.dp = 2;
  loads.step = 12;
  loads.microbatches = 2;
  loads.layers = {1, 3, 4};
  loads.ranks = 2;
  loads.row_counts = {30, 34, 31, 33, 64, 0, 40, 24, 32, 32, 0, 0};
  loads.experts = {{17, 20, 23, 68}, {30, 33, 32, 33}, {64, 0, 0, 0}};
  return loads;
}

constexpr const char* kExample = R"({
  "format_version": "1.0",
  "model": "tiny-moe",
  "pp": 2,
  "ep": 2,
  "dp": 2,
  "step": 12,
  "microbatches": 2,
  "layers": [1, 3, 4],
  "ranks": 2,
  "rows": [
    [[30, 34],
     [31, 33],
     [64, 0]],
    [[40, 24],
     [32, 32],
     [0, 0]]
  ],
  "experts": [
    [17, 20, 23, 68],
    [30, 33, 32, 33],
    [64, 0, 0, 0]
  ]
}
)";

Loads read(const std::string& text) {
  Diagnostics diagnostics;
  return read_loads(parse_json("loads.json", text, diagnostics), diagnostics);
}

std::string error_of(const std::string& text) {
  try {
    read(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// The example with `from`, which stands in it once, replaced.
std::string spoiled(const std::string& from, const std::string& to) {
  std::string text = kExample;
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  REQUIRE(text.find(from, at + 1) == std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a loads file looks like this and reads back") {
  CHECK(to_json(example()) == kExample);
  CHECK(read(kExample) == example());
}

TEST_CASE("experts may be left out or null") {
  Loads loads = example();
  loads.experts.clear();
  CHECK(read(to_json(loads)) == loads);
  CHECK(to_json(loads).find("experts") == std::string::npos);
  CHECK(read(spoiled("[\n    [17, 20, 23, 68],\n    [30, 33, 32, 33],\n    [64, 0, 0, 0]\n  ]",
                     "null")) == loads);
}

TEST_CASE("loads survive their file to the last bit") {
  std::mt19937_64 random(GENERATE(range(0, 30)));
  const auto below = [&random](int most) { return static_cast<int>(random() % most); };
  Loads loads;
  loads.model = below(2) == 0 ? "a \"quoted\" \\ name\n" : "";
  loads.step = below(1000);
  loads.microbatches = 1 + below(5);
  loads.ranks = 1 + below(6);
  for (int layer = below(3); layer < 12; layer += 1 + below(4)) loads.layers.push_back(layer);
  const std::size_t lists = static_cast<std::size_t>(loads.microbatches) * loads.layers.size();
  for (std::size_t count = lists * static_cast<std::size_t>(loads.ranks); count > 0; --count) {
    loads.row_counts.push_back(below(3) == 0 ? below(100000)
                                             : static_cast<double>(random() >> 11) * 0x1p-40);
  }
  CAPTURE(to_json(loads));
  CHECK(read(to_json(loads)) == loads);
}

TEST_CASE("loads are read from a file by its path") {
  std::string folder =
      (std::filesystem::temp_directory_path() / "orrery-loads-test-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  write_file_atomically(folder + "/loads.json", kExample);
  CHECK(read_loads(folder + "/loads.json") == example());
  CHECK_THROWS_WITH(read_loads(folder + "/none.json"),
                    fmt::format("error: cannot read {}/none.json: no such file", folder));
  std::filesystem::remove_all(folder);
}

TEST_CASE("rows are those of the micro-batch, the place of the layer and the rank") {
  const Loads loads = example();
  CHECK(loads.rows(0, 0, 1) == 34);
  CHECK(loads.rows(0, 2, 0) == 64);
  CHECK(loads.rows(1, 0, 0) == 40);
  CHECK(loads.rows(1, 1).size() == 2);
  CHECK(loads.rows(1, 1)[1] == 32);
  CHECK_THROWS_AS(loads.rows(2, 0, 0), Bug);
  CHECK_THROWS_AS(loads.rows(0, 3, 0), Bug);
  CHECK_THROWS_AS(loads.rows(0, 0, 2), Bug);
  CHECK_THROWS_AS(loads.rows(-1, 0, 0), Bug);
}

TEST_CASE("the busiest rank over the mean is 1 for an even load and the ranks for one alone") {
  CHECK(max_over_mean(std::vector<double>{5, 5, 5, 5}) == 1);
  CHECK(max_over_mean(std::vector<double>{0, 12, 0, 0}) == 4);
  CHECK(max_over_mean(std::vector<double>{3, 1}) == 1.5);
  CHECK(max_over_mean(std::vector<double>{0, 0}) == 1);
  CHECK(max_over_mean({}) == 1);
  // 34/32, 33/32, 2, 40/32, 1, 1: sum 7.34375.
  const Evenness figures = evenness(example());
  CHECK(figures.mean == Approx(7.34375 / 6));
  CHECK(figures.worst == 2);
  CHECK(evenness(Loads{}).mean == 1);
}

TEST_CASE("loads that no reader would take are not written") {
  Loads loads = example();
  SECTION("negative") {
    loads.row_counts[3] = -1;
  }
  SECTION("not a number") {
    loads.row_counts[3] = std::numeric_limits<double>::quiet_NaN();
  }
  SECTION("infinite") {
    loads.experts[0][0] = std::numeric_limits<double>::infinity();
  }
  SECTION("one count missing") {
    loads.row_counts.pop_back();
  }
  SECTION("experts of another number of layers") {
    loads.experts.pop_back();
  }
  CHECK_THROWS_AS(to_json(loads), Bug);
}

TEST_CASE("a malformed loads file is refused with the exact message that helps") {
  struct Case {
    const char *from, *to, *message;
  };
  const Case test = GENERATE(values<Case>({
      {R"("ranks": 2,)", R"("rank": 2,)",
       R"(error: unknown key 'rank'
   --> loads.json:10:3
    |
 10 |   "rank": 2,
    |   ^^^^^^ did you mean 'ranks'?)"},
      {R"(  "dp": 2,
)",
       "",
       R"(error: missing key 'dp'
  --> loads.json)"},
      {R"("1.0")", R"("2.0")",
       R"(error: format version 2.0 is not supported
  --> loads.json:2:21
   |
 2 |   "format_version": "2.0",
   |                     ^^^^^ this program reads 1.x)"},
      {R"("pp": 2)", R"("pp": 0)",
       R"(error: 'pp' must be at least 1, found 0
  --> loads.json:4:9
   |
 4 |   "pp": 0,
   |         ^)"},
      {R"("step": 12)", R"("step": -1)",
       R"(error: 'step' must be at least 0, found -1
  --> loads.json:7:11
   |
 7 |   "step": -1,
   |           ^^)"},
      {"[1, 3, 4]", "[1, 3, 3]",
       R"(error: layer 3 does not come after layer 3
  --> loads.json:9:20
   |
 9 |   "layers": [1, 3, 3],
   |                    ^)"},
      {"[1, 3, 4]", "[1, -3, 4]",
       R"(error: a layer must be 0 to 1000000, found -3
  --> loads.json:9:17
   |
 9 |   "layers": [1, -3, 4],
   |                 ^^)"},
      {"[1, 3, 4]", R"([1, "3", 4])",
       R"(error: expected the number of a layer, an integer, found a string
  --> loads.json:9:17
   |
 9 |   "layers": [1, "3", 4],
   |                 ^^^)"},
      {"[1, 3, 4]", "[1, 3]",
       R"(error: 'rows' of micro-batch 0 has 3 entries for 2 layers
   --> loads.json:12:5
    |
 12 |     [[30, 34],
    |     ^

error: 'rows' of micro-batch 1 has 3 entries for 2 layers
   --> loads.json:15:5
    |
 15 |     [[40, 24],
    |     ^

error: 'experts' has 3 entries for 2 layers
   --> loads.json:19:14
    |
 19 |   "experts": [
    |              ^)"},
      {"[1, 3, 4]", "[]",
       R"(error: 'layers' is empty, at least one MoE layer is needed
  --> loads.json:9:13
   |
 9 |   "layers": [],
   |             ^)"},
      {R"("microbatches": 2)", R"("microbatches": 3)",
       R"(error: 'rows' has 2 entries for 3 micro-batches
   --> loads.json:11:11
    |
 11 |   "rows": [
    |           ^)"},
      {"[31, 33]", "[31, 33, 2]",
       R"(error: 'rows' of micro-batch 0, layer 3 has 3 entries for 2 ranks
   --> loads.json:13:6
    |
 13 |      [31, 33, 2],
    |      ^)"},
      {"[31, 33]", "31",
       R"(error: expected 'rows' of micro-batch 0, layer 3, an array, found an integer
   --> loads.json:13:6
    |
 13 |      31,
    |      ^^)"},
      {"[31, 33]", "[31, -33]",
       R"(error: a number of rows must be 0 to 1e15, found -33
   --> loads.json:13:11
    |
 13 |      [31, -33],
    |           ^^^)"},
      {"[31, 33]", "[31, 1e16]",
       R"(error: a number of rows must be 0 to 1e15, found 1e16
   --> loads.json:13:11
    |
 13 |      [31, 1e16],
    |           ^^^^)"},
      {"[31, 33]", "[31, null]",
       R"(error: expected a number of rows, found null
   --> loads.json:13:11
    |
 13 |      [31, null],
    |           ^^^^)"},
      {"[31, 33]", "[31, 1e999]",
       R"(error: JSON syntax: number overflow parsing '1e999'
   --> loads.json:13:11
    |
 13 |      [31, 1e999],
    |           ^^^^^)"},
      {"[31, 33]", "[31, NaN]",
       R"(error: JSON syntax: while parsing value - invalid literal
   --> loads.json:13:11
    |
 13 |      [31, NaN],
    |           ^^^)"},
      {"[17, 20, 23, 68]", "8",
       R"(error: expected 'experts' of layer 1, an array, found an integer
   --> loads.json:20:5
    |
 20 |     8,
    |     ^)"},
      {"[30, 33, 32, 33]", "[30, 33, 32]",
       R"(error: 'experts' of layer 3 has 3 entries for 4 experts
   --> loads.json:21:5
    |
 21 |     [30, 33, 32],
    |     ^)"},
      {R"(,
    [64, 0, 0, 0])",
       "",
       R"(error: 'experts' has 2 entries for 3 layers
   --> loads.json:19:14
    |
 19 |   "experts": [
    |              ^)"},
      {R"("tiny-moe")", "3",
       R"(error: expected a string for 'model', found an integer
  --> loads.json:3:12
   |
 3 |   "model": 3,
   |            ^)"},
      {R"(  ]
})",
       R"(  ]
)",
       R"(error: JSON syntax: while parsing object - unexpected end of input; expected '}'
   --> loads.json:23:4
    |
 23 |   ]
    |    ^ the file ends here: is it complete?)"},
  }));
  CAPTURE(test.from, test.to);
  CHECK(error_of(spoiled(test.from, test.to)) == test.message);
}

TEST_CASE("all that is wrong with the numbers is told at once") {
  std::string text = spoiled("[31, 33]", "[-31, 33]");
  text.replace(text.find("[40, 24]"), 8, "[40, true]");
  text.replace(text.find("[64, 0, 0, 0]"), 13, "[64, 0, 0, -1]");
  const std::string message = error_of(text);
  CAPTURE(message);
  CHECK_THAT(message, Catch::Contains("loads.json:13:7") && Catch::Contains("loads.json:15:11") &&
                          Catch::Contains("loads.json:22:16"));
}

}  // namespace orrery
