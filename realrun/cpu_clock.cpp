#include "realrun/cpu_clock.hpp"

#include <time.h>

namespace orrery {
namespace {

double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

double thread_cpu_seconds() {
  return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double thread_clock_cost() {
  static const double cost = [] {
    constexpr int kReads = 1000;
    const double start = thread_cpu_seconds();
    double now = start;
    for (int read = 0; read < kReads; ++read) now = thread_cpu_seconds();
    return (now - start) / kReads;
  }();
  return cost;
}

double process_cpu_seconds() {
  return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

}  // namespace orrery
