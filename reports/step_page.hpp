#pragma once
// One simulated step as a single HTML page: what happened in a sentence, the tables, and the
// timeline as a picture (inline SVG; no script, nothing loaded).
//
// The picture has a row for each class of GPUs, or, where there are many, for the largest and the
// smallest class of each pipeline rank. Along a row its cells: forward, backward, weight gradient,
// pair, optimizer; the red part of a cell is what its GPUs waited in it for others of their
// expert-parallel group.
#include <string>

#include "core/plan.hpp"
#include "sim/cluster_step.hpp"

namespace orrery {

// `headline`: a sentence; `text`: what `simulate` prints.
std::string step_page(const Plan& plan, const ClusterStep& step, const std::string& headline,
                      const std::string& text);

// What faults or uneven experts did to the step, in a sentence or two. `base`: the step without
// them.
std::string headline(const Plan& plan, const Faults* faults, const Skew& skew, Seconds base,
                     const ClusterStep& step);

}  // namespace orrery
