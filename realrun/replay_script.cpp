#include "realrun/replay_script.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <tuple>

#include "core/error.hpp"
#include "realrun/causal_predecessor.hpp"

namespace orrery {
namespace {

// What rounding makes of two equal times in a timeline is no delay.
constexpr Seconds kRounding{1e-9};

class Writer {
 public:
  Writer(const Plan& plan, const Program& program, const Timeline& predicted, Rank rank, int pairs)
      : plan_(plan), program_(program), predicted_(predicted), place_(program.instructions.size()) {
    script_.rank = rank;
    script_.pairs = pairs;
    select(pairs);
  }

  ReplayScript write() {
    const std::vector<InstructionId> causes =
        causal_predecessors(program_, predicted_, script_.rank);
    std::vector<InstructionId> before(program_.instructions.size());
    for (const auto& stream : program_.streams[script_.rank.index()]) {
      for (std::size_t at = 1; at < stream.size(); ++at)
        before[stream[at].index()] = stream[at - 1];
    }
    for (const InstructionId id : chosen_)
      script_.actions.push_back(action(id, before[id.index()], causes[id.index()]));
    sort();
    return std::move(script_);
  }

 private:
  void select(int pairs) {
    const PairRun run = longest_pair_run(plan_.schedule, script_.rank);
    const int first = run.first + (run.count - pairs) / 2;
    const auto selected = [&](const Instruction& instruction) {
      if (instruction.rank != script_.rank) return false;
      return pairs == 0 || (instruction.cell >= first && instruction.cell < first + pairs);
    };
    for (const Instruction& instruction : program_.instructions) {
      if (!selected(instruction)) continue;
      place_[instruction.id.index()] = chosen_.size();
      chosen_.push_back(instruction.id);
    }
    script_.origin = replay_origin(program_, predicted_, chosen_, pairs == 0);
  }

  std::optional<std::size_t> chosen(InstructionId id) const {
    return id.valid() ? place_[id.index()] : std::nullopt;
  }

  // So long after `cause` has ended; where that was before the replay, after its start.
  ReplayGate gate(InstructionId cause, Seconds start) const {
    if (const auto after = chosen(cause))
      return {after, std::max(Seconds{}, start - predicted_.at(cause).end)};
    return {std::nullopt, std::max(Seconds{}, start - script_.origin)};
  }

  ReplayAction action(InstructionId id, InstructionId before, InstructionId cause) {
    const Instruction& instruction = program_.instructions[id.index()];
    const Work& work = program_.work(instruction);
    const Span& span = predicted_.at(id);
    ReplayAction made;
    made.instruction = id;
    made.stream = instruction.stream;
    made.cell = instruction.cell;
    for (const InstructionId on : program_.deps_of(instruction)) {
      if (const auto after = chosen(on)) made.after.push_back(*after);
    }
    made.arrives = receives(instruction.stream);
    if (instruction.stream == Stream::kCompute) {
      for (const Op& op : work.ops) made.kernels.push_back(kernel(op, instruction));
      return made;
    }
    // Of a message on its way when the replay starts, what is left.
    made.lasts = std::max(Seconds{}, span.end - std::max(span.start, script_.origin));
    if (made.arrives) {
      made.gate = gate(cause, span.start);
      return made;
    }
    if (instruction.stream == Stream::kComm) made.copy = copy(work, span);
    // What it waits for itself, the last of it; if it starts later, it waited for others.
    InstructionId last = before;
    for (const InstructionId on : program_.deps_of(instruction)) {
      if (!last.valid() || predicted_.at(on).end > predicted_.at(last).end) last = on;
    }
    const Seconds ready = last.valid() ? predicted_.at(last).end : script_.origin;
    if (span.start - std::max(ready, script_.origin) > kRounding)
      made.gate = gate(last, span.start);
    return made;
  }

  KernelCall kernel(const Op& op, const Instruction& instruction) {
    if (op.kernel == KernelClass::kHostCopy || op.kernel == KernelClass::kHostUpdate) {
      throw InputError(
          fmt::format("error: '{}' is done by the host's CPUs, and a replay has a GPU alone\n"
                      "  plan without optimizer=cpu, or replay --pairs of the step",
                      op.name));
    }
    const auto [layer, fresh] = layers_.try_emplace(
        {instruction.stage, instruction.direction, instruction.layer}, layers_.size());
    static_cast<void>(fresh);
    return {&op, instruction.lent_sms, static_cast<int>(layer->second % kResidentLayers)};
  }

  // Nothing where communication is lent no SM, and where there is nothing to move.
  std::optional<PacedCopy> copy(const Work& work, const Span& span) const {
    const Wire& wire = work.wire;
    const Bytes bytes = std::max(wire.nic, wire.nvlink);
    if (plan_.layout.comm_sms <= 0 || bytes.value() <= 0 || span.length() <= Seconds{}) return {};
    return PacedCopy{bytes, plan_.layout.comm_sms, span.length()};
  }

