// Hugging Face `config.json`: dispatch on model_type, one decoder a family. An unknown type is
// refused rather than guessed, since keys change their meaning between families (`head_dim` is the
// rotated part in deepseek_v3).
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/model_limits.hpp"
#include "core/model_reader.hpp"

namespace orrery {
namespace {

using namespace limits;

const std::vector<std::string> kSupported = {"deepseek_v2", "deepseek_v3"};

// The name under which a file has a key that was renamed over time.
std::string_view present(Reader& reader, std::string_view key, std::string_view alias) {
  return !reader.has(key) && reader.has(alias) ? alias : key;
}

Attention decode_mla(Reader& reader) {
  Attention attention;
  attention.kind = AttentionKind::kMla;
  attention.heads = reader.required_int("num_attention_heads", kHeads);
  // The files repeat the heads here; MLA has one compressed key for all of them.
  attention.kv_heads = attention.heads;
  attention.q_lora_rank =
      reader.optional_int("q_lora_rank", 0, {0, kRank.most});  // null: one full projection
  attention.kv_lora_rank = reader.required_int("kv_lora_rank", kRank);
  attention.qk_nope_dim = reader.required_int("qk_nope_head_dim", {0, kHeadDim.most});
  attention.qk_rope_dim = reader.required_int("qk_rope_head_dim", {0, kHeadDim.most});
  attention.v_dim = reader.required_int("v_head_dim", kHeadDim);
  return attention;
}

Moe decode_deepseek_moe(Reader& reader) {
  Moe moe;
  const std::string_view experts = present(reader, "n_routed_experts", "num_local_experts");
  if (!reader.has(experts)) return moe;
  moe.experts = reader.required_int(experts, kExperts);
  moe.shared_experts = reader.optional_int("n_shared_experts", 0, kSharedExperts);
  moe.top_k = reader.required_int("num_experts_per_tok", kExperts);
  moe.inter = reader.required_int("moe_intermediate_size", kInter);
  // A greedy gate looks at no groups, whatever n_group says.
  const bool grouped = reader.optional_string("topk_method").value_or("") != "greedy";
  const int groups = reader.optional_int("n_group", 1, {0, kExperts.most});
  const int groups_per_token = reader.optional_int("topk_group", groups, {0, kExperts.most});
  moe.groups = grouped && groups > 0 ? groups : 1;
  moe.groups_per_token = grouped && groups_per_token > 0 ? groups_per_token : moe.groups;
  if (const int every = reader.optional_int("moe_layer_freq", 1); every != 1) {
    reader.error("moe_layer_freq", fmt::format("MoE in every {}th layer is not supported", every),
                 "expected 1: every layer after the first dense ones");
  }
  return moe;
}

Model decode_deepseek(Reader& reader, std::string name) {
  Diagnostics& diagnostics = reader.context().diagnostics;
  const int before = diagnostics.errors();
  Model model;
  model.name = std::move(name);
  model.layers = reader.required_int("num_hidden_layers", kLayers);
  model.hidden = reader.required_int("hidden_size", kHidden);
  model.vocab = reader.required_int("vocab_size", kVocab);
  model.mtp_depth = reader.optional_int("num_nextn_predict_layers", 0, kMtp);
  // The default of these families; the library's own default is true.
  model.tied_embeddings = reader.optional_bool("tie_word_embeddings", false);
  model.attention = decode_mla(reader);
  model.moe = decode_deepseek_moe(reader);
  model.dense_layers = model.moe.experts == 0
                           ? model.layers
                           : reader.optional_int("first_k_dense_replace", 0, kSomeLayers);
  model.dense_inter = model.dense_layers > 0
                          ? reader.required_int("intermediate_size", kInter)
                          : reader.optional_int("intermediate_size", 0, {0, kInter.most});
  reader.finish();
  if (diagnostics.errors() == before) check_model(model, reader);
  return model;
}

}  // namespace

Model decode_hugging_face(const Node& root, ReadContext& context) {
  context.unknown_keys_allowed = true;
  Reader reader(root, context);
  const std::string type = reader.required_string("model_type");
  if (std::find(kSupported.begin(), kSupported.end(), type) == kSupported.end()) {
    reader.error("model_type", fmt::format("the model_type '{}' is not supported", type),
                 fmt::format("supported: {}; describe other models in TOML (see models/)",
                             fmt::join(kSupported, ", ")));
    return {};
  }
  // Models that also see or hear keep the language model's sizes in a table of their own.
  if (root.find("hidden_size") == nullptr) {
    if (auto text = reader.optional_table("text_config"))
      return decode_deepseek(*text, context.name);
  }
  return decode_deepseek(reader, context.name);
}

}  // namespace orrery
