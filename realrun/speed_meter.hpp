#pragma once
// How fast the cores are from moment to moment.
//
// On a machine that is shared with others the same work takes up to half as long again while
// another tenant uses the other half of a core, for milliseconds to minutes, on each core for
// itself. A small matrix product run on every core every few milliseconds, between whatever else
// runs there, shows it: with its readings both a calibration and what is compared with it can be
// stated at one speed of the machine. It takes 0.3 % of the cores.
//
// Why a product that fits into the nearest cache: over 1.5 s the time of a training step's
// computation follows it with a deviation of 2 to 3 % where the speed of the cores varies by 15 %;
// sums over arrays of any size are followed with 6 to 7 %. A product with weights from memory is
// followed with 2 % in one run, but what the run itself asks of the memory slows it down too, so
// that it does not carry from one layout to another.
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "core/host_machine.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct SpeedReading {
  Seconds at;    // of the meter's clock
  Seconds took;  // CPU time of the matrix product
};

// Means of the readings of one core at hand, where they can be looked up by time.
class SpeedReadings {
 public:
  // By core, each in the order of time.
  explicit SpeedReadings(std::vector<std::vector<SpeedReading>> readings);

  // Mean over all cores and times. What took several times the median was interrupted and does not
  // count. 0 without readings.
  Seconds typical() const { return typical_; }
  // Mean of a core around a span: readings up to half a window before and after count. The nearest
  // reading where there is none so near, the typical one where there is none at all.
  Seconds around(int core, Seconds from, Seconds to) const;
  // Speeds against those at which the product takes `reference`; times of the trace count from
  // `from`.
  SpeedTrace trace(Seconds from, Seconds to, Seconds reference) const;
  int cores() const { return static_cast<int>(readings_.size()); }

 private:
  std::vector<std::vector<SpeedReading>> readings_;  // without strays
  std::vector<std::vector<double>> sums_;            // [core][number of readings], seconds
  Seconds typical_;
};

class SpeedMeter {
 public:
  // Readings begin at once, on the first processors that the process may use.
  explicit SpeedMeter(int cores);
  ~SpeedMeter();
  SpeedMeter(const SpeedMeter&) = delete;
  SpeedMeter& operator=(const SpeedMeter&) = delete;

  // The meter's clock: steady, in seconds.
  static Seconds now();
  SpeedReadings readings() const;
  // The same, and forgets them.
  SpeedReadings take();

 private:
  void measure(int core, int processor);

  mutable std::mutex mutex_;
  std::vector<std::vector<SpeedReading>> readings_;  // by core
  std::atomic<bool> over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace orrery
