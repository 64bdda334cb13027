#pragma once
// What the cells of a Plan's schedule take: time, as the plan's own simulation gives it, and memory.
#include "core/plan.hpp"
#include "planner/device_model.hpp"
#include "planner/schedules/activation_bytes.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

// Times of the plan's cells without contention: each kind of cell on each rank as the shortest of
// its kind takes, from its first start to its last end; when its outputs leave and its gradient is
// needed inside pairs; and the latency of messages. What no cell of the plan's schedule is (some
// pairs), is taken as its halves one after the other.
CellTimes plan_cell_times(const Plan& plan, const CostSource& costs);

// Bytes of a micro-batch's activations in each stage, and what each rank has for them beside all
// else, with as many received messages under way as the plan's schedule has.
ActivationBytes plan_activation_bytes(const Plan& plan, const DeviceModel& device);

}  // namespace orrery
