#pragma once
// Whether this machine has a GPU at all. Says nothing of whether it works.

namespace orrery {

// NVIDIA's driver is loaded and has a device.
bool has_nvidia_gpu();

}  // namespace orrery
