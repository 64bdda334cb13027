// A device of which some kernels were measured and the others follow another device's.
#include "sim/derived_calibration.hpp"

#include <catch2/catch.hpp>

#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "sim/calibrated_cost.hpp"
#include "tests/sim/example_calibration.hpp"

namespace orrery {
namespace {

// The H100 with tables of its own, its memory taken to be twice the H800's.
const std::string kTables = R"(
[[gemm_rows]]
kernel = "gemm"
dtype = "fp8"
sms = 132
source = "measured"
columns = ["m", "n", "k", "groups", "us"]
rows = [[4096, 7168, 16384, 1, 750]]
[[attention_rows]]
kernel = "attention-backward"
sms = 132
source = "measured, all three kernels"
columns = ["sequence", "gflop", "us"]
rows = [[4096, 1786.71, 4350]]
[[stream_rows]]
kernel = "attention-backward-pre"
within = "attention-backward"
source = "measured with it"
[[stream_rows]]
kernel = "router-small"
launches = 1
source = "measured"
columns = ["rows", "us"]
rows = [[4096, 23]]
)";

std::string derived() {
  return replaced(read_file("calibration/h100.toml"), "memory = { value = 1,",
                  "memory = { value = 2,") +
         kTables;
}

Op op_of(KernelClass kernel, int launches = 1) {
  Op op;
  op.kernel = kernel;
  op.m = 4096;
  op.launches = launches;
  return op;
}

ComputeCost cost_of(const Calibration& calibration, const Op& op) {
  Work work;
  work.ops = {op};
  return CalibratedCost(calibration, read_cluster("topologies/h100-128.toml")).compute(work, 0);
}

TEST_CASE("rows that a derived device has of a kernel take the place of its base's") {
  const Calibration base = read_calibration("calibration/h800.toml");
  const Calibration own = read_calibration_text(derived());
  const auto gemm = [](const Calibration& of, DataType type) {
    return of.gemm_rows.at({KernelClass::kGemm, type});
  };
  REQUIRE(gemm(own, DataType::kFp8).size() == 1);
  CHECK(gemm(own, DataType::kFp8)[0].time == microseconds(750));
  CHECK(gemm(own, DataType::kBf16)[0].time == gemm(base, DataType::kBf16)[0].time);
  CHECK(own.attention_rows.at(KernelClass::kAttentionBackward).size() == 1);
  CHECK(own.attention_rows.at(KernelClass::kAttentionForward).size() ==
        base.attention_rows.at(KernelClass::kAttentionForward).size());
  CHECK(own.attention_qk == 192);
  CHECK(own.exchanges.size() == base.exchanges.size());
  // 115.3 us of the H800 on memory twice as fast; what was measured is not scaled.
  CHECK(own.stream_rows.at(KernelClass::kNorm).points.back().second == microseconds(57.65));
  CHECK(own.stream_rows.at(KernelClass::kRouterSmall).points.back().second == microseconds(23));
  CHECK(own.hash != base.hash);
  CHECK(own.own == decltype(own.own){{KernelClass::kGemm, DataType::kFp8},
                                     {KernelClass::kAttentionBackward, DataType::kNone},
                                     {KernelClass::kAttentionBackwardPre, DataType::kNone},
                                     {KernelClass::kRouterSmall, DataType::kNone}});
}

// Launch gaps are 2 us each: 34 kernels of the H800's router have 68 us of them.
TEST_CASE(
    "a kernel measured within another one takes no time, one that does the work of many one gap") {
  const Calibration base = read_calibration("calibration/h800.toml");
  const Calibration own = read_calibration_text(derived());
  const ComputeCost within = cost_of(own, op_of(KernelClass::kAttentionBackwardPre));
  CHECK(within.busy == Seconds{});
  CHECK(within.gaps == Seconds{});
  CHECK(in_microseconds(cost_of(base, op_of(KernelClass::kRouterSmall, 34)).gaps) == Approx(68));
  const ComputeCost router = cost_of(own, op_of(KernelClass::kRouterSmall, 34));
  CHECK(in_microseconds(router.busy) == Approx(23));
  CHECK(in_microseconds(router.gaps) == Approx(2));
}

TEST_CASE("a table within another one needs one that was measured, and has no rows") {
  struct Case {
    const char *from, *to, *message;
  };
  const Case each =
      GENERATE(Case{"within = \"attention-backward\"", "within = \"attention-backwards\"",
                    "no table above this one has rows of 'attention-backwards'"},
               Case{"within = \"attention-backward\"", "within = \"router-small\"", "router-small"},
               Case{"within = \"attention-backward\"", "within = \"attention-backward-pre\"",
                    "no table above"},
               Case{"within = \"attention-backward\"", "within = \"norm\"", "no table above"},
               Case{"source = \"measured with it\"", "source = \"m\"\nrows = [[1, 2]]", "rows"},
               Case{"source = \"measured with it\"\n", "", "either a source"},
               Case{"launches = 1", "launches = 0", "'launches' must be at least 1"});
  CAPTURE(each.from, each.to);
  CHECK_THROWS_AS(read_calibration_text(replaced(derived(), each.from, each.to)), InputError);
  CHECK_THROWS_WITH(read_calibration_text(replaced(derived(), each.from, each.to)),
                    Catch::Contains(each.message));
}

}  // namespace
}  // namespace orrery
