#include "planner/step_parts.hpp"

#include <algorithm>

namespace orrery {
namespace {

const std::vector<InstructionId>& stream(const Program& program, std::size_t rank, Stream which) {
  return program.streams[rank][static_cast<std::size_t>(which)];
}

// Adds what a rank's communication takes while none of its kernels run.
void add_exposed(const Program& program, const Timeline& timeline, std::size_t rank,
                 std::map<Component, Seconds>& exposed) {
  const std::vector<InstructionId>& kernels = stream(program, rank, Stream::kCompute);
  std::size_t next = 0;
  for (const InstructionId id : stream(program, rank, Stream::kComm)) {
    const Span& own = timeline.at(id);
    Seconds covered;
    while (next < kernels.size() && timeline.at(kernels[next]).end <= own.start) ++next;
    for (std::size_t at = next; at < kernels.size(); ++at) {
      const Span& kernel = timeline.at(kernels[at]);
      if (kernel.start >= own.end) break;
      covered += std::min(kernel.end, own.end) - std::max(kernel.start, own.start);
    }
    exposed[program.work(program.instructions[id.index()]).component] += own.length() - covered;
  }
}

}  // namespace

Seconds StepParts::total() const {
  Seconds sum = compute + update + wait + bubble;
  for (const auto& [component, time] : exposed) sum += time;
  return sum;
}

StepParts step_parts(const Program& program, const Timeline& timeline, const StepSummary& summary) {
  StepParts parts;
  for (std::size_t rank = 0; rank < program.streams.size(); ++rank) {
    for (const InstructionId id : stream(program, rank, Stream::kCompute)) {
      const Component component = program.work(program.instructions[id.index()]).component;
      (component == Component::kOptimizer ? parts.update : parts.compute) +=
          timeline.at(id).length();
    }
    add_exposed(program, timeline, rank, parts.exposed);
  }
  const auto ranks = static_cast<double>(program.streams.size());
  parts.compute = parts.compute / ranks;
  parts.update = parts.update / ranks;
  for (auto& [component, time] : parts.exposed) time = time / ranks;
  parts.wait = summary.mean.wait;
  parts.bubble = summary.mean.bubble;
  return parts;
}

}  // namespace orrery
