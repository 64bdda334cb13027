#pragma once
// Small times of this host, measured now: passing a core from one worker to another, waking a
// sleeping thread.

namespace orrery {

// CPU time of the calling thread so far.
double thread_cpu_seconds();

// CPU time of the whole process so far.
double process_cpu_seconds();

// How long a core stays idle when a worker gives it back and another one, asleep, gets it.
double hand_over_seconds();
// From the end of what a sleeping thread waits for until it runs.
double wake_seconds();

}  // namespace orrery
