#pragma once
// Which rows of a calibration the measurements of the CUDA benchmarks are.
//
//   products    F and I: gemm, W: wgrad, several groups: their grouped classes. Those that ran
//   alone
//               and were told nothing of SMs count for all SMs; those beside an exchange at the
//               rate of a NIC for the SMs that it leaves. A product that was told to use fewer SMs
//               is no row: alone it has the others' memory and power, and beside an exchange it is
//               slower than one that was told nothing (reports/measured/README.md), so nobody would
//               ask.
//   attention   as products. A backward measured as a whole has its preparation and the conversion
//               of its query gradients in it.
//   the rest    by the bytes that an op of the class counts for the same shape (workload/), where
//               the benchmark counts others; some ops are two kernels, some kernels several ops.
//
// What no row is made of is told, with the reason.
#include <optional>
#include <string>
#include <vector>

#include "core/op.hpp"
#include "sim/kernel_measurements.hpp"

namespace orrery {

struct MeasuredRow {
  std::vector<double> numbers;  // by the columns of its kind of table, microseconds last
  std::string what;             // kernel, shape and spread
};

struct MeasuredTable {
  KernelClass kernel = KernelClass::kGemm;
  DataType type = DataType::kNone;    // of products
  int sms = 0;                        // of products and attention
  std::string amount = "bytes";       // of streaming kernels, or "rows"
  std::optional<KernelClass> within;  // has no rows: measured in that kernel
  std::optional<int> launches;        // where other than the op says
  std::string note;                   // what the source does not say by itself
  std::vector<MeasuredRow> rows = {};
};

struct UnusedMeasurement {
  std::string what;  // kernel and shape
  std::string why;
};

struct MeasuredTables {
  std::vector<MeasuredTable> tables;
  std::vector<UnusedMeasurement> unused;
};

// `fp8`: the device multiplies in FP8; without, nothing of it is asked for. Kernels that must be
// there and are not are errors.
MeasuredTables measured_tables(const KernelMeasurements& measurements, bool fp8,
                               Diagnostics& diagnostics);

}  // namespace orrery
