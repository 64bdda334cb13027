#include "realrun/core_gate.hpp"

#include <algorithm>

#include "realrun/processors.hpp"

namespace orrery {

CoreGate::CoreGate(int cores)
    : processors_(allowed_processors()), waiting_(static_cast<std::size_t>(cores)) {
  for (int core = cores - 1; core >= 0; --core) free_.push_back(core);
  if (static_cast<int>(processors_.size()) < cores) processors_.clear();
}

void CoreGate::bind(int core) const {
  if (!processors_.empty()) bind_to_processor(processors_[static_cast<std::size_t>(core)]);
}

void CoreGate::confine() const {
  const std::size_t cores = waiting_.size();
  if (cores < processors_.size()) bind_to_processors(std::span(processors_).first(cores));
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
