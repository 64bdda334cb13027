#include "kernels/cuda/kernel_clock.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/gate.hpp"

namespace orrery::cuda {
namespace {

constexpr int kSamples = 3;                            // after the warm-up
constexpr std::size_t kRoom = std::size_t{256} << 20;  // of an exchange, bytes
// Before timed kernels: for the host to hand all of them out, and for an exchange to begin.
constexpr std::uint64_t kHeadStart = 200'000;  // nanoseconds
constexpr double kSpare = 60e-6;               // by which it is longer, at least, seconds

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

// `warm`: it counts. `exchange`: how long one runs at the same time; 0: none.
Seconds KernelClock::once(const std::function<void()>& restore, const std::function<void()>& launch,
                          bool warm, Seconds exchange) const {
  const Parts& p = *parts_;
  restore();
  check(cudaStreamSynchronize(p.compute), "operands");
  if (exchange > Seconds{}) {
    constexpr std::size_t kVector = 16;
    const double wanted = std::min((beside_.rate * exchange).value(), double{kRoom});
    // At least one for each block: all of them hold their SMs until their share has passed.
    const std::size_t vectors =
        std::max(static_cast<std::size_t>(wanted) / kVector, static_cast<std::size_t>(beside_.ctas));
    check(cudaEventRecord(p.go, p.compute), "event");
    check(cudaStreamWaitEvent(p.exchange, p.go, 0), "event");
    paced_copy(p.sent->get(), p.received->get(), vectors * kVector, beside_.ctas,
               beside_.rate.value(), p.exchange);
  }
  if (warm) hold(kHeadStart, p.compute);
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
  const Seconds alone = once(restore, launch, false, {});
  if (!timing_) return;
  launched_ = true;
  const bool paired = beside_.ctas > 0 && beside_.rate > BytesPerSecond{};
  const Seconds exchange =
      paired ? Seconds{1e-9 * static_cast<double>(kHeadStart) + kSpare} + 3 * alone : Seconds{};
  std::array<Seconds, kSamples> samples;
  for (Seconds& sample : samples) sample = once(restore, launch, true, exchange);
  std::sort(samples.begin(), samples.end());
  total_ += samples[kSamples / 2];
}

}  // namespace orrery::cuda
