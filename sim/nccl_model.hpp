#pragma once
// How NCCL carries out a collective, and what it expects that to take: its own cost model
// (NVIDIA/nccl, src/graph/tuning.cc: ncclTopoTuneModel and ncclTopoGetAlgoTime, formulas as since
// 2.23, constants of the main branch; one is older: between nodes an NVLS tree's level takes 14 us,
// as a log of 2024 shows, 20.9 now). NCCL evaluates the time of every algorithm with every protocol
// and takes the least:
//
//   time = latency(algorithm, protocol, GPUs, nodes) + payload / rate(algorithm, protocol, size)
//
// A ring's bandwidth on this cluster is what the caller says; everything else follows from it.
//
// Left out: PAT (one GPU a node), CollNet and symmetric kernels; in-switch reduce-scatter and
// all-gather in a node; limits of a channel, which bind only where one carries more than 36 GB/s;
// AMD hosts; PCIe's own latencies.
#include <optional>
#include <string>
#include <vector>

#include "core/program.hpp"

namespace orrery {

enum class NcclAlgorithm : std::uint8_t {
  kRing,      // of all GPUs, node after node
  kTree,      // a chain in each node, two binary trees over the nodes; all-reduce only
  kNvls,      // the switch of a node of more than two GPUs reduces
  kNvlsTree,  // the switch inside every node, trees between them
};

enum class NcclProtocol : std::uint8_t {
  kLl,      // 4 bytes of flag beside 4 of data: low latency, half the bandwidth
  kLl128,   // 8 of 128 bytes are flags
  kSimple,  // full bandwidth, a fence for each chunk
};

struct NcclGroup {
  Pattern pattern = Pattern::kAllReduce;  // kAllReduce, kReduceScatter or kAllGather
  Bytes payload;                          // the whole vector, before or after
  int gpus = 1;                           // at least 2
  int in_node = 1;                        // of them, in each node
  BytesPerSecond ring;                    // bytes a second that pass each place of the ring
  std::optional<BytesPerSecond> nvls;     // the same for in-switch reduction, where there is any:
                                          // nccl-tests' bus bandwidth of a large all-reduce
  int nodes() const { return (gpus + in_node - 1) / in_node; }
};

struct NcclChoice {
  NcclAlgorithm algorithm = NcclAlgorithm::kRing;
  NcclProtocol protocol = NcclProtocol::kSimple;
  Seconds latency;
  BytesPerSecond rate;  // of payload
  Seconds time(Bytes payload) const { return latency + payload / rate; }
};

// All that apply, and the one that NCCL takes.
std::vector<NcclChoice> nccl_choices(const NcclGroup& group);
NcclChoice nccl_choice(const NcclGroup& group);

// "tree, LL"
std::string describe(const NcclChoice& choice);

}  // namespace orrery
