#pragma once
// The default stage map: which consecutive layers each pipeline stage holds, chosen by exact
// dynamic programming. First, the slowest stage is as fast as possible (the linear partition
// problem; in the steady state of every pipeline schedule it sets the pace). Where one stage is
// bound to be slow (the head's), many maps share that optimum: of these the most even one is taken
// (least sum of squared stage times), since an uneven one would add to the bubble; and of equally
// even ones that with the fewest layers on the earliest stages (the lexicographically smallest
// vector of layer counts), because early stages hold the most activations in most schedules.
//
// Every stage holds at least one layer (`d`, `t` or an MTP module); the embedding shares a stage
// with the first layer and the head with the last one. Only where there is one stage more than
// layers has one of the two a stage of its own, by the same order of maps, and where there are two
// more, both (Llama 3: 126 layers on 16 x 8 stages, arXiv 2407.21783, section 3.3.2).
//
//   entries E d d d t t t t m L at costs 0 1 1 1 2 2 2 2 2 1, pp = 3
//   ->  E,3d,1t | 2t | 1t,m,L  at costs 5, 4, 5
//
// Cost: O(pp n^2) time for n layers at worst, O(pp n) memory.
#include <span>

#include "core/layout.hpp"
#include "core/quantity.hpp"

namespace orrery {

// `entries` are the model's, in order: [E], then d and t, then m and L; costs[entry] is the entry's
// F + I + W, not negative. Throws InputError if pp < 1 or there are fewer layers, embedding and
// head than stages.
StageMap best_stage_map(std::span<const LayerKind> entries, std::span<const Seconds> costs, int pp);

}  // namespace orrery
