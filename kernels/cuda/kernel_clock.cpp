#include "kernels/cuda/kernel_clock.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gate.hpp"

namespace orrery::cuda {
namespace {

constexpr int kSamples = 3;                            // after the warm-up
constexpr std::size_t kRoom = std::size_t{256} << 20;  // that an exchange goes round in, bytes
// Before timed kernels: for the host to hand all of them out, and for an exchange to begin.
constexpr Seconds kHeadStart{200e-6}, kMostHeadStart{10e-3};
constexpr Seconds kSpare{60e-6};  // by which an exchange is longer, at least

}  // namespace

struct KernelClock::Parts {
  cudaStream_t compute = nullptr, exchange = nullptr;
  cudaEvent_t go = nullptr, begin = nullptr, end = nullptr;
  std::unique_ptr<Device<char>> sent, received;  // where exchanges were asked for
};

KernelClock::KernelClock() : parts_(std::make_unique<Parts>()) {
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "priorities");
  check(cudaStreamCreateWithPriority(&parts_->compute, cudaStreamNonBlocking, least), "stream");
  check(cudaStreamCreateWithPriority(&parts_->exchange, cudaStreamNonBlocking, greatest), "stream");
  for (cudaEvent_t* event : {&parts_->go, &parts_->begin, &parts_->end})
    check(cudaEventCreate(event), "event");
}

KernelClock::~KernelClock() {
  cudaDeviceSynchronize();
  for (cudaEvent_t event : {parts_->go, parts_->begin, parts_->end}) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  for (cudaStream_t stream : {parts_->compute, parts_->exchange}) {
    if (stream != nullptr) cudaStreamDestroy(stream);
  }
}

Stream KernelClock::stream() const {
  return parts_->compute;
}

void KernelClock::begin(const ExchangeBeside& beside) {
  timing_ = true;
  launched_ = false;
  beside_ = beside;
  total_ = Seconds{};
  if (beside.ctas == 0 || parts_->sent != nullptr) return;
  parts_->sent = std::make_unique<Device<char>>(kRoom);
  parts_->received = std::make_unique<Device<char>>(kRoom);
  parts_->sent->fill(0x35);
}

Seconds KernelClock::end() {
  timing_ = false;
  return total_;
}

// `head_start`: how long the stream waits first; 0 where the time does not count. `exchange`: how
// long one runs at the same time; 0: none.
Seconds KernelClock::once(const std::function<void()>& restore, const std::function<void()>& launch,
                          Seconds head_start, Seconds exchange) const {
  const Parts& p = *parts_;
  restore();
  check(cudaStreamSynchronize(p.compute), "operands");
  if (exchange > Seconds{}) {
    constexpr std::size_t kVector = 16;
    const auto wanted = static_cast<std::size_t>((beside_.rate * exchange).value());
    check(cudaEventRecord(p.go, p.compute), "event");
    check(cudaStreamWaitEvent(p.exchange, p.go, 0), "event");
    const std::size_t vectors = std::max<std::size_t>(wanted / kVector, 1);
    paced_copy(p.sent->get(), p.received->get(), vectors * kVector, beside_.ctas,
               beside_.rate.value(), p.exchange, kRoom);
  }
  if (head_start > Seconds{}) hold(static_cast<std::uint64_t>(1e9 * head_start.value()), p.compute);
  check(cudaEventRecord(p.begin, p.compute), "event");
  launch();
  check(cudaEventRecord(p.end, p.compute), "event");
  check(cudaStreamSynchronize(p.compute), "kernels");
  check(cudaStreamSynchronize(p.exchange), "exchange");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, p.begin, p.end), "event");
  return Seconds{1e-3 * static_cast<double>(milliseconds)};
}

void KernelClock::run(const std::function<void()>& restore, const std::function<void()>& launch) {
  Seconds handed_out;
  const auto timed_launch = [&] {
    const auto begun = std::chrono::steady_clock::now();
    launch();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    handed_out = Seconds{took.count()};
  };
  once(restore, timed_launch, {}, {});
  if (!timing_) return;
  launched_ = true;
  // The first launch was the slowest for the host: it may have loaded the kernel, too.
  const Seconds head_start = std::clamp(2 * handed_out, kHeadStart, kMostHeadStart);
  Seconds exchange;
  if (beside_.ctas > 0 && beside_.rate > BytesPerSecond{})
    exchange = head_start + kSpare + 3 * once(restore, launch, head_start, {});
  std::array<Seconds, kSamples> samples;
  for (Seconds& sample : samples) sample = once(restore, launch, head_start, exchange);
  std::sort(samples.begin(), samples.end());
  total_ += samples[kSamples / 2];
}

}  // namespace orrery::cuda
