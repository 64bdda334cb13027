#pragma once
// A transformer as far as its training cost depends on it: shapes, not weights.
// Read from TOML (`models/*.toml`) or from a Hugging Face `config.json` as it is
// (core/model_reader.hpp).
#include <optional>
#include <string>

#include "core/figure.hpp"

namespace orrery {

enum class AttentionKind {
  kMla,  // multi-head latent attention (DeepSeek-V2 report, section 2.1): low-rank q and kv, one
         // shared rope key
  kGqa,  // grouped-query attention; kv_heads == heads is plain multi-head attention
};

struct Attention {
  AttentionKind kind = AttentionKind::kMla;
  int heads = 0;
  int kv_heads = 0;      // GQA only; equals heads in MLA
  int q_lora_rank = 0;   // MLA: width of the compressed query; 0 = one full q projection
  int kv_lora_rank = 0;  // MLA: width of the compressed key/value
  int qk_nope_dim = 0;   // per head, without position; GQA: 0
  int qk_rope_dim = 0;   // per head, rotated; GQA: the whole head
  int v_dim = 0;         // per head

  int qk_dim() const { return qk_nope_dim + qk_rope_dim; }
  bool operator==(const Attention&) const = default;
};

struct Moe {
  int experts = 0;           // routed experts a layer
  int shared_experts = 0;    // always-active experts a layer
  int top_k = 0;             // routed experts a token
  int inter = 0;             // width of one expert
  int groups = 1;            // expert groups of the gate (1 = none)
  int groups_per_token = 1;  // groups a token may use: the node limit
  bool operator==(const Moe&) const = default;
};

struct Model {
  std::string name;
  int layers = 0;        // transformer layers, MTP not counted
  int dense_layers = 0;  // the first so many layers have a dense MLP (all of them in a dense model)
  int hidden = 0;
  int dense_inter = 0;  // width of the dense MLP
  // Its activation multiplies two projections (SwiGLU); else it is of one (GELU). Experts are gated.
  bool gated_mlp = true;
  int vocab = 0;
  int mtp_depth = 0;  // multi-token-prediction modules after the last layer
  bool tied_embeddings = false;
  Attention attention;
  Moe moe;                               // experts == 0 in a dense model
  std::optional<std::string> stage_map;  // the model's own map, where its file states one
  int stage_map_pp = 0;                  // the number of stages that map has
  AssumedFigures assumed;

  int moe_layers() const { return layers - dense_layers; }
  bool operator==(const Model&) const = default;
};

}  // namespace orrery
