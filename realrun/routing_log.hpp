#pragma once
// The experts that the tokens of a rank chose in a step: written in one run, followed in another. A
// choice is a step function of scores: where two of them are almost equal, the last bit of a number
// decides, and a token goes elsewhere. Runs in different arithmetic are compared on the same piece
// of that function.
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "core/ids.hpp"

namespace orrery {

class RoutingLog {
 public:
  using Place = std::tuple<Stage, int, int, Microbatch>;  // stage, direction, layer, micro-batch

  // From now on choices are followed that were written before.
  void follow() { follows_ = true; }
  // Writes down the choices [tokens][top_k] made at a place or replaces them by those written
  // there.
  void settle(const Place& place, std::span<std::int32_t> choice);
  std::int64_t choices() const { return choices_; }  // followed
  std::int64_t changed() const { return changed_; }  // of them, what was chosen differently

 private:
  bool follows_ = false;
  std::int64_t choices_ = 0, changed_ = 0;
  std::map<Place, std::vector<std::int32_t>> written_;
};

}  // namespace orrery
