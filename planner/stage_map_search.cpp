#include "planner/stage_map_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "planner/reject_input.hpp"

namespace orrery {
namespace {

// Sums of the same costs in another order differ in the last bits; maps whose slowest stages differ
// by no more than this are tied.
constexpr double kTie = 1e-12;

bool is_layer(LayerKind kind) {
  return kind == LayerKind::kDense || kind == LayerKind::kMoe || kind == LayerKind::kMtp;
}

// A layer with what has to stay on its stage: the embedding before the first, the head after the
// last. Or one of these alone.
struct Block {
  std::size_t first = 0, last = 0;  // range of entries
  double cost = 0;                  // seconds
};

// Which entries are a block without a layer.
struct Alone {
  bool embedding = false, head = false;
};

std::vector<Block> blocks_of(std::span<const LayerKind> entries, std::span<const Seconds> costs,
                             Alone alone) {
  std::vector<Block> blocks;
  std::size_t first = 0;
  bool tail = false;  // behind the last layer
  for (std::size_t entry = 0; entry < entries.size(); ++entry) {
    ORRERY_CHECK(costs[entry] >= Seconds{}, "entry {} costs {} s", entry, costs[entry].value());
    const LayerKind kind = entries[entry];
    if (is_layer(kind)) {
      ORRERY_CHECK(!tail, "layer at entry {} after the head", entry);
      blocks.push_back({first, entry + 1, 0});
      first = entry + 1;
    } else if (kind == LayerKind::kEmbedding) {
      ORRERY_CHECK(entry == 0, "embedding at entry {}", entry);
      if (!alone.embedding) continue;
      blocks.push_back({0, 1, 0});
      first = 1;
    } else {
      tail = true;
    }
  }
  if (tail && alone.head) blocks.push_back({first, entries.size(), 0});
  if (!blocks.empty()) blocks.back().last = entries.size();
  for (Block& block : blocks) {
    for (std::size_t entry = block.first; entry < block.last; ++entry) {
      block.cost += costs[entry].value();
    }
  }
  return blocks;
}

// Two objectives over the ways to cut the blocks from `block` to the last into `stages` stages: the
// cost of the slowest stage, and the sum of squared costs of cuts whose stages stay within
// `allowed`. Both combine the cost of a first stage with the value of the rest.
class Cuts {
 public:
  template <class Combine>
  Cuts(std::span<const Block> blocks, int pp, double allowed, Combine combine)
      : columns_(blocks.size() + 1),
        best_((static_cast<std::size_t>(pp) + 1) * columns_, kImpossible) {
    at(0, blocks.size()) = 0;
    for (int stages = 1; stages <= pp; ++stages) {
      for (std::size_t block = 0; block < blocks.size(); ++block) {
        double& best = at(stages, block);
        double stage = 0;
        for (std::size_t end = block; end < blocks.size();) {
          stage += blocks[end++].cost;
          if (stage > allowed) break;
          best = std::min(best, combine(stage, at(stages - 1, end)));
        }
      }
    }
  }
  double operator()(int stages, std::size_t block) const {
    return best_[static_cast<std::size_t>(stages) * columns_ + block];
  }

 private:
  static constexpr double kImpossible = std::numeric_limits<double>::infinity();
  double& at(int stages, std::size_t block) {
    return best_[static_cast<std::size_t>(stages) * columns_ + block];
  }

  std::size_t columns_;
  std::vector<double> best_;
};

double slower(double stage, double rest) {
  return std::max(stage, rest);
}
double squares(double stage, double rest) {
  return stage * stage + rest;
}

// A map and its place in the order of maps.
struct Cut {
  StageMap map;
  double slowest = 0, squares = 0;
};

Cut best_cut(std::span<const LayerKind> entries, std::span<const Block> blocks, int pp) {
  const Cuts slowest(blocks, pp, std::numeric_limits<double>::infinity(), slower);
  const double allowed = slowest(pp, 0) * (1 + kTie);
  const Cuts evenness(blocks, pp, allowed, squares);

  // From the front, the shortest stage that keeps the optimum: the lexicographically smallest of
  // the most even maps.
  StageMap map;
  std::size_t block = 0;
  for (int left = pp - 1; left >= 0; --left) {
    const std::size_t first = block;
    const double wanted = evenness(left + 1, first) * (1 + kTie);
    double stage = 0;
    do {
      stage += blocks[block++].cost;
    } while (stage > allowed || squares(stage, evenness(left, block)) > wanted);
    map.emplace_back(entries.begin() + static_cast<std::ptrdiff_t>(blocks[first].first),
                     entries.begin() + static_cast<std::ptrdiff_t>(blocks[block - 1].last));
  }
  return {std::move(map), slowest(pp, 0), evenness(pp, 0)};
}

bool more_even(const Cut& cut, const Cut& other) {
  if (cut.slowest < other.slowest * (1 - kTie)) return true;
  return cut.slowest <= other.slowest * (1 + kTie) && cut.squares < other.squares * (1 - kTie);
}

}  // namespace

StageMap best_stage_map(std::span<const LayerKind> entries, std::span<const Seconds> costs,
                        int pp) {
  ORRERY_CHECK(entries.size() == costs.size(), "{} entries, {} costs", entries.size(),
               costs.size());
  std::optional<Cut> best;
  // Those with more layers on the early stages last: of equals the first is taken.
  for (const Alone alone :
       {Alone{false, false}, Alone{true, false}, Alone{false, true}, Alone{true, true}}) {
    const std::vector<Block> blocks = blocks_of(entries, costs, alone);
    if (pp < 1 || blocks.size() < static_cast<std::size_t>(pp)) continue;
    if (best && best->map.size() < blocks.size()) break;  // no stage without a layer is needed
    Cut cut = best_cut(entries, blocks, pp);
    if (!best || more_even(cut, *best)) best = std::move(cut);
  }
  if (best) return std::move(best->map);
  const auto layers = std::count_if(entries.begin(), entries.end(), is_layer);
  reject_input(fmt::format("{} layers, embedding and head cannot be spread over {} pipeline stages",
                           layers, pp),
               layers == 0 ? "" : fmt::format("choose pp from 1 to {}", entries.size()));
}

}  // namespace orrery
