#pragma once
// Rows of routed experts that each GPU of an expert-parallel group computes, against the mean of an
// even load, by micro-batch and layer: drawn (workload/expert_skew.hpp) or measured.
#include <memory>
#include <vector>

#include "core/plan.hpp"
#include "workload/expert_skew.hpp"

namespace orrery {

// As `skew` says; what it points to outlives the result. Throws InputError where measured loads are
// of another model or layout.
std::unique_ptr<ExpertRows> make_expert_rows(const Plan& plan, const Skew& skew);

}  // namespace orrery
