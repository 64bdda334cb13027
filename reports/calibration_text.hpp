#pragma once
// What `orrery calibrate host` says of its measurement.
#include <string>

#include "sim/host_calibration.hpp"

namespace orrery {

std::string calibration_text(const HostCalibration& calibration, double wall_s);

}  // namespace orrery
