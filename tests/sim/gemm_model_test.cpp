#include "sim/gemm_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

namespace orrery {
namespace {

TileLaw law_of(double tile_m, double tile_n, double fixed_us, double per_k_ns) {
  return {tile_m, tile_n, microseconds(fixed_us), Seconds{per_k_ns * 1e-9}, 1, {}};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double relative(Seconds predicted, Seconds measured) {
  return predicted / measured - 1;
}

// [4096, 24576, 1536] in tiles of 128 x 128: 32 x 192 = 6144 tiles; 46.5 on each of 132 SMs, so 47
// waves; 55 on 112.
TEST_CASE("a GEMM takes one tile time for each wave of tiles over the SMs") {
  const TileLaw law = law_of(128, 128, 2.2, 2.95);
  CHECK(law.tiles(4096, 24576, 1) == 6144);
  const double tile_us = 2.2 + 1536 * 2.95e-3;
  CHECK(in_microseconds(law.time(4096, 24576, 1536, 1, 132)) == Approx(47 * tile_us));
  CHECK(in_microseconds(law.time(4096, 24576, 1536, 1, 112)) == Approx(55 * tile_us));
  CHECK(in_microseconds(law.time(128, 128, 1536, 1, 132)) == Approx(tile_us));
  // A tile more than a full wave costs a wave.
  CHECK(law.time(128, 132 * 128, 64, 1, 132) == law.time(128, 128, 64, 1, 132));
  CHECK(law.time(128, 133 * 128, 64, 1, 132).value() ==
        Approx(2 * law.time(128, 128, 64, 1, 132).value()));
}

TEST_CASE("rows of a group are padded to whole tiles, and groups share the waves") {
  const TileLaw law = law_of(128, 128, 2, 3);
  CHECK(law.tiles(4 * 129, 256, 4) == 4 * 2 * 2);
  CHECK(law.tiles(4 * 128, 256, 4) == 4 * 1 * 2);
  CHECK(law.tiles(1, 1, 1) == 1);
  CHECK(law_of(256, 128, 2, 3).tiles(4096, 2112, 1) == 16 * 17);
  TileLaw bf16 = law;
  bf16.k_scale = 2;
  CHECK(bf16.time(512, 512, 1024, 1, 132) == law.time(512, 512, 2048, 1, 132));
}

TEST_CASE("more SMs never take longer") {
  const TileLaw law = law_of(128, 128, 2, 3);
  for (const double n : {576.0, 4096.0, 24576.0}) {
    for (int sms = 1; sms < 132; ++sms) {
      CAPTURE(n, sms);
      CHECK(law.time(4096, n, 1536, 1, sms + 1) <= law.time(4096, n, 1536, 1, sms));
    }
  }
}

// Times made by a law give the law back: the least-squares fit of relative errors has no error to
// weigh.
TEST_CASE("the fit finds the law behind exact measurements") {
  const double fixed = GENERATE(0.0, 0.4, 2.2, 20.0);
  const double per_k = GENERATE(0.1, 2.95, 30.0);
  const double tile_m = GENERATE(64.0, 128.0, 256.0);
  const TileLaw law = law_of(tile_m, 128, fixed, per_k);
  std::vector<GemmRow> rows;
  for (const auto& [m, n, k, groups, sms] : {std::tuple{4096.0, 2112.0, 7168.0, 1, 132},
                                             {4096.0, 32768.0, 512.0, 1, 132},
                                             {32768.0, 7168.0, 2048.0, 4, 112},
                                             {64.0, 576.0, 16384.0, 1, 78}}) {
    rows.push_back({m, n, k, groups, sms, law.time(m, n, k, groups, sms)});
  }
  CAPTURE(fixed, per_k, tile_m);
  const TileLaw fitted = fit_tile_law(tile_m, 128, rows);
  CHECK(in_microseconds(fitted.fixed) == Approx(fixed).epsilon(1e-9).margin(1e-9));
  CHECK(fitted.per_k.value() * 1e9 == Approx(per_k).epsilon(1e-9));
}

TEST_CASE("with a single K, or a prologue that would be negative, all of the time is put on K") {
  const std::vector<GemmRow> one_k = {{4096, 4096, 1000, 1, 132, microseconds(80)},
                                      {4096, 8192, 1000, 1, 132, microseconds(160)}};
  TileLaw law = fit_tile_law(128, 128, one_k);
  CHECK(law.fixed.value() == 0);
  CHECK(law.per_k.value() == Approx(10e-6 / 1000));  // 1024 tiles: 8 waves of 10 us
  const std::vector<GemmRow> convex = {{128, 128, 1000, 1, 132, microseconds(1)},
                                       {128, 128, 2000, 1, 132, microseconds(3)}};
  law = fit_tile_law(128, 128, convex);
  CHECK(law.fixed.value() == 0);
  // sum over rows of (b K / y - 1)^2 is least at b = sum (K / y) / sum (K / y)^2.
  const double first = 1000 / 1e-6, second = 2000 / 3e-6;
  CHECK(law.per_k.value() == Approx((first + second) / (first * first + second * second)));
}

TEST_CASE(
    "a model takes the fastest of its laws and multiplies by the ratio measured at the nearest "
    "shapes") {
  const TileLaw slow = law_of(128, 128, 4, 4);
  const TileLaw fast = law_of(128, 128, 2, 3);
  const GemmModel plain({slow, fast}, {});
  CHECK(plain.time(4096, 4096, 1024, 1, 132) == fast.time(4096, 4096, 1024, 1, 132));
  const auto row = [&](double n, double ratio) {
    return GemmRow{4096, n, 1024, 1, 112, ratio * fast.time(4096, n, 1024, 1, 112)};
  };
  const std::vector<GemmRow> rows = {row(1024, 1.2), row(16384, 0.9)};
  const GemmModel corrected({slow, fast}, rows);
  for (const GemmRow& each : rows) {
    CHECK(corrected.time(each.m, each.n, each.k, 1, 112).value() ==
          Approx(each.time.value()).epsilon(1e-12));
  }
  const auto ratio = [&](double n, int sms) {
    return corrected.time(4096, n, 1024, 1, sms) / corrected.law_time(4096, n, 1024, 1, sms);
  };
  CHECK(ratio(4096, 112) == Approx(1.05));                   // half-way in the logarithm
  CHECK(ratio(2048, 112) == Approx((1.2 * 81 + 0.9) / 82));  // log distances 1 : 3, weights 81 : 1
  CHECK(ratio(2048, 60) == ratio(2048, 112));  // fewer SMs mean more waves and nothing else
  CHECK(ratio(1e6, 112) > 0.9);
  CHECK(ratio(1e6, 112) < 1.2);
}

TEST_CASE("measurements of one shape are averaged") {
  const TileLaw law = law_of(128, 128, 2, 3);
  const Seconds base = law.time(4096, 4096, 1024, 1, 132);
  const std::vector<GemmRow> rows = {{4096, 4096, 1024, 1, 132, 1.1 * base},
                                     {4096, 4096, 1024, 1, 132, 1.3 * base}};
  CHECK(GemmModel({law}, rows).time(4096, 4096, 1024, 1, 132).value() ==
        Approx((1.2 * base).value()));
}

TEST_CASE("an accumulated result costs its elements beside the tiles") {
  TileLaw law = law_of(128, 128, 2, 3);
  const Seconds stored = law.time(4 * 256, 512, 1024, 4, 132);
  law.per_result = Seconds{1e-12};
  CHECK((law.time(4 * 256, 512, 1024, 4, 132) - stored).value() == Approx(4 * 256 * 512 * 1e-12));
  // A row measured with it is the ratio of the whole.
  const std::vector<GemmRow> rows = {
      {256, 512, 1024, 1, 132, 1.5 * law.time(256, 512, 1024, 1, 132)}};
  CHECK(GemmModel({law}, rows).time(512, 512, 1024, 1, 132).value() ==
        Approx(1.5 * law.time(512, 512, 1024, 1, 132).value()));
}

// One row, 1.5 times the law: at the reach both weigh the same, 1.25; at half of it the row weighs
// 2^4 times as much, at ten times of it next to nothing.
TEST_CASE("beyond its reach a row gives way to the law") {
  const TileLaw law = law_of(128, 128, 2, 3);
  const std::vector<GemmRow> rows = {
      {256, 4096, 4096, 1, 112, 1.5 * law.time(256, 4096, 4096, 1, 112)}};
  const double reach = std::log(4.0);
  const GemmModel model({law}, rows, reach);
  const auto ratio = [&](double distance) {
    const double m = 256 * std::exp(distance);
    return model.time(m, 4096, 4096, 1, 112) / model.law_time(m, 4096, 4096, 1, 112);
  };
  CHECK(ratio(0) == Approx(1.5));
  CHECK(ratio(reach) == Approx(1.25));
  CHECK(ratio(reach / 2) == Approx((16 * 1.5 + 1) / 17));
  CHECK(ratio(10 * reach) == Approx(1).epsilon(1e-4));
}

// ------------------------------------------------------------------------------------------------
// Against the H800 calibration

Calibration h800() {
  return read_calibration("calibration/h800.toml");
}

// DeepGEMM's tables on H800 (README of 2025-02-25 and 2025-04-09, PR 74), 132 SMs, nothing beside
// them. Two numbers a tiling, a and b, stand for 6 to 10 measurements. The table of the training
// run's generation is reproduced within 3 %, the tile study within 4 %, 256 x 128 within 7 %: there
// the kernel picks its block by shape. One shape shows that: 2112 columns are 272 tiles of 256 x
// 128, 2.06 waves and so 3, which a kernel with another block avoids.
TEST_CASE("two constants reproduce DeepGEMM's tables") {
  const Calibration calibration = h800();
  for (const auto& [name, bound] :
       {std::pair{"fp8-128x128", 0.03}, {"fp8-128x160", 0.04}, {"fp8-256x128", 0.07}}) {
    const GemmLawTable& table = calibration.gemm_laws.at(name);
    const TileLaw law = fit_tile_law(table.tile_m, table.tile_n, table.rows);
    std::string text = fmt::format("{}: a = {:.2f} us, b = {:.2f} ns a K\n", name,
                                   in_microseconds(law.fixed), law.per_k.value() * 1e9);
    for (const GemmRow& row : table.rows) {
      const double error = relative(law.time(row.m, row.n, row.k, row.groups, row.sms), row.time);
      text += fmt::format("  [{}, {}, {}] x {}: {:+.1f} %\n", row.m, row.n, row.k, row.groups,
                          100 * error);
      CAPTURE(name, row.m, row.n, row.k, row.groups);
      const bool other_block = table.tile_m == 256 && row.n == 2112;
      CHECK(std::abs(error) <= (other_block ? 0.15 : bound));
    }
    WARN(text);
  }
}

struct Family {
  KernelClass kernel;
  std::vector<TileLaw> laws;
  std::vector<GemmRow> rows;
};

TileLaw law_of_table(const Calibration& calibration, const std::string& name) {
  const GemmLawTable& table = calibration.gemm_laws.at(name);
  return fit_tile_law(table.tile_m, table.tile_n, table.rows);
}

// The FP8 forward and input-gradient rows of the profile, dense and grouped apart.
std::vector<Family> families(const Calibration& calibration) {
  std::vector<Family> all;
  for (const KernelClass kernel : {KernelClass::kGemm, KernelClass::kGroupedGemm}) {
    all.push_back({kernel,
                   {law_of_table(calibration, calibration.fp8_laws.at(0))},
                   calibration.gemm_rows.at({kernel, DataType::kFp8})});
  }
  return all;
}

TEST_CASE("measured shapes are reproduced exactly, repeated ones within their spread") {
  for (const Family& family : families(h800())) {
    const GemmModel model(family.laws, family.rows);
    for (const GemmRow& row : family.rows) {
      CAPTURE(to_string(family.kernel), row.m, row.n, row.k);
      CHECK(std::abs(relative(model.time(row.m, row.n, row.k, row.groups, row.sms), row.time)) <=
            0.003);
    }
  }
}

// BF16 GEMMs are timed by FP8 laws at 2 K. Neither table has set anything in the calibration.
struct Measured16Bit {
  double m, n, k, tflops;
};

GemmModel bf16_model(const Calibration& calibration) {
  std::vector<TileLaw> laws;
  for (const std::string& name : calibration.bf16_laws) {
    laws.push_back(law_of_table(calibration, name));
    laws.back().k_scale = calibration.bf16_k_scale;
  }
  return {laws, {}};
}

// TileLang, benchmark/matmul/README.md: FP16 on H800 SXM, latencies in ms of M = N = 8192.
TEST_CASE("BF16 GEMMs take the time of public FP16 ones of the H800") {
  const GemmModel model = bf16_model(h800());
  for (const auto& [k, ms] : {std::pair{256.0, 0.089056},
                              {512.0, 0.132064},
                              {1024.0, 0.218816},
                              {2048.0, 0.390112},
                              {4096.0, 0.746752},
                              {8192.0, 1.449888},
                              {16384.0, 2.871168}}) {
    CAPTURE(k);
    CHECK(std::abs(relative(model.time(8192, 8192, k, 1, 132), Seconds{ms / 1e3})) <= 0.031);
  }
}

// OpenXLA, xla/service/gpu/model/matmul_interpolator_data.h: cuBLAS in BF16 on sm_90, as it stood
// in 2025; shapes of 30 GFLOP and more.
TEST_CASE("BF16 GEMMs are no faster than cuBLAS, and slower by a ninth at most") {
  const GemmModel model = bf16_model(h800());
  for (const Measured16Bit& each : {Measured16Bit{4096, 4096, 4096, 786.0},
                                    {4096, 2048, 4096, 764.1},
                                    {2048, 4096, 2048, 717.5},
                                    {4096, 4096, 1024, 681.1}}) {
    CAPTURE(each.m, each.n, each.k);
    const Seconds measured{2 * each.m * each.n * each.k / each.tflops / 1e12};
    const double error = relative(model.time(each.m, each.n, each.k, 1, 132), measured);
    CHECK(error >= 0);
    CHECK(error <= 0.11);
  }
}

// Each shape predicted from the others. The correction is worth having only if it predicts shapes
// it has not seen better than the law alone, which is therefore the bound.
TEST_CASE(
    "a shape left out is predicted better by its neighbours' correction than by the law alone") {
  std::vector<double> corrected, alone;
  std::string text = "left out   corrected  law alone\n";
  for (const Family& family : families(h800())) {
    for (const GemmRow& row : family.rows) {
      std::vector<GemmRow> others = family.rows;
      std::erase_if(others, [&](const GemmRow& each) {
        return each.m == row.m && each.n == row.n && each.k == row.k;
      });
      const GemmModel model(family.laws, others);
      const double error = relative(model.time(row.m, row.n, row.k, row.groups, row.sms), row.time);
      const double law =
          relative(model.law_time(row.m, row.n, row.k, row.groups, row.sms), row.time);
      corrected.push_back(std::abs(error));
      alone.push_back(std::abs(law));
      text += fmt::format("[{}, {}, {}] x {}: {:+.1f} %, {:+.1f} %\n", row.m, row.n, row.k,
                          row.groups, 100 * error, 100 * law);
    }
  }
  WARN(text << fmt::format("median {:.2f} %, by the law alone {:.2f} %", 100 * median(corrected),
                           100 * median(alone)));
  CHECK(median(corrected) < median(alone));
}

}  // namespace
}  // namespace orrery
