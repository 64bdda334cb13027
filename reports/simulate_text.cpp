#include "reports/simulate_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/stage_map.hpp"
#include "reports/number.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

constexpr int kMostRanksShown = 16;

std::string time_row(const std::string& label, const Breakdown& time, Seconds unit) {
  return fmt::format(
      "  {:<28}{:>8.3f}{:>8.3f}{:>8.3f}{:>8.3f}{:>8.3f}{:>10.3f}{:>8.3f}   {:>8.3f}{:>8.3f}\n",
      label, time.F / unit, time.I / unit, time.W / unit, time.FB / unit, time.bubble / unit,
      time.optimizer / unit, time.total() / unit, time.exposed_comm / unit, time.wait / unit);
}

std::string stage_list(const RankSummary& rank) {
  std::string text;
  for (Stage stage : rank.stages) text += (text.empty() ? "" : ", ") + std::to_string(stage.value);
  return (rank.stages.size() == 1 ? "stage " : "stages ") + text;
}

bool is_host(const Plan& plan) {
  return plan.cluster.fabric.kind == FabricKind::kHost;
}

std::string memory_table(const Plan& plan, const StepSummary& summary) {
  const auto fullest = std::max_element(
      summary.ranks.begin(), summary.ranks.end(),
      [](const auto& a, const auto& b) { return a.memory.total() < b.memory.total(); });
  const MemoryTable& m = fullest->memory;
  const MemoryUnit unit = memory_unit(m.total());
  std::string text = is_host(plan)
                         ? fmt::format("Memory of a rank on pipeline rank {}, the fullest, {}\n",
                                       fullest->rank.value, unit.name)
                         : fmt::format("Memory of the fullest GPU (pipeline rank {}), {}\n",
                                       fullest->rank.value, unit.name);
  const std::string average =
      m.ema.value() > 0 ? fmt::format(" + EMA {:.1f}", m.ema / unit.bytes) : "";
  text += fmt::format(
      "  weights {:.1f} + gradients {:.1f} + optimizer {:.1f}{} + activations {:.1f} + buffers "
      "{:.1f} + reserve {:.1f} = "
      "{:.1f} of {:.1f}: {}\n",
      m.weights / unit.bytes, m.gradients / unit.bytes, m.optimizer / unit.bytes, average,
      m.activations / unit.bytes, m.buffers / unit.bytes, m.reserve / unit.bytes,
      m.total() / unit.bytes, m.capacity / unit.bytes, m.fits() ? "it fits" : "IT DOES NOT FIT");
  return text;
}

// A host's cores are below a TFLOPS each.
std::string rate_line(const Plan& plan, const Device& device, const StepSummary& summary) {
  const bool host = is_host(plan);
  const double unit = host ? 1e3 : 1;
  const char* format =
      host ? "Model FLOPs  {:.2f} GFLOPS a rank causal = {} of the {:.1f} of a large GEMM "
             "on one core, {:.2f} non-causal = {}\n\n"
           : "Model FLOPs  {:.0f} TFLOPS a GPU causal = {} of {:.0f} BF16, {:.0f} non-causal = "
             "{}\n\n";
  return fmt::format(fmt::runtime(format), unit * in_teraflops(summary.causal),
                     percent(summary.mfu_causal), unit * in_teraflops(device.bf16_peak),
                     unit * in_teraflops(summary.noncausal), percent(summary.mfu_noncausal));
}

}  // namespace

