#include "core/model_reader.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"

namespace orrery {
namespace {

Model from_json(const std::string& text) {
  Diagnostics diagnostics;
  return read_model(parse_json("config.json", text, diagnostics), "test", diagnostics);
}

Model from_toml(const std::string& text) {
  Diagnostics diagnostics;
  return read_model(parse_toml("test.toml", text, diagnostics), "test", diagnostics);
}

// DeepSeek-V2-Lite as Hugging Face has it, as far as it matters.
constexpr std::string_view kV2Lite =
    R"({"model_type": "deepseek_v2", "first_k_dense_replace": 1, "hidden_size": 2048,
  "intermediate_size": 10944, "kv_lora_rank": 512, "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1,
  "n_routed_experts": 64, "n_shared_experts": 2, "num_attention_heads": 16, "num_experts_per_tok": 6,
  "num_hidden_layers": 27, "num_key_value_heads": 16, "q_lora_rank": null, "qk_nope_head_dim": 128,
  "qk_rope_head_dim": 64, "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy", "v_head_dim": 128,
  "vocab_size": 102400})";

}  // namespace

TEST_CASE("the Hugging Face config of DeepSeek-V3 gives the model of the TOML file") {
  Model toml = read_model("models/deepseek-v3.toml");
  Model hugging_face = read_model("tests/data/input/deepseek-v3-config.json");
  CHECK(hugging_face.name == "deepseek-v3-config");
  CHECK(toml.stage_map == "E,3d,1t | 4t x 14 | 1t,m,L");
  CHECK(toml.stage_map_pp == 16);
  REQUIRE(toml.assumed.size() == 1);
  CHECK(toml.assumed[0].name == "deepseek-v3: stage_map");
  // What a config.json does not say.
  hugging_face.name = toml.name;
  toml.stage_map.reset();
  toml.stage_map_pp = 0;
  toml.assumed.clear();
  CHECK(hugging_face == toml);
}

TEST_CASE("the Hugging Face config of DeepSeek-V2-Lite gives the model of the TOML file") {
  Model model = from_json(std::string(kV2Lite));
  model.name = "deepseek-v2-lite";
  CHECK(model == read_model("models/deepseek-v2-lite.toml"));
  CHECK(model.attention.q_lora_rank == 0);
}

TEST_CASE("renamed and nested keys of Hugging Face files are understood") {
  std::string text(kV2Lite);
  text.replace(text.find("n_routed_experts"), 16, "num_local_experts");
  CHECK(from_json(text).moe.experts == 64);
  std::string inner(kV2Lite);
  inner.replace(inner.find("\"model_type\": \"deepseek_v2\","), 28, "");
  CHECK(from_json("{\"model_type\": \"deepseek_v2\", \"text_config\": " + inner + "}").hidden ==
        2048);
}

TEST_CASE(
    "a Hugging Face model without experts is dense, and one with sparse MoE layers is refused") {
  std::string text(kV2Lite);
  text.replace(text.find("\"n_routed_experts\": 64"), 22, "\"n_routed_experts\": null");
  const Model model = from_json(text);
  CHECK(model.dense_layers == 27);
  CHECK(model.moe == Moe{});
  text = kV2Lite;
  text.replace(text.find("\"moe_layer_freq\": 1"), 19, "\"moe_layer_freq\": 2");
  CHECK_THROWS_WITH(from_json(text), Catch::Contains("not supported"));
}

TEST_CASE("a dense model with grouped-query attention needs no MoE section") {
  const Model model = from_toml(
      "format_version = \"1.0\"\nname = \"dense\"\nlayers = 32\nhidden = 4096\ndense_inter = "
      "14336\n"
      "vocab = 128256\n[attention]\nkind = \"gqa\"\nheads = 32\nkv_heads = 8\nhead_dim = 128\n");
  CHECK(model.dense_layers == 32);
  CHECK(model.moe_layers() == 0);
  CHECK(model.attention.qk_dim() == 128);
  CHECK(model.attention.v_dim == 128);
  CHECK(model.attention.kv_heads == 8);
}

TEST_CASE("a model is named after its file, and a config.json after its folder") {
  CHECK(name_from_path("topologies/h800-64.toml") == "h800-64");
  CHECK(name_from_path("x/DeepSeek-V3/config.json") == "DeepSeek-V3");
  CHECK(name_from_path("config.json") == "config");
  CHECK(name_from_path("plain") == "plain");
}

}  // namespace orrery
