#pragma once
// Models that are not in the catalogue, from their public configurations.
#include "core/model.hpp"

namespace orrery {

inline Model dense_gqa(const char* name, int layers, int hidden, int inter, int vocab, int heads,
                       int kv_heads) {
  Model model;
  model.name = name;
  model.layers = model.dense_layers = layers;
  model.hidden = hidden;
  model.dense_inter = inter;
  model.vocab = vocab;
  model.attention = {AttentionKind::kGqa, heads, kv_heads, 0, 0, 0, hidden / heads, hidden / heads};
  return model;
}

// Qwen2.5-72B, config.json on Hugging Face.
inline Model qwen_72b() {
  return dense_gqa("qwen-72b", 80, 8192, 29568, 152064, 64, 8);
}

// A small MoE model with grouped queries: 8 heads of 32, 2 for keys; 8 experts, one shared.
inline Model small_gqa_moe() {
  Model model = dense_gqa("small-gqa-moe", 4, 256, 1024, 1024, 8, 2);
  model.dense_layers = 1;
  model.moe = {8, 1, 2, 512, 1, 1};
  return model;
}

}  // namespace orrery
