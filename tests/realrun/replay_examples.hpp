#pragma once
// Predicted timelines of plans, of kernels whose times are a made-up function of their op.
#include <vector>

#include "realrun/replay.hpp"
#include "realrun/simulated_device.hpp"
#include "sim/analytic.hpp"
#include "sim/cost_source.hpp"
#include "tests/planner/published_plan.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"

namespace orrery {

// Products by their FLOPs on the SMs that they have, everything else by its bytes.
inline Seconds made_up_time(const Op& op, int lent_sms) {
  return op.flops / FlopsPerSecond{5e12 * (132 - lent_sms)} +
         Bytes{op.amount()} / BytesPerSecond{2e12} + microseconds(3);
}

class MadeUpCosts : public CostSource {
 public:
  ComputeCost compute(const Work& work, int lent_sms) const override {
    ComputeCost cost;
    for (const Op& op : work.ops) cost.busy += made_up_time(op, lent_sms);
    return cost;
  }
  TransferCost transfer(const Work&, bool, int) const override {
    return {microseconds(20), gigabytes_per_second(40), gigabytes_per_second(160)};
  }
  AssumedFigures assumed(const Program&) const override { return {}; }
};

inline SimulatedDevice made_up_device(double slower = 1) {
  return {"made up", [slower](const KernelCall& call) {
            return slower * made_up_time(*call.op, call.lent_sms);
          }};
}

struct PredictedPlan {
  explicit PredictedPlan(Plan of) : plan(std::move(of)), program(lower(plan)) {
    timeline = run_analytic(program, MadeUpCosts{}, plan.layout.gpus());
  }
  explicit PredictedPlan(const PlanShape& shape) : PredictedPlan(plan_of(shape)) {}

  // All of it later.
  Timeline shifted(Seconds by) const {
    Timeline later = timeline;
    for (Span& span : later.spans) span = {span.start + by, span.end + by};
    later.step += by;
    return later;
  }
  ReplayScript script(int rank, int pairs = 0) const {
    return replay_script(plan, program, timeline, Rank(rank), pairs);
  }

  Plan plan;
  Program program;
  Timeline timeline;
};

// Every family of the examples, and DeepSeek-V3 in DualPipe as it was trained.
inline std::vector<Plan> replayed_plans() {
  std::vector<Plan> plans = {PublishedPlan().plan};
  for (const PlanShape& shape : plan_shapes()) plans.push_back(plan_of(shape));
  return plans;
}

}  // namespace orrery
