#include "kernels/cuda/replay_device.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gate.hpp"
#include "kernels/cuda/replay_kernels.hpp"
#include "kernels/replay_launch.hpp"

namespace orrery::cuda {
namespace {

constexpr std::uint64_t kHeadStart = 30'000'000;  // nanoseconds
constexpr std::size_t kVector = 16;               // bytes that copies move at once

std::uint64_t nanoseconds(Seconds time) {
  return static_cast<std::uint64_t>(std::llround(1e9 * std::max(0.0, time.value())));
}

std::size_t whole_vectors(Bytes bytes) {
  return (static_cast<std::size_t>(bytes.value()) + kVector - 1) / kVector * kVector;
}

bool urgent(orrery::Stream stream) {
  return stream != orrery::Stream::kCompute;
}

}  // namespace

struct CudaReplayDevice::Parts {
  std::array<cudaStream_t, kStreams> streams{};
  std::unique_ptr<ReplayKernels> kernels;
  std::unique_ptr<Device<char>> sent, received;  // of exchanges
  std::vector<cudaEvent_t> events;               // by mark
  std::unique_ptr<Device<std::uint64_t>> stamps;
  cudaEvent_t start = nullptr;

  cudaStream_t of(orrery::Stream stream) const { return streams[static_cast<std::size_t>(stream)]; }
};

CudaReplayDevice::CudaReplayDevice(ProductSms told, std::int64_t room)
    : told_(told), room_(room), parts_(std::make_unique<Parts>()) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "properties of the GPU");
  name_ = std::string(properties.name) + (told == ProductSms::kLeft
                                              ? ", products told to leave the lent SMs"
                                              : ", products told nothing of the lent SMs");
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "priorities");
  for (int number = 0; number < kStreams; ++number) {
    const bool first = urgent(static_cast<orrery::Stream>(number));
    check(cudaStreamCreateWithPriority(&parts_->streams[static_cast<std::size_t>(number)],
                                       cudaStreamNonBlocking, first ? greatest : least),
          "stream");
  }
  check(cudaEventCreate(&parts_->start), "event");
}

CudaReplayDevice::~CudaReplayDevice() {
  cudaDeviceSynchronize();
  for (cudaEvent_t event : parts_->events) cudaEventDestroy(event);
  if (parts_->start != nullptr) cudaEventDestroy(parts_->start);
  parts_->kernels.reset();
  for (cudaStream_t stream : parts_->streams) {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
}

std::string CudaReplayDevice::stand_in(const Op& op) const {
  return replay_launch(op).stand_in;
}

void CudaReplayDevice::prepare(std::span<const KernelCall> kernels,
                               std::span<const PacedCopy> copies) {
  parts_->kernels =
      std::make_unique<ReplayKernels>(told_, room_, parts_->of(orrery::Stream::kCompute));
  for (const KernelCall& call : kernels) parts_->kernels->make(call);
  std::size_t most = kVector;
  for (const PacedCopy& copy : copies) most = std::max(most, whole_vectors(copy.bytes));
  parts_->sent = std::make_unique<Device<char>>(most);
  parts_->received = std::make_unique<Device<char>>(most);
  parts_->sent->fill(0x35);
  // Loaded now, not in the middle of a replay.
  const cudaStream_t stream = parts_->of(orrery::Stream::kComm);
  const Device<std::uint64_t> now(1);
  stamp(now.get(), stream);
  wait_after(now.get(), 0, stream);
  paced_copy(parts_->sent->get(), parts_->received->get(), kVector, 1, 1e9, stream);
  check(cudaDeviceSynchronize(), "the replay's kernels");
}

void CudaReplayDevice::begin(std::size_t marks) {
  while (parts_->events.size() < marks) {
    cudaEvent_t made = nullptr;
    check(cudaEventCreate(&made), "event");
    parts_->events.push_back(made);
  }
  if (parts_->stamps == nullptr || parts_->stamps->size() < marks)
    parts_->stamps = std::make_unique<Device<std::uint64_t>>(marks);
  const cudaStream_t first = parts_->of(orrery::Stream::kCompute);
  cuda::hold(kHeadStart, first);
  check(cudaEventRecord(parts_->start, first), "start of the replay");
  for (cudaStream_t stream : parts_->streams)
    check(cudaStreamWaitEvent(stream, parts_->start, 0), "start of the replay");
}

void CudaReplayDevice::launch(orrery::Stream, const KernelCall& call) {
  parts_->kernels->launch(call);
}

void CudaReplayDevice::copy(orrery::Stream stream, const PacedCopy& copy) {
  const std::size_t bytes = whole_vectors(copy.bytes);
  paced_copy(parts_->sent->get(), parts_->received->get(), bytes, copy.ctas,
             static_cast<double>(bytes) / copy.lasts.value(), parts_->of(stream));
}

void CudaReplayDevice::hold(orrery::Stream stream, Seconds time) {
  cuda::hold(nanoseconds(time), parts_->of(stream));
}

void CudaReplayDevice::record(orrery::Stream stream, std::size_t mark, MarkUse use) {
  if (use == MarkUse::kGate) stamp(parts_->stamps->get() + mark, parts_->of(stream));
  check(cudaEventRecord(parts_->events[mark], parts_->of(stream)), "mark");
}

void CudaReplayDevice::wait(orrery::Stream stream, std::size_t mark) {
  check(cudaStreamWaitEvent(parts_->of(stream), parts_->events[mark], 0), "wait for a mark");
}

void CudaReplayDevice::wait_until(orrery::Stream stream, std::size_t mark, Seconds delay) {
  wait(stream, mark);
  wait_after(parts_->stamps->get() + mark, nanoseconds(delay), parts_->of(stream));
}

void CudaReplayDevice::synchronise() {
  check(cudaDeviceSynchronize(), "the replay");
}

Seconds CudaReplayDevice::at(std::size_t mark) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, parts_->start, parts_->events[mark]), "mark");
  return Seconds{1e-3 * static_cast<double>(milliseconds)};
}

}  // namespace orrery::cuda
