#include "realrun/core_gate.hpp"

#include <sched.h>

#include <algorithm>

namespace orrery {
namespace {

// The core that this thread is bound to; -1: none. A thread serves one gate at a time.
thread_local int bound_processor = -1;

}  // namespace

CoreGate::CoreGate(int cores) : waiting_(static_cast<std::size_t>(cores)) {
  for (int core = cores - 1; core >= 0; --core) free_.push_back(core);
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &allowed)) processors_.push_back(processor);
  }
  if (static_cast<int>(processors_.size()) < cores) processors_.clear();
}

void CoreGate::bind(int core) const {
  if (processors_.empty()) return;
  const int processor = processors_[static_cast<std::size_t>(core)];
  if (processor == bound_processor) return;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  if (sched_setaffinity(0, sizeof only, &only) == 0) bound_processor = processor;
}

int CoreGate::acquire(int wanted) {
  // Of the thread, not of the call: who wakes it may still be in release() when it runs.
  static thread_local Waiting waiting;
  int core = -1;
  {
    const std::lock_guard lock(mutex_);
    const auto own = std::find(free_.begin(), free_.end(), wanted);
    if (own != free_.end()) {
      core = wanted;
      free_.erase(own);
    } else {
      waiting_[static_cast<std::size_t>(wanted)].push_back(&waiting);
    }
  }
  if (core < 0) {
    waiting.called.acquire();
    core = waiting.core;
  }
  bind(core);
  return core;
}

// The core passes straight to who waits longest, so nobody overtakes.
void CoreGate::release(int core) {
  Waiting* next = nullptr;
  {
    const std::lock_guard lock(mutex_);
    std::deque<Waiting*>& queue = waiting_[static_cast<std::size_t>(core)];
    if (queue.empty()) {
      free_.push_back(core);
      return;
    }
    next = queue.front();
    queue.pop_front();
  }
  next->core = core;
  next->called.release();
}

}  // namespace orrery
