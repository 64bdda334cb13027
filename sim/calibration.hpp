#pragma once
// A device as measured: the tables of `calibration/*.toml`, kernel-level figures only. What they
// mean for an op is decided in sim/gemm_model.hpp and sim/calibrated_cost.hpp.
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/figure.hpp"
#include "core/program.hpp"
#include "sim/uncertainty.hpp"

namespace orrery {

struct Device {
  std::string name;
  int sms = 0;
  Bytes memory;
  FlopsPerSecond bf16_peak;                     // dense; what MFU is counted against
  bool fp8 = true;                              // has tensor cores for it
  Seconds launch_gap;                           // between two kernels of a stream
  Bytes reserve;                                // memory that context, libraries and allocator take
  Bytes exchange_buffers;                       // memory of the expert-parallel kernels' buffers
  std::optional<Uncertainty> uncertainty = {};  // of the times, where the file states it
};

struct GemmRow {
  double m = 0, n = 0, k = 0;  // m: rows of all groups
  int groups = 1;
  int sms = 0;
  Seconds time;
};

// One tiling of a GEMM kernel with the standalone measurements that set its law.
struct GemmLawTable {
  std::string name;
  double tile_m = 0, tile_n = 0;
  std::vector<GemmRow> rows;
};

// Causal attention of one sequence, with the head width of Calibration::attention_qk.
struct AttentionRow {
  double sequence = 0;
  int sms = 0;
  FlopsPerSecond rate;
};

// Time of a streaming kernel at an amount (bytes, rows or launches).
struct StreamTable {
  std::vector<std::pair<double, Seconds>> points;  // by amount, ascending; none if `within`
  std::optional<std::string> assumed;
  // What was measured of that kernel has this one in it: no time and no launch of its own.
  std::optional<KernelClass> within = {};
  std::optional<int> launches = {};  // kernels that an op takes here; else what the op says
};

// A measured expert-parallel exchange, and where the copies of a token went in it.
struct ExchangeRow {
  int group = 0;
  BytesPerSecond rate;  // of logical bytes
  double copies = 1;    // of a token that count as logical
  double nic = 0;       // of these, sent through a NIC
  double nvlink = 0;    // copies sent over NVLink
};

struct ExchangeTable {
  std::vector<ExchangeRow> rows;  // by group, ascending
  int sms = 0;                    // that the kernel held
  Seconds overhead;               // before the bytes move
};

struct Calibration {
  std::string hash;  // of the file's text, and its base's
  std::string base;  // the device it is derived from, or empty
  // Kernels of a derived device whose rows are its own; types are of matrix products.
  std::set<std::pair<KernelClass, DataType>> own;
  Device device;
  std::map<std::string, GemmLawTable> gemm_laws;
  std::vector<std::string> fp8_laws, bf16_laws;  // candidates; the fastest is taken
  double bf16_k_scale = 1;                       // K of a BF16 GEMM counts so often in those laws
  std::map<std::pair<KernelClass, DataType>, std::vector<GemmRow>> gemm_rows;
  std::map<KernelClass, std::vector<AttentionRow>> attention_rows;
  int attention_qk = 0;  // d_qk that the attention rows were measured with
  std::map<KernelClass, StreamTable> stream_rows;
  std::map<std::pair<Pattern, bool>, ExchangeTable> exchanges;  // bool: beside compute
  BytesPerSecond transport_nic, transport_nvlink;
  std::optional<BytesPerSecond> transport_nvls;  // bus bandwidth where a node's switch reduces
  AssumedFigures assumed;                        // marked in the file, outside of the tables
};

// A file may name a `base`, another device's: what it does not say itself is that device's, its
// times scaled; rows that it has for a kernel take the place of that device's
// (sim/derived_calibration.hpp). Throws InputError with all that is wrong in the file.
Calibration read_calibration(const std::string& path);

}  // namespace orrery
