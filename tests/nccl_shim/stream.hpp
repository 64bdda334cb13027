#pragma once
// A CUDA stream of the shim: work in order on a thread of its own, so that calls return at once and
// what is queued behind an unmatched ncclRecv waits for it, as on a GPU.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace orrery_shim {

class Stream {
 public:
  Stream() : thread_([this] { run(); }) {}
  // Finishes what is queued.
  ~Stream() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void push(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
      ++pushed_;
    }
    changed_.notify_all();
  }
  // How much has been pushed, and whether the first `count` pieces of it are through.
  std::uint64_t pushed() {
    const std::lock_guard lock(mutex_);
    return pushed_;
  }
  bool through(std::uint64_t count) {
    const std::lock_guard lock(mutex_);
    return done_ >= count;
  }
  void synchronize() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&, count = pushed_] { return done_ >= count; });
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ending_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::uint64_t pushed_ = 0, done_ = 0;
  bool ending_ = false;
  std::thread thread_;  // last: it uses what is above
};

// Whether all of [first, first + bytes) is memory that cudaMalloc of this shim gave.
bool is_device_memory(const void* first, std::size_t bytes);

}  // namespace orrery_shim
