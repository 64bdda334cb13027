#pragma once
// Where a number comes from. Every figure of a data file has a source; one that nobody published is
// marked `assumed = "why"`, and each result counts the assumed figures it rests on.
#include <compare>
#include <string>
#include <vector>

namespace orrery {

// One figure that a data file marks as assumed.
struct AssumedFigure {
  std::string name;    // where it is: "h800-2048: fabric.hop_latency"
  std::string reason;  // the file's own words
  auto operator<=>(const AssumedFigure&) const = default;
};

using AssumedFigures = std::vector<AssumedFigure>;

}  // namespace orrery
