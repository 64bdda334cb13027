#include "realrun/causal_predecessor.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "tests/realrun/replay_examples.hpp"

namespace orrery {
namespace {

// Rank 0 sends an activation, rank 1 computes on it forward and backward and sends the gradient:
// that depends on the last kernels of the forward, however much rank 0 has computed meanwhile. On
// the last rank 1F1B is F0 B0 F1 B1: a gradient does not wait for the next activation.
TEST_CASE("a gradient depends on the forward whose activation was sent for it") {
  const PredictedPlan plan(PlanShape{small_mla_moe(), "1f1b", 2, sizes(2, 1)});
  const auto causes = causal_predecessors(plan.program, plan.timeline, Rank(0));
  std::map<Microbatch, InstructionId> sent;  // what the sending of its activation waits for
  for (const Instruction& instruction : plan.program.instructions) {
    if (instruction.rank == Rank(0) && instruction.stream == Stream::kSendNext)
      sent[instruction.microbatch] = plan.program.deps_of(instruction)[0];
  }
  REQUIRE(sent.size() == 2);
  int gradients = 0;
  for (const Instruction& instruction : plan.program.instructions) {
    if (instruction.rank != Rank(0) || instruction.stream != Stream::kRecvNext) continue;
    ++gradients;
    CHECK(causes[instruction.id.index()] == sent.at(instruction.microbatch));
  }
  CHECK(gradients == 2);
}

TEST_CASE("the first activations depend on nothing that their receiver does") {
  const PredictedPlan plan(PlanShape{small_mla_moe(), "1f1b", 2, sizes(2, 1)});
  const auto causes = causal_predecessors(plan.program, plan.timeline, Rank(1));
  for (const Instruction& instruction : plan.program.instructions) {
    if (instruction.rank == Rank(1) && instruction.stream == Stream::kRecvPrev &&
        instruction.microbatch == Microbatch(0))
      CHECK_FALSE(causes[instruction.id.index()].valid());
  }
}

// An oracle that knows no order of events: all that an instruction reaches backwards, one by one.
std::vector<char> ancestors(const Program& program, InstructionId of) {
  std::vector<InstructionId> before(program.instructions.size());
  for (const auto& streams : program.streams) {
    for (const auto& list : streams) {
      for (std::size_t at = 1; at < list.size(); ++at) before[list[at].index()] = list[at - 1];
    }
  }
  std::vector<char> found(program.instructions.size());
  std::vector<InstructionId> open;
  const auto visit = [&](InstructionId id) {
    if (!id.valid() || found[id.index()]) return;
    found[id.index()] = 1;
    open.push_back(id);
  };
  // What `id` and those that start together with it wait for.
  const auto expand = [&](InstructionId id) {
    std::vector<InstructionId> together = {id};
    const Instruction& own = program.instructions[id.index()];
    if (own.partner.valid()) together.push_back(own.partner);
    if (own.collective >= 0)
      together = program.collectives[static_cast<std::size_t>(own.collective)];
    for (InstructionId member : together) {
      visit(before[member.index()]);
      for (InstructionId on : program.deps_of(program.instructions[member.index()])) visit(on);
    }
  };
  expand(of);
  while (!open.empty()) {
    const InstructionId id = open.back();
    open.pop_back();
    expand(id);
  }
  return found;
}

TEST_CASE("it is the last of all that the rank does before, found one by one") {
  const char* schedule = GENERATE("1f1b", "dualpipe");
  const PredictedPlan plan(PlanShape{small_mla_moe(), schedule, 8, sizes(4, 2, 2)});
  CAPTURE(schedule);
  const Rank rank(1);
  const auto causes = causal_predecessors(plan.program, plan.timeline, rank);
  for (const Instruction& instruction : plan.program.instructions) {
    if (instruction.rank != rank || instruction.stream == Stream::kCompute) continue;
    const std::vector<char> reached = ancestors(plan.program, instruction.id);
    Seconds last{-1};
    for (const Instruction& other : plan.program.instructions) {
      if (reached[other.id.index()] && other.rank == rank && !receives(other.stream))
        last = std::max(last, plan.timeline.at(other.id).end);
    }
    CAPTURE(instruction.id.value);
    const InstructionId cause = causes[instruction.id.index()];
    REQUIRE(cause.valid() == (last >= Seconds{}));
    if (!cause.valid()) continue;
    CHECK(reached[cause.index()]);
    CHECK(plan.timeline.at(cause).end == last);
  }
}

}  // namespace
}  // namespace orrery
