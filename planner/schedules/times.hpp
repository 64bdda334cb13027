#pragma once
// How long the cells of a schedule take.
#include <vector>

#include "core/quantity.hpp"
#include "core/schedule.hpp"

namespace orrery {

// Durations of one stage's cells, in the letters of core/schedule.hpp.
struct StageTimes {
  Seconds F;
  Seconds I;
  Seconds W;
  Seconds FB;  // a pair whose *forward* half is this stage (CellTimes::rank_pairs may say more)
  Seconds FI;  // the same with an input gradient only
};

// Times of a stage whose pairs gain nothing from being overlapped: FB = F + I + W, FI = F + I.
StageTimes without_overlap(Seconds F, Seconds I, Seconds W);

// What happens inside a pair: when its backward half needs the gradient, and when the outputs of
// its halves are ready, all counted from its start. By default a pair is atomic: 0, and its end.
struct PairOffsets {
  Seconds needs_gradient;
  Seconds forward_ready;
  Seconds gradient_ready;
};

// A full backward: how long it takes, when its output is ready, and when it needs the gradient that
// it gets, from its start. The last holds for an input gradient alone too: a layer that is computed
// again begins without it.
struct BackwardTimes {
  Seconds length;
  Seconds gradient_ready;
  Seconds needs_gradient = {};
};

// How long the messages of a stage take to the stages beside it, where another rank holds them.
struct SendTimes {
  Seconds activation;
  Seconds gradient;
};

struct CellTimes {
  std::vector<std::vector<StageTimes>> stages;  // [direction][stage]
  Seconds hop;                                  // latency of a message between two ranks
  // [direction][stage of the forward half]; empty: atomic.
  std::vector<std::vector<PairOffsets>> pairs = {};
  // [rank][forward chunk][backward chunk]: F&B where the backward half matters too, with uneven
  // stages; F&I takes F + I. Empty: StageTimes::FB and FI.
  std::vector<std::vector<std::vector<Seconds>>> rank_pairs = {};
  // [rank][forward chunk][backward chunk], where they differ by the backward half too. Empty:
  // `pairs`.
  std::vector<std::vector<std::vector<PairOffsets>>> rank_offsets = {};
  // [direction][stage]. Empty: B takes I + W, its output is ready at its end.
  std::vector<std::vector<BackwardTimes>> backwards = {};
  // [direction][stage]; empty: `hop`.
  std::vector<std::vector<SendTimes>> sends = {};

  bool has_pair_offsets() const { return !pairs.empty() || !rank_offsets.empty(); }
  // Whether any output can be ready before the end of its cell.
  bool has_offsets() const { return has_pair_offsets() || !backwards.empty(); }
  // Of a pair on `rank` with a forward of `forward`, its chunk number and that of the backward.
  const PairOffsets& offsets(Rank rank, ChunkPlace forward, ChunkId chunk, ChunkId backward) const {
    if (!rank_offsets.empty()) return rank_offsets[rank.index()][chunk.index()][backward.index()];
    return pairs[static_cast<std::size_t>(forward.direction)][forward.stage.index()];
  }
  const StageTimes& at(ChunkPlace place) const {
    return stages[static_cast<std::size_t>(place.direction)][place.stage.index()];
  }
  BackwardTimes backward(ChunkPlace place) const {
    if (!backwards.empty())
      return backwards[static_cast<std::size_t>(place.direction)][place.stage.index()];
    const Seconds length = at(place).I + at(place).W;
    return {length, length, {}};
  }
  // Latency of what `from` sends on: the activation to the next stage, the gradient to the
  // previous.
  Seconds latency(ChunkPlace from, bool gradient) const {
    if (sends.empty()) return hop;
    const SendTimes& own = sends[static_cast<std::size_t>(from.direction)][from.stage.index()];
    return gradient ? own.gradient : own.activation;
  }
};

// The same times for every stage of every direction.
CellTimes uniform_times(const Schedule& schedule, const StageTimes& stage, Seconds hop = {});

// The same where `share` is what a rank's whole share of the model takes: where a rank holds v
// chunks of one direction, each takes 1/v of it.
CellTimes times_of_share(const Schedule& schedule, const StageTimes& share, Seconds hop = {});

// Chunks of one direction that a rank holds at most: v.
int chunks_of_direction(const Schedule& schedule);

// Whether it has F&B cells.
bool has_pairs(const Schedule& schedule);

// How long `cell` of `rank` takes.
Seconds cell_duration(const Schedule& schedule, Rank rank, const Cell& cell,
                      const CellTimes& times);

// From the start of a cell to the moment its output is there: the forward's for the next stage, the
// gradient's for the previous one; and to when it needs the gradient that it gets.
struct CellOffsets {
  Seconds forward_ready;
  Seconds gradient_ready;
  Seconds needs_gradient;
};
CellOffsets cell_offsets(const Schedule& schedule, Rank rank, const Cell& cell,
                         const CellTimes& times);

}  // namespace orrery
