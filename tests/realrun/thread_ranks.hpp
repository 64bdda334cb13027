#pragma once
// Runs the ranks of a test as threads. Catch2's assertions belong to one thread, so ranks throw and
// the test thread looks at what was thrown.
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "realrun/thread_transport.hpp"

namespace orrery {

// Calls body(rank) on a thread of its own for each rank; returns what they threw, by rank, "" where
// nothing. `stuck` is called once if they have not ended after two minutes: a run that hangs should
// fail with a reason.
inline std::vector<std::string> run_threads(
    int ranks, const std::function<void(int)>& body, const std::function<void()>& stuck = [] {}) {
  std::mutex mutex;
  std::condition_variable ended;
  int running = ranks;
  std::vector<std::string> thrown(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      std::string text;
      try {
        body(rank);
      } catch (const std::exception& error) {
        text = error.what();
      }
      const std::lock_guard lock(mutex);
      thrown[static_cast<std::size_t>(rank)] = text;
      --running;
      ended.notify_one();
    });
  }
  {
    std::unique_lock lock(mutex);
    if (!ended.wait_for(lock, std::chrono::minutes(2), [&] { return running == 0; })) stuck();
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

// The same with the endpoints of a ThreadWorld; a rank that throws aborts the others.
inline std::vector<std::string> run_ranks(int ranks, const std::function<void(Transport&)>& body) {
  ThreadWorld world(ranks);
  return run_threads(
      ranks,
      [&](int rank) {
        try {
          body(world.endpoint(rank));
        } catch (const std::exception& error) {
          world.endpoint(rank).abort(error.what());
          throw;
        }
      },
      [&] {
        std::string pending;
        for (int rank = 0; rank < ranks; ++rank)
          pending += "\n  rank " + std::to_string(rank) + ": " + world.endpoint(rank).pending();
        world.endpoint(0).abort("no progress for two minutes, pending:" + pending);
      });
}

}  // namespace orrery
