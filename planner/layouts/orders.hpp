#pragma once
// The orders of the schedule families, made once for each size. A run of many micro-batches repeats
// itself between its ends, so that a long one is known from two shorter ones.
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "planner/schedules/compact.hpp"

namespace orrery {

struct FamilyOrder {
  Schedule placement;  // without cells
  CompactOrder order;
  bool pairs = false;            // whether it has F&B cells,
  bool full_backwards = false;   // B cells,
  bool split_backwards = false;  // I and W cells
};

// Several threads may ask at once; each order is made by one of them.
class OrderCache {
 public:
  // Throws InputError where the family has no schedule of this size.
  const FamilyOrder& get(const std::string& family, int pp, int microbatches, int chunks);

 private:
  struct Entry {
    std::once_flag made;
    FamilyOrder order;
  };
  std::mutex guard_;  // of the map, not of what is in it
  std::map<std::tuple<std::string, int, int, int>, Entry> known_;
};

// What grows by the same amount with every further 2 pp micro-batches, once there are many, is
// known from two shorter schedules that are far enough apart to tell how fast: as at `far`, and
// `beyond` times as much more as it grows from `near` to `far`.
struct Shortened {
  int near = 0, far = 0;  // micro-batches, with the same rest of 2 pp as all of them
  double beyond = 0;      // 0: `far` is all of them

  double extrapolate(double at_near, double at_far) const {
    return at_far + beyond * (at_far - at_near);
  }
};
// `most`: micro-batches that are looked at one by one, at least 4 pp.
Shortened shorten(int microbatches, int pp, int most);

}  // namespace orrery
