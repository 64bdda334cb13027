#include "realrun/simulated_device.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace orrery {

SimulatedDevice::SimulatedDevice(std::string name, KernelTime time)
    : name_(std::move(name)), time_(std::move(time)) {}

void SimulatedDevice::begin(std::size_t marks) {
  clocks_.fill(Seconds{});
  marks_.assign(marks, {});
}

void SimulatedDevice::launch(Stream stream, const KernelCall& call) {
  clock(stream) += time_(call);
}

void SimulatedDevice::copy(Stream stream, const PacedCopy& copy) {
  clock(stream) += copy.lasts;
}

void SimulatedDevice::hold(Stream stream, Seconds time) {
  clock(stream) += time;
}

void SimulatedDevice::record(Stream stream, std::size_t mark, MarkUse use) {
  ORRERY_CHECK(!marks_.at(mark).recorded, "mark {} a second time", mark);
  marks_[mark] = {true, use, clock(stream)};
}

// A GPU would not wait at all for what was not recorded yet.
Seconds SimulatedDevice::reached(std::size_t mark) const {
  ORRERY_CHECK(marks_.at(mark).recorded, "mark {} is not recorded", mark);
  return marks_[mark].at;
}

void SimulatedDevice::wait(Stream stream, std::size_t mark) {
  clock(stream) = std::max(clock(stream), reached(mark));
}

void SimulatedDevice::wait_until(Stream stream, std::size_t mark, Seconds delay) {
  const Seconds opens = reached(mark) + delay;
  ORRERY_CHECK(marks_[mark].use == MarkUse::kGate, "mark {} is not of a gate", mark);
  clock(stream) = std::max(clock(stream), opens);
}

Seconds SimulatedDevice::at(std::size_t mark) const {
  return reached(mark);
}

}  // namespace orrery
