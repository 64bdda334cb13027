#include "planner/campaign/failures.hpp"

#include <catch2/catch.hpp>
#include <cmath>

namespace orrery {
namespace {

constexpr Seconds hours(double number) {
  return Seconds{number * 3600};
}

TEST_CASE("a cluster fails as often as all of its parts", "[campaign]") {
  // 16,384 GPUs and 2048 nodes over 54 days: 246 failures of GPUs, 173 of the rest (Llama 3 report,
  // table 5), give back 419.
  const double observed = 54 * 24;
  const FailureRates rates{hours(16384 * observed / 246), hours(2048 * observed / 173)};
  CHECK(hours(observed) / cluster_mtbf(rates, 2048, 8) == Approx(419));
  CHECK(hours(observed) / cluster_mtbf(rates, 256, 8) == Approx(419 / 8.0));
}

TEST_CASE("the interval between checkpoints is Young's and Daly's", "[campaign]") {
  // Daly's example: 5 minutes to save, 6, 12 and 24 h between failures.
  for (const double mtbf : {6.0, 12.0, 24.0}) {
    const Recovery recovery{hours(mtbf), Seconds{300}, Seconds{600}};
    const double young = std::sqrt(2 * 300 * mtbf * 3600);
    CHECK(young_interval(recovery).value() == Approx(young));
    const double ratio = 300 / (2 * mtbf * 3600);
    CHECK(daly_interval(recovery).value() ==
          Approx(young * (1 + std::sqrt(ratio) / 3 + ratio / 9) - 300));
    // No interval of a fine grid is expected to take less by more than a millionth.
    double least = 1e300;
    for (double interval = 300; interval < 4 * young; interval *= 1.001)
      least = std::min(least, expected_time(recovery, Seconds{interval}, hours(100)).value());
    CHECK(expected_time(recovery, daly_interval(recovery), hours(100)).value() <
          least * (1 + 1e-5));
  }
  const Recovery hopeless{Seconds{10}, Seconds{30}, Seconds{1}};
  CHECK(daly_interval(hopeless) == Seconds{10});
}

TEST_CASE("without failures a run takes its work and its saves", "[campaign]") {
  const Recovery safe{hours(1e12), Seconds{10}, Seconds{1000}};
  CHECK(expected_time(safe, Seconds{1000}, Seconds{1e6}).value() == Approx(1.01e6));
  const Replay replay = replay_failures(safe, Seconds{1000}, Seconds{1e6}, 1);
  CHECK(replay.time.value() == Approx(1.01e6));
  CHECK(replay.failures == 0);
}

TEST_CASE("drawn runs take on average what the closed form says", "[campaign][property]") {
  struct Case {
    Recovery recovery;
    double interval, work;
  };
  // Rare, frequent, and so frequent that hardly an interval goes through.
  const Case cases[] = {{{hours(24), Seconds{5}, Seconds{900}}, 900, 54 * 86400.0},
                        {{hours(3), Seconds{60}, Seconds{1200}}, 1100, 10 * 86400.0},
                        {{hours(0.5), Seconds{120}, Seconds{600}}, 1200, 86400.0}};
  for (const Case& given : cases) {
    constexpr int kRuns = 4000;
    double sum = 0, squares = 0, failures = 0;
    for (int run = 0; run < kRuns; ++run) {
      const Replay replay = replay_failures(given.recovery, Seconds{given.interval},
                                            Seconds{given.work}, static_cast<std::uint64_t>(run));
      sum += replay.time.value();
      squares += replay.time.value() * replay.time.value();
      failures += static_cast<double>(replay.failures);
    }
    const double mean = sum / kRuns;
    const double error = std::sqrt((squares / kRuns - mean * mean) / kRuns);
    const double expected =
        expected_time(given.recovery, Seconds{given.interval}, Seconds{given.work}).value();
    INFO("mean " << mean << " s, expected " << expected << " s, standard error " << error << " s");
    // The closed form counts part of a segment where the last one is shorter.
    CHECK(std::abs(mean - expected) < 4 * error + given.recovery.save.value());
    CHECK(failures / kRuns == Approx(mean / given.recovery.mtbf.value()).epsilon(0.03));
  }
}

TEST_CASE("equal seeds draw equal runs", "[campaign]") {
  const Recovery recovery{hours(3), Seconds{60}, Seconds{1200}};
  const auto run = [&](std::uint64_t seed) {
    return replay_failures(recovery, Seconds{1000}, hours(1000), seed).time;
  };
  CHECK(run(7) == run(7));
  CHECK(run(7) != run(8));
}

}  // namespace
}  // namespace orrery
