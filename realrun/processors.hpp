#pragma once
// Processors of the machine that this process may use, and threads bound to one of them.
#include <vector>

namespace orrery {

// By number, ascending. Empty where the system does not say.
std::vector<int> allowed_processors();

// Binds the calling thread. Where the system refuses, the thread stays as it is.
void bind_to_processor(int processor);

}  // namespace orrery
