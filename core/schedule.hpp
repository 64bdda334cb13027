#pragma once
// A pipeline schedule: for each rank an ordered list of cells. It knows nothing of time; it can be
// checked for validity alone (workload/schedule_checker.hpp), drawn, timed and lowered.
//
//   F    forward of one micro-batch through one chunk
//   B    full backward: input gradient, then weight gradient
//   I    input gradient only; its weight gradient is a later W
//   W    weight gradient only
//   F&B  a forward and a full backward of two micro-batches, co-scheduled so that the communication
//   of one
//        runs under the computation of the other
//   F&I  the same with an input gradient only
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"

namespace orrery {

enum class CellKind { kF, kB, kI, kW, kFB, kFI };

// One micro-batch in one chunk of the cell's rank.
struct Half {
  Microbatch microbatch;
  ChunkId chunk;
  bool operator==(const Half&) const = default;
};

struct Cell {
  CellKind kind = CellKind::kF;
  Half forward;   // valid in F, F&B, F&I
  Half backward;  // valid in B, I, W, F&B, F&I
  bool operator==(const Cell&) const = default;

  bool has_forward() const {
    return kind == CellKind::kF || kind == CellKind::kFB || kind == CellKind::kFI;
  }
  // Runs an input gradient (everything but F and W).
  bool has_input_gradient() const { return kind != CellKind::kF && kind != CellKind::kW; }
  bool has_weight_gradient() const {
    return kind == CellKind::kB || kind == CellKind::kW || kind == CellKind::kFB;
  }
};

inline Cell forward_cell(Microbatch microbatch, ChunkId chunk) {
  return {CellKind::kF, {microbatch, chunk}, {}};
}
inline Cell backward_cell(CellKind kind, Microbatch microbatch, ChunkId chunk) {
  return {kind, {}, {microbatch, chunk}};
}
inline Cell pair_cell(Half forward, Half backward) {
  return {CellKind::kFB, forward, backward};
}

inline constexpr std::size_t kMostChunks = 64;  // of a rank

// What a chunk of a rank is: a stage of the model, travelled in one direction.
// Direction 0 enters at rank 0; direction 1 (bidirectional schedules) enters at the last rank.
struct ChunkPlace {
  Stage stage;
  int direction = 0;
  bool operator==(const ChunkPlace&) const = default;
};

struct Schedule {
  std::string family;    // "dualpipe", "1f1b", ...
  int microbatches = 0;  // over both directions
  int directions = 1;
  std::vector<std::vector<ChunkPlace>> chunks;  // [rank][chunk]
  std::vector<std::vector<Cell>> ranks;         // [rank] in order of execution

  int pp() const { return static_cast<int>(ranks.size()); }
  int stages() const;  // stages of one direction
  // The rank that hosts `stage` of `direction`, and as which chunk.
  struct Host {
    Rank rank;
    ChunkId chunk;
  };
  Host host(Stage stage, int direction) const;
  // Micro-batches [first, last) that enter in `direction`: the first half in direction 0.
  struct Range {
    int first = 0;
    int last = 0;
  };
  Range microbatches_of(int direction) const;
  bool operator==(const Schedule&) const = default;
};

std::string_view to_string(CellKind kind);
// "F 12 (stage 3, direction 0)": for messages about a cell of `rank`.
std::string describe(const Schedule& schedule, Rank rank, const Cell& cell);

}  // namespace orrery
