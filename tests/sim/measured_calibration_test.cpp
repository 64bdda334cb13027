// Measurements of CUDA kernels as a calibration: the file of the H200 that ships, and what is wrong
// with others.
#include "sim/measured_calibration.hpp"

#include <catch2/catch.hpp>

#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "sim/calibrated_cost.hpp"
#include "tests/sim/example_calibration.hpp"
#include "workload/op_factory.hpp"

namespace orrery {
namespace {

const std::string kMeasuredFile = "reports/measured/h200-kernels-2026-11-27.json";
const std::string kDeviceFile = "calibration/h200.toml";

KernelMeasurements measurements_of(const std::string& path) {
  Diagnostics diagnostics;
  KernelMeasurements out = read_kernel_measurements(path, diagnostics);
  diagnostics.throw_if_errors();
  return out;
}

MeasuredCalibration calibrated(const std::string& path, const std::string& device = kDeviceFile) {
  Diagnostics diagnostics;
  const KernelMeasurements measurements = read_kernel_measurements(path, diagnostics);
  return measured_calibration(device, measurements, diagnostics);
}

TEST_CASE("measurements are read with their shapes, units and what ran beside them") {
  const KernelMeasurements all = measurements_of(kMeasuredFile);
  CHECK(all.device == "NVIDIA H200");
  CHECK(all.sms == 132);
  CHECK(all.source() ==
        kMeasuredFile + ": NVIDIA H200, driver 13.0, cuBLASLt 13.1.0, cuDNN 9.14.0, 2026-11-27");
  const auto find = [&](const std::string& kernel, int beside, int sms) {
    for (const KernelMeasurement& each : all.results) {
      if (each.kernel == kernel && each.beside_gbps == beside && each.sms == sms) return each;
    }
    throw std::logic_error("not there: " + kernel);
  };
  const KernelMeasurement alone = find("experts fc1 F", 0, 0);
  CHECK(alone.sizes == std::vector<double>{8192, 4096, 7168});
  CHECK(alone.groups == 4);
  CHECK(in_microseconds(alone.median) == Approx(1542.18));
  CHECK(alone.flops.value() == Approx(2.0 * 4 * 8192 * 4096 * 7168));
  CHECK(in_microseconds(find("experts fc1 F", 50, 132).median) == Approx(1802.78).epsilon(1e-5));
  CHECK(find("attention forward (cuDNN)", 160, 0).sizes ==
        std::vector<double>{4096, 128, 192, 128});
}

// The ops of a training step at the shapes of the benchmark, each with the bytes that its class
// counts: what the calibration says of them is what was measured.
TEST_CASE("an op of a measured shape takes the measured time") {
  const CalibratedCost cost(read_calibration(kDeviceFile), read_cluster("topologies/h200-8.toml"));
  const auto us = [&](const Op& op, int sms = 132) {
    return in_microseconds(cost.op_time(op, sms));
  };
  constexpr auto kFp8 = Precision::kFp8;
  CHECK(us(gemm("o_proj fprop", kFp8, 4096, 7168, 16384)) == Approx(751.36));
  CHECK(us(gemm("router gate", Precision::kBf16, 4096, 256, 7168)) == Approx(34.62));
  CHECK(us(wgrad("kv_down wgrad", kFp8, 576, 7168, 4096)) == Approx(51.01));
  CHECK(us(norm("norm", 4096, 7168)) == Approx(44.58));
  CHECK(us(norm_backward("norm backward", 4096, 7168)) == Approx(56.70 + 39.42).epsilon(2e-4));
  CHECK(us(cast("cast", 4096, 7168)) == Approx(31.84));
  CHECK(us(cast_transpose("cast", 32768, 7168)) == Approx(272.16));
  CHECK(us(rope("rope", 4096, 128 * 64)) == Approx(50.94));
  CHECK(us(by_rows("scores", KernelClass::kRouterSmall, 4096, 34)) == Approx(23.33));
  CHECK(us(by_rows("top-k", KernelClass::kRouterTopk, 4096)) == 0);
  CHECK(us(by_rows("finalize", KernelClass::kNormFinalize, 1)) == 0);
  const auto bytes = [](KernelClass kernel, double count) {
    return streaming("", kernel, DataType::kBf16, DataType::kBf16, 1, 1, Bytes{count});
  };
  // Read twice and overwritten; master, moments and gradient (workload/edge_ops.cpp).
  CHECK(us(bytes(KernelClass::kCrossEntropy, 6.0 * 4096 * 129280)) == Approx(768.86));
  CHECK(us(bytes(KernelClass::kOptimizer, 22.0 * (1 << 27))) == Approx(715.84));
  CHECK(us(bytes(KernelClass::kReduce, 2.0 * 7168 * (4096 + 32768))) == Approx(137.79));
  CHECK(us(bytes(KernelClass::kSwigluBackward, 10.0 * 32768 * 2048)) == Approx(161.44));
}

// Of experts' fc1 two measurements count: 8192 tiles of 128 x 128 are 63 waves on 132 SMs and 74 on
// the 112 beside an exchange; 1542.18 / 63 and 1802.78 / 74 us a wave differ by half a percent, and
// their mean holds for both.
TEST_CASE("a product measured alone and beside an exchange lies between the two measurements") {
  const CalibratedCost cost(read_calibration(kDeviceFile), read_cluster("topologies/h200-8.toml"));
  const Op op = grouped_gemm("fc1", Precision::kFp8, 4, 32768, 4096, 7168);
  const double mean = (1542.18 / 63 + 1802.78 / 74) / 2;
  CHECK(in_microseconds(cost.op_time(op, 132)) == Approx(mean * 63).epsilon(1e-6));
  CHECK(in_microseconds(cost.op_time(op, 112)) == Approx(mean * 74).epsilon(1e-6));
}

TEST_CASE("attention runs at the measured rate, its backward as one kernel") {
  const Calibration h200 = read_calibration(kDeviceFile);
  const auto& forward = h200.attention_rows.at(KernelClass::kAttentionForward);
  REQUIRE(forward.size() == 3);  // 4096 and 2048 alone, 4096 beside an exchange
  CHECK(in_teraflops(forward[0].rate) == Approx(594.9).epsilon(1e-4));
  CHECK(forward[2].sms == 112);
  CHECK(in_teraflops(forward[2].rate) == Approx(687.195 / 1303.68 * 1e3).epsilon(1e-4));
  CHECK(h200.stream_rows.at(KernelClass::kAttentionBackwardPre).within ==
        KernelClass::kAttentionBackward);
}

TEST_CASE("the shipped calibration of the H200 is what its measurements make") {
  const MeasuredCalibration again = calibrated(kMeasuredFile);
  CHECK(again.text == read_file(kDeviceFile));
  std::size_t rows = 0;
  for (const MeasuredTable& table : again.tables.tables) rows += table.rows.size();
  // A norm's backward is two measurements in one row, at two shapes.
  CHECK(rows + 2 + again.tables.unused.size() == measurements_of(kMeasuredFile).results.size());
}

TEST_CASE("of a device without FP8 none of it is asked for") {
  KernelMeasurements all = measurements_of(kMeasuredFile);
  std::erase_if(all.results, [](const KernelMeasurement& each) {
    return each.ceiling == "fp8" || each.kernel.starts_with("quantise") ||
           each.kernel.ends_with("E4M3");
  });
  Diagnostics diagnostics;
  const MeasuredTables tables = measured_tables(all, false, diagnostics);
  CHECK(diagnostics.render().empty());
  for (const MeasuredTable& table : tables.tables) {
    CAPTURE(to_string(table.kernel));
    CHECK(table.type != DataType::kFp8);
    CHECK(table.kernel != KernelClass::kCast);
    if (table.kernel != KernelClass::kSwiglu) continue;
    CHECK(table.rows.at(0).numbers.at(0) == 6.0 * 32768 * 2048);  // stores BF16
    CHECK(table.rows.at(0).numbers.at(1) == Approx(105.504));
  }
}

TEST_CASE("an exchange by few SMs is measured for itself: no table takes it") {
  Diagnostics diagnostics;
  KernelMeasurements all = read_kernel_measurements(kMeasuredFile, diagnostics);
  const MeasuredCalibration before = measured_calibration(kDeviceFile, all, diagnostics);
  for (const char* kernel : {"dispatch E4M3 to nodes by 20 SMs", "combine BF16 of nodes by 20 SMs",
                             "map of an exchange, nodes"}) {
    KernelMeasurement exchange = all.results[0];
    exchange.kernel = kernel;
    exchange.ceiling = "copy";
    all.results.push_back(exchange);
  }
  const MeasuredCalibration after = measured_calibration(kDeviceFile, all, diagnostics);
  CHECK(after.tables.unused.size() == before.tables.unused.size() + 3);
  CHECK(after.tables.tables.size() == before.tables.tables.size());
}

TEST_CASE("kernels at a small model's shapes change no calibration: it would say of them a launch") {
  Diagnostics diagnostics;
  KernelMeasurements all = read_kernel_measurements(kMeasuredFile, diagnostics);
  const MeasuredCalibration before = measured_calibration(kDeviceFile, all, diagnostics);
  std::vector<KernelMeasurement> tiny = all.results;
  for (KernelMeasurement& each : tiny) each.kernel = "tiny " + each.kernel;
  all.results.insert(all.results.end(), tiny.begin(), tiny.end());
  const MeasuredCalibration after = measured_calibration(kDeviceFile, all, diagnostics);
  CHECK(diagnostics.render().empty());
  CHECK(after.tables.unused.size() == before.tables.unused.size() + tiny.size());
  CHECK(after.text == before.text);
}

TEST_CASE("a device's name is that of its file") {
  CHECK(calibration_name("NVIDIA H200") == "h200");
  CHECK(calibration_name("NVIDIA A100-SXM4-80GB") == "a100-sxm4-80gb");
  CHECK(calibration_name("NVIDIA H100 80GB HBM3") == "h100");
}

std::string result(const char* kernel, const char* shape, const char* ceiling = "fp8",
                   double median = 10) {
  return fmt::format(
      R"({{"kernel": "{}", "shape": "{}", "sms": 0, "median_us": {}, "p10_us": 9, "p90_us": 11,
 "samples": 30, "flops": 1e9, "bytes": 1e6, "ceiling": "{}"}})",
      kernel, shape, median, ceiling);
}

