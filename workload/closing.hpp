#pragma once
// What a step ends with, after its last cell: gradients are reduced over their replicas, the norm
// is all-reduced over all GPUs, the optimizer runs on what each GPU updates, the updated parameters
// are gathered and, for FP8 with one scale a tensor, cast. What ZeRO-2 has reduced with each
// micro-batch is not reduced again, and what ZeRO-3 gathers with each is not gathered here.
#include <span>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"

namespace orrery {

// Computation of one pipeline rank, or a transfer in which the GPUs of `ranks` take part together.
// A rank begins a step when it has ended the one before it.
struct ClosingStep {
  std::vector<Rank> ranks;
  Work work;
  double updates = 0;  // parameters of each GPU, where it is the update
};

// The update of so many parameters, where the layout keeps the optimizer and the moving average.
Work update_work(const Training& training, const Layout& layout, double parameters);

// In order. Of `schedule` only the placement of the stages counts, not the cells.
std::vector<ClosingStep> closing_steps(const Model& model, const Cluster& cluster,
                                       const Layout& layout, const Training& training,
                                       const Schedule& schedule);

}  // namespace orrery
