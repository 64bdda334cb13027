#pragma once
// Private to the ops of realrun: tables of ops by name, and the collectives of each block.
#include <span>
#include <string_view>

#include "realrun/host_ops.hpp"

namespace orrery::host {

template <class T>
struct NamedOp {
  std::string_view name;
  HostOp<T> run;  // nullptr: nothing to do on the host
};

template <class T>
using OpTable = std::span<const NamedOp<T>>;

template <class T>
OpTable<T> attention_ops(Pass pass);
template <class T>
HostCollective<T> attention_collective(Pass pass, std::string_view tensor);

// The router's ops run in the attention's works; the experts' in the MLP's.
template <class T>
OpTable<T> router_ops(Pass pass);
template <class T>
OpTable<T> expert_ops(Pass pass);
template <class T>
HostCollective<T> expert_collective(Pass pass, std::string_view tensor);

template <class T>
OpTable<T> dense_mlp_ops(Pass pass);
template <class T>
HostCollective<T> dense_mlp_collective(Pass pass, std::string_view tensor);

// Embedding, MTP projection, output head.
template <class T>
OpTable<T> edge_ops(Component component, Pass pass);
template <class T>
HostCollective<T> edge_collective(LayerKind kind, std::string_view tensor);

// Shared by the blocks.
// The normed input of the experts, made again where it is gone.
template <class T>
void norm_experts_input(RankState<T>& rank, Frame<T>& frame);
// The gradient of the layer's output from whoever has it; nothing where it is there already.
template <class T>
void take_gradient(RankState<T>& rank, Frame<T>& frame);
// Without expert parallelism the tokens and gradients of this GPU are what is received.
template <class T>
void receive_own_tokens(RankState<T>& rank, Frame<T>& frame);
template <class T>
void receive_own_gradient(RankState<T>& rank, Frame<T>& frame);
template <class T>
void return_own_gradient(RankState<T>& rank, Frame<T>& frame);
// The layer's input from the layer before, whose output is summed first where it is in parts.
template <class T>
void take_input(RankState<T>& rank, Frame<T>& frame, Tensor<T>& target, Lifetime& lifetime);

}  // namespace orrery::host
