#pragma once
// A recipe: the phases of a model's training from its first token to its release, as a file.
//
//   format_version = "1.0"   name = "..."   model = "deepseek-v3"   cluster = "h800-2048"
//   [[phases]]
//     name, sequence, batch (sequences a step), gpus (default: all), part (default: the name)
//     how much, one of:
//       tokens = 14.8e12
//       steps = 1000
//       samples = 1.5e6 with tokens_per_sample and epochs = 1: packed into the sequences
//       [phases.rl]  reinforcement learning on what the model itself writes: steps, samples (a
//         step), tokens_per_sample (written), prompt_tokens, forward_passes (of every sample, to
//         score it: reference model, old policy), rollout_rate (tokens written, a second and GPU)
//     ramp = { from = 3072, by = 3072, tokens = 469e9 }: the batch before it has grown
//     [phases.as_run]  layout, schedule: as the run was laid out, where that is known
//     assumptions = ["..."]: what nobody has published
//   [[published]]  part, gpu_hours, source: to be laid beside the prediction; no input of it
//
// tokens_per_sample, samples, the steps of reinforcement learning and rollout_rate may be a range,
// [low, middle, high]: what the phase costs is then one, too. `sequence` tokens attend to each
// other, whatever samples are packed into them.
#include <optional>
#include <string>
#include <vector>

namespace orrery {

// From what costs least to what costs most.
struct CostRange {
  double low = 0, middle = 0, high = 0;

  static CostRange exactly(double value) { return {value, value, value}; }
  bool exact() const { return low == high; }
  CostRange& operator+=(const CostRange& other) {
    low += other.low;
    middle += other.middle;
    high += other.high;
    return *this;
  }
  friend CostRange operator*(const CostRange& a, const CostRange& b) {
    return {a.low * b.low, a.middle * b.middle, a.high * b.high};
  }
  friend CostRange operator*(const CostRange& a, double factor) {
    return {a.low * factor, a.middle * factor, a.high * factor};
  }
  bool operator==(const CostRange&) const = default;
};

// The batch grows by `by` sequences at a time from `from`; each size before the full one sees as
// many tokens as the next (Megatron-LM's --rampup-batch-size).
struct BatchRamp {
  int from = 0, by = 0;
  double tokens = 0;
};

struct Reinforcement {
  CostRange written;              // tokens that the model writes
  double prompted = 0;            // tokens that it is given, in all
  int forward_passes = 0;         // over all of them
  CostRange rollout_gpu_seconds;  // of a token written
};

struct AsRun {
  std::string layout, schedule;  // as --fix and --schedule have them
  bool operator==(const AsRun&) const = default;
};

struct Phase {
  std::string name, part;
  int sequence = 0;
  int batch = 0;
  int gpus = 0;      // 0: all
  CostRange tokens;  // that are trained on
  std::optional<BatchRamp> ramp;
  std::optional<Reinforcement> rl;
  std::optional<AsRun> as_run;
  std::vector<std::string> assumptions;
};

struct PublishedPart {
  std::string part;
  double gpu_hours = 0;
  std::string source;
};

struct CampaignRecipe {
  std::string name, model, cluster;
  std::vector<Phase> phases;
  std::vector<PublishedPart> published;
};

// Throws InputError with every error of the file.
CampaignRecipe read_campaign_recipe(const std::string& path);

}  // namespace orrery
