// The times of the ops of one DeepSeek-V3 layer against the public training profile, row by row:
// 112 SMs, the other 20 lent to communication. What each check rests on:
//   out of sample  GEMMs by standalone measurements alone (DeepGEMM's tables, 132 SMs, nothing
//   beside them) in sample      every row by the calibration that was made from the profile left
//   out       every row by a calibration from which all rows of its shape are removed
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "core/cluster_reader.hpp"
#include "sim/calibrated_cost.hpp"
#include "tests/workload/op_table.hpp"

namespace orrery {
namespace {

constexpr int kSms = 112;

struct Timed {
  OpTableRow row;
  Op op;
  Pass pass = Pass::kF;
  double predicted = 0;  // us

  double error() const { return predicted / row.us - 1; }
};

// Ops and rows side by side; predicted is still 0.
std::vector<Timed> timed_rows() {
  std::vector<Timed> all;
  for (const TraceComponent& component : trace_components()) {
    const std::vector<OpTableRow> rows = compute_rows(component.name);
    for (std::size_t place = 0; place < rows.size(); ++place) {
      all.push_back({rows[place], component.ops.at(place), component.pass});
    }
  }
  return all;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double median_error(const std::vector<Timed>& rows) {
  std::vector<double> errors;
  for (const Timed& row : rows) errors.push_back(std::abs(row.error()));
  return median(errors);
}

// Narrow enough for Catch's 80 columns.
std::string table(std::string_view title, const std::vector<Timed>& rows) {
  std::string text = fmt::format("{}\n row component predicted  measured   error  op, us\n", title);
  for (const Timed& each : rows) {
    text += fmt::format("{:4} {:9} {:9.2f} {:9.2f} {:+7.1f}%  {:.28}\n", each.row.row,
                        each.row.component, each.predicted, each.row.us, 100 * each.error(),
                        each.row.op);
  }
  return text;
}

std::string summary(std::string_view title, const std::vector<Timed>& rows) {
  std::vector<double> gemms;
  for (const Timed& each : rows) {
    if (each.op.flops.value() > 0) gemms.push_back(std::abs(each.error()));
  }
  return fmt::format(
      "{}: median absolute error {:.2f} % of {} rows, {:.2f} % of the {} GEMMs and attentions",
      title, 100 * median_error(rows), rows.size(), 100 * median(gemms), gemms.size());
}

std::vector<Timed> worst(std::vector<Timed> rows, std::size_t count) {
  std::stable_sort(rows.begin(), rows.end(), [](const Timed& a, const Timed& b) {
    return std::abs(a.error()) > std::abs(b.error());
  });
  rows.resize(std::min(count, rows.size()));
  return rows;
}

Calibration h800() {
  return read_calibration("calibration/h800.toml");
}
Cluster cluster() {
  return read_cluster("topologies/h800-64.toml");
}

// Nothing of the profile enters: the tile law is fitted to DeepGEMM's tables at 132 SMs (FP8; BF16
// at twice K), and 112 SMs change the number of waves alone.
TEST_CASE(
    "standalone measurements predict every forward and input-gradient GEMM of the profile within "
    "20 %") {
  const CalibratedCost cost(h800(), cluster(), GemmEvidence::kStandalone);
  std::vector<Timed> gemms;
  for (Timed& each : timed_rows()) {
    if (each.row.kind != "gemm" && each.row.kind != "gemm_grouped") continue;
    each.predicted = in_microseconds(cost.op_time(each.op, kSms));
    gemms.push_back(std::move(each));
  }
  CHECK(gemms.size() == 22);
  WARN(table("GEMMs of the profile, out of sample", gemms) + summary("out of sample", gemms));
  for (const Timed& each : gemms) {
    CAPTURE(each.row.row, each.row.op, each.predicted, each.row.us);
    CHECK(std::abs(each.error()) <= 0.20);
  }
}

TEST_CASE("the calibration reproduces the profile it was made from with a median error below 3 %") {
  const CalibratedCost cost(h800(), cluster());
  std::vector<Timed> rows = timed_rows();
  for (Timed& each : rows) each.predicted = in_microseconds(cost.op_time(each.op, kSms));
  CHECK(rows.size() == 166);
  WARN(table("the worst in sample", worst(rows, 12)) + summary("in sample", rows));
  CHECK(median_error(rows) <= 0.03);
}

// F 8.97, I 14.65, W 7.45 ms: sums of the rows, published to two decimals.
TEST_CASE(
    "a MoE layer computes 8.97 ms forward, 14.65 ms for inputs and 7.45 ms for weights, within 2 "
    "%") {
  const CalibratedCost cost(h800(), cluster());
  std::map<Pass, double> busy;
  for (const TraceComponent& component : trace_components()) {
    Work work;
    work.ops = component.ops;
    busy[component.pass] += in_milliseconds(cost.compute(work, 132 - kSms).busy);
  }
  WARN(fmt::format("busy time of a layer: F {:.3f}, I {:.3f}, W {:.3f} ms", busy[Pass::kF],
                   busy[Pass::kI], busy[Pass::kW]));
  CHECK(busy[Pass::kF] == Approx(8.97).epsilon(0.02));
  CHECK(busy[Pass::kI] == Approx(14.65).epsilon(0.02));
  CHECK(busy[Pass::kW] == Approx(7.45).epsilon(0.02));
}

// The calibration without the measurements of one op; nothing where no other of its kernel is left.
std::optional<Calibration> without(const Calibration& all, const Op& op) {
  Calibration rest = all;
  if (auto gemms = rest.gemm_rows.find({op.kernel, op.in}); gemms != rest.gemm_rows.end()) {
    std::erase_if(gemms->second, [&](const GemmRow& row) {
      return row.m == op.m && row.n == op.n && row.k == op.k;
    });
    const bool wgrad = op.kernel == KernelClass::kWgrad || op.kernel == KernelClass::kGroupedWgrad;
    // A weight gradient has no law but that of the others.
    if (gemms->second.empty() && wgrad) return std::nullopt;
    return rest;
  }
  if (auto attention = rest.attention_rows.find(op.kernel);
      attention != rest.attention_rows.end()) {
    std::erase_if(attention->second, [&](const AttentionRow& row) { return row.sms == kSms; });
    if (attention->second.empty()) return std::nullopt;
    return rest;
  }
  auto& points = rest.stream_rows.at(op.kernel).points;
  if (points.size() < 2) return std::nullopt;
  // A table's amounts are rounded: the nearest is the op's own.
  const auto own =
      std::min_element(points.begin(), points.end(), [&](const auto& a, const auto& b) {
        return std::abs(a.first - op.amount()) < std::abs(b.first - op.amount());
      });
  points.erase(own);
  return rest;
}

// How good interpolation is where nothing was measured. The bound is the spread of one and the same
// kernel within the profile: casts of 88997888 bytes took 45 to 57 us, +-12 % about their mean.
TEST_CASE("without its own measurement a row is still predicted with a median error below 12 %") {
  const Calibration all = h800();
  std::vector<Timed> rows;
  for (Timed& each : timed_rows()) {
    const std::optional<Calibration> rest = without(all, each.op);
    if (!rest) continue;
    each.predicted = in_microseconds(CalibratedCost(*rest, cluster()).op_time(each.op, kSms));
    rows.push_back(std::move(each));
  }
  WARN(table("the worst without their own measurement", worst(rows, 15)) +
       summary("left out", rows));
  CHECK(rows.size() > 100);
  CHECK(median_error(rows) <= 0.12);
}

// Attention away from the profile: alone on 132 SMs it takes InferSim's time, and twice the
// sequence four times as long at the rate of the longer one.
TEST_CASE("attention takes its measured time on its own SMs and sequence") {
  const CalibratedCost cost(h800(), cluster());
  Shard shard = trace_shard();
  for (const auto& [sequence, us] : {std::pair{4096, 1104.69}, {8192, 4538.83}, {32768, 76337.7}}) {
    shard.tokens = shard.sequence = sequence;
    CAPTURE(sequence);
    CHECK(in_microseconds(cost.op_time(attention_forward_kernel(shard), 132)) ==
          Approx(us).epsilon(1e-4));
  }
  shard.tokens = shard.sequence = 4096;
  CHECK(in_microseconds(cost.op_time(attention_forward_kernel(shard), 112)) ==
        Approx(1237).epsilon(1e-4));
}

// Streaming kernels: linear in the logarithms between measured amounts, at the rate of the last one
// outside; never shorter than a launch.
TEST_CASE("streaming kernels take time by amount, whatever the SMs") {
  const CalibratedCost cost(h800(), cluster());
  Op op;
  op.kernel = KernelClass::kElementwise;
  const auto us = [&](double bytes, int sms = 112) {
    op.bytes = Bytes{bytes};
    return in_microseconds(cost.op_time(op, sms));
  };
  CHECK(us(117440512) == Approx(41));
  CHECK(us(117440512, 132) == us(117440512, 112));
  CHECK(us(10 * 176160768.0) == Approx(10 * 56.88));
  const double between = us(140e6);
  CHECK(between > 41);
  CHECK(between < 56.88);
  CHECK(between == Approx(41 * std::pow(56.88 / 41, std::log(140e6 / 117440512) / std::log(1.5))));
  CHECK(us(1) == 2);  // the launch gap
  double before = 0;
  for (double bytes = 1e3; bytes < 1e10; bytes *= 1.3) {
    if (bytes < 1909504 || bytes > 1937792) CHECK(us(bytes) >= before * 0.8);
    before = us(bytes);
  }
}

}  // namespace
}  // namespace orrery
