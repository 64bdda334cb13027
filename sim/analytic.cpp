#include "sim/analytic.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.hpp"
#include "sim/dependency_tracker.hpp"

namespace orrery {

Timeline run_analytic(const Program& program, const CostSource& costs, int gpus) {
  // Durations repeat: one lookup per (work, SMs).
  std::map<std::tuple<WorkId, std::int16_t, bool>, Seconds> known;
  return run_analytic(
      program,
      [&](const Instruction& instruction) {
        const auto [entry, fresh] =
            known.try_emplace({instruction.work, instruction.lent_sms, instruction.overlapped});
        if (fresh) {
          const Work& work = program.work(instruction);
          entry->second = work.is_compute()
                              ? costs.compute(work, instruction.lent_sms).total()
                              : uncontended(work.wire, costs.transfer(work, instruction.overlapped,
                                                                      instruction.lent_sms));
        }
        return entry->second;
      },
      gpus);
}

Timeline run_analytic(const Program& program, const DurationOf& duration, int gpus) {
  Timeline timeline;
  timeline.source = "analytic";
  timeline.spans.resize(program.instructions.size());
  timeline.rank_classes = program.pp;
  timeline.gpus = gpus;
  DependencyTracker tracker(program);
  // The earliest start of each instruction so far, raised by every predecessor that ends.
  std::vector<Seconds> earliest(program.instructions.size());
  const auto raise = [&](InstructionId id, Seconds end) {
    timeline.step = std::max(timeline.step, end);
    for (InstructionId after : tracker.successors(id))
      earliest[after.index()] = std::max(earliest[after.index()], end);
  };

  std::vector<InstructionId> startable = tracker.initial();
  std::vector<InstructionId> more;
  while (!startable.empty()) {
    const InstructionId id = startable.back();
    startable.pop_back();
    const Instruction& instruction = program.instructions[id.index()];
    Seconds start = earliest[id.index()];
    if (instruction.partner.valid()) start = std::max(start, earliest[instruction.partner.index()]);
    if (instruction.collective >= 0) {
      for (InstructionId member :
           program.collectives[static_cast<std::size_t>(instruction.collective)]) {
        start = std::max(start, earliest[member.index()]);
      }
    }
    const Span span{start, start + duration(instruction)};
    ++timeline.activities;
    timeline.spans[id.index()] = span;
    raise(id, span.end);
    if (instruction.partner.valid()) {
      timeline.spans[instruction.partner.index()] = span;
      raise(instruction.partner, span.end);
    }
    more.clear();
    tracker.complete(id, more);
    startable.insert(startable.end(), more.begin(), more.end());
  }
  if (!tracker.finished()) throw InputError("the program deadlocks:" + tracker.describe_deadlock());
  return timeline;
}

}  // namespace orrery
