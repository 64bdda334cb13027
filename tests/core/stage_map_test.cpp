#include "core/stage_map.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "core/model_reader.hpp"

namespace orrery {
namespace {

StageMap parsed(std::string_view text) {
  Diagnostics diagnostics;
  StageMap map = parse_stage_map(text, diagnostics);
  CHECK(diagnostics.render() == "");
  return map;
}

std::string errors_of(const StageMap& map, const Model& model, int stages) {
  Diagnostics diagnostics;
  check_stage_map(map, model, stages, diagnostics);
  return diagnostics.render();
}

constexpr std::string_view kDeepSeek = "E,3d,1t | 4t x 14 | 1t,m,L";

}  // namespace

TEST_CASE("the stage map of DeepSeek-V3 has 16 stages in either notation") {
  const StageMap map = parsed(kDeepSeek);
  REQUIRE(map.size() == 16);
  CHECK(map[0].size() == 5);
  CHECK(map[7] == std::vector<LayerKind>(4, LayerKind::kMoe));
  CHECK(map[15] == std::vector<LayerKind>{LayerKind::kMoe, LayerKind::kMtp, LayerKind::kHead});
  CHECK(parsed("E,3d,1t|(4t|)*14 1t,m,L") == map);
  CHECK(parsed("E,d,d,d,t|(t,3t|)*2(4t|)*12t,m,L") == map);
  CHECK(parsed(" E , 3 d,1t |4t x14|1t,m,L ") == map);
  CHECK(format_stage_map(map) == kDeepSeek);
}

TEST_CASE("a group may hold several stages or part of one") {
  CHECK(parsed("E|(t|)*3m|L") == parsed("E | 1t x 3 | m | L"));
  CHECK(parsed("E,(t,d)*2,L") == parsed("E,t,d,t,d,L"));
  CHECK(parsed("(E,t|2t|)*2L") == parsed("E,t|2t|E,t|2t|L"));
}

TEST_CASE("a formatted map reads back to the same map") {
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    StageMap map(1 + random() % 20);
    for (auto& stage : map) {
      if (&stage != &map.front() && random() % 2 == 0) {
        stage = *(&stage - 1);
        continue;
      }
      for (std::size_t entry = 0; entry < 1 + random() % 6; ++entry) {
        stage.insert(stage.end(), 1 + random() % 3, static_cast<LayerKind>(random() % 5));
      }
    }
    const std::string text = format_stage_map(map);
    CAPTURE(round, text);
    REQUIRE(parsed(text) == map);
  }
}

TEST_CASE("syntax errors in a stage map point at the character") {
  const auto [text, column, message] = GENERATE(table<std::string, int, std::string>({
      {"E,3q", 4, "unknown layer letter 'q'"},
      {"E,3", 3, "a layer letter must follow the count"},
      {"E,0t", 3, "a count must be at least 1"},
      {"E,999999t", 3, "a count must be 1 to 100000"},
      {"E||L", 1, "stage 1 of the stage map is empty"},
      {"E|L|", 1, "stage 2 of the stage map is empty"},
      {"", 1, "stage 0 of the stage map is empty"},
      {"E|4t x", 6, "a count of at least 1 must follow 'x'"},
      {"x 3", 1, "'x' must follow a stage"},
      {"4t x 3,L", 7, "'|' must follow a repeated stage"},
      {"(4t|", 5, "the group is not closed"},
      {"4t)", 3, "')' without '('"},
      {"((t)*2)*2", 2, "groups cannot be nested"},
      {"(4t|)L", 1, "'*' and a count must follow a group"},
      {"4t*3", 3, "'*' repeats a group only"},
      {"E|90000t x 90000|L", 10, "the stage map holds more than 100000 layers"},
      {"(|)*100000", 1, "the stage map holds more than 100000 layers"},
      {"E,-3t", 3, "a count must be 1 to 100000"},
  }));
  CAPTURE(text);
  Diagnostics diagnostics;
  parse_stage_map(text, diagnostics);
  REQUIRE(diagnostics.errors() == 1);
  CHECK(diagnostics.all()[0].message == message);
  CHECK(diagnostics.all()[0].place.col == column);
}

TEST_CASE("any text gives a stage map or an error") {
  std::mt19937 random(5);
  constexpr std::string_view kAlphabet = "EdtmL0129,||x*() \t-\xff";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::size_t length = random() % 14; length > 0; --length)
      text += kAlphabet[random() % kAlphabet.size()];
    CAPTURE(round, text);
    Diagnostics diagnostics;
    const StageMap map = parse_stage_map(text, diagnostics);
    REQUIRE(diagnostics.has_errors() == map.empty());
    if (!map.empty()) REQUIRE(parsed(format_stage_map(map)) == map);
  }
}

TEST_CASE(
    "a stage map must hold the model's layers in the model's order, with the arithmetic in the "
    "message") {
  const Model model = read_model("models/deepseek-v3.toml");
  CHECK(errors_of(parsed(kDeepSeek), model, 16) == "");
  CHECK(errors_of(parsed("E,3d | 4t x 14 | 1t,m,L"), model, 16) ==
        "error: the stage map holds 57 MoE layers, the model has 58\n   = 1 't' too few");
  CHECK(errors_of(parsed(kDeepSeek), model, 8) ==
        "error: the stage map has 16 stages, the layout needs 8");
  CHECK(errors_of(parsed("E,1t,3d | 4t x 14 | 1t,m,L"), model, 16).find("'d' comes after 't'") !=
        std::string::npos);
  CHECK(errors_of(parsed("E,3d,1t | 4t x 14 | m,1t,L"), model, 16).find("'t' comes after 'm'") !=
        std::string::npos);
  CHECK(errors_of(parsed("3d,1t | 4t x 14 | 1t,m,L"), model, 16)
            .find("holds 0 embeddings, the model has 1") != std::string::npos);
  CHECK(errors_of(parsed("E,3d,1t | 4t x 14 | 1t,2m,2L"), model, 16)
            .find("2 heads, the model has 1") != std::string::npos);
  CHECK(errors_of(parsed("E | 3d,1t | 4t x 13 | 5t,m | L"), model, 17) == "");
  CHECK(errors_of({{}, {}}, model, 2).find("stage 1 of the stage map is empty") !=
        std::string::npos);
}

}  // namespace orrery