std::string plan_heading(const Plan& plan) {
  const Model& model = plan.model;
  const Layout& layout = plan.layout;
  std::string text = fmt::format("{} on {}: one training step\n\n", model.name, plan.cluster.name);
  text += fmt::format(
      "  model      {} parameters, {} active a token; {} sequences of {} tokens a step\n",
      compact_count(total_parameters(model)), compact_count(active_parameters(model, false)),
      grouped(plan.training.global_batch), plan.training.sequence);
  const bool host = is_host(plan);
  if (host) {
    text += fmt::format("  cluster    {} ranks as threads of one machine, on its cores\n",
                        plan.cluster.gpus());
  } else {
    text += fmt::format(
        "  cluster    {} nodes x {} {} = {} GPUs, NVLink {:.0f} GB/s, NIC {:.0f} GB/s a GPU each "
        "way\n",
        plan.cluster.nodes, plan.cluster.gpus_per_node, plan.cluster.device, plan.cluster.gpus(),
        in_gigabytes_per_second(plan.cluster.nvlink.bandwidth),
        in_gigabytes_per_second(plan.cluster.nic_bandwidth_per_gpu()));
  }
  text += fmt::format("  layout     {}, ZeRO-{}, {}, recompute {}", describe(layout),
                      layout.zero_stage, to_string(layout.precision), to_string(layout.recompute));
  if (layout.attention != AttentionKernels::kFused)
    text += fmt::format(", attention {}", to_string(layout.attention));
  if (layout.exchange != ExchangeKernels::kDeepEp)
    text += fmt::format(", experts' rows by {}", to_string(layout.exchange));
  if (layout.weights != WeightGradients::kBeside) text += ", weight gradients in line";
  if (!host) text += fmt::format(", {} SMs lent to communication", layout.comm_sms);
  if (layout.optimizer == Keep::kCpu) text += ", optimizer on the CPU";
  if (layout.ema == Keep::kGpu) text += ", moving average on the GPU";
  text += "\n";
  text += fmt::format("  stages     {}\n", format_stage_map(layout.stage_map));
  text += fmt::format("  schedule   {}, {} micro-batches of {} x {} tokens on each {}\n",
                      plan.schedule.family, plan.microbatches(), layout.micro_batch,
                      plan.training.sequence, host ? "rank" : "GPU");
  return text;
}

std::string time_table(const StepSummary& summary) {
  const TimeUnit unit = time_unit(summary.step);
  std::string text = fmt::format(
      "Where the time goes, {}\n  {:<28}{:>8}{:>8}{:>8}{:>8}{:>8}{:>10}{:>8}   {:>8}{:>8}\n",
      unit.name, "", "F", "I", "W", "F&B", "bubble", "optimizer", "step", "exposed", "wait");
  text += time_row("mean over pipeline ranks", summary.mean, unit.time);
  const bool all = static_cast<int>(summary.ranks.size()) <= kMostRanksShown;
  for (const RankSummary& rank : summary.ranks) {
    if (!all && rank.rank.value != 0 &&
        rank.rank.value + 1 != static_cast<int>(summary.ranks.size()))
      continue;
    text += time_row(fmt::format("rank {} ({})", rank.rank.value, stage_list(rank)), rank.time,
                     unit.time);
  }
  text +=
      "  F forward, I input gradient, W weight gradient, F&B a forward and a backward of two "
      "micro-batches co-scheduled;\n"
      "  exposed: inside cells, communication without computation beside it; wait: inside cells, "
      "neither (a transfer is "
      "due).\n";
  return text;
}

std::string simulate_text(const Plan& plan, const Device& device, const StepSummary& summary) {
  std::string text = plan_heading(plan) + "\n";
  const TimeUnit unit = time_unit(summary.step);
  text += fmt::format("Step time    {:.3f} {}, {} tokens a day\n", summary.step / unit.time,
                      unit.name, compact_count(summary.tokens_per_day));
  for (const RankSummary& rank : summary.ranks) {
    if (rank.memory.fits()) continue;
    text += "             BUT THE PLAN DOES NOT FIT INTO GPU MEMORY (below)\n";
    break;
  }
  if (plan.training.tokens > 0) {
    text += fmt::format(
        "The run      {} GPU-hours for {} tokens: {:.1f} days, {} at ${:.2f} a GPU-hour\n",
        grouped(summary.gpu_hours), compact_count(plan.training.tokens), summary.days,
        money(summary.cost), plan.cluster.price_per_gpu_hour.value());
  }
  text += rate_line(plan, device, summary);
  text += time_table(summary) + "\n";
  text += memory_table(plan, summary) + "\n";
  text += fmt::format("Rests on {} assumed figure{}{}\n", summary.assumed.size(),
                      summary.assumed.size() == 1 ? "" : "s", summary.assumed.empty() ? "" : ":");
  for (const AssumedFigure& figure : summary.assumed)
    text += fmt::format("  {}: {}\n", figure.name, figure.reason);
  text += fmt::format("\nFidelity {}: {} rank classes stand for {} GPUs, {} activities\n",
                      summary.fidelity, summary.rank_classes, summary.gpus,
                      grouped(static_cast<double>(summary.activities)));
  return text;
}

}  // namespace orrery
