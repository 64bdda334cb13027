#include "planner/dualpipe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "core/error.hpp"
#include "planner/reject_input.hpp"

namespace orrery {
namespace {

// The paper's 0 and 1: the direction whose entry is nearer to the rank, and the other.
enum Side : std::size_t { kNear = 0, kFar = 1 };

// The cells of one rank. The micro-batches of a side go through in order, so a cell needs no
// number.
class RankOrder {
 public:
  // `near_direction`: 0 on the first half of the ranks, 1 on the second.
  RankOrder(int near_direction, int microbatches_per_direction) {
    const std::array direction = {near_direction, 1 - near_direction};  // by Side
    for (const Side side : {kNear, kFar}) {
      chunk_[side] = ChunkId{direction[side]};
      first_[side] = direction[side] * microbatches_per_direction;
    }
  }

  void forward(Side side) {
    const Half half = next(forwards_, side);
    cells_.push_back(forward_cell(half.microbatch, half.chunk));
  }
  void backward(Side side) {
    const Half half = next(backwards_, side);
    cells_.push_back(backward_cell(CellKind::kB, half.microbatch, half.chunk));
  }
  // Leaves its weight gradient to a later weight_gradient().
  void input_gradient(Side side) {
    const Half half = next(backwards_, side);
    cells_.push_back(backward_cell(CellKind::kI, half.microbatch, half.chunk));
    deferred_.push_back(half);
  }
  // The weight gradient that has waited longest.
  void weight_gradient() {
    ORRERY_CHECK(!deferred_.empty(), "no deferred weight gradient after {} cells", cells_.size());
    const Half half = deferred_.front();
    deferred_.pop_front();
    cells_.push_back(backward_cell(CellKind::kW, half.microbatch, half.chunk));
  }
  void pair(Side forward_side, Side backward_side) {
    const Half forward_half = next(forwards_, forward_side);
    cells_.push_back(pair_cell(forward_half, next(backwards_, backward_side)));
  }

  std::vector<Cell> take() {
    ORRERY_CHECK(deferred_.empty(), "{} weight gradients left over", deferred_.size());
    return std::move(cells_);
  }

 private:
  Half next(std::array<int, 2>& count, Side side) {
    return {Microbatch{first_[side] + count[side]++}, chunk_[side]};
  }

  std::array<ChunkId, 2> chunk_;
  std::array<int, 2> first_{};
  std::array<int, 2> forwards_{};
  std::array<int, 2> backwards_{};
  std::deque<Half> deferred_;
  std::vector<Cell> cells_;
};

// h = p/2, k = min(r, p-1-r): the hops from the near end. M = m/2 micro-batches travel each way. In
// the phases' names "0" is near and "1" far, n is the count.
std::vector<Cell> rank_cells(int pp, int microbatches, int rank) {
  const int h = pp / 2;
  const int k = std::min(rank, pp - 1 - rank);
  const int M = microbatches / 2;
  RankOrder order(rank < h ? 0 : 1, M);

  // 1. nF0. The near stream arrives after k hops, the far one after p-1-k: that is p-1-2k slots for
  //    near forwards alone. Phase 2 opens with one of them, so n = p-2-2k = 2(h-k-1).
  for (int n = 0; n < 2 * (h - k - 1); ++n) order.forward(kNear);

  // 2. nF0F1. The first far micro-batch has k stages to go, its gradient as many to come back. The
  //    ranks pass on both streams in turn, so each of these stages costs one round, after this
  //    rank's own: n = k+1.
  for (int n = 0; n < k + 1; ++n) {
    order.forward(kNear);
    order.forward(kFar);
  }

  // 3. nI1W1F1. Brings the far forwards of every rank to h, where the two streams are balanced:
  //    n = h - (k+1). The gradient leaves before its W, because the ranks towards the far end wait
  //    for it.
  for (int n = 0; n < h - k - 1; ++n) {
    order.input_gradient(kFar);
    order.weight_gradient();
    order.forward(kFar);
  }

  // 4. n(F0&B1)(F1&B0), the main phase. As long as there are near forwards: phases 1 and 2 took
  //    2(h-k-1) + (k+1) = p-k-1 of the M, so n = M-p+k+1.
  for (int n = 0; n < M - pp + k + 1; ++n) {
    const bool middle = k == h - 1;
    if (n == 0 && middle) {
      // The two middle ranks could start this forward before their first far gradient has arrived.
      // Run apart, the forward fills the wait and leaves earlier; the published code does so to
      // reduce the bubble further.
      order.forward(kNear);
      order.backward(kFar);
    } else {
      order.pair(kNear, kFar);
    }
    order.pair(kFar, kNear);
  }

  // 5. nB1(F1&B0). The far forwards that are left: n = M - h - (M-p+k+1) = h-k-1.
  for (int n = 0; n < h - k - 1; ++n) {
    order.backward(kFar);
    order.pair(kFar, kNear);
  }

  // 6. nB1B0. The far backwards that are left: phases 3, 4 and 5 took
  //    (h-k-1) + (M-p+k+1) + (h-k-1) = M-k-1, so n = k+1. The later half of these 2(k+1) backwards
  //    sends its gradients on early and keeps its W's to fill the waits of the drain: k+1 W's are
  //    deferred.
  for (int n = 0; n < k + 1; ++n) {
    for (const Side side : {kFar, kNear}) {
      const int position = 2 * n + (side == kNear ? 1 : 0);
      if (position < k + 1) {
        order.backward(side);
      } else {
        order.input_gradient(side);
      }
    }
  }

  // 7. nWI0. The near backwards that are left: phases 4, 5 and 6 took
  //    (M-p+k+1) + (h-k-1) + (k+1) = M-h+k+1, so n = h-k-1. One W done for each one deferred.
  for (int n = 0; n < h - k - 1; ++n) {
    order.weight_gradient();
    order.input_gradient(kNear);
  }

  // 8. nW. The k+1 W's that phase 6 deferred (7 left their number as it was).
  for (int n = 0; n < k + 1; ++n) order.weight_gradient();

  return order.take();
}

}  // namespace

std::optional<std::string> dualpipe_why_not(int pp, int microbatches) {
  if (pp < 2 || pp % 2 != 0) {
    return fmt::format("dualpipe needs an even number of pipeline ranks, at least 2, not pp={}",
                       pp);
  }
  if (microbatches / 2 < pp || microbatches % 2 != 0) {
    return fmt::format(
        "dualpipe needs an even number of micro-batches, at least 2*pp = {} for pp={}, not {}",
        2LL * pp, pp, microbatches);
  }
  return std::nullopt;
}

Schedule dualpipe(int pp, int microbatches) {
  if (const auto reason = dualpipe_why_not(pp, microbatches)) {
    reject_input(*reason,
                 pp < 2 || pp % 2 != 0
                     ? "choose an even pp, or a schedule of one direction such as 1f1b"
                     : "choose a smaller pp or more micro-batches (a larger global batch or a "
                       "smaller dp), or a schedule such as 1f1b");
  }
  Schedule schedule;
  schedule.family = "dualpipe";
  schedule.microbatches = microbatches;
  schedule.directions = 2;
  for (int rank = 0; rank < pp; ++rank) {
    schedule.chunks.push_back({{Stage{rank}, 0}, {Stage{pp - 1 - rank}, 1}});
    schedule.ranks.push_back(rank_cells(pp, microbatches, rank));
  }
  return schedule;
}

}  // namespace orrery
