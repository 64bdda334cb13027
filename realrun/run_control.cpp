#include "realrun/run_control.hpp"

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace orrery {

void RunControl::fail(const std::string& why) {
  std::vector<std::function<void(const std::string&)>> stops;
  {
    const std::lock_guard lock(mutex_);
    if (failed_.load()) return;
    why_ = why;
    failed_.store(true);
    stops = stops_;
  }
  for (const auto& stop : stops) stop(why);
}

std::string RunControl::why() const {
  const std::lock_guard lock(mutex_);
  return why_;
}

void RunControl::on_failure(std::function<void(const std::string&)> stop) {
  const std::lock_guard lock(mutex_);
  stops_.push_back(std::move(stop));
}

struct Watchdog::Thread {
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  std::thread thread;
};

Watchdog::Watchdog(RunControl& control, Seconds patience, std::function<std::string()> describe)
    : thread_(new Thread) {
  Thread& own = *thread_;
  own.thread = std::thread([&control, &own, patience, describe = std::move(describe)] {
    using Clock = std::chrono::steady_clock;
    const auto length = std::chrono::duration<double>(patience.value());
    std::uint64_t seen = control.progress();
    Clock::time_point since = Clock::now();
    std::unique_lock lock(own.mutex);
    while (!own.changed.wait_for(lock, length / 8, [&] { return own.over; })) {
      const std::uint64_t now = control.progress();
      if (now != seen || !control.idle()) {
        seen = now;
        since = Clock::now();
      } else if (Clock::now() - since > length) {
        control.fail(
            fmt::format("nothing has happened for {:g} s:{}", patience.value(), describe()));
        return;
      }
    }
  });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(thread_->mutex);
    thread_->over = true;
  }
  thread_->changed.notify_all();
  thread_->thread.join();
  delete thread_;
}

}  // namespace orrery
