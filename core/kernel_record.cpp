#include "core/kernel_record.hpp"

#include <fmt/format.h>

#include "core/json_column.hpp"
#include "core/json_writer.hpp"
#include "core/reader.hpp"
#include "core/run_record.hpp"

namespace orrery {

std::string to_json(const std::vector<MeasuredOp>& ops) {
  std::string out = "[";
  for (std::size_t at = 0; at < ops.size(); ++at) {
    const MeasuredOp& op = ops[at];
    out += fmt::format(
        "{}\n    {{\"work\": {}, \"op\": {}, \"launches\": {}, \"predicted_s\": {}, "
        "\"measured_s\": {}, \"stand_in\": {}}}",
        at > 0 ? "," : "", json_string(op.work), json_string(op.op), op.launches,
        shortest(op.predicted.value()), shortest(op.measured.value()), json_string(op.stand_in));
  }
  return out + "\n  ]";
}

std::string to_json(const KernelRecord& record) {
  return fmt::format(
      "{{\"device\": {}, \"simulated\": {}, \"calibration\": {},\n"
      "  \"ops\": {}}}",
      json_string(record.device), record.simulated, json_string(record.calibration),
      to_json(record.ops));
}

std::vector<MeasuredOp> read_measured_ops(Reader& from) {
  std::vector<MeasuredOp> ops;
  for (Reader& op : from.tables("ops")) {
    ops.push_back({op.required_string("work"), op.required_string("op"),
                   op.required_int("launches", {1, 1'000'000'000}),
                   Seconds{op.required_double("predicted_s", 0, kMostSeconds)},
                   Seconds{op.required_double("measured_s", 0, kMostSeconds)},
                   op.optional_string("stand_in").value_or("")});
    op.finish();
  }
  return ops;
}

KernelRecord read_kernel_record(Reader& kernels) {
  KernelRecord record;
  record.device = kernels.required_string("device");
  record.simulated = kernels.optional_bool("simulated", false);
  record.calibration = kernels.required_string("calibration");
  record.ops = read_measured_ops(kernels);
  kernels.finish();
  return record;
}

}  // namespace orrery
