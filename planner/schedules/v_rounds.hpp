#pragma once
// How ZB-V is put together (Qi et al., "Pipeline Parallelism with Controllable Memory", arXiv
// 2405.15362): a first wave of forwards down the V and back, as many more as the limit takes while
// it is on its way, and then rounds in which every rank gets an input gradient and a forward of the
// chunk whose turn it is, with weight gradients where it would wait. For stages and limits of any
// kind, but made for stages alike and room for 2 p half-chunks; below that it may find no way.
#include <vector>

#include "planner/schedules/compact.hpp"

namespace orrery {

// The orders that come of it, all of which keep the limits: a wait too short for a weight gradient
// is filled before every kind of cell or not, and as long as no rank idles more than another or as
// long as the worst of a first try did. Empty where the limits leave no way.
std::vector<CompactOrder> v_rounds(const CompactProblem& problem);

}  // namespace orrery
