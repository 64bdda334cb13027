#pragma once
// One exchange or collective among all GPUs of a cluster, alone: for checks against closed forms
// and for benchmarks.
#include "core/plan.hpp"
#include "core/program.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

// Kernels that reach these rates on their GPU's two media; no latency, no computation. By default
// the links decide alone.
class FixedRates : public CostSource {
 public:
  explicit FixedRates(BytesPerSecond nic = BytesPerSecond{1e15},
                      BytesPerSecond nvlink = BytesPerSecond{1e15})
      : nic_(nic), nvlink_(nvlink) {}
  ComputeCost compute(const Work&, int) const override { return {}; }
  TransferCost transfer(const Work&, bool, int) const override { return {{}, nic_, nvlink_}; }
  AssumedFigures assumed(const Program&) const override { return {}; }

 private:
  BytesPerSecond nic_, nvlink_;
};

// A plan of one pipeline rank whose only content is its layout: groups of `ep` GPUs for exchanges.
Plan exchange_plan(const Cluster& cluster, int ep);

// The single instruction of `plan`'s only rank: `work` on the communication stream.
Program exchange_program(const Work& work);

// Every GPU sends `bytes` to each of the other GPUs of its group of `ep`, forwarded over NVLink to
// the GPU that shares the receiver's NIC index (NCCL's PXN): n - 1 messages over NVLink with what
// goes to all nodes, nodes - 1 messages along the rail with what comes from all GPUs of the node.
Work all_to_all(const Cluster& cluster, int ep, Bytes bytes);
// A ring all-reduce of `payload` among all GPUs, hierarchical (workload/placement.hpp).
Work ring_all_reduce(const Cluster& cluster, Bytes payload);

}  // namespace orrery
