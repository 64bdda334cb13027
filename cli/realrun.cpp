#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/replay.hpp"
#include "cli/virtual_run.hpp"
#include "core/catalog.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/plan_json.hpp"
#include "core/timeline_json.hpp"
#include "realrun/host_memory.hpp"
#include "realrun/mpi_transport.hpp"
#include "realrun/nccl_transport.hpp"
#include "realrun/thread_transport.hpp"
#include "realrun/training.hpp"
#include "reports/realrun_text.hpp"
#include "workload/lower.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery::cli {
namespace {

struct Options {
  std::string plan;
  std::string mode = "host";
  std::string nccl_library;
  TrainingOptions training;
  std::string scalar = "float";
  std::string corpus;
  std::string calibration;
  std::string loads;
  std::string output;
  ReplayOptions replay;
};

// Comparisons let it pass that a number is none.
CLI::Validator finite() {
  return {[](std::string& text) {
            return std::isnan(std::strtod(text.c_str(), nullptr)) ? text + " is no number" : "";
          },
          ""};
}

void check(const Plan& plan) {
  Diagnostics diagnostics;
  for (const ScheduleFault& fault : check_schedule(plan.schedule))
    diagnostics.error({}, "schedule: " + fault.reason);
  const Recompute set = plan.layout.recompute;
  if (set == Recompute::kAttention || set == Recompute::kMlp || set == Recompute::kExperts) {
    diagnostics.error({}, fmt::format("recompute={} is not carried out by a real run", to_string(set)),
                      "plan with recompute=none, selective or full");
  }
  if (plan.layout.optimizer == Keep::kCpu || plan.layout.ema == Keep::kGpu) {
    diagnostics.error({}, "a real run has its optimizer beside the weights, and no EMA",
                      "plan without optimizer=cpu and ema=gpu");
  }
  diagnostics.throw_if_errors();
  if (plan.model.vocab < 256) {
    throw InputError(fmt::format("error: {} has a vocabulary of {}: text is read as bytes, 256 ids",
                                 plan.model.name, plan.model.vocab));
  }
}

// What carries the ranks. Without processes they are threads.
struct Processes {
  std::unique_ptr<Transport> mpi;
  std::optional<NcclProcess> nccl;

