#pragma once
// The end of a step on one rank: what is reduced, clipped, updated and checked. Shards, groups and
// names as in realrun/parameters.hpp.
//
// Clipping: gradients are scaled by min(1, clip_norm / norm), norm over all parameters of the
// model, each counted once: every GPU contributes the shards it updates (DeepSeek-V3 report,
// section 4.2: clip_norm = 1). Updates: decoupled AdamW on the shard (kernels/adamw.hpp); norms are
// not decayed. Routing bias: +- bias_rate by the sign of the load's deviation from its mean, with
// the counts of the whole batch (report, section 2.1.2).
#include <string_view>
#include <vector>

#include "core/program.hpp"
#include "realrun/rank_state.hpp"

namespace orrery {

// The range of a group's array that this rank updates: its shard with ZeRO, all of it without.
template <class T>
IndexRange own_shard(const RankState<T>& rank, std::size_t group);
// The part whose squares this rank adds to the norm: the same, but one replica's share always.
template <class T>
double squared_norm(const RankState<T>& rank);

// Tokens per expert of this rank's layers with experts, layer after layer, by stage.
template <class T>
std::vector<std::int64_t> expert_counts(RankState<T>& rank);

// Index of the group of that set on this rank. Throws ProgramError where it has none.
template <class T>
std::size_t held_group(const RankState<T>& rank, ParameterSet set, std::string_view work);

// Throws ProgramError where the bytes of a reduction or gather are not those of the group.
template <class T>
void check_parameter_bytes(const RankState<T>& rank, const Work& work, std::size_t group);
// Throws ProgramError where a parameter of the group lacks the gradient of a micro-batch, or has
// one twice.
template <class T>
void check_contributions(const RankState<T>& rank, std::size_t group);

// Throw ProgramError where something that replicas share was not brought together: gradients before
// their norm is taken, parameters when the step is over.
template <class T>
void check_reduced(const RankState<T>& rank);
template <class T>
void check_gathered(const RankState<T>& rank);

// The optimizer op. `parameters` is what the Program says this rank updates.
template <class T>
void update_parameters(RankState<T>& rank, double parameters);

}  // namespace orrery
