#pragma once
// Private to the search: numbered pieces of work, divided over the processes of a crew and the
// threads of each, and what they come to, exchanged between the processes.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "planner/layouts/crew.hpp"

namespace orrery {

class SharedWork {
 public:
  // `crew`: null for this process alone. Processes started together are the parallelism themselves
  // and have one thread each.
  explicit SharedWork(Crew* crew)
      : crew_(crew != nullptr && crew->size() > 1 ? crew : nullptr),
        threads_(crew_ == nullptr ? std::max(1U, std::thread::hardware_concurrency()) : 1) {}

  std::size_t threads() const { return threads_; }

  // each(index, thread) for this process's part of `count` pieces; the first exception is thrown
  // again.
  template <class Each>
  void in_parallel(std::size_t count, Each each) const {
    std::atomic<std::size_t> next{0};
    std::vector<std::exception_ptr> failed(threads_);
    std::vector<std::thread> threads;
    for (std::size_t own = 0; own < threads_; ++own) {
      threads.emplace_back([&, own] {
        try {
          for (std::size_t index = next++; index < count; index = next++) {
            if (mine(index)) each(index, own);
          }
        } catch (...) {
          failed[own] = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& failure : failed) {
      if (failure) std::rethrow_exception(failure);
    }
  }

  // What each process has of `count` pieces goes to all others: own(index) of its pieces,
  // take(index, it) of the others'.
  template <class Own, class Take>
  void share(std::size_t count, Own own, Take take) const {
    if (crew_ == nullptr) return;
    std::string packed;
    for (std::size_t index = 0; index < count; ++index) {
      if (!mine(index)) continue;
      const std::string part = own(index);
      packed += std::to_string(part.size()) + ' ' + part;
    }
    const std::vector<std::string> all = crew_->share(packed);
    std::vector<std::size_t> at(all.size(), 0);
    for (std::size_t index = 0; index < count; ++index) {
      const std::size_t from = crew_->owner(index);
      const std::string& text = all[from];
      const std::size_t space = text.find(' ', at[from]);
      ORRERY_CHECK(space != std::string::npos, "process {} sent too little", from);
      const std::size_t size = std::stoull(text.substr(at[from], space - at[from]));
      if (!mine(index)) take(index, text.substr(space + 1, size));
      at[from] = space + 1 + size;
    }
  }

 private:
  bool mine(std::size_t index) const { return crew_ == nullptr || crew_->mine(index); }

  Crew* crew_;
  std::size_t threads_;
};

}  // namespace orrery
