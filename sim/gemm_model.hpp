#pragma once
// How long a GEMM takes on some SMs.
//
// Law. A GEMM is cut into tiles; each wave runs one tile per SM; a tile takes a fixed time
// (prologue, epilogue, store) plus a time per K:
//
//   t = ceil(tiles / SMs) * (a + b K),   tiles = sum over groups of ceil(M_g / tile_m) * ceil(N /
//   tile_n)
//
// a and b are fitted by least squares (relative errors) to standalone measurements. DeepGEMM's
// table of 2025-02-25 gives a = 2.2 us, b = 2.95 ns for 128x128 FP8 tiles and is reproduced within
// 3 %: [4096, 24576, 1536] has 6144 tiles, 47 waves on 132 SMs, 47 * 6.7 us = 316 us against 312.4
// us. Fewer SMs mean more waves and nothing else.
//
// Correction. Measurements inside training (other kernels, communication beside them) give the
// ratio measured / law at some shapes; it is interpolated between them, weighted by the inverse
// fourth power of the distance in (log M, log N, log K), so that every measured shape is reproduced
// exactly. Where few shapes were measured, all of one kind, the law itself counts as a measurement
// at the distance `reach`: far from those shapes it holds.
//
// Accumulating. The laws are of kernels that store BF16, and do not hide it: 132 tiles of 256 x 128
// results are 8.65 MB, which take the 2.8 us of that tiling's a at 3.1 TB/s. A weight gradient
// reads and writes an FP32 accumulator instead, 6 bytes a result more.
#include <limits>
#include <span>
#include <vector>

#include "sim/calibration.hpp"

namespace orrery {

struct TileLaw {
  double tile_m = 128, tile_n = 128;
  Seconds fixed;       // a
  Seconds per_k;       // b
  double k_scale = 1;  // K of the op counts so often: 2 for BF16 on a law measured in FP8
  Seconds per_result;  // for each element of D, beyond what the measured kernels stored

  double tiles(double m, double n, int groups) const;
  Seconds time(double m, double n, double k, int groups, int sms) const;
};

// Least squares of relative errors over the rows; with a single K all of the time is put on K.
TileLaw fit_tile_law(double tile_m, double tile_n, std::span<const GemmRow> rows);

class GemmModel {
 public:
  // The fastest of `laws` times the interpolated ratio of `rows`; without rows the law alone.
  // `reach`: distance in (log M, log N, log K) at which a row counts no more than the law.
  GemmModel(std::vector<TileLaw> laws, std::span<const GemmRow> rows,
            double reach = std::numeric_limits<double>::infinity());

  // `m` counts the rows of all groups; for weight gradients m, n are the weight and k the tokens,
  // groups extra.
  Seconds time(double m, double n, double k, int groups, int sms) const;
  Seconds law_time(double m, double n, double k, int groups, int sms) const;

 private:
  struct Point {
    double log_m = 0, log_n = 0, log_k = 0;
    double ratio = 1;
  };
  std::vector<TileLaw> laws_;
  std::vector<Point> points_;
  double law_weight_ = 0;
};

}  // namespace orrery
