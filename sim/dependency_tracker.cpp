#include "sim/dependency_tracker.hpp"

#include <fmt/format.h>

namespace orrery {

DependencyTracker::DependencyTracker(const Program& program)
    : program_(program),
      waiting_(program.instructions.size(), 0),
      first_successor_(program.instructions.size() + 1, 0),
      done_(program.instructions.size(), 0),
      reached_(program.instructions.size(), 0) {
  // Edges: explicit dependencies and the order of each stream. Counted first, then filled
  // (compressed rows).
  const auto for_each_edge = [&](auto visit) {
    for (const Instruction& instruction : program_.instructions) {
      for (InstructionId before : program_.deps_of(instruction)) visit(before, instruction.id);
    }
    for (const auto& streams : program_.streams) {
      for (const auto& list : streams) {
        for (std::size_t place = 1; place < list.size(); ++place)
          visit(list[place - 1], list[place]);
      }
    }
  };
  for_each_edge([&](InstructionId before, InstructionId after) {
    ++first_successor_[before.index() + 1];
    ++waiting_[after.index()];
  });
  for (std::size_t id = 1; id < first_successor_.size(); ++id)
    first_successor_[id] += first_successor_[id - 1];
  successors_.resize(first_successor_.back());
  std::vector<std::uint32_t> next(first_successor_.begin(), first_successor_.end() - 1);
  for_each_edge([&](InstructionId before, InstructionId after) {
    successors_[next[before.index()]++] = after;
  });
  for (const auto& members : program_.collectives) {
    collective_missing_.push_back(static_cast<std::int32_t>(members.size()));
  }
}

std::vector<InstructionId> DependencyTracker::initial() {
  std::vector<InstructionId> startable;
  for (const Instruction& instruction : program_.instructions) {
    if (waiting_[instruction.id.index()] == 0 && !reached_[instruction.id.index()])
      ready(instruction.id, startable);
  }
  return startable;
}

void DependencyTracker::ready(InstructionId id, std::vector<InstructionId>& startable) {
  reached_[id.index()] = 1;
  const Instruction& instruction = program_.instructions[id.index()];
  if (instruction.partner.valid()) {
    const bool is_send =
        instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
    if (reached_[instruction.partner.index()])
      startable.push_back(is_send ? id : instruction.partner);
  } else if (instruction.collective >= 0) {
    const auto collective = static_cast<std::size_t>(instruction.collective);
    if (--collective_missing_[collective] == 0) {
      const auto& members = program_.collectives[collective];
      startable.insert(startable.end(), members.begin(), members.end());
    }
  } else {
    startable.push_back(id);
  }
}

void DependencyTracker::complete(InstructionId id, std::vector<InstructionId>& startable) {
  complete_one(id, startable);
  const InstructionId partner = program_.instructions[id.index()].partner;
  if (partner.valid()) complete_one(partner, startable);
}

void DependencyTracker::complete_one(InstructionId id, std::vector<InstructionId>& startable) {
  done_[id.index()] = 1;
  ++completed_;
  for (InstructionId after : successors(id)) {
    if (--waiting_[after.index()] == 0) ready(after, startable);
  }
}

std::string DependencyTracker::describe_deadlock() const {
  std::string text;
  for (const auto& streams : program_.streams) {
    for (const auto& list : streams) {
      for (InstructionId id : list) {
        if (done_[id.index()]) continue;
        text += "\n  " + describe(program_, id);
        if (reached_[id.index()]) {
          const InstructionId partner = program_.instructions[id.index()].partner;
          text += partner.valid() ? ", waits for its partner on " + describe(program_, partner)
                                  : ", waits for the rest of its collective";
        } else {
          for (InstructionId before : program_.deps_of(program_.instructions[id.index()])) {
            if (!done_[before.index()]) text += ", waits for " + describe(program_, before);
          }
        }
        break;
      }
    }
  }
  return text;
}

std::string describe(const Program& program, InstructionId id) {
  const Instruction& instruction = program.instructions[id.index()];
  std::string text = fmt::format("rank {}: {} ({})", instruction.rank.value,
                                 program.work(instruction).name, to_string(instruction.stream));
  if (instruction.microbatch.valid())
    text += fmt::format(", micro-batch {}", instruction.microbatch.value);
  if (instruction.stage.valid()) text += fmt::format(", stage {}", instruction.stage.value);
  return text;
}

}  // namespace orrery
