#pragma once
// Interleaved 1F1B (Narayanan et al., "Efficient Large-Scale Language Model Training on GPU
// Clusters Using Megatron-LM", SC'21, arXiv 2104.04473, section 2.2): each rank holds v chunks,
// chunk j of rank r is stage j p + r, and micro-batches go through in groups of p. The bubble is
// 1/v of 1F1B's.
//
// The overlapped form is Megatron Core's combined 1F1B (`overlap_moe_expert_parallel_comm`): one
// more forward is taken in at first, so that the forward and the backward of every steady step
// belong to independent micro-batches and run as one F&B cell, whose expert-parallel exchanges hide
// under the other half's computation. One more chunk activation, and two more hops a step that
// nothing hides.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// m a multiple of pp; chunks >= 2 (2 where the request leaves it open).
Schedule interleaved(const ScheduleRequest& request);
std::optional<std::string> interleaved_why_not(const ScheduleRequest& request);

// The same, and m > pp.
Schedule interleaved_overlap(const ScheduleRequest& request);
std::optional<std::string> interleaved_overlap_why_not(const ScheduleRequest& request);

}  // namespace orrery
