#include "sim/host_calibration.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "core/error.hpp"
#include "tests/sim/example_calibration.hpp"

namespace orrery {
namespace {

const std::string kHost = R"(# a host
format_version = "1.0"
kind = "host"
name = "host"
[device]
cores = 2
memory = "23 GiB"
machine = "AMD EPYC, 2 cores"
scalar = "float"
hand_over = "12 us"
wake = "25 us"
instruction = "2 us"
without_work = ["slice k_rope"]
slowdown = [1.0, 1.08]
peak = "120 GFLOP/s"
meter = "5.1 us"
[[kernel]]
class = "gemm-grouped"
m = 256
n = 512
k = 128
groups = 4
amount = 0
median = "123.4 us"
p10 = "120 us"
p90 = "130 us"
samples = 40
[[kernel]]
class = "cast"
amount = 4096
median = "3 us"
p10 = "2 us"
p90 = "5 us"
samples = 41
[[transfer]]
pattern = "combine-gradient"
group = 3
bytes = 65536
median = "40 us"
p10 = "39 us"
p90 = "41 us"
samples = 42
)";

HostCalibration read_text(const std::string& text) {
  const TemporaryDirectory directory;
  return read_host_calibration(directory.write("host.toml", text));
}

TEST_CASE("the calibration of a host is read with its units") {
  const HostCalibration host = read_text(kHost);
  CHECK(host.name == "host");
  CHECK(host.device.cores == 2);
  CHECK(host.device.memory == gibibytes(23));
  CHECK(host.device.machine == "AMD EPYC, 2 cores");
  CHECK(host.device.scalar == "float");
  CHECK(host.device.hand_over == microseconds(12));
  CHECK(host.device.wake == microseconds(25));
  CHECK(host.device.slowdown == std::vector<double>{1, 1.08});
  CHECK(host.device.peak == FlopsPerSecond{120e9});
  CHECK(host.device.meter == Seconds{5.1e-6});
  REQUIRE(host.kernels.size() == 2);
  const HostKernelRow& gemm = host.kernels[0];
  CHECK(gemm.kernel == KernelClass::kGroupedGemm);
  CHECK(gemm.m == 256);
  CHECK(gemm.n == 512);
  CHECK(gemm.k == 128);
  CHECK(gemm.groups == 4);
  CHECK(gemm.time == MeasuredTime{microseconds(120), Seconds{123.4e-6}, microseconds(130), 40});
  CHECK(host.kernels[1] == HostKernelRow{"",
                                         KernelClass::kCast,
                                         0,
                                         0,
                                         0,
                                         1,
                                         4096,
                                         {microseconds(2), microseconds(3), microseconds(5), 41}});
  REQUIRE(host.transfers.size() == 1);
  CHECK(host.transfers[0] ==
        HostTransferRow{Pattern::kCombineGradient,
                        3,
                        Bytes{65536},
                        {microseconds(39), microseconds(40), microseconds(41), 42}});
}

TEST_CASE("what is written is read back to the last bit, and written again the same") {
  const TemporaryDirectory directory;
  const auto check = [&](const HostCalibration& host) {
    const std::string text = write_host_calibration(host);
    const std::string path = directory.write("written.toml", text);
    INFO(text);
    CHECK(read_host_calibration(path) == host);
    CHECK(write_host_calibration(read_host_calibration(path)) == text);
  };
  SECTION("the example") {
    check(read_text(kHost));
  }
  SECTION("names that need escapes") {
    HostCalibration host = read_text(kHost);
    host.name = "a \"host\"";
    host.device.machine = "back\\slash, tab\t, line\n, delete\x7f, \xc3\xa9";
    host.device.scalar = "double";
    check(host);
  }
  SECTION("every class and pattern with any times") {
    std::mt19937 random(1);
    const auto uniform = [&] { return std::uniform_real_distribution<double>()(random); };
    const auto time = [&] {
      const Seconds median{1e-7 * std::pow(10, 7 * uniform())};
      return MeasuredTime{median * (1 - 0.5 * uniform()), median, median * (1 + uniform()),
                          static_cast<int>(1 + random() % 1000), median * (0.5 + uniform())};
    };
    HostCalibration host;
    host.device = {3,
                   Bytes{1e9 / 7},
                   "any",
                   "float",
                   Seconds{1e-5 / 3},
                   Seconds{},
                   Seconds{1e-6 / 7},
                   {1, 1 + 1.0 / 3, 1.5},
                   {"slice k_rope (F)", "a \"quoted\" name"},
                   FlopsPerSecond{1e11 / 9},
                   Seconds{1e-6 / 3}};
    for (int kernel = 0; kernel < static_cast<int>(KernelClass::kCount); ++kernel) {
      const auto name = static_cast<KernelClass>(kernel);
      const bool streams = kernel_kind(name) == KernelKind::kStreaming;
      host.kernels.push_back({kernel % 2 == 0 ? "named op (W)" : "", name, 1 + 1e4 * uniform(),
                              1 + 1e4 * uniform(), 1 + 1e4 * uniform(),
                              static_cast<int>(1 + random() % 64),
                              streams ? 1 + 1e12 * uniform() : 0, time()});
    }
    for (int pattern = static_cast<int>(Pattern::kDispatch);
         pattern <= static_cast<int>(Pattern::kAllReduce); ++pattern) {
      host.transfers.push_back({static_cast<Pattern>(pattern), static_cast<int>(1 + random() % 64),
                                Bytes{1 + 1e9 * uniform()}, time()});
    }
    check(host);
  }
}

TEST_CASE("a written calibration says what it is") {
  const std::string text = write_host_calibration(read_text(kHost));
  CHECK_THAT(text, Catch::StartsWith("# What the kernels and exchanges"));
  CHECK_THAT(text, Catch::Contains("orrery calibrate host"));
  CHECK_THAT(text,
             Catch::Contains("[[kernel]]\nclass = \"gemm-grouped\"\nm = 256\nn = 512\nk = 128\n"
                             "groups = 4\nmedian = \"123.4 us\"\np10 = \"120 us\"\n"));
  CHECK_THAT(text, Catch::Contains("slowdown = [1, 1.08]"));
}

// What is wrong, as a change of the good file, and what the message must say.
struct Malformed {
  const char *from, *to, *message;
};

const Malformed kMalformed[] = {
    {"format_version = \"1.0\"", "format_version = \"2.0\"", "format version 2.0 is not supported"},
    {"format_version = \"1.0\"\n", "", "missing key 'format_version'"},
    {"kind = \"host\"\n", "", "this is not the calibration of a host"},
    {"kind = \"host\"", "kind = \"gpu\"", "bad.toml:3:8"},
    {"kind = \"host\"", "kind = 1", "this is not the calibration of a host"},
    {"name = \"host\"\n", "", "missing key 'name'"},
    {"[device]", "[devise]", "did you mean 'device'?"},
    {"cores = 2\n", "cores = 0\n", "'cores' must be at least 1, found 0"},
    {"memory = \"23 GiB\"\n", "", "missing key 'memory' in [device]"},
    {"\"23 GiB\"", "\"23 GHz\"", "unknown unit 'GHz'"},
    {"machine = \"AMD EPYC, 2 cores\"\n", "", "missing key 'machine' in [device]"},
    {"scalar = \"float\"", "scalar = \"flaot\"", "did you mean 'float'?"},
    {"hand_over = \"12 us\"", "hand_over = \"-12 us\"", "negative"},
    {"wake = \"25 us\"", "wake = 25", "expected a time"},
    {"wake = \"25 us\"", "wake = \"25 GB\"", "expected a time"},
    {"peak = \"120 GFLOP/s\"", "peak = \"0 GFLOP/s\"", "'peak' must not be zero"},
    {"slowdown = [1.0, 1.08]\n", "", "missing key 'slowdown' in [device]"},
    {"[1.0, 1.08]", "1.08", "expected an array for 'slowdown'"},
    {"[1.0, 1.08]", "[1.0]", "expected a slowdown for each of 2 cores, found 1"},
    {"[1.0, 1.08]", "[1.05, 1.08]", "one busy core is not slowed down, found 1.05"},
    {"[1.0, 1.08]", "[1.0, 0.9]", "a slowdown is a number from 1"},
    {"[1.0, 1.08]", "[1.0, nan]", "a slowdown is a number from 1"},
    {"[1.0, 1.08]", "[1.0, \"2\"]", "bad.toml:14:18"},
    {"class = \"cast\"", "class = \"csat\"", "did you mean 'cast'?"},
    {"class = \"cast\"", "class = \"csat\"", "bad.toml:29:9"},
    {"meter = \"5.1 us\"", "meter = \"0 us\"", "'meter' must not be zero"},
    {"class = \"cast\"\n", "", "missing key 'class' in [kernel[1]]"},
    {"class = \"cast\"", "class = \"gemm\"", "missing key 'm' in [kernel[1]]"},
    {"class = \"gemm-grouped\"", "class = \"gemm-gruoped\"", "unknown kernel class 'gemm-gruoped'"},
    {"m = 256", "m = 0", "'m' must be 1 to"},
    {"n = 512", "n = \"512\"", "expected a number for 'n'"},
    {"k = 128", "k = inf", "'k' must be 1 to"},
    {"groups = 4", "groups = 0", "'groups' must be at least 1, found 0"},
    {"amount = 4096\n", "", "missing key 'amount' in [kernel[1]]"},
    {"amount = 4096", "amount = 0", "'amount' must be 1 to"},
    {"median = \"3 us\"", "median = \"0 us\"", "'median' must not be zero"},
    {"median = \"3 us\"", "median = \"-3 us\"", "negative"},
    {"median = \"3 us\"", "median = \"6 us\"",
     "expected p10 <= median <= p90, found 2 us, 6 us, 5 us"},
    {"median = \"3 us\"", "median = \"1 us\"", "expected p10 <= median <= p90"},
    {"median = \"3 us\"\n", "", "missing key 'median' in [kernel[1]]"},
    {"samples = 41", "samples = 0", "'samples' must be at least 1"},
    {"samples = 41", "sampels = 41", "did you mean 'samples'?"},
    {"combine-gradient", "combine-gradeint", "did you mean 'combine-gradient'?"},
    {"pattern = \"combine-gradient\"", "pattern = \"none\"", "unknown pattern 'none'"},
    {"group = 3", "group = 0", "'group' must be at least 1"},
    {"bytes = 65536", "bytes = 0", "'bytes' must be 1 to"},
    {"bytes = 65536\n", "", "missing key 'bytes' in [transfer[0]]"},
    {"[[transfer]]", "[transfer]", "expected an array of tables for 'transfer'"},
};

TEST_CASE("a malformed calibration of a host is refused with the place and the reason") {
  const TemporaryDirectory directory;
  for (const Malformed& each : kMalformed) {
    CAPTURE(each.from, each.to, each.message);
    const std::string path = directory.write("bad.toml", replaced(kHost, each.from, each.to));
    CHECK_THROWS_AS(read_host_calibration(path), InputError);
    CHECK_THROWS_WITH(read_host_calibration(path),
                      Catch::Contains(each.message) && Catch::Contains(path));
  }
}

TEST_CASE("a calibration of a host without kernels is refused") {
  const std::string text = kHost.substr(0, kHost.find("[[kernel]]"));
  CHECK_THROWS_WITH(read_text(text), Catch::Contains("no [[kernel]] has been measured"));
}

TEST_CASE("the calibration of a GPU is told from one of a host in one message") {
  CHECK_THROWS_WITH(
      read_text(kSmallCalibration),
      Catch::Contains("this is not the calibration of a host") && !Catch::Contains("unknown key"));
}

TEST_CASE("all errors of a calibration of a host are reported at once") {
  std::string text = replaced(kHost, "cores = 2\n", "cores = 0\n");
  text = replaced(text, "class = \"cast\"", "class = \"csat\"");
  text = replaced(text, "bytes = 65536", "bytes = 0");
  CHECK_THROWS_WITH(read_text(text), Catch::Contains("cores") && Catch::Contains("csat") &&
                                         Catch::Contains("bytes"));
}

}  // namespace
}  // namespace orrery
