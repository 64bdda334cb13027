#pragma once
// A ReplayDevice without a device: streams are clocks that what they are handed moves on, kernels
// by times given as a function. Everything else is exact: an exchange lasts as long as it has to at
// least, a gate opens when it should. Nothing that one stream does slows another down.
//
// What comes back is what was put in, carried through the order that the script prescribes; it is
// good for checking a script, and no measurement.
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "kernels/replay_device.hpp"

namespace orrery {

class SimulatedDevice : public ReplayDevice {
 public:
  using KernelTime = std::function<Seconds(const KernelCall& call)>;
  SimulatedDevice(std::string name, KernelTime time);

  std::string name() const override { return name_; }
  bool simulated() const override { return true; }
  std::string stand_in(const Op&) const override { return {}; }
  void prepare(std::span<const KernelCall>, std::span<const PacedCopy>) override {}
  void begin(std::size_t marks) override;
  void launch(Stream stream, const KernelCall& call) override;
  void copy(Stream stream, const PacedCopy& copy) override;
  void hold(Stream stream, Seconds time) override;
  void record(Stream stream, std::size_t mark, MarkUse use) override;
  void wait(Stream stream, std::size_t mark) override;
  void wait_until(Stream stream, std::size_t mark, Seconds delay) override;
  void synchronise() override {}
  Seconds at(std::size_t mark) const override;

 private:
  Seconds& clock(Stream stream) { return clocks_[static_cast<std::size_t>(stream)]; }
  Seconds reached(std::size_t mark) const;

  std::string name_;
  KernelTime time_;
  std::array<Seconds, kStreams> clocks_{};
  struct Mark {
    bool recorded = false;
    MarkUse use = MarkUse::kTime;
    Seconds at;
  };
  std::vector<Mark> marks_;
};

}  // namespace orrery
