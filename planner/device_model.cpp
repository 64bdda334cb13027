#include "planner/device_model.hpp"

#include "core/document.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/hash.hpp"

namespace orrery {

DeviceModel::DeviceModel(const Calibration& calibration, const Cluster& cluster)
    : device_(calibration.device),
      hash_(calibration.hash),
      costs_(std::make_shared<CalibratedCost>(calibration, cluster)) {}

DeviceModel::DeviceModel(const HostCalibration& calibration, const Cluster& cluster,
                         std::string hash)
    : hash_(std::move(hash)), host_(std::make_shared<HostCost>(calibration)) {
  costs_ = host_;
  device_.name = calibration.name;
  device_.sms = 1;
  device_.bf16_peak = calibration.device.peak;
  // The ranks share the machine.
  device_.memory = calibration.device.memory / cluster.gpus();
}

DeviceModel read_device_model(const std::string& path, const Cluster& cluster) {
  const bool host_file = is_host_calibration(path);
  const bool host_cluster = cluster.fabric.kind == FabricKind::kHost;
  if (host_file != host_cluster) {
    throw InputError(fmt::format(
        "error: {} calibrates a {}, but cluster '{}' is made of {}\n  {}", path,
        host_file ? "host" : "GPU", cluster.name, host_cluster ? "threads of a host" : "GPUs",
        host_cluster
            ? "measure this machine with `orrery calibrate host -o FILE` and add "
              "--calibration FILE"
            : "take the calibration of the cluster's device, or a cluster with fabric.kind "
              "= \"host\""));
  }
  if (!host_file) return {read_calibration(path), cluster};
  return {read_host_calibration(path), cluster, hash_text(read_file(path))};
}

}  // namespace orrery
