#pragma once
// A schedule of two chunks a rank, placed as a V, on a grid of slots that every cell fills: what
// building blocks are laid out on (Qi et al., "Pipeline Parallelism with Controllable Memory",
// arXiv 2405.15362). Weight gradients have no slots of their own: they take the first
// idle slots after their input gradients.
#include <array>
#include <cstddef>
#include <vector>

#include "planner/schedules/compact.hpp"

namespace orrery {

// The way of a micro-batch through a rank.
enum GridStep : std::size_t { kForwardDown, kForwardUp, kGradientUp, kGradientDown };
inline constexpr std::size_t kSteps = 4;

// [rank][step][micro-batch]: slot. Every list rises, no slot of a rank is taken twice, and every
// cell comes after what it needs.
using VGrid = std::vector<std::array<std::vector<int>, kSteps>>;

// Most activations of any rank at once.
int peak_of(const VGrid& grid);

// Cells in and after the warm-up, and then those of the cool-down once more, each as early as it
// can be without more activations than the most before; the steady state stays as it is ("squeeze"
// and "reorder" in the paper).
VGrid reorder(VGrid grid);

// Chunk 0 of a rank on the way down, 1 on the way up.
CompactOrder order_of(const VGrid& grid);

}  // namespace orrery
