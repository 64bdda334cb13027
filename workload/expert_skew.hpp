#pragma once
// How unevenly the routed experts of a layer are loaded, drawn with a seed: rows of each GPU of an
// expert-parallel group against their mean, micro-batch by micro-batch and layer by layer.
//
// Two causes. Chance: a group routes so many tokens independently, and counts of chosen experts
// spread around their mean. Their covariance is that of the gate: a token takes top_k of E experts
// out of groups_per_token of its groups, so experts of one group are chosen together. Popularity
// (Zipf): expert of rank r is wanted r^-S as often; which expert is which rank is drawn once a
// layer and stays, as a router that balances only over whole batches leaves it.
//
// Chance is drawn from the normal distribution with that covariance, exact to first order in
// 1 / sqrt(tokens).
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "workload/expert_placement.hpp"

namespace orrery {

struct Loads;

enum class SkewKind { kNone, kIid, kZipf, kMeasured };

struct Skew {
  SkewKind kind = SkewKind::kNone;
  double exponent = 0;  // Zipf's S
  // Tokens of a group that are routed independently of each other; 0: all of them. The public
  // training profile, whose ranks all draw the same noise, has as many as one GPU has tokens.
  double independent_tokens = 0;
  std::uint64_t seed = 1;
  // Experts are placed by how much they are wanted, with so many slots more than needed on each GPU
  // for copies of the most wanted (workload/expert_placement.hpp); else in order.
  bool balanced = false;
  int spare = 0;
  const Loads* measured = nullptr;  // of kMeasured (workload/loads.hpp)
  bool operator==(const Skew&) const = default;
};

// "none", "iid", "iid=4096" (independent tokens) or "zipf=0.5"; throws InputError.
Skew parse_skew(const std::string& text, std::uint64_t seed);
// "in-order", "balanced" or "balanced=1" (spare slots a GPU); throws InputError.
void parse_expert_placement(const std::string& text, Skew& skew);
// "iid, 4096 independent tokens"
std::string describe(const Skew& skew);

class ExpertRows {
 public:
  virtual ~ExpertRows() = default;
  // By position in the group, over the mean of an even load; `group` counts over the cluster.
  virtual std::vector<double> rows(int microbatch, int layer, int group) const = 0;
};

class ExpertSkew final : public ExpertRows {
 public:
  // `ep` GPUs share the experts evenly, in order; each routes `tokens` tokens a micro-batch.
  ExpertSkew(const Moe& moe, int ep, double tokens, const Skew& skew);

  // Rows of each GPU of the group over their mean; they average 1. The same arguments give the same
  // numbers, whatever was asked before.
  std::vector<double> rows(int microbatch, int layer, int group) const override;

  // Standard deviation of one GPU's rows over their mean, from chance alone.
  double deviation() const { return deviation_; }

 private:
  const std::vector<double>& popularity(int layer) const;
  const ExpertPlacement& placement(int layer) const;

  Moe moe_;
  int ep_;
  Skew skew_;
  double own_ = 0, shared_ = 0;  // per token: deviations of an expert, and of its whole gate group
  double tokens_ = 1;            // that are independent
  double deviation_ = 0;
  mutable std::map<int, std::vector<double>> popularity_;  // by layer
  mutable std::map<int, ExpertPlacement> placement_;       // by layer; all are 0's where even
};

}  // namespace orrery
