#include "reports/plan_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/stage_map.hpp"
#include "planner/plan_schedule_search.hpp"
#include "planner/step_parts.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

enum class PlansOf {
  kOneSize,
  kSizes,
  kFront,
};

std::string plans_table(const SearchRequest& request, const std::vector<ScoredPlan>& plans,
                        PlansOf kind) {
  const bool run = request.training.tokens > 0;
  const bool front = kind == PlansOf::kFront;
  Bytes most;
  Seconds longest;
  for (const ScoredPlan& plan : plans) {
    most = std::max(most, plan.memory.total());
    longest = std::max(longest, plan.step);
  }
  const MemoryUnit unit = memory_unit(most);
  const TimeUnit time = time_unit(longest);
  std::vector<Column> columns;
  const auto add = [&](std::string title, std::string absent, bool left, auto cell) {
    Column& column = columns.emplace_back(Column{std::move(title), std::move(absent), left, {}});
    for (const ScoredPlan& plan : plans) column.cells.push_back(cell(plan));
  };
  const auto number = [&](const char* title, const char* absent, int Layout::*of) {
    add(title, absent, false,
        [&](const ScoredPlan& plan) { return std::to_string(plan.plan.layout.*of); });
  };
  int position = 0;
  add("#", "", false, [&](const ScoredPlan&) { return std::to_string(++position); });
  if (kind != PlansOf::kOneSize) {
    add("GPUs", "", false, [](const ScoredPlan& plan) {
      return grouped(static_cast<double>(plan.plan.cluster.gpus()));
    });
  }
  add(fmt::format("step, {}", time.name), "", false,
      [&](const ScoredPlan& plan) { return fmt::format("{:.3f}", plan.step / time.time); });
  add("GPU-hours", "-", false,
      [&](const ScoredPlan& plan) { return run ? grouped(plan.gpu_hours) : "-"; });
  if (kind == PlansOf::kOneSize) {
    add("behind", "", false, [&](const ScoredPlan& plan) {
      return &plan == &plans.front() ? "-" : signed_percent(plan.step / plans.front().step - 1);
    });
  } else {
    add("days", "-", false, [&](const ScoredPlan& plan) {
      return run ? fmt::format("{:.1f}", plan.gpu_hours / plan.plan.cluster.gpus() / 24) : "-";
    });
  }
  add(fmt::format("{}, {}", front ? "free" : "memory", unit.name), "", false,
      [&](const ScoredPlan& plan) {
        return fmt::format("{:.1f}",
                           (front ? plan.memory.free() : plan.memory.total()) / unit.bytes);
      });
  add("fidelity", "", true, [](const ScoredPlan& plan) { return plan.fidelity; });
  number("pp", "", &Layout::pp);
  number("tp", "1", &Layout::tp);
  number("cp", "1", &Layout::cp);
  number("ep", request.model.moe.experts > 0 ? "" : "1", &Layout::ep);
  number("etp", "1", &Layout::etp);
  number("dp", "", &Layout::dp);
  add("schedule", "", true, [](const ScoredPlan& plan) {
    const bool searched = plan.searched != nullptr && plan.searched->better();
    return plan.schedule + (searched ? ", searched" : "");
  });
  number("vpp", "1", &Layout::vpp);
  number("mbs", "1", &Layout::micro_batch);
  number("zero", "1", &Layout::zero_stage);
  add("optimizer", "gpu", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.optimizer)); });
  add("EMA", "cpu", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.ema)); });
  add("recompute", "", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.recompute)); });
  add("precision", "", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.precision)); });
  if (request.cluster.fabric.kind != FabricKind::kHost) number("SMs", "", &Layout::comm_sms);
  add("stages", "", true,
      [](const ScoredPlan& plan) { return format_stage_map(plan.plan.layout.stage_map); });
  const bool host = request.cluster.fabric.kind == FabricKind::kHost;
  return table_text(columns, plans.size()) +
         fmt::format("  {} of the fullest {}, of {:.1f} {}\n\n",
                     front ? "free is the memory" : "memory is that", host ? "rank" : "GPU",
                     plans.front().memory.capacity / unit.bytes, unit.name);
}

template <class List, class Format>
std::string listed(const List& list, Format format) {
  std::vector<std::string> words;
  for (const auto& each : list) words.push_back(format(each));
  return fmt::format("{}", fmt::join(words, ","));
}

