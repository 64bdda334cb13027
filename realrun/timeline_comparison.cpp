#include "realrun/timeline_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.hpp"
#include "sim/host_cost.hpp"
#include "sim/host_engine.hpp"
#include "workload/lower.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

std::vector<Seconds> compute_time(const Program& program, const Timeline& timeline) {
  std::vector<Seconds> busy(program.streams.size());
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream == Stream::kCompute)
      busy[instruction.rank.index()] += timeline.at(instruction.id).length();
  }
  return busy;
}

// CPU time by instruction; of a transfer the sender's is counted with the receiver's.
std::vector<Seconds> cost_of(const Program& program, const RunRecord& run) {
  std::vector<Seconds> cost = run.work;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream != Stream::kRecvNext && instruction.stream != Stream::kRecvPrev)
      continue;
    Seconds& sender = cost[instruction.partner.index()];
    cost[instruction.id.index()] += sender;
    sender = Seconds{};
  }
  return cost;
}

// By the difference in whole nanoseconds: what rounding makes of none is no order.
template <class Entry>
void largest_first(std::vector<Entry>& list) {
  const auto difference = [](const Entry& entry) {
    return std::llround(1e9 * std::abs((entry.predicted - entry.measured).value()));
  };
  std::stable_sort(list.begin(), list.end(),
                   [&](const Entry& a, const Entry& b) { return difference(a) > difference(b); });
}

std::vector<KindComparison> compare_kinds(const Program& program, const TimelineFile& predicted,
                                          const TimelineFile& measured, bool by_cpu_time) {
  const auto times = [&](const TimelineFile& file) {
    if (by_cpu_time) return cost_of(program, *file.run);
    std::vector<Seconds> lengths;
    for (const Span& span : file.timeline.spans) lengths.push_back(span.length());
    return lengths;
  };
  const std::vector<Seconds> predicted_times = times(predicted), measured_times = times(measured);
  std::map<std::string, KindComparison> kinds;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev)
      continue;
    const Work& work = program.work(instruction);
    KindComparison& kind = kinds[work.name];
    kind.name = work.name;
    kind.computes = work.is_compute();
    ++kind.instructions;
    kind.predicted += predicted_times[instruction.id.index()];
    kind.measured += measured_times[instruction.id.index()];
  }
  std::vector<KindComparison> list;
  for (auto& [name, kind] : kinds) list.push_back(std::move(kind));
  largest_first(list);
  return list;
}

std::vector<PairComparison> compare_pairs(const Program& program, const Plan& plan,
                                          const Timeline& predicted, const Timeline& measured) {
  struct Extents {
    Span predicted, measured;
  };
  std::map<std::pair<Rank, std::int32_t>, Extents> cells;
  const auto extend = [](Span& span, const Span& more, bool first) {
    span.start = first ? more.start : std::min(span.start, more.start);
    span.end = first ? more.end : std::max(span.end, more.end);
  };
  for (const Instruction& instruction : program.instructions) {
    const bool on_device =
        instruction.stream == Stream::kCompute || instruction.stream == Stream::kComm;
    if (!on_device || instruction.cell < 0) continue;
    const auto cell = static_cast<std::size_t>(instruction.cell);
    if (plan.schedule.ranks[instruction.rank.index()][cell].kind != CellKind::kFB) continue;
    const auto [entry, first] = cells.try_emplace({instruction.rank, instruction.cell});
    extend(entry->second.predicted, predicted.at(instruction.id), first);
    extend(entry->second.measured, measured.at(instruction.id), first);
  }
  std::vector<PairComparison> pairs;
  for (const auto& [place, extents] : cells) {
    pairs.push_back(
        {place.first, place.second, extents.predicted.length(), extents.measured.length()});
  }
  return pairs;
}

PathComparison summarise(const Program& program, std::vector<CriticalStep> steps) {
  PathComparison path;
  std::set<Rank> ranks;
  for (const CriticalStep& step : steps) {
    const Instruction& instruction = program.instructions[step.instruction.index()];
    ranks.insert(instruction.rank);
    path.waiting += step.waited;
    (program.work(instruction).is_compute() ? path.compute : path.communication) += step.ran;
  }
  path.instructions = static_cast<int>(steps.size());
  path.ranks = static_cast<int>(ranks.size());
  path.steps = std::move(steps);
  return path;
}

