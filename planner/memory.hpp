#pragma once
// What one GPU of a pipeline rank keeps in memory, as a table that adds up.
//
// Weights, gradients and optimizer states follow from the parameters on the rank
// (workload/stage_parameters.hpp); activations and received messages are what is live at the moment
// when most is, in a Timeline, so they follow the schedule as it runs.
//
// ZeRO-2 and 3 (workload/zero_works.hpp). Gradients: of every group its share, and those of two
// entries whole, since one is filled while the one before it is reduced: the two largest of the
// rank. Weights with ZeRO-3: the share in BF16, and whole, with their FP8 copies, those of the
// entry that runs and of the one gathered ahead: the two largest, twice where a forward and a
// backward run in a pair. What has no replica, and a matrix that pipeline ranks share, is whole all
// the time.
#include <optional>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/timeline.hpp"
#include "sim/calibration.hpp"
#include "workload/stage_parameters.hpp"

namespace orrery {

struct MemoryTable {
  Bytes weights;      // BF16, and an FP8 copy of what FP8 GEMMs read
  Bytes gradients;    // main gradients, Training::gradient
  Bytes optimizer;    // this GPU's share of master weights and moments (ZeRO-1 and
                      // above), or all of them (ZeRO-0)
  Bytes activations;  // of activations and of what is kept for deferred weight gradients
  Bytes buffers;      // received activations and gradients, workspace of a layer, exchange kernels'
                      // buffers
  Bytes reserve;      // context, libraries, allocator
  Bytes capacity;
  Bytes ema = {};  // this GPU's share of the moving average of the weights

  // Parts of these: of the weights their FP8 copies; of the buffers the exchange kernels' and what
  // has been received, the rest being workspace.
  Bytes fp8_copies = {};
  Bytes exchange_buffers = {};
  Bytes received = {};

  Bytes workspace() const { return buffers - exchange_buffers - received; }
  Bytes total() const {
    return weights + gradients + optimizer + ema + activations + buffers + reserve;
  }
  Bytes free() const { return capacity - total(); }
  bool fits() const { return total() <= capacity; }
};

// The same with `copies` more routed experts in every MoE layer of the rank: their weights and
// gradients; their gradients are summed into the original's, which alone is updated. A copy is
// whole whatever the ZeRO stage.
MemoryTable with_expert_copies(MemoryTable table, const Plan& plan, Rank rank, int copies);

// By pipeline rank, what is there whatever the schedule does: activations and received data are
// left at zero. Of the plan's schedule the placement of the stages counts, not the cells; `pairs`:
// whether it has F&B cells.
std::vector<MemoryTable> static_memory(const Plan& plan, const Device& device, bool pairs);
// The same where the plan's schedule has its cells.
std::vector<MemoryTable> static_memory(const Plan& plan, const Device& device);

// The most that is live on a rank at once, and when it comes to be: the instruction that allocates
// the last of it, none on a rank that allocates nothing.
struct MemoryPeak {
  Bytes activations;
  Bytes received;
  InstructionId at;
  Seconds when;
};
MemoryPeak memory_peak(const Program& program, const Timeline& timeline, Rank rank);

// The whole table of a rank, at its peak.
MemoryTable rank_memory(const Plan& plan, const Device& device, const Program& program,
                        const Timeline& timeline, Rank rank);
// Of all ranks.
std::vector<MemoryTable> memory_tables(const Plan& plan, const Device& device,
                                       const Program& program, const Timeline& timeline);

}  // namespace orrery
