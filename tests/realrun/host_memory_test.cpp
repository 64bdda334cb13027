#include "realrun/host_memory.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/realrun/tiny_runs.hpp"

namespace orrery {
namespace {

double elements(const Plan& plan) {
  double sum = 0;
  for (int rank = 0; rank < plan.layout.gpus(); ++rank) {
    for (const HeldGroup& group : gpu_parameters(plan, gpu_place(plan.layout, rank)).groups)
      sum += static_cast<double>(group.elements);
  }
  return sum;
}

TEST_CASE("a run holds values, gradients and its shards of the moments") {
  RunShape shape;
  shape.layout = sizes(1, 1);
  shape.layout.precision = Precision::kBf16;
  Plan alone = tiny_plan(shape);
  CHECK(host_memory(alone, HostScalar::kFloat, 0, 1) == Bytes{elements(alone) * 16});
  alone.training.moments = ScalarType::kBf16;
  CHECK(host_memory(alone, HostScalar::kDouble, 0, 1) == Bytes{elements(alone) * 20});
  alone.layout.precision = Precision::kFp8;
  CHECK(host_memory(alone, HostScalar::kFloat, 0, 1) == Bytes{elements(alone) * 16});

  shape.layout = sizes(1, 2);
  shape.layout.precision = Precision::kBf16;
  const Plan two = tiny_plan(shape);
  CHECK(host_memory(two, HostScalar::kFloat, 0, 2) == Bytes{elements(two) * 12});
  CHECK(host_memory(two, HostScalar::kFloat, 1, 1) == Bytes{elements(two) * 6});
}

TEST_CASE("what a machine cannot hold is refused before anything is allocated") {
  RunShape shape;
  shape.layout = sizes(1, 1);
  shape.model.hidden = 1 << 24;
  shape.model.vocab = 1 << 24;
  CHECK_THROWS_WITH(check_host_memory(tiny_plan(shape), HostScalar::kFloat, 0, 1),
                    Catch::Contains("1 rank of tiny need") && Catch::Contains("this machine has"));
}

}  // namespace
}  // namespace orrery
