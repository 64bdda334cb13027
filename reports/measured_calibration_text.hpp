#pragma once
// What `orrery calibrate cuda` says: which rows the calibration got, and which measurements it has
// no use for.
#include <string>

#include "sim/measured_calibration.hpp"

namespace orrery {

std::string measured_calibration_text(const MeasuredCalibration& calibration,
                                      const KernelMeasurements& measurements);

}  // namespace orrery