  bool any() const { return mpi != nullptr || nccl.has_value(); }
  int rank() const { return mpi != nullptr ? mpi->rank() : nccl ? nccl->rank() : 0; }
  int size() const { return mpi != nullptr ? mpi->size() : nccl->size(); }
};

Processes join(const Options& options) {
  Processes processes;
  if (options.mode == "nccl") {
    processes.nccl = join_nccl_run(options.nccl_library);
  } else if (launched_by_mpi()) {
    processes.mpi = mpi_transport(nullptr, nullptr);
  }
  return processes;
}

void check_size(const Processes& processes, int ranks) {
  if (!processes.any() || processes.size() == ranks) return;
  if (processes.nccl) {
    throw InputError(fmt::format(
        "error: the plan has {} ranks, {} process{} been started\n"
        "  start it with mpirun -np {}, srun -n {} or torchrun: one process a GPU",
        ranks, processes.size(), processes.size() == 1 ? " has" : "es have", ranks, ranks));
  }
  throw InputError(
      fmt::format("error: the plan has {} ranks, mpirun started {} processes\n"
                  "  start it with mpirun -np {}",
                  ranks, processes.size(), ranks));
}

std::string ranks_as(const Processes& processes) {
  if (processes.nccl) {
    return fmt::format("processes of one GPU each, NCCL {}",
                       nccl_version_text(processes.nccl->library.version));
  }
  return processes.mpi != nullptr ? "MPI processes" : "threads";
}

int realrun(Options& options, Processes processes) {
  const Plan plan = read_plan(options.plan);
  check(plan);
  check_outputs({options.output, options.loads},
                {options.plan, options.corpus, options.calibration});
  const int ranks = plan.layout.gpus();
  const bool first = processes.rank() == 0;
  check_size(processes, ranks);
  TrainingOptions& training = options.training;
  training.scalar = options.scalar == "double" ? HostScalar::kDouble : HostScalar::kFloat;
  if (training.checkpoint_every > 0 && training.checkpoint_folder.empty())
    throw InputError(
        "error: --checkpoint-every needs a folder for the checkpoints\n  add --checkpoint DIR");
  if (training.resume && training.checkpoint_folder.empty())
    throw InputError("error: --resume needs the folder of the checkpoints\n  add --checkpoint DIR");
  check_host_memory(plan, training.scalar, processes.rank(), processes.any() ? 1 : ranks);
  const std::size_t sequence =
      static_cast<std::size_t>(plan.training.sequence + 1 + plan.model.mtp_depth);
  const Corpus corpus =
      options.corpus.empty() ? make_default_corpus() : read_corpus(options.corpus, sequence);
  const Program program = lower(plan);
  const World world = expand(program, plan.layout);
  std::optional<DeviceModel> device;
  std::optional<HostTimes> paced;
  if (training.pace > 0) {
    device = find_device(options.calibration.empty() ? plan.calibration.name : options.calibration,
                         plan.cluster);
    if (options.calibration.empty() && first) warn_of_other_calibration(plan, *device);
    if (device->host() == nullptr)
      throw InputError("error: --pace needs the calibration of a host");
    paced.emplace(world.program, *device->host(), training.pace);
    training.paced = &*paced;
  }
  std::optional<ThreadWorld> threads;
  std::vector<Transport*> transports;
  const std::string carried_by = ranks_as(processes);
  std::unique_ptr<Transport> own = std::move(processes.mpi);
  if (processes.nccl) own = nccl_transport(std::move(*processes.nccl), world.program);
  if (own != nullptr) {
    transports.push_back(own.get());
  } else {
    threads.emplace(ranks);
    for (int rank = 0; rank < ranks; ++rank) transports.push_back(&threads->endpoint(rank));
  }
  TrainingCallbacks callbacks;
  std::FILE* answer = answer_stream({options.output, options.loads});
  if (first) {
    std::fputs(realrun_heading(plan, training, options.corpus, carried_by).c_str(), answer);
    std::fflush(answer);
    callbacks.step = [&](const StepReport& report) {
      std::fputs(realrun_step_line(plan, report).c_str(), answer);
      std::fflush(answer);
    };
    callbacks.note = [](const std::string& note) {
      std::fprintf(stderr, "%s%s", note.c_str(), note.ends_with('\n') ? "" : "\n");
    };
  }
  const TrainingResult result = train(plan, corpus, training, transports, callbacks);
  if (!first) return kYes;
  std::fputs(realrun_closing(plan, result).c_str(), answer);
  if (result.run.steps.empty()) return kYes;
  if (!options.output.empty()) {
    write_output(options.output,
                 to_json(world.program, result.median.timeline, &plan, &result.run));
  }
  if (!options.loads.empty()) write_output(options.loads, to_json(result.median.loads));
  return kYes;
}

VirtualRunOptions virtual_run_options(const Options& options, const CLI::Option& steps,
                                      const CLI::Option& rate) {
  VirtualRunOptions own;
  own.plan = options.plan;
  own.calibration = options.calibration;
  own.output = options.output;
  own.corpus = options.corpus;
  own.simulated_device = options.replay.simulated_device;
  own.cuda_library = options.replay.cuda_library;
  if (steps.count() > 0) own.steps = options.training.steps;
  if (rate.count() > 0) own.learning_rate = options.training.recipe.learning_rate;
  own.recipe = options.training.recipe;
  return own;
}

}  // namespace

