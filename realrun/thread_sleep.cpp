#include "realrun/thread_sleep.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdint>

namespace orrery {

void wake_on_time() {
  constexpr unsigned long kSlackNanoseconds = 1000;
  prctl(PR_SET_TIMERSLACK, kSlackNanoseconds);
}

void run_soon_after_waking() {
#ifdef SYS_sched_setattr
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } attributes{};
  attributes.size = sizeof attributes;
  attributes.runtime = 100'000;  // ns
  syscall(SYS_sched_setattr, 0, &attributes, 0U);
#endif
}

void sleep_for(Seconds time) {
  if (time.value() <= 0) return;
  timespec left{};
  const double whole = std::floor(time.value());
  left.tv_sec = static_cast<time_t>(whole);
  left.tv_nsec = static_cast<long>((time.value() - whole) * 1e9);
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
  }
}

}  // namespace orrery
