#pragma once
// A training run from its files: plan, corpus, checkpoints. What `orrery realrun --mode host` does.
//
// Under MPI every process runs one rank of the plan; what one process cannot know alone (losses,
// spans, loads) is gathered on rank 0, whose callbacks and results count.
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "core/timeline_json.hpp"
#include "realrun/corpus.hpp"
#include "realrun/host_run.hpp"
#include "realrun/recipe.hpp"

namespace orrery {

enum class HostScalar { kFloat, kDouble };

struct TrainingOptions {
  int steps = 10;  // in all: a resumed run does what is left
  Recipe recipe;
  HostScalar scalar = HostScalar::kFloat;
  int cores = 0;    // used at once; 0: all of the machine's
  double pace = 0;  // recorded; the times are in `paced`
  const InstructionTimes* paced = nullptr;
  Seconds patience{20};
  std::string checkpoint_folder;  // empty: none
  int checkpoint_every = 0;       // steps; 0: at the end
  bool resume = false;
  int evaluate_every = 0;  // steps; 0: at the end alone; -1: never
  int evaluations = 4;     // batches of held-out text, at most
};

struct StepReport {
  std::int64_t step = 0;  // from 1
  StepResult result;
  std::optional<double> held_out;  // nats a token
};

struct TrainingResult {
  std::vector<double> losses;  // by step
  double held_out = 0;         // last; 0 where never evaluated
  StepResult median;           // the step whose time is the median after the warm-up
  RunRecord run;
  std::int64_t first_step = 1;  // after resuming
};

// What to tell the user meanwhile; may be empty.
struct TrainingCallbacks {
  std::function<void(const StepReport&)> step;
  std::function<void(const std::string&)> note;  // "resumed after step 40", a skipped checkpoint
};

// The gradients are no numbers any more.
class Diverged : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The first steps of a process pay for memory and caches.
inline constexpr int kWarmUpSteps = 1;

// Throws InputError (files), ProgramError (a plan that cannot be carried out), Diverged.
TrainingResult train(const Plan& plan, const Corpus& corpus, const TrainingOptions& options,
                     const std::vector<Transport*>& transports, const TrainingCallbacks& callbacks);

// "AMD EPYC, 2 cores, OpenBLAS 0.3.21": what a measurement depends on.
std::string machine_fingerprint();

}  // namespace orrery
