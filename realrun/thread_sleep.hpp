#pragma once
// How the workers of a rank sleep and wake on Linux.
#include "core/quantity.hpp"

namespace orrery {

// For the calling thread: sleeps end when they are due, not up to 50 us later.
void wake_on_time();

// A short time slice for the calling thread: it then runs soon after it wakes, in front of threads
// with the usual one (3 ms). Nothing stronger, such as a lower priority for computation: beside
// other busy programs that would all but stop it. Linux 6.12 and later; without effect before.
void run_soon_after_waking();

// Nothing where it is not positive.
void sleep_for(Seconds time);

}  // namespace orrery
