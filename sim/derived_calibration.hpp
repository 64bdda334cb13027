#pragma once
// A device described by another one that was measured: same kernels, each unit of it faster or
// slower, but for those kernels that were measured on it.
#include "sim/calibration.hpp"

namespace orrery {

struct DeviceScale {
  double tensor = 1;  // what one SM does of matrix products and attention, against the base's
  double memory = 1;  // what streaming kernels move
};

// Times of `base`'s tables on such a device. GEMM laws and rows keep the number of SMs they were
// measured on: the tile law counts waves on the SMs there are.
Calibration scaled(Calibration base, const DeviceScale& scale);

// `own` with the tables of `base` for all that it has none for. Rows of a kernel (and data type)
// are all its own or all the base's: rows of two devices say nothing about one kernel between them.
Calibration completed(Calibration own, Calibration base);

}  // namespace orrery
