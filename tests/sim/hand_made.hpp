#pragma once
// Programs and costs made by hand for tests of the engines.
#include <initializer_list>
#include <map>
#include <utility>

#include "sim/cost_source.hpp"
#include "sim/network/flow_plan.hpp"

namespace orrery {

// Every compute work takes as many seconds as its one op has rows; transfers run at fixed limits.
class HandCost : public CostSource {
 public:
  explicit HandCost(BytesPerSecond nic = BytesPerSecond{10},
                    BytesPerSecond nvlink = BytesPerSecond{100}, Seconds fixed = {})
      : nic_(nic), nvlink_(nvlink), fixed_(fixed) {}
  ComputeCost compute(const Work& work, int) const override {
    return {Seconds{work.ops.front().m}, {}};
  }
  TransferCost transfer(const Work&, bool, int) const override { return {fixed_, nic_, nvlink_}; }
  AssumedFigures assumed(const Program&) const override { return {}; }

 private:
  BytesPerSecond nic_, nvlink_;
  Seconds fixed_;
};

// Adds instructions to a Program in any order of ranks.
class ProgramMaker {
 public:
  explicit ProgramMaker(int pp) {
    program.pp = pp;
    program.streams.resize(static_cast<std::size_t>(pp));
  }

  InstructionId compute(int rank, double seconds, std::initializer_list<InstructionId> deps = {}) {
    Op op;
    op.m = seconds;
    return add(rank, Stream::kCompute, {Component::kMlp, Pass::kF, "compute", {op}, {}}, deps);
  }
  // An exchange inside the rank.
  InstructionId exchange(int rank, double nic, double nvlink,
                         std::initializer_list<InstructionId> deps = {},
                         Pattern pattern = Pattern::kDispatch) {
    return add(rank, Stream::kComm,
               {Component::kDispatch,
                Pass::kF,
                "exchange",
                {},
                {pattern, 8, Bytes{nic}, Bytes{nic}, Bytes{nvlink}}},
               deps);
  }
  // A transfer to the next rank; returns {send, recv}.
  std::pair<InstructionId, InstructionId> send(int from, double bytes,
                                               std::initializer_list<InstructionId> deps = {}) {
    const Work work{Component::kPipeline,
                    Pass::kF,
                    "transfer",
                    {},
                    {Pattern::kSend, 2, Bytes{bytes}, Bytes{bytes}, Bytes{}}};
    const InstructionId send = add(from, Stream::kSendNext, work, deps);
    const InstructionId recv = add(from + 1, Stream::kRecvPrev, work, {});
    program.instructions[send.index()].partner = recv;
    program.instructions[recv.index()].partner = send;
    return {send, recv};
  }
  void collective(std::initializer_list<InstructionId> members) {
    for (InstructionId member : members) {
      program.instructions[member.index()].collective =
          static_cast<std::int32_t>(program.collectives.size());
    }
    program.collectives.emplace_back(members);
  }

  Program program;

 private:
  InstructionId add(int rank, Stream stream, Work work, std::initializer_list<InstructionId> deps) {
    Instruction instruction;
    instruction.id = InstructionId(static_cast<std::int64_t>(program.instructions.size()));
    instruction.work = WorkId(static_cast<std::int64_t>(program.works.size()));
    program.works.push_back(std::move(work));
    instruction.rank = Rank(rank);
    instruction.stream = stream;
    instruction.first_dep = static_cast<std::uint32_t>(program.deps.size());
    program.deps.insert(program.deps.end(), deps);
    instruction.last_dep = static_cast<std::uint32_t>(program.deps.size());
    program.instructions.push_back(instruction);
    program.streams[static_cast<std::size_t>(rank)][static_cast<std::size_t>(stream)].push_back(
        instruction.id);
    return instruction.id;
  }
};

// Flows between ranks that have nothing but a NIC of 10 B/s and an NVLink port of 100 B/s each.
struct HandFlows {
  explicit HandFlows(const Program& program) {
    for (int rank = 0; rank < program.pp; ++rank) {
      for (double capacity : {10.0, 10.0, 100.0, 100.0})
        plan.resources.push_back({BytesPerSecond{capacity}, 1, 1, ""});
    }
    std::map<std::pair<std::vector<int>, std::vector<int>>, int> known;
    for (const Instruction& instruction : program.instructions) {
      exchange_of.push_back(-1);
      const Stream stream = instruction.stream;
      if (stream != Stream::kComm && stream != Stream::kSendNext && stream != Stream::kSendPrev)
        continue;
      std::vector<int> from{instruction.rank.value};
      std::vector<int> to = from;
      if (instruction.partner.valid())
        to = {program.instructions[instruction.partner.index()].rank.value};
      if (instruction.collective >= 0) {
        from.clear();
        for (InstructionId member :
             program.collectives[static_cast<std::size_t>(instruction.collective)])
          from.push_back(program.instructions[member.index()].rank.value);
        to = from;
      }
      const auto [entry, fresh] =
          known.try_emplace({from, to}, static_cast<int>(plan.exchanges.size()));
      exchange_of.back() = entry->second;
      if (!fresh) continue;
      plan.exchanges.emplace_back();
      for (std::size_t member = 0; member < from.size(); ++member) {
        for (int port : {0, 2}) {
          plan.exchanges.back().push_back(static_cast<int>(plan.flows.size()));
          plan.flows.push_back({port == 0,
                                1,
                                1,
                                -1,
                                -1,
                                -1,
                                -1,
                                {{4 * from[member] + port}, {4 * to[member] + port + 1}}});
        }
      }
    }
  }
  FlowPlan plan;
  std::vector<std::int32_t> exchange_of;
};

}  // namespace orrery
