#include "realrun/host_latencies.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "realrun/core_gate.hpp"

namespace orrery {
namespace {

double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double wall_seconds() {
  return clock_seconds(CLOCK_MONOTONIC);
}

void spin(double seconds) {
  const double end = wall_seconds() + seconds;
  while (wall_seconds() < end) {
  }
}

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

double thread_cpu_seconds() {
  return clock_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double process_cpu_seconds() {
  return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

// Two threads take one core in turns, so that every time it passes to the one that sleeps.
double hand_over_seconds() {
  constexpr int kTurns = 400;
  constexpr double kWork = 100e-6;
  CoreGate gate(1);
  std::array<std::vector<double>, 2> begins, ends;
  std::vector<std::thread> threads;
  for (std::size_t own = 0; own < 2; ++own) {
    threads.emplace_back([&gate, &begin = begins[own], &end = ends[own]] {
      for (int turn = 0; turn < kTurns; ++turn) {
        const CoreGate::Hold core(gate, 0);
        begin.push_back(wall_seconds());
        spin(kWork);
        end.push_back(wall_seconds());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // All turns in order; the idle time between those of different threads.
  struct Turn {
    double begin, end;
    std::size_t thread;
  };
  std::vector<Turn> turns;
  for (std::size_t own = 0; own < 2; ++own) {
    for (std::size_t turn = 0; turn < begins[own].size(); ++turn)
      turns.push_back({begins[own][turn], ends[own][turn], own});
  }
  std::sort(turns.begin(), turns.end(),
            [](const Turn& a, const Turn& b) { return a.begin < b.begin; });
  std::vector<double> idle;
  for (std::size_t turn = 1; turn < turns.size(); ++turn) {
    if (turns[turn].thread != turns[turn - 1].thread)
      idle.push_back(turns[turn].begin - turns[turn - 1].end);
  }
  return idle.empty() ? 0 : std::max(0.0, median(idle));
}

double wake_seconds() {
  constexpr int kTurns = 400;
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  double signalled = 0;
  std::vector<double> samples;
  std::thread sleeper([&] {
    for (int next = 1; next <= kTurns; ++next) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn >= next; });
      samples.push_back(wall_seconds() - signalled);
    }
  });
  for (int next = 1; next <= kTurns; ++next) {
    spin(100e-6);  // until the other one sleeps
    const std::lock_guard lock(mutex);
    turn = next;
    signalled = wall_seconds();
    changed.notify_one();
  }
  sleeper.join();
  return median(samples);
}

}  // namespace orrery
