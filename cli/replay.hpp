#pragma once
// `orrery realrun PLAN --mode cuda-replay` and what `orrery compare` does with its file.
#include <optional>
#include <string>

#include "core/document.hpp"

namespace CLI {
class App;
}

namespace orrery::cli {

inline constexpr const char* kReplayMode = "cuda-replay";

struct ReplayOptions {
  std::string arrivals;
  std::optional<int> rank;
  int pairs = 0;                 // 0: the step
  std::string simulated_device;  // a calibration: instead of a GPU
  std::string cuda_library;
  std::string product_sms = "left";
};
void add_replay_options(CLI::App& command, ReplayOptions& options);

// What it shares with the other modes.
struct ReplayFiles {
  std::string plan, calibration, output;
};
int replay(const ReplayFiles& files, const ReplayOptions& options);

struct ReplayComparisonOptions {
  std::string predicted;
  double limit = -1;  // percent; below 0: none
  bool json = false;
};
// `measured`: the replay's file, parsed.
int compare_with_replay(const ReplayComparisonOptions& options, const Document& measured);

}  // namespace orrery::cli
