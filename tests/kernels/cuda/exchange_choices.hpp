#pragma once
// A small group for the tests of an exchange, all of its ranks on one device, and what its tokens
// choose.
#include "tests/kernels/cuda/values.hpp"

namespace orrery::cuda {

using Numbers = std::vector<std::int32_t>;

inline constexpr int kRanks = 6, kRanksOfNode = 2, kExpertsOfRank = 3, kSlots = 5,
                     kNodesOfToken = 2;
inline constexpr std::int64_t kHidden = 640;

enum class Load { kRandom, kNoneToRank4, kAllToRank1 };

// As of a node-limited router; a slot may be unused.
inline Numbers choices(std::int64_t tokens, Load load, unsigned seed) {
  std::mt19937 generator(seed);
  const auto below = [&](int count) {
    return static_cast<int>(generator() % static_cast<unsigned>(count));
  };
  Numbers experts;
  for (std::int64_t token = 0; token < tokens; ++token) {
    int nodes[kNodesOfToken];
    for (int& node : nodes) node = below(kRanks / kRanksOfNode);
    for (int slot = 0; slot < kSlots; ++slot) {
      int rank = nodes[below(kNodesOfToken)] * kRanksOfNode + below(kRanksOfNode);
      if (load == Load::kNoneToRank4 && rank == 4) rank = 5;
      if (load == Load::kAllToRank1) rank = 1;
      const bool used = load == Load::kAllToRank1 || below(8) > 0;
      experts.push_back(used ? rank * kExpertsOfRank + below(kExpertsOfRank) : -1);
    }
  }
  return experts;
}

}  // namespace orrery::cuda
