// Times of a host: exact where measured, sensible between and beyond.
#include "sim/host_cost.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "core/error.hpp"
#include "tests/sim/hand_made_calibration.hpp"

namespace orrery {
namespace {

double seconds_of(const HostCost& costs, const Op& op) {
  return costs.op_time(op, Pass::kF).value();
}

// ---------------------------------------------------------------------------------------------------------------------
// The line

// 3 + 2 x exactly; and what a line cannot resolve goes through the origin: with relative errors the
// best factor of 1 s at 1 and 4 s at 2 is (1 + 2/4) / (1 + 4/16) = 1.2.
TEST_CASE("a cost line is fitted by relative errors and has neither a negative part") {
  using Points = std::vector<std::pair<double, double>>;
  const CostLine exact = fit_cost_line(Points{{1, 5}, {10, 23}, {1000, 2003}});
  CHECK(exact.fixed == Approx(3));
  CHECK(exact.per_unit == Approx(2));
  const CostLine superlinear = fit_cost_line(Points{{1, 1}, {2, 4}});
  CHECK(superlinear.fixed == 0);
  CHECK(superlinear.per_unit == Approx(1.2));
  const CostLine falling = fit_cost_line(Points{{1, 4}, {2, 1}});
  CHECK(falling.fixed == 0);
  CHECK(falling.per_unit > 0);
  const CostLine one = fit_cost_line(Points{{1e15, 5e-6}});
  CHECK(one.fixed == 0);
  CHECK(one.at(2e15) == Approx(1e-5));
}

// ---------------------------------------------------------------------------------------------------------------------
// Matrix products and attention

struct Machine {
  double fixed = 2e-6;
  double rate = 60e9;
  double time(double flops) const { return fixed + flops / rate; }
};

// FLOPs as the ops count them: rows of all groups in a grouped GEMM, tokens of one in a weight
// gradient.
double flops_of(KernelClass kernel, double m, double n, double k, int groups) {
  return 2 * m * n * k * (kernel == KernelClass::kGroupedWgrad ? groups : 1);
}

// Six rows with 0.4 % of noise give the law a + flops / rate within 1 % anywhere in their range.
TEST_CASE("a machine with a known law is reproduced from six rows") {
  const KernelClass kernel = GENERATE(KernelClass::kGemm, KernelClass::kGroupedGemm,
                                      KernelClass::kWgrad, KernelClass::kGroupedWgrad);
  const std::uint32_t seed = GENERATE(1u, 2u, 3u);
  CAPTURE(to_string(kernel), seed);
  const bool grouped = kernel == KernelClass::kGroupedGemm || kernel == KernelClass::kGroupedWgrad;
  const Machine machine;
  std::mt19937 random(seed);
  const double shapes[][4] = {{16, 32, 16, 2},    {64, 64, 32, 4},    {128, 256, 64, 2},
                              {512, 128, 128, 8}, {256, 512, 512, 4}, {1024, 1024, 256, 8}};
  HostCalibration host;
  for (const auto& [m, n, k, g] : shapes) {
    const int groups = grouped ? static_cast<int>(g) : 1;
    const double noise = std::uniform_real_distribution<double>(0.996, 1.004)(random);
    host.kernels.push_back(shape_row(kernel, m, n, k, groups,
                                     noise * machine.time(flops_of(kernel, m, n, k, groups))));
  }
  const HostCost costs(host);
  for (const double m : {16, 100, 1024}) {
    for (const double n : {48, 300, 2048}) {
      for (const double k : {16, 256, 1024}) {
        for (const int groups : {1, 4, 16}) {
          if (!grouped && groups > 1) continue;
          const double truth = machine.time(flops_of(kernel, m, n, k, groups));
          CAPTURE(m, n, k, groups);
          CHECK(seconds_of(costs, shape_op(kernel, m, n, k, groups)) ==
                Approx(truth).epsilon(0.01));
        }
      }
    }
  }
}

TEST_CASE("measured shapes are reproduced exactly, whatever the law makes of them") {
  const KernelClass kernel = GENERATE(
      KernelClass::kGemm, KernelClass::kGroupedGemm, KernelClass::kWgrad,
      KernelClass::kGroupedWgrad, KernelClass::kAttentionForward, KernelClass::kAttentionBackward);
  CAPTURE(to_string(kernel));
  std::mt19937 random(7);
  HostCalibration host;
  for (int row = 0; row < 12; ++row) {
    const auto size = [&] { return static_cast<double>(1 + random() % 1000); };
    host.kernels.push_back(shape_row(kernel, size(), size(), size(), 1 + int(random() % 8),
                                     1e-6 * (1 + random() % 1000)));
  }
  const HostCost costs(host);
  for (const HostKernelRow& row : host.kernels) {
    CHECK(seconds_of(costs, shape_op(kernel, row.m, row.n, row.k, row.groups)) ==
          Approx(row.time.median.value()).epsilon(1e-12));
  }
}

TEST_CASE("rows of one shape are averaged") {
  HostCalibration host;
  host.kernels = {shape_row(KernelClass::kGemm, 8, 8, 8, 1, 1e-6),
                  shape_row(KernelClass::kGemm, 8, 8, 8, 1, 3e-6),
                  shape_row(KernelClass::kGemm, 64, 64, 64, 1, 9e-5),
                  stream_row(KernelClass::kCast, 100, 1e-6),
                  stream_row(KernelClass::kCast, 100, 2e-6)};
  const HostCost costs(host);
  CHECK(seconds_of(costs, shape_op(KernelClass::kGemm, 8, 8, 8)) == Approx(2e-6));
  CHECK(seconds_of(costs, stream_op(KernelClass::kCast, 100)) == Approx(1.5e-6));
}

// Groups count as a coordinate: at the same m, n, k the two rows differ by their groups alone.
TEST_CASE("the number of groups is a coordinate of its own") {
  HostCalibration host;
  host.kernels = {shape_row(KernelClass::kGroupedGemm, 64, 64, 64, 2, 1e-5),
                  shape_row(KernelClass::kGroupedGemm, 64, 64, 64, 8, 2e-5)};
  const HostCost costs(host);
  const auto at = [&](int groups) {
    return seconds_of(costs, shape_op(KernelClass::kGroupedGemm, 64, 64, 64, groups));
  };
  CHECK(at(2) == Approx(1e-5));
  CHECK(at(4) == Approx(1.5e-5));  // halfway in log(groups)
  CHECK(at(8) == Approx(2e-5));
}

// A machine that is slower at small sizes: 1 FLOP/ns up to 3 FLOP/ns.
TEST_CASE(
    "between and beyond measured shapes a larger GEMM takes longer, at a rate like measured") {
  HostCalibration host;
  host.kernels = {shape_row(KernelClass::kGemm, 32, 64, 64, 1, 2.0 * 32 * 64 * 64 / 1e9),
                  shape_row(KernelClass::kGemm, 128, 64, 64, 1, 2.0 * 128 * 64 * 64 / 2e9),
                  shape_row(KernelClass::kGemm, 512, 64, 64, 1, 2.0 * 512 * 64 * 64 / 3e9)};
  const HostCost costs(host);
  double before = 0;
  for (int m = 1; m <= 100000; m += 1 + m / 20) {
    CAPTURE(m);
    const double time = seconds_of(costs, shape_op(KernelClass::kGemm, m, 64, 64));
    CHECK(time > before);
    if (m >= 32) {
      const double rate = 2.0 * m * 64 * 64 / time;
      CHECK(rate > 0.9e9);
      CHECK(rate < 3.5e9);
    }
    before = time;
  }
}

TEST_CASE("an expert without a token takes the fixed part of the law") {
  const Machine machine;
  HostCalibration host;
  for (const double m : {8.0, 64.0, 512.0}) {
    host.kernels.push_back(
        shape_row(KernelClass::kGroupedGemm, m, 64, 64, 2, machine.time(2 * m * 64 * 64)));
  }
  CHECK(seconds_of(HostCost(host), shape_op(KernelClass::kGroupedGemm, 0, 64, 64, 2)) ==
        Approx(machine.fixed));
}

// ---------------------------------------------------------------------------------------------------------------------
// Streaming kernels

// Rows of 1 us + 1 ns a byte, the middle one 10 % slower than the law.
TEST_CASE("a streaming kernel is exact where measured, monotone between and linear beyond") {
  HostCalibration host;
  host.kernels = {stream_row(KernelClass::kNorm, 1e6, 1e-6 + 1e-3),
                  stream_row(KernelClass::kNorm, 1e3, 1e-6 + 1e-6),
                  stream_row(KernelClass::kNorm, 3e4, 1.1 * (1e-6 + 3e-5))};
  const HostCost costs(host);
  for (const HostKernelRow& row : host.kernels) {
    CHECK(seconds_of(costs, stream_op(KernelClass::kNorm, row.amount)) == row.time.median.value());
  }
  double before = 0;
  for (double bytes = 1; bytes < 1e9; bytes *= 1.1) {
    const double time = seconds_of(costs, stream_op(KernelClass::kNorm, bytes));
    CAPTURE(bytes);
    CHECK(time > before);
    before = time;
  }
  // Halfway in the logarithms: the geometric mean.
  CHECK(seconds_of(costs, stream_op(KernelClass::kNorm, std::sqrt(1e3 * 3e4))) ==
        Approx(std::sqrt(2e-6 * 1.1 * 31e-6)));
  // Nothing to stream leaves an overhead of about 1 us; a thousand times as much, about 1 s.
  CHECK(seconds_of(costs, stream_op(KernelClass::kNorm, 1e-3)) == Approx(1e-6).epsilon(0.1));
  CHECK(seconds_of(costs, stream_op(KernelClass::kNorm, 1e9)) == Approx(1).epsilon(0.01));
  // No step at the ends.
  for (const double end : {1e3, 1e6}) {
    CHECK(seconds_of(costs, stream_op(KernelClass::kNorm, end * (1 - 1e-9))) ==
          Approx(seconds_of(costs, stream_op(KernelClass::kNorm, end * (1 + 1e-9)))).epsilon(1e-8));
  }
}

TEST_CASE("the amount of a kernel without bytes is what Op::amount counts") {
  HostCalibration host;
  host.kernels = {stream_row(KernelClass::kRouterTopk, 64, 5e-6),
                  stream_row(KernelClass::kSmall, 2, 1e-6)};
  const HostCost costs(host);
  CHECK(seconds_of(costs, shape_op(KernelClass::kRouterTopk, 64, 8, 0)) == 5e-6);
  Op small;
  small.kernel = KernelClass::kSmall;
  small.launches = 2;
  CHECK(seconds_of(costs, small) == 1e-6);
}

// ---------------------------------------------------------------------------------------------------------------------
// Transfers

Work transfer_work(Pattern pattern, int group, double logical, double nic, double nvlink) {
  Work work;
  work.wire = {pattern, group, Bytes{logical}, Bytes{nic}, Bytes{nvlink}};
  return work;
}

// 10 us + 1 ns a byte in groups of 2, 20 us + 2 ns in groups of 8.
TEST_CASE("a transfer takes the line of its pattern and of the nearest group") {
  HostCalibration host;
  for (const double bytes : {1e3, 1e5, 1e6}) {
    host.transfers.push_back(transfer_row(Pattern::kDispatch, 2, bytes, 10e-6 + 1e-9 * bytes));
    host.transfers.push_back(transfer_row(Pattern::kDispatch, 8, bytes, 20e-6 + 2e-9 * bytes));
  }
  const HostCost costs(host);
  struct Case {
    int group;
    double nic, nvlink, seconds;
  };
  // Bytes over NVLink, over both media, over a NIC alone, and over none: the time is the same.
  const Case each =
      GENERATE(Case{2, 0, 4e5, 510e-6}, Case{3, 0, 5e5, 510e-6}, Case{5, 0, 5e5, 1020e-6},
               Case{8, 1e5, 3e5, 1020e-6}, Case{64, 5e5, 0, 1020e-6}, Case{1, 0, 0, 510e-6});
  CAPTURE(each.group, each.nic, each.nvlink);
  const Work work = transfer_work(Pattern::kDispatch, each.group, 5e5, each.nic, each.nvlink);
  const TransferCost cost = costs.transfer(work, false, 0);
  CHECK(uncontended(work.wire, cost).value() == Approx(each.seconds).epsilon(1e-9));
  CHECK(uncontended(work.wire, costs.transfer(work, true, 0)) == uncontended(work.wire, cost));
  if (each.nvlink > 0) CHECK(cost.fixed.value() == Approx(each.group < 4 ? 10e-6 : 20e-6));
  const Work nothing = transfer_work(Pattern::kDispatch, 2, 0, 0, 0);
  CHECK(uncontended(nothing.wire, costs.transfer(nothing, false, 0)).value() == Approx(10e-6));
}

// Pairs were measured at 100 to 1,000 bytes, fours at up to 10 MB: at 5 MB the fours know better,
// at 500 bytes, and at 2,000, the pairs.
TEST_CASE("a transfer far beyond the bytes of its group takes the line of another group") {
  HostCalibration host;
  for (const double bytes : {1e2, 1e3})
    host.transfers.push_back(transfer_row(Pattern::kAllReduce, 2, bytes, 10e-6 + 1e-8 * bytes));
  for (const double bytes : {1e4, 1e7})
    host.transfers.push_back(transfer_row(Pattern::kAllReduce, 4, bytes, 20e-6 + 1e-9 * bytes));
  const HostCost costs(host);
  const auto [bytes, seconds] =
      GENERATE(table<double, double>({{5e2, 15e-6}, {2e3, 30e-6}, {1e4, 30e-6}, {5e6, 5020e-6}}));
  CAPTURE(bytes);
  const Work work = transfer_work(Pattern::kAllReduce, 2, bytes, 0, bytes);
  CHECK(uncontended(work.wire, costs.transfer(work, false, 0)).value() ==
        Approx(seconds).epsilon(1e-9));
}

// ---------------------------------------------------------------------------------------------------------------------
// What is missing, what is assumed

TEST_CASE("a class or pattern that was not measured is named with the command that measures it") {
  HostCalibration host;
  host.name = "desk";
  host.kernels = {stream_row(KernelClass::kCast, 1, 1)};
  const HostCost costs(host);
  const Op wgrad = shape_op(KernelClass::kWgrad, 1, 1, 1);
  const Work combine = transfer_work(Pattern::kCombine, 2, 1, 0, 1);
  CHECK_THROWS_AS(costs.op_time(wgrad, Pass::kF), InputError);
  CHECK_THROWS_WITH(costs.op_time(wgrad, Pass::kF),
                    Catch::Contains("calibration 'desk' has no kernel 'wgrad'") &&
                        Catch::Contains("precision=bf16"));
  CHECK_THROWS_WITH(costs.op_time(stream_op(KernelClass::kRope, 1), Pass::kF),
                    Catch::Contains("no kernel 'rope'"));
  CHECK_THROWS_WITH(costs.transfer(combine, false, 0), Catch::Contains("no transfer 'combine'") &&
                                                        Catch::Contains("orrery calibrate host"));
}

// The same op name in another pass is another kernel; an op with rows of its own takes those, and
// what a host has nothing to do for takes no time.
TEST_CASE("an op has the rows of its name, else those of its class, else no work") {
  HostCalibration host;
  host.device.without_work = {"slice (F)"};
  host.device.instruction = Seconds{0.25};
  HostKernelRow own = stream_row(KernelClass::kCopy, 100, 3);
  own.op = "join (F)";
  host.kernels = {stream_row(KernelClass::kCopy, 100, 1), own};
  const HostCost costs(host);
  Op op = stream_op(KernelClass::kCopy, 100);
  op.name = "join";
  CHECK(costs.op_time(op, Pass::kF).value() == Approx(3));
  CHECK(costs.op_time(op, Pass::kI).value() == Approx(2));  // of the class: the mean of its rows
  Op slice = op;
  slice.name = "slice";
  CHECK(costs.op_time(slice, Pass::kF).value() == 0);
  CHECK(costs.op_time(slice, Pass::kI).value() == Approx(2));
  Work work;
  work.pass = Pass::kF;
  work.ops = {op, slice};
  CHECK(costs.compute(work, 0).total().value() == Approx(3.25));
}

Program program_of(std::vector<Work> works) {
  Program program;
  program.works = std::move(works);
  return program;
}

Work compute_work(std::vector<Op> ops) {
  Work work;
  work.ops = std::move(ops);
  return work;
}

TEST_CASE("what lies beyond twice the measured range is assumed, one figure a class") {
  HostCalibration host;
  host.kernels = {shape_row(KernelClass::kGemm, 64, 64, 64, 1, 1e-5),
                  shape_row(KernelClass::kGemm, 256, 64, 64, 1, 4e-5),
                  stream_row(KernelClass::kCast, 1000, 1e-6),
                  stream_row(KernelClass::kCast, 4000, 3e-6)};
  host.transfers = {transfer_row(Pattern::kSend, 2, 1000, 1e-5)};
  const HostCost costs(host);
  CHECK(costs
            .assumed(program_of({compute_work({shape_op(KernelClass::kGemm, 32, 128, 32),
                                               shape_op(KernelClass::kGemm, 0, 64, 64),
                                               shape_op(KernelClass::kGemm, 512, 64, 64),
                                               stream_op(KernelClass::kCast, 500),
                                               stream_op(KernelClass::kCast, 8000)}),
                                 transfer_work(Pattern::kSend, 2, 2000, 0, 2000)}))
            .empty());
  CHECK(costs.assumed(program_of({compute_work({shape_op(KernelClass::kGemm, 600, 64, 64),
                                                shape_op(KernelClass::kGemm, 64, 64, 8),
                                                stream_op(KernelClass::kCast, 8400)}),
                                  transfer_work(Pattern::kSend, 4, 100, 0, 100)})) ==
        AssumedFigures{{"host: cast", "amount measured from 1000 to 4000, used at 8400"},
                       {"host: gemm", "k measured from 64 to 64, used at 8"},
                       {"host: send", "bytes measured from 1000 to 1000, used at 100"},
                       {"host: send group", "measured with groups of 2, used for 4"}});
}

}  // namespace
}  // namespace orrery
