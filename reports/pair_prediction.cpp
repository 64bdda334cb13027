#include "reports/pair_prediction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/error.hpp"
#include "sim/calibrated_cost.hpp"
#include "sim/chunk_pair.hpp"

namespace orrery {
namespace {

constexpr const char* kCommand = "orrery validate --suite h200 -o reports/h200-chunk-pair.md";
constexpr std::size_t kLayers = 4;

// Kernels that one row of the report sums: of matrix products each type its own.
using Kind = std::pair<KernelClass, DataType>;

struct PredictedPair {
  ChunkPair pair;
  std::map<Kind, Seconds> busy;  // of computation
  Seconds own;                   // of kernels measured on the device itself
};

PredictedPair predict(const PairSetting& setting) {
  const CalibratedCost costs(setting.calibration, setting.plan.cluster);
  const std::vector<LayerKind> entries(kLayers, LayerKind::kMoe);
  PredictedPair out{simulate_chunk_pair(setting.plan, entries, costs), {}, {}};
  const Program program = chunk_pair_program(setting.plan, entries);
  for (const Instruction& instruction : program.instructions) {
    if (instruction.cell != 0) continue;
    const int sms = setting.calibration.device.sms - instruction.lent_sms;
    for (const Op& op : program.work(instruction).ops) {
      const bool product = kernel_kind(op.kernel) == KernelKind::kGemm;
      const Kind kind{op.kernel, product ? op.in : DataType::kNone};
      const Seconds time = costs.op_time(op, sms);
      out.busy[kind] += time;
      if (setting.calibration.base.empty() || setting.calibration.own.contains(kind))
        out.own += time;
    }
  }
  return out;
}

std::string name_of(const Kind& kind) {
  if (kind.second == DataType::kNone) return std::string(to_string(kind.first));
  return fmt::format("{}, {}", to_string(kind.first), to_string(kind.second));
}

std::string heading(const PairSetting& known, const PairSetting& predicted) {
  const std::string name = predicted.calibration.device.name;
  return fmt::format(
      "# DeepSeek-V3's chunk pair on {0}: a prediction\n\nWritten by `{1}`.\n\n"
      "A forward and a backward chunk of four MoE layers each, co-scheduled on one GPU of {2} that "
      "share the experts, with {3} SMs lent to communication and no pipeline transfers: what "
      "DeepSeek's public training trace shows of an {4}. No step and no pair has been measured on "
      "an {0} by this project or set anything here. Kernels were, each by itself, by "
      "`scripts/measure_cuda.sh` (calibration/{0}.toml names each measurement).\n\n",
      name, kCommand, predicted.plan.layout.ep, predicted.plan.layout.comm_sms,
      known.calibration.device.name);
}

std::string pair_table(const PublishedPair& published, const std::string& known_name,
                       const PredictedPair& known, const std::string& name,
                       const PredictedPair& predicted) {
  std::string text = fmt::format(
      "## The pair\n\n| | {0}, published | {0}, predicted | **{1}, predicted** | {1} : {0} "
      "|\n|---|---:|---:|---:|---:|\n",
      known_name, name);
  const auto row = [&](const std::string& what, std::optional<double> measured, Seconds before,
                       Seconds now) {
    text += fmt::format("| {}, ms | {} | {:.1f} | **{:.1f}** | {} |\n", what,
                        measured ? fmt::format("{:.1f}", *measured) : "", in_milliseconds(before),
                        in_milliseconds(now),
                        before > Seconds{} ? fmt::format("{:.3f}", now / before) : "");
  };
  row("wall", published.wall_ms, known.pair.wall, predicted.pair.wall);
  row("compute busy", published.compute_busy_ms, known.pair.compute_busy,
      predicted.pair.compute_busy);
  row("compute idle", published.compute_idle_ms, known.pair.compute_idle(),
      predicted.pair.compute_idle());
  row("of it launch gaps", std::nullopt, known.pair.gaps, predicted.pair.gaps);
  row("of it stalls", std::nullopt, known.pair.stalls, predicted.pair.stalls);
  row("exchanges", std::nullopt, known.pair.comm_busy, predicted.pair.comm_busy);
  const std::size_t slots =
      std::min({published.slots_ms.size(), known.pair.slots.size(), predicted.pair.slots.size()});
  for (std::size_t slot = 0; slot < slots; ++slot) {
    row(fmt::format("layer slot {}", slot), published.slots_ms[slot], known.pair.slots[slot],
        predicted.pair.slots[slot]);
  }
  return text + "\n";
}

// One deviation of each kind of kernel, all of a kind off together, the kinds independently.
Seconds deviation(const PredictedPair& pair, const Uncertainty& uncertainty) {
  ByKnob times{};
  for (const auto& [kind, time] : pair.busy) {
    const KernelKind of = kernel_kind(kind.first);
    const Knob knob = of == KernelKind::kGemm        ? Knob::kGemm
                      : of == KernelKind::kAttention ? Knob::kAttention
                                                     : Knob::kStreaming;
    times[static_cast<std::size_t>(knob)] += time.value();
  }
  double squares = 0;
  for (std::size_t knob = 0; knob < kKnobs; ++knob)
    squares += std::pow(times[knob] * uncertainty.deviation[knob], 2);
  return Seconds{std::sqrt(squares)};
}

std::string kernels_table(const std::string& known_name, const PredictedPair& known,
                          const PairSetting& setting, const PredictedPair& predicted) {
  const std::string name = setting.calibration.device.name;
  std::string text = fmt::format(
      "## Which kernels make it\n\nBusy time of the compute stream, on the SMs left to it. "
      "Measured on {1}: {2:.1f} of {3:.1f} ms; the rest follows the {0}'s kernels by memory "
      "bandwidth.\n\n| kernels | {0}, ms | {1}, ms | {1} less {0}, ms | measured on {1} "
      "|\n|---|---:|---:|---:|---|\n",
      known_name, name, in_milliseconds(predicted.own),
      in_milliseconds(predicted.pair.compute_busy));
  std::vector<Kind> kinds;
  for (const auto& [kind, time] : known.busy) kinds.push_back(kind);
  std::stable_sort(kinds.begin(), kinds.end(), [&](const Kind& a, const Kind& b) {
    return known.busy.at(a) > known.busy.at(b);
  });
  for (const Kind& kind : kinds) {
    const Seconds before = known.busy.at(kind), now = predicted.busy.at(kind);
    text += fmt::format("| {} | {:.2f} | {:.2f} | {:+.2f} | {} |\n", name_of(kind),
                        in_milliseconds(before), in_milliseconds(now),
                        in_milliseconds(now) - in_milliseconds(before),
                        setting.calibration.own.contains(kind) ? "yes" : "no");
  }
  return text + "\n";
}

}  // namespace

std::string pair_prediction(const PublishedRun& published, const PairSetting& known,
                            const PairSetting& predicted) {
  ORRERY_CHECK(known.plan.layout.ep == predicted.plan.layout.ep, "groups of {} and {}",
               known.plan.layout.ep, predicted.plan.layout.ep);
  const PredictedPair before = predict(known), now = predict(predicted);
  const std::string known_name = known.calibration.device.name;
  const std::string name = predicted.calibration.device.name;
  std::string text = heading(known, predicted);
  text += pair_table(published.pair, known_name, before, name, now);
  if (const auto& uncertainty = predicted.calibration.device.uncertainty) {
    const double sigma = in_milliseconds(deviation(now, *uncertainty));
    const double busy = in_milliseconds(now.pair.compute_busy);
    text += fmt::format(
        "How sure: with the deviations of calibration/{}.toml ({}), computation is busy for "
        "{:.1f} ± {:.1f} ms. Kernels on {} may deviate more: of many there is one shape, and "
        "none was measured inside training.\n\n",
        predicted.calibration.base, uncertainty->basis, busy, sigma, name);
  }
  text += kernels_table(known_name, before, predicted, now);
  text += fmt::format(
      "## What it is a prediction of\n\nThe kernels on {0} are this project's and its libraries' "
      "(cuBLASLt, cuDNN), those of the {1} DeepSeek's: the ratio of the two devices is not that of "
      "their silicon. A pair carried out with these kernels on one {0}, beside an exchange that "
      "holds {2} SMs, can be held against it.\n\n",
      name, known_name, predicted.plan.layout.comm_sms);
  text +=
      "Exchanges take the rates of the H800's trace on the same NICs; GPUs of a group are equally "
      "fast and equally loaded.\n";
  return text;
}

}  // namespace orrery
