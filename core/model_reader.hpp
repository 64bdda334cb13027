#pragma once
// Reads a model: a TOML or JSON file of orrery's own (models/*.toml), or a Hugging Face
// `config.json` as it is, recognised by its `model_type`. Throws InputError with every error of the
// file.
//
// The schema (all sizes are counts, none has a unit):
//   format_version = "1.0"      name = "..."
//   layers, dense_layers (default 0; all of them without [moe]), hidden, vocab,
//   dense_inter (needed with dense layers), mtp_depth = 0, tied_embeddings = false,
//   stage_map = "E,3d,1t | 4t x 14 | 1t,m,L" (optional) with stage_map_pp, the number of its stages
//   [attention]  kind = "mla": heads, q_lora_rank (0: none), kv_lora_rank, qk_nope_dim,
//   qk_rope_dim, v_dim
//                kind = "gqa": heads, kv_heads, head_dim, v_dim (default head_dim)
//   [moe]        experts, shared_experts = 0, top_k, inter, groups = 1, groups_per_token = groups
#include <string>

#include "core/document.hpp"
#include "core/model.hpp"
#include "core/reader.hpp"

namespace orrery {

Model read_model(const std::string& path);

// The same from a parsed file; `name` is used where the file has none (Hugging Face) and for
// assumed figures.
Model read_model(const Document& document, const std::string& name, Diagnostics& diagnostics);

// Decodes and checks a table in the schema above, without format_version: a model file, or the
// model of a plan.
Model decode_model(Reader& reader);

// A Hugging Face configuration; unknown keys are not errors there (core/hugging_face.cpp).
Model decode_hugging_face(const Node& root, ReadContext& context);

// Sizes that do not fit together: top_k against experts, groups, heads. Used by both formats.
void check_model(const Model& model, Reader& reader);

// "h800-64" for "topologies/h800-64.toml"; the folder's name for ".../DeepSeek-V3/config.json".
std::string name_from_path(const std::string& path);

}  // namespace orrery
