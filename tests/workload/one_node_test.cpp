#include <catch2/catch.hpp>

#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

// Where all GPUs share a node, nothing goes over a NIC: such a cluster may have none.
TEST_CASE("on one node every byte goes over NVLink") {
  for (const PlanShape& shape : plan_shapes()) {
    Plan plan = plan_of(shape);
    plan.cluster.nodes = 1;
    plan.cluster.gpus_per_node = plan.layout.gpus();
    CAPTURE(plan.schedule.family, describe(plan.layout));
    const Program program = lower(plan);
    for (const Instruction& instruction : program.instructions) {
      const Work& work = program.work(instruction);
      CAPTURE(work.name);
      CHECK(work.wire.nic == Bytes{});
    }
  }
}

}  // namespace
}  // namespace orrery