// "pp 1,2,4 x tp 1,2": the space as it was searched.
std::string space_text(const LayoutSpace& space) {
  const auto numbers = [](const std::vector<int>& list) {
    return listed(list, [](int value) { return std::to_string(value); });
  };
  const auto names = [](const auto& list) {
    return listed(list, [](const auto& value) { return std::string(to_string(value)); });
  };
  return fmt::format(
      "pp {} x tp {} x cp {} x ep {} x etp {} x mbs {}\n  x precision {} x recompute {} x vpp {} x "
      "SMs {}\n  x zero {} x optimizer {} x EMA {}\n  x schedule {}\n",
      numbers(space.pp), numbers(space.tp), numbers(space.cp), numbers(space.ep),
      numbers(space.etp), numbers(space.micro_batch), names(space.precision),
      names(space.recompute), numbers(space.vpp), numbers(space.comm_sms), numbers(space.zero),
      names(space.optimizer), names(space.ema), fmt::join(space.schedule, ","));
}

// "743,178,240 points = ...": what became of the space.
std::string counts_text(const SearchResult& result) {
  std::int64_t rejected = 0;
  for (const auto& [reason, count] : result.rejected) rejected += count;
  const auto count = [](std::int64_t number) { return grouped(static_cast<double>(number)); };
  return fmt::format("{} points = {} rejected + {} pruned + {} scored; {} simulated{}\n",
                     count(result.space), count(rejected), count(result.pruned),
                     count(result.scored), result.simulated,
                     result.truncated ? "; cut short by --effort" : "");
}

const char* nothing_found(bool truncated) {
  return truncated ? "No layout was found within --effort.\n\n" : "No layout is feasible.\n\n";
}

// What was searched on each number of GPUs, above and below the plans.
std::string sizes_heading(const std::vector<SizeSearched>& sizes) {
  const SearchRequest& request = sizes.front().request;
  std::vector<std::string> numbers;
  for (const SizeSearched& size : sizes)
    numbers.push_back(grouped(static_cast<double>(size.request.cluster.gpus())));
  return fmt::format("{} on {} GPUs of {}: {} sequences of {} tokens a step\n\n",
                     request.model.name, fmt::join(numbers, ", "), request.cluster.name,
                     grouped(request.training.global_batch), request.training.sequence);
}

std::string sizes_counts(const std::vector<SizeSearched>& sizes) {
  std::string text;
  for (const SizeSearched& size : sizes)
    text += fmt::format("{:>6} GPUs: {}", grouped(static_cast<double>(size.request.cluster.gpus())),
                        counts_text(size.result));
  return text;
}

constexpr const char* kOneSize =
    "Ask for one number with --gpus N: its best plans, and the reasons of what was rejected.\n";

bool any_truncated(const std::vector<SizeSearched>& sizes) {
  return std::any_of(sizes.begin(), sizes.end(),
                     [](const SizeSearched& size) { return size.result.truncated; });
}

