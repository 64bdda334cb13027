#include "reports/why_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "planner/step_parts.hpp"
#include "reports/number.hpp"
#include "reports/plans_table.hpp"
#include "reports/table.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

std::string point_name(const std::string& reason, const RejectedPoint& point) {
  const Layout& layout = point.layout;
  std::string name = describe(layout);
  if (reason == kExceedsMemory) {
    name += fmt::format(" precision={} recompute={} optimizer={} ema={}",
                        to_string(layout.precision), to_string(layout.recompute),
                        to_string(layout.optimizer), to_string(layout.ema));
  }
  return name + (point.schedule.empty() ? "" : " schedule=" + point.schedule);
}

std::string rejection_text(const SearchResult& result, const std::string& reason) {
  const RejectedPoint& point = result.examples.at(reason);
  return fmt::format("{} ({} points), {} {}:\n  {}\n", reason,
                     grouped(static_cast<double>(result.rejected.at(reason))),
                     reason == kExceedsMemory ? "least with" : "such as", point_name(reason, point),
                     point.arithmetic);
}

StepParts parts_of(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  return step_parts(program, timeline,
                    summarise(plan, device.device(), program, timeline, device.costs()));
}

// Part by part, the largest difference first.
std::string difference_text(const Plan& own, const Plan& best, const DeviceModel& device) {
  const StepParts ours = parts_of(own, device), theirs = parts_of(best, device);
  struct Line {
    std::string name;
    Seconds own, best;
    Seconds more() const { return own - best; }
  };
  std::vector<Line> lines = {{"computation", ours.compute, theirs.compute},
                             {"optimizer", ours.update, theirs.update},
                             {"bubble", ours.bubble, theirs.bubble},
                             {"waiting inside cells", ours.wait, theirs.wait}};
  std::map<Component, Line> exposed;
  for (const auto& [component, time] : ours.exposed) exposed[component].own = time;
  for (const auto& [component, time] : theirs.exposed) exposed[component].best = time;
  for (auto& [component, line] : exposed) {
    line.name = "exposed " + std::string(to_string(component));
    lines.push_back(line);
  }
  std::stable_sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) {
    return std::abs(a.more().value()) > std::abs(b.more().value());
  });
  lines.push_back({"the step", ours.total(), theirs.total()});
  const TimeUnit unit = time_unit(lines.back().own);
  std::vector<Column> columns = {
      {fmt::format("where the difference lies, {}", unit.name), "", true, {}},
      {"this plan", "", false, {}},
      {"the best", "", false, {}},
      {"more", "", false, {}}};
  for (const Line& line : lines) {
    columns[0].cells.push_back(line.name);
    columns[1].cells.push_back(fmt::format("{:.3f}", line.own / unit.time));
    columns[2].cells.push_back(fmt::format("{:.3f}", line.best / unit.time));
    columns[3].cells.push_back(fmt::format("{:+.3f}", line.more() / unit.time));
  }
  return table_text(columns, lines.size()) +
         "  means over the pipeline ranks, without contention between transfers\n";
}

}  // namespace

std::string rejections_text(const SearchResult& result) {
  std::string text;
  for (const std::string& reason : in_order(result.rejected)) {
    if (result.examples.contains(reason)) text += rejection_text(result, reason);
  }
  return text;
}

std::string why_text(const SearchRequest& request, const SearchResult& asked,
                     const SearchResult& all, const DeviceModel& device) {
  if (asked.plans.empty()) return rejections_text(asked);
  const ScoredPlan& own = asked.plans.front();
  const std::string name = describe(own.plan.layout) + " " + own.schedule;
  std::string text;
  if (all.plans.empty()) {
    text =
        fmt::format("{}: feasible, {:.3f} s a step; the search itself found nothing to compare\n",
                    name, own.step.value()) +
        plans_table(request, {own}, PlansOf::kOneSize);
  } else if (own.plan == all.plans.front().plan) {
    text = fmt::format("{}: this is the best plan, {:.3f} s a step\n", name, own.step.value());
  } else {
    const ScoredPlan& best = all.plans.front();
    const double behind = own.step / best.step - 1;
    text = fmt::format("{}: feasible, {:.3f} s a step, {} {} {} {} ({:.3f} s)\n", name,
                       own.step.value(), signed_percent(behind), behind < 0 ? "ahead of" : "behind",
                       describe(best.plan.layout), best.schedule, best.step.value()) +
           plans_table(request, {best, own}, PlansOf::kOneSize);
    if (device.host() == nullptr) text += difference_text(own.plan, best.plan, device);
  }
  if (asked.rejected.contains(kExceedsMemory))
    text += "Of the other points asked about: " + rejection_text(asked, kExceedsMemory);
  return text;
}

}  // namespace orrery