Command add_realrun(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "realrun", "Carry out a plan for real: train its model on this machine, on CPUs or a GPU");
  TrainingOptions& training = options->training;
  command->add_option("PLAN", options->plan, "Plan file written by `orrery plan -o`")->required();
  command
      ->add_option(
          "--mode", options->mode,
          "host: every rank a thread, or a process under mpirun; nccl: a process for each "
          "GPU, started by mpirun, srun or torchrun, whose data NCCL moves. Kernels on the "
          "CPU in both. cuda-replay: one rank in real time on one GPU, the others replaced by "
          "the times of their messages. cuda-virtual: all ranks in turn on one GPU, each op timed, "
          "with virtual clocks, beside the same training by the host's kernels")
      ->capture_default_str()
      ->check(CLI::IsMember({"host", "nccl", kReplayMode, kVirtualMode}));
  command
      ->add_option("--nccl-library", options->nccl_library,
                   "For --mode nccl: the library to load (default: libnccl.so.2)")
      ->envname("ORRERY_NCCL_LIBRARY");
  const CLI::Option* steps =
      command
          ->add_option("--steps", training.steps,
                       "Training steps in all (--mode cuda-virtual: 20 unless given)")
          ->capture_default_str()
          ->check(CLI::Range(1, 100000000));
  command->add_option("--seed", training.recipe.seed, "Of weights and of the order of the data")
      ->capture_default_str();
  const CLI::Option* rate =
      command
          ->add_option("--learning-rate", training.recipe.learning_rate,
                       "Of AdamW, constant (--mode cuda-virtual: 0.001 unless given)")
          ->capture_default_str()
          ->check(CLI::PositiveNumber)
          ->check(finite());
  command
      ->add_option("--bias-rate", training.recipe.bias_rate,
                   "Step of the routing bias that evens the experts' loads; 0 leaves it alone")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->check(finite());
  command->add_option("--scalar", options->scalar, "Type of weights and activations")
      ->capture_default_str()
      ->check(CLI::IsMember({"float", "double"}));
  command->add_option("--corpus", options->corpus,
                      "Text file to train on, as bytes (default: a text that orrery makes)");
  command->add_option("--checkpoint", training.checkpoint_folder,
                      "Folder for checkpoints; the two newest stay");
  command
      ->add_option("--checkpoint-every", training.checkpoint_every,
                   "Steps between checkpoints; 0: one at the end")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--resume", training.resume, "Go on from the newest whole checkpoint");
  command
      ->add_option("--evaluate-every", training.evaluate_every,
                   "Steps between evaluations on held-out text; 0: one at the end, -1: none")
      ->capture_default_str()
      ->check(CLI::Range(-1, 100000000));
  command
      ->add_option("--pace", training.pace,
                   "Every instruction lasts at least so many times its calibrated time, so that "
                   "many ranks on few cores overlap as on devices of their own")
      ->check(CLI::Range(0.0, 1e6))
      ->check(finite());
  command->add_option(
      "--calibration", options->calibration,
      "Of this host, for --pace; of a GPU's predicted op times (default: what ships under the "
      "plan's name for it)");
  add_replay_options(*command, options->replay);
  command->add_option("--cores", training.cores, "Cores used at once (default: all)")
      ->check(CLI::Range(1, 4096));
  command->add_option("--loads", options->loads,
                      "Write the experts' rows of the median step; `simulate --loads` reads it");
  command->add_option("-o,--output", options->output,
                      "Write the Timeline of the median step; - is standard output");
  return [options, steps, rate] {
    if (options->mode == kReplayMode) {
      return replay({options->plan, options->calibration, options->output}, options->replay);
    }
    try {
      if (options->mode == kVirtualMode) {
        check(read_plan(options->plan));
        return virtual_run(virtual_run_options(*options, *steps, *rate));
      }
      Processes processes = join(*options);
      return realrun(*options, std::move(processes));
    } catch (const ProgramError& error) {
      std::fprintf(stderr, "error: the plan cannot be carried out\n  %s\n", error.what());
      return kNo;
    } catch (const Diverged& error) {
      std::fprintf(stderr, "error: %s\n  a lower --learning-rate may help\n", error.what());
      return kNo;
    }
  };
}

}  // namespace orrery::cli
