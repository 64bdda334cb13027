#pragma once
// The phases that DualPipe and DualPipeV have in common: each rank works on two streams of
// micro-batches that meet it from both sides, in eight phases.
//
// The order of a rank's sends and receives is made with its cells (p2p_order.hpp): the published
// code queues some receives earlier than their cell, and some sends later.
#include <array>
#include <deque>
#include <vector>

#include "planner/schedules/p2p_order.hpp"

namespace orrery {

// The paper's 0 and 1: the stream whose entry is nearer to the rank, and the other.
enum DualSide : std::size_t { kNear = 0, kFar = 1 };

// How the two streams run through a rank.
struct DualRank {
  int hops = 0;                           // k: ranks between this one and the near end
  int half = 1;                           // h: hops from an end to where the streams turn or meet
  int microbatches = 0;                   // M: of each stream
  std::array<ChunkId, 2> chunk;           // by side
  std::array<int, 2> first_microbatch{};  // by side
};

struct DualCells {
  std::vector<Cell> cells;
  std::vector<std::vector<P2pOperation>> batches;
};

// The cells of one rank, with their batches where `schedule` knows the placement of all chunks.
DualCells dual_phases(const Schedule& schedule, Rank rank, const DualRank& streams);

}  // namespace orrery
