#include "reports/plan_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/plan_schedule_search.hpp"
#include "reports/number.hpp"
#include "reports/plans_table.hpp"
#include "reports/why_text.hpp"

namespace orrery {
namespace {

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
  std::string text = fmt::format(
      "{} points = {} rejected + {} pruned + {} scored; {} simulated{}\n", count(result.space),
      count(rejected), count(result.pruned), count(result.scored), result.simulated,
      result.truncated ? "; cut short by --effort, the rest counts as pruned" : "");
  if (result.simulated < result.finalists) {
    text += fmt::format(
        "  too large to be simulated with contention (fidelity analytic): {} of the first {}\n",
        result.finalists - result.simulated, result.finalists);
  }
  return text;
}

const char* nothing_found(bool truncated) {
  return truncated ? "No layout was found within --effort; there may be some beyond.\n\n" : "No layout is feasible.\n\n";
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
  if (result.plans.empty()) return text + rejections_text(result);
  if (!result.rejected.empty()) text += "Rejected:\n";
  std::size_t width = 0;
  for (const auto& [reason, points] : result.rejected)
    width = std::max(width, count(points).size());
  for (const std::string& reason : in_order(result.rejected))
    text += fmt::format("  {:>{}}  {}{}\n", count(result.rejected.at(reason)), width, reason,
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
