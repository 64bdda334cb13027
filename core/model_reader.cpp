#include "core/model_reader.hpp"

#include <fmt/format.h>

#include "core/model_limits.hpp"
#include "core/stage_map.hpp"

namespace orrery {
namespace {

using namespace limits;

constexpr std::pair<std::string_view, AttentionKind> kAttentionWords[] = {
    {"mla", AttentionKind::kMla}, {"gqa", AttentionKind::kGqa}};

Attention decode_attention(Reader& reader) {
  Attention attention;
  attention.kind = reader.required_enum<AttentionKind>("kind", kAttentionWords);
  attention.heads = reader.required_int("heads", kHeads);
  if (attention.kind == AttentionKind::kMla) {
    attention.kv_heads = attention.heads;
    attention.q_lora_rank = reader.optional_int("q_lora_rank", 0, {0, kRank.most});
    attention.kv_lora_rank = reader.required_int("kv_lora_rank", kRank);
    attention.qk_nope_dim = reader.required_int("qk_nope_dim", {0, kHeadDim.most});
    attention.qk_rope_dim = reader.required_int("qk_rope_dim", {0, kHeadDim.most});
    attention.v_dim = reader.required_int("v_dim", kHeadDim);
  } else {
    attention.kv_heads = reader.optional_int("kv_heads", attention.heads, kHeads);
    attention.qk_rope_dim = reader.required_int("head_dim", kHeadDim);
    attention.v_dim = reader.optional_int("v_dim", attention.qk_rope_dim, kHeadDim);
  }
  reader.finish();
  return attention;
}

Moe decode_moe(Reader& reader) {
  Moe moe;
  moe.experts = reader.required_int("experts", kExperts);
  moe.shared_experts = reader.optional_int("shared_experts", 0, kSharedExperts);
  moe.top_k = reader.required_int("top_k", kExperts);
  moe.inter = reader.required_int("inter", kInter);
  moe.groups = reader.optional_int("groups", 1, kExperts);
  moe.groups_per_token = reader.optional_int("groups_per_token", moe.groups, kExperts);
  reader.finish();
  return moe;
}

// The first character of a string value, within its quotes.
Place inside(Place place) {
  ++place.col;
  place.length = std::max(1, place.length - 2);
  return place;
}

void check_own_stage_map(const Model& model, Reader& reader, Diagnostics& diagnostics) {
  if (!model.stage_map) {
    if (model.stage_map_pp != 0) reader.error("stage_map_pp", "'stage_map_pp' without 'stage_map'");
    return;
  }
  if (model.stage_map_pp == 0) {
    return reader.error("stage_map", "'stage_map' without 'stage_map_pp'",
                        "add stage_map_pp, the number of its stages");
  }
  const Place place = inside(reader.place("stage_map"));
  const int before = diagnostics.errors();
  const StageMap map = parse_stage_map(*model.stage_map, diagnostics, place);
  if (diagnostics.errors() != before) return;
  if (static_cast<int>(map.size()) != model.stage_map_pp) {
    reader.error("stage_map_pp", fmt::format("'stage_map_pp' is {}, the stage map has {} stages",
                                             model.stage_map_pp, map.size()));
  }
  check_stage_map(map, model, static_cast<int>(map.size()), diagnostics, place);
}

}  // namespace

void check_model(const Model& model, Reader& reader) {
  const Attention& attention = model.attention;
  if (model.dense_layers > model.layers) {
    reader.error("dense_layers", fmt::format("{} dense layers, but the model has only {} layers",
                                             model.dense_layers, model.layers));
  }
  if (model.moe_layers() > 0 && model.moe.experts == 0) {
    reader.error("dense_layers",
                 fmt::format("{} of {} layers are MoE layers, but the model has no experts",
                             model.moe_layers(), model.layers),
                 "without [moe] every layer is dense: leave 'dense_layers' out");
  }
  if (attention.kv_heads > 0 && attention.heads % attention.kv_heads != 0) {
    reader.error("attention", fmt::format("{} kv_heads do not divide {} heads", attention.kv_heads,
                                          attention.heads));
  }
  if (attention.qk_dim() == 0) reader.error("attention", "qk_nope_dim and qk_rope_dim are both 0");
  const Moe& moe = model.moe;
  if (moe.experts == 0 && model.mtp_depth > 0) {
    reader.error("mtp_depth", "an MTP module holds a MoE layer, but the model has no experts",
                 "add [moe], or leave 'mtp_depth' out");
  }
  if (moe.experts == 0) return;
  if (moe.top_k > moe.experts) {
    reader.error("moe",
                 fmt::format("top_k = {} is more than the {} experts", moe.top_k, moe.experts));
  } else if (moe.experts % moe.groups != 0) {
    reader.error("moe", fmt::format("{} groups do not divide {} experts", moe.groups, moe.experts));
  } else if (moe.groups_per_token > moe.groups) {
    reader.error("moe", fmt::format("groups_per_token = {} is more than the {} groups",
                                    moe.groups_per_token, moe.groups));
  } else if (const int reachable = moe.groups_per_token * (moe.experts / moe.groups);
             reachable < moe.top_k) {
    reader.error("moe", fmt::format("top_k = {}, but {} group{} of {} experts hold{} only {}",
                                    moe.top_k, moe.groups_per_token,
                                    moe.groups_per_token == 1 ? "" : "s", moe.experts / moe.groups,
                                    moe.groups_per_token == 1 ? "s" : "", reachable));
  }
}

Model decode_model(Reader& reader) {
  Diagnostics& diagnostics = reader.context().diagnostics;
  const int before = diagnostics.errors();
  Model model;
  model.name = reader.required_string("name");
  model.layers = reader.required_int("layers", kLayers);
  const bool dense = !reader.has("moe");
  model.dense_layers = reader.optional_int("dense_layers", dense ? model.layers : 0, kSomeLayers);
  model.hidden = reader.required_int("hidden", kHidden);
  model.gated_mlp = reader.optional_bool("gated_mlp", true);
  model.dense_inter = model.dense_layers > 0
                          ? reader.required_int("dense_inter", kInter)
                          : reader.optional_int("dense_inter", 0, {0, kInter.most});
  model.vocab = reader.required_int("vocab", kVocab);
  model.mtp_depth = reader.optional_int("mtp_depth", 0, kMtp);
  model.tied_embeddings = reader.optional_bool("tied_embeddings", false);
  model.stage_map = reader.optional_string("stage_map");
  model.stage_map_pp = reader.optional_int("stage_map_pp", 0, {0, 100000});
  if (auto attention = reader.required_table("attention"))
    model.attention = decode_attention(*attention);
  if (auto moe = reader.optional_table("moe")) model.moe = decode_moe(*moe);
  reader.finish();
  // Arithmetic on values that could not be read would only repeat the error.
  if (diagnostics.errors() == before) check_model(model, reader);
  if (diagnostics.errors() == before) check_own_stage_map(model, reader, diagnostics);
  return model;
}

std::string name_from_path(const std::string& path) {
  std::string_view rest = path;
  const auto last_part = [&rest] { return rest.substr(rest.rfind('/') + 1); };
  if (last_part() == "config.json" && rest.find('/') != std::string_view::npos) {
    rest = rest.substr(0, rest.rfind('/'));
    return std::string(last_part());
  }
  const std::string_view name = last_part();
  return std::string(name.substr(0, name.rfind('.')));
}

Model read_model(const Document& document, const std::string& name, Diagnostics& diagnostics) {
  ReadContext context{document.file, name, diagnostics};
  Model model;
  if (document.root.find("model_type") != nullptr) {
    model = decode_hugging_face(document.root, context);
  } else {
    Reader reader(document.root, context);
    if (document.root.find("hidden_size") != nullptr ||
        document.root.find("architectures") != nullptr) {
      diagnostics.error(
          {document.file, 0, 0, 1, ""}, "missing key 'model_type'",
          "this looks like a Hugging Face config.json, which is read by its model_type");
      diagnostics.throw_if_errors();
    }
    reader.format_version(1, 0);
    model = decode_model(reader);
  }
  diagnostics.throw_if_errors();
  model.assumed = std::move(context.assumed);
  return model;
}

Model read_model(const std::string& path) {
  Diagnostics diagnostics;
  return read_model(parse_file(path, diagnostics), name_from_path(path), diagnostics);
}

}  // namespace orrery
