#pragma once
// The file of a device of which kernels were measured: what `orrery calibrate cuda` writes.
//
// The part above the line kMeasuredMark is people's: name, base, scale, device and transport, each
// figure with its source, and whatever they have to say. The part below it is the measurements'
// (sim/measured_tables.hpp) and is written anew each time.
#include <string>
#include <string_view>

#include "core/diagnostic.hpp"
#include "sim/measured_tables.hpp"

namespace orrery {

inline constexpr std::string_view kMeasuredMark =
    "# Measured: written by `orrery calibrate cuda`, not by hand.\n";

struct MeasuredCalibration {
  std::string text;  // of the file
  MeasuredTables tables;
};

// `device_file`: the calibration that says what was not measured. It must have a base, and as many
// SMs as the measured device. Throws InputError, what `diagnostics` has already included.
MeasuredCalibration measured_calibration(const std::string& device_file,
                                         const KernelMeasurements& measurements,
                                         Diagnostics& diagnostics);

// "NVIDIA H200" -> "h200", as the files of calibration/ are named.
std::string calibration_name(std::string_view device);

}  // namespace orrery
