#pragma once
// What liborrery_cuda.so offers to the program that loads it (realrun/cuda_library.hpp): functions
// of C linkage, found by name, that hand out C++ objects behind interfaces without CUDA's types.
// orrery itself links no CUDA, so that it starts where none is installed.
//
// Library and program are built from one source: they share the interfaces' tables of functions,
// and exceptions pass from one to the other as std::runtime_error. kCudaPluginVersion keeps a
// library of another build out; whoever changes an interface behind a factory raises it.
#include <cstddef>

namespace orrery {

inline constexpr int kCudaPluginVersion = 2;

// orrery_cuda_version: the kCudaPluginVersion that the library was built with.
using CudaPluginVersion = int();
inline constexpr const char* kCudaPluginVersionName = "orrery_cuda_version";

// orrery_cuda_devices: how many GPUs there are; of 0, `why` (of `room` bytes) says why.
using CudaPluginDevices = int(char* why, std::size_t room);
inline constexpr const char* kCudaPluginDevicesName = "orrery_cuda_devices";

// orrery_cuda_replay_device: the first GPU for replays; the caller deletes it. Throws
// std::runtime_error where it cannot be used.
class ReplayDevice;
enum class ProductSms;
using CudaReplayDeviceFactory = ReplayDevice*(ProductSms told);
inline constexpr const char* kCudaReplayDeviceFactoryName = "orrery_cuda_replay_device";

// orrery_cuda_virtual_device: the first GPU for virtual runs, likewise.
class VirtualDevice;
using CudaVirtualDeviceFactory = VirtualDevice*();
inline constexpr const char* kCudaVirtualDeviceFactoryName = "orrery_cuda_virtual_device";

}  // namespace orrery
