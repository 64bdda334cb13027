#include "planner/stage_map_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "core/error.hpp"
#include "planner/reject_input.hpp"

namespace orrery {
namespace {

// Sums of the same costs in another order differ in the last bits; maps whose slowest stages differ
// by no more than this are tied.
constexpr double kTie = 1e-12;

bool is_layer(LayerKind kind) {
  return kind == LayerKind::kDense || kind == LayerKind::kMoe;
}

// A layer with what has to stay on its stage: the embedding before the first, MTP and head after
// the last.
struct Block {
  std::size_t first = 0, last = 0;  // range of entries
  double cost = 0;                  // seconds
};

std::vector<Block> blocks_of(std::span<const LayerKind> entries, std::span<const Seconds> costs) {
  std::vector<Block> blocks;
  std::size_t first = 0;
  bool tail = false;  // behind the last layer
  for (std::size_t entry = 0; entry < entries.size(); ++entry) {
    ORRERY_CHECK(costs[entry] >= Seconds{}, "entry {} costs {} s", entry, costs[entry].value());
    const LayerKind kind = entries[entry];
    if (is_layer(kind)) {
      ORRERY_CHECK(!tail, "layer at entry {} after an MTP module or the head", entry);
      blocks.push_back({first, entry + 1, 0});
      first = entry + 1;
    } else if (kind == LayerKind::kEmbedding) {
      ORRERY_CHECK(entry == 0, "embedding at entry {}", entry);
    } else {
      tail = true;
    }
  }
  if (!blocks.empty()) blocks.back().last = entries.size();
  for (Block& block : blocks) {
    for (std::size_t entry = block.first; entry < block.last; ++entry) {
      block.cost += costs[entry].value();
    }
  }
  return blocks;
}

// best[stages][block]: the smallest possible cost of the slowest of `stages` stages that hold the
// blocks from `block` to the last.
class Slowest {
 public:
  Slowest(std::span<const Block> blocks, int pp) : columns_(blocks.size() + 1) {
    best_.assign((static_cast<std::size_t>(pp) + 1) * columns_,
                 std::numeric_limits<double>::infinity());
    at(0, blocks.size()) = 0;
    for (int stages = 1; stages <= pp; ++stages) {
      for (std::size_t block = 0; block < blocks.size(); ++block) {
        double& best = at(stages, block);
        double stage = 0;
        for (std::size_t end = block; end < blocks.size();) {
          stage += blocks[end++].cost;
          if (stage >= best) break;  // a longer first stage is no cheaper
          best = std::min(best, std::max(stage, at(stages - 1, end)));
        }
      }
    }
  }
  double operator()(int stages, std::size_t block) const {
    return best_[static_cast<std::size_t>(stages) * columns_ + block];
  }

 private:
  double& at(int stages, std::size_t block) {
    return best_[static_cast<std::size_t>(stages) * columns_ + block];
  }

  std::size_t columns_;
  std::vector<double> best_;
};

}  // namespace

StageMap best_stage_map(std::span<const LayerKind> entries, std::span<const Seconds> costs,
                        int pp) {
  ORRERY_CHECK(entries.size() == costs.size(), "{} entries, {} costs", entries.size(),
               costs.size());
  const std::vector<Block> blocks = blocks_of(entries, costs);
  if (pp < 1 || static_cast<std::size_t>(pp) > blocks.size()) {
    reject_input(
        fmt::format("{} layers cannot be spread over {} pipeline stages", blocks.size(), pp),
        blocks.empty() ? "" : fmt::format("choose pp from 1 to {}", blocks.size()));
  }
  const Slowest slowest(blocks, pp);
  const double allowed = slowest(pp, 0) * (1 + kTie);

  // From the front, the shortest stage that leaves the rest a map within the optimum: the
  // lexicographically smallest of the best maps.
  StageMap map;
  std::size_t block = 0;
  for (int left = pp - 1; left >= 0; --left) {
    const std::size_t first = blocks[block].first;
    do {
      ++block;
    } while (slowest(left, block) > allowed);
    const std::size_t last = blocks[block - 1].last;
    map.emplace_back(entries.begin() + static_cast<std::ptrdiff_t>(first),
                     entries.begin() + static_cast<std::ptrdiff_t>(last));
  }
  return map;
}

}  // namespace orrery
