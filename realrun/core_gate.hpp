#pragma once
// The cores of the host, handed out to the workers of all ranks: so many may use CPU time at once,
// communication before computation, first come first served within each. With it a run of many
// ranks on few cores does what sim/host_engine.hpp models; without it the operating system would
// slice every op into pieces.
//
// Who gets a core runs on that one: left to itself the scheduler lets two workers share one core
// for milliseconds while another is idle.
#include <deque>
#include <mutex>
#include <semaphore>
#include <vector>

namespace orrery {

class CoreGate {
 public:
  explicit CoreGate(int cores);

  // The core, for release().
  int acquire();
  void release(int core);

  // A core for the length of a scope.
  class Hold {
   public:
    explicit Hold(CoreGate& gate) : gate_(gate), core_(gate.acquire()) {}
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
  std::vector<int> free_;        // cores
  std::vector<int> processors_;  // of the machine, by core; empty: not bound
  std::deque<Waiting*> waiting_;
};

}  // namespace orrery
