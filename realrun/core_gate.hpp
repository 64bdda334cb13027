#pragma once
// The cores of the host: rank r computes on core r mod `cores`, one rank of a core at a time, first
// come first served. With it a run of many ranks on few cores does what sim/host_engine.hpp models.
// Left to itself the operating system would slice every op into pieces, move workers between cores
// and now and then leave one idle while two share another: bound to cores a step of eight ranks on
// two takes a fifth less. Communication workers are free: their works are short, and handing a core
// over for each would cost more than it saves.
#include <deque>
#include <mutex>
#include <semaphore>
#include <vector>

namespace orrery {

class CoreGate {
 public:
  explicit CoreGate(int cores);

  // Returns the core.
  int acquire(int core);
  void release(int core);
  // Keeps the calling thread, which computes nothing, on these cores too.
  void confine() const;
  int cores() const { return static_cast<int>(waiting_.size()); }

  // A core for the length of a scope.
  class Hold {
   public:
    Hold(CoreGate& gate, int core) : gate_(gate), core_(gate.acquire(core)) {}
    ~Hold() { gate_.release(core_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    CoreGate& gate_;
    int core_;
  };

 private:
  // A thread in a queue. It sleeps on its own semaphore, so that who hands it a core need not hold
  // the mutex meanwhile: woken under it, it would only run into the mutex and sleep again.
  struct Waiting {
    std::binary_semaphore called{0};
    int core = -1;  // granted
  };
  void bind(int core) const;

  std::mutex mutex_;
  std::vector<int> free_;                      // cores
  std::vector<int> processors_;                // of the machine, by core; empty: not bound
  std::vector<std::deque<Waiting*>> waiting_;  // by core
};

}  // namespace orrery
