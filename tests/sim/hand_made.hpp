#pragma once
// Programs and costs made by hand for tests of the engines.
#include <initializer_list>
#include <utility>

#include "core/cluster.hpp"
#include "sim/cost_source.hpp"

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
  TransferCost transfer(const Work&, bool) const override { return {fixed_, nic_, nvlink_}; }
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

// One node of two GPUs a rank would do: 10 B/s a NIC, 100 B/s an NVLink port.
inline Cluster small_cluster() {
  Cluster cluster;
  cluster.name = "small";
  cluster.nodes = 2;
  cluster.gpus_per_node = 1;
  cluster.nic = {1, BytesPerSecond{10}};
  cluster.nvlink = {BytesPerSecond{100}, {}};
  return cluster;
}

}  // namespace orrery
