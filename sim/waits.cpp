#include "sim/waits.hpp"

#include <algorithm>
#include <map>

namespace orrery {
namespace {

// By instruction: when its predecessor on the stream ended.
std::vector<Seconds> stream_free(const Program& program, const Timeline& timeline) {
  std::vector<Seconds> free(program.instructions.size());
  for (const auto& streams : program.streams) {
    for (const auto& list : streams) {
      for (std::size_t place = 1; place < list.size(); ++place)
        free[list[place].index()] = timeline.at(list[place - 1]).end;
    }
  }
  return free;
}

Seconds last_dependency(const Program& program, const Timeline& timeline, InstructionId id) {
  Seconds last;
  for (InstructionId before : program.deps_of(program.instructions[id.index()]))
    last = std::max(last, timeline.at(before).end);
  return last;
}

}  // namespace

std::vector<WaitFor> waits_in_collectives(const Program& program, const Timeline& timeline) {
  constexpr Seconds kNoWait{1e-9};
  const std::vector<Seconds> free = stream_free(program, timeline);
  std::map<std::pair<Rank, Rank>, WaitFor> found;
  std::vector<Seconds> ready;
  for (const std::vector<InstructionId>& members : program.collectives) {
    if (members.size() < 2) continue;
    ready.clear();
    for (InstructionId member : members)
      ready.push_back(std::max(free[member.index()], last_dependency(program, timeline, member)));
    const auto last = std::max_element(ready.begin(), ready.end());
    const Rank latest =
        program.instructions[members[static_cast<std::size_t>(last - ready.begin())].index()].rank;
    for (std::size_t place = 0; place < members.size(); ++place) {
      const Seconds waited = *last - ready[place];
      if (waited <= kNoWait) continue;
      const Rank waiter = program.instructions[members[place].index()].rank;
      WaitFor& entry = found[{waiter, latest}];
      entry.waiter = waiter;
      entry.last = latest;
      entry.total += waited;
      ++entry.times;
    }
  }
  std::vector<WaitFor> out;
  for (const auto& [pair, wait] : found) out.push_back(wait);
  std::stable_sort(out.begin(), out.end(),
                   [](const WaitFor& a, const WaitFor& b) { return a.total > b.total; });
  return out;
}

}  // namespace orrery
