// Drawn expert loads against counts of tokens routed one by one.
#include "workload/expert_skew.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <numeric>

#include "core/model_reader.hpp"
#include "workload/random.hpp"
#include "workload/routing.hpp"

namespace orrery {
namespace {

const Moe kDeepSeek = {.experts = 256, .top_k = 8, .groups = 8, .groups_per_token = 4};

double deviation(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += (value - 1) * (value - 1);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

}  // namespace

TEST_CASE("without skew all rows are even; with it they average one and repeat with their seed") {
  CHECK(ExpertSkew(kDeepSeek, 64, 4096, {}).rows(1, 2, 3) == std::vector<double>(64, 1.0));
  const ExpertSkew skew(kDeepSeek, 64, 4096, {SkewKind::kIid, 0, 4096, 7});
  const std::vector<double> rows = skew.rows(1, 2, 3);
  CHECK(std::accumulate(rows.begin(), rows.end(), 0.0) == Approx(64));
  skew.rows(5, 6, 7);
  CHECK(skew.rows(1, 2, 3) == rows);
  CHECK(skew.rows(2, 2, 3) != rows);
  CHECK(skew.rows(1, 3, 3) != rows);
  CHECK(skew.rows(1, 2, 4) != rows);
  CHECK(ExpertSkew(kDeepSeek, 64, 4096, {SkewKind::kIid, 0, 4096, 8}).rows(1, 2, 3) != rows);
}

// 4096 tokens through the gate of DeepSeek-V3, token by token: the spread of the 64 GPUs' rows.
TEST_CASE("the normal draw spreads as the gate's own counts do, for every group size") {
  for (const Moe& moe :
       {kDeepSeek, Moe{.experts = 128, .top_k = 8}, Moe{.experts = 8, .top_k = 2}}) {
    for (int ep : {8, 64}) {
      if (moe.experts % ep != 0) continue;
      constexpr int kTokens = 256;
      const ExpertSkew skew(moe, ep, kTokens, {SkewKind::kIid, 0, kTokens, 1});
      double counted = 0, drawn = 0;
      constexpr int kDraws = 160;
      for (int draw = 0; draw < kDraws; ++draw) {
        const RoutingSample sample(moe, static_cast<std::uint64_t>(100 + draw), kTokens);
        counted += std::pow(deviation(sample.rows(ep)), 2);
        drawn += std::pow(deviation(skew.rows(draw, 0, 0)), 2);
      }
      CAPTURE(moe.experts, ep, std::sqrt(counted / kDraws), std::sqrt(drawn / kDraws));
      CHECK(std::sqrt(drawn / counted) == Approx(1).epsilon(0.06));
      CHECK(skew.deviation() == Approx(std::sqrt(drawn / kDraws)).epsilon(0.06));
    }
  }
}

// The public training profile: on rank 0 of 64 eight counts of rows lie from 28,416 to 36,864
// around 32,768, experts padded to 128 rows.
TEST_CASE("the spread of rows in the published profile, against what the gate draws") {
  for (double tokens : {4096.0, 1024.0}) {
    const ExpertSkew skew(kDeepSeek, 64, 4096, {SkewKind::kIid, 0, tokens, 3});
    // Of eight draws the largest and the smallest, many times.
    std::vector<double> least, most;
    for (int trial = 0; trial < 400; ++trial) {
      double low = 1e9, high = 0;
      for (int sample = 0; sample < 8; ++sample) {
        const double rows = 32768 * skew.rows(trial, sample, 0)[0];
        low = std::min(low, rows);
        high = std::max(high, rows);
      }
      least.push_back(low);
      most.push_back(high);
    }
    std::sort(least.begin(), least.end());
    std::sort(most.begin(), most.end());
    std::cout << "  " << tokens << " independent tokens: deviation " << 100 * skew.deviation()
              << " %; least of eight " << least[20] << " to " << least[379] << ", most " << most[20]
              << " to " << most[379] << " (90 % of draws); published 28416 and 36864\n";
    // As many as a GPU's tokens spread too little, a quarter of that covers what was published.
    CHECK((least[20] < 28416) == (tokens < 4096));
    if (tokens < 4096) {
      CHECK(least[379] > 28416);
      CHECK(most[20] < 36864);
      CHECK(most[379] > 36864);
    }
  }
  // Distinct GPUs a token: 7.34 in the mean of the eight, 7.49 by the gate.
  CHECK(RoutingSample(kDeepSeek).spread(64, 8).gpus_per_token == Approx(7.49).epsilon(0.005));
}

TEST_CASE(
    "Zipf: the exponent sets how much the busiest GPU has, the same one in every micro-batch") {
  double before = 1;
  for (double exponent : {0.2, 0.5, 1.0}) {
    const ExpertSkew skew(kDeepSeek, 64, 4096, {SkewKind::kZipf, exponent, 0, 5});
    const std::vector<double> rows = skew.rows(0, 0, 0);
    const auto busiest = std::max_element(rows.begin(), rows.end());
    CHECK(*busiest > before);
    before = *busiest;
    const std::vector<double> later = skew.rows(9, 0, 1);
    CHECK(std::max_element(later.begin(), later.end()) - later.begin() == busiest - rows.begin());
    const std::vector<double> other = skew.rows(0, 1, 0);
    CHECK(std::max_element(other.begin(), other.end()) - other.begin() != busiest - rows.begin());
    // No expert has more rows than there are tokens: a GPU of four has at most 4 x 32 of the mean.
    CHECK(*busiest <= 256.0 / 8);
  }
}

TEST_CASE("placing experts by how much they are wanted evens the GPUs, copies more so") {
  Skew skew{SkewKind::kZipf, 0.5, 0, 5};
  const auto busiest = [&] {
    const ExpertSkew drawn(kDeepSeek, 64, 4096, skew);
    double sum = 0;
    for (int layer = 0; layer < 20; ++layer) {
      const std::vector<double> rows = drawn.rows(0, layer, 0);
      CHECK(std::accumulate(rows.begin(), rows.end(), 0.0) == Approx(64));
      sum += *std::max_element(rows.begin(), rows.end()) / 20;
    }
    return sum;
  };
  const double in_order = busiest();
  parse_expert_placement("balanced", skew);
  const double balanced = busiest();
  parse_expert_placement("balanced=2", skew);
  const double copied = busiest();
  WARN(
      fmt::format("busiest of 64 GPUs, Zipf 0.5: {:.3f} times the mean in order, {:.3f} balanced, "
                  "{:.3f} with two copies a GPU",
                  in_order, balanced, copied));
  CHECK(balanced < 0.9 * in_order);
  CHECK(copied < balanced);
  CHECK(describe(skew) == "Zipf, exponent 0.5, experts placed by it with 2 more a GPU for copies");
  for (const char* wrong : {"", "balance", "balanced=", "balanced=0", "balanced=-1", "balanced=x",
                            "balanced=2x", "balanced=99999999999"}) {
    CAPTURE(wrong);
    Skew other;
    CHECK_THROWS_WITH(parse_expert_placement(wrong, other), Catch::Contains("unknown --experts"));
  }
}

}  // namespace orrery
