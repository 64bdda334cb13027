// How tensors pass between layers and, without expert parallelism, to the experts of the same GPU.
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery {

template <class T>
void finish_forward(RankState<T>& rank, Frame<T>& frame) {
  const bool has_experts = frame.kind == LayerKind::kMoe || frame.kind == LayerKind::kMtp;
  if (!has_experts || frame.out.made()) return;
  const std::int64_t elements = rank.sizes.local * rank.sizes.hidden;
  Tensor<T>& routed = rank.plan.layout.ep == 1 ? frame.reduced : frame.combined;
  T* out = frame.out.make(frame.passing, elements);
  rank.kernels.add(elements, frame.middle.get(), routed.get(), out);
  if (rank.sizes.shared > 0) host::accumulate(rank, elements, frame.fc2.get(), out);
  frame.transient.drop_all();
}

namespace host {

template <class T>
void take_input(RankState<T>& rank, Frame<T>& frame, Tensor<T>& target, Lifetime& lifetime) {
  if (Frame<T>* previous = rank.before(frame); previous != nullptr) finish_forward(rank, *previous);
  rank.take_input(frame, target, lifetime);
}

template <class T>
void take_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (frame.out_gradient.made()) return;
  if (frame.kind == LayerKind::kMtp) {
    frame.out_gradient.take(frame.passing, frame.head_input_gradient);
  } else {
    rank.take_output_gradient(frame, frame.out_gradient, frame.passing);
  }
}

template <class T>
void receive_own_tokens(RankState<T>& rank, Frame<T>& frame) {
  if (frame.received.made()) return;
  Lifetime& kept = rank.kept_for_weights(frame);
  frame.received.copy(kept, frame.mlp_normed);
  frame.received_experts.copy(kept, frame.choice);
  frame.received_weights.copy(kept, frame.weights);
}

template <class T>
void receive_own_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (frame.received_gradient.made()) return;
  take_gradient(rank, frame);
  frame.received_gradient.copy(frame.operands, frame.out_gradient);
}

template <class T>
void return_own_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (rank.plan.layout.ep > 1) return;
  frame.routed_gradient.take(frame.transient, frame.reduced_gradient);
  frame.weights_gradient.take(frame.transient, frame.received_weights_gradient);
}

#define ORRERY_PASSING(T)                                                       \
  template void take_input<T>(RankState<T>&, Frame<T>&, Tensor<T>&, Lifetime&); \
  template void take_gradient<T>(RankState<T>&, Frame<T>&);                     \
  template void receive_own_tokens<T>(RankState<T>&, Frame<T>&);                \
  template void receive_own_gradient<T>(RankState<T>&, Frame<T>&);              \
  template void return_own_gradient<T>(RankState<T>&, Frame<T>&);
ORRERY_PASSING(float)
ORRERY_PASSING(double)
#undef ORRERY_PASSING

}  // namespace host

template void finish_forward<float>(RankState<float>&, Frame<float>&);
template void finish_forward<double>(RankState<double>&, Frame<double>&);

}  // namespace orrery
