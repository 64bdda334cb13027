#include "reports/measured_calibration_text.hpp"

#include <fmt/format.h>

#include <map>
#include <vector>

namespace orrery {

std::string measured_calibration_text(const MeasuredCalibration& calibration,
                                      const KernelMeasurements& measurements) {
  std::size_t rows = 0, within = 0;
  for (const MeasuredTable& table : calibration.tables.tables) {
    rows += table.rows.size();
    within += table.within ? 1 : 0;
  }
  std::string text = fmt::format("{}\n\n", measurements.source());
  text += fmt::format("  measurements  {}, of which {} are not used\n", measurements.results.size(),
                      calibration.tables.unused.size());
  text += fmt::format("  calibration   {} rows in {} tables; {} kernels measured within others\n\n",
                      rows, calibration.tables.tables.size() - within, within);
  for (const MeasuredTable& table : calibration.tables.tables) {
    if (table.within) {
      text +=
          fmt::format("  {:<24} within {}\n", to_string(table.kernel), to_string(*table.within));
      continue;
    }
    std::string of;
    if (table.type != DataType::kNone) of += fmt::format("{}, ", to_string(table.type));
    if (table.sms > 0) of += fmt::format("{} SMs, ", table.sms);
    text += fmt::format("  {:<24} {}{} row{}\n", to_string(table.kernel), of, table.rows.size(),
                        table.rows.size() == 1 ? "" : "s");
  }
  std::map<std::string, std::vector<std::string>> unused;
  for (const UnusedMeasurement& each : calibration.tables.unused)
    unused[each.why].push_back(each.what);
  for (const auto& [why, kernels] : unused) {
    text += fmt::format("\nNot used, {}:\n", why);
    for (const std::string& kernel : kernels) text += fmt::format("  {}\n", kernel);
  }
  return text;
}

}  // namespace orrery
