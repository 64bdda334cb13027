#pragma once
// The cores of the host, handed out to the workers of all ranks: so many may use CPU time at once,
// communication before computation, first come first served within each. With it a run of many
// ranks on few cores does what sim/host_engine.hpp models; without it the operating system would
// slice every op into pieces.
#include <condition_variable>
#include <deque>
#include <mutex>

namespace orrery {

class CoreGate {
 public:
  explicit CoreGate(int cores) : free_(cores) {}

  void acquire(bool communication);
  void release();

  // A core for the length of a scope.
  class Hold {
   public:
    Hold(CoreGate& gate, bool communication) : gate_(gate) { gate_.acquire(communication); }
    ~Hold() { gate_.release(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    CoreGate& gate_;
  };

 private:
  struct Waiting {
    std::condition_variable called;
    bool granted = false;
  };
  std::mutex mutex_;
  int free_;
  std::deque<Waiting*> communication_, computation_;
};

}  // namespace orrery