  // Everything behind what it waits for, otherwise in the order of the Program.
  void sort() {
    const std::size_t count = script_.actions.size();
    std::vector<std::vector<std::size_t>> next(count);
    std::vector<int> waits(count);
    const auto edge = [&](std::size_t first, std::size_t second) {
      next[first].push_back(second);
      ++waits[second];
    };
    for (std::size_t at = 0; at < count; ++at) {
      const ReplayAction& action = script_.actions[at];
      for (const std::size_t after : action.after) edge(after, at);
      if (action.gate && action.gate->after) edge(*action.gate->after, at);
    }
    for (const auto& stream : program_.streams[script_.rank.index()]) {
      std::optional<std::size_t> last;
      for (const InstructionId id : stream) {
        const auto at = chosen(id);
        if (!at) continue;
        if (last) edge(*last, *at);
        last = at;
      }
    }
    std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
    for (std::size_t at = 0; at < count; ++at) {
      if (waits[at] == 0) ready.push(at);
    }
    std::vector<std::size_t> order, moved(count);
    while (!ready.empty()) {
      const std::size_t at = ready.top();
      ready.pop();
      moved[at] = order.size();
      order.push_back(at);
      for (const std::size_t after : next[at]) {
        if (--waits[after] == 0) ready.push(after);
      }
    }
    ORRERY_CHECK(order.size() == count, "{} of {} actions in order", order.size(), count);
    std::vector<ReplayAction> sorted;
    for (const std::size_t at : order) {
      ReplayAction& action = sorted.emplace_back(std::move(script_.actions[at]));
      for (std::size_t& after : action.after) after = moved[after];
      if (action.gate && action.gate->after) action.gate->after = moved[*action.gate->after];
    }
    script_.actions = std::move(sorted);
  }

  const Plan& plan_;
  const Program& program_;
  const Timeline& predicted_;
  ReplayScript script_;
  std::vector<InstructionId> chosen_;
  std::vector<std::optional<std::size_t>> place_;  // by instruction, in chosen_
  std::map<std::tuple<Stage, std::int16_t, std::int16_t>, std::size_t> layers_;
};

}  // namespace

Seconds replay_origin(const Program& program, const Timeline& predicted,
                      std::span<const InstructionId> replayed, bool whole) {
  std::optional<Seconds> origin;
  const auto consider = [&](InstructionId id) {
    const Seconds start = predicted.at(id).start;
    if (!origin || start < *origin) origin = start;
  };
  if (whole) {
    for (const Instruction& instruction : program.instructions) consider(instruction.id);
  } else {
    for (const InstructionId id : replayed) {
      const Stream stream = program.instructions[id.index()].stream;
      if (stream == Stream::kCompute || stream == Stream::kComm) consider(id);
    }
  }
  return origin.value_or(Seconds{});
}

PairRun longest_pair_run(const Schedule& schedule, Rank rank) {
  PairRun longest, run;
  const std::vector<Cell>& cells = schedule.ranks[rank.index()];
  for (std::size_t at = 0; at < cells.size(); ++at) {
    if (cells[at].kind != CellKind::kFB) {
      run = {};
      continue;
    }
    if (run.count++ == 0) run.first = static_cast<int>(at);
    if (run.count > longest.count) longest = run;
  }
  return longest;
}

ReplayScript replay_script(const Plan& plan, const Program& program, const Timeline& predicted,
                           Rank rank, int pairs) {
  if (pairs > 0) {
    const int most = longest_pair_run(plan.schedule, rank).count;
    if (most == 0) {
      throw InputError(fmt::format(
          "error: rank {} of the plan has no co-scheduled pairs: its schedule is {}\n"
          "  plan with --schedule dualpipe, or replay the whole step: leave --pairs out",
          rank.value, plan.schedule.family));
    }
    if (pairs > most) {
      throw InputError(
          fmt::format("error: rank {} of the plan runs {} co-scheduled pairs one after the other, "
                      "not {}\n  take --pairs {} or fewer",
                      rank.value, most, pairs, most));
    }
  }
  return Writer(plan, program, predicted, rank, pairs).write();
}

std::vector<Span> predicted_spans(const ReplayScript& script, const Timeline& predicted) {
  std::vector<Span> spans;
  for (const ReplayAction& action : script.actions) {
    const Span& span = predicted.at(action.instruction);
    spans.push_back({std::max(Seconds{}, span.start - script.origin),
                     std::max(Seconds{}, span.end - script.origin)});
  }
  return spans;
}

}  // namespace orrery
