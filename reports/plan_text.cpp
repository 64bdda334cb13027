#include "reports/plan_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/stage_map.hpp"
#include "reports/number.hpp"

namespace orrery {
namespace {

std::string name(const Candidate& candidate) {
  return fmt::format("pp={} ep={} {}", candidate.pp, candidate.ep, candidate.schedule);
}

}  // namespace

std::string plan_search_text(const SearchRequest& request, const SearchResult& result) {
  const bool run = request.training.tokens > 0;
  const bool host = request.cluster.fabric.kind == FabricKind::kHost;
  std::string text =
      fmt::format("{} on {} ({} {}): {} sequences of {} tokens a step\n\n", request.model.name,
                  request.cluster.name, request.cluster.gpus(), host ? "ranks" : "GPUs",
                  grouped(request.training.global_batch), request.training.sequence);
  if (result.plans.empty()) {
    text += "No layout is feasible.\n\n";
  } else {
    Bytes most;
    Seconds longest;
    for (const ScoredPlan& plan : result.plans) {
      most = std::max(most, plan.memory.total());
      longest = std::max(longest, plan.step);
    }
    const MemoryUnit unit = memory_unit(most);
    const TimeUnit time = time_unit(longest);
    text += fmt::format("  {:>3}{:>5}{:>5}{:>6}  {:<10}{:>9}{:>12}{:>9}{:>12}  {:<9} {}\n", "#",
                        "pp", "ep", "dp", "schedule", fmt::format("step, {}", time.name),
                        run ? "GPU-hours" : "", "behind", fmt::format("memory, {}", unit.name),
                        "fidelity", "stages");
    int position = 0;
    for (const ScoredPlan& plan : result.plans) {
      ++position;
      const Layout& layout = plan.plan.layout;
      text += fmt::format(
          "  {:>3}{:>5}{:>5}{:>6}  {:<10}{:>9.3f}{:>12}{:>9}{:>12.1f}  {:<9} {}\n", position,
          layout.pp, layout.ep, layout.dp, plan.candidate.schedule, plan.step / time.time,
          run ? grouped(plan.gpu_hours) : "",
          position == 1 ? "-" : signed_percent(plan.step / result.plans.front().step - 1),
          plan.memory.total() / unit.bytes, plan.fidelity, format_stage_map(layout.stage_map));
    }
    text +=
        fmt::format("  memory is that of the fullest {}, of {:.1f} {}\n\n", host ? "rank" : "GPU",
                    result.plans.front().memory.capacity / unit.bytes, unit.name);
  }
  int rejected = 0;
  for (const auto& [reason, count] : result.rejected) rejected += count;
  text += fmt::format(
      "{} points in the space (pp x ep x schedule) = {} rejected + {} scored; the best {} "
      "simulated\n",
      result.space, rejected, result.scored, result.simulated);
  for (const auto& [reason, count] : result.rejected)
    text += fmt::format("  {:>4}  {}\n", count, reason);
  const Layout& base = request.base;
  text +=
      fmt::format("Held fixed: mbs={}, recompute={}, precision={}, tp={}, cp={}", base.micro_batch,
                  to_string(base.recompute), to_string(base.precision), base.tp, base.cp);
  if (!host) text += fmt::format(", comm-sms={}", base.comm_sms);
  text += "; others with --fix.\n";
  text += "Ask for the arithmetic of one of them with --why pp=P,ep=E.\n";
  return text;
}

std::string why_text(const SearchResult& asked, const SearchResult& all) {
  std::string text;
  for (const Rejection& out : asked.rejections) {
    text += fmt::format("{}: {}\n  {}\n", name(out.candidate), out.reason, out.arithmetic);
  }
  for (const ScoredPlan& plan : asked.plans) {
    if (all.plans.empty()) break;
    const ScoredPlan& best = all.plans.front();
    const std::string asked_name = describe(plan.plan.layout) + " " + plan.candidate.schedule;
    if (plan.candidate == best.candidate && plan.plan.layout == best.plan.layout) {
      text += fmt::format("{}: this is the best plan, {:.3f} s a step\n", asked_name,
                          plan.step.value());
      continue;
    }
    const double behind = plan.step / best.step - 1;
    text +=
        fmt::format("{}: feasible, {:.3f} s a step, {} {} {} {} ({:.3f} s)\n", asked_name,
                    plan.step.value(), signed_percent(behind), behind < 0 ? "ahead of" : "behind",
                    describe(best.plan.layout), best.candidate.schedule, best.step.value());
  }
  return text;
}

std::string plan_schedule_text(const PlanScheduleSearch& searched, const std::string& family) {
  const ScheduleSearchResult& search = searched.search;
  const TimeUnit unit = time_unit(searched.before);
  const auto time = [&](double seconds) {
    return fmt::format("{:.3f} {}", Seconds{seconds} / unit.time, unit.name);
  };
  std::string text = fmt::format(
      "\nSchedule of the best plan, searched for its own stage times and memory ({} orders "
      "timed):\n"
      "  cells      {} -> {}, lower bound {} ({}, rank {}): {} of the gap closed\n",
      grouped(static_cast<double>(search.evaluations)), time(searched.cells_before),
      time(search.makespan), time(search.bound.makespan), to_string(search.bound.binding),
      search.bound.rank,
      percent((searched.cells_before - search.makespan) /
              std::max(1e-300, searched.cells_before - search.bound.makespan)));
  text += fmt::format(
      "  the step   {} -> {} ({}) with contention{}\n", time(searched.before.value()),
      time(searched.after.value()), signed_percent(searched.after / searched.before - 1),
      searched.better() ? ""
      : searched.fits   ? fmt::format(": {} stays", family)
                        : fmt::format(": none found fits into memory, {} stays", family));
  const MemoryUnit memory = memory_unit(std::max(searched.memory_before, searched.memory_after));
  text += fmt::format("  memory     {:.1f} -> {:.1f} {} of the fullest rank, of {:.1f} {}\n",
                      searched.memory_before / memory.bytes, searched.memory_after / memory.bytes,
                      memory.name, searched.capacity / memory.bytes, memory.name);
  return text;
}

}  // namespace orrery
