#include "realrun/speed_meter.hpp"

#include <catch2/catch.hpp>

#include "realrun/thread_sleep.hpp"

namespace orrery {
namespace {

constexpr double kMicrosecond = 1e-6;

// A reading every 5 ms from 0 on.
std::vector<SpeedReading> every_5_ms(const std::vector<double>& microseconds_each) {
  std::vector<SpeedReading> readings;
  for (double each : microseconds_each) {
    readings.push_back(
        {Seconds{0.005 * static_cast<double>(readings.size())}, Seconds{each * kMicrosecond}});
  }
  return readings;
}

double around(const SpeedReadings& readings, int core, double from, double to) {
  return readings.around(core, Seconds{from}, Seconds{to}).value() / kMicrosecond;
}

TEST_CASE("readings count on their core, and half a window before and after a span") {
  std::vector<double> first(21, 4.0), second(21, 6.0);
  for (std::size_t late = 11; late < 21; ++late) first[late] = 8;  // from 55 ms on
  const SpeedReadings readings({every_5_ms(first), every_5_ms(second)});
  CHECK(around(readings, 0, 0.020, 0.030) == Approx(4));
  CHECK(around(readings, 0, 0.080, 0.081) == Approx(8));
  // 41 to 69 ms: 45, 50 | 55, 60, 65.
  CHECK(around(readings, 0, 0.051, 0.059) == Approx((2 * 4 + 3 * 8) / 5.0));
  CHECK(around(readings, 1, 0.080, 0.081) == Approx(6));
  CHECK(readings.typical().value() / kMicrosecond == Approx((11 * 4 + 10 * 8 + 21 * 6) / 42.0));
}

TEST_CASE("what was interrupted does not count") {
  const SpeedReadings readings({every_5_ms({5, 5, 5, 900, 5, 5})});
  CHECK(readings.typical().value() == Approx(5 * kMicrosecond));
  CHECK(around(readings, 0, 0.014, 0.016) == Approx(5));
}

TEST_CASE("where no reading is near, the nearest one counts") {
  const SpeedReadings readings({every_5_ms({4, 5, 6}), {}});
  CHECK(around(readings, 0, 1, 2) == Approx(6));
  CHECK(around(readings, 0, -2, -1) == Approx(4));
  CHECK(around(readings, 1, 0, 1) == Approx(5));  // none of its own: the typical one
  const SpeedReadings none({{}, {}});
  CHECK(none.typical() == Seconds{});
}

TEST_CASE("a trace counts from its beginning and against a reference") {
  std::vector<double> values(41, 4.0);
  for (std::size_t late = 20; late < 41; ++late) values[late] = 8;
  const SpeedReadings readings({every_5_ms(values)});
  const SpeedTrace trace = readings.trace(Seconds{0.05}, Seconds{0.15}, Seconds{2 * kMicrosecond});
  REQUIRE(trace.size() == 1);
  REQUIRE(trace[0].size() >= 20);
  CHECK(trace[0].front().from == Seconds{});
  CHECK(trace[0].front().factor == Approx(2));
  CHECK(trace[0].back().from.value() == Approx(0.095).margin(0.006));
  CHECK(trace[0].back().factor == Approx(4));
}

TEST_CASE("a meter reads every core") {
  const Seconds before = SpeedMeter::now();
  const SpeedMeter meter(2);
  while (SpeedMeter::now() - before < Seconds{0.2}) sleep_for(Seconds{0.01});
  const SpeedReadings readings = meter.readings();
  CHECK(readings.cores() == 2);
  CHECK(readings.typical() > Seconds{});
  CHECK(readings.typical() < Seconds{0.05});
  const SpeedTrace trace = readings.trace(before, SpeedMeter::now(), readings.typical());
  for (const auto& core : trace) {
    for (const SpeedStretch& stretch : core) CHECK(stretch.factor > 0);
  }
}

}  // namespace
}  // namespace orrery
