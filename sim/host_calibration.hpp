#pragma once
// A host as `orrery calibrate host` measured it: what one core takes for each kernel and exchange
// while all of them are at work, and what workers cost each other. A TOML file, kind = "host":
//
//   format_version = "1.0"
//   kind = "host"
//   name = "host"
//   [device]
//   cores = 2
//   memory = "23 GiB"
//   machine = "AMD EPYC, 2 cores, OpenBLAS, float, GCC 12.2"
//   scalar = "float"
//   hand_over = "12 us"
//   wake = "25 us"
//   instruction = "2 us"
//   slowdown = [1.0, 1.08]
//   without_work = ["slice kv_lora (F)"]
//   peak = "120 GFLOP/s"
//   meter = "5.1 us"
//   [[kernel]]                     # one shape; streaming kernels have an amount instead
//   op = "q_up fprop (F)"
//   class = "gemm"
//   m = 256
//   n = 512
//   k = 128
//   median = "123.4 us"
//   p10 = "120 us"
//   p90 = "130 us"
//   mean = "125 us"                # what a step of many adds up to; the median where it is missing
//   samples = 40
//   [[transfer]]                   # CPU time of one rank for one exchange; of a send of both
//   pattern = "dispatch"
//   group = 2
//   bytes = 65536
//   median = "40 us"
//   ...
//
// What the rows mean for other shapes is decided in sim/host_cost.hpp.
#include <string>
#include <string_view>
#include <vector>

#include "core/op.hpp"
#include "core/program.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct HostDevice {
  int cores = 1;
  Bytes memory;
  std::string machine;           // fingerprint: CPU, cores, BLAS, scalar type, compiler
  std::string scalar = "float";  // or "double"
  Seconds hand_over;             // HostMachine has the meaning of these three
  Seconds wake;
  Seconds instruction;  // CPU time of an instruction beside its ops
  std::vector<double> slowdown = {1};
  std::vector<std::string> without_work;  // ops that the host has nothing to do for
  FlopsPerSecond peak;                    // of a large GEMM on one core
  Seconds
      meter;  // what realrun/speed_meter.hpp read on average: the speed of all times; 0: unknown
  bool operator==(const HostDevice&) const = default;
};

// The same thing measured many times: 10, 50 and 90 % of the samples took no longer.
struct MeasuredTime {
  Seconds p10, median, p90;
  int samples = 1;
  Seconds mean = {};  // 0: not known
  // What many of it in a row come to, each.
  Seconds expected() const { return mean > Seconds{} ? mean : median; }
  bool operator==(const MeasuredTime&) const = default;
};

struct HostKernelRow {
  std::string op;  // "q_up fprop (F)" as host_op_name gives it; empty: of the class in general
  KernelClass kernel = KernelClass::kGemm;
  double m = 0, n = 0, k = 0;  // as in Op; 0 where a streaming kernel does not say
  int groups = 1;
  double amount = 0;  // of streaming kernels, as Op::amount() counts
  MeasuredTime time;
  bool operator==(const HostKernelRow&) const = default;
};

struct HostTransferRow {
  Pattern pattern = Pattern::kSend;
  int group = 2;
  Bytes bytes;  // as Wire::logical counts
  MeasuredTime time;
  bool operator==(const HostTransferRow&) const = default;
};

struct HostCalibration {
  std::string name = "host";
  HostDevice device;
  std::vector<HostKernelRow> kernels;
  std::vector<HostTransferRow> transfers;
  bool operator==(const HostCalibration&) const = default;
};

// How the rows of an op are named: the same name in another pass is another kernel.
std::string host_op_name(std::string_view op, Pass pass);

// Whether the file's `kind` says "host". Throws InputError where it cannot be parsed.
bool is_host_calibration(const std::string& path);

// Throws InputError with all that is wrong in the file.
HostCalibration read_host_calibration(const std::string& path);

// The text of the file: equal calibrations give equal texts, and reading it gives `calibration`
// back.
std::string write_host_calibration(const HostCalibration& calibration);

}  // namespace orrery
