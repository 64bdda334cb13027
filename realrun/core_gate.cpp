#include "realrun/core_gate.hpp"

namespace orrery {

void CoreGate::acquire(bool communication) {
  std::unique_lock lock(mutex_);
  if (free_ > 0) {
    --free_;
    return;
  }
  Waiting waiting;
  (communication ? communication_ : computation_).push_back(&waiting);
  waiting.called.wait(lock, [&] { return waiting.granted; });
}

// The core passes straight to who waits longest, so nobody overtakes.
void CoreGate::release() {
  const std::lock_guard lock(mutex_);
  std::deque<Waiting*>& queue = communication_.empty() ? computation_ : communication_;
  if (queue.empty()) {
    ++free_;
    return;
  }
  Waiting* next = queue.front();
  queue.pop_front();
  next->granted = true;
  next->called.notify_one();  // under the lock: `next` lives on the waiter's stack
}

}  // namespace orrery
