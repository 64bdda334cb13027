#include "planner/campaign/failures.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "workload/random.hpp"

namespace orrery {

Seconds cluster_mtbf(const FailureRates& rates, int nodes, int gpus_per_node) {
  const double a_second =
      nodes * gpus_per_node / rates.gpu_mtbf.value() + nodes / rates.node_mtbf.value();
  return Seconds{1 / a_second};
}

Seconds young_interval(const Recovery& recovery) {
  return Seconds{std::sqrt(2 * recovery.save.value() * recovery.mtbf.value())};
}

Seconds daly_interval(const Recovery& recovery) {
  const double ratio = recovery.save / (2 * recovery.mtbf);
  if (ratio >= 1) return recovery.mtbf;
  return young_interval(recovery) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - recovery.save;
}

Seconds expected_time(const Recovery& recovery, Seconds interval, Seconds work) {
  ORRERY_CHECK(interval > Seconds{}, "an interval of {} s", interval.value());
  return recovery.mtbf * std::exp(recovery.restart / recovery.mtbf) *
         std::expm1((interval + recovery.save) / recovery.mtbf) * (work / interval);
}

Replay replay_failures(const Recovery& recovery, Seconds interval, Seconds work,
                       std::uint64_t seed) {
  ORRERY_CHECK(interval > Seconds{}, "an interval of {} s", interval.value());
  Random random(seed);
  const auto until_failure = [&] { return recovery.mtbf * -std::log(random.uniform()); };
  Replay replay;
  for (Seconds left = work;;) {
    const Seconds failure = until_failure();
    const Seconds a_segment = interval + recovery.save;
    // The last segment may be shorter; it is saved like the others.
    const double segments = std::ceil(left / interval);
    const Seconds remaining = left + recovery.save * segments;
    if (failure >= remaining) {
      replay.time += remaining;
      return replay;
    }
    left -= interval * std::min(segments, std::floor(failure / a_segment));
    replay.time += failure;
    ++replay.failures;
    for (Seconds next = until_failure(); next < recovery.restart; next = until_failure()) {
      replay.time += next;
      ++replay.failures;
    }
    replay.time += recovery.restart;
  }
}

}  // namespace orrery
