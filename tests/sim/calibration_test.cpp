#include "sim/calibration.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/hash.hpp"
#include "tests/sim/example_calibration.hpp"

namespace orrery {
namespace {

TEST_CASE("a calibration is read with its units, tables and assumed figures") {
  const Calibration small = read_calibration_text(kSmallCalibration);
  CHECK(small.device.name == "small");
  CHECK(small.device.sms == 100);
  CHECK(small.device.memory == gigabytes(80));
  CHECK(small.device.bf16_peak == teraflops(1000));
  CHECK(small.device.launch_gap == microseconds(2));
  CHECK(small.device.exchange_buffers == gibibytes(1));
  CHECK(small.hash == hash_text(kSmallCalibration));
  CHECK(small.gemm_laws.at("tiles").rows.size() == 2);
  CHECK(small.gemm_laws.at("tiles").rows[1].time == microseconds(18));
  CHECK(small.gemm_laws.at("tiles").rows[1].sms == 100);
  CHECK(small.bf16_k_scale == 2);
  CHECK(small.gemm_rows.at({KernelClass::kGemm, DataType::kFp8}).at(0).sms == 80);
  CHECK(in_teraflops(small.attention_rows.at(KernelClass::kAttentionForward).at(0).rate) ==
        Approx(600));
  CHECK(small.stream_rows.at(KernelClass::kCast).points.size() == 2);
  CHECK_FALSE(small.stream_rows.at(KernelClass::kCast).assumed);
  CHECK(small.stream_rows.at(KernelClass::kOptimizer).assumed == "like a cast");
  CHECK(small.exchanges.at({Pattern::kDispatch, false}).rows.size() == 2);
  CHECK(small.exchanges.at({Pattern::kDispatch, false}).overhead == microseconds(100));
  CHECK(small.transport_nic == gigabytes_per_second(40));
  CHECK(small.assumed == AssumedFigures{{"small: device.exchange_buffers", "a guess"}});
}

TEST_CASE("points of a table may stand in any order") {
  const Calibration small = read_calibration_text(
      replaced(kSmallCalibration, "[[1e6, 5], [1e8, 50]]", "[[1e8, 50], [1e6, 5]]"));
  const auto& points = small.stream_rows.at(KernelClass::kCast).points;
  REQUIRE(points.size() == 2);
  CHECK(points[0].first == 1e6);
  CHECK(points[1].second == microseconds(50));
}

TEST_CASE("several gemm_rows tables of one kernel are joined, as for different numbers of SMs") {
  const std::string more =
      "[[gemm_rows]]\nkernel = \"gemm\"\ndtype = \"fp8\"\nsms = 60\nsource = \"s\"\n"
      "columns = [\"m\", \"n\", \"k\", \"groups\", \"us\"]\nrows = [[1, 1, 1, 1, 9]]\n";
  const Calibration small = read_calibration_text(kSmallCalibration + more);
  const auto& rows = small.gemm_rows.at({KernelClass::kGemm, DataType::kFp8});
  REQUIRE(rows.size() == 2);
  CHECK(rows[1].sms == 60);
}

// Every result counts the assumed figures it rests on, so a table that is assumed must not pass for
// a measured one.
TEST_CASE("a table marked as assumed is listed with its reason") {
  struct Case {
    const char *from, *to, *name;
  };
  const Case each =
      GENERATE(Case{"sms = 100\nsource = \"a table\"", "sms = 100\nassumed = \"why\"",
                    "small: gemm_laws 'tiles'"},
               Case{"sms = 80\nsource = \"a trace\"", "sms = 80\nassumed = \"why\"",
                    "small: gemm_rows of gemm in fp8"},
               Case{"sms = 100\nsource = \"a trace\"", "sms = 100\nassumed = \"why\"",
                    "small: attention_rows of attention-forward"},
               Case{"source = \"a README\"", "assumed = \"why\"", "small: exchanges of dispatch"},
               Case{"source = \"a README\"", "assumed = \"why\"\nbeside_compute = true",
                    "small: exchanges of dispatch beside compute"});
  CAPTURE(each.name);
  const Calibration small = read_calibration_text(replaced(kSmallCalibration, each.from, each.to));
  CHECK(small.assumed.size() == 2);
  CHECK(std::count(small.assumed.begin(), small.assumed.end(), AssumedFigure{each.name, "why"}) ==
        1);
}

// A device described by the H800's kernels: one SM of an A100 does 312 / 108 against 989 / 132
// TFLOPS and its memory moves 2.039 against 3.35 TB/s.
TEST_CASE("a device may be described by another one's kernels, scaled") {
  const Calibration base = read_calibration("calibration/h800.toml");
  const Calibration a100 = read_calibration("calibration/a100.toml");
  CHECK(a100.device.name == "a100");
  CHECK(a100.base == "h800");
  CHECK(a100.device.sms == 108);
  CHECK_FALSE(a100.device.fp8);
  const auto law = [](const Calibration& of) { return of.gemm_laws.at("fp8-128x128").rows[0]; };
  CHECK(law(base).time / law(a100).time == Approx((312.0 / 108) / (989.0 / 132)).epsilon(1e-4));
  CHECK(law(a100).sms == law(base).sms);
  const auto gemm = [](const Calibration& of) {
    return of.gemm_rows.at({KernelClass::kGemm, DataType::kBf16})[0].time;
  };
  CHECK(gemm(base) / gemm(a100) == Approx(0.3856));
  const auto attention = [](const Calibration& of) {
    return of.attention_rows.at(KernelClass::kAttentionForward)[0].rate;
  };
  CHECK(attention(a100) / attention(base) == Approx(0.3856));
  const auto stream = [](const Calibration& of) {
    return of.stream_rows.at(KernelClass::kNorm).points[0];
  };
  CHECK(stream(a100).first == stream(base).first);
  CHECK(stream(base).second / stream(a100).second == Approx(2.039 / 3.35).epsilon(1e-4));
  CHECK(a100.transport_nvlink == gigabytes_per_second(235));
  CHECK_FALSE(a100.transport_nvls);
  CHECK(a100.hash != base.hash);
  // What is assumed of the H800's kernels, and the scaling; not what is assumed of its memory.
  const auto assumed = [&](const std::string& name) {
    return std::any_of(a100.assumed.begin(), a100.assumed.end(),
                       [&](const AssumedFigure& figure) { return figure.name == name; });
  };
  CHECK(assumed("h800: gemm.bf16_k_scale"));
  CHECK(assumed("a100: scale.tensor"));
  CHECK(assumed("a100: device.reserve"));
  CHECK_FALSE(assumed("h800: device.reserve"));

  // The same silicon: only the links differ.
  const Calibration h100 = read_calibration("calibration/h100.toml");
  CHECK(law(h100).time == law(base).time);
  CHECK(stream(h100) == stream(base));
  CHECK(h100.transport_nvls == gigabytes_per_second(480));
}

TEST_CASE("a bad base is told with its place") {
  const std::string good = read_file("calibration/h100.toml");
  const auto message = [](const std::string& text) {
    try {
      read_calibration_text(text);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  CHECK(message(good) == "accepted");
  CHECK_THAT(message(replaced(good, "base = \"h800\"", "base = \"h801\"")),
             Catch::Contains("h801") && Catch::Contains(":8:"));
  CHECK_THAT(
      message(replaced(good, "base = \"h800\"", "base = \"a100\"")),
      Catch::Contains("'a100' has a base itself") && Catch::Contains("name that one: 'h800'"));
  CHECK_THAT(message(replaced(good, "tensor = { value = 1,", "tensor = { value = 0,")),
             Catch::Contains("tensor"));
  CHECK_THAT(message(replaced(good, "[scale]", "[scales]")), Catch::Contains("scale"));
}

// What is wrong, as a change of the good file, and what the message must say.
struct Malformed {
  const char *from, *to, *message;
};

const Malformed kMalformed[] = {
    {"format_version = \"1.0\"", "format_version = \"2.0\"", "format version 2.0 is not supported"},
    {"format_version = \"1.0\"\n", "", "format_version"},
    {"name = \"small\"\n", "", "missing key 'name'"},
    {"sms = 100\nmemory", "sms = 0\nmemory", "'sms' must be at least 1, found 0"},
    {"memory = \"80 GB\"\n", "", "missing key 'memory' in [device]"},
    {"\"80 GB\"", "\"80 GB/s\"", "80 GB/s"},
    {"\"80 GB\"", "80", "memory"},
    {"launch_gap = \"2 us\"", "launch_gap = \"-2 us\"", "launch_gap"},
    {"launch_gap", "lauch_gap", "did you mean 'launch_gap'?"},
    {"[transport]\nnic = \"40 GB/s\"\nnvlink = \"160 GB/s\"\n", "", "transport"},
    {"nic = \"40 GB/s\"", "nic = \"0 GB/s\"", "nic"},
    {"fp8 = [\"tiles\"]", "fp8 = [\"tyles\"]", "no [[gemm_laws]] is named 'tyles'"},
    {"fp8 = [\"tiles\"]", "fp8 = []", "name at least one of the [[gemm_laws]]"},
    {"bf16_k_scale = 2", "bf16_k_scale = 0", "bf16_k_scale"},
    {"tile = [128, 128]", "tile = [128]", "expected two sizes such as [128, 128]"},
    {"tile = [128, 128]", "tile = [128, 0]", "expected two sizes such as [128, 128]"},
    {"kernel = \"cast\"", "kernel = \"csat\"", "did you mean 'cast'?"},
    {"kernel = \"gemm\"", "kernel = \"gem\"", "unknown kernel class 'gem'"},
    {"dtype = \"fp8\"", "dtype = \"fp4\"", "fp4"},
    {"pattern = \"dispatch\"", "pattern = \"dispach\"", "dispatch"},
    {"source = \"a README\"\n", "", "a table needs either a source or a reason why it is assumed"},
    {"assumed = \"like a cast\"", "assumed = \"like a cast\"\nsource = \"both\"",
     "a table needs either a source or a reason why it is assumed"},
    {"[[1e6, 5], [1e8, 50]]", "[]", "the table is empty"},
    {"[[1e6, 5], [1e8, 50]]", "[[1e6], [1e8, 50]]", "expected 2 numbers, found 1"},
    {"[[1e6, 5], [1e8, 50]]", "[1e6, 5]", "expected 2 numbers, found 0"},
    {"[[1e6, 5], [1e8, 50]]", "[[1e6, \"5 us\"]]", "expected a number above 0"},
    {"[[1e6, 5], [1e8, 50]]", "[[1e6, 0]]", "expected a number above 0"},
    {"[[1e6, 5], [1e8, 50]]", "[[-1e6, 5]]", "expected a number above 0"},
    {"[[1e6, 5], [1e8, 50]]", "[[1e6, inf]]", "expected a number above 0"},
    {"[[1e6, 5], [1e8, 50]]", "[[nan, 5]]", "expected a number above 0"},
    {"[[1e6, 5], [1e8, 50]]", "7", "rows"},
    {"columns = [\"sequence\", \"gflop\", \"us\"]", "columns = [\"sequence\", \"us\", \"gflop\"]",
     "write columns = [\"sequence\", \"gflop\", \"us\"]"},
    {"columns = [\"sequence\", \"gflop\", \"us\"]\n", "", "missing key 'columns'"},
    {"[[4096, 4096, 1000, 1, 150]]", "[[4096, 4096, 1000, 1.5, 150]]",
     "'groups' must be a whole number up to 1000000, found 1.5"},
    {"[[4096, 4096, 1000, 1, 150]]", "[[4096, 4096, 1000, 1e300, 150]]",
     "'groups' must be a whole number"},
    {"[[8, 150, ", "[[0.5, 150, ", "'group' must be a whole number"},
    {"kernel = \"optimizer\"", "kernel = \"cast\"", "there is another table for 'cast' already"},
    {"overhead = \"100 us\"", "overhead = \"100 GB\"", "overhead"},
    {"overhead = \"100 us\"\n", "", "missing key 'overhead'"},
    {"[gemm]", "[gemn]", "gemm"},
};

TEST_CASE("a malformed calibration is refused with the place and the reason") {
  const TemporaryDirectory directory;
  for (const Malformed& each : kMalformed) {
    CAPTURE(each.from, each.to, each.message);
    const std::string path =
        directory.write("bad.toml", replaced(kSmallCalibration, each.from, each.to));
    CHECK_THROWS_AS(read_calibration(path), InputError);
    CHECK_THROWS_WITH(read_calibration(path),
                      Catch::Contains(each.message) && Catch::Contains(path));
  }
}

TEST_CASE("a second table of the same law or exchange is refused") {
  const std::string law =
      "[[gemm_laws]]\nname = \"tiles\"\ntile = [64, 64]\nsms = 100\nsource = \"s\"\n"
      "columns = [\"m\", \"n\", \"k\", \"groups\", \"us\"]\nrows = [[1, 1, 1, 1, 9]]\n";
  CHECK_THROWS_WITH(read_calibration_text(kSmallCalibration + law),
                    Catch::Contains("another table for 'tiles'"));
  const std::string exchange =
      "[[exchanges]]\npattern = \"dispatch\"\nsms = 24\nsource = \"s\"\n"
      "columns = [\"group\", \"gbps\", \"copies\", \"nic\", \"nvlink\"]\nrows = [[8, 1, 1, 0, 1]]\n"
      "overhead = \"0 us\"\n";
  CHECK_THROWS_WITH(read_calibration_text(kSmallCalibration + exchange),
                    Catch::Contains("another table for 'dispatch' without compute"));
}

TEST_CASE("all errors of a calibration are reported at once") {
  std::string text = replaced(kSmallCalibration, "sms = 100\nmemory", "sms = 0\nmemory");
  text = replaced(text, "kernel = \"cast\"", "kernel = \"csat\"");
  text = replaced(text, "fp8 = [\"tiles\"]", "fp8 = [\"tyles\"]");
  CHECK_THROWS_WITH(read_calibration_text(text),
                    Catch::Contains("sms") && Catch::Contains("csat") && Catch::Contains("tyles"));
}

TEST_CASE("what is no calibration file is refused") {
  const TemporaryDirectory directory;
  CHECK_THROWS_WITH(read_calibration(directory.path_of("absent.toml")),
                    Catch::Contains("absent.toml"));
  for (const char* text : {"", "\n\n", "name = ", "[[", "\xff\xfe", "a = 1\na = 2\n", "42"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read_calibration(directory.write("bad.toml", text)), InputError);
  }
}

// Any single line may be lost or cut short: the reader answers with a calibration or an InputError,
// nothing else.
TEST_CASE("a calibration with a line missing or cut never does anything but throw an InputError") {
  std::vector<std::string> lines(1);
  for (const char character : kSmallCalibration) {
    if (character == '\n')
      lines.emplace_back();
    else
      lines.back() += character;
  }
  const TemporaryDirectory directory;
  for (std::size_t victim = 0; victim < lines.size(); ++victim) {
    for (const bool cut : {false, true}) {
      std::string text;
      for (std::size_t line = 0; line < lines.size(); ++line) {
        if (line != victim)
          text += lines[line] + "\n";
        else if (cut)
          text += lines[line].substr(0, lines[line].size() / 2) + "\n";
      }
      CAPTURE(victim, lines[victim], cut);
      try {
        read_calibration(directory.write("cut.toml", text));
      } catch (const InputError&) {
      }
    }
  }
  SUCCEED("no other exception");
}

TEST_CASE("the shipped calibration has a table for every kernel and exchange") {
  const Calibration h800 = read_calibration("calibration/h800.toml");
  for (int number = 0; number < static_cast<int>(KernelClass::kCount); ++number) {
    const auto kernel = static_cast<KernelClass>(number);
    // The hosts belong to the cluster.
    if (kernel == KernelClass::kHostCopy || kernel == KernelClass::kHostUpdate) continue;
    CAPTURE(to_string(kernel));
    const bool found = h800.stream_rows.contains(kernel) || h800.attention_rows.contains(kernel) ||
                       h800.gemm_rows.contains({kernel, DataType::kFp8});
    CHECK(found);
  }
  for (const Pattern pattern : {Pattern::kDispatch, Pattern::kDispatchCached, Pattern::kCombine,
                                Pattern::kCombineGradient}) {
    CHECK(h800.exchanges.contains({pattern, false}));
    CHECK(h800.exchanges.contains({pattern, true}));
  }
}

}  // namespace
}  // namespace orrery
