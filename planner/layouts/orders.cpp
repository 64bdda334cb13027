#include "planner/layouts/orders.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {

namespace {

FamilyOrder make(const std::string& family, int pp, int microbatches, int chunks) {
  ScheduleRequest request;
  request.pp = pp;
  request.microbatches = microbatches;
  request.chunks = chunks;
  FamilyOrder own;
  own.placement = make_schedule(family, request);
  const std::optional<CompactOrder> order = compact_order(own.placement);
  ORRERY_CHECK(order.has_value(), "{} takes micro-batches out of order", family);
  own.order = *order;
  for (auto& cells : own.placement.ranks) {
    for (const Cell& cell : cells) {
      own.pairs = own.pairs || cell.kind == CellKind::kFB;
      own.full_backwards = own.full_backwards || cell.kind == CellKind::kB;
      own.split_backwards = own.split_backwards || cell.kind == CellKind::kI;
    }
    cells.clear();
  }
  return own;
}

}  // namespace

const FamilyOrder& OrderCache::get(const std::string& family, int pp, int microbatches,
                                   int chunks) {
  Entry* entry = nullptr;
  {
    const std::lock_guard lock(guard_);
    entry = &known_[{family, pp, microbatches, chunks}];
  }
  std::call_once(entry->made, [&] { entry->order = make(family, pp, microbatches, chunks); });
  return entry->order;
}

Shortened shorten(int microbatches, int pp, int most) {
  if (microbatches <= most) return {microbatches, microbatches, 0};
  const int period = 2 * pp;
  const int rest = microbatches % period;
  // The largest number with that rest that is no more than `at`.
  const auto at_most = [&](int at) { return (at - rest) / period * period + rest; };
  Shortened run;
  run.far = at_most(most);
  run.near = std::min(at_most(most / 2 + period), run.far - period);
  run.beyond = static_cast<double>(microbatches - run.far) / (run.far - run.near);
  return run;
}

}  // namespace orrery
