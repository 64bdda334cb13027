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

Calibration completed(Calibration own, Calibration base) {
  for (const auto& [kernel, rows] : own.gemm_rows) own.own.insert(kernel);
  for (const auto& [kernel, rows] : own.attention_rows) own.own.insert({kernel, DataType::kNone});
  for (const auto& [kernel, table] : own.stream_rows) own.own.insert({kernel, DataType::kNone});
  own.hash = std::move(base.hash);
  own.gemm_laws = std::move(base.gemm_laws);
  own.fp8_laws = std::move(base.fp8_laws);
  own.bf16_laws = std::move(base.bf16_laws);
  own.bf16_k_scale = base.bf16_k_scale;
  own.attention_qk = base.attention_qk;
  own.exchanges = std::move(base.exchanges);
  own.gemm_rows.merge(base.gemm_rows);  // keeps what is there
  own.attention_rows.merge(base.attention_rows);
  own.stream_rows.merge(base.stream_rows);
  return own;
}

}  // namespace orrery
