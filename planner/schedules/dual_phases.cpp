#include "planner/schedules/dual_phases.hpp"

#include <utility>

#include "core/error.hpp"

namespace orrery {
namespace {

// Which of a cell's messages are queued with it: the others the phase queues itself.
struct Queued {
  bool receive = true;
  bool send = true;
};

// The cells of one rank. The micro-batches of a side go through in order, so a cell needs no
// number.
class RankOrder {
 public:
  RankOrder(const Schedule& schedule, Rank rank, const DualRank& streams)
      : schedule_(schedule), rank_(rank), streams_(streams), result_{{}, {{}}} {}

  void forward(DualSide side, Queued queued = {}) {
    const Half half = next(forwards_, side);
    add(forward_cell(half.microbatch, half.chunk), queued);
  }
  void backward(DualSide side, Queued queued = {}) {
    const Half half = next(backwards_, side);
    add(backward_cell(CellKind::kB, half.microbatch, half.chunk), queued);
  }
  // Leaves its weight gradient to a later weight_gradient().
  void input_gradient(DualSide side) {
    const Half half = next(backwards_, side);
    add(backward_cell(CellKind::kI, half.microbatch, half.chunk));
    deferred_.push_back(half);
  }
  // The weight gradient that has waited longest.
  void weight_gradient() {
    ORRERY_CHECK(!deferred_.empty(), "no deferred weight gradient after {} cells",
                 result_.cells.size());
    const Half half = deferred_.front();
    deferred_.pop_front();
    add(backward_cell(CellKind::kW, half.microbatch, half.chunk));
  }
  // `forward_received`: that receive has been queued already.
  void pair(DualSide forward_side, DualSide backward_side, bool forward_received = false) {
    const Half forward_half = next(forwards_, forward_side);
    const Cell cell = pair_cell(forward_half, next(backwards_, backward_side));
    if (!forward_received)
      queue_receives(forward_cell(forward_half.microbatch, forward_half.chunk));
    queue_receives(backward_cell(CellKind::kB, cell.backward.microbatch, cell.backward.chunk));
    add(cell, {.receive = false});
  }

  // Of the next forward of that side.
  void queue_receive_of_next_forward(DualSide side) {
    if (forwards_[side] == streams_.microbatches) return;
    auto peek = forwards_;
    const Half half = next(peek, side);
    queue_receives(forward_cell(half.microbatch, half.chunk));
  }
  // Of a forward that has been carried out: the one before the last `ago`.
  void queue_send_of_forward(DualSide side, int ago = 0) {
    std::array<int, 2> made{};
    made[side] = forwards_[side] - 1 - ago;
    const Half half = next(made, side);
    queue_sends(forward_cell(half.microbatch, half.chunk));
  }
  void queue_send_of_backward(DualSide side) {
    std::array<int, 2> made{};
    made[side] = backwards_[side] - 1;
    const Half half = next(made, side);
    queue_sends(backward_cell(CellKind::kB, half.microbatch, half.chunk));
  }

  DualCells take() {
    ORRERY_CHECK(deferred_.empty(), "{} weight gradients left over", deferred_.size());
    return std::move(result_);
  }

 private:
  Half next(std::array<int, 2>& count, DualSide side) const {
    return {Microbatch{streams_.first_microbatch[side] + count[side]++}, streams_.chunk[side]};
  }
  void queue_receives(const Cell& cell) {
    for (const Message& message : messages_in(schedule_, rank_, cell))
      result_.batches.back().push_back({false, message});
  }
  void queue_sends(const Cell& cell) {
    for (const Message& message : messages_out(schedule_, rank_, cell))
      result_.batches.back().push_back({true, message});
  }
  // A cell: what is queued goes out before it.
  void add(const Cell& cell, Queued queued = {}) {
    if (queued.receive) queue_receives(cell);
    result_.cells.push_back(cell);
    result_.batches.emplace_back();
    if (queued.send) queue_sends(cell);
  }

