#pragma once
// Dispatch and combine inside an expert-parallel group, forward and backward.
//
//   dispatch           a token goes once to every GPU with one of its experts, with its choices and
//                      weights; what went where is remembered for the three others
//   combine            every GPU returns, for each token received, the sum over its experts; the
//                      token's GPU adds them up in the order of the group
//   gradient of combine   the tokens' output gradients go where the tokens went
//   gradient of dispatch  input gradients and routing weight gradients come back
#include <memory>

#include "realrun/rank_operation.hpp"

namespace orrery {

template <class T>
std::unique_ptr<RankOperation> start_expert_exchange(RankState<T>& rank, Frame<T>& frame,
                                                     const Work& work, Transport& transport,
                                                     const Group& group, OperationName name);

}  // namespace orrery