std::string point_name(const RejectedPoint& point) {
  Layout layout = point.layout;
  return describe(layout) + (point.schedule.empty() ? "" : " " + point.schedule);
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

std::string plan_search_text(const SearchRequest& request, const SearchResult& result) {
  const bool host = request.cluster.fabric.kind == FabricKind::kHost;
  std::string text =
      fmt::format("{} on {} ({} {}): {} sequences of {} tokens a step\n\n", request.model.name,
                  request.cluster.name, request.cluster.gpus(), host ? "ranks" : "GPUs",
                  grouped(request.training.global_batch), request.training.sequence);
  if (result.plans.empty()) {
    text += nothing_found(result.truncated);
  } else {
    text += plans_table(request, result.plans, PlansOf::kOneSize);
  }
  const auto count = [](std::int64_t number) { return grouped(static_cast<double>(number)); };
  text += counts_text(result) + "  " + space_text(request.space);
  if (!result.rejected.empty()) text += "Rejected:\n";
  std::size_t width = 0;
  for (const auto& [reason, points] : result.rejected)
    width = std::max(width, count(points).size());
  for (const auto& [reason, points] : result.rejected)
    text += fmt::format("  {:>{}}  {}{}\n", count(points), width, reason,
                        reason == kExceedsMemory && result.pruned > 0
                            ? " (of the points that were not pruned)"
                            : "");
  text += "Restrict the space with --fix, such as pp=16,ep=64; ask why not with --why pp=P,ep=E.\n";
  return text;
}

std::string size_search_text(const std::vector<SizeSearched>& sizes,
                             const std::vector<ScoredPlan>& plans) {
  std::string text = sizes_heading(sizes);
  text += plans.empty() ? nothing_found(any_truncated(sizes))
                        : plans_table(sizes.front().request, plans, PlansOf::kSizes);
  return text + sizes_counts(sizes) + kOneSize;
}

std::string front_text(const std::vector<SizeSearched>& sizes,
                       const std::vector<ScoredPlan>& front) {
  std::string text = sizes_heading(sizes);
  if (front.empty())
    return text + nothing_found(any_truncated(sizes)) + sizes_counts(sizes) + kOneSize;
  const FrontShape& shape = *sizes.front().request.front;
  return text +
         "Pareto front: no other plan equals or beats one of these in step time, GPU-hours, free "
         "memory and GPUs.\n\n" +
         plans_table(sizes.front().request, front, PlansOf::kFront) +
         fmt::format(
             "On each number of GPUs: the fastest of the plans that leave 0, {:.0f}, {:.0f}, ... "
             "GiB "
             "free, up to {:.1f} times the fastest of all.\n",
             in_gibibytes(shape.headroom), 2 * in_gibibytes(shape.headroom), shape.slowest) +
         sizes_counts(sizes) + kOneSize;
}

std::string why_text(const SearchResult& asked, const SearchResult& all,
                     const DeviceModel& device) {
  std::string text;
  if (asked.plans.empty()) {
    for (const auto& [reason, point] : asked.examples) {
      text += fmt::format("{} ({} points), such as {}:\n  {}\n", reason,
                          grouped(static_cast<double>(asked.rejected.at(reason))),
                          point_name(point), point.arithmetic);
    }
    return text;
  }
  if (all.plans.empty()) return text;
  const ScoredPlan& best = all.plans.front();
  const ScoredPlan& own = asked.plans.front();
  const std::string name = describe(own.plan.layout) + " " + own.schedule;
  if (own.plan == best.plan)
    return fmt::format("{}: this is the best plan, {:.3f} s a step\n", name, own.step.value());
  const double behind = own.step / best.step - 1;
  text += fmt::format("{}: feasible, {:.3f} s a step, {} {} {} {} ({:.3f} s)\n", name,
                      own.step.value(), signed_percent(behind), behind < 0 ? "ahead of" : "behind",
                      describe(best.plan.layout), best.schedule, best.step.value());
  if (device.host() == nullptr) text += difference_text(own.plan, best.plan, device);
  return text;
}

std::string plan_schedules_text(const std::vector<ScoredPlan>& plans) {
  std::string text;
  for (std::size_t at = 0; at < plans.size(); ++at) {
    if (plans[at].searched == nullptr) continue;
    const PlanScheduleSearch& searched = *plans[at].searched;
    const ScheduleSearchResult& search = searched.search;
    const TimeUnit unit = time_unit(searched.before);
    const auto time = [&](double seconds) {
      return fmt::format("{:.3f} {}", Seconds{seconds} / unit.time, unit.name);
    };
    text += fmt::format(
        "\nSchedule of plan {}, searched for its own stage times and memory ({} orders timed):\n"
        "  cells      {} -> {}, lower bound {} ({}, rank {}): {} of the gap closed\n",
        at + 1, grouped(static_cast<double>(search.evaluations)), time(searched.cells_before),
        time(search.makespan), time(search.bound.makespan), to_string(search.bound.binding),
        search.bound.rank,
        percent((searched.cells_before - search.makespan) /
                std::max(1e-300, searched.cells_before - search.bound.makespan)));
    text += fmt::format(
        "  the step   {} -> {} ({}) with contention{}\n", time(searched.before.value()),
        time(searched.after.value()), signed_percent(searched.after / searched.before - 1),
        searched.better() ? ""
        : searched.fits
            ? fmt::format(": {} stays", plans[at].schedule)
            : fmt::format(": none found fits into memory, {} stays", plans[at].schedule));
    const Bytes before = searched.memory_before.total(), after = searched.memory_after.total();
    const MemoryUnit memory = memory_unit(std::max(before, after));
    text += fmt::format("  memory     {:.1f} -> {:.1f} {} of the fullest rank, of {:.1f} {}\n",
                        before / memory.bytes, after / memory.bytes, memory.name,
                        searched.memory_before.capacity / memory.bytes, memory.name);
  }
  return text;
}

}  // namespace orrery
