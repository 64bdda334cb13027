#pragma once
// CPU time used so far, in seconds.

namespace orrery {

// Of the calling thread.
double thread_cpu_seconds();

// Of the whole process.
double process_cpu_seconds();

}  // namespace orrery
