#pragma once
// Private to the search: what looking at some settings came to, and how that goes from one process
// to another.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "planner/layouts/branch_and_bound.hpp"

namespace orrery {

// The points that one row of the answer stands for: pp, tp, cp, ep, etp, vpp, schedule.
using RowKey = std::tuple<int, int, int, int, int, int, std::string>;
RowKey row_key(const Layout& layout, const std::string& schedule, int vpp);

struct BestOfRow {
  FoundLayout found;
  std::int64_t number = 0;  // of the point in the space

  bool operator<(const BestOfRow& other) const {
    return std::tuple(found.score, found.memory.total(), number) <
           std::tuple(other.found.score, other.found.memory.total(), other.number);
  }
};

struct Findings {
  std::map<std::string, std::int64_t> rejected;
  std::map<std::string, RejectedPoint> examples;
  std::optional<Bytes> least;  // memory of its example
  std::int64_t pruned = 0, scored = 0;
  std::map<RowKey, BestOfRow> rows;
  std::map<int, BestOfRow> front;  // by class of headroom: the higher the class, the longer

  void reject(const char* reason, std::int64_t points, const Layout& layout,
              const std::string& schedule);
  void reject_memory(std::int64_t points, const Layout& layout, const std::string& schedule,
                     const MemoryTable& memory, Rank rank);
  void take(const RowKey& key, BestOfRow best);
  void take_front(int headroom_class, BestOfRow best);
  // The shortest of the points of this class or a higher one; null if there is none.
  const BestOfRow* front_from(int headroom_class) const;
  void merge(Findings&& other);
};

// The same findings on the other side, to the last bit.
std::string pack(const Findings& findings);
Findings unpack_findings(const std::string& packed);

}  // namespace orrery