double in_common(const PathComparison& predicted, const PathComparison& measured) {
  std::set<InstructionId> known;
  for (const CriticalStep& step : predicted.steps) known.insert(step.instruction);
  Seconds common, all;
  for (const CriticalStep& step : measured.steps) {
    all += step.ran;
    if (known.contains(step.instruction)) common += step.ran;
  }
  return all.value() > 0 ? common / all : 0;
}

// Why the measured times cannot be replayed; empty where they can.
std::string obstacle(const TimelineFile& predicted, const TimelineFile& measured) {
  if (!measured.run || measured.run->work.empty())
    return "the measured timeline does not say what its instructions cost";
  if (!predicted.run || !predicted.run->host)
    return "the predicted timeline does not say which host it was made for";
  return "";
}

// The machine of the prediction on the cores of the run. Times were measured beside other busy
// cores: the slowdown is in them.
Timeline replay(const Program& program, const HostMachine& predicted, const RunRecord& run) {
  HostMachine machine = predicted;
  machine.cores = run.cores;
  machine.slowdown.assign(static_cast<std::size_t>(run.cores), 1);
  return run_host(program, machine, RecordedTimes(cost_of(program, run), run.lasts));
}

// The prediction where all work takes `slower` times as long.
Timeline predict_at_speed(const Program& program, const RunRecord& run, double slower) {
  std::vector<Seconds> work = run.work;
  for (Seconds& each : work) each = slower * each;
  return run_host(program, *run.host, RecordedTimes(work, run.lasts));
}

}  // namespace

double TimelineComparison::worst_wait_error() const {
  double worst = 0;
  for (const RankComparison& rank : ranks) worst = std::max(worst, std::abs(rank.wait_error));
  return worst;
}

TimelineComparison compare_timelines(const Program& program, const TimelineFile& predicted,
                                     const TimelineFile& measured) {
  TimelineComparison result;
  result.predicted = predicted.timeline.step;
  result.measured = measured.timeline.step;
  const auto busy_predicted = compute_time(program, predicted.timeline);
  const auto busy_measured = compute_time(program, measured.timeline);
  for (std::size_t rank = 0; rank < busy_predicted.size(); ++rank) {
    const Seconds wait_predicted = result.predicted - busy_predicted[rank];
    const Seconds wait_measured = result.measured - busy_measured[rank];
    result.ranks.push_back({busy_predicted[rank], busy_measured[rank],
                            (wait_predicted - wait_measured) / result.measured});
  }
  result.by_cpu_time =
      predicted.run && measured.run && !predicted.run->work.empty() && !measured.run->work.empty();
  result.kinds = compare_kinds(program, predicted, measured, result.by_cpu_time);
  if (measured.kernels && measured.plan) {
    result.pairs = compare_pairs(program, *measured.plan, predicted.timeline, measured.timeline);
    result.ops = measured.kernels->ops;
    largest_first(result.ops);
  }
  const auto path = [&](const TimelineFile& file) {
    return summarise(program,
                     critical_path(program, file.timeline, file.run ? file.run->cores : 0));
  };
  result.predicted_path = path(predicted);
  result.measured_path = path(measured);
  result.path_in_common = in_common(result.predicted_path, result.measured_path);
  const bool metered = predicted.run && measured.run && predicted.run->host &&
                       !predicted.run->work.empty() && predicted.run->meter > Seconds{} &&
                       measured.run->meter > Seconds{};
  if (metered) {
    result.slower = measured.run->meter / predicted.run->meter;
    result.at_speed = predict_at_speed(program, *predicted.run, *result.slower).step;
  }
  result.why_not_replayed = obstacle(predicted, measured);
  if (result.why_not_replayed.empty())
    result.replayed = replay(program, *predicted.run->host, *measured.run).step;
  return result;
}

Program program_of(const TimelineFile& file, const std::string& path) {
  if (!file.plan) {
    throw InputError(
        fmt::format("error: {} does not hold the plan that was carried out\n"
                    "  write it with this version of `orrery simulate -o` or `orrery realrun -o`",
                    path));
  }
  Program program = lower(*file.plan);
  if (file.run) program = expand(program, file.plan->layout).program;
  check_same_program(file, path, program);
  return program;
}

}  // namespace orrery
