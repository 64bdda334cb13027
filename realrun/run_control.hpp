#pragma once
// What the workers of a run share: whether it goes on, who failed first, and whether anything still
// happens.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/quantity.hpp"

namespace orrery {

class RunControl {
 public:
  // Keeps the first failure and calls the stop functions, once.
  void fail(const std::string& why);
  bool failed() const { return failed_.load(); }
  std::string why() const;
  // Called when the run fails: they wake workers that sleep.
  void on_failure(std::function<void(const std::string&)> stop);

  // A worker does something (an op, a copy): while one does, nothing hangs.
  class Busy {
   public:
    explicit Busy(RunControl& control) : control_(control) { ++control_.busy_; }
    ~Busy() {
      ++control_.progress_;
      --control_.busy_;
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    RunControl& control_;
  };
  std::uint64_t progress() const { return progress_.load(); }
  bool idle() const { return busy_.load() == 0; }

 private:
  std::atomic<bool> failed_{false};
  std::atomic<int> busy_{0};
  std::atomic<std::uint64_t> progress_{0};
  mutable std::mutex mutex_;
  std::string why_;
  std::vector<std::function<void(const std::string&)>> stops_;
};

// Watches a run: when nothing has happened for `patience` and no worker does anything, it fails the
// run with what `describe` says.
class Watchdog {
 public:
  Watchdog(RunControl& control, Seconds patience, std::function<std::string()> describe);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  struct Thread;
  Thread* thread_;
};

}  // namespace orrery
