#pragma once
// Memory that the process has freed stays with it and is used again, from now on and in all of it.
//
// A step makes and drops thousands of tensors of up to megabytes. The C library gives such blocks
// back to the system, and getting them again costs a page fault for every 4 KiB: of a step of
// small-moe 10 % on average, and twice that in bad moments, which neither training nor a
// measurement of it wants.

namespace orrery {

// Before the threads of a run start. Does nothing where the C library is not glibc.
void keep_freed_memory();

}  // namespace orrery
