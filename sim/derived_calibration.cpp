#include "sim/derived_calibration.hpp"

namespace orrery {

Calibration scaled(Calibration base, const DeviceScale& scale) {
  const auto scale_rows = [&](std::vector<GemmRow>& rows) {
    for (GemmRow& row : rows) row.time = row.time / scale.tensor;
  };
  for (auto& [name, law] : base.gemm_laws) scale_rows(law.rows);
  for (auto& [kernel, rows] : base.gemm_rows) scale_rows(rows);
  for (auto& [kernel, rows] : base.attention_rows) {
    for (AttentionRow& row : rows) row.rate = row.rate * scale.tensor;
  }
  for (auto& [kernel, table] : base.stream_rows) {
    for (auto& [amount, time] : table.points) time = time / scale.memory;
  }
  return base;
}

}  // namespace orrery
