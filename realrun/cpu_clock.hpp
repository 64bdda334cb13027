#pragma once
// CPU time used so far, in seconds.

namespace orrery {

// Of the calling thread.
double thread_cpu_seconds();

// What reading that clock takes, measured once: as much as a small op.
double thread_clock_cost();

// Of the whole process.
double process_cpu_seconds();

}  // namespace orrery
