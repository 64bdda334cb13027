#pragma once
// What one GPU of a layout sees of the model in one micro-batch: the sizes every op is built from.
//
// Tensor parallelism comes with sequence parallelism: norms, casts, router and the MLA
// down-projections run on tokens / tp; heads and MLP widths are divided by tp. Context parallelism
// divides the tokens; keys and values of the whole sequence are gathered. Every dimension therefore
// splits work without repeating any: summed over the shards, the FLOPs of each op equal those of
// the unsharded op.
#include "core/layout.hpp"
#include "core/model.hpp"
#include "workload/routing.hpp"

namespace orrery {

// Rows of the routed experts on one GPU.
struct RoutedRows {
  double rows = 0;    // after expansion: one row per (token, expert)
  double unique = 0;  // rows received: tokens, each counted once; by an all-to-all as many as rows
  bool operator==(const RoutedRows&) const = default;
};

struct Shard {
  Model model;
  int tp = 1;
  int cp = 1;
  int ep = 1;
  int etp = 1;
  Precision precision = Precision::kFp8;
  Recompute recompute = Recompute::kSelective;
  AttentionKernels attention = AttentionKernels::kFused;
  ExchangeKernels exchange = ExchangeKernels::kDeepEp;
  double micro_batch = 1;   // sequences
  double tokens = 0;        // of one micro-batch on one context-parallel rank
  double sequence = 0;      // keys each query may see (the causal half is counted)
  RoutedRows forward_rows;  // mean over the GPUs of an expert-parallel group unless loads are given
  RoutedRows backward_rows;
  RoutingSpread spread;  // where the copies of a token go

  double local_tokens() const { return tokens / tp; }  // where sequence parallelism applies
  double heads() const { return static_cast<double>(model.attention.heads) / tp; }
  double kv_heads() const { return static_cast<double>(model.attention.kv_heads) / tp; }
  int local_experts() const { return model.moe.experts / ep; }
  double expert_inter() const { return static_cast<double>(model.moe.inter) / etp; }
  double shared_inter() const {
    return static_cast<double>(model.moe.inter) * model.moe.shared_experts / tp;
  }
  double dense_inter() const { return static_cast<double>(model.dense_inter) / tp; }
  double dense_fc1() const { return (model.gated_mlp ? 2 : 1) * dense_inter(); }  // its outputs
  double vocab() const { return static_cast<double>(model.vocab) / tp; }
  bool fp8() const { return precision == Precision::kFp8; }  // with 1x128 scales
  bool fp8_tensor() const { return precision == Precision::kFp8Tensor; }
  bool all_to_all() const { return exchange == ExchangeKernels::kNccl && ep > 1; }
  bool unfused_attention() const { return attention == AttentionKernels::kUnfused; }
};

// The shard of `layout` for one micro-batch of `micro_batch` sequences of `sequence` tokens.
Shard make_shard(const Model& model, const Layout& layout, int sequence,
                 const RoutingSpread& spread);

}  // namespace orrery
