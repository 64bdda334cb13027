// liborrery_cuda.so: the device of replays.
#include "kernels/cuda/replay_device.hpp"
#include "kernels/cuda_plugin.hpp"

extern "C" orrery::ReplayDevice* orrery_cuda_replay_device(orrery::ProductSms told) {
  return new orrery::cuda::CudaReplayDevice(told);
}
