#include "reports/network_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "planner/step_summary.hpp"
#include "reports/comparison.hpp"
#include "reports/number.hpp"
#include "sim/cluster_step.hpp"
#include "workload/lower.hpp"
#include "workload/placement.hpp"

namespace orrery {
namespace {

constexpr const char* kCommand = "orrery validate --suite network -o reports/network.md";

std::string exchanges_section(const std::vector<ExchangeSeries>& exchanges) {
  std::string text =
      "## Expert-parallel kernels\n\nTwo rates set each series: what NVLink reached among 16 GPUs "
      "and what the NICs reached among 64. Every other size is predicted, from where the gate "
      "sends "
      "a token's copies.\n\n| series | kernel | GPUs | published, GB/s | predicted, GB/s | error | "
      "held up by |\n|---|---|---:|---:|---:|---:|---|\n";
  double worst = 0;
  for (const ExchangeSeries& series : exchanges) {
    for (const ExchangePrediction& each : predict_exchanges(series)) {
      text += fmt::format("| {} | {} | {} | {:.2f} | {:.2f} | {} | {} |\n", series.name,
                          each.dispatch ? "dispatch" : "combine", each.group,
                          in_gigabytes_per_second(each.published),
                          in_gigabytes_per_second(each.predicted),
                          each.calibrated ? "sets a rate" : signed_percent(each.error()),
                          each.nic_bound ? "NIC" : "NVLink");
      if (!each.calibrated) worst = std::max(worst, std::abs(each.error()));
    }
  }
  text += fmt::format(
      "\nThe largest error is {}. The first kernels were slower among 32 GPUs than among 64, where "
      "more of the copies cross the NICs; the improved ones are not, on the same links, which "
      "points "
      "to the kernels. Among 128 GPUs the published rate falls faster than the share of copies "
      "that "
      "cross the NICs grows; shorter messages to twice as many peers are the likely reason, and "
      "the "
      "model has no rate that depends on the length of a message.\n\n",
      percent(worst));
  return text;
}

std::string power_of_two(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit < 3; ++unit) bytes /= 1024;
  return fmt::format("{:.0f} {}", bytes, units[unit]);
}

// By size of the vector, from one choice to the next: "tree, LL below 64 KiB; ring, Simple above".
std::string choices_by_size(const CostSource& costs, Pattern pattern, int gpus, int in_node) {
  std::string text, last;
  for (double bytes = 1024; bytes <= 16.0 * 1024 * 1024 * 1024; bytes *= 2) {
    Work work;
    work.wire = collective_wire(pattern, Bytes{bytes}, gpus, in_node);
    const std::string now = costs.method(work);
    if (now == last) continue;
    if (!last.empty()) text += fmt::format("{} below {}; ", last, power_of_two(bytes));
    last = now;
  }
  return text + last + " above";
}

std::string collectives_section(const std::vector<CollectiveSeries>& collectives,
                                const CostSource& costs, const Cluster& cluster) {
  std::string text =
      "## Collectives\n\nWhich algorithm and protocol NCCL takes, and how long a collective lasts "
      "alone, follow NCCL's own cost model (sim/nccl_model.hpp) from the bandwidth of a ring.\n\n"
      "| series | GPUs | bytes | published, us | predicted, us | error | method |\n"
      "|---|---:|---:|---:|---:|---:|---|\n";
  for (const CollectiveSeries& series : collectives) {
    for (const CollectiveSeries::Row& row : series.rows) {
      const NcclChoice choice = predict_collective(series, row);
      const std::string method = describe(choice);
      text += fmt::format(
          "| {} | {} | {:.0f} | {:.2f} | {:.2f} | {} | {} |\n", series.name, series.group.gpus,
          row.payload.value(), in_microseconds(row.time), in_microseconds(choice.time(row.payload)),
          signed_percent(choice.time(row.payload) / row.time - 1),
          row.method.empty() || row.method == method ? method
                                                     : method + " in the place of " + row.method);
    }
  }
  text += "\n";
  for (const CollectiveSeries& series : collectives)
    text += fmt::format("- {}: {}.\n", series.name, series.source);
  text += fmt::format(
      "\nThe estimates of the second series are NCCL's own, whose latencies do not grow with the "
      "size "
      "of small messages as the measured ones do. Chosen on {}, by size of the vector:\n\n| "
      "collective | GPUs | GPUs a node | "
      "choice |\n|---|---:|---:|---|\n",
      cluster.name);
  for (const Pattern pattern : {Pattern::kAllReduce, Pattern::kReduceScatter}) {
    for (const auto& [gpus, in_node] : {std::pair{8, 8}, {64, 8}, {2048, 8}, {16, 1}}) {
      text +=
          fmt::format("| {} | {} | {} | {} |\n",
                      pattern == Pattern::kAllReduce ? "all-reduce" : "reduce-scatter, all-gather",
                      grouped(gpus), in_node, choices_by_size(costs, pattern, gpus, in_node));
    }
  }
  return text + "\n";
}

StepSummary summary_of(const Plan& plan, const Program& program, const DeviceModel& model,
                       const Skew& skew) {
  const ClusterStep step = run_cluster(plan, program, model.costs(), Grouping::kFolded, {}, skew);
  return summarise(plan, model.device(), program, step.timeline, model.costs());
}

std::string step_section(const PublishedRun& published, const Plan& plan,
                         const DeviceModel& model) {
  const Program program = lower(plan);
  const std::vector<std::pair<std::string, Skew>> cases = {
      {"even", {}},
      {"chance", {SkewKind::kIid, 0, 0, 1}},
      {"4096 tokens", {SkewKind::kIid, 0, 4096, 1}},
      {"1024 tokens", {SkewKind::kIid, 0, 1024, 1}}};
  std::vector<std::vector<ComparedRow>> columns;
  for (const auto& [name, skew] : cases)
    columns.push_back(compare_step(summary_of(plan, program, model, skew), published.step));
  std::string text =
      "## DeepSeek-V3's step with uneven experts\n\nEvery row of the published step (ISCA 2025, "
      "arXiv "
      "2505.09343, table 4), mean over pipeline ranks, with P2P transfers and contention. Expert "
      "loads: even; chance alone, every token of a group routed independently; as if 4096 or 1024 "
      "tokens of a group were. 4096 is how the public training profile was made (all its ranks "
      "draw "
      "the same noise); its rows spread from 28,416 to 36,864, a little more than 4096 tokens "
      "give, "
      "and within what 1024 give. No constant moves.\n\n| | published |";
  for (const auto& [name, skew] : cases) text += fmt::format(" {} | error |", name);
  text += "\n|---|---:|";
  for (std::size_t at = 0; at < cases.size(); ++at) text += "---:|---:|";
  text += "\n";
  for (std::size_t row = 0; row < columns[0].size(); ++row) {
    const ComparedRow& first = columns[0][row];
    text += fmt::format("| {}, {} | {:.{}f} |", first.name, first.unit, first.published,
                        first.decimals);
    for (const auto& column : columns)
      text += fmt::format(" {:.{}f} | {} |", column[row].predicted, column[row].decimals,
                          signed_percent(column[row].error()));
    text += "\n";
  }
  return text +
         "\nStill missing: what DeepSeek's own loads were (the bias keeps them even over batches, "
         "topics of sequences do not); gradient reduction beside the last cells; what the host "
         "costs "
         "between kernels; and its stage map (reports/deepseek-v3-step.md).\n\n";
}

std::string fabrics_section(Plan plan, const DeviceModel& model) {
  std::string text =
      "## Two fabrics\n\nThe same step on eight planes (MPFT) and on one multi-rail fat tree "
      "(MRFT), "
      "even experts. Published: 19.926 and 19.946 s, a difference within noise.\n\n| fabric | "
      "predicted, s |\n|---|---:|\n";
  for (const char* name : {"h800-2048", "h800-2048-mrft"}) {
    plan.cluster = read_cluster(resolve(name, CatalogKind::kCluster));
    const Program program = lower(plan);
    text += fmt::format("| {} | {:.3f} |\n", name,
                        run_folded(plan, program, model.costs()).step.value());
  }
  return text +
         "\nBoth have full bisection, so neither holds a flow up, and distances are alike.\n";
}

}  // namespace

std::string network_report(const std::vector<ExchangeSeries>& exchanges,
                           const std::vector<CollectiveSeries>& collectives,
                           const PublishedRun& published, const Plan& plan,
                           const DeviceModel& model) {
  return fmt::format(
             "# The network, next to published figures\n\nWritten by `{}`; `orrery validate "
             "--suite network` fails when the errors change.\n\n",
             kCommand) +
         exchanges_section(exchanges) +
         collectives_section(collectives, model.costs(), plan.cluster) +
         step_section(published, plan, model) + fabrics_section(plan, model);
}

}  // namespace orrery
