#include "realrun/communicators.hpp"

#include <set>

namespace orrery {

Communicators communicators_of(const Program& program) {
  std::set<std::vector<int>> groups;
  for (const std::vector<InstructionId>& together : program.collectives) {
    std::vector<int> members;
    for (InstructionId id : together)
      members.push_back(program.instructions[id.index()].rank.value);
    if (members.size() > 1) groups.insert(std::move(members));
  }
  std::set<std::pair<int, int>> pairs;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream != Stream::kSendNext && instruction.stream != Stream::kSendPrev)
      continue;
    const Instruction& receive = program.instructions[instruction.partner.index()];
    if (receive.rank != instruction.rank)
      pairs.insert({instruction.rank.value, receive.rank.value});
  }
  return {{groups.begin(), groups.end()}, {pairs.begin(), pairs.end()}};
}

}  // namespace orrery
