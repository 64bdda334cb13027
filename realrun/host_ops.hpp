#pragma once
// The ops of a Program on the host: which kernel carries out an op, on which tensors.
//
// An op is found by its component, pass and name (workload/*_ops.cpp give the names). Ops that
// exist only because of how a GPU stores things (transposed copies of weights, scales in another
// order, tensor maps) have nothing to do here; an op that is not known is an error of this program.
#include <string_view>

#include "core/program.hpp"
#include "realrun/rank_state.hpp"

namespace orrery {

template <class T>
using HostOp = void (*)(RankState<T>&, Frame<T>&);

// nullptr: nothing to do on the host.
template <class T>
HostOp<T> host_op(Component component, Pass pass, const Op& op);

// The collectives inside a layer: what is sent, and what becomes of what arrives. `begin` gives the
// elements of this GPU; the executor gathers or reduces them over the group; `end` takes the result
// (gathered: the parts of the group one after another; reduced: this GPU's part).
template <class T>
struct HostCollective {
  // Fills `own`: for a gather this GPU's part, for a reduction the whole.
  void (*begin)(RankState<T>&, Frame<T>&, std::vector<T>& own) = nullptr;
  void (*end)(RankState<T>&, Frame<T>&, const std::vector<T>& result) = nullptr;
};

// `tensor` as in Work::tensor; a tensor that is not known is a bug.
template <class T>
HostCollective<T> host_collective(Pass pass, LayerKind kind, std::string_view tensor);

// The output of a layer, summed from its parts where that has not been done yet.
template <class T>
void finish_forward(RankState<T>& rank, Frame<T>& frame);

}  // namespace orrery
