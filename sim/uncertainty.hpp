#pragma once
// How sure the figures of a calibration are, by what they are of.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace orrery {

// What the time of a step rests on.
enum class Knob : std::uint8_t {
  kGemm,       // matrix products
  kAttention,  // attention's main kernels
  kStreaming,  // kernels bound by memory: casts, norms, permutations, optimizer
  kNic,        // what a NIC carries
  kNvlink,     // what NVLink carries
  kExperts,    // rows of the busiest expert group: grouped products and exchanges wait for it
};
inline constexpr std::size_t kKnobs = 6;

constexpr std::string_view to_string(Knob knob) {
  constexpr std::string_view kNames[kKnobs] = {"gemm", "attention", "streaming",
                                               "nic",  "nvlink",    "experts"};
  return kNames[static_cast<std::size_t>(knob)];
}

// A number for each knob.
using ByKnob = std::array<double, kKnobs>;

// Standard deviation of the logarithm of what a knob's times are, against the calibration; the
// knobs are off independently of each other, the times under one knob all alike.
struct Uncertainty {
  ByKnob deviation{};
  std::string basis;  // where these come from
};

}  // namespace orrery