std::string file_of(const std::string& results, const std::string& more = "") {
  return R"({"format_version": "1.0", "kind": "cuda-kernels", "device": "NVIDIA H200",
"driver": "13.0", "cuda": "13.0", "cublaslt": 130100, "cudnn": 91400,
"date": "2026-11-27T07:59:11Z", "sms": 132)" +
         more + ",\n\"results\": [\n" + results + "\n]}\n";
}

TEST_CASE("measurements that are wrong are refused with place and reason") {
  struct Case {
    std::string text, message;
  };
  const std::string good = result("o_proj F", "4096x7168x16384");
  const Case each = GENERATE_COPY(
      Case{"", "no JSON"}, Case{"[]", "expected an object"},
      Case{R"({"kind": "host"})", "no measured kernels"},
      Case{replaced(file_of(good), "\"1.0\"", "\"2.0\""), "format version 2.0"},
      Case{file_of(result("o_proj F", "4096x7168x16384", "fp8", -10)), "median_us"},
      Case{file_of(result("o_proj F", "4096x7168x16384", "fp4")), "fp4"},
      Case{file_of(result("o_proj F", "4096 by 7168")), "expected sizes such as"},
      Case{file_of(result("o_proj F", "4096x7168 x 0")), "expected sizes such as"},
      Case{file_of(result("o_proj F", "4096x7168")), "needs 3 sizes"},
      Case{file_of(result("attention forward (cuDNN)", "4096x128x128x128", "bf16")),
           "d_qk of 128, where the calibration's is 192"},
      Case{replaced(file_of(good), "\"sms\": 132", "\"sms\": 114"),
           "measured on a device of 114 SMs"},
      Case{replaced(file_of(good), "NVIDIA H200", "NVIDIA \\\"H200\\\""), "no quotes"},
      Case{file_of(good), "no measurement of 'RMSNorm'"},
      Case{file_of(good), "no product of class 'wgrad' in FP8"},
      Case{file_of(good), "scripts/measure_cuda.sh, run to its end"},
      Case{file_of(good, R"(, "failed": [{"kernel": "RoPE", "why": "out of memory"}])"),
           "'RoPE' failed there: out of memory"},
      Case{file_of(good + ",\n" + result("RMSNorm input gradient", "4096x7168", "copy")),
           "no measurement of 'RMSNorm weight gradient' at 4096x7168"});
  CAPTURE(each.text, each.message);
  const TemporaryDirectory directory;
  const std::string path = directory.write("kernels.json", each.text);
  CHECK_THROWS_AS(calibrated(path), InputError);
  if (each.message != "no JSON") {
    CHECK_THROWS_WITH(calibrated(path), Catch::Contains(each.message));
  }
  CHECK_THROWS_WITH(calibrated(directory.path_of("absent.json")), Catch::Contains("absent.json"));
}

TEST_CASE("only a calibration with a base takes measured rows") {
  CHECK_THROWS_WITH(calibrated(kMeasuredFile, "calibration/h800.toml"),
                    Catch::Contains("calibration/h800.toml") && Catch::Contains("has no base"));
}

}  // namespace
}  // namespace orrery