  const Schedule& schedule_;
  Rank rank_;
  DualRank streams_;
  std::array<int, 2> forwards_{};
  std::array<int, 2> backwards_{};
  std::deque<Half> deferred_;
  DualCells result_;
};

}  // namespace

// Names of the phases as in the published code: "0" is near and "1" far, n is the count.
DualCells dual_phases(const Schedule& schedule, Rank rank, const DualRank& streams) {
  const int h = streams.half;
  const int k = streams.hops;
  const int M = streams.microbatches;
  const bool middle = k == h - 1;
  RankOrder order(schedule, rank, streams);

  // 1. nF0. The near stream arrives after k hops, the far one after 2h-1-k: that is 2h-1-2k slots
  //    for near forwards alone. Phase 2 opens with one of them, so n = 2h-2-2k = 2(h-k-1).
  for (int n = 0; n < 2 * (h - k - 1); ++n) order.forward(kNear);

  // 2. nF0F1. The first far micro-batch has k stages to go, its gradient as many to come back. The
  //    ranks pass on both streams in turn, so each of these stages costs one round, after this
  //    rank's own: n = k+1.
  order.queue_receive_of_next_forward(kNear);
  for (int n = 0; n < k + 1; ++n) {
    const bool last = n == k;
    order.forward(kNear, {.receive = false, .send = middle});
    order.queue_receive_of_next_forward(kNear);
    order.forward(kFar, {.send = !middle || !last});
    if (!middle) order.queue_send_of_forward(kNear);
  }

  // 3. nI1W1F1. Brings the far forwards of every rank to h, where the two streams are balanced:
  //    n = h - (k+1). The gradient leaves before its W, because the ranks towards the far end wait
  //    for it.
  for (int n = 0; n < h - k - 1; ++n) {
    order.input_gradient(kFar);
    order.queue_receive_of_next_forward(kFar);
    order.weight_gradient();
    order.forward(kFar, {.receive = false});
  }

  // 4. n(F0&B1)(F1&B0), the main phase. As long as there are near forwards: phases 1 and 2 took
  //    2(h-k-1) + (k+1) = 2h-k-1 of the M, so n = M-2h+k+1.
  for (int n = 0; n < M - 2 * h + k + 1; ++n) {
    if (n == 0 && middle) {
      // The middle ranks could start this forward before their first far gradient has arrived. Run
      // apart, the forward fills the wait and leaves earlier; the published code does so to reduce
      // the bubble further.
      order.forward(kNear, {.receive = false, .send = false});
      order.queue_send_of_forward(kFar);
      order.backward(kFar, {.send = false});
      order.queue_send_of_forward(kNear);
      order.queue_send_of_backward(kFar);
    } else {
      order.pair(kNear, kFar, n == 0);
    }
    order.pair(kFar, kNear);
  }

  // 5. nB1(F1&B0). The far forwards that are left: n = M - h - (M-2h+k+1) = h-k-1.
  for (int n = 0; n < h - k - 1; ++n) {
    order.backward(kFar);
    order.pair(kFar, kNear);
  }

  // 6. nB1B0. The far backwards that are left: phases 3, 4 and 5 took
  //    (h-k-1) + (M-2h+k+1) + (h-k-1) = M-k-1, so n = k+1. The later half of these 2(k+1) backwards
  //    sends its gradients on early and keeps its W's to fill the waits of the drain: k+1 W's are
  //    deferred.
  for (int n = 0; n < k + 1; ++n) {
    for (const DualSide side : {kFar, kNear}) {
      const int position = 2 * n + (side == kNear ? 1 : 0);
      if (position < k + 1) {
        order.backward(side);
      } else {
        order.input_gradient(side);
      }
    }
  }

  // 7. nWI0. The near backwards that are left: phases 4, 5 and 6 took
  //    (M-2h+k+1) + (h-k-1) + (k+1) = M-h+k+1, so n = h-k-1. One W done for each one deferred.
  for (int n = 0; n < h - k - 1; ++n) {
    order.weight_gradient();
    order.input_gradient(kNear);
  }

  // 8. nW. The k+1 W's that phase 6 deferred (7 left their number as it was).
  for (int n = 0; n < k + 1; ++n) order.weight_gradient();

  return order.take();
}

}  // namespace orrery
