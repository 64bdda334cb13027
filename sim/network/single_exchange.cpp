#include "sim/network/single_exchange.hpp"

#include <algorithm>

#include "workload/placement.hpp"

namespace orrery {

Plan exchange_plan(const Cluster& cluster, int ep) {
  Plan plan;
  plan.cluster = cluster;
  plan.layout.pp = 1;
  plan.layout.ep = ep;
  plan.layout.dp = cluster.gpus();
  return plan;
}

Program exchange_program(const Work& work) {
  Program program;
  program.pp = 1;
  program.works.push_back(work);
  Instruction instruction;
  instruction.id = InstructionId(0);
  instruction.work = WorkId(0);
  instruction.rank = Rank(0);
  instruction.stream = Stream::kComm;
  program.instructions.push_back(instruction);
  program.streams.resize(1);
  program.streams[0][static_cast<std::size_t>(Stream::kComm)].push_back(instruction.id);
  return program;
}

Work all_to_all(const Cluster& cluster, int ep, Bytes bytes) {
  const int in_node = std::min(ep, cluster.gpus_per_node);
  const int nodes = ep / in_node;
  Work work;
  work.component = Component::kDispatch;
  work.name = "all-to-all";
  work.wire.pattern = Pattern::kDispatch;
  work.wire.group = ep;
  work.wire.logical = bytes * (ep - 1);
  work.wire.nic = bytes * (static_cast<double>(in_node) * (nodes - 1));
  work.wire.nvlink = bytes * (static_cast<double>(nodes) * (in_node - 1));
  return work;
}

Work ring_all_reduce(const Cluster& cluster, Bytes payload) {
  Work work;
  work.component = Component::kGradientReduce;
  work.name = "all-reduce";
  work.wire = collective_wire(Pattern::kAllReduce, payload, cluster.gpus(),
                              std::min(cluster.gpus(), cluster.gpus_per_node));
  return work;
}

}  // namespace orrery
