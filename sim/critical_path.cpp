#include "sim/critical_path.hpp"

#include <algorithm>
#include <span>

namespace orrery {
namespace {

class PathFinder {
 public:
  PathFinder(const Program& program, const Timeline& timeline, int cores)
      : program_(program),
        timeline_(timeline),
        before_(program.instructions.size()),
        on_core_(program.instructions.size()) {
    for (const auto& rank : program.streams) {
      for (const auto& stream : rank) link(stream, before_);
    }
    if (cores > 0) link_cores(static_cast<std::size_t>(cores));
  }

  std::vector<CriticalStep> find() const {
    std::vector<CriticalStep> path;
    InstructionId at;
    for (const Instruction& instruction : program_.instructions) {
      if (!at.valid() || timeline_.at(instruction.id).end > timeline_.at(at).end)
        at = instruction.id;
    }
    // A chain cannot be longer than there are instructions, whatever a timeline says.
    while (at.valid() && path.size() < program_.instructions.size()) {
      const InstructionId previous = waited_for(at);
      const Span& span = timeline_.at(at);
      const Seconds from = previous.valid() ? timeline_.at(previous).end : Seconds{0};
      const Seconds start = std::max(from, span.start);
      path.push_back({at, start - from, std::max(Seconds{0}, span.end - start)});
      at = previous;
    }
    std::reverse(path.begin(), path.end());
    return path;
  }

 private:
  static void link(std::span<const InstructionId> order, std::vector<InstructionId>& before) {
    for (std::size_t place = 1; place < order.size(); ++place)
      before[order[place].index()] = order[place - 1];
  }

  // Who had the core before, where they came one after the other.
  void link_cores(std::size_t cores) {
    std::vector<std::vector<InstructionId>> orders(cores);
    for (const Instruction& instruction : program_.instructions) {
      if (instruction.stream == Stream::kCompute)
        orders[instruction.rank.index() % cores].push_back(instruction.id);
    }
    for (auto& order : orders) {
      std::sort(order.begin(), order.end(), [&](InstructionId a, InstructionId b) {
        const Span& first = timeline_.at(a);
        const Span& second = timeline_.at(b);
        return first.end != second.end ? first.end < second.end : a < b;
      });
      // The last one that ended before each started.
      for (InstructionId id : order) {
        const auto after = std::partition_point(order.begin(), order.end(), [&](InstructionId o) {
          return timeline_.at(o).end <= timeline_.at(id).start;
        });
        if (after != order.begin()) on_core_[id.index()] = *std::prev(after);
      }
    }
  }

  // The one whose end came last, before the end of `id`.
  InstructionId waited_for(InstructionId id) const {
    InstructionId latest;
    const Seconds own_end = timeline_.at(id).end;
    const auto consider = [&](InstructionId other) {
      if (!other.valid() || other == id || timeline_.at(other).end > own_end) return;
      if (timeline_.at(other).end == own_end && timeline_.at(id).length() > Seconds{0}) return;
      if (!latest.valid() || timeline_.at(other).end > timeline_.at(latest).end) latest = other;
    };
    const auto side = [&](InstructionId own) {
      const Instruction& instruction = program_.instructions[own.index()];
      consider(before_[own.index()]);
      for (InstructionId dependency : program_.deps_of(instruction)) consider(dependency);
    };
    const Instruction& instruction = program_.instructions[id.index()];
    if (instruction.collective >= 0) {
      for (InstructionId member :
           program_.collectives[static_cast<std::size_t>(instruction.collective)])
        side(member);
    } else {
      side(id);
      if (instruction.partner.valid()) side(instruction.partner);
    }
    const InstructionId on_core = on_core_[id.index()];
    if (on_core.valid() && timeline_.at(on_core).end < own_end) consider(on_core);
    return latest;
  }

  const Program& program_;
  const Timeline& timeline_;
  std::vector<InstructionId> before_, on_core_;
};

}  // namespace

std::vector<CriticalStep> critical_path(const Program& program, const Timeline& timeline,
                                        int cores) {
  return PathFinder(program, timeline, cores).find();
}

}  // namespace orrery
