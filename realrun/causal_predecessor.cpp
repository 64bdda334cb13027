#include "realrun/causal_predecessor.hpp"

#include "core/error.hpp"
#include "sim/dependency_tracker.hpp"

namespace orrery {

std::vector<InstructionId> causal_predecessors(const Program& program, const Timeline& timeline,
                                               Rank rank) {
  std::vector<InstructionId> latest(program.instructions.size());
  const auto later = [&](InstructionId a, InstructionId b) {
    if (!a.valid() || !b.valid()) return a.valid() ? a : b;
    return timeline.at(b).end > timeline.at(a).end ? b : a;
  };
  DependencyTracker tracker(program);
  // In an order that dependencies allow: what all members of a transfer or a collective wait for is
  // known when the first of them may start.
  const auto pass_on = [&](InstructionId id) {
    const Instruction& instruction = program.instructions[id.index()];
    const bool own = instruction.rank == rank && !receives(instruction.stream);
    const InstructionId passed = own ? id : latest[id.index()];
    for (InstructionId after : tracker.successors(id))
      latest[after.index()] = later(latest[after.index()], passed);
  };
  std::vector<InstructionId> startable = tracker.initial(), more;
  while (!startable.empty()) {
    const InstructionId id = startable.back();
    startable.pop_back();
    const Instruction& instruction = program.instructions[id.index()];
    if (instruction.partner.valid()) {
      InstructionId& other = latest[instruction.partner.index()];
      other = latest[id.index()] = later(latest[id.index()], other);
      pass_on(instruction.partner);
    }
    if (instruction.collective >= 0) {
      const auto& members = program.collectives[static_cast<std::size_t>(instruction.collective)];
      InstructionId last;
      for (InstructionId member : members) last = later(last, latest[member.index()]);
      for (InstructionId member : members) latest[member.index()] = last;
    }
    pass_on(id);
    more.clear();
    tracker.complete(id, more);
    startable.insert(startable.end(), more.begin(), more.end());
  }
  if (!tracker.finished()) throw InputError("the program deadlocks:" + tracker.describe_deadlock());
  return latest;
}

}  // namespace orrery
