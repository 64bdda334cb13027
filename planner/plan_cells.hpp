#pragma once
// What the cells of a Plan's schedule take: time, as the plan's own simulation gives it, and
// memory.
#include "core/plan.hpp"
#include "planner/device_model.hpp"
#include "planner/schedules/activation_bytes.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

// Times of the plan's cells without contention, each from the first start to the last end when it
// runs by itself (planner/chunk_times.hpp): F, I and W; full backwards, when their outputs leave
// and when they need the gradient; the latency of messages; and, for a schedule that has pairs,
// every pair of the chunks of a rank (whether the schedule has it or not), and when inside it the
// outputs leave and the gradient is needed.
CellTimes plan_cell_times(const Plan& plan, const CostSource& costs);

// Bytes of a micro-batch's activations in each stage, and what each rank has for them beside all
// else, with as many received messages under way as the plan's schedule has.
ActivationBytes plan_activation_bytes(const Plan& plan, const DeviceModel& device);

}  // namespace orrery
