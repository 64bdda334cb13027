#pragma once
// What carries out a replay of one rank (realrun/replay.hpp): a device with the streams of a rank,
// each of which does what it is handed in that order, one at a time, while the host goes on handing
// out. Two are there: a GPU (kernels/cuda/replay_device.hpp), and one whose clock is simulated, for
// tests and for looking at a replay without a GPU (realrun/simulated_device.hpp).
//
// Marks are points on a stream; what waits for one has to be handed over after it was recorded.
//
//   device.prepare(kernels, copies);
//   device.begin(3);
//   device.record(Stream::kComm, 0, MarkUse::kGate);
//   device.wait_until(Stream::kRecvNext, 0, delay);   // a gate
//   device.launch(Stream::kCompute, call);
//   device.record(Stream::kCompute, 1, MarkUse::kTime);
//   device.synchronise();
//   const Seconds when = device.at(1);                // since begin()
//
// Errors: a std::runtime_error where the device fails, or has no kernel for a shape.
#include <cstddef>
#include <span>
#include <string>

#include "core/op.hpp"
#include "core/program.hpp"
#include "core/quantity.hpp"

namespace orrery {

inline constexpr int kResidentLayers = 8;  // of DeepSeek-V3 in DualPipe: all of a rank

// One kernel, or the few that make up an op.
struct KernelCall {
  const Op* op = nullptr;
  int lent_sms = 0;  // SMs that it has to leave to communication
  int layer = 0;     // whose weights it takes, of kResidentLayers in memory
};

// An exchange with an end missing.
struct PacedCopy {
  Bytes bytes;    // read, and as many written: what it puts on NVLink, or on the NIC if more
  int ctas = 0;   // blocks, each alone on an SM
  Seconds lasts;  // at least
};

// What products are told of the SMs that communication is lent: to leave them, as DeepSeek-V3 does,
// or nothing, so that the hardware shares the SMs out (on one H200 products alone beside an
// exchange were faster so: reports/measured/README.md).
enum class ProductSms { kLeft, kAll };

// kGate: gates count from it, so that the device itself has to know when it was reached.
enum class MarkUse { kTime, kGate };

class ReplayDevice {
 public:
  virtual ~ReplayDevice() = default;

  // "NVIDIA H200", "simulated device, kernels of h800".
  virtual std::string name() const = 0;
  // Whether no time it says was measured.
  virtual bool simulated() const = 0;
  // How it does an op for which it has no kernel of its own: "a copy of as many bytes"; empty where
  // it has one.
  virtual std::string stand_in(const Op& op) const = 0;

  // Buffers, and kernels chosen and compiled, for everything that will be launched or copied. Once.
  virtual void prepare(std::span<const KernelCall> kernels, std::span<const PacedCopy> copies) = 0;

  // The clock starts at 0 on all streams; marks are 0 to `marks` - 1. What was handed over before
  // has to be synchronised.
  virtual void begin(std::size_t marks) = 0;
  virtual void launch(Stream stream, const KernelCall& call) = 0;
  virtual void copy(Stream stream, const PacedCopy& copy) = 0;
  // The stream does nothing for so long.
  virtual void hold(Stream stream, Seconds time) = 0;
  virtual void record(Stream stream, std::size_t mark, MarkUse use) = 0;
  // What the stream is handed next starts after the mark was reached.
  virtual void wait(Stream stream, std::size_t mark) = 0;
  // The same, and no earlier than `delay` after; the mark is of MarkUse::kGate.
  virtual void wait_until(Stream stream, std::size_t mark, Seconds delay) = 0;
  // All streams have done what they were handed.
  virtual void synchronise() = 0;
  // When a mark was reached, since begin().
  virtual Seconds at(std::size_t mark) const = 0;
};

}  // namespace orrery
