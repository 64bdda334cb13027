#include "reports/calibration_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

namespace orrery {

std::string calibration_text(const HostCalibration& calibration, double wall_s) {
  const HostDevice& device = calibration.device;
  std::vector<double> spreads;
  for (const HostKernelRow& row : calibration.kernels)
    spreads.push_back((row.time.p90 - row.time.p10) / row.time.median);
  std::set<std::string_view> ops;
  for (const HostKernelRow& row : calibration.kernels) ops.insert(row.op);
  std::sort(spreads.begin(), spreads.end());
  const double spread = spreads.empty() ? 0 : spreads[spreads.size() / 2];
  std::string text = fmt::format("{}: {}\n\n", calibration.name, device.machine);
  text += fmt::format(
      "  kernels    {} shapes of {} ops; median spread p10 to p90 {:.0f} % of the "
      "median\n",
      calibration.kernels.size(), ops.size(), 100 * spread);
  text += fmt::format("  exchanges  {} sizes\n", calibration.transfers.size());
  text += fmt::format("  one core   {:.0f} GFLOP/s in a large GEMM\n", device.peak.value() / 1e9);
  text += fmt::format("  cores      {}; work takes {:.2f} times as long with all of them busy\n",
                      device.cores, device.slowdown.back());
  text += fmt::format(
      "  threads    {:.0f} us to hand a core over, {:.0f} us to wake, {:.1f} us an instruction "
      "beside its ops\n",
      device.hand_over.value() * 1e6, device.wake.value() * 1e6, device.instruction.value() * 1e6);
  text += fmt::format("  measured in {:.0f} s\n", wall_s);
  return text;
}

}  // namespace orrery
