#include "realrun/host_memory.hpp"

#include <unistd.h>

#include "core/error.hpp"
#include "realrun/parameters.hpp"
#include "workload/world.hpp"

namespace orrery {

Bytes host_memory(const Plan& plan, HostScalar scalar, int first_rank, int ranks) {
  const double each = scalar == HostScalar::kFloat ? 4 : 8;
  const double copies = plan.layout.precision == Precision::kFp8 ? 3 : 2;
  const double moment = plan.training.moments == ScalarType::kBf16 ? 2 : each;
  double bytes = 0;
  for (int rank = first_rank; rank < first_rank + ranks; ++rank) {
    for (const HeldGroup& group : gpu_parameters(plan, gpu_place(plan.layout, rank)).groups) {
      const int shards = plan.layout.zero_stage >= 1 ? group.replicas : 1;
      bytes += static_cast<double>(group.elements) * (copies * each + 2 * moment / shards);
    }
  }
  return Bytes{bytes};
}

void check_host_memory(const Plan& plan, HostScalar scalar, int first_rank, int ranks, int runs) {
  const Bytes needed = runs * host_memory(plan, scalar, first_rank, ranks);
  const Bytes there{static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                    static_cast<double>(sysconf(_SC_PAGE_SIZE))};
  if (needed <= there) return;
  throw EnvironmentError(fmt::format(
      "error: the parameters and optimizer states of {} rank{} of {} need {:.1f} GiB, "
      "this machine has {:.1f} GiB\n"
      "  take a smaller model: tiny-moe and small-moe are DeepSeek-V3 in miniature",
      ranks, ranks == 1 ? "" : "s", plan.model.name, in_gibibytes(needed), in_gibibytes(there)));
}

}  // namespace orrery
