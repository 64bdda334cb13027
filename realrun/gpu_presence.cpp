#include "realrun/gpu_presence.hpp"

#include <filesystem>

namespace orrery {

bool has_nvidia_gpu() {
  // One folder a GPU; absent without the driver.
  std::error_code error;
  const std::filesystem::directory_iterator gpus("/proc/driver/nvidia/gpus", error);
  return !error && gpus != std::filesystem::directory_iterator{};
}

}  // namespace orrery
