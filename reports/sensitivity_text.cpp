#include "reports/sensitivity_text.hpp"

#include <fmt/format.h>

#include "reports/number.hpp"
#include "reports/table.hpp"

namespace orrery {
namespace {

const char* described(Knob knob) {
  switch (knob) {
    case Knob::kGemm: return "matrix products";
    case Knob::kAttention: return "attention";
    case Knob::kStreaming: return "memory-bound kernels";
    case Knob::kNic: return "NIC bandwidth";
    case Knob::kNvlink: return "NVLink bandwidth";
    case Knob::kExperts: return "rows of the busiest experts";
  }
  return "?";
}

}  // namespace

std::string sensitivity_text(const StepSummary& summary, const Sensitivity& sensitivity,
                             const Uncertainty& uncertainty) {
  const TimeUnit unit = time_unit(sensitivity.step);
  std::vector<Column> columns;
  const auto add = [&](std::string title, bool left, auto cell) {
    Column& column = columns.emplace_back(Column{std::move(title), "", left, {}});
    for (const KnobEffect& effect : sensitivity.effects) column.cells.push_back(cell(effect));
  };
  add("input", true, [](const KnobEffect& effect) { return std::string(described(effect.knob)); });
  add("1 % longer", false,
      [](const KnobEffect& effect) { return fmt::format("{:+.2f} %", effect.elasticity); });
  add("known within", false,
      [](const KnobEffect& effect) { return fmt::format("{:.1f} %", effect.deviation * 100); });
  add(fmt::format("the step then, {}", unit.name), false, [&](const KnobEffect& effect) {
    return fmt::format("{:.3f} to {:.3f}", effect.faster / unit.time, effect.slower / unit.time);
  });
  add("change", false, [&](const KnobEffect& effect) {
    return fmt::format("{} to {}", signed_percent(effect.faster / sensitivity.step - 1),
                       signed_percent(effect.slower / sensitivity.step - 1));
  });
  std::string text =
      fmt::format(
          "What the step hangs on (its schedule as it is, links without contention: {:.3f} {})\n",
          sensitivity.step / unit.time, unit.name) +
      table_text(columns, sensitivity.effects.size());
  const double low = sensitivity.p10 / sensitivity.step,
               middle = sensitivity.p50 / sensitivity.step,
               high = sensitivity.p90 / sensitivity.step;
  const auto band = [&](const char* name, auto value) {
    return fmt::format("  {:<10} p10 {}, p50 {}, p90 {}\n", name, value(low), value(middle),
                       value(high));
  };
  text += fmt::format("With all of them drawn together, {} times ({} to {}):\n",
                      sensitivity.samples, signed_percent(low - 1), signed_percent(high - 1));
  text += band("step", [&](double share) {
    return fmt::format("{:.3f} {}", summary.step * share / unit.time, unit.name);
  });
  if (summary.gpu_hours > 0) {
    text += band("GPU-hours", [&](double share) { return grouped(summary.gpu_hours * share); });
    text += band("cost", [&](double share) { return money(summary.cost * share); });
    text += "  1 % on the price of a GPU-hour is 1 % on the cost.\n";
  }
  return text + "  Known within: " + uncertainty.basis +
         ".\n  The busiest experts are taken to have at least the mean's rows. What is not "
         "modelled "
         "(README, \"What it does not model yet\")\n  is not in the band.\n";
}

}  // namespace orrery
