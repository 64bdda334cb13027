#pragma once
// What a calibration file says of the device of a cluster: a GPU (sim/calibration.hpp), or the host
// whose threads are the ranks (sim/host_calibration.hpp). The file's `kind` decides.
#include <memory>
#include <optional>
#include <string>

#include "core/cluster.hpp"
#include "core/plan.hpp"
#include "sim/calibrated_cost.hpp"
#include "sim/host_cost.hpp"

namespace orrery {

class DeviceModel {
 public:
  DeviceModel(const Calibration& calibration, const Cluster& cluster);
  // `hash`: of the calibration file's text.
  DeviceModel(const HostCalibration& calibration, const Cluster& cluster, std::string hash);

  const Device& device() const { return device_; }
  const CostSource& costs() const { return *costs_; }
  // Nothing for a GPU.
  const HostCost* host() const { return host_.get(); }
  CalibrationRef reference() const { return {device_.name, hash_}; }

 private:
  Device device_;
  std::string hash_;
  std::shared_ptr<const CostSource> costs_;
  std::shared_ptr<const HostCost> host_;
};

// Throws InputError, also where a GPU's calibration is given for a host or the other way round.
DeviceModel read_device_model(const std::string& path, const Cluster& cluster);

}  // namespace orrery
