#pragma once
// A device described by another one that was measured: same kernels, each unit of it faster or
// slower.
#include "sim/calibration.hpp"

namespace orrery {

struct DeviceScale {
  double tensor = 1;  // what one SM does of matrix products and attention, against the base's
  double memory = 1;  // what streaming kernels move
};

// Times of `base`'s tables on such a device. GEMM laws and rows keep the number of SMs they were
// measured on: the tile law counts waves on the SMs there are.
Calibration scaled(Calibration base, const DeviceScale& scale);

}  // namespace orrery
